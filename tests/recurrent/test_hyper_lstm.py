"""The LSTM whose weights are scaled against one whose weights are not, and its equations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from papers.common.data import Characters, grid
from papers.recurrent import hyper_lstm
from papers.recurrent.highway import Predictor, held_out
from papers.recurrent.hyper_lstm import (
    Config,
    HyperLSTM,
    NormLSTM,
    build,
    changes,
    judge,
    train,
)
from papers.recurrent.lstm import LSTM
from papers.tools.shapes import check_shapes
from tests.given import quiet, randn
from tests.recurrent import plain

pytestmark = pytest.mark.usefixtures("seeded")

B, T, D, C, H, Z = 2, 6, 3, 5, 4, 2
TINY = Config(width=7, small=4, signals=3, features=5, context=9, batch=2, steps=2)
WORDS = "".join("ab cd. e"[i * i % 7] + "xyz -"[i % 5] for i in range(2400))


def hyper(norm: bool = True) -> HyperLSTM:
    """With all of its weights random."""
    layer = HyperLSTM(D, C, H, Z, norm).double()
    with torch.no_grad():
        for weights in layer.parameters():
            weights += 0.3 * torch.randn_like(weights)
    return layer


def constant(norm: bool) -> HyperLSTM:
    """One whose small network says one, whatever it reads."""
    layer = hyper(norm)
    with torch.no_grad():
        nn.init.zeros_(layer.signals.weight)
        nn.init.ones_(layer.signals.bias)
        nn.init.constant_(layer.scaling, 1 / Z)
        nn.init.zeros_(layer.shifting)
    return layer


# With a constant small network


def test_with_constant_signals_it_is_torchs_lstm() -> None:
    layer, x = constant(norm=False), randn(B, T, D).requires_grad_()
    theirs = nn.LSTM(D, C, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(layer.large.inputs.weight)
        theirs.weight_hh_l0.copy_(layer.large.recurrent.weight)
        theirs.bias_ih_l0.copy_(layer.large.inputs.bias)
        nn.init.zeros_(theirs.bias_hh_l0)
    (ours_states, (h, c, _, _)), (states, (last, cell)) = layer(x), theirs(x)
    torch.testing.assert_close(ours_states, states, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close((h, c), (last[0], cell[0]), rtol=1e-12, atol=1e-14)
    toward = torch.randn_like(states)
    mine = [x, layer.large.inputs.weight, layer.large.recurrent.weight, layer.large.inputs.bias]
    yours = [x, theirs.weight_ih_l0, theirs.weight_hh_l0, theirs.bias_ih_l0]
    ours_grads = torch.autograd.grad((ours_states * toward).sum(), mine)
    theirs_grads = torch.autograd.grad((states * toward).sum(), yours)
    torch.testing.assert_close(ours_grads, theirs_grads, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("norm", [True, False])
def test_with_constant_signals_it_is_our_lstm(norm: bool) -> None:
    layer, x = constant(norm), randn(B, T, D)
    states, (h, c, _, _) = layer(x)
    torch.testing.assert_close((states, (h, c)), layer.large(x))


def test_before_training_normalization_hides_the_tenth() -> None:
    layer, x = HyperLSTM(D, C, H, Z).double(), 100 * randn(B, T, D)
    torch.testing.assert_close(layer.scales(randn(B, H))[0], torch.full((B, 4 * C), 0.1).double())
    # But for the epsilon, which weighs a little more among numbers that are a tenth.
    torch.testing.assert_close(layer(x)[0], layer.large(x)[0], rtol=1e-3, atol=1e-4)
    bare = HyperLSTM(D, C, H, Z, norm=False).double()
    assert (bare(x)[0] - bare.large(x)[0]).abs().max() > 0.1


def test_without_normalization_the_large_network_is_our_lstm() -> None:
    ours, theirs, x = NormLSTM(D, C, norm=False).double(), LSTM(D, C).double(), randn(B, T, D)
    theirs.load_state_dict(ours.state_dict())
    torch.testing.assert_close(ours(x), theirs(x))


# The equations


def test_a_step_is_equations_10_to_13() -> None:
    layer = hyper()
    x, h, c, small_h, small_c = randn(B, D), randn(B, C), randn(B, C), randn(B, H), randn(B, H)

    def LN(numbers: Tensor, weight: Any, bias: Any) -> Tensor:
        deviation = (numbers.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
        return (numbers - numbers.mean(1, keepdim=True)) / deviation * weight + bias

    def cell(sums: list[Tensor], of: NormLSTM, c: Tensor) -> tuple[Tensor, Tensor]:
        gains, shifts = of.norm.weight.chunk(4), of.norm.bias.chunk(4)  # type: ignore[operator]
        i, f, g, o = (LN(*each) for each in zip(sums, gains, shifts, strict=True))
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * LN(c, of.cell_norm.weight, of.cell_norm.bias).tanh(), c

    small, large = layer.small, layer.large
    seen = torch.cat([h, x], 1)
    sums = small.inputs(seen) + small.recurrent(small_h)
    new_small = cell(list(sums.chunk(4, 1)), small, small_c)
    hat, sums_of = new_small[0], []
    for y in range(4):
        rows, signal = slice(y * C, y * C + C), slice(y * Z, y * Z + Z)
        beyond = slice((4 + y) * Z, (4 + y) * Z + Z)
        W, b = layer.signals.weight, layer.signals.bias
        d_h = (hat @ W[signal].T + b[signal]) @ layer.scaling[0, y]
        d_x = (hat @ W[beyond].T + b[beyond]) @ layer.scaling[1, y]
        shift = (hat @ layer.bias_signals.weight[signal].T) @ layer.shifting[y]
        heard = d_h * (h @ large.recurrent.weight[rows].T)
        heard = heard + d_x * (x @ large.inputs.weight[rows].T)
        sums_of.append(heard + shift + large.inputs.bias[rows])
    expected = (*cell(sums_of, large, c), *new_small)
    net = x @ large.inputs.weight.T
    torch.testing.assert_close(layer.step(net, x, (h, c, small_h, small_c)), expected)


def test_scaling_is_generating_a_matrix() -> None:
    """Equation 5 with the matrices of equation 7, for each text its own."""
    layer, small_h, h = hyper(norm=False), randn(B, H), randn(B, C)
    d_h, _, _ = layer.scales(small_h)
    W = layer.large.recurrent.weight
    for b in range(B):
        z = layer.signals(small_h[b]).view(2, 4, Z)[0]
        bases = layer.scaling[0].transpose(1, 2)[..., None, :] * W.view(4, C, C)[..., None]
        made = torch.einsum("gijz,gz->gij", bases, z).flatten(0, 1)
        torch.testing.assert_close(made @ h[b], d_h[b] * layer.large.recurrent(h)[b])
    # The bases would be as many times the weights as a signal has numbers.
    assert bases.numel() == Z * W.numel()
    assert layer.scaling[0].numel() == Z * W.numel() / C


@pytest.mark.parametrize("norm", [True, False])
def test_the_input_scales_its_own_step(norm: bool) -> None:
    layer, x = hyper(norm), randn(1, D)
    h, c, small_h, small_c = randn(1, C), randn(1, C), randn(1, H), randn(1, H)
    scales = []
    for now in (x, x + 1):
        states = layer.step(torch.zeros(1, 4 * C).double(), now, (h, c, small_h, small_c))
        scales.append(layer.scales(states[2])[0])
        # The input gets to the large network through the small one.
        scales.append(states[0])
    assert (scales[0] - scales[2]).abs().max() > 0.01
    assert (scales[1] - scales[3]).abs().max() > 0.001


def test_a_text_can_be_read_in_pieces() -> None:
    plain.assert_read_in_pieces(hyper(), randn(B, T, D), 2)


@pytest.mark.parametrize("norm", [True, False])
def test_weights_start_as_appendix_a_2_3_says(norm: bool) -> None:
    layer = HyperLSTM(30, 20, 12, 4, norm)
    assert set(layer.signals.weight.flatten().tolist()) == {0}
    assert set(layer.signals.bias.tolist()) == {1}
    assert layer.bias_signals.weight.std().item() == pytest.approx(0.01, rel=0.2)
    assert layer.scaling.unique().tolist() == pytest.approx([0.1 / 4])
    assert set(layer.shifting.flatten().tolist()) == {0}
    for network, inner in ((layer.large, 20), (layer.small, 12)):
        for gate in network.recurrent.weight.chunk(4):
            torch.testing.assert_close(gate @ gate.T, torch.eye(inner))
        for gate in network.inputs.weight.chunk(4):
            torch.testing.assert_close(gate @ gate.T, torch.eye(inner))
        where = network.norm.bias if norm else network.inputs.bias
        assert isinstance(where, Tensor)
        assert [set(part.tolist()) for part in where.chunk(4)] == [{0}, {1}, {0}, {0}]
        if norm:
            assert set(network.inputs.bias.tolist()) == {0}


def test_sizes_are_those_of_table_3() -> None:
    """With 1,000 units, 128 small ones, signals of 4 numbers, and 50 characters as they are."""
    answers = 50 * 1000 + 50
    with torch.device("meta"):
        layers: list[nn.Module] = [
            NormLSTM(50, 1000, norm=False),
            NormLSTM(50, 1000),
            HyperLSTM(50, 1000, 128, 4, norm=False),
            HyperLSTM(50, 1000, 128, 4),
        ]
    sizes = [answers + plain.size(layer) for layer in layers]
    assert [round(size / 1e6, 2) for size in sizes] == [4.25, 4.26, 4.91, 4.92]


# The measures


def test_changes_are_those_of_the_matrices() -> None:
    layer, x = hyper(), randn(B, T, D)
    states, before, expected = layer.start(x), None, []
    for t in range(T):
        states = layer.step(x[:, t] @ layer.large.inputs.weight.T, x[:, t], states)
        made = layer.scales(states[2])[0][:, :, None] * layer.large.recurrent.weight
        if before is not None:
            gates = (made - before).view(B, 4, C, C)
            expected.append(gates.square().sum((2, 3)).sqrt())
        before = made
    torch.testing.assert_close(changes(layer, x), torch.stack(expected, 2))


def test_the_jump_is_that_between_words(monkeypatch: pytest.MonkeyPatch) -> None:
    moved = torch.tensor([[[1.0, 4, 1, 2], [2, 6, 2, 2], [1, 1, 1, 1], [5, 1, 5, 9]]])
    asked = []

    def given(layer: nn.Module, x: Tensor) -> Tensor:
        asked.append((layer, x))
        return moved

    monkeypatch.setattr(hyper_lstm, "changes", given)
    model = build(TINY, 9)
    layer = model.layer
    assert isinstance(layer, HyperLSTM)
    tokens = torch.tensor([1, 2, 3, 4, 5])
    # The first character has no change. Of the others, the second and the third are no letters.
    ratio, seen = judge(model, layer, "qa 2c", tokens)
    expected = [(4 + 1) / (1 + 2), (6 + 2) / (2 + 2), 1.0, (1 + 5) / (5 + 9)]
    assert ratio == pytest.approx(sum(expected) / 4)
    ((told, x),) = asked
    assert told is layer
    torch.testing.assert_close(x, model.tokens(tokens)[None])
    strips = moved[0] / moved[0].amax(1, keepdim=True)
    pixels = strips.repeat_interleave(6, 1)[:, None].expand(-1, 14, -1)
    torch.testing.assert_close(seen, grid(pixels, columns=1))


@pytest.mark.parametrize("cell", ["hyper", "lstm"])
@pytest.mark.parametrize("norm", [True, False])
def test_the_model_is_that_of_the_configuration(cell: Any, norm: bool) -> None:
    layer = build(replace(TINY, cell=cell, norm=norm), 11).layer
    assert type(layer) is {"hyper": HyperLSTM, "lstm": NormLSTM}[cell]
    large = layer.large if isinstance(layer, HyperLSTM) else layer
    assert isinstance(large, NormLSTM)
    assert large.recurrent.in_features == 7
    assert isinstance(large.norm, nn.Identity) is not norm
    if isinstance(layer, HyperLSTM):
        assert layer.small.inputs.weight.shape == (4 * 4, 7 + 5)
        assert layer.scaling.shape == (2, 4, 3, 7)


def test_the_runs_have_as_many_weights() -> None:
    sizes = [plain.size(build(config, 103)) for config in plain.configurations(hyper_lstm)]
    assert max(sizes) < 1.03 * min(sizes), sizes


# Training


@pytest.mark.parametrize("cell", ["hyper", "lstm"])
def test_training_is_this_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cell: Any) -> None:
    seen = plain.watch(monkeypatch, hyper_lstm, WORDS)
    config = replace(TINY, cell=cell, steps=3, lr=0.03)
    found = train(config, quiet(tmp_path, seed=4, data="tiny-shakespeare"))
    assert seen.texts == ["tiny-shakespeare"]
    assert (tmp_path / "result.json").is_file()

    characters = Characters.fit(WORDS)
    tokens, cut = characters.encode(WORDS), 4320
    torch.manual_seed(4)
    model = build(config, len(characters))
    plain.train_on_text(model, tokens[:cut], length=9, size=2, seed=4, lr=0.03, steps=3)
    plain.assert_trained_alike(seen, model)
    (ours,) = seen.models
    assert isinstance(ours, Predictor)
    expected = {"validation_loss": held_out(ours, tokens[cut:]), "weights": plain.size(model)}
    layer, shown = ours.layer, seen.shown
    assert ("changes" in shown) is ("jump" in found) is isinstance(layer, HyperLSTM)
    if isinstance(layer, HyperLSTM):
        end = cut + 1000
        expected["jump"], drawn = judge(ours, layer, WORDS[cut:end], tokens[cut:end].long())
        torch.testing.assert_close(shown["changes"], drawn)
    assert found == pytest.approx(expected, rel=1e-4)
    ((model, read, told),) = seen.continued
    assert model is ours
    assert characters.decode(read) == shown["prompt"] == WORDS[cut : cut + 100]
    assert shown["continuation"] == characters.decode(told)
    assert len(told) == 300


@pytest.mark.slow
@pytest.mark.training
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_learns_to_scale(tmp_path: Path, seed: int) -> None:
    config = Config(width=32, small=8, context=16, batch=16, steps=120, lr=0.01)
    start = train(replace(config, steps=1), quiet(tmp_path / "start", seed=seed))
    end = train(config, quiet(tmp_path / "end", seed=seed))
    assert end["validation_loss"] < start["validation_loss"] - 1
    assert end["jump"] > 0


# Shapes


def test_shape_comments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hyper_lstm, "text", lambda name: WORDS[:1500])
    with check_shapes("papers/recurrent/hyper_lstm.py", D=5, H=4, Z=3):
        for norm in (True, False):
            train(replace(TINY, norm=norm), quiet(tmp_path / str(norm)))
