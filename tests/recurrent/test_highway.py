"""Recurrent highway networks against chains of torch's cells, and against their own Jacobian."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common.data import Characters
from papers.recurrent import highway
from papers.recurrent.gru import GRU
from papers.recurrent.highway import (
    Config,
    Predictor,
    RecurrentHighway,
    build,
    circles,
    continued,
    held_out,
    jacobian,
    train,
)
from papers.recurrent.lstm import LSTM
from papers.tools.shapes import check_shapes
from papers.transformers.sampling.temperature import draw, temper
from tests.given import quiet, randn
from tests.recurrent import plain

pytestmark = pytest.mark.usefixtures("seeded")

B, T, D, C = 2, 6, 3, 5
TINY = Config(depth=2, width=7, features=5, context=9, batch=3, steps=2)
CARRIES: list[Any] = ["coupled", "free", "none"]
WORDS = "".join(chr(97 + i * i % 23) for i in range(4000))


def layers(depth: int, carry: Any = "coupled") -> RecurrentHighway:
    return RecurrentHighway(D, C, depth, carry).double()


# Parity


def cells(layer: RecurrentHighway) -> list[nn.GRUCell]:
    """A cell of torch's for each level: its reset open, its update gate the carry gate."""
    made = []
    for number, level in enumerate(layer.levels):
        cell = nn.GRUCell(D, C, dtype=torch.float64)
        W = layer.inputs.weight if number == 0 else torch.zeros(2 * C, D)
        with torch.no_grad():
            nothing = torch.zeros(C, D)
            cell.weight_ih.copy_(torch.cat([nothing, -W[C:], W[:C]]))
            weight, bias = level.weight, level.bias
            assert isinstance(weight, Tensor)
            assert isinstance(bias, Tensor)
            cell.weight_hh.copy_(torch.cat([torch.zeros(C, C), -weight[C:], weight[:C]]))
            cell.bias_ih.copy_(torch.cat([torch.full((C,), 1000.0), -bias[C:], bias[:C]]))
            nn.init.zeros_(cell.bias_hh)
        made.append(cell)
    return made


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_levels_are_cells_of_torch_whose_resets_are_open(depth: int) -> None:
    layer = layers(depth)
    theirs = cells(layer)
    x, s = randn(B, T, D).requires_grad_(), randn(B, C).requires_grad_()
    ours_states, ours_last = layer(x, s)
    state, seen = s, []
    for t in range(T):
        for cell in theirs:
            state = cell(x[:, t], state)
        seen.append(state)
    theirs_states = torch.stack(seen, 1)
    torch.testing.assert_close(ours_states, theirs_states, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(ours_last, state, rtol=1e-12, atol=1e-14)
    toward = torch.randn_like(ours_states)
    weights = [level.weight for level in layer.levels]
    ours = torch.autograd.grad((ours_states * toward).sum(), [x, s, *weights])  # type: ignore[list-item]
    others = [cell.weight_hh for cell in theirs]
    grads = torch.autograd.grad((theirs_states * toward).sum(), [x, s, *others])
    torch.testing.assert_close(ours[:2], grads[:2], rtol=1e-10, atol=1e-12)
    for mine, yours in zip(ours[2:], grads[2:], strict=True):
        same = torch.cat([yours[2 * C :], -yours[C : 2 * C]])
        torch.testing.assert_close(mine, same, rtol=1e-10, atol=1e-12)


def test_depth_one_is_a_gru_without_its_reset_gate() -> None:
    layer, gru = layers(1), GRU(D, C, reset=False).double()
    (level,) = layer.levels
    weight, bias = level.weight, level.bias
    assert isinstance(weight, Tensor)
    assert isinstance(bias, Tensor)
    with torch.no_grad():
        for theirs, ours in (
            (gru.inputs.weight, layer.inputs.weight),
            (gru.recurrent.weight, weight),
            (gru.recurrent.bias, bias),
        ):
            theirs[C : 2 * C], theirs[2 * C :] = -ours[C:], ours[:C]
        nn.init.zeros_(gru.inputs.bias)
    x = randn(B, T, D)
    torch.testing.assert_close(layer(x), gru(x))


@pytest.mark.parametrize("carry", ["coupled", "free"])
def test_a_level_is_equations_6_to_9(carry: Any) -> None:
    layer, x, s = layers(3, carry), randn(B, D), randn(B, C)
    net, expected = layer.inputs(x), s
    for number, level in enumerate(layer.levels):
        W = [part * (number == 0) for part in layer.inputs.weight.split(C)]
        R, b = level.weight.split(C), level.bias.split(C)  # type: ignore[operator]
        sums = [x @ w.T + expected @ r.T + v for w, r, v in zip(W, R, b, strict=True)]
        h, t = sums[0].tanh(), sums[1].sigmoid()
        c = sums[2].sigmoid() if carry == "free" else 1 - t
        expected = h * t + expected * c
    torch.testing.assert_close(layer.step(net, s), expected)


def test_without_gates_it_is_a_chain_of_plain_layers() -> None:
    layer = layers(2, "none")
    first, second = layer.levels
    theirs = nn.RNNCell(D, C, dtype=torch.float64)
    x, s = randn(B, D), randn(B, C)
    with torch.no_grad():
        theirs.weight_ih.copy_(layer.inputs.weight)
        theirs.weight_hh.copy_(first.weight)  # type: ignore[arg-type]
        theirs.bias_ih.copy_(first.bias)  # type: ignore[arg-type]
        nn.init.zeros_(theirs.bias_hh)
    expected = second(theirs(x, s)).tanh()
    torch.testing.assert_close(layer.step(layer.inputs(x), s), expected)


# What the paper says


def test_a_constant_input_has_a_closed_form() -> None:
    """What does not hear the state goes to the proposal, by the same share in each level."""
    layer = layers(1)
    (level,) = layer.levels
    nn.init.zeros_(level.weight)  # type: ignore[arg-type]
    x, s = randn(1, D), randn(1, C)
    sums = layer.inputs(x) + level.bias
    h, t = sums[:, :C].tanh(), sums[:, C:].sigmoid()
    _, last = layer(x.expand(1, 40, D).reshape(1, 40, D), s)
    torch.testing.assert_close(last, h + (1 - t) ** 40 * (s - h))


@pytest.mark.parametrize("carry", CARRIES)
@pytest.mark.parametrize("depth", [1, 3])
def test_the_jacobian_is_that_of_autograd(carry: Any, depth: int) -> None:
    layer, net = layers(depth, carry), layers(depth, carry).inputs(randn(D))
    s = randn(C)
    theirs = torch.autograd.functional.jacobian(lambda s: layer.step(net, s), s)
    torch.testing.assert_close(jacobian(layer, net, s), theirs)


@pytest.mark.parametrize("carry", CARRIES)
def test_every_eigenvalue_lies_in_a_circle(carry: Any) -> None:
    for _ in range(20):
        layer = layers(2, carry)
        A = jacobian(layer, layer.inputs(randn(D)), randn(C))
        centres, radii = circles(A)
        distance = (torch.linalg.eigvals(A)[:, None] - centres).abs()
        assert (distance <= radii + 1e-9).any(1).all()
    centres, radii = circles(torch.tensor([[1.0, -2.0, 3.0], [0.0, -5.0, 1.0], [2.0, 2.0, 4.0]]))
    assert centres.tolist() == [1, -5, 4]
    assert radii.tolist() == [5, 1, 4]


def test_gates_move_the_circles_between_identity_and_a_plain_network() -> None:
    net, s = torch.zeros(2 * C).double(), 0.5 * randn(C)
    shut, opened = layers(1), layers(1)
    bare = layers(1, "none")
    with torch.no_grad():
        shut.levels[0].bias[C:] = -80  # type: ignore[index]
        opened.levels[0].bias[C:] = 80  # type: ignore[index]
        bare.levels[0].weight.copy_(opened.levels[0].weight[:C])  # type: ignore[index, operator]
        bare.levels[0].bias.copy_(opened.levels[0].bias[:C])  # type: ignore[index, operator]
    torch.testing.assert_close(jacobian(shut, net, s), torch.eye(C).double())
    theirs = jacobian(bare, net[:C], s)
    torch.testing.assert_close(jacobian(opened, net, s), theirs)


def test_coupled_the_state_stays_in_the_range_of_tanh() -> None:
    highest = {}
    for carry in ("coupled", "free"):
        layer = RecurrentHighway(D, C, 2, carry).double()  # type: ignore[arg-type]
        with torch.no_grad():
            layer.levels[1].bias[C:] = 3.0  # type: ignore[index]
        highest[carry] = layer(3 * randn(1, 1, D).expand(4, 100, D))[0].abs().max().item()
    assert highest["coupled"] < 1 < highest["free"]


@pytest.mark.parametrize("carry", CARRIES)
def test_gates_start_nearly_shut(carry: Any) -> None:
    layer = RecurrentHighway(D, 64, 3, carry, shut=2.5)
    for level in layer.levels:
        bias = level.bias
        assert isinstance(bias, Tensor)
        parts = bias.split(64)
        assert parts[0].abs().max() < 1 / 8
        assert [set(part.tolist()) for part in parts[1:]] == [{-2.5}, {2.5}][: len(parts) - 1]
    assert layer.inputs.weight.abs().max() < 1 / D**0.5


def test_less_of_the_error_is_lost_with_gates() -> None:
    x = randn(20, 50, D)
    assert plain.lost(layers(4), x) + 10 < plain.lost(layers(4, "none"), x)


def test_the_papers_model_has_23_million_weights() -> None:
    """With 830 units at depth 10 and 10,000 words whose embeddings are tied, or not."""
    with torch.device("meta"):
        layer = RecurrentHighway(830, 830, 10)
    size = plain.size(layer)
    assert size == 2 * 830 * 830 + 10 * (2 * 830 * 830 + 2 * 830)
    assert round((size + 10_000 * 831) / 1e6) == 23
    assert round((size + 10_000 * (831 + 830)) / 1e6) == 32


# The model


@pytest.mark.parametrize("carry", [*CARRIES, "lstm"])
def test_the_model_is_that_of_the_configuration(carry: Any) -> None:
    model = build(replace(TINY, carry=carry, shut=1.5), 11)
    tokens = torch.randint(11, (B, T))
    layer = model.layer
    if isinstance(layer, RecurrentHighway):
        assert layer.carry == carry
        assert len(layer.levels) == 2
        if carry != "none":
            assert set(layer.levels[1].bias[7:14].tolist()) == {-1.5}  # type: ignore[index]
    else:
        assert isinstance(layer, LSTM)
    logits, _ = model(tokens)
    states, _ = layer(model.tokens(tokens))
    torch.testing.assert_close(logits, states @ model.next.weight.T + model.next.bias)
    assert states.shape == (B, T, 7)
    plain.assert_read_in_pieces(model, tokens, 2)


def test_the_runs_have_as_many_weights() -> None:
    sizes = [plain.size(build(config, 103)) for config in plain.configurations(highway)]
    assert max(sizes) < 1.02 * min(sizes)


def test_held_out_text_is_read_in_rows() -> None:
    model = build(TINY, 11)
    tokens = torch.randint(11, (47,))
    total = []
    for row in range(4):
        part = tokens[10 * row : 10 * row + 10]
        logits, _ = model(part[None, :-1])
        total.append(F.cross_entropy(logits[0], part[1:]).item())
    assert held_out(model, tokens, rows=4, most=43) == pytest.approx(sum(total) / 4, rel=1e-5)


def test_what_is_written_is_read_again() -> None:
    model = build(TINY, 11)
    nn.init.normal_(model.next.weight, std=2.0)
    seen = set()
    for seed in range(8):
        tokens = torch.randint(11, (5,))
        written = continued(model, tokens, 8, torch.Generator().manual_seed(seed))
        generator, read = torch.Generator().manual_seed(seed), tokens
        for _ in range(8):
            logits, _ = model(read[None])
            chosen = draw(temper(logits[0, -1], 0.8), generator)
            read = torch.cat([read, chosen])
        assert written == read[5:].tolist()
        seen |= set(written)
    assert len(seen) > 5


# Training


@pytest.mark.parametrize("carry", ["coupled", "lstm"])
def test_training_is_this_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, carry: Any) -> None:
    seen = plain.watch(monkeypatch, highway, WORDS)
    config = replace(TINY, carry=carry, steps=3, lr=0.03)
    found = train(config, quiet(tmp_path, seed=4, data="tiny-shakespeare"))
    assert seen.texts == ["tiny-shakespeare"]
    assert (tmp_path / "result.json").is_file()

    characters = Characters.fit(WORDS)
    tokens = characters.encode(WORDS)
    torch.manual_seed(4)
    model = build(config, len(characters))
    lost = plain.lost(model.layer, torch.randn(20, 9, 5))
    plain.train_on_text(model, tokens[:3600], length=9, size=3, seed=4, lr=0.03, steps=3)
    plain.assert_trained_alike(seen, model)
    (ours,) = seen.models
    assert isinstance(ours, Predictor)
    loss = held_out(ours, tokens[3600:])
    expected = {"validation_loss": loss, "lost": lost, "weights": plain.size(model)}
    assert found == pytest.approx(expected, rel=1e-4)
    ((model, read, told),) = seen.continued
    assert model is ours
    assert characters.decode(read) == seen.shown["prompt"] == WORDS[3600:3700]
    assert seen.shown["continuation"] == characters.decode(told)
    assert len(told) == 300


@pytest.mark.slow
@pytest.mark.training
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_learns_what_one_character_cannot_tell(tmp_path: Path, seed: int) -> None:
    config = Config(depth=2, width=32, context=16, batch=16, steps=150, lr=0.01)
    with_gates, without = (
        train(replace(config, carry=carry), quiet(tmp_path / str(carry), seed=seed))
        for carry in ("coupled", "none")
    )
    # By how often it occurs, a character takes 3.25 nats.
    assert with_gates["validation_loss"] < 2.7
    assert with_gates["lost"] + 4 < without["lost"]


# Shapes


def test_shape_comments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(highway, "text", lambda name: WORDS)
    with check_shapes("papers/recurrent/highway.py", D=5, C=7):
        for carry in CARRIES:
            train(replace(TINY, carry=carry), quiet(tmp_path / str(carry)))
            layer = RecurrentHighway(5, 7, 2, carry)
            circles(jacobian(layer, layer.inputs(torch.randn(5)), torch.randn(7)))
