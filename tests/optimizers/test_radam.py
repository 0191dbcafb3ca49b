"""RAdam against `torch.optim`, and its formulas against simulations and each other."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, UserError
from papers.common.data import digits
from papers.optimizers import radam
from papers.optimizers.adam import Adam
from papers.optimizers.radam import (
    Config,
    RAdam,
    check,
    first_order,
    length,
    rectification,
    simulate,
    table,
    train,
    variance,
)
from papers.tools.shapes import check_shapes

SMALL = Config(lr=0.01, rates=2, beta2=0.8, width=12, layers=2, averages=50, batch=30, steps=14)


def options(folder: Path, seed: int = 0) -> Options:
    return Options(out=folder, quiet=True, checkpoint_every=0, device="cpu", seed=seed)


def regression() -> tuple[nn.Sequential, Tensor, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(7, 11), nn.Tanh(), nn.Linear(11, 3)).double()
    return model, torch.randn(40, 7, dtype=torch.float64), torch.randn(40, 3, dtype=torch.float64)


def steps_on(gradients: list[float], make: type[Adam], **told: Any) -> list[float]:
    """The steps of one coordinate under a sequence of gradients, at a learning rate of one."""
    theta = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = make([theta], **{"lr": 1.0, "eps": 0.0} | told)
    steps = []
    for g in gradients:
        before = theta.item()
        theta.grad = torch.full_like(theta, g)
        optimizer.step()
        steps.append(theta.item() - before)
    return steps


@pytest.mark.parametrize("eps", [1e-8, 0.3])
@pytest.mark.parametrize("beta2", [0.999, 0.9, 0.5])
@pytest.mark.parametrize("kind", [{"foreach": False}, {"foreach": True}])
def test_trajectory_is_that_of_torch(kind: dict[str, Any], beta2: float, eps: float) -> None:
    """With a long average, a short one, and one that is never long enough."""
    ours_model, x, y = regression()
    theirs_model = copy.deepcopy(ours_model)
    told: dict[str, Any] = {"lr": 0.05, "betas": (0.8, beta2), "eps": eps}
    ours = RAdam(ours_model.parameters(), **told)
    theirs = torch.optim.RAdam(theirs_model.parameters(), **told, **kind)
    for step in range(30):
        rows = slice(step % 4 * 10, step % 4 * 10 + 10)
        for model, optimizer in ((ours_model, ours), (theirs_model, theirs)):
            optimizer.zero_grad()
            (model(x[rows]) - y[rows]).square().mean().backward()
            optimizer.step()
        for ours_theta, theirs_theta in zip(
            ours_model.parameters(), theirs_model.parameters(), strict=True
        ):
            torch.testing.assert_close(ours_theta, theirs_theta, rtol=1e-11, atol=1e-12)


def test_the_length_has_the_same_centre_of_mass() -> None:
    """Equation 4, by adding up."""
    for beta2 in (0.9, 0.999):
        for t in (1, 2, 7, 40, 3000):
            weights = [beta2 ** (t - i) for i in range(1, t + 1)]
            age = sum(w * (t - i) for i, w in enumerate(weights, 1)) / sum(weights)
            assert length(t, beta2) == pytest.approx(2 * age + 1, rel=1e-6)
    assert length(100_000, 0.999) == pytest.approx(1999)


def test_equation_2_is_computed() -> None:
    for rho in (4.5, 5.0, 6.0, 20.0, 100.0):
        half = (rho - 1) / 2
        beta = math.exp(2 * math.lgamma(half) - math.lgamma(2 * half))
        printed = rho / (rho - 2) - rho * 2 ** (2 * rho - 5) / math.pi * beta**2
        assert variance(rho) == pytest.approx(printed, rel=1e-6)
    # What the paper says of it.
    assert variance(5) > 100 * variance(500)
    lengths = [2 + n / 10 for n in range(1, 2000)]
    found = [variance(rho) for rho in lengths]
    assert found == sorted(found, reverse=True)


def test_equation_2_is_what_is_drawn() -> None:
    """One over the root of a mean of squares, of ten gradients."""
    g = torch.randn(200_000, 10, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    drawn = g.square().mean(1).rsqrt().var().item()
    assert variance(10) == pytest.approx(drawn, rel=0.03)
    # The first order is a third too large there.
    assert first_order(10) / drawn == pytest.approx(1.38, abs=0.06)


def test_the_variance_is_finite_above_two() -> None:
    assert variance(2) == math.inf
    assert first_order(4) == math.inf
    g = torch.randn(400_000, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    # Heavy tails: a rough number, but no larger one with more draws.
    assert g.square().mean(1).rsqrt().var().item() == pytest.approx(variance(4), rel=0.15)
    assert variance(3) < 2


def test_the_first_order_is_good_for_long_averages_alone() -> None:
    assert first_order(6) / variance(6) == pytest.approx(2.15, abs=0.05)
    assert first_order(40) / variance(40) == pytest.approx(1.07, abs=0.02)
    assert first_order(1999) / variance(1999) == pytest.approx(1, abs=0.01)


def test_rectification_is_that_of_algorithm_2() -> None:
    for rho, longest in ((5.5, 1999.0), (100.0, 1999.0), (20.0, 199.0)):
        expected = ((rho - 4) * (rho - 2) * longest) / ((longest - 4) * (longest - 2) * rho)
        assert rectification(rho, longest) == pytest.approx(math.sqrt(expected))
    assert rectification(199.0, 199.0) == 1.0
    middle = rectification(500.0, 1999.0)
    assert middle == pytest.approx(math.sqrt(500 / 1999), rel=0.01)


def test_in_the_long_run_it_is_adam() -> None:
    gradients = torch.randn(400, generator=torch.Generator().manual_seed(3)).tolist()
    ours, adam = (steps_on(gradients, make, betas=(0.9, 0.95)) for make in (RAdam, Adam))
    assert ours[-50:] == pytest.approx(adam[-50:], rel=1e-4)
    # The start is not Adam's, but Adam's times a number.
    t = 12
    r = rectification(length(t, 0.95), 39.0)
    assert r < 0.6
    assert ours[t - 1] == pytest.approx(r * adam[t - 1])


def test_the_two_thresholds_differ_in_one_step() -> None:
    """For the default betas: at its length of 4.99, the fifth divides for the paper."""
    gradients = [0.01, 0.02, 0.01, 0.02, 0.01, 0.02, 0.01, 0.02]
    ours, paper = steps_on(gradients, RAdam), steps_on(gradients, RAdam, threshold=4.0)
    differ = [abs(a - b) > 1e-12 for a, b in zip(ours, paper, strict=True)]
    assert differ == [False] * 4 + [True] + [False] * 3
    assert 4 < length(5, 0.999) < 5 < length(6, 0.999)
    # Bare, the step has the size of the gradient. Divided, that of the rate, times r.
    adam = steps_on(gradients, Adam)
    assert paper[4] == pytest.approx(rectification(length(5, 0.999), 1999.0) * adam[4])
    assert -0.02 < ours[4] < -0.01
    with pytest.raises(UserError, match="threshold is 3: give 4 or more"):
        RAdam([torch.zeros(1, requires_grad=True)], threshold=3)


def test_the_first_steps_have_the_units_of_the_gradient() -> None:
    gradients = [1.0, 0.5, -0.2, 0.8, 0.3, 1.1, -0.4]
    plain = steps_on(gradients, RAdam)
    scaled = steps_on([1000 * g for g in gradients], RAdam)
    assert scaled[:5] == pytest.approx([1000 * step for step in plain[:5]])
    assert scaled[5:] == pytest.approx(plain[5:])


def test_epsilon_counts_for_more_than_adams() -> None:
    """As large as the gradients, in the sixth step."""
    gradients, eps = [1e-3] * 6, 1e-3
    r = rectification(length(6, 0.999), 1999.0)
    adam = steps_on(gradients, Adam, eps=eps)[-1]
    assert adam == pytest.approx(-1 / 2)
    factor = 1 / math.sqrt(1 - 0.999**6)
    assert factor == pytest.approx(13, abs=0.3)
    assert steps_on(gradients, RAdam, eps=eps)[-1] == pytest.approx(-r / (1 + factor))


def test_the_simulation_is_of_corrected_averages() -> None:
    found = simulate(0.99, 900, 20_000, torch.Generator().manual_seed(4))
    assert len(found) == 900
    for t in (10, 20, 900):
        assert found[t - 1] == pytest.approx(variance(length(t, 0.99)), rel=0.1)


def test_what_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A simulation that finds half of equation 2, and from the seventh step on all of it."""
    config = Config(beta2=0.98, averages=777)

    def half(beta2: float, steps: int, averages: int, generator: torch.Generator) -> list[float]:
        assert (beta2, averages) == (0.98, 777)
        seen = [variance(length(t, beta2)) for t in range(1, steps + 1)]
        return [0.5 * one if t <= 6 else one for t, one in enumerate(seen, 1)]

    monkeypatch.setattr(radam, "simulate", half)
    numbers = check(config, torch.Generator())
    assert numbers["exact_ratio"] == pytest.approx(2)
    # The first that counts is the sixth: the fifth has a length below 5.
    rho = length(6, 0.98)
    assert numbers["first_order_ratio"] == pytest.approx(first_order(rho) / (0.5 * variance(rho)))
    second, last = length(7, 0.98), length(1000, 0.98)
    assert numbers["plain_spread"] == pytest.approx(variance(second) / variance(last), rel=1e-6)
    r = rectification(rho, 99.0)
    least = r**2 * 0.5 * variance(rho)
    most = max(
        rectification(length(t, 0.98), 99.0) ** 2 * variance(length(t, 0.98))
        for t in range(7, 1001)
    )
    assert numbers["rectified_spread"] == pytest.approx(most / least)


