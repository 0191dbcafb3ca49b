"""The gated unit against torch's own, and against what its papers say of it."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from papers.common.data import grid
from papers.normalization.batch_norm import pace
from papers.recurrent import gru
from papers.recurrent.gru import (
    GRU,
    Config,
    Reader,
    ResetAfter,
    States,
    inside,
    picture,
    train,
)
from papers.recurrent.lstm import LSTM, Recurrent, evaluate, sequences
from papers.tools.shapes import check_shapes
from tests.given import quiet, randn
from tests.recurrent import plain

pytestmark = pytest.mark.usefixtures("seeded")

B, T, D, C = 2, 7, 3, 5
TINY = Config(length=6, problems=2, width=5, batch=3, steps=2)
CPU = torch.device("cpu")
CELLS: tuple[Any, ...] = ("gru", "reset-after", "no-reset", "lstm", "tanh")
KINDS: list[Any] = [GRU, ResetAfter]


# Parity


def pair(kind: type[GRU] = ResetAfter) -> tuple[GRU, nn.GRU]:
    """Ours with torch's weights, tensor by tensor."""
    theirs = nn.GRU(D, C, batch_first=True, dtype=torch.float64)
    ours = kind(D, C).double()
    for mine, yours in zip(ours.parameters(), (0, 2, 1, 3), strict=True):
        mine.data.copy_(list(theirs.parameters())[yours])
    return ours, theirs


