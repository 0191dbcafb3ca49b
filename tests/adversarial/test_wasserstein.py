"""Distances against scipy and brute force, the critic's bound, and algorithm 1."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.stats import wasserstein_distance
from torch import Tensor, nn

from papers.adversarial import wasserstein
from papers.adversarial.gan import coverage, gaussians, network, value
from papers.adversarial.wasserstein import (
    Config,
    Diary,
    Opponent,
    clip_weights,
    critic_value,
    exact,
    judge_shifts,
    sliced,
    theta_apart,
    train,
    worth,
)
from papers.common import Run
from papers.tools.shapes import check_shapes
from tests.given import quiet, randn, watched

pytestmark = pytest.mark.usefixtures("seeded")

TINY = Config(noise=3, width=5, batch=7, critic_steps=2, steps=3)


# Distances


@pytest.mark.parametrize(("N", "M"), [(1, 1), (6, 6), (5, 8), (40, 3)])
def test_the_exact_distance_is_that_of_scipy(N: int, M: int) -> None:
    x, y = randn(3, N), 2 * randn(3, M) + 1
    theirs = [wasserstein_distance(a, b) for a, b in zip(x, y, strict=True)]
    assert exact(x, y).tolist() == pytest.approx(theirs, rel=1e-12)
    # What moves the points of scipy's a little moves its distance as our gradient says.
    first = x[0].clone().requires_grad_()
    (slope,) = torch.autograd.grad(exact(first, y[0]), first)
    for at in range(N):
        step = torch.eye(N, dtype=torch.float64)[at] * 1e-7
        up, down = (wasserstein_distance(x[0] + way * step, y[0]) for way in (1, -1))
        assert slope[at].item() == pytest.approx((up - down) / 2e-7, abs=1e-7)
    # Points that several share.
    x, y = x.round(), y.round()
    theirs = [wasserstein_distance(a, b) for a, b in zip(x, y, strict=True)]
    assert exact(x, y).tolist() == pytest.approx(theirs, rel=1e-12)


def test_its_gradient_is_that_of_sorted_pairs() -> None:
    x, y = randn(9).requires_grad_(), randn(9)
    pairs = (x.sort().values - y.sort().values).abs().mean()
    torch.testing.assert_close(exact(x, y), pairs)
    ours, theirs = (torch.autograd.grad(d, x)[0] for d in (exact(x, y), pairs))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("theta", [-2.0, 0.0, 0.3, 4.0])
def test_a_shift_is_as_far_as_it_is(theta: float) -> None:
    x = randn(50)
    assert exact(x, x + theta).item() == pytest.approx(abs(theta))
    points = randn(40, 2)
    moved = points + torch.tensor([theta, 0.0])
    assert sliced(points, moved, 400).item() == pytest.approx(abs(theta) * 2 / math.pi, rel=1e-3)


def test_shadows_are_no_farther_than_the_points() -> None:
    x, y = randn(30, 2), 2 * randn(30, 2) + 1
    cost = torch.cdist(x, y).numpy()
    rows, columns = linear_sum_assignment(cost)
    plan = cost[rows, columns].mean()
    # For one pair it is 2 over pi of its distance, and shadows may do better than the plan.
    assert 0.5 * plan < sliced(x, y).item() < plan * 2 / math.pi
    # One direction at a time, by scipy.
    angles = np.arange(32) * math.pi / 32
    theirs = [
        wasserstein_distance(*(p.numpy() @ [math.cos(a), math.sin(a)] for p in (x, y)))
        for a in angles
    ]
    assert sliced(x, y).item() == pytest.approx(np.mean(theirs), rel=1e-6)


# The critic


def test_the_critic_value_is_the_difference_of_means() -> None:
    real, fake = (3 * randn(size, 1) for size in (6, 4))
    real.requires_grad_(), fake.requires_grad_()
    ours = critic_value(real, fake)
    theirs = real.sum() / 6 - fake.sum() / 4
    torch.testing.assert_close(ours, theirs)
    slopes = [torch.autograd.grad(y, (real, fake)) for y in (ours, theirs)]
    for one, other in zip(*slopes, strict=True):
        torch.testing.assert_close(one, other)
    torch.testing.assert_close(worth(real, fake, "critic"), ours)
    torch.testing.assert_close(worth(real, fake, "discriminator"), value(real, fake))
    # The best function for a shift is the line itself.
    x = randn(20)
    torch.testing.assert_close(critic_value(x + 3, x), exact(x, x + 3))


def test_no_function_of_slope_one_gets_more_than_the_distance() -> None:
    x, y = randn(40), 0.5 * randn(30) + 1
    bound = exact(x, y).item()
    for at in torch.linspace(-2, 3, 20):
        for f in ((x - at).abs(), (y - at).abs()), ((x - at).sin(), (y - at).sin()):
            assert critic_value(*f).abs().item() <= bound + 1e-12


def test_all_parameters_are_clipped() -> None:
    critic = network(2, 6, 1)
    before = [p.clone() for p in critic.parameters()]
    clip_weights(critic, 0.1)
    for was, now in zip(before, critic.parameters(), strict=True):
        torch.testing.assert_close(now, was.clamp(-0.1, 0.1))
        assert now.requires_grad
    assert any((was.abs() > 0.1).any() for was in before)


def test_an_estimate_is_divided_by_the_steepness(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line of slope 7 is the best critic, whatever its slope. A kink at 1 halves what it says."""

    class Line(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return -7 * (x.clamp(max=bend)) + 0 * super().forward(x)

    monkeypatch.setattr(wasserstein, "network", lambda *sizes: Line(1, 1))
    bend = 100.0
    assert theta_apart(2.0, "critic", 0.3, 1) == pytest.approx(2, abs=0.05)
    bend = 1.0
    assert theta_apart(2.0, "critic", 0.3, 1) == pytest.approx(1, abs=0.05)
    bend = 0.0
    # Of a discriminator, a divergence: that of a fixed logit follows from the value.
    told = theta_apart(2.0, "discriminator", 0.3, 1)
    x = 0.1 * torch.randn(50_000, 1)
    expected = (value(-7 * x.clamp(max=0), 0 * x) + math.log(4)) / 2
    assert told == pytest.approx(expected.item(), abs=0.06)


def test_shifts_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[float, Opponent, float]] = []

    def apart(theta: float, opponent: Opponent, clip: float) -> float:
        asked.append((theta, opponent, clip))
        return theta**2 / 5

    monkeypatch.setattr(wasserstein, "theta_apart", apart)
    assert judge_shifts(Config(clip=0.2)) == pytest.approx({"doubling": 4, "reached": 0.8})
    assert judge_shifts(Config(opponent="discriminator")) == pytest.approx({"doubling": 4})
    assert asked[:2] == [(2.0, "critic", 0.2), (4.0, "critic", 0.2)]
    assert asked[2][1] == "discriminator"