def test_the_table_is_in_percent() -> None:
    lines = table([0.01, 0.04], torch.tensor([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])).splitlines()
    assert lines[1].split() == ["0.01", "10.0", "%", "30.0", "%", "50.0", "%"]
    assert lines[2].split() == ["0.04", "20.0", "%", "40.0", "%", "60.0", "%"]


@pytest.mark.parametrize("beta2", [0.7, 1.0])
def test_an_average_too_short_is_refused(beta2: float, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"--beta2 {beta2}: give more than 0.7 and less than 1"):
        train(replace(SMALL, beta2=beta2), options(tmp_path))


@pytest.mark.training
def test_training_is_these_loops(tmp_path: Path) -> None:
    """Each network alone, with PyTorch's optimizers, and what is measured of it."""
    numbers = train(SMALL, options(tmp_path, seed=2))
    run = Run(SMALL, options(tmp_path / "plain", seed=2))
    data = digits()
    images, labels = data.images.flatten(1), data.labels
    batches = run.batches(images[:1500], labels[:1500], size=30)
    first = nn.Sequential(
        nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 10)
    )
    result = json.loads((tmp_path / "result.json").read_text())
    series, told = result["series"], result["said"]["errors"].splitlines()[1:]
    for column, name in enumerate(("adam", "warm", "radam")):
        errors, curves = [], []
        for lr in (0.01, 0.04):
            model, own = copy.deepcopy(first), []
            make = torch.optim.RAdam if name == "radam" else torch.optim.Adam
            optimizer = make(model.parameters(), lr, (0.9, 0.8))
            for step in range(14):
                if name == "warm":
                    # Two over a fifth: ten steps.
                    optimizer.param_groups[0]["lr"] = lr * min(1, (step + 1) / 10)
                x, y = batches[step]
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
                own.append(loss.item())
            wrong = model(images[1500:]).argmax(1) != labels[1500:]
            errors.append(wrong.float().mean().item())
            curves.append(own)
        assert numbers[f"{name}_error"] == pytest.approx(min(errors), abs=1.1 / 297)
        assert numbers[f"{name}_worst"] == pytest.approx(max(errors), abs=1.1 / 297)
        found = [100 * error for error in errors]
        assert [float(line.split()[1 + 2 * column]) for line in told] == pytest.approx(
            found, abs=0.4
        )
        # Of two the median is the lower.
        least = [min(losses) for losses in zip(*curves, strict=True)]
        assert series[f"loss/{name}"]["values"] == pytest.approx(least, rel=1e-3)
    (saved,) = (tmp_path / "checkpoints").glob("*.pt")
    assert torch.load(saved, weights_only=True)["state"].keys() == {
        *("models", "adam", "warm", "radam", "run")
    }


@pytest.mark.training
def test_small_training_and_its_shapes(tmp_path: Path) -> None:
    with check_shapes("papers/optimizers/radam.py"):
        train(replace(SMALL, rates=5, steps=2), options(tmp_path))
