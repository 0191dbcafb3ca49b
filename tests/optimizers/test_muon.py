"""Muon against `torch.optim` and the singular value decomposition, and what its five ways are."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import scipy.linalg
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, UserError
from papers.common.data import Characters, text
from papers.optimizers import muon
from papers.optimizers.adamw import AdamW
from papers.optimizers.lion import rms_in_noise
from papers.optimizers.muon import (
    Config,
    Muon,
    contestants,
    hidden,
    judge,
    newton_schulz,
    outside,
    overhead,
    polar,
    polynomial,
    rounds,
    scale,
    train,
    unit,
    ways,
)
from papers.tools.shapes import check_shapes
from papers.transformers import gpt2
from papers.transformers.gpt2 import GPT2, held_out

from .test_adamw import moved, options

SMALL = Config(layers=1, width=8, context=12, batch=3, steps=3, rates=2)
SHAPES = [(5, 9), (9, 5), (6, 6), (1, 4)]


def matrix(rows: int, columns: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, columns, dtype=torch.float64, generator=generator)


@pytest.fixture
def in_doubles(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's Muon turns to bfloat16, in which nobody could tell two algorithms apart."""
    monkeypatch.setattr(Tensor, "bfloat16", lambda tensor: tensor.clone())


def assert_same_trajectory(model: nn.Module, make_ours: Any, make_theirs: Any) -> None:
    theirs_model = copy.deepcopy(model)
    ours, theirs = make_ours(model.parameters()), make_theirs(theirs_model.parameters())
    x, y = matrix(40, 7, 1), matrix(40, 3, 2)
    for step in range(25):
        rows = slice(step % 4 * 10, step % 4 * 10 + 10)
        for each, optimizer in ((model, ours), (theirs_model, theirs)):
            optimizer.zero_grad()
            (each(x[rows]) - y[rows]).square().mean().backward()
            optimizer.step()
        for one, other in zip(model.parameters(), theirs_model.parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-12)


@pytest.mark.usefixtures("in_doubles")
@pytest.mark.parametrize(
    ("ours", "theirs"), [("post", "original"), ("moonshot", "match_rms_adamw")]
)
def test_trajectory_is_that_of_torch(ours: Any, theirs: str) -> None:
    """In their unit the decay is ours divided by the rate."""
    torch.manual_seed(0)
    layers = nn.Linear(7, 11, bias=False), nn.Tanh(), nn.Linear(11, 3, bias=False)
    assert_same_trajectory(
        nn.Sequential(*layers).double(),
        lambda params: Muon(params, 0.03, 0.9, 0.006, convention=ours),
        lambda params: torch.optim.Muon(params, 0.03, 0.2, 0.9, adjust_lr_fn=theirs),
    )


def test_of_a_single_number_it_is_adamw_without_memory() -> None:
    gradients = [3.0, -0.2, 0.01, -5.0]
    theta, other = (torch.ones(1, 1, dtype=torch.float64, requires_grad=True) for _ in range(2))
    moved(Muon([theta], 0.1, 0.0, 0.02, orthogonal=polar), theta, *gradients)
    moved(AdamW([other], 0.1, (0.0, 0.0), eps=0.0, weight_decay=0.02), other, *gradients)
    assert theta.item() == pytest.approx(other.item(), rel=1e-12)


def test_defaults_are_the_posts() -> None:
    theirs = torch.optim.Muon([torch.zeros(2, 2, requires_grad=True)]).defaults
    assert theirs["ns_coefficients"] == muon.COEFFICIENTS == (3.4445, -4.7750, 2.0315)
    group = Muon([torch.zeros(2, 2, requires_grad=True)]).param_groups[0]
    assert (group["lr"], group["betas"][0]) == (0.02, theirs["momentum"]) == (0.02, 0.95)


