"""The penalty in closed form and point by point, the best critic's slope, and algorithm 1."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment, linprog
from scipy.stats import wasserstein_distance
from torch import Tensor, nn

from papers.adversarial import gradient_penalty
from papers.adversarial.gan import CENTRES, coverage, gaussians, network
from papers.adversarial.gradient_penalty import (
    CLIPPING,
    Config,
    best_slope,
    critic_loss,
    noisy_data,
    penalty,
    slopes,
    square,
    surface,
    train,
)
from papers.adversarial.wasserstein import clip_weights, sliced
from papers.common import Run
from papers.tools.shapes import check_shapes
from tests.given import quiet, randn, watched

pytestmark = pytest.mark.usefixtures("seeded")

TINY = Config(noise=3, width=5, batch=7, critic_steps=2, steps=3)
CLIPPED = replace(TINY, limit="clipping")


# The penalty


def test_the_penalty_and_its_gradient_in_closed_form() -> None:
    """A critic a x^2 / 2 + w x has the gradient a x + w."""
    a, w = randn(1).requires_grad_(), randn(2).requires_grad_()

    class Bowl(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return a * x.square().sum(1, keepdim=True) / 2 + (x @ w)[:, None]

    real, fake, epsilon = randn(6, 2), randn(6, 2), torch.rand(6, 1, dtype=torch.float64)
    x_hat = epsilon * real + (1 - epsilon) * fake
    ours = penalty(Bowl(), real, fake, epsilon)
    theirs = ((a * x_hat + w).square().sum(1).sqrt() - 1).square().mean()
    torch.testing.assert_close(ours, theirs)
    for one, other in zip(*(torch.autograd.grad(y, (a, w)) for y in (ours, theirs)), strict=True):
        torch.testing.assert_close(one, other)


def test_slopes_are_those_of_each_point_by_itself() -> None:
    critic = network(2, 6, 1).double()
    x = randn(5, 2)
    each = torch.func.vmap(torch.func.grad(lambda point: critic(point).squeeze()))(x)
    torch.testing.assert_close(slopes(critic, x), each.norm(dim=1))
    # Images: all pixels of one belong together.
    flat = nn.Sequential(nn.Flatten(), nn.Linear(12, 1, bias=False)).double()
    expected = flat[1].weight.norm().expand(4)
    torch.testing.assert_close(slopes(flat, randn(4, 3, 2, 2)), expected)


def test_where_the_critic_is_flat_the_gradient_is_finite() -> None:
    critic = nn.Linear(2, 1).double()
    nn.init.zeros_(critic.weight)
    x = randn(3, 2)
    loss = penalty(critic, x, x, torch.ones(3, 1))
    assert loss.item() == 1
    (slope,) = torch.autograd.grad(loss, critic.weight)
    assert slope.isfinite().all()


def test_the_critics_loss_is_equation_3() -> None:
    critic = network(2, 6, 1).double()
    real, fake, epsilon = randn(6, 2), randn(6, 2), torch.rand(6, 1, dtype=torch.float64)
    plain = critic(fake).mean() - critic(real).mean()
    config = Config(weight=0.7)
    ours = critic_loss(config, critic, real, fake, epsilon)
    torch.testing.assert_close(ours, plain + 0.7 * penalty(critic, real, fake, epsilon))
    ours = critic_loss(replace(config, limit="clipping"), critic, real, fake, epsilon)
    torch.testing.assert_close(ours, plain)


# The best critic


def test_the_slope_of_the_best_critic_on_a_line_gives_the_distance() -> None:
    x, y = randn(7), 2 * randn(5) + 0.5
    at = torch.linspace(-8, 8, 160_001, dtype=torch.float64)
    slope = best_slope(x, y, at)
    assert set(slope.unique().tolist()) <= {-1, 0, 1}
    height = slope.cumsum(0) * 1e-4
    f = [height[((points + 8) * 1e4).round().long()].mean().item() for points in (x, y)]
    assert f[0] - f[1] == pytest.approx(wasserstein_distance(x, y), abs=1e-3)
    # All data to the right of all samples: uphill all the way.
    assert best_slope(y.new_tensor([3.0]), y.new_tensor([1.0]), at[105_000:105_001]).item() == 1


def test_the_best_critic_in_the_plane_rises_by_the_way_along_the_plan() -> None:
    """Proposition 1, by linear programming: heights of the points, none steeper than 1."""
    x, y = randn(6, 2).numpy(), (2 * randn(6, 2) + 1).numpy()
    points = np.concatenate([x, y])
    pairs = [(i, j) for i in range(12) for j in range(12) if i != j]
    matrix = np.zeros((len(pairs), 12))
    for row, (i, j) in enumerate(pairs):
        matrix[row, [i, j]] = 1, -1
    bounds = np.array([np.linalg.norm(points[i] - points[j]) for i, j in pairs])
    goal = np.repeat([-1 / 6, 1 / 6], 6)
    f = linprog(goal, matrix, bounds, bounds=[(0, 0)] + [(None, None)] * 11).x
    cost = np.linalg.norm(x[:, None] - y[None], axis=-1)
    rows, columns = linear_sum_assignment(cost)
    rises = f[:6][rows] - f[6:][columns]
    assert rises == pytest.approx(cost[rows, columns], abs=1e-7)


# What is measured


def test_a_critic_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose slope is known: 3 to the right, and a step of the optimizer changes nothing."""

    class Ramp(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return 3 * (x[:, :1] + 0 * super().forward(x))

    monkeypatch.setattr(gradient_penalty, "network", lambda *sizes: Ramp(2, 1))
    told = noisy_data(Config(), 0, steps=1)[1]
    assert told["norm"] == pytest.approx(2, abs=1e-5)
    assert abs(told["estimate"]) < 0.15
    assert set(told) == {"norm", "estimate"}
    asked: list[Config] = []
    loss = critic_loss

    def note(config: Config, *rest: Any) -> Tensor:
        asked.append(config)
        noise = (rest[2] - rest[1]).abs().max().item()
        assert noise > 0
        return loss(config, *rest)

    monkeypatch.setattr(gradient_penalty, "critic_loss", note)
    noisy_data(Config(weight=0.3), 0, steps=1)
    assert asked[0].weight == 1

    class Limits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            c = CLIPPING.clip
            self.w = nn.Parameter(torch.tensor([c, -c, 5.0, 0.985 * c, 0.0]))

        def forward(self, x: Tensor) -> Tensor:
            return x.square().sum(1, keepdim=True) + 0 * self.w.sum()

    monkeypatch.setattr(gradient_penalty, "network", lambda *sizes: Limits())
    told = noisy_data(Config(limit="clipping"), 0, steps=1)[1]
    assert told["limits"] == pytest.approx(0.6)
    # Its gradient is 2 x, steepest in the corners of the square, where x is (3, 3). It is measured
    # on what is drawn after the step: data, noisy data, and where in between.
    chance = torch.Generator().manual_seed(0)
    for N in (128, 2000):
        real, fake = (gaussians(N, chance) for _ in range(2))
        fake = fake + 0.3 * torch.randn(N, 2, generator=chance)
        epsilon = torch.rand(N, 1, generator=chance)
    between = 2 * (epsilon * real + (1 - epsilon) * fake).norm(dim=1)
    assert told["norm"] == pytest.approx((between - 1).abs().mean().item(), rel=1e-4)
    gap = real.square().sum(1).mean() - fake.square().sum(1).mean()
    assert told["estimate"] == pytest.approx(gap.item() / (2 * 18**0.5), rel=1e-3)


def test_the_surface_is_drawn_the_right_way_up() -> None:
    places = square(5)
    assert places[0, 0].tolist() == [-3, 3]
    assert places[-1, 0].tolist() == [-3, -3]

    class Up(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[..., 1:]

    drawn = surface(Up(), 61)
    assert drawn[0, 2, 5] > drawn[0, -2, 5] + 0.4
    row, column = 20, 10
    assert drawn[:, row, column].tolist() == pytest.approx([0.8, 0.2, 0.1])
    # Eleven or twelve dark lines from top to bottom, beside the dots.
    dark = drawn[0, :, 3] < 0.3
    assert 10 <= int(dark.sum()) <= 13
    assert len(CENTRES) == 25


# Training


@pytest.mark.parametrize("config", [TINY, CLIPPED])
def test_training_is_algorithm_1(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nets: list[nn.Module] = []
    prepare = Run.prepare
    monkeypatch.setattr(Run, "prepare", lambda run, net: nets.append(net) or prepare(run, net))  # type: ignore[func-returns-value]
    shown: dict[str, Any] = {}
    monkeypatch.setattr(Run, "show", lambda run, name, what: shown.update({name: what}))
    other = network(2, 5, 1)
    seen: list[int] = []

    def alone(config: Config, seed: int) -> tuple[nn.Module, dict[str, float]]:
        seen.append(seed)
        return other, {"norm": 1.0}

    monkeypatch.setattr(gradient_penalty, "noisy_data", alone)
    told = watched(monkeypatch)
    found = train(config, quiet(tmp_path, seed=4))
    assert seen == [4]

    torch.manual_seed(4)
    chance = torch.Generator().manual_seed(4)
    G, D = network(3, 5, 2), network(2, 5, 1)
    z = torch.randn(2500, 3, generator=chance)
    soft = config.limit == "penalty"
    theirs: dict[nn.Module, torch.optim.Optimizer] = {
        net: torch.optim.Adam(net.parameters(), 0.002, betas=(0.5, 0.9))
        if soft
        else torch.optim.RMSprop(net.parameters(), 0.0005)
        for net in (G, D)
    }
    losses = []
    for _ in range(3):
        for _ in range(2):
            x = gaussians(7, chance)
            fake = G(torch.randn(7, 3, generator=chance)).detach()
            epsilon = torch.rand(7, 1, generator=chance)
            loss = D(fake).mean() - D(x).mean()
            if soft:
                each = torch.func.vmap(torch.func.grad(lambda p: D(p).squeeze()))
                norm = each(epsilon * x + (1 - epsilon) * fake).norm(dim=1)
                loss = loss + 0.1 * (norm - 1).square().mean()
            theirs[D].zero_grad()
            loss.backward()
            theirs[D].step()
            if not soft:
                clip_weights(D, 0.1)
        losses.append(loss.item())
        low = -D(G(torch.randn(7, 3, generator=chance))).mean()
        theirs[G].zero_grad()
        low.backward()
        theirs[G].step()
    for ours, those in zip(nets, (G, D), strict=True):
        for one, two in zip(ours.parameters(), those.parameters(), strict=True):
            torch.testing.assert_close(one, two)
    assert told.losses["loss"] == pytest.approx(losses, abs=1e-5)
    assert told.loops == [(3, ["D", "G", "down", "film", "up"])]
    with torch.no_grad():
        made = G(z)
    modes, good = coverage(made)
    data, more = gaussians(2500, chance), gaussians(2500, chance)
    expected = {"modes": modes, "good": good, "norm": 1, "floor": sliced(data, more).item()}
    assert found == pytest.approx(expected | {"distance": sliced(data, made).item()}, rel=1e-4)
    torch.testing.assert_close(shown["surface"], surface(other))
    assert "training" in shown


def test_shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradient_penalty, "noisy_data", partial(noisy_data, steps=1))
    monkeypatch.setattr(gradient_penalty, "surface", partial(surface, S=30))
    with check_shapes("papers/adversarial/gradient_penalty.py"):
        best_slope(torch.randn(4), torch.randn(6), torch.randn(9))
        train(TINY, quiet(tmp_path))


@pytest.mark.training
def test_the_penalty_draws_the_gradient_to_one_and_clipping_weights_to_their_limits() -> None:
    torch.manual_seed(0)
    soft = noisy_data(Config(), 0, steps=300)[1]
    assert soft["norm"] < 0.4
    assert noisy_data(Config(limit="clipping"), 0, steps=300)[1]["limits"] > 0.05