def test_a_diary_has_estimates_and_distances() -> None:
    data, z = gaussians(300, torch.Generator().manual_seed(0)), torch.randn(200, 3)
    diary = Diary(400, z, data, "critic")
    made, critic = network(3, 4, 2), network(2, 4, 1)
    assert diary.write(7, made, critic) == {}
    written = []
    for done in range(10, 401, 10):
        with torch.no_grad():
            made[-1].bias.add_(0.1)
            pair = critic_value(critic(data), critic(made(z))), sliced(data, made(z))
        told = diary.write(done, made, critic)
        torch.testing.assert_close(tuple(told.values()), pair)
        written.append([part.item() for part in pair])
    assert list(told) == ["estimate", "distance"]
    theirs = np.corrcoef(np.array(written[4:]).T)[0, 1]
    assert diary.agreement() == pytest.approx(theirs, abs=1e-4)


# Training


@pytest.mark.parametrize("config", [TINY, replace(TINY, opponent="discriminator")])
def test_training_is_algorithm_1(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nets: list[nn.Module] = []
    prepare = Run.prepare
    monkeypatch.setattr(Run, "prepare", lambda run, net: nets.append(net) or prepare(run, net))  # type: ignore[func-returns-value]
    shown: dict[str, Any] = {}
    monkeypatch.setattr(Run, "show", lambda run, name, what: shown.update({name: what}))
    monkeypatch.setattr(wasserstein, "judge_shifts", lambda config: {"reached": config.clip})
    told = watched(monkeypatch)
    found = train(config, quiet(tmp_path, seed=4))

    torch.manual_seed(4)
    chance = torch.Generator().manual_seed(4)
    G, f = network(3, 5, 2), network(2, 5, 1)
    z, data = torch.randn(2500, 3, generator=chance), gaussians(2500, chance)
    theirs = {net: torch.optim.RMSprop(net.parameters(), lr=0.0005) for net in (G, f)}
    bce, estimates, distances = nn.BCEWithLogitsLoss(), [], []
    for _ in range(3):
        for _ in range(2):
            x = gaussians(7, chance)
            fake = G(torch.randn(7, 3, generator=chance)).detach()
            if config.opponent == "critic":
                loss = f(fake).mean() - f(x).mean()
            else:
                loss = bce(f(x), torch.ones(7, 1)) + bce(f(fake), torch.zeros(7, 1))
            theirs[f].zero_grad()
            loss.backward()
            theirs[f].step()
            if config.opponent == "critic":
                for weight in f.parameters():
                    weight.data = weight.data.clamp(-0.1, 0.1)
        s = f(G(torch.randn(7, 3, generator=chance)))
        loss = -s.mean() if config.opponent == "critic" else bce(s, torch.ones(7, 1))
        theirs[G].zero_grad()
        loss.backward()
        theirs[G].step()
        with torch.no_grad():
            estimates.append(worth(f(data), f(G(z)), config.opponent).item())
            distances.append(sliced(data, G(z)).item())
    for ours, other in zip(nets, (G, f), strict=True):
        for one, two in zip(ours.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(one, two)
    assert told.losses["estimate"] == pytest.approx(estimates, abs=1e-5)
    assert told.losses["distance"] == pytest.approx(distances, abs=1e-5)
    assert told.loops == [(3, ["G", "diary", "down", "f", "up"])]
    with torch.no_grad():
        modes, good = coverage(G(z))
    floor = sliced(data, gaussians(2500, chance)).item()
    correlation = np.corrcoef(estimates, distances)[0, 1]
    expected = {"modes": modes, "good": good, "agreement": correlation, "floor": floor}
    expected |= {"distance": distances[-1], "reached": 0.1}
    assert found == pytest.approx(expected, rel=1e-2, abs=1e-5)
    assert "training" in shown


def test_shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wasserstein, "theta_apart", partial(theta_apart, steps=1))
    with check_shapes("papers/adversarial/wasserstein.py"):
        exact(torch.randn(2, 5), torch.randn(2, 7))
        sliced(torch.randn(5, 2), torch.randn(7, 2), 3)
        theta_apart(1.0, "critic", 0.3, 2)
        train(TINY, quiet(tmp_path))


@pytest.mark.training
def test_a_critic_measures_a_distance_and_a_discriminator_does_not() -> None:
    torch.manual_seed(0)
    critic = judge_shifts(Config())
    assert critic["doubling"] > 1.7
    assert 0.8 < critic["reached"] < 1.01
    assert judge_shifts(Config(opponent="discriminator"))["doubling"] < 1.2
