"""Flow matching against the continuity equation, torchdiffeq, diffusers and exact velocities."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler
from torch import Tensor, nn
from torchdiffeq import odeint

from papers.common import Run
from papers.diffusion.ddpm import Diffusion
from papers.flows import flow_matching
from papers.flows.flow_matching import (
    Config,
    Kind,
    Mix,
    Mixture,
    Network,
    diffusion,
    judge,
    matching_loss,
    plate,
    sliced_wasserstein,
    solve,
    straight,
    straightness,
    told_by,
    train,
    translated,
    unmix,
    velocity_error,
)
from papers.tools.shapes import check_shapes
from tests.given import quiet, randn

pytestmark = pytest.mark.usefixtures("seeded")

TINY = Config(width=12, batch=7, steps=3, drawn=30)
KINDS: tuple[Kind, ...] = ("noise", "data", "velocity", "v")


def mixture() -> Mixture:
    """Centres without any symmetry."""
    return Mixture(torch.tensor([[1.0, 0.3], [-0.8, 1.1], [0.2, -1.4]], dtype=torch.float64), 0.4)


def times(N: int) -> Tensor:
    return 0.05 + 0.9 * torch.rand(N, 1, dtype=torch.float64)


# Parity


def velocity(x: Tensor, t: Tensor) -> Tensor:
    return mixture().velocity(x, straight(t))


def test_steps_are_those_of_diffusers() -> None:
    x, steps = torch.randn(6, 2), 8
    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(sigmas=[1 - i / steps for i in range(steps)])
    theirs = x
    for time in scheduler.timesteps:
        # Their t runs from noise to data too, but is 1000 at the noise.
        t = torch.full((6, 1), 1 - time.item() / 1000)
        theirs = scheduler.step(-velocity(theirs, t), time, theirs).prev_sample
    torch.testing.assert_close(solve(velocity, x, steps)[-1], theirs, rtol=1e-5, atol=1e-5)
    # And so is what is between.
    a, b, *_ = straight(torch.tensor([[0.25]]))
    data, noise = torch.randn(1, 2), torch.randn(1, 2)
    mixed = scheduler.scale_noise(data, scheduler.timesteps[2:3], noise)
    torch.testing.assert_close(a * data + b * noise, mixed)


@pytest.mark.parametrize("steps", [1, 5])
def test_steps_are_those_of_torchdiffeq(steps: int) -> None:
    x = randn(6, 2)
    at = torch.linspace(0, 0.9, steps + 1, dtype=torch.float64)

    def theirs(t: Tensor, x: Tensor) -> Tensor:
        return velocity(x, t.expand(len(x), 1))

    expected = odeint(theirs, x, at, method="euler")
    ours = torch.stack(solve(velocity, x, steps, 0.9))
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)


# The path


def test_the_straight_path_is_that_of_the_paper() -> None:
    t, data, noise, least = times(5), randn(5, 2), randn(5, 2), 0.1
    a, b, da, db = straight(t, least)
    x = a * data + b * noise
    # Equations 20, 21 and 22.
    torch.testing.assert_close(b, 1 - (1 - least) * t)
    torch.testing.assert_close(x, (1 - (1 - least) * t) * noise + t * data)
    expected = (data - (1 - least) * x) / (1 - (1 - least) * t)
    torch.testing.assert_close(da * data + db * noise, expected)
    torch.testing.assert_close(torch.stack(straight(t)), torch.stack([t, 1 - t, t**0, -(t**0)]))


@pytest.mark.parametrize("path", [straight, diffusion])
def test_velocities_are_derivatives(path: Any) -> None:
    t = times(5).requires_grad_()
    a, b, da, db = path(t)
    for part, slope in ((a, da), (b, db)):
        expected = torch.autograd.grad(part.sum(), t, retain_graph=True)[0]
        torch.testing.assert_close(slope, expected)


def test_the_diffusion_path_is_ddpm_with_small_steps() -> None:
    process, t = Diffusion(1000), torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    a, b, *_ = diffusion(t)
    at = (1000 * (1 - t)).round().long()
    torch.testing.assert_close(a, process.alpha_bar[at].sqrt(), rtol=0.03, atol=1e-3)
    torch.testing.assert_close(a**2 + b**2, torch.ones(3, dtype=torch.float64))
    ends = diffusion(torch.tensor([0.0, 1.0]))
    assert ends[0][0] < 0.01
    assert ends[0][1] == 1


def test_the_diffusion_path_has_no_bound_at_its_end() -> None:
    slopes = [
        diffusion(torch.tensor([t], dtype=torch.float64))[3].item() for t in (0.999, 1 - 1e-9)
    ]
    assert slopes[1] < 100 * slopes[0] < 0


# What is predicted


@pytest.mark.parametrize("path", [straight, diffusion])
def test_all_predictions_say_the_same(path: Any) -> None:
    t, data, noise = times(6), randn(6, 2), randn(6, 2)
    mix: Mix = path(t)
    x = mix[0] * data + mix[1] * noise
    told = {kind: p * data + q * noise for kind in KINDS for p, q in [told_by(kind, mix)]}
    torch.testing.assert_close(told["noise"], noise)
    torch.testing.assert_close(told["data"], data)
    torch.testing.assert_close(told["v"], mix[0] * noise - mix[1] * data)
    torch.testing.assert_close(told["velocity"], mix[2] * data + mix[3] * noise)
    for kind in KINDS:
        found = unmix(kind, told[kind], x, mix)
        torch.testing.assert_close(found, (data, noise))
        for to in KINDS:
            torch.testing.assert_close(translated(kind, to, told[kind], x, mix), told[to])


def test_predictions_are_those_of_ddpm_and_diffusers() -> None:
    process, at = Diffusion(1000), torch.tensor([100, 400, 900])
    scheduler = DDPMScheduler(clip_sample=False)
    data, noise = randn(3, 1, 1, 2), randn(3, 1, 1, 2)
    x = process.noisy(data, at, noise)
    a = process.alpha_bar[at].sqrt().view(-1, 1, 1, 1)
    b = (1 - process.alpha_bar[at]).sqrt().view(-1, 1, 1, 1)
    mix = a, b, a, b
    torch.testing.assert_close(unmix("noise", noise, x, mix)[0], process.original(x, at, noise))
    v = scheduler.get_velocity(data, noise, at - 1)
    ours = translated("data", "v", data, x, mix)
    torch.testing.assert_close(ours, v.double(), rtol=1e-5, atol=1e-5)


# The exact velocity


@pytest.mark.parametrize("path", [straight, diffusion])
def test_the_exact_velocity_moves_the_density(path: object) -> None:
    # The continuity equation: the density changes by what flows in, dp/dt + div(p u) = 0.
    assert callable(path)
    given = mixture()

    def density(x: Tensor, t: Tensor) -> Tensor:
        return given.log_density(x[None], path(t[None, None]))[0].exp()[0]

    def flux(x: Tensor, t: Tensor) -> Tensor:
        return density(x, t) * given.velocity(x[None], path(t[None, None]))[0]

    for x, t in zip(randn(8, 2), times(8)[:, 0], strict=True):
        change = torch.func.jacrev(density, argnums=1)(x, t)
        outflow = torch.func.jacrev(flux)(x, t).trace()
        assert change.item() == pytest.approx(-outflow.item(), abs=1e-10)


def test_the_density_is_that_of_a_mixture() -> None:
    given, t, x = mixture(), times(4), randn(4, 2)
    a, b, *_ = mix = straight(t)
    found, chances = given.log_density(x, mix)
    for row in range(4):
        scale = (b[row] ** 2 + (0.4 * a[row]) ** 2).sqrt()
        parts = torch.distributions.Normal(a[row] * given.centres, scale)
        each = parts.log_prob(x[row]).sum(-1).exp()
        assert found[row].item() == pytest.approx(each.mean().log().item())
        torch.testing.assert_close(chances[row], each / each.sum())


def test_it_carries_noise_to_the_data() -> None:
    given, noise = Mixture.ring(), torch.randn(3000, 2)

    def exact(x: Tensor, t: Tensor) -> Tensor:
        return given.velocity(x, straight(t))

    drawn = solve(exact, noise, 60)[-1]
    generator = torch.Generator().manual_seed(0)
    sets = [given.sample(3000, generator) for _ in range(2)]
    floor = sliced_wasserstein(sets[0], sets[1])
    assert sliced_wasserstein(drawn, sets[0]) < 0.02 + 2 * floor
    near = torch.cdist(sets[0], given.centres).min(1).values
    assert near.square().mean().item() == pytest.approx(2 * 0.2**2, rel=0.1)
    assert given.centres.norm(dim=1).tolist() == pytest.approx([2.0] * 8)
    counts = torch.cdist(sets[0], given.centres).argmin(1).bincount()
    assert counts.min() > 300


def test_the_network_is_told_time_as_waves() -> None:
    seen, net, x, t = list[Tensor](), Network(8).double(), randn(5, 2), times(5)
    net.layers.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    net(x, t)
    phases = math.pi * torch.cat([t, 2 * t], 1)
    torch.testing.assert_close(seen[0], torch.cat([x, phases.cos(), phases.sin()], 1))


# The loss


def test_the_loss_is_that_of_the_paper() -> None:
    model, t = Network(8).double(), times(5)
    data, noise = randn(5, 2), randn(5, 2)
    x, expected = (1 - t) * noise + t * data, data - noise
    theirs = (model(x, t) - expected).square().sum() / 5
    torch.testing.assert_close(matching_loss(model, straight, data, noise, t), theirs)


def test_its_gradient_is_that_of_the_average_velocity() -> None:
    # Theorem 2, on a grid of a line with three points of data: sums in place of integrals.
    data = torch.tensor([-1.0, 0.4, 1.5], dtype=torch.float64)
    x, t = torch.linspace(-6, 6, 500, dtype=torch.float64), torch.tensor(0.6, dtype=torch.float64)
    density = torch.distributions.Normal(t * data[:, None], 1 - t).log_prob(x).exp() / 3
    lines = (data[:, None] - x) / (1 - t)
    average = (density * lines).sum(0) / density.sum(0)
    model = nn.Sequential(nn.Linear(1, 5), nn.Tanh(), nn.Linear(5, 1)).double()
    found = model(x[:, None])[:, 0]
    single = (density * (found - lines).square()).sum()
    whole = (density.sum(0) * (found - average).square()).sum()
    weights = list(model.parameters())
    grads = [torch.autograd.grad(y, weights, retain_graph=True) for y in (single, whole)]
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other)
    assert single > whole + 0.1
    # And the average is what our mixture says, where its Gaussians are points.
    points = Mixture(data[:, None], 1e-9)
    torch.testing.assert_close(
        points.velocity(x[:, None], straight(t.expand(500, 1)))[:, 0], average
    )


# Measures


def test_what_is_straight() -> None:
    start, end = randn(6, 2), randn(6, 2)
    line = [start + i / 8 * (end - start) for i in range(9)]
    assert straightness(line).item() == pytest.approx(0, abs=1e-12)
    # At twice the speed, and then none: the difference is the whole velocity, always.
    late = [start + min(i / 4, 1) * (end - start) for i in range(9)]
    square = (end - start).square().sum(-1).mean().item()
    assert straightness(late).item() == pytest.approx(square)
    # A half circle: the velocity is pi long, and the line has 2.
    turn = [torch.tensor([[-math.cos(u), math.sin(u)]]) for u in torch.linspace(0, math.pi, 2001)]
    assert straightness(turn).item() == pytest.approx(math.pi**2 - 4, abs=1e-3)


def test_the_distance_of_a_shift() -> None:
    x, shift = randn(50, 2), torch.tensor([3.0, 4.0], dtype=torch.float64)
    assert sliced_wasserstein(x, x[torch.randperm(50)]).item() == pytest.approx(0, abs=1e-12)
    # The mean of |cos| is 2 / pi.
    assert sliced_wasserstein(x, x + shift).item() == pytest.approx(5 * 2 / math.pi, rel=1e-3)


def test_a_picture_is_seen_from_above() -> None:
    seen = plate(torch.tensor([[2.7, 2.7]] * 3 + [[-2.7, 2.7]]), S=4)
    assert seen[0, 3] == 1
    assert seen[0, 0].item() == pytest.approx(1 / 3)
    assert seen.sum().item() == pytest.approx(4 / 3)


@pytest.mark.parametrize("path", ["straight", "diffusion"])
def test_the_error_of_known_velocities(path: Any, tmp_path: Path) -> None:
    given, made = Mixture.ring(), flow_matching.PATHS[path]

    class Exact(nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            assert t.max() <= flow_matching.END[path]
            return 1.5 * given.velocity(x, made(t))

    run: Any = Run(replace(TINY, path=path, drawn=500), quiet(tmp_path))
    exact: Any = Exact()
    assert velocity_error(run, given, exact) == pytest.approx(0.25, abs=1e-5)


def test_what_is_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: dict[str, Tensor] = {}
    monkeypatch.setattr(Run, "show", lambda self, name, what: shown.update({name: what}))
    config, given = replace(TINY, drawn=400), Mixture.ring()

    class Exact(nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return given.velocity(x, straight(t))

    found = judge(Run(config, quiet(tmp_path)), given, Exact())  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(Run(config, quiet(tmp_path)).options.seed)
    noise = torch.randn(400, 2, generator=generator)
    data, other = (given.sample(400, generator) for _ in range(2))
    expected = {"floor": sliced_wasserstein(data, other).item()}
    for name, steps in (("one", 1), ("four", 4), ("four_exact", 4), ("many", 50)):
        expected[name] = sliced_wasserstein(solve(Exact(), noise, steps)[-1], data).item()
    # Of 400 short steps, by every eighth place.
    expected["straightness"] = straightness(solve(Exact(), noise[:60], 400)[::8]).item()
    assert found == pytest.approx(expected, rel=1e-3)
    assert found["one"] == pytest.approx(expected["one"], rel=1e-4)
    assert found["four"] == pytest.approx(found["four_exact"], rel=1e-4)
    assert shown["samples"].shape == (1, 128 + 8, 5 * 132 + 4)


# Training


def plain(config: Config, seed: int) -> tuple[Network, Network, list[tuple[Tensor, Tensor]]]:
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    given, model = Mixture.ring(), Network(config.width)
    path, end = flow_matching.PATHS[config.path], flow_matching.END[config.path]
    noise = torch.randn(20_000, 2, generator=generator)
    pairs = [(noise, given.sample(20_000, generator))]
    first = model
    from papers.common.batches import Batches
    from papers.common.distributed import World

    for stage in range(1 + config.reflow):
        if stage:
            first = copy.deepcopy(model)
            pairs.append((noise, solve(first, noise, 50, end)[-1]))
        rows = Batches(pairs[-1], config.batch, torch.device("cpu"), World(), seed, stage + 1)
        optimizer = torch.optim.Adam(model.parameters())
        for step in range(config.steps):
            optimizer.param_groups[0]["lr"] = config.lr * (1 - step / config.steps)
            t = end * torch.rand(config.batch, 1, generator=generator)
            x0, x1 = rows[step]
            loss = matching_loss(model, path, x1, x0, t)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return first, model, pairs


@pytest.mark.parametrize(
    "config", [TINY, replace(TINY, path="diffusion", reflow=False)], ids=["reflow", "diffusion"]
)
def test_training_is_the_plain_loop(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Network] = []

    def note(run: Run, given: Mixture, model: Network) -> dict[str, float]:
        kept.append(model)
        return {}

    # Times end where the path is said to end, here so early that it is seen.
    monkeypatch.setitem(flow_matching.END, config.path, 0.6)
    monkeypatch.setattr(flow_matching, "judge", note)
    monkeypatch.setattr(flow_matching, "velocity_error", lambda *x: float(bool(note(*x))))
    train(config, quiet(tmp_path, seed=4))
    for ours, theirs in zip(kept, plain(config, 4)[:2], strict=True):
        for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_pairs_are_the_ends_of_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Tensor, ...]] = []
    batches = Run.batches

    def watched(self: Run, *tensors: Tensor, size: int) -> object:
        seen.append(tensors)
        return batches(self, *tensors, size=size)

    monkeypatch.setattr(Run, "batches", watched)
    train(TINY, quiet(tmp_path, seed=4))
    (noise, data), (again, moved) = seen
    assert torch.equal(noise, again)
    # By chance at first, and after few steps hardly moved: near the noise that they came from.
    together = [torch.corrcoef(torch.stack([noise[:, 0], y[:, 0]]))[0, 1] for y in (data, moved)]
    assert abs(together[0]) < 0.03
    assert together[1] > 0.9


@pytest.mark.training
def test_a_second_training_makes_paths_straight(tmp_path: Path) -> None:
    small = Config(steps=300, drawn=1000, width=48)
    ours = train(small, quiet(tmp_path / "ours"))
    control = train(replace(small, reflow=False, steps=600), quiet(tmp_path / "control"))
    assert ours["straightness"] < 0.3 * control["straightness"]
    assert ours["one"] < control["one"] - 0.4
    assert control["error"] < 0.4


# Shapes


def test_shape_comments(tmp_path: Path) -> None:
    with check_shapes("papers/flows/flow_matching.py"):
        train(TINY, quiet(tmp_path))
        train(replace(TINY, path="diffusion", reflow=False), quiet(tmp_path / "other"))
        given = mixture()
        five = torch.rand(5, 1).double()
        given.velocity(randn(5, 2), straight(five))
        unmix("v", randn(5, 2), randn(5, 2), straight(five))
