"""SGD with momentum against `torch.optim`, closed forms and its paper's own equations."""

from __future__ import annotations

import copy
import itertools
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from papers.common import Options, Run, UserError
from papers.common.data import digits
from papers.optimizers import sgd
from papers.optimizers.sgd import (
    SGD,
    Autoencoders,
    Config,
    Velocity,
    grids,
    polyak,
    ramp,
    rate,
    sparse,
    squared_error,
    table,
    train,
)
from papers.tools.shapes import check_shapes

SMALL = Config(lr=0.2, rates=2, period=1, settle=2, batch=30, steps=6)


def options(folder: Path, seed: int = 0) -> Options:
    return Options(out=folder, quiet=True, checkpoint_every=0, device="cpu", seed=seed)


def regression() -> tuple[nn.Sequential, Tensor, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(7, 11), nn.Tanh(), nn.Linear(11, 3)).double()
    return model, torch.randn(40, 7, dtype=torch.float64), torch.randn(40, 3, dtype=torch.float64)


def point(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def moved(optimizer: torch.optim.Optimizer, theta: Tensor, *gradients: float) -> float:
    for g in gradients:
        theta.grad = torch.full_like(theta, g)
        optimizer.step()
    return theta.item()


def path(optimizer: torch.optim.Optimizer, theta: Tensor, curvatures: Tensor, steps: int) -> Tensor:
    """The way down a quadratic function from where `theta` is."""
    places = [theta.detach().clone()]
    for _ in range(steps):
        theta.grad = curvatures * theta.detach()
        optimizer.step()
        places.append(theta.detach().clone())
    return torch.stack(places)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize(
    "kind",
    [
        {},
        {"momentum": 0.8},
        {"momentum": 0.8, "nesterov": True},
        {"momentum": 0.8, "dampening": 0.3},
        {"momentum": 0.8, "foreach": True},
        {"momentum": 0.8, "nesterov": True, "fused": True},
    ],
)
def test_trajectory_is_that_of_torch(kind: dict[str, Any], weight_decay: float) -> None:
    ours_model, x, y = regression()
    theirs_model = copy.deepcopy(ours_model)
    told: dict[str, Any] = {"lr": 0.05, "weight_decay": weight_decay}
    ours_kind = {name: value for name, value in kind.items() if name not in ("foreach", "fused")}
    ours = SGD(ours_model.parameters(), **told, **ours_kind)
    theirs = torch.optim.SGD(theirs_model.parameters(), **told, **kind)
    for step in range(25):
        rows = slice(step % 4 * 10, step % 4 * 10 + 10)
        for model, optimizer in ((ours_model, ours), (theirs_model, theirs)):
            optimizer.zero_grad()
            (model(x[rows]) - y[rows]).square().mean().backward()
            optimizer.step()
        for ours_theta, theirs_theta in zip(
            ours_model.parameters(), theirs_model.parameters(), strict=True
        ):
            torch.testing.assert_close(ours_theta, theirs_theta, rtol=1e-11, atol=1e-12)


def test_defaults_are_those_of_torch() -> None:
    ours, theirs = SGD([point(0)]).defaults, torch.optim.SGD([point(0)]).defaults
    assert ours == {name: theirs[name] for name in ours}
    with pytest.raises(UserError, match=r"dampening is 0.1: with Nesterov's momentum it must be 0"):
        SGD([point(0)], momentum=0.9, dampening=0.1, nesterov=True)


def test_a_steady_gradient_adds_up() -> None:
    """To 1 / (1 - mu) times itself, and less where it is dampened."""
    for dampening in (0.0, 0.9):
        optimizer = SGD([theta := point(0)], 1.0, 0.9, dampening=dampening)
        before = moved(optimizer, theta, *[1.0] * 400)
        assert before - moved(optimizer, theta, 1.0) == pytest.approx((1 - dampening) / (1 - 0.9))


def test_dampening_spares_the_first_gradient() -> None:
    optimizer = SGD([theta := point(0)], 1.0, 0.9, dampening=0.9)
    assert moved(optimizer, theta, 1.0) == -1.0
    theirs = torch.optim.SGD([other := point(0)], 1.0, 0.9, dampening=0.9)
    assert moved(theirs, other, 1.0) == -1.0
    # An average that starts at zero would have taken a tenth.
    assert moved(optimizer, theta, 0.0) == pytest.approx(-1.9)


def literal(
    gradient: Callable[[Tensor], Tensor], start: Tensor, rates: list[float], momenta: list[float]
) -> list[Tensor]:
    """Equations 3 and 4; of each step the point ahead."""
    theta, v, ahead = start, torch.zeros_like(start), []
    for lr, momentum in zip(rates, momenta, strict=True):
        ahead.append(theta + momentum * v)
        v = momentum * v - lr * gradient(theta + momentum * v)
        theta = theta + v
    return ahead


RATES = [0.1, 0.1, 0.02, 0.05, 0.2, 0.01, 0.1, 0.1]


@pytest.mark.parametrize("nesterov", [True, False])
def test_the_papers_form_is_equations_1_to_4(nesterov: bool) -> None:
    """With a rate that changes at every step."""

    def gradient(at: Tensor) -> Tensor:
        return torch.sin(at) + 0.3 * at**3

    start = torch.tensor([1.0, -2.0], dtype=torch.float64)
    if nesterov:
        expected = literal(gradient, start, RATES, [0.8] * len(RATES))
    else:
        theta, v, expected = start, torch.zeros_like(start), []
        for lr in RATES:
            expected.append(theta)
            v = 0.8 * v - lr * gradient(theta)
            theta = theta + v
    optimizer = Velocity([theta := start.clone().requires_grad_()], 1.0, 0.8, nesterov=nesterov)
    for lr, place in zip(RATES, expected, strict=True):
        torch.testing.assert_close(theta.detach(), place, rtol=1e-13, atol=0)
        optimizer.param_groups[0]["lr"] = lr
        theta.grad = gradient(theta.detach())
        optimizer.step()


@pytest.mark.parametrize("nesterov", [True, False])
def test_while_the_rate_stays_the_forms_are_one(nesterov: bool) -> None:
    curvatures = torch.tensor([1.0, 20.0], dtype=torch.float64)
    told: dict[str, Any] = {"momentum": 0.9, "weight_decay": 0.1, "nesterov": nesterov}
    ours = path(SGD([theta := point(3, 1)], 0.03, **told), theta, curvatures, 25)
    paper = path(Velocity([theta := point(3, 1)], 0.03, **told), theta, curvatures, 25)
    torch.testing.assert_close(ours, paper, rtol=1e-11, atol=1e-12)


def test_where_the_rate_stands_matters_when_it_changes() -> None:
    """Ten steady gradients at a rate of one, then none at a tenth of it."""
    gathered = sum(0.9**n for n in range(10))
    steps = []
    for make in (SGD, Velocity, torch.optim.SGD):
        optimizer = make([theta := point(0)], 1.0, 0.9)  # type: ignore[operator]
        before = moved(optimizer, theta, *[1.0] * 10)
        optimizer.param_groups[0]["lr"] = 0.1
        steps.append(before - moved(optimizer, theta, 0.0))
    # Outside, the velocity is worth a tenth at once. Inside, it goes on.
    assert steps == pytest.approx([0.09 * gathered, 0.9 * gathered, 0.09 * gathered])


def test_a_momentum_that_rises_looks_ahead_too_short() -> None:
    start = torch.tensor([2.0], dtype=torch.float64)
    momenta = [0.5, 0.5, 0.8, 0.8]
    expected = literal(lambda at: at, start, [0.1] * 4, momenta)
    optimizer = SGD([theta := start.clone().requires_grad_()], 0.1, nesterov=True)
    places = []
    for momentum in momenta:
        places.append(theta.item())
        optimizer.param_groups[0]["momentum"] = momentum
        theta.grad = theta.detach().clone()
        optimizer.step()
    assert places[:2] == pytest.approx([place.item() for place in expected[:2]])
    # Two steps of 0.5: the velocity behind the point ahead that the third gradient is taken at.
    v = -0.1 * (0.5 * 2.0 + places[1])
    assert expected[2].item() - places[2] == pytest.approx((0.8 - 0.5) * v)


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize(("lr", "momentum"), [(0.05, 0.0), (0.05, 0.5), (0.09, 0.9), (0.02, 0.6)])
def test_the_rate_is_that_of_the_path(lr: float, momentum: float, nesterov: bool) -> None:
    """A step is linear in place and velocity: the larger eigenvalue of what it does to both."""
    for curvature in (1.0, 3.0, 10.0):
        columns = []
        for start, velocity in ((1.0, 0.0), (0.0, 1.0)):
            optimizer = SGD([theta := point(start)], lr, momentum, nesterov=nesterov)
            optimizer.state[theta]["b"] = torch.tensor([velocity], dtype=torch.float64)
            end = moved(optimizer, theta, curvature * start)
            columns.append([end, optimizer.state[theta]["b"].item()])
        found = torch.linalg.eigvals(torch.tensor(columns, dtype=torch.float64)).abs().max()
        assert found.item() == pytest.approx(rate(lr, momentum, curvature, nesterov), rel=1e-7)


def test_nesterovs_is_the_heavy_ball_with_less_momentum() -> None:
    """Theorem 2.1, on the points that the paper keeps."""
    lr, momentum, curvatures = 0.03, 0.9, torch.tensor([1.0, 10.0, 25.0], dtype=torch.float64)
    ahead = torch.stack(
        literal(lambda at: curvatures * at, torch.ones(3).double(), [lr] * 40, [momentum] * 40)
    )
    # From the point ahead, a step of the gradient leads to the point that the paper keeps.
    kept = (1 - lr * curvatures) * ahead
    inertia = momentum * (1 - lr * curvatures)
    ball = path(SGD([theta := point(1, 1, 1)], lr, inertia), theta, curvatures, 40)
    torch.testing.assert_close(kept, ball[1:], rtol=1e-10, atol=1e-13)


def slowest(lr: float, momentum: float, low: float, high: float) -> float:
    return max(rate(lr, momentum, low + (high - low) * n / 50) for n in range(51))


@pytest.mark.parametrize("condition", [4.0, 100.0])
def test_polyaks_settings_are_the_best(condition: float) -> None:
    lr, momentum = polyak(2.0, 2.0 * condition)
    best = slowest(lr, momentum, 2.0, 2.0 * condition)
    root = math.sqrt(condition)
    # Where both roots are equal, they are sensitive to the last digit.
    assert best == pytest.approx((root - 1) / (root + 1), abs=1e-6)
    for lower, higher in itertools.product((0.9, 1.0, 1.1), repeat=2):
        if (lower, higher) != (1.0, 1.0):
            other = slowest(lower * lr, min(higher * momentum, 0.99), 2.0, 2.0 * condition)
            assert other > best + 1e-3
    # Gradient descent alone, at its own best.
    alone = slowest(2 / (2 + 2 * condition), 0, 2.0, 2.0 * condition)
    assert alone == pytest.approx((condition - 1) / (condition + 1))


def test_polyaks_momentum_is_a_square() -> None:
    """With what section 2 prints, at the best rate for it, each step does half as much."""
    low, high = 1.0, 100.0
    _, momentum = polyak(low, high)
    printed = math.sqrt(momentum)
    assert printed == pytest.approx(9 / 11)
    found = min(slowest(0.001 * n, printed, low, high) for n in range(1, 60))
    assert math.log(found) / math.log(printed) == pytest.approx(0.5, abs=1e-6)
    # What the page says of it.
    assert (round(printed, 2), round(99 / 101, 2)) == (0.82, 0.98)
    assert math.log(printed) / math.log(99 / 101) == pytest.approx(10, abs=0.1)


def test_the_momentum_rises_as_equation_5_says() -> None:
    most = torch.tensor([0.0, 0.9, 0.995])
    for t in (0, 249, 250, 999, 1000, 2750, 60_000):
        risen = 1 - 2 ** (-1 - math.log2(t // 250 + 1))
        expected = torch.tensor([min(risen, m) for m in (0.0, 0.9, 0.995)])
        torch.testing.assert_close(ramp(t, most), expected)
    assert ramp(30, most, period=15)[1].item() == pytest.approx(1 - 1 / 6)


def test_units_have_fifteen_connections() -> None:
    torch.manual_seed(1)
    weight = sparse(40, 3000, scale=2.0)
    assert ((weight != 0).sum(0) == 15).all()
    # Each of those below is chosen as often as the others.
    share = (weight != 0).float().mean(1)
    assert (share - 15 / 40).abs().max() < 0.05
    drawn = weight[weight != 0]
    assert drawn.mean().item() == pytest.approx(0, abs=0.05)
    assert drawn.std().item() == pytest.approx(2, abs=0.05)
    assert (sparse(6, 20) != 0).all()
    # Drawn alike without a multiplier.
    assert sparse(15, 3000).std().item() == pytest.approx(1, abs=0.03)


def test_the_networks_are_as_deep_as_the_papers() -> None:
    """784-1000-500-250-30 down to the code, and the mirror image of it."""
    down = (64, 64, 32, 16, 6)
    assert Autoencoders.sizes == (*down, *reversed(down[:-1]))
    model = Autoencoders([torch.zeros(pair) for pair in itertools.pairwise(Autoencoders.sizes)], 2)
    assert [weight.shape[0] for weight in model.weights] == [2] * 8
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_networks_in_one_tensor_are_the_same_networks() -> None:
    torch.manual_seed(2)
    first = [sparse(*pair) for pair in itertools.pairwise(Autoencoders.sizes)]
    model, x = Autoencoders(first, 3), torch.rand(5, 64)
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.add_(0.1 * torch.randn_like(tensor))
    for k, made in enumerate(model(x)):
        h = x
        for weight, bias in zip(model.weights, model.biases, strict=True):
            h = torch.sigmoid(h @ weight[k] + bias[k, 0])
        torch.testing.assert_close(made, h)
    expected = ((model(x)[1] - x) ** 2).sum() / 5
    torch.testing.assert_close(squared_error(model(x), x)[1], expected)


def test_each_network_has_its_rate_and_momentum() -> None:
    cells = grids(Config(lr=0.1, rates=2, momentum=0.8), torch.device("cpu"))
    told = {name: [part.flatten().tolist() for part in pair] for name, pair in cells.items()}
    assert told["cm"][0] == pytest.approx([0.1, 0.2] * 3)
    assert told["cm"][1] == pytest.approx([0, 0, 0.9, 0.9, 0.8, 0.8])
    assert told["nag"][0] == pytest.approx([0.1, 0.2] * 2)
    assert told["nag"][1] == pytest.approx([0.9, 0.9, 0.8, 0.8])


def test_the_table_names_each_row() -> None:
    rows = [[0.1, 0.2], [0.3, 0.4], [0.5, 0.6], [0.7, 0.8], [0.9, 1.0]]
    lines = table(Config(lr=0.1, rates=2, momentum=0.95), rows).splitlines()
    assert [line[:18].strip() for line in lines] == [
        "learning rate",
        "no momentum",
        "heavy ball, 0.9",
        "heavy ball, 0.95",
        "Nesterov, 0.9",
        "Nesterov, 0.95",
    ]
    assert lines[0].split()[2:] == ["0.1", "0.2"]
    assert lines[5].split()[2:] == ["0.90", "1.00"]


@pytest.mark.training
def test_training_is_these_loops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each network alone, with PyTorch's SGD, and what is measured of it."""
    # Long enough for the momentum to rise above 0.9, and high enough for that to be seen.
    config = replace(SMALL, momentum=0.98, scale=0.9, steps=12)
    sheets: list[Tensor] = []
    monkeypatch.setattr(sgd, "grid", lambda sheet, columns: sheets.append(sheet) or sheet[0])
    numbers = train(config, options(tmp_path, seed=2))

    run = Run(config, options(tmp_path / "plain", seed=2))
    images = digits().images.flatten(1)[:1500]
    batches = run.batches(images, size=30)
    first = [sparse(*pair, 0.9) for pair in itertools.pairwise(Autoencoders.sizes)]
    cells = [(most, lr, False) for most in (0.0, 0.9, 0.98) for lr in (0.2, 0.4)]
    cells += [(most, lr, True) for most in (0.9, 0.98) for lr in (0.2, 0.4)]
    errors, made, losses = [], [], []
    for most, lr, nesterov in cells:
        model = Autoencoders(first, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr, max(most, 0.1), nesterov=nesterov)
        own = []
        for step in range(12):
            momentum = min(most, 1 - 0.5 / (step + 1), 0.9 if step >= 10 else 1)
            optimizer.param_groups[0]["momentum"] = momentum
            (x,) = batches[step]
            optimizer.zero_grad()
            loss = (model(x)[0] - x).square().sum(1).mean()
            loss.backward()
            optimizer.step()
            own.append(loss.item())
        with torch.no_grad():
            made.append(model(images)[0])
        errors.append((made[-1] - images).square().sum(1).mean().item())
        losses.append(own)
    # Little momentum and much can be told apart.
    for row in (2, 6):
        assert abs(errors[row] / errors[row + 2] - 1) > 0.005
    names = ("sgd_error", "cm_low_error", "cm_error", "nag_low_error", "nag_error")
    best = [2 * row + (errors[2 * row] > errors[2 * row + 1]) for row in range(5)]
    expected = {name: errors[row] for name, row in zip(names, best, strict=True)}
    assert numbers == pytest.approx(expected, rel=1e-4)
    rows = [images[:10], *(made[best[row]][:10] for row in (0, 2, 4))]
    shown = torch.cat(rows).view(-1, 8, 8)
    torch.testing.assert_close(sheets[0][:, ::6, ::6], shown, rtol=1e-3, atol=1e-4)
    result = json.loads((tmp_path / "result.json").read_text())
    # What the page says of the mean of all digits.
    assert squared_error(images.mean(0), images).item() == pytest.approx(4.69, abs=0.005)
    told = [line[18:].split() for line in result["said"]["errors"].splitlines()[1:]]
    assert [float(one) for row in told for one in row] == pytest.approx(errors, abs=0.006)
    series = result["series"]
    for name, row in (("sgd", 0), ("cm", 4), ("nag", 8)):
        pairs = [min(pair) for pair in zip(losses[row], losses[row + 1], strict=True)]
        assert series[f"loss/{name}"]["values"] == pytest.approx(pairs, rel=1e-3)
    (saved,) = (tmp_path / "checkpoints").glob("*.pt")
    assert torch.load(saved, weights_only=True)["state"].keys() == {
        *("cm_model", "nag_model", "cm", "nag", "run")
    }


@pytest.mark.training
def test_small_training_and_its_shapes(tmp_path: Path) -> None:
    with check_shapes("papers/optimizers/sgd.py", M=1500, R=3):
        train(replace(SMALL, rates=3), options(tmp_path))


@pytest.mark.training
@pytest.mark.slow
def test_momentum_is_better_than_none(tmp_path: Path) -> None:
    """Table 1 in short."""
    gaps = []
    for seed in range(3):
        numbers = train(
            Config(steps=250, period=3, settle=40, rates=2, lr=0.5), options(tmp_path, seed)
        )
        gaps.append(numbers["sgd_error"] - numbers["nag_error"])
    assert min(gaps) > 0.5