def compare(ours: GRU, theirs: nn.GRU, started: bool) -> None:
    x, h = randn(B, T, D).requires_grad_(), randn(B, C).requires_grad_()
    ours_states, ours_h = ours(x, h) if started else ours(x)
    theirs_states, theirs_h = theirs(x, h[None]) if started else theirs(x)
    torch.testing.assert_close(ours_states, theirs_states, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(ours_h, theirs_h[0], rtol=1e-12, atol=1e-14)
    toward = torch.randn_like(ours_states)
    parts = [x, h] if started else [x]
    mine = [*parts, ours.inputs.weight, ours.recurrent.weight, *biases(ours)]
    ours_grads = torch.autograd.grad((ours_states * toward).sum(), mine)
    yours = [*parts, *theirs.parameters()]
    theirs_grads = torch.autograd.grad((theirs_states * toward).sum(), yours)
    for mine_grad, yours_grad in zip(ours_grads, theirs_grads, strict=True):
        if mine_grad.shape == (3 * C, C) and not isinstance(ours, ResetAfter):
            # Off the diagonal of the proposal's matrix, the two forms would learn otherwise.
            every = torch.eye(C, dtype=torch.bool)
            mine_grad, yours_grad = (
                torch.cat([grad[: 2 * C].flatten(), grad[2 * C :][every]])
                for grad in (mine_grad, yours_grad)
            )
        if mine_grad.shape == (3 * C,) and not isinstance(ours, ResetAfter):
            mine_grad, yours_grad = mine_grad[: 2 * C], yours_grad[: 2 * C]
        torch.testing.assert_close(mine_grad, yours_grad, rtol=1e-10, atol=1e-12)


def biases(layer: GRU) -> tuple[Tensor, Tensor]:
    return layer.inputs.bias, layer.recurrent.bias


@pytest.mark.parametrize("started", [False, True])
def test_outputs_and_gradients_are_those_of_torch(started: bool) -> None:
    compare(*pair(), started=started)


def test_one_step_is_torchs_cell() -> None:
    ours, whole = pair()
    theirs = nn.GRUCell(D, C, dtype=torch.float64)
    theirs.load_state_dict({k.removesuffix("_l0"): v for k, v in whole.state_dict().items()})
    x, h = randn(B, D), randn(B, C)
    torch.testing.assert_close(ours.step(ours.inputs(x), h), theirs(x, h))


def test_it_learns_what_torchs_learns() -> None:
    ours, theirs = pair()
    x, toward = randn(B, T, D), randn(B, T, C)
    for layer in (ours, theirs):
        optimizer = torch.optim.SGD(layer.parameters(), 0.5)
        for _ in range(5):
            optimizer.zero_grad()
            (layer(x)[0] - toward).square().mean().backward()
            optimizer.step()
    torch.testing.assert_close(ours(x)[0], theirs(x)[0])


def diagonal(layer: GRU, theirs: nn.GRU) -> None:
    with torch.no_grad():
        for weights, bias in (
            (layer.recurrent.weight, layer.recurrent.bias),
            (theirs.weight_hh_l0, theirs.bias_hh_l0),
        ):
            weights[2 * C :] *= torch.eye(C)
            bias[2 * C :] = 0


@pytest.mark.parametrize("started", [False, True])
def test_the_place_of_the_reset_matters_unless_the_matrix_is_diagonal(started: bool) -> None:
    ours, theirs = pair(GRU)
    x = randn(B, T, D)
    assert (ours(x)[0] - theirs(x)[0]).abs().max() > 0.01
    diagonal(ours, theirs)
    compare(ours, theirs, started)


def numbers(values: Tensor) -> list[Any]:
    listed: list[Any] = values.tolist()
    return listed


def test_a_step_is_equations_5_to_8() -> None:
    """Unit by unit and number by number, without biases, as the paper has it."""
    layer = GRU(D, C).double()
    for bias in biases(layer):
        nn.init.zeros_(bias)
    x, h = randn(D), randn(C)
    W, U, new = numbers(layer.inputs.weight), numbers(layer.recurrent.weight), []

    def total(row: int, state: list[float]) -> float:
        seen = sum(w * v for w, v in zip(W[row], numbers(x), strict=True))
        return float(seen + sum(u * v for u, v in zip(U[row], state, strict=True)))

    old = numbers(h)
    r = [1 / (1 + math.exp(-total(j, old))) for j in range(C)]
    for j in range(C):
        z = 1 / (1 + math.exp(-total(C + j, old)))
        candidate = math.tanh(total(2 * C + j, [a * b for a, b in zip(r, old, strict=True)]))
        new.append(z * old[j] + (1 - z) * candidate)
    assert layer.step(layer.inputs(x[None]), h[None])[0].tolist() == pytest.approx(new, rel=1e-12)


def test_chungs_update_gate_is_ours_with_the_opposite_sign() -> None:
    layer, x, h = GRU(D, C).double(), randn(B, D), randn(B, C)
    ours = layer.step(layer.inputs(x), h)
    with torch.no_grad():
        for weights in layer.parameters():
            weights[C : 2 * C] *= -1
    W, U = layer.inputs, layer.recurrent
    r, z = (W(x) + U(h))[:, : 2 * C].sigmoid().chunk(2, 1)
    n = (W(x) + U(r * h))[:, 2 * C :].tanh()
    torch.testing.assert_close((1 - z) * h + z * n, ours)


def test_the_second_bias_is_inside_the_reset() -> None:
    x, h = randn(B, D), randn(B, C)
    for kind, same in ((GRU, True), (ResetAfter, False)):
        layer = kind(D, C).double()
        before = layer.step(layer.inputs(x), h)
        moved, kept = biases(layer)
        with torch.no_grad():
            moved += kept
            kept.zero_()
        after = layer.step(layer.inputs(x), h)
        assert torch.allclose(before, after, rtol=1e-12) is same


def test_update_gates_start_open() -> None:
    layer, theirs = GRU(2, 64, keep=2.5), nn.GRU(2, 64)
    r, z, n = layer.inputs.bias.chunk(3)
    assert set(z.tolist()) == {2.5}
    assert max(r.abs().max(), n.abs().max()) < 1 / math.sqrt(2)
    assert theirs.bias_ih_l0.abs().max() < 1 / 8
    # Half open, a gate leaves a thousandth after ten steps, and with a bias of 1 a twentieth.
    assert torch.tensor(0.0).sigmoid().item() ** 10 == pytest.approx(0.001, rel=0.03)
    assert torch.tensor(1.0).sigmoid().item() ** 10 == pytest.approx(0.044, rel=0.02)


def test_it_has_three_quarters_of_an_lstms_weights() -> None:
    with torch.device("meta"):
        layers = GRU(300, 500), nn.LSTM(300, 500), nn.GRU(300, 500)
    ours, lstm, theirs = map(plain.size, layers)
    assert ours == theirs == 3 * 500 * (300 + 500 + 2)
    assert 4 * ours == 3 * lstm


# What the papers say


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_gates_are_for(kind: type[GRU]) -> None:
    layer, x, h = kind(D, C).double(), randn(B, D), randn(B, C).requires_grad_()

    def step(r: float, z: float) -> Tensor:
        with torch.no_grad():
            layer.inputs.bias[:C], layer.inputs.bias[C : 2 * C] = r, z
        return layer.step(layer.inputs(x), h)

    # Kept as it is, and the error with it.
    (gradient,) = torch.autograd.grad(step(0, 80).sum(), h)
    torch.testing.assert_close(step(0, 80), h)
    torch.testing.assert_close(gradient, torch.ones(B, C).double())
    # Where nothing is kept it is a plain network, and with a reset one at its first step.
    seen = layer.inputs(x)[:, 2 * C :]
    past = layer.recurrent(h)[:, 2 * C :]
    torch.testing.assert_close(step(80, -80), (seen + past).tanh())
    own = 0 if kind is ResetAfter else layer.recurrent.bias[2 * C :]
    torch.testing.assert_close(step(-80, -80), (seen + own).tanh())


@pytest.mark.parametrize("kind", KINDS)
def test_the_state_stays_between_minus_one_and_one(kind: type[GRU]) -> None:
    layer = kind(D, C).double()
    with torch.no_grad():
        layer.inputs.weight *= 30
    states, _ = layer(10 * randn(4, 50, D))
    assert 0.9 < states.abs().max() <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_sequence_can_be_read_in_pieces(kind: type[GRU]) -> None:
    plain.assert_read_in_pieces(kind(D, C).double(), randn(B, T, D), 3)


def test_without_its_reset_gate_the_proposal_sees_the_whole_state() -> None:
    layer, bare, x = GRU(D, C).double(), GRU(D, C, reset=False).double(), randn(B, T, D)
    bare.load_state_dict(layer.state_dict())
    with torch.no_grad():
        layer.inputs.bias[:C] = 80
    torch.testing.assert_close(layer(x)[0], bare(x)[0])
    with torch.no_grad():
        layer.inputs.bias[:C] = 0
    assert (layer(x)[0] - bare(x)[0]).abs().max() > 0.01


def test_the_error_comes_back_through_open_gates() -> None:
    x, _ = sequences(20, 1, 100)
    layers = GRU(2, 32, keep=3), GRU(2, 32), GRU(2, 32, keep=0), Recurrent(2, 57)
    lost = [plain.lost(layer, x) for layer in layers]
    assert lost[0] < 5 < lost[2] < lost[3]
    assert lost[0] < lost[1] < lost[2]


# The task


@pytest.mark.parametrize("cell", CELLS)
def test_the_reader_has_the_layer_that_is_asked_for(cell: Any) -> None:
    reader = Reader(replace(TINY, cell=cell, keep=0.7))
    kind = {"reset-after": ResetAfter, "lstm": LSTM, "tanh": Recurrent}.get(cell, GRU)
    layer: nn.Module = reader.layer
    assert type(layer) is kind
    assert reader.length == 6
    if isinstance(layer, GRU):
        assert layer.reset is (cell != "no-reset")
        assert layer.inputs.bias[5:10].tolist() == pytest.approx([0.7] * 5)
        assert layer.recurrent.in_features == 5
    x, _ = sequences(4, 2, 6)
    states, _ = reader.layer(x)
    torch.testing.assert_close(reader(x), reader.answer(states[:, [5, 11]])[..., 0])


def test_the_runs_have_as_many_weights() -> None:
    sizes = [plain.size(Reader(config).layer) for config in plain.configurations(gru)]
    assert max(sizes) < 1.02 * min(sizes)


@pytest.mark.parametrize("kind", KINDS)
def test_inside_are_the_gates_and_the_state(kind: type[GRU]) -> None:
    layer = kind(D, C).double()
    x = randn(B, T, D)
    r, z, h = inside(layer, x)
    states, _ = layer(x)
    torch.testing.assert_close(h.transpose(1, 2), states)
    before = torch.cat([torch.zeros(B, 1, C).double(), states[:, :-1]], 1)
    net = (layer.inputs(x) + layer.recurrent(before)).chunk(3, -1)
    torch.testing.assert_close(r.transpose(1, 2), net[0].sigmoid())
    torch.testing.assert_close(z.transpose(1, 2), net[1].sigmoid())


def test_the_picture_shows_the_unit_that_gives_way_at_the_marks() -> None:
    layer = GRU(2, 5)
    # One closes where the mark is 1. The others open there, and the first is shut all the same.
    with torch.no_grad():
        layer.inputs.weight[5:10] = torch.tensor([0.0, 1.0])
        layer.inputs.weight[8] = torch.tensor([0.0, -1.0])
        layer.inputs.bias[5] = -5.0
    x, _ = sequences(40, 2, 6)
    r, z, h = inside(layer, x)[:, :3, 3]
    sheets = []
    for b in range(3):
        rows = [x[b, :, 0], x[b, :, 1], r[b], z[b], (1 + h[b]) / 2]
        strips = [row.repeat_interleave(6).repeat(12, 1) for row in rows]
        sheets.append(grid(torch.stack(strips), columns=1))
    expected = grid(torch.stack(sheets), columns=1, gap=6)
    torch.testing.assert_close(picture(layer, x), expected)


# Training


@pytest.mark.parametrize("cell", CELLS)
def test_training_is_this_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cell: Any) -> None:
    seen, timed = plain.watch(monkeypatch), dict[str, Any]()

    def clock(ours: nn.Module, theirs: nn.Module, x: Tensor) -> float:
        assert isinstance(ours, States)
        assert isinstance(theirs, States)
        timed.update(ours=ours.layer, theirs=theirs.layer, x=x)
        return 7.0

    monkeypatch.setattr("papers.recurrent.gru.pace", clock)
    config = replace(TINY, cell=cell, steps=4, lr=0.03)
    found = train(config, quiet(tmp_path, seed=7))
    assert (tmp_path / "result.json").is_file()

    torch.manual_seed(7)
    model = Reader(config)
    x, _ = sequences(50, 2, 6)
    lost = plain.lost(model.layer, x)

    def loss() -> Tensor:
        x, answers = sequences(3, 2, 6)
        return (model(x) - answers).square().mean()

    plain.train(model, 0.03, 4, loss)
    plain.assert_trained_alike(seen, model)
    expected = evaluate(model, 2, CPU) | {"lost": lost, "weights": plain.size(model.layer)}
    layer: nn.Module = model.layer
    if isinstance(layer, GRU):
        expected["times_torch"] = 7.0
        shown = picture(layer, sequences(200, 2, 6)[0])
        torch.testing.assert_close(seen.shown["cell"], shown, rtol=0, atol=1e-3)
        assert type(timed["ours"]) is type(layer)
        assert timed["ours"].reset is layer.reset
        assert isinstance(timed["theirs"], nn.GRU)
        assert timed["theirs"].batch_first
        assert timed["theirs"].hidden_size == timed["ours"].recurrent.in_features == 5
        assert timed["x"].shape == (3, 12, 2)
    assert found == pytest.approx(expected, abs=1e-3)


