"""The memory cell against torch's own, and against what its two papers say of it."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor, nn

from papers.common import UserError
from papers.common.data import grid
from papers.recurrent.lstm import (
    LSTM,
    Adder,
    Config,
    Recurrent,
    evaluate,
    flow,
    inside,
    pace,
    picture,
    sequences,
    train,
)
from papers.tools.shapes import check_shapes
from tests.given import quiet
from tests.recurrent import plain

pytestmark = pytest.mark.usefixtures("seeded")

B, T, D, C = 2, 7, 3, 5
TINY = Config(length=6, problems=2, width=5, batch=3, steps=2)
CPU = torch.device("cpu")
CELLS: tuple[Any, ...] = ("lstm", "no-forget", "tanh")
Layer = TypeVar("Layer", LSTM, Recurrent)


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


# Parity


def loaded(ours: Layer, theirs: nn.Module) -> Layer:
    """Ours with torch's weights, of which the second bias is not zero."""
    weights = theirs.state_dict()
    ours.load_state_dict(
        {
            "inputs.weight": weights["weight_ih_l0"],
            "recurrent.weight": weights["weight_hh_l0"],
            "inputs.bias": weights["bias_ih_l0"] + weights["bias_hh_l0"],
        }
    )
    return ours


def pair() -> tuple[LSTM, nn.LSTM]:
    theirs = nn.LSTM(D, C, batch_first=True, dtype=torch.float64)
    return loaded(LSTM(D, C).double(), theirs), theirs


