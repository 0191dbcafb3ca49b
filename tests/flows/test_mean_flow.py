"""MeanFlow and consistency models against diffusers and against paths that are known exactly."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import CMStochasticIterativeScheduler
from torch import Tensor, nn

from papers.common import Run
from papers.flows import mean_flow
from papers.flows.flow_matching import (
    Mixture,
    Network,
    matching_loss,
    sliced_wasserstein,
    solve,
    straight,
)
from papers.flows.mean_flow import (
    LARGEST,
    LEAST,
    SPREAD,
    Config,
    Consistency,
    average_velocity,
    consistency_loss,
    drawn_times,
    exact_teacher,
    judge,
    leap,
    levels,
    mean_flow_loss,
    refine,
    scalings,
    spans,
    train,
    true_end,
)
from papers.tools.shapes import check_shapes
from tests.given import quiet, randn

pytestmark = pytest.mark.usefixtures("seeded")

TINY = Config(width=12, batch=7, steps=3, drawn=30, levels=6)
CENTRE, WIDE = torch.tensor([[1.2, -0.7]], dtype=torch.float64), 0.6


def moved(z: Tensor, t: Tensor, r: Tensor) -> Tensor:
    """Where a path leads whose data are one Gaussian: it stays as many deviations away."""

    def deviation(at: Tensor) -> Tensor:
        return (at**2 + ((1 - at) * WIDE) ** 2).sqrt()

    return (1 - r) * CENTRE + deviation(r) / deviation(t) * (z - (1 - t) * CENTRE)


def exact(z: Tensor, t: Tensor, span: Tensor) -> Tensor:
    return (z - moved(z, t, t - span)) / span


def velocity(z: Tensor, t: Tensor) -> Tensor:
    return -Mixture(CENTRE, WIDE).velocity(z, straight(1 - t))


def given(B: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    first, second = torch.rand(2, B, 1, dtype=torch.float64) * 0.9 + 0.05
    return randn(B, 2), torch.minimum(first, second), torch.maximum(first, second)


# The identity


def test_the_exact_average_is_a_fixed_point() -> None:
    z, r, t = given()
    u, target = average_velocity(exact, z, velocity(z, t), r, t)
    torch.testing.assert_close(u, exact(z, t, t - r))
    torch.testing.assert_close(target, u)
    # And it is the average: the integral of the velocity along the path, by many short pieces.
    at = r + (t - r) * (torch.arange(2000, dtype=torch.float64) + 0.5) / 2000
    pieces = [velocity(moved(z, t, now[:, None]), now[:, None]) for now in at.T]
    torch.testing.assert_close(torch.stack(pieces).mean(0), u, rtol=1e-5, atol=1e-5)


def test_the_derivative_is_that_of_small_differences() -> None:
    model = Network(9, times=2).double()
    (z, r, t), v, h = given(), randn(6, 2), 1e-5
    ahead, behind = (model(z + s * v, t + s, t + s - r) for s in (h, -h))
    expected = v - (t - r) * (ahead - behind) / (2 * h)
    u, target = average_velocity(model, z, v, r, t)
    torch.testing.assert_close(target, expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(u, model(z, t, t - r))


def test_the_target_has_no_gradient() -> None:
    model = Network(9, times=2).double()
    (data, r, t), noise = given(), randn(6, 2)
    loss = mean_flow_loss(model, data, noise, r, t)
    z = (1 - t) * data + t * noise
    u, target = average_velocity(model, z, noise - data, r, t)
    assert not target.requires_grad
    expected = ((model(z, t, t - r) - target) ** 2).sum() / 6
    torch.testing.assert_close(loss, expected)
    weights = list(model.parameters())
    for one, other in zip(
        torch.autograd.grad(loss, weights), torch.autograd.grad(expected, weights), strict=True
    ):
        torch.testing.assert_close(one, other)
    assert u.requires_grad


def test_without_a_span_it_is_flow_matching() -> None:
    model = Network(9, times=2).double()
    (data, _, t), noise = given(), randn(6, 2)
    ours = mean_flow_loss(model, data, noise, t, t)

    def turned(x: Tensor, back: Tensor) -> Tensor:
        # There, time runs to the data, and so does the velocity.
        return -model(x, 1 - back, 0 * back)

    theirs = matching_loss(turned, straight, data, noise, 1 - t)
    torch.testing.assert_close(ours, theirs)
    weights = list(model.parameters())
    for one, other in zip(
        torch.autograd.grad(ours, weights), torch.autograd.grad(theirs, weights), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_one_leap_along_the_exact_average_is_exact() -> None:
    z = randn(5, 2)
    one, none = torch.ones(5, 1).double(), torch.zeros(5, 1).double()
    for steps in (1, 3):
        torch.testing.assert_close(leap(exact, z.clone(), steps), moved(z, one, none))
    # Along the velocity it is Euler's method.
    ours = leap(lambda x, t, span: velocity(x, t), z, 4)
    theirs = solve(lambda x, t: -velocity(x, 1 - t), z, 4)[-1]
    torch.testing.assert_close(ours, theirs)


def test_times_of_a_span() -> None:
    generator = torch.Generator().manual_seed(0)
    r, t = spans(20_000, 0.3, generator)
    assert (r <= t).all()
    assert (r < t).float().mean().item() == pytest.approx(0.3, abs=0.02)
    # The larger of two uniform numbers, and the smaller.
    assert t.mean().item() == pytest.approx(2 / 3, abs=0.01)
    assert r[r < t].mean().item() == pytest.approx(1 / 3, abs=0.02)
    assert torch.equal(*spans(50, 0.0, generator))


# Consistency


def scheduler(**more: Any) -> CMStochasticIterativeScheduler:
    sizes = {"sigma_min": LEAST, "sigma_max": LARGEST, "sigma_data": SPREAD}
    return CMStochasticIterativeScheduler(clip_denoised=False, **sizes, **more)


def test_scalings_and_a_step_are_those_of_diffusers() -> None:
    theirs = scheduler(num_train_timesteps=9)
    sigma = levels(9)
    for ours, expected in zip(
        scalings(sigma), theirs.get_scalings_for_boundary_condition(sigma), strict=True
    ):
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)
    theirs.set_timesteps(9)
    torch.testing.assert_close(sigma.flip(0), theirs.sigmas[:-1], rtol=1e-5, atol=1e-5)
    # Two steps of sampling, with the same noise.
    network = Network(9)
    model, noise = Consistency(network), torch.randn(5, 2)
    steps = [LARGEST, sigma[4].item()]
    theirs.set_timesteps(timesteps=[4, 0])
    x, generator = LARGEST * noise, torch.Generator().manual_seed(3)
    for number, time in enumerate(theirs.timesteps):
        scaled = theirs.scale_model_input(x, time)
        raw = network(scaled, torch.full((5, 1), steps[number]).log() / 4)
        x = theirs.step(raw, time, x, generator=generator).prev_sample
    # Theirs ends with noise of the least variance minus itself, which is none.
    ours = refine(model, noise, steps, torch.Generator().manual_seed(3))
    torch.testing.assert_close(ours, x, rtol=1e-5, atol=1e-5)


def test_at_the_least_noise_it_is_the_identity() -> None:
    model, x = Consistency(Network(9)), torch.randn(4, 2)
    torch.testing.assert_close(model(x, torch.full((4, 1), LEAST)), x)
    assert (model(x, torch.full((4, 1), 1.0)) - x).abs().max() > 0.05


def test_levels_crowd_at_little_noise() -> None:
    sigma = levels(11)
    assert sigma[[0, -1]].tolist() == pytest.approx([LEAST, LARGEST], rel=1e-5)
    steps = sigma.diff()
    assert (steps > 0).all()
    assert (steps.diff() > 0).all()
    assert (sigma ** (1 / 7)).diff().std() < 1e-6


def test_the_teacher_is_exact() -> None:
    # Of one Gaussian, the path keeps its number of deviations.
    teacher = exact_teacher(Mixture(CENTRE, WIDE))
    x, sigma = randn(5, 2), 0.1 + torch.rand(5, 1, dtype=torch.float64)

    def place(at: Tensor) -> Tensor:
        return CENTRE + ((at**2 + WIDE**2) / (sigma**2 + WIDE**2)).sqrt() * (x - CENTRE)

    expected = torch.func.jvp(place, (sigma,), (torch.ones_like(sigma),))[1]
    torch.testing.assert_close(teacher(x, sigma), expected)


def test_the_exact_consistency_costs_nothing() -> None:
    mixture = Mixture(CENTRE, WIDE)
    teacher = exact_teacher(mixture)

    class Exact(nn.Module):
        def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
            shrunk = ((LEAST**2 + WIDE**2) / (sigma**2 + WIDE**2)).sqrt()
            return CENTRE + shrunk * (x - CENTRE)

    sigma = levels(40).double()
    which = torch.randint(39, (500, 1))
    pair = sigma[which], sigma[which + 1]
    data = CENTRE + WIDE * randn(500, 2)
    noise = randn(500, 2)
    taught = consistency_loss(Exact(), Exact(), data, noise, pair, teacher)
    alone = consistency_loss(Exact(), Exact(), data, noise, pair)
    # Heun's method is of second order: Euler's would cost a hundred times as much.
    assert taught < 2e-7
    assert alone > 100 * taught
    # On average, a step without a teacher is right to first order: twice the levels, half the cost.
    costs = []
    for L in (101, 201):
        sigma = levels(L).double()
        which = torch.randint(L - 1, (20_000, 1))
        data, noise = CENTRE + WIDE * randn(20_000, 2), randn(20_000, 2)
        pair = sigma[which], sigma[which + 1]
        costs.append(consistency_loss(Exact(), Exact(), data, noise, pair).item())
    assert costs[0] / costs[1] == pytest.approx(4, rel=0.2)


def test_the_loss_of_consistency() -> None:
    model, average = (Consistency(Network(9)).double() for _ in range(2))
    data, noise = randn(6, 2), randn(6, 2)
    less = 0.1 + torch.rand(6, 1, dtype=torch.float64)
    more = less + 0.3
    loss = consistency_loss(model, average, data, noise, (less, more))
    target = average(data + less * noise, less).detach()
    expected = ((model(data + more * noise, more) - target) ** 2).sum() / 6
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert all(weight.grad is None for weight in average.parameters())
    assert all(weight.grad is not None for weight in model.parameters())


def test_neighbouring_levels_more_of_them_later() -> None:
    generator = torch.Generator().manual_seed(0)
    config = replace(TINY, method="training", batch=4000, levels=10, steps=100)
    for step, L in ((0, 5), (50, 7), (99, 9)):
        less, more = drawn_times(config, step, generator)
        sigma = levels(L)
        assert torch.equal(less.unique(), sigma[:-1])
        assert torch.equal(more.unique(), sigma[1:])
        pairs = {(a, b) for a, b in zip(less[:, 0].tolist(), more[:, 0].tolist(), strict=True)}
        assert len(pairs) == L - 1
    methods: Any = (("mean", 0.4), ("matching", 0.0))
    for method, share in methods:
        r, t = drawn_times(replace(config, method=method, apart=0.4), 0, generator)
        assert (r < t).float().mean().item() == pytest.approx(share, abs=0.04)


# What is judged


def test_where_paths_end() -> None:
    z = randn(6, 2)
    one, none = torch.ones(6, 1).double(), torch.zeros(6, 1).double()
    found = true_end(Mixture(CENTRE, WIDE), z)
    torch.testing.assert_close(found, moved(z, one, none), rtol=1e-4, atol=1e-4)
    few = true_end(Mixture(CENTRE, WIDE), z, 5)
    assert (few - found).abs().max() > 1e-4


@pytest.mark.parametrize("method", ["mean", "matching", "training"])
def test_what_is_judged(method: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: dict[str, Tensor] = {}
    monkeypatch.setattr(Run, "show", lambda self, name, what: shown.update({name: what}))
    config, mixture = replace(TINY, method=method, drawn=200), Mixture.ring()
    run = Run(config, quiet(tmp_path))
    flows = method != "training"
    network: nn.Module = Network(9, times=2) if flows else Consistency(Network(9))
    found = judge(run, mixture, network)
    generator = torch.Generator().manual_seed(run.options.seed)
    noise = torch.randn(200, 2, generator=generator)
    data, other = (mixture.sample(200, generator) for _ in range(2))
    with torch.no_grad():
        if flows:
            t, span = torch.ones(200, 1), torch.full((200, 1), float(method == "mean"))
            one = noise - network(noise, t, span)
            half = noise - network(noise, t, span / 2) / 2
            two = half - network(half, t / 2, span / 2) / 2
        else:
            one = network(LARGEST * noise, torch.full((200, 1), LARGEST))
            again = one + math.sqrt(1 - LEAST**2) * torch.randn(200, 2, generator=generator)
            two = network(again, torch.ones(200, 1))
    expected = {
        "floor": sliced_wasserstein(data, other),
        "one": sliced_wasserstein(one, data),
        "two": sliced_wasserstein(two, data) if flows else found["two"],
        "error": (one - true_end(mixture, noise)).square().sum(-1).mean(),
    }
    if not flows:
        # The noise of the second step was drawn where nothing else had been.
        assert found["two"] == pytest.approx(sliced_wasserstein(two, data).item(), rel=1e-3)
    if flows:
        now = leap(lambda x, t, span: network(x, t, 0 * t).detach(), noise, 50)
        expected["many"] = sliced_wasserstein(now, data)
    assert found == pytest.approx({k: float(v) for k, v in expected.items()}, rel=1e-3)
    assert shown["samples"].shape == (1, 136, 3 * 132 + 4)


# Training


@pytest.mark.parametrize("method", ["mean", "matching", "training", "distillation"])
def test_training_is_the_plain_loop(
    method: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[nn.Module] = []

    def keep(run: Run, mixture: Mixture, model: nn.Module) -> dict[str, float]:
        kept.append(model)
        return {}

    monkeypatch.setattr(mean_flow, "judge", keep)
    config = replace(TINY, method=method, ema=0.7)
    train(config, quiet(tmp_path, seed=4))
    torch.manual_seed(4)
    generator, mixture = torch.Generator().manual_seed(4), Mixture.ring()
    flows = method in ("mean", "matching")
    model: nn.Module = Network(12, times=2) if flows else Consistency(Network(12))
    average = copy.deepcopy(model)
    optimizer = torch.optim.Adam(model.parameters())
    for step in range(3):
        optimizer.param_groups[0]["lr"] = config.lr * (1 - step / 3)
        data = mixture.sample(7, generator)
        noise = torch.randn(7, 2, generator=generator)
        times = drawn_times(config, step, generator)
        if flows:
            loss = mean_flow_loss(model, data, noise, *times)
        else:
            teacher = exact_teacher(mixture) if method == "distillation" else None
            loss = consistency_loss(model, average, data, noise, times, teacher)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        for mean, weight in zip(average.parameters(), model.parameters(), strict=True):
            mean.data = 0.7 * mean + 0.3 * weight.data
    for one, other in zip(kept[0].parameters(), average.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.training
def test_one_step_is_enough(tmp_path: Path) -> None:
    small = Config(steps=300, drawn=1000, width=48)
    ours = train(small, quiet(tmp_path / "ours"))
    control = train(replace(small, method="matching"), quiet(tmp_path / "control"))
    assert ours["one"] < control["one"] - 0.4


# Shapes


def test_shape_comments(tmp_path: Path) -> None:
    with check_shapes("papers/flows/mean_flow.py"):
        methods: Any = ("mean", "matching", "training", "distillation")
        for method in methods:
            train(replace(TINY, method=method), quiet(tmp_path / method))