def test_the_clock_takes_our_states(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seconds for each of ours and one for each of torch's."""
    ours, theirs = pair()
    moments = iter([moment for _ in range(60) for moment in (0.0, 2.0, 5.0, 6.0)])
    monkeypatch.setattr(time, "process_time", lambda: next(moments))
    x = randn(B, T, D)
    assert pace(States(ours), States(theirs), x) == 2
    torch.testing.assert_close(States(ours)(x), theirs(x)[0])


SHORT = Config(length=20, problems=1, width=16, steps=300)


@pytest.mark.slow
@pytest.mark.training
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_gated_units_add_where_a_plain_network_does_not(tmp_path: Path, seed: int) -> None:
    before, after = (
        train(replace(SHORT, cell=cell), quiet(tmp_path / str(cell), seed=seed))
        for cell in CELLS[:2]
    )
    control = replace(SHORT, cell="tanh", width=29, lr=0.003)
    ungated = train(control, quiet(tmp_path / "tanh", seed=seed))
    assert max(before["error"], after["error"]) < 0.02
    assert ungated["error"] > 0.06


# Shapes


def test_shape_comments(tmp_path: Path) -> None:
    with check_shapes("papers/recurrent/gru.py", D=2, C=5):
        for cell in CELLS[:2]:
            train(replace(TINY, cell=cell, problems=3, batch=4), quiet(tmp_path / str(cell)))