@pytest.mark.parametrize("shape", SHAPES)
def test_polar_factor_is_that_of_scipy(shape: tuple[int, int]) -> None:
    g = matrix(*shape)
    theirs, _ = scipy.linalg.polar(g.numpy())
    torch.testing.assert_close(polar(g), torch.from_numpy(theirs), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("steps", [0, 1, 5])
def test_singular_values_go_through_the_polynomial(shape: tuple[int, int], steps: int) -> None:
    g = matrix(*shape)
    u, s, v = torch.linalg.svd(g, full_matrices=False)
    values = s / s.square().sum().sqrt()
    for _ in range(steps):
        values = polynomial(values)
    torch.testing.assert_close(newton_schulz(g, steps), u * values @ v, rtol=1e-9, atol=1e-10)
    # The scale of a gradient does not matter.
    torch.testing.assert_close(newton_schulz(1e3 * g, steps), newton_schulz(g, steps))


def test_of_nothing_comes_nothing() -> None:
    assert torch.equal(newton_schulz(torch.zeros(3, 4)), torch.zeros(3, 4))


def test_what_the_page_says_of_the_polynomial() -> None:
    one = torch.ones((), dtype=torch.float64)
    assert polynomial(one).item() == pytest.approx(0.70, abs=0.005)
    assert polynomial(polynomial(one)).item() == pytest.approx(1.11, abs=0.005)
    values = torch.linspace(1 / 300, 1, 100_001, dtype=torch.float64)
    tiny = torch.tensor(1e-9, dtype=torch.float64)
    assert (polynomial(tiny) / tiny).item() == pytest.approx(3.4445)
    for step in range(40):
        values = polynomial(values)
        if step >= 4:
            assert values.min() >= 0.68
            assert values.max() <= 1.21
    # With the coefficients of Newton and Schulz it would converge, but not in five rounds.
    slow = torch.tensor([1 / 300, 0.5], dtype=torch.float64)
    for _ in range(5):
        slow = polynomial(slow, (15 / 8, -10 / 8, 3 / 8))
    assert slow[0] < 0.1
    assert slow[1].item() == pytest.approx(1.0, abs=1e-6)


def test_products_are_of_the_short_side(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    multiply = Tensor.__matmul__

    def watch(one: Tensor, other: Tensor) -> Tensor:
        product = multiply(one, other)
        sizes.append(tuple(product.shape))
        return product

    monkeypatch.setattr(Tensor, "__matmul__", watch)
    for shape in ((3, 8), (8, 3)):
        newton_schulz(matrix(*shape), steps=2)
    assert sizes == [(3, 3)] * 4


def test_half_precision_costs_a_percent() -> None:
    g = matrix(64, 96)
    exact, half = newton_schulz(g), newton_schulz(g.bfloat16()).double()
    off = torch.linalg.svdvals(half) - torch.linalg.svdvals(exact)
    assert 1e-4 < off.square().mean().sqrt() < 0.03
    assert (half - exact).norm() / exact.norm() < 0.05


@pytest.mark.parametrize("shape", SHAPES)
def test_the_control_is_as_long_and_has_the_directions_of_the_gradient(
    shape: tuple[int, int],
) -> None:
    g = matrix(*shape)
    assert unit(g).norm().item() == pytest.approx(polar(g).norm().item())
    torch.testing.assert_close(unit(g) / unit(g).norm(), g / g.norm())


def test_three_conventions_of_the_rate() -> None:
    assert [scale(4, 9), scale(9, 4), scale(5, 5)] == [1.0, 1.5, 1.0]
    assert scale(9, 4, "none") == 1.0
    assert scale(1024, 1024, "moonshot") / scale(1024, 1024) == pytest.approx(6.4)
    for shape in ((40, 90), (90, 40)):
        step = scale(*shape, "moonshot") * polar(matrix(*shape))
        assert step.square().mean().sqrt().item() == pytest.approx(0.2)
        # No output of a layer grows by more than the rate times the size of its input.
        x = matrix(1, shape[1], 3)
        out = scale(*shape) * polar(matrix(*shape)) @ x[0]
        if shape[0] > shape[1]:
            assert out.square().mean() <= 1.0001 * x.square().mean()
    assert rms_in_noise(0.9) == pytest.approx(0.2, abs=0.03)


def test_each_convention_takes_its_step() -> None:
    for convention in ("post", "moonshot", "none"):
        theta = torch.zeros(6, 2, dtype=torch.float64, requires_grad=True)
        theta.grad = matrix(6, 2)
        Muon([theta], 0.5, convention=convention, orthogonal=polar).step()  # type: ignore[arg-type]
        expected = -0.5 * scale(6, 2, convention) * polar(theta.grad)  # type: ignore[arg-type]
        torch.testing.assert_close(theta.detach(), expected)


def test_it_looks_ahead_and_keeps_a_sum() -> None:
    theta = torch.zeros(2, 2, dtype=torch.float64, requires_grad=True)
    optimizer = Muon([theta], 1.0, 0.5, orthogonal=lambda u: u)
    first, second = matrix(2, 2, 1), matrix(2, 2, 2)
    for g in (first, second):
        before = theta.detach().clone()
        theta.grad = g
        optimizer.step()
    momentum = 0.5 * first + second
    torch.testing.assert_close(before - theta.detach(), second + 0.5 * momentum)
    torch.testing.assert_close(optimizer.state[theta]["m"], momentum)


def test_a_convolution_is_a_matrix_and_a_bias_is_not() -> None:
    theta = torch.zeros(4, 3, 2, 2, requires_grad=True)
    theta.grad = matrix(4, 12).float().view_as(theta)
    Muon([theta], 1.0, orthogonal=polar).step()
    expected = -polar(theta.grad.view(4, 12)).view_as(theta)
    torch.testing.assert_close(theta.detach(), expected)
    with pytest.raises(UserError, match=r"weight of shape \(7,\) to AdamW"):
        Muon([torch.zeros(7, requires_grad=True)])


def test_the_decay_is_a_share_and_scheduled() -> None:
    theta = torch.ones(1, 1, dtype=torch.float64, requires_grad=True)
    optimizer = Muon([theta], 0.4, weight_decay=0.1, orthogonal=polar)
    optimizer.param_groups[0]["lr"] *= 0.5
    assert moved(optimizer, theta, 7.0) == pytest.approx(1 - 0.05 - 0.2)


def test_what_it_costs() -> None:
    assert overhead(768, 768, 524_288) == pytest.approx(5 * 768 / 524_288)
    assert overhead(768, 768, 524_288) == pytest.approx(0.007, abs=0.0005)
    assert overhead(30, 90, 1000, 3) == overhead(90, 30, 1000, 3)
    assert overhead(30, 90, 1000, 3) < 3 * 30 / 1000
    # Two operations for each of the products that a round makes.
    counted = 2 * (30 * 30 * 90 + 30 * 30 * 30 + 30 * 30 * 90)
    assert overhead(30, 90, 1000, 1) == pytest.approx(counted / (6 * 30 * 90 * 1000))


def test_hidden_matrices_go_to_muon() -> None:
    model = GPT2(gpt2.Config(layers=2, width=8, context=5), 11)
    names = {theta: name for name, theta in model.named_parameters()}
    inside, others = hidden(model)
    kinds = ("attention.qkv", "attention.out", "feed_forward.up", "feed_forward.down")
    expected = {f"blocks.{block}.{kind}.weight" for block in (0, 1) for kind in kinds}
    assert {names[theta] for theta in inside} == expected
    assert inside[0].shape == (24, 8)
    assert {names[theta] for theta in others} == set(names.values()) - expected
    everything, rest = hidden(model, embeddings=True)
    assert {names[theta] for theta in everything} == expected | {
        "tokens.weight",
        "positions.weight",
    }
    assert len(everything) + len(rest) == len(names)


def test_five_ways() -> None:
    model = GPT2(gpt2.Config(layers=1, width=8, context=5), 11)
    (adamw,) = ways(model, "adamw", 0.1, 0.7)
    assert not isinstance(adamw, Muon)
    assert len(adamw.param_groups[0]["params"]) == len(list(model.parameters()))
    made = {"muon": newton_schulz, "exact": polar, "unit": unit, "all": newton_schulz}
    for way, orthogonal in made.items():
        first, second = ways(model, way, 0.1, 0.7)
        assert isinstance(first, Muon)
        assert (first.orthogonal, first.convention) == (orthogonal, "moonshot")
        assert len(first.param_groups[0]["params"]) == (6 if way == "all" else 4)
        told = [
            (group["lr"], group["betas"], group["weight_decay"])
            for optimizer in (first, second)
            for group in optimizer.param_groups
        ]
        assert told == [(0.1, (0.7, 0.0), 0.0), (0.1, (0.9, 0.95), 0.0)]
    assert adamw.param_groups[0]["betas"] == (0.9, 0.95)


def test_contestants_start_alike_and_apart() -> None:
    everybody = contestants(SMALL, 11)
    assert list(everybody) == [(way, lr) for way in muon.WAYS for lr in (0.002, 0.006)]
    (first, _), *others = everybody.values()
    for model, _ in others:
        for one, other in zip(first.parameters(), model.parameters(), strict=True):
            assert torch.equal(one, other)
            assert one is not other


def test_the_text_that_chooses_does_not_count() -> None:
    chosen = {(way, lr): 5.0 + lr for way in muon.WAYS for lr in (1.0, 2.0)}
    chosen["muon", 2.0] = chosen["all", 2.0] = 1.0
    counted = {key: 10.0 * row for row, key in enumerate(chosen)}
    assert judge(chosen, counted) == {
        "adamw_loss": 0.0,
        "muon_loss": 30.0,
        "exact_loss": 40.0,
        "unit_loss": 60.0,
        "all_loss": 90.0,
        "same_rate": 20.0,
    }


def test_rounds_and_band_are_those_of_a_known_matrix() -> None:
    m = torch.diag(torch.tensor([3.0, 0.4, 1e-6], dtype=torch.float64))
    values = torch.tensor([3.0, 0.4, 1e-6], dtype=torch.float64) / math.hypot(3.0, 0.4)
    lines = rounds(m).splitlines()
    assert lines[0].split() == ["rounds", "largest", "median", "smallest"]
    for step in range(6):
        told = sorted(values.tolist(), reverse=True)
        assert lines[1 + step].split() == [str(step), *(f"{value:.4f}" for value in told)]
        values = polynomial(values)
    assert outside([m]) == pytest.approx(1 / 3)
    assert outside([m, matrix(3, 3)]) == pytest.approx(1 / 6)
    # One round takes the largest of these to above the band, where five end within it.
    assert outside([torch.diag(torch.tensor([1.0, 1e-9]))]) == 0.5


@pytest.mark.training
def test_training_is_these_loops(tmp_path: Path) -> None:
    """Each model alone, and what is measured of it."""
    numbers = train(SMALL, options(tmp_path, seed=2))
    run = Run(SMALL, options(tmp_path / "plain", seed=2))
    words = text("docs")
    characters = Characters.fit(words)
    tokens = characters.encode(words)
    cut = len(tokens) * 9 // 10
    windows = run.windows(tokens[:cut], length=12, size=3)
    first = GPT2(gpt2.Config(layers=1, width=8, context=12), len(characters))
    unseen = tokens[cut:]
    half = (len(unseen) + 1) // 2
    chosen, counted, medians, momenta = {}, {}, {}, {}
    for way in muon.WAYS:
        curves = []
        for lr in (0.002, 0.006):
            model = copy.deepcopy(first)
            optimizers = ways(model, way, lr, 0.95)
            curves.append([])
            for step in range(3):
                x, y = windows[step]
                loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
                model.zero_grad()
                loss.backward()
                for optimizer in optimizers:
                    lr_now = lr * (1 + math.cos(math.pi * step / 3)) / 2
                    optimizer.param_groups[0]["lr"] = lr_now
                    optimizer.step()
                curves[-1].append(loss.item())
            chosen[way, lr] = held_out(model, unseen[:half], 20_000)
            counted[way, lr] = held_out(model, unseen[half:], 20_000)
            momenta[way, lr] = [state.get("m") for state in optimizers[0].state.values()]
        medians[way] = torch.tensor(curves).median(0).values.tolist()
    best = min((0.002, 0.006), key=lambda lr: chosen["muon", lr])
    expected = judge(chosen, counted) | {"outside": outside(momenta["muon", best])}
    assert numbers == pytest.approx(expected, abs=2e-3)
    result = json.loads((tmp_path / "result.json").read_text())
    for way, values in medians.items():
        assert result["series"][f"loss/{way}"]["values"] == pytest.approx(values, rel=1e-3)
    lines = [line.split() for line in result["said"]["losses"].splitlines()]
    assert lines[0] == ["learning", "rate", *muon.WAYS]
    for lr, line in zip((0.002, 0.006), lines[1:], strict=True):
        losses = [chosen[way, lr] for way in muon.WAYS]
        assert [float(word) for word in line] == pytest.approx([lr, *losses], abs=2e-3)
    told = result["said"]["singular values"].splitlines()[1].split()
    ours = rounds(momenta["muon", best][-1]).splitlines()[1].split()
    assert [float(word) for word in told] == pytest.approx([float(w) for w in ours], abs=2e-3)
    (saved,) = (tmp_path / "checkpoints").glob("*.pt")
    # A model for each of ten, nine optimizers and nine more, but for AdamW's, and the run.
    assert len(torch.load(saved, weights_only=True)["state"]) == 10 + 10 + 8 + 1


@pytest.mark.training
def test_small_training_and_its_shapes(tmp_path: Path) -> None:
    with check_shapes("papers/optimizers/muon.py", B=3, T=12):
        train(replace(SMALL, steps=1), Options(out=tmp_path, quiet=True, device="cpu"))


@pytest.mark.slow
@pytest.mark.training
def test_muon_learns_faster(tmp_path: Path) -> None:
    """Three seeds in short."""
    config = Config(layers=1, width=32, context=32, steps=80)
    for seed in range(3):
        numbers = train(config, options(tmp_path, seed))
        assert numbers["muon_loss"] < numbers["adamw_loss"] - 0.03
        assert numbers["muon_loss"] < numbers["unit_loss"] - 0.03
