"""The game against torch's own loss, its best discriminator in closed form, and algorithm 1."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import integrate, stats
from scipy.spatial.distance import jensenshannon
from torch import Tensor, nn

from papers.adversarial import gan
from papers.adversarial.gan import (
    CENTRES,
    DEVIATION,
    Config,
    Film,
    Loss,
    best_value,
    coverage,
    gaussians,
    generator_loss,
    network,
    one_dimension,
    optimal_logit,
    scatter,
    train,
    value,
)
from papers.common import Run
from papers.common.data.grids import grid
from papers.tools.shapes import check_shapes
from tests.given import quiet, randn, watched

pytestmark = pytest.mark.usefixtures("seeded")

TINY = Config(noise=3, width=5, batch=7, steps=3)


def same(ours: Tensor, theirs: Tensor, *x: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)
    slopes = [torch.autograd.grad(y, x, allow_unused=True) for y in (ours, theirs)]
    for one, other in zip(*slopes, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


# Parity


def test_the_value_and_its_gradients_are_those_of_torch() -> None:
    real, fake = (3 * randn(size, 1) for size in (6, 4))
    real.requires_grad_(), fake.requires_grad_()
    bce = nn.BCEWithLogitsLoss()
    theirs = -bce(real, torch.ones_like(real)) - bce(fake, torch.zeros_like(fake))
    same(value(real, fake), theirs, real, fake)
    D_real, D_fake = real.sigmoid(), fake.sigmoid()
    same(value(real, fake), D_real.log().mean() + (1 - D_fake).log().mean(), real, fake)


def test_the_losses_of_the_generator_are_those_of_torch() -> None:
    fake = (3 * randn(5, 1)).requires_grad_()
    bce = nn.BCEWithLogitsLoss()
    same(generator_loss(fake), bce(fake, torch.ones_like(fake)), fake)
    same(generator_loss(fake, "minimax"), -bce(fake, torch.zeros_like(fake)), fake)


def test_certain_answers_have_finite_values() -> None:
    s = torch.tensor([500.0], requires_grad=True)
    wrong = value(-s, s)
    assert wrong.item() == pytest.approx(-1000)
    (slope,) = torch.autograd.grad(wrong, s)
    assert slope.item() == pytest.approx(-2)
    assert (1 - s.sigmoid()).log().isinf()


# What the paper says


@pytest.mark.parametrize("D", [0.001, 0.2, 0.5, 0.9])
def test_slopes_of_the_two_losses(D: float) -> None:
    s = torch.tensor([math.log(D / (1 - D))], dtype=torch.float64, requires_grad=True)
    (game,) = torch.autograd.grad(generator_loss(s, "minimax"), s)
    (other,) = torch.autograd.grad(generator_loss(s, "other"), s)
    assert game.item() == pytest.approx(-D)
    assert other.item() == pytest.approx(-(1 - D))


def test_no_discriminator_is_better_than_the_best() -> None:
    """Proposition 1 by brute force, where there are five points."""
    p, q = torch.rand(2, 5, dtype=torch.float64).softmax(-1)
    best = optimal_logit(p.log(), q.log()).requires_grad_()
    torch.testing.assert_close(best.sigmoid(), p / (p + q))

    def worth(s: Tensor) -> Tensor:
        return (p * F.logsigmoid(s) + q * F.logsigmoid(-s)).sum()

    (slope,) = torch.autograd.grad(worth(best), best)
    torch.testing.assert_close(slope, torch.zeros_like(slope), rtol=0, atol=1e-14)
    assert all(worth(best + randn(5)) < worth(best) for _ in range(50))
    torch.testing.assert_close(worth(best), best_value(p.log(), q.log(), 1.0))


def test_the_best_value_is_the_divergence() -> None:
    p, q = np.random.default_rng(0).dirichlet(np.ones(9), 2)
    theirs = -math.log(4) + 2 * jensenshannon(p, q) ** 2
    ours = best_value(torch.tensor(p).log(), torch.tensor(q).log(), 1.0)
    assert ours.item() == pytest.approx(theirs, rel=1e-12)
    same_again = best_value(torch.tensor(p).log(), torch.tensor(p).log(), 1.0)
    assert same_again.item() == pytest.approx(-math.log(4))
    # Twice the densities, each of which stands for half of the place.
    half = best_value(torch.tensor(p * 2).log(), torch.tensor(q * 2).log(), 0.5)
    assert half.item() == pytest.approx(theirs, rel=1e-12)


def test_the_best_value_of_two_normal_densities() -> None:
    p, q = stats.norm(0, 1).pdf, stats.norm(1.5, 2).pdf

    def inside(x: float) -> float:
        D = p(x) / (p(x) + q(x))
        return float(p(x) * math.log(D) + q(x) * math.log(1 - D))

    theirs = integrate.quad(inside, -7, 7)[0] + integrate.quad(
        lambda x: q(x) * math.log(1 - p(x) / (p(x) + q(x))), 7, 20
    )[0]  # fmt: skip
    x = torch.linspace(-10, 12, 2201, dtype=torch.float64)
    normal = torch.distributions.Normal
    ours = best_value(normal(0.0, 1.0).log_prob(x), normal(1.5, 2.0).log_prob(x), 0.01)
    assert ours.item() == pytest.approx(theirs, abs=1e-3)


def test_a_network_of_logits_that_are_right_has_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Best(nn.Linear):
        """The difference of two normal log densities, written out."""

        def forward(self, x: Tensor) -> Tensor:
            log_q = -((x - 1.5) ** 2) / 8 - math.log(2)
            return -(x**2) / 2 - log_q + 0 * super().forward(x)

    monkeypatch.setattr(gan, "network", lambda *sizes: Best(1, 1))
    told = one_dimension(0, steps=1)
    assert told["error"] == pytest.approx(0, abs=1e-6)
    assert told["gap"] == pytest.approx(0, abs=1e-6)

    class Half(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return 0 * super().forward(x)

    monkeypatch.setattr(gan, "network", lambda *sizes: Half(1, 1))
    told = one_dimension(0, steps=1)
    p, q = stats.norm(0, 1).pdf, stats.norm(1.5, 2).pdf
    off = integrate.quad(lambda x: abs(p(x) - q(x)) / 4, -10, 12, limit=200)[0]
    assert told["error"] == pytest.approx(off, abs=1e-3)
    assert told["untrained"] == pytest.approx(off, abs=1e-3)
    # Always one half is worth minus log 4, so what is missing is twice the divergence.
    x = np.linspace(-10, 12, 4001)
    assert told["gap"] == pytest.approx(2 * jensenshannon(p(x), q(x)) ** 2, abs=1e-3)


def test_the_players_have_three_hidden_layers() -> None:
    net, x = network(2, 6, 1), torch.randn(4, 2)
    sizes = [tuple(weight.shape) for weight in net.parameters() if weight.dim() == 2]
    assert sizes == [(6, 2), (6, 6), (6, 6), (1, 6)]
    first, _, second, _, third, _, last = net
    torch.testing.assert_close(net(x), last(third(second(first(x).relu()).relu()).relu()))


# Data and measures


def test_data_are_25_gaussians() -> None:
    x = gaussians(20_000, torch.Generator().manual_seed(0)).double()
    apart, which = torch.cdist(x, CENTRES.double()).min(1)
    assert torch.bincount(which).tolist() == pytest.approx([800] * 25, rel=0.12)
    assert apart.square().mean().sqrt().item() == pytest.approx(DEVIATION * math.sqrt(2), rel=0.02)
    offsets = x - CENTRES[which]
    assert offsets.mean(0).tolist() == pytest.approx([0, 0], abs=0.002)
    assert CENTRES.unique(dim=0).shape == (25, 2)
    assert CENTRES.abs().max() == 2


def test_coverage_of_what_is_known() -> None:
    x = gaussians(20_000, torch.Generator().manual_seed(1))
    modes, good = coverage(x)
    assert modes == 25
    assert good == pytest.approx(1 - math.exp(-4.5), abs=0.003)
    # Three Gaussians with all points, and one more with just a fifth of its share, or just less.
    for few, found in ((20, 4), (19, 3)):
        where = torch.arange(2500) % 3
        where[:few] = 7
        where[few : few + 500] = -1
        points = CENTRES[where]
        points[where == -1] = 0.5
        modes, good = coverage(points)
        assert (modes, good) == (found, 0.8)
    # On the edge of what is good.
    edge = torch.tensor([[2 + 2.99 * DEVIATION, 1.0], [2.0, 1 + 3.01 * DEVIATION]])
    assert coverage(edge) == (1, 0.5)


def test_a_point_is_drawn_where_it_is() -> None:
    empty = scatter(torch.zeros(0, 2), 52)
    assert empty.shape == (3, 52, 52)
    # The mean at the upper right, at (2, 2), has a grey disc.
    right, above = round((2 + 2.6) / 5.2 * 51), round((2.6 - 2) / 5.2 * 51)
    assert empty[:, above, right].tolist() == [0.75] * 3
    assert empty[:, above, right + 4].tolist() == [1] * 3
    drawn = scatter(torch.tensor([[1.5, 2.5], [9.0, 0.0]]), 52)
    rows, columns = (drawn != empty).any(0).nonzero(as_tuple=True)
    assert set(rows.tolist()) == {0, 1}
    assert set(columns.tolist()) == {40, 41}
    assert drawn[:, 0, 40].tolist() == pytest.approx([0.8, 0.2, 0.1])


def test_a_film_keeps_six_moments() -> None:
    film, made = Film(64, randn(9, 3).float()), network(3, 4, 2)
    assert film.moments == [2, 4, 8, 16, 32, 64]
    kept = {}
    for done in range(1, 65):
        with torch.no_grad():
            made[-1].bias.add_(1)
            kept[done] = made(film.z)
        film.look(done, made)
    torch.testing.assert_close(film.points, torch.stack([kept[at] for at in film.moments]))
    frames = torch.stack([scatter(points) for points in film.points])
    torch.testing.assert_close(film.sheet(), grid(frames, 3, gap=4))
    assert Film(1, film.z).moments == [1] * 6


# Training


@pytest.mark.parametrize(
    "config",
    [TINY, replace(TINY, loss="minimax", discriminator_steps=2), replace(TINY, generator_steps=3)],
)
def test_training_is_algorithm_1(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same draws, with torch's loss, written plainly."""
    nets: list[nn.Module] = []
    prepare = Run.prepare
    monkeypatch.setattr(Run, "prepare", lambda run, net: nets.append(net) or prepare(run, net))  # type: ignore[func-returns-value]
    shown: dict[str, Any] = {}
    monkeypatch.setattr(Run, "show", lambda run, name, what: shown.update({name: what}))
    monkeypatch.setattr(gan, "one_dimension", lambda seed: {"error": float(seed)})
    judged: list[Tensor] = []
    monkeypatch.setattr(gan, "coverage", lambda points: judged.append(points) or coverage(points))  # type: ignore[func-returns-value]
    asked: list[Loss] = []

    def noted(fake: Tensor, loss: Loss = "other") -> Tensor:
        asked.append(loss)
        return generator_loss(fake, loss)

    monkeypatch.setattr(gan, "generator_loss", noted)
    told = watched(monkeypatch)
    found = train(config, quiet(tmp_path, seed=4))
    assert asked == [config.loss] * (3 * config.generator_steps)

    torch.manual_seed(4)
    chance = torch.Generator().manual_seed(4)
    G, D = network(3, 5, 2), network(2, 5, 1)
    z = torch.randn(2500, 3, generator=chance)
    theirs = {net: torch.optim.Adam(net.parameters(), 0.001, betas=(0.5, 0.999)) for net in (G, D)}
    bce, values = nn.BCEWithLogitsLoss(), []
    for _ in range(3):
        for _ in range(config.discriminator_steps):
            x = gaussians(7, chance)
            fake = G(torch.randn(7, 3, generator=chance)).detach()
            loss = bce(D(x), torch.ones(7, 1)) + bce(D(fake), torch.zeros(7, 1))
            theirs[D].zero_grad()
            loss.backward()
            theirs[D].step()
        values.append(-loss.item())
        for _ in range(config.generator_steps):
            s = D(G(torch.randn(7, 3, generator=chance)))
            minimax = config.loss == "minimax"
            loss = -bce(s, torch.zeros(7, 1)) if minimax else bce(s, torch.ones(7, 1))
            theirs[G].zero_grad()
            loss.backward()
            theirs[G].step()
    for ours, other in zip(nets, (G, D), strict=True):
        for one, two in zip(ours.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(one, two)
    assert told.losses["value"] == pytest.approx(values, rel=1e-5)
    assert told.losses["distance"] == pytest.approx([abs(v + 1.3863) for v in values], abs=1e-4)
    assert told.loops == [(3, ["D", "G", "down", "film", "up"])]
    with torch.no_grad():
        modes, good = coverage(G(z))
        torch.testing.assert_close(judged[0], G(z))
    assert found == pytest.approx(
        {"modes": modes, "good": good, "value": values[-1], "error": 4}, rel=1e-4
    )
    assert shown["training"].shape == grid(torch.zeros(6, 3, 150, 150), 3, gap=4).shape


def test_shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gan, "one_dimension", partial(one_dimension, steps=2))
    with check_shapes("papers/adversarial/gan.py"):
        train(TINY, quiet(tmp_path))


@pytest.mark.training
@pytest.mark.parametrize("seed", range(2))
def test_a_discriminator_learns_the_ratio_of_densities(seed: int) -> None:
    torch.manual_seed(seed)
    told = one_dimension(seed, steps=250)
    assert told["error"] < 0.3 * told["untrained"]
    assert told["gap"] < 0.05


@pytest.mark.training
def test_the_generator_spreads_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It begins near one point, and ends with a spread like that of the data, which is 1.4."""
    films: list[Film] = []
    monkeypatch.setattr(gan, "one_dimension", lambda seed: {})
    monkeypatch.setattr(Film, "sheet", lambda film: films.append(film) or torch.zeros(2, 2))  # type: ignore[func-returns-value]
    train(Config(steps=256, width=64), quiet(tmp_path))
    first, last = (points.std(0).mean().item() for points in films[0].points[[0, -1]])
    assert first < 0.6
    assert 0.8 < last < 2.2
