"""AdaBelief against a library's and against Adam, and what its races measure."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pytorch_optimizer import AdaBelief as TheirsAdaBelief
from torch import Tensor

from papers.common import Options, UserError
from papers.optimizers import adabelief
from papers.optimizers.adabelief import (
    RUNNERS,
    SURFACES,
    AdaBelief,
    Config,
    arrival,
    missing,
    on_a_slope,
    picture,
    race,
    table,
    train,
    valley,
)
from papers.optimizers.adam import Adam
from papers.tools.shapes import check_shapes

from .test_adamw import moved, options, weight
from .test_adamw import same_trajectory as assert_same_trajectory

LR = 0.02


@pytest.mark.parametrize("eps", [1e-16, 0.01])
def test_trajectory_is_that_of_the_library(eps: float) -> None:
    """A large epsilon as well, because a small one would hide where it is added."""
    assert_same_trajectory(
        lambda params: AdaBelief(params, LR, (0.8, 0.95), eps),
        lambda params: TheirsAdaBelief(params, lr=LR, betas=(0.8, 0.95), eps=eps),
    )


def test_with_a_forecast_of_zero_it_is_adam() -> None:
    """An average that hardly moves stays near zero, and any gradient is a surprise."""
    torch.manual_seed(3)
    gradients = torch.randn(30, dtype=torch.float64).tolist()
    betas = (1 - 1e-7, 0.9)
    ends = [
        moved(make([theta := weight()], LR, betas, eps=0), theta, *gradients)
        for make in (AdaBelief, Adam)
    ]
    assert ends[0] == pytest.approx(ends[1], abs=1e-6)
    assert abs(ends[0] - 1) > 0.01


def test_defaults_are_those_of_the_library() -> None:
    theirs = TheirsAdaBelief([weight()]).param_groups[0]
    ours = AdaBelief([weight()]).param_groups[0]
    assert all(ours[name] == theirs[name] for name in ("lr", "betas", "eps"))
    assert (ours["lr"], ours["betas"], ours["eps"]) == (1e-3, (0.9, 0.999), 1e-16)


def test_the_forecast_errs_by_a_constant_factor_more_than_we_see() -> None:
    """Compared with the average before the gradient, the step is shorter by beta1."""
    gradients = [1.0, 0.5, -0.3, 2.0]
    m = s = place = 0.0
    for t, g in enumerate(gradients, 1):
        s = 0.9 * s + 0.1 * (g - m) ** 2
        m = 0.8 * m + 0.2 * g
        place -= (m / (1 - 0.8**t)) / math.sqrt(s / (1 - 0.9**t))
    optimizer = AdaBelief([theta := weight(0.0)], 1.0, (0.8, 0.9), eps=0)
    assert moved(optimizer, theta, *gradients) == pytest.approx(place / 0.8)


def test_steps_ignore_the_scale_of_gradients() -> None:
    gradients = [1.0, 0.5, -0.3, 2.0]
    ends = [
        moved(AdaBelief([theta := weight()], eps=0), theta, *(scale * g for g in gradients))
        for scale in (1.0, 1e6)
    ]
    assert ends[0] == pytest.approx(ends[1], rel=1e-9)


def test_on_an_even_slope_the_step_grows() -> None:
    optimizer = AdaBelief([theta := weight(0.0)], 1.0, eps=0)
    in_adam = Adam([other := weight(0.0)], 1.0, eps=0)
    before = 0.0
    for t in range(1, 200):
        after = moved(optimizer, theta, -7.0)
        assert after - before == pytest.approx(on_a_slope(t), rel=1e-9)
        assert moved(in_adam, other, -7.0) == pytest.approx(t, rel=1e-9)
        before = after
    told = [on_a_slope(t) for t in (1, 100, 1000)]
    assert told == pytest.approx([1.11, 4.96, 20.2], rel=0.01)
    # It doubles where only the old surprise fades.
    half = math.log(4) / -math.log(0.999)
    assert half == pytest.approx(1400, rel=0.02)
    assert on_a_slope(20_000 + round(half)) / on_a_slope(20_000) == pytest.approx(2, rel=1e-3)


def test_where_gradients_turn_it_steps_as_adam_does() -> None:
    turning = [1.0, -1.0] * 50
    ends = []
    for make in (AdaBelief, Adam):
        optimizer = make([theta := weight(0.0)], 1.0)
        moved(optimizer, theta, *turning)
        before = theta.item()
        ends.append(abs(moved(optimizer, theta, 1.0) - before))
    assert ends[0] == pytest.approx(ends[1], rel=0.1)
    assert ends[0] < 0.1


def test_epsilon_bounds_the_step() -> None:
    eps, beta2 = 1e-6, 0.9
    optimizer = AdaBelief([theta := weight(0.0)], 1.0, (0.5, beta2), eps)
    moved(optimizer, theta, *[-3.0] * 500)
    before = theta.item()
    bound = 3 / (math.sqrt(eps / (1 - beta2)) + eps)
    assert moved(optimizer, theta, -3.0) - before == pytest.approx(bound, rel=1e-6)
    # With the default, some million rates.
    assert 1e6 < 1 / math.sqrt(1e-16 / 0.001) < 1e7


def test_without_correction_nothing_is_corrected() -> None:
    optimizer = AdaBelief([theta := weight(0.0)], 1.0, eps=0, correct=False)
    assert moved(optimizer, theta, 2.0) == pytest.approx(-0.2 / math.sqrt(0.001 * 1.8**2))


def test_surfaces_are_lowest_where_it_says() -> None:
    generator = torch.Generator().manual_seed(0)
    for surface, lowest in SURFACES.values():
        x, y = lowest + torch.randn(2, 1000, generator=generator)
        assert surface(x, y).min() > 0
        assert surface(torch.tensor(lowest), torch.tensor(lowest)) == 0
    x, y = torch.tensor([3.0, 1.0]), torch.tensor([1.0, -1.0])
    assert [surface(x, y).tolist() for surface, _ in SURFACES.values()] == [
        [4.0, 2.0],
        [pytest.approx(4.2), pytest.approx(0.2)],
        [6404.0, 400.0],
    ]


@pytest.mark.parametrize("runner", list(RUNNERS))
def test_a_race_is_each_runner_alone(runner: str) -> None:
    starts = torch.tensor([[1.0, -0.5], [0.3, 2.0]])
    noise = 0.1 * torch.randn(6, 2, 2, generator=torch.Generator().manual_seed(1))
    way = race(valley, RUNNERS[runner], starts, noise, 0.05)
    assert way.shape == (7, 2, 2)
    makes = {
        "adam": lambda theta: torch.optim.Adam([theta], 0.05),
        "adabelief": lambda theta: AdaBelief([theta], 0.05),
        "sgd": lambda theta: torch.optim.SGD([theta], 0.05, momentum=0.9),
    }
    for row, start in enumerate(starts):
        theta = start.clone()
        optimizer = makes[runner](theta)
        for step in range(6):
            torch.testing.assert_close(way[step, row], theta)
            (x, y) = theta.tolist()
            across, along = math.copysign(1, x + y), math.copysign(0.1, x - y)
            theta.grad = torch.tensor([across + along, across - along]) + noise[step, row]
            optimizer.step()
        torch.testing.assert_close(way[6, row], theta)


def test_who_has_arrived() -> None:
    heights = torch.tensor([[4.0, 4.0, 4.0], [1.0, 3.0, 0.1], [1.0, 2.0, 9.0]])
    assert arrival(heights, 0.25).tolist() == [1.0, 3.0, 1.0]
    assert arrival(heights, 0.5).tolist() == [1.0, 2.0, 1.0]
    # Each has a start of its own.
    apart = torch.tensor([[4.0, 8.0], [1.5, 1.5]])
    assert arrival(apart, 0.25).tolist() == [2.0, 1.0]
    # Along the floor: the heights of four starts, a fifth of their distance.
    way = torch.tensor([[[5.0, -5.0]], [[1.0, -1.0]], [[0.1, -0.1]]])
    assert missing(way, 0.2).tolist() == [1.0, 0.0, 0.0]
    assert missing(way.repeat(1, 2, 1) * torch.tensor([[[1.0], [0.0]]]), 0.02).tolist() == [
        0.5,
        0.5,
        0.0,
    ]


def test_the_picture_shows_ways_from_above() -> None:
    way = torch.tensor([[[2.5, 2.5]], [[0.0, 1.25]], [[9.0, 0.0]]])
    sheet = picture([way, way + 100], side=5)
    assert sheet.shape == (5, 5 + 4 + 5)
    # Up is up, and what lies outside is left out.
    assert (sheet[:, :5] == 0).nonzero().tolist() == [[0, 4], [1, 2]]
    assert not (sheet[:, 9:] == 0).any()
    assert sheet[2, 2] == pytest.approx(0.35)
    assert sheet[0, 9 + 4] == pytest.approx(1.0)
    assert sheet[4, 4] < sheet[0, 4 + 9]
    many = torch.zeros(1, 9, 2)
    many[0, 8] = 2.5
    assert picture([many], side=5)[0, 4] > 0


def test_the_table_names_surfaces_and_rates() -> None:
    means = {(name, runner): [1.0, 2.0] for name in SURFACES for runner in RUNNERS}
    means["valley", "sgd"] = [7.0, 8.0]
    lines = [line.split() for line in table([0.1, 0.3], means).splitlines()]
    assert lines[0] == ["corner", "adam", "adabelief", "sgd"]
    assert lines[3:6] == [
        ["valley", "adam", "adabelief", "sgd"],
        ["0.1", "1.0", "1.0", "7.0"],
        ["0.3", "2.0", "2.0", "8.0"],
    ]


def test_flags_without_sense_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--rates 1: give at least 2"):
        train(Config(rates=1), options(tmp_path))


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_what_is_measured(noise: float, tmp_path: Path) -> None:
    config = Config(lr=0.02, rates=4, starts=5, steps=25, noise=noise, tolerance=0.3)
    numbers = train(config, options(tmp_path, seed=4))
    generator = torch.Generator().manual_seed(4)
    starts = torch.rand(5, 2, generator=generator) * 4 - 2
    drawn = noise * torch.randn(25, 5, 2, generator=generator)
    rates = [0.02 * 3**row for row in range(4)]
    found: dict[str, list[float]] = {}
    for name, (surface, lowest) in SURFACES.items():
        for runner, make in RUNNERS.items():
            found[f"{name}_{runner}"] = []
            for lr in rates:
                way = race(surface, make, starts + lowest, drawn, lr)
                heights = surface(way[..., 0], way[..., 1])
                steps = arrival(heights, 0.3).mean().item()
                found[f"{name}_{runner}"].append(steps)
    expected = {name: min(values) for name, values in found.items()}
    row = max(0, found["valley_adam"].index(min(found["valley_adam"])) - 3)
    expected |= {f"small_{name}": found[f"valley_{name}"][row] for name in ("adam", "adabelief")}
    assert numbers == pytest.approx(expected)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["images"] == ["valley.png"]
    assert len(result["said"]["rates"].splitlines()) == 3 * 5
    for runner, make in RUNNERS.items():
        values = found[f"valley_{runner}"]
        way = race(valley, make, starts, drawn, rates[values.index(min(values))])
        series = result["series"][f"valley/{runner}"]["values"]
        assert series == pytest.approx(missing(way, 0.3)[1:].tolist())


def test_shapes(tmp_path: Path) -> None:
    config = Config(rates=2, starts=7, steps=5)
    with check_shapes("papers/optimizers/adabelief.py", M=7, T=5):
        train(config, Options(out=tmp_path, quiet=True, device="cpu"))


@pytest.mark.slow
@pytest.mark.training
def test_at_a_small_rate_belief_is_faster(tmp_path: Path) -> None:
    for seed in range(3):
        numbers = train(replace(Config(), starts=24, rates=5, steps=150), options(tmp_path, seed))
        assert numbers["small_adabelief"] < numbers["small_adam"] - 3
    starts = torch.full((1, 2), 1.5)
    ways = [
        race(adabelief.corner, RUNNERS[name], starts, torch.zeros(150, 1, 2), 0.01)
        for name in ("adabelief", "adam")
    ]
    ends: list[Tensor] = [arrival(adabelief.corner(*way.unbind(-1)), 0.05) for way in ways]
    assert ends[0] < 0.6 * ends[1]
