"""Fuzzy tiles against a brute-force oracle, and what a network of them keeps."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from papers.activations import fta as page
from papers.activations.fta import (
    FTA,
    Config,
    Network,
    alike,
    arriving,
    drawn,
    error,
    fta,
    function,
    fuzzy,
    interference,
    tiling,
    train,
)
from papers.common import Run
from papers.common.data import grid
from papers.tools.shapes import check_shapes
from tests.given import quiet, randn, watched

pytestmark = pytest.mark.usefixtures("seeded")

TINY = Config(width=11, features=6, tiles=8, batch=5, steps=3, rates=2)
# Low end, high end, tiles and width of the edge; none makes an edge end on a number that is drawn.
TILINGS = [(-1.0, 1.0, 8, 0.25), (-1.0, 1.0, 20, 0.1), (-2.0, 3.0, 5, 0.37), (0.0, 1.0, 10, 0.0),
           (-3.0, 3.0, 6, 1.0), (-1.0, 1.0, 16, 0.3)]  # fmt: skip


def one_feature(z: float, begins: float, ends: float, eta: float) -> tuple[float, float]:
    """A feature and its slope, case by case, as it is told and not as it is written."""
    if begins <= z <= ends:
        return 1.0, 0.0
    distance, slope = (begins - z, 1.0) if z < begins else (z - ends, -1.0)
    return (1 - distance, slope) if distance < eta else (0.0, 0.0)


# Parity


@pytest.mark.parametrize(("low", "high", "K", "eta"), TILINGS)
def test_features_and_gradients_are_those_of_brute_force(
    low: float, high: float, K: int, eta: float
) -> None:
    delta = (high - low) / K
    z = (torch.rand(3, 40, dtype=torch.float64) * 1.4 - 0.2) * (high - low) + low
    z.requires_grad_()
    ours = fta(z, tiling(low, high, K).double(), delta, eta)
    assert ours.shape == (3, 40 * K)
    toward = randn(3, 40 * K)
    (gradient,) = torch.autograd.grad((ours * toward).sum(), z)
    for row in range(3):
        for at in range(40):
            told = [
                one_feature(z[row, at].item(), low + i * delta, low + (i + 1) * delta, eta)
                for i in range(K)
            ]
            features, slopes = torch.tensor(told, dtype=torch.float64).T
            mine = slice(at * K, at * K + K)
            torch.testing.assert_close(ours[row, mine], features, rtol=0, atol=1e-6)
            torch.testing.assert_close(gradient[row, at], (slopes * toward[row, mine]).sum())


def test_the_layer_tiles_from_minus_its_reach() -> None:
    layer, z = FTA(1.5, 6, 0.5), torch.randn(4, 7) * 0.4
    theirs = fta(z, tiling(-1.5, 1.5, 6), 0.5, 0.5)
    torch.testing.assert_close(layer(z), theirs)
    assert not list(layer.parameters())
    assert layer.state_dict()["c"].tolist() == pytest.approx([-1.5, -1, -0.5, 0, 0.5, 1])


def test_the_layer_in_the_middle_of_a_network() -> None:
    network, x = Network(replace(TINY, reach=0.6, eta=0.2)), torch.rand(9, 1) * 2 - 1
    z = network.second(network.first(x).relu())
    theirs = network.out(fta(z, tiling(-0.6, 0.6, 8), 0.15, 0.2))
    torch.testing.assert_close(network(x), theirs)
    plain = Network(replace(TINY, unit="relu"))
    stack = nn.Sequential(plain.first, nn.ReLU(), plain.second, nn.ReLU(), plain.out)
    torch.testing.assert_close(plain(x), stack(x))
    assert network.out.in_features == 8 * plain.out.in_features


# What the paper says


def test_the_indicator_is_the_papers() -> None:
    """With $I_+$ written out, but for the one point that it leaves out."""
    x = torch.linspace(0.0007, 3, 700, dtype=torch.float64)
    for eta in (0.0, 0.25, 1.0, 2.0):
        theirs = (eta - x > 0) * x + (x - eta > 0)
        torch.testing.assert_close(fuzzy(x, eta), theirs * 1.0)


def test_at_the_end_of_the_edge_it_is_zero() -> None:
    z = torch.tensor([-0.25], dtype=torch.float64)
    ours = fta(z, torch.tensor([0.0]).double(), 0.5, 0.25)
    assert ours.tolist() == [0]
    literal = 1 - ((0.25 - 0.25 > 0) * 0.25 + (0.25 - 0.25 > 0))
    assert literal == 1


def test_a_wide_edge_falls_below_zero() -> None:
    z = torch.tensor([-0.5, -1.5, -1.9, -2.1])
    assert fta(z, torch.tensor([0.0]), 2.0, 2.0).tolist() == pytest.approx([0.5, -0.5, -0.9, 0])


def test_beyond_the_range_nothing_is_on() -> None:
    z = torch.tensor([-1.3, -1.05, 0.0, 1.05, 1.3], requires_grad=True)
    on = fta(z, tiling(-1, 1, 20), 0.1, 0.1).view(5, 20)
    assert (on != 0).sum(1).tolist()[::4] == [0, 0]
    assert (on[1:4] != 0).any(1).all()
    (gradient,) = torch.autograd.grad((on * torch.randn(5, 20)).sum(), z)
    assert gradient[[0, 4]].tolist() == [0, 0]
    assert gradient[[1, 3]].all()


@pytest.mark.parametrize(("low", "high", "K", "eta"), TILINGS)
def test_few_features_are_on(low: float, high: float, K: int, eta: float) -> None:
    delta = (high - low) / K
    z = torch.linspace(low + 1e-4, high - 2e-4, 3001, dtype=torch.float64)
    on = (fta(z, tiling(low, high, K).double(), delta, eta).view(-1, K) != 0).sum(1)
    # A whole number of tiles that rounding makes a little less is whole.
    bound = 2 * math.floor(eta / delta + 1e-9) + 3
    assert on.min() >= 1
    assert on.max() <= bound
    assert on.max() >= min(K, bound - 2)


@pytest.mark.parametrize("m", [0, 1, 2, 3])
def test_the_features_of_a_number_add_up_to_a_constant(m: int) -> None:
    delta = 0.125
    z = torch.rand(500, dtype=torch.float64) * (2 - 2 * m * delta) - 1 + m * delta
    sums = fta(z, tiling(-1, 1, 16).double(), delta, m * delta).view(-1, 16).sum(1)
    expected = torch.full_like(sums, 1 + 2 * m - m**2 * delta)
    torch.testing.assert_close(sums, expected, rtol=0, atol=1e-6)


def test_the_worked_example() -> None:
    z, c = torch.tensor([0.2]), tiling(-1, 1, 4)
    assert c.tolist() == [-1, -0.5, 0, 0.5]
    assert fta(z, c, 0.5, 0).tolist() == pytest.approx([0, 0, 1, 0])
    assert fta(z, c, 0.5, 0.25).tolist() == pytest.approx([0, 0.8, 1, 0])
    assert fta(z, c, 0.5, 0.5).tolist() == pytest.approx([0, 0.8, 1, 0.7])


# Measures


def test_an_error_is_in_variances_of_the_function() -> None:
    class Says(nn.Module):
        def __init__(self, factor: float, most: float = 2) -> None:
            super().__init__()
            self.factor, self.most = nn.Parameter(torch.tensor(factor)), most

        def forward(self, x: Tensor) -> Tensor:
            return self.factor * torch.sin(2 * torch.pi * x) * (x < self.most)

    assert error(Says(1.0), -1, 1) == pytest.approx(0)
    assert error(Says(0.0), -1, 1) == pytest.approx(1, abs=0.003)
    assert error(Says(0.5), -1, 0) == pytest.approx(0.25, abs=0.003)
    assert error(Says(1.0, most=0), -1, 1) == pytest.approx(0.5, abs=0.003)
    assert error(Says(1.0, most=0), -1, 0) == pytest.approx(0, abs=0.003)


def test_it_is_two_waves() -> None:
    x = torch.tensor([-1, -0.75, -0.25, 0, 0.25, 0.75, 1])
    assert function(x).tolist() == pytest.approx([0, 1, -1, 0, 1, -1, 0], abs=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_stream_is_near_one_place(share: float) -> None:
    config = replace(TINY, batch=4000)
    x = arriving(config, share, torch.Generator().manual_seed(0))
    assert x.shape == (4000, 1)
    assert x.mean().item() == pytest.approx(2 * share - 1, abs=0.003)
    assert (x.max() - x.min()).item() == pytest.approx(0.1, abs=0.002)
    anywhere = arriving(replace(config, shuffled=True), share, torch.Generator().manual_seed(0))
    assert anywhere.mean().item() == pytest.approx(0, abs=0.05)
    assert anywhere.std().item() == pytest.approx(1 / math.sqrt(3), abs=0.02)


def test_cosines_are_those_of_gradients() -> None:
    """Of a network with three weights, where they can be written down."""

    class Parabola(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = (nn.Parameter(torch.tensor(w)) for w in (0.3, 0.1, -0.2))

        def forward(self, x: Tensor) -> Tensor:
            return self.a * x**2 + self.b * x + self.c

    x = torch.tensor([[-1.0], [0.5], [2.0]])
    rows = torch.cat([x**2, x, torch.ones(3, 1)], 1)
    theirs = nn.CosineSimilarity(-1)(rows[:, None], rows[None])
    torch.testing.assert_close(alike(Parabola(), x), theirs)


def test_interference_is_that_of_distant_inputs() -> None:
    cosines = torch.zeros(8, 8)
    for a in range(8):
        for b in range(8):
            cosines[a, b] = 1.0 if abs(a - b) < 2 else -0.25
    assert interference(cosines) == pytest.approx(0.25)


def test_tiles_interfere_less_than_relu() -> None:
    x = torch.linspace(-1, 1, 24)[:, None]
    for seed in range(3):
        torch.manual_seed(seed)
        tiled, plain = (
            interference(alike(Network(Config(unit=unit)), x)) for unit in ("fta", "relu")
        )
        assert tiled < plain - 0.1


def test_the_picture_has_both_curves_at_their_heights() -> None:
    class Says(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.at = nn.Parameter(torch.tensor(-1.2))

        def forward(self, x: Tensor) -> Tensor:
            return self.at.expand_as(x)

    sheet = drawn(Says(), 80, 240)
    red = (sheet[0] == 1) & (sheet[2] == 0.25)
    white = (sheet == 1).all(0)
    assert red.nonzero()[:, 0].unique().tolist() == [72, 73]
    assert white.any(0).all()
    # A quarter of a wave from the left the sine is at its highest.
    assert white[:, 30].nonzero()[0].item() == pytest.approx(80 / 6, abs=1.5)


# Training


@pytest.mark.parametrize(
    ("unit", "shuffled", "lr"), [("fta", False, 0.03), ("relu", False, 0.03), ("fta", True, 0.3)]
)
def test_training_is_the_plain_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unit: page.Unit, shuffled: bool, lr: float
) -> None:
    """The lower rate is the best one, but for the last case."""
    # The edge is so wide that some features are below zero.
    config = replace(TINY, unit=unit, shuffled=shuffled, lr=lr, reach=2.5, eta=1.3)
    seen: dict[str, Any] = {"x": [], "shares": []}

    def spy(config: Config, share: float, generator: torch.Generator) -> Tensor:
        seen["shares"].append(share)
        seen["x"].append(arriving(config, share, generator))
        return seen["x"][-1]

    monkeypatch.setattr(page, "arriving", spy)
    watch = watched(monkeypatch)
    monkeypatch.setattr(Run, "show", lambda run, name, what: seen.update({name: what}))
    numbers = train(config, quiet(tmp_path, seed=7))
    assert (tmp_path / "result.json").is_file()
    # A checkpoint of either loop holds all that it trains.
    assert watch.loops == [(3, ["model", "optimizer"])] * 4
    assert (watch.clips, watch.decays) == ({None}, {0})
    assert seen["shares"] == pytest.approx([(2 * i + 1) / 12 for i in range(6)] * 2)

    torch.manual_seed(7)
    places = torch.linspace(-1, 1, 64)[:, None]
    cosines = alike(Network(config), places)
    told, losses = [], []
    for at, tried in enumerate((lr, lr / 3)):
        model, sheets = Network(config), []
        plain = torch.optim.Adam(model.parameters(), tried)
        for step, x in enumerate(seen["x"][6 * at : 6 * at + 6]):
            plain.zero_grad()
            loss = (model(x) - torch.sin(2 * torch.pi * x)).square().mean()
            losses.append(loss.item())
            loss.backward()
            plain.step()
            if step == 2:
                first = error(model, -1, 0)
            if step in (2, 5):
                sheets.append(drawn(model))
        last = {"rate": tried, "first_half": first, "kept": error(model, -1, 0)}
        last |= {"error": error(model, -1, 1), "interference": interference(cosines)}
        last["active"] = (model.hidden(places) != 0).float().mean().item()
        told.append((last, sheets))
    expected, sheets = min(told, key=lambda each: each[0]["error"])
    assert numbers == pytest.approx(expected, rel=1e-3, abs=1e-4)
    assert watch.losses == {"loss": pytest.approx(losses, rel=2e-3, abs=1e-4)}
    lines = [f"{last['rate']:.2g}: {last['error']:.3f}" for last, _ in told]
    assert seen["rates"].split("\n") == lines
    # A pixel may be aside, where the last bit differs.
    assert (seen["fit"] != grid(torch.stack(sheets), columns=1)).float().mean() < 0.01
    large = cosines.abs().repeat_interleave(4, 0).repeat_interleave(4, 1)
    torch.testing.assert_close(seen["alike"], large)


@pytest.mark.training
@pytest.mark.parametrize("seed", [0, 1])
def test_hard_tiles_keep_what_was_learned_first(tmp_path: Path, seed: int) -> None:
    """Nothing below them moves, and no weight above them serves two places."""
    config = Config(eta=0, steps=400, lr=0.01, rates=1)
    tiled, plain = (
        train(replace(config, unit=unit), quiet(tmp_path / unit, seed=seed))
        for unit in ("fta", "relu")
    )
    assert tiled["kept"] < 0.3
    assert tiled["kept"] < plain["kept"] - 0.3
    # Some numbers are beyond the range, and none is on twice.
    assert tiled["active"] <= 1 / 20 + 1e-6


# Shapes


def test_shape_comments(tmp_path: Path) -> None:
    with check_shapes("papers/activations/fta.py", B=5, K=8):
        for unit in ("fta", "relu"):
            train(replace(TINY, unit=unit), quiet(tmp_path / unit))