@pytest.mark.parametrize("started", [False, True])
def test_outputs_and_gradients_are_those_of_torch(started: bool) -> None:
    ours, theirs = pair()
    x, h, c = randn(B, T, D), randn(B, C), randn(B, C)
    ours_states, (ours_h, ours_c) = ours(x, (h, c)) if started else ours(x)
    theirs_states, (theirs_h, theirs_c) = theirs(x, (h[None], c[None])) if started else theirs(x)
    torch.testing.assert_close(ours_states, theirs_states, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close((ours_h, ours_c), (theirs_h[0], theirs_c[0]), rtol=1e-12, atol=1e-14)
    toward = torch.randn_like(ours_states)
    parts = [x, h, c] if started else [x]
    mine = [*parts, ours.inputs.weight, ours.recurrent.weight, ours.inputs.bias]
    ours_grads = torch.autograd.grad((ours_states * toward).sum() + ours_c.sum(), mine)
    loss = (theirs_states * toward).sum() + theirs_c.sum()
    theirs_grads = torch.autograd.grad(loss, [*parts, *theirs.parameters()][: len(mine)])
    torch.testing.assert_close(ours_grads, theirs_grads, rtol=1e-10, atol=1e-12)


def test_one_step_is_torchs_cell() -> None:
    ours, whole = pair()
    theirs = nn.LSTMCell(D, C, dtype=torch.float64)
    theirs.load_state_dict({k.removesuffix("_l0"): v for k, v in whole.state_dict().items()})
    x, h, c = randn(B, D), randn(B, C), randn(B, C)
    torch.testing.assert_close(ours.step(ours.inputs(x), h, c), theirs(x, (h, c)))


def test_torchs_two_biases_are_one() -> None:
    _, theirs = pair()
    theirs(randn(B, T, D))[0].sum().backward()
    _, _, first, second = (p.grad for p in theirs.parameters())
    torch.testing.assert_close(first, second)
    with torch.device("meta"):
        layers: list[nn.Module] = [LSTM(300, 512), nn.LSTM(300, 512)]
    sizes = [plain.size(layer) for layer in layers]
    assert sizes == [4 * 512 * (300 + 512 + 1), 4 * 512 * (300 + 512 + 2)]


def test_the_plain_network_is_torchs() -> None:
    theirs = nn.RNN(D, C, batch_first=True, dtype=torch.float64)
    ours = loaded(Recurrent(D, C).double(), theirs)
    x = randn(B, T, D)
    (ours_states, ours_h), (theirs_states, theirs_h) = ours(x), theirs(x)
    torch.testing.assert_close(ours_states, theirs_states, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(ours_h, theirs_h[0], rtol=1e-12, atol=1e-14)
    ours_grad, theirs_grad = (
        torch.autograd.grad(states.square().sum(), x) for states in (ours_states, theirs_states)
    )
    torch.testing.assert_close(ours_grad, theirs_grad, rtol=1e-10, atol=1e-12)


def test_torch_starts_with_other_weights() -> None:
    ours, theirs = LSTM(2, 64, input_bias=-3.0, forget_bias=1.0), nn.LSTM(2, 64)
    i, f, g, o = ours.inputs.bias.chunk(4)
    assert set(i.tolist()) == {-3.0}
    assert set(f.tolist()) == {1.0}
    # Torch draws all from one range. That of our inputs depends on their number, which is two.
    for weights in theirs.parameters():
        assert 0.9 / 8 < weights.abs().max() < 1 / 8
    assert 0.9 / math.sqrt(2) < ours.inputs.weight.abs().max() < 1 / math.sqrt(2)
    assert 0.9 / 8 < ours.recurrent.weight.abs().max() < 1 / 8
    assert max(g.abs().max(), o.abs().max()) < 1 / math.sqrt(2)


# What the papers say


def test_the_worked_example() -> None:
    layer = LSTM(1, 1).double()
    net = torch.tensor([[2.0, 3.0, 0.5, 0.0]], dtype=torch.float64)
    h, c = torch.zeros(1, 1).double(), torch.full((1, 1), 0.5).double()
    gates = [gate.item() for gate in layer.gates(net, h)]
    assert gates == pytest.approx([0.881, 0.953, 0.462, 0.5], abs=5e-4)
    shown, kept = layer.step(net, h, c)
    assert (kept.item(), shown.item()) == pytest.approx((0.883, 0.354), abs=5e-4)
    layer.forget = False
    assert layer.step(net, h, c)[1].item() == pytest.approx(0.907, abs=5e-4)
    # And of the forget gates at their start: what a hundred steps leave.
    left = [torch.tensor(bias).sigmoid().item() ** 100 for bias in (0.0, 1.0, 3.0)]
    assert left == pytest.approx([7.9e-31, 2.5e-14, 0.0078], rel=0.01)


def steps(layer: LSTM, x: Tensor, c: Tensor, cut: bool) -> list[Tensor]:
    """States of the cell; with the cut, the error goes back along them alone, as in 1997."""
    h, states = torch.zeros_like(c), [c]
    for net in layer.inputs(x).unbind(1):
        h, c = layer.step(net, h.detach() if cut else h, c)
        states.append(c)
    return states


def test_along_the_state_the_error_is_constant() -> None:
    x, c = randn(1, 100, D), randn(1, C)
    layer = LSTM(D, C, forget=False).double()
    last = steps(layer, x, c, cut=True)[-1]
    (gradient,) = torch.autograd.grad(last.sum(), c)
    assert gradient.tolist() == [[1.0] * C]
    # With a forget gate, and nothing cut, it is the product of what the gates let pass.
    layer = LSTM(D, C).double()
    last = steps(layer, x, c, cut=True)[-1]
    (gradient,) = torch.autograd.grad(last.sum(), c)
    h, product = torch.zeros(1, C).double(), torch.ones(1, C).double()
    for net in layer.inputs(x).unbind(1):
        product = product * layer.gates(net, h)[1]
        h, c = layer.step(net, h, c)
    torch.testing.assert_close(gradient, product)


def test_without_a_forget_gate_the_state_of_a_constant_input_grows_as_a_line() -> None:
    """And with one, it comes to rest where as much is lost as is let in."""
    grown = []
    for forget in (False, True):
        layer = LSTM(D, C, forget).double()
        nn.init.zeros_(layer.recurrent.weight)
        x = torch.randn(1, 1, D, dtype=torch.float64).expand(1, 200, D)
        i, f, g, _ = layer.gates(layer.inputs(x[:, 0]), torch.zeros(1, C).double())
        _, (_, c) = layer(x)
        torch.testing.assert_close(c, i * g / (1 - f) if forget else 200 * i * g)
        grown.append(c)
    assert (grown[0].abs() > grown[1].abs()).all()


def test_what_the_paper_cuts_off_is_a_part_of_the_gradient() -> None:
    layer, x, c = LSTM(D, C, forget=False).double(), randn(1, 20, D), randn(1, C)
    cut, whole = (
        torch.autograd.grad(steps(layer, x, c, cut=each)[-1].sum(), c)[0] for each in (True, False)
    )
    assert (whole - cut).abs().max() > 0.1


def test_stretched_squashing_is_in_the_weights() -> None:
    """With the ranges from -2 to 2 and from -1 to 1, the state is twice ours."""
    layer, x = LSTM(D, C, forget=False).double(), randn(B, T, D)
    halved = LSTM(D, C, forget=False).double()
    halved.load_state_dict(layer.state_dict())
    with torch.no_grad():
        for weights in halved.parameters():
            weights[2 * C : 3 * C] /= 2
    h = c = torch.zeros(B, C, dtype=torch.float64)
    for t in range(T):
        i, _, g, o = (layer.inputs(x[:, t]) + layer.recurrent(h)).chunk(4, -1)
        c = c + i.sigmoid() * (4 * g.sigmoid() - 2)
        h = o.sigmoid() * (2 * c.sigmoid() - 1)
    _, ours = halved(x)
    torch.testing.assert_close(ours, (h, c / 2))


def test_a_sequence_can_be_read_in_pieces() -> None:
    plain.assert_read_in_pieces(LSTM(D, C).double(), randn(B, T, D), 3)


def test_a_plain_network_loses_the_error_and_the_carousel_keeps_it() -> None:
    x, _ = sequences(20, 1, 100)
    chain = Recurrent(2, 32)
    reach = flow(chain, x)
    # No further than the bound allows: the last step's is the gradient of one application.
    norm = math.log10(torch.linalg.matrix_norm(chain.recurrent.weight, 2).item())
    lags = torch.arange(99, -1, -1)
    assert (reach <= reach[-1] + 0.5 * math.log10(32) + norm * lags + 0.3).all()
    lost = {
        name: plain.lost(layer, x)
        for name, layer in {
            "plain": chain,
            "half open": LSTM(2, 32, forget_bias=0.0),
            "open": LSTM(2, 32, forget_bias=1.0),
            "wide open": LSTM(2, 32, forget_bias=3.0),
            "always open": LSTM(2, 32, forget=False),
        }.items()
    }
    assert lost["plain"] > 15
    assert 12 < lost["half open"] < 22
    assert 4 < lost["open"] < 12
    assert lost["wide open"] < 4
    assert lost["always open"] < 2


def test_the_flow_is_the_gradient_of_the_last_state() -> None:
    layer, x = LSTM(2, C).double(), randn(B, T, 2)
    expected = []
    for t in range(T):
        parts = [each.detach().requires_grad_() for each in x.unbind(1)]
        states, _ = layer(torch.stack(parts, 1))
        (gradient,) = torch.autograd.grad(states[:, -1].sum(), parts[t])
        expected.append(math.log10(gradient.square().sum().sqrt().item()))
    assert flow(layer, x).tolist() == pytest.approx(expected)
    assert x.grad is None
    assert all(p.grad is None for p in layer.parameters())


# The task


@pytest.mark.parametrize("L", [3, 6, 25])
def test_the_answer_is_the_sum_of_what_is_marked(L: int) -> None:
    x, answers = sequences(300, 2, L)
    assert x.shape == (300, 2 * L, 2)
    firsts, seconds = set(), set()
    for sequence, pair_of in zip(x.tolist(), answers.tolist(), strict=True):
        for n in range(2):
            steps_of = sequence[n * L : n * L + L]
            marked = [t for t, (_, mark) in enumerate(steps_of) if mark == 1]
            assert [t for t, (_, mark) in enumerate(steps_of) if mark == -1] == [L - 1]
            assert len(marked) == 2
            assert pair_of[n] == pytest.approx(sum(steps_of[t][0] for t in marked), rel=1e-6)
            firsts.add(marked[0])
            seconds.add(marked[1])
    assert firsts == set(range(L // 2))
    assert seconds == set(range(L // 2, L - 1))
    assert 0 <= x[..., 0].min() < x[..., 0].max() < 1


def test_what_guesses_are_worth() -> None:
    x, answers = sequences(20_000, 1, 10)
    assert (answers - 1).square().mean().item() == pytest.approx(1 / 6, abs=0.005)
    second = (x[:, 5:, 0] * (x[:, 5:, 1] == 1)).sum(1, keepdim=True)
    assert (answers - second - 0.5).square().mean().item() == pytest.approx(1 / 12, abs=0.003)


def test_a_problem_without_room_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--length 2: two marks and an end need 3 steps or more"):
        train(replace(TINY, length=2), quiet(tmp_path))


@pytest.mark.parametrize("cell", CELLS)
def test_the_model_answers_at_every_end(cell: Any) -> None:
    model = Adder(replace(TINY, cell=cell, shut=2.0, forget_bias=0.7))
    x, _ = sequences(4, 2, 6)
    answers = model(x)
    assert isinstance(model.layer, Recurrent if cell == "tanh" else LSTM)
    if isinstance(model.layer, LSTM):
        assert model.layer.forget is (cell == "lstm")
        assert set(model.layer.inputs.bias[:5].tolist()) == {-2.0}
        assert model.layer.inputs.bias[5:10].tolist() == pytest.approx([0.7] * 5)
    for n in range(2):
        states, _ = model.layer(x[:, : 6 * n + 6])
        torch.testing.assert_close(answers[:, n], model.answer(states[:, -1])[:, 0])


@pytest.mark.parametrize("cell", ["lstm", "tanh"])
def test_what_we_measure_is_what_it_says(cell: Any) -> None:
    model = Adder(replace(TINY, cell=cell))
    nn.init.constant_(model.answer.bias, 1.0)
    torch.manual_seed(5)
    numbers = evaluate(model, 2, CPU)
    torch.manual_seed(5)
    x, answers = sequences(1000, 2, 6)
    long, later = sequences(200, 20, 6)
    wrong = (model(x) - answers).flatten().tolist()
    assert numbers["error"] == pytest.approx(sum(w * w for w in wrong) / 2000, rel=1e-4)
    assert numbers["right"] == pytest.approx(sum(abs(w) < 0.08 for w in wrong) / 2000)
    assert 0 < numbers["right"] < 0.3
    last = (model(long)[:, 18:] - later[:, 18:]).flatten().tolist()
    assert numbers["later_error"] == pytest.approx(sum(w * w for w in last) / 400, rel=1e-4)
    if isinstance(model.layer, LSTM):
        h = c = torch.zeros(200, 5)
        for net in model.layer.inputs(long).unbind(1):
            h, c = model.layer.step(net, h, c)
        assert numbers["largest_state"] == pytest.approx(c.abs().max().item(), rel=1e-4)
    else:
        assert "largest_state" not in numbers


def test_the_pace_is_the_least_time_of_ours_in_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours takes 9 seconds and once 8, torch's 3 and once 2."""
    turns = [9.0, 3.0] * 7 + [8.0, 3.0] + [9.0, 2.0] + [9.0, 3.0] * 11
    moments = [moment for took in turns for moment in (100.0, 100.0 + took)]
    clock = iter(moments)
    monkeypatch.setattr(time, "process_time", lambda: next(clock))
    layer = LSTM(D, C)
    assert pace(layer, torch.randn(B, T, D)) == 4
    assert next(clock, None) is None
    assert all(p.grad is None for p in layer.parameters())


def test_inside_are_the_gates_and_the_state() -> None:
    layer = LSTM(D, C).double()
    x = randn(B, T, D)
    i, f, o, c = inside(layer, x)
    states, (_, last) = layer(x)
    torch.testing.assert_close(c[:, :, -1], last)
    torch.testing.assert_close((o * c.tanh()).transpose(1, 2), states)
    before = torch.cat([torch.zeros(B, 1, C).double(), states[:, :-1]], 1)
    net = (layer.inputs(x) + layer.recurrent(before)).chunk(4, -1)
    torch.testing.assert_close(i.transpose(1, 2), net[0].sigmoid())
    torch.testing.assert_close(f.transpose(1, 2), net[1].sigmoid())


def test_the_picture_shows_the_unit_that_opens_at_the_marks() -> None:
    layer = LSTM(2, 5)
    # One opens where the mark is 1. The others close there, and the first is open all the same.
    with torch.no_grad():
        layer.inputs.weight[:5] = torch.tensor([0.0, -1.0])
        layer.inputs.weight[3] = torch.tensor([0.0, 1.0])
        layer.inputs.bias[0] = 5.0
    x, _ = sequences(40, 2, 6)
    i, f, o, c = inside(layer, x)[:, :3, 3]
    sheets = []
    for b in range(3):
        held = (c[b] - c.min()) / (c.max() - c.min())
        rows = [x[b, :, 0], x[b, :, 1], i[b], f[b], o[b], held]
        strips = [row.repeat_interleave(6).repeat(12, 1) for row in rows]
        sheets.append(grid(torch.stack(strips), columns=1))
    expected = grid(torch.stack(sheets), columns=1, gap=6)
    torch.testing.assert_close(picture(layer, x), expected)


# Training


@pytest.mark.parametrize("cell", CELLS)
def test_training_is_this_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cell: Any) -> None:
    config = replace(TINY, cell=cell, steps=4, lr=0.03)
    seen = plain.watch(monkeypatch)
    numbers = train(config, quiet(tmp_path, seed=7))
    assert (tmp_path / "result.json").is_file()

    torch.manual_seed(7)
    model = Adder(config)
    x, _ = sequences(50, 2, 6)
    lost = plain.lost(model.layer, x)

    def loss() -> Tensor:
        x, answers = sequences(3, 2, 6)
        states, _ = model.layer(x)
        said = model.answer(states[:, [5, 11]])[..., 0]
        return (said - answers).square().mean()

    plain.train(model, 0.03, 4, loss)
    plain.assert_trained_alike(seen, model)
    expected = evaluate(model, 2, CPU) | {"lost": lost}
    assert ("cell" in seen.shown) is ("times_torch" in numbers) is (cell != "tanh")
    if cell != "tanh":
        assert numbers.pop("times_torch") > 0
        assert isinstance(model.layer, LSTM)
        shown = picture(model.layer, sequences(200, 2, 6)[0])
        torch.testing.assert_close(seen.shown["cell"], shown, rtol=0, atol=1e-3)
    assert numbers == pytest.approx(expected, abs=1e-3)


SHORT = Config(length=20, width=16, steps=300, lr=0.02)


@pytest.mark.slow
@pytest.mark.training
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_cell_adds_where_a_plain_network_does_not(tmp_path: Path, seed: int) -> None:
    lstm, original, control = (
        train(replace(SHORT, cell=cell), quiet(tmp_path / str(cell), seed=seed)) for cell in CELLS
    )
    assert max(lstm["error"], original["error"]) < 0.03
    assert min(lstm["right"], original["right"]) > 0.5
    assert control["error"] > 0.1


@pytest.mark.slow
@pytest.mark.training
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_without_a_forget_gate_the_state_grows(tmp_path: Path, seed: int) -> None:
    config = replace(SHORT, length=10, problems=3)
    lstm, original = (
        train(replace(config, cell=cell), quiet(tmp_path / str(cell), seed=seed))
        for cell in CELLS[:2]
    )
    assert lstm["later_error"] < 0.05
    assert original["largest_state"] > 3 * lstm["largest_state"]
    assert original["later_error"] > 3 * lstm["later_error"]


# Shapes


def test_shape_comments(tmp_path: Path) -> None:
    with check_shapes("papers/recurrent/lstm.py", D=2, C=5):
        for cell in CELLS:
            train(replace(TINY, cell=cell, problems=3, batch=4), quiet(tmp_path / str(cell)))
