"""Diffusion in continuous time, against closed forms, diffusers' schedulers and torchdiffeq."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import ScoreSdeVeScheduler
from diffusers.schedulers.deprecated.scheduling_sde_vp import ScoreSdeVpScheduler
from torch import Tensor, nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from torchdiffeq import odeint

from papers.common import Run
from papers.common.data.grids import enlarged, grid
from papers.diffusion import score_sde
from papers.diffusion.ddpm import Diffusion
from papers.diffusion.score_sde import (
    EARLIEST,
    VE,
    VP,
    Config,
    Mixture,
    Network,
    Process,
    between,
    clusters,
    correct,
    counted,
    densities,
    energy_distance,
    flow,
    heun,
    judge,
    log_likelihood,
    matching_loss,
    moving,
    predict,
    reverse,
    sample,
    score_error,
    solved,
    spreading,
    train,
)
from papers.tools.shapes import check_shapes
from tests.given import quiet, watched

pytestmark = pytest.mark.usefixtures("double", "seeded")

BOTH = pytest.mark.parametrize("process", [VP(), VE()], ids=["vp", "ve"])
TINY = Config(width=12, batch=7, steps=3, evaluations=6, solving=8, number=11)


def times_of(n: int) -> Tensor:
    return torch.linspace(1, EARLIEST, n + 1)


def blob(deviation: float = 0.5) -> Mixture:
    """A single Gaussian around (1, -2)."""
    return Mixture(torch.ones(1), torch.tensor([[1.0, -2.0]]), torch.tensor([deviation]))


# The processes


@BOTH
def test_the_kernel_solves_the_equation(process: Process) -> None:
    """The mean moves by the drift, and the variance by twice that of its own and by the noise."""
    t = torch.linspace(0.01, 1, 9)
    x = torch.randn(9, 3)
    (scale, std), slope = torch.autograd.functional.jvp(process.kernel, t, torch.ones(9))
    torch.testing.assert_close(slope[0][:, None] * x, process.drift(scale[:, None] * x, t))
    shrinking = slope[0] / scale
    grown = 2 * shrinking * std**2 + process.rate(t) ** 2
    torch.testing.assert_close(2 * std * slope[1], grown)


def test_the_processes_begin_and_end_as_the_paper_says() -> None:
    ends = torch.tensor([0.0, 1.0])
    assert VE(0.02, 30).kernel(ends)[1].tolist() == pytest.approx([0.02, 30])
    assert (VP().rate(ends) ** 2).tolist() == pytest.approx([0.1, 20])
    scale, std = VP().kernel(ends)
    assert std[0] == 0
    torch.testing.assert_close(scale**2 + std**2, torch.ones(2))
    assert scale[1] < 0.01


def test_exploding_noise_starts_from_its_smallest_deviation() -> None:
    t = torch.tensor([0.0, 0.5, 1.0])
    _, std = VE().kernel(t)
    theirs = (std**2 - std[0] ** 2).sqrt()
    assert (std - theirs).tolist() == pytest.approx([0.01, 1.6e-4, 5e-6], rel=0.05)


@BOTH
def test_two_ways_in_a_row_are_one(process: Process) -> None:
    t, to = torch.tensor([0.3, 0.9]), torch.tensor([0.1, 0.5])
    (scale, std), (scale_to, std_to) = process.kernel(t), process.kernel(to)
    shrink, added = between(process, t, to)
    torch.testing.assert_close(shrink * scale_to, scale)
    torch.testing.assert_close((shrink * std_to) ** 2 + added**2, std**2)


def test_many_small_steps_are_those_of_ddpm() -> None:
    times = torch.linspace(0, 1, 1001)
    shrink, std = between(VP(), times[1:], times[:-1])
    theirs = Diffusion(1000)
    torch.testing.assert_close(std**2, theirs.beta[1:], rtol=0.01, atol=2e-5)
    torch.testing.assert_close(shrink, theirs.alpha[1:].sqrt(), rtol=0, atol=2e-4)
    # With ten steps, theirs would be a variance of 2.
    last = between(VP(), torch.ones(1), torch.tensor([0.9]))[1]
    assert VP().rate(torch.ones(1)).item() ** 2 / 10 == pytest.approx(2)
    assert 0.8 < last.item() ** 2 < 0.9


# Back


def test_the_reverse_process_is_that_of_diffusers() -> None:
    theirs = ScoreSdeVpScheduler(num_train_timesteps=50)
    theirs.set_timesteps(50)
    t, x, noise = torch.full((4,), 0.3), torch.randn(4, 2), torch.randn(4, 2)
    _, std = VP().kernel(t)
    mean = theirs.step_pred(noise, x, torch.tensor(0.3), torch.Generator())[1]
    ours = x - reverse(VP(), lambda x, t: -noise / std[:, None], x, t) / 50
    torch.testing.assert_close(ours, mean, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("index", [1, 20, 49])
def test_predictor_and_corrector_are_those_of_diffusers(index: int) -> None:
    n = 50
    theirs = ScoreSdeVeScheduler(n, snr=0.3, sigma_min=0.01, sigma_max=10.0)
    theirs.set_timesteps(n)
    theirs.set_sigmas(n)
    process, t = VE(), torch.full((4,), index / (n - 1))
    found = []
    for way in ("ours", "theirs"):
        torch.manual_seed(1)
        x, s = (torch.randn(4, 2).requires_grad_() for _ in range(2))
        chance = torch.Generator().manual_seed(2)
        if way == "ours":
            z = torch.randn(4, 2, generator=chance)
            y = predict(process, s, x, t, t - 1 / (n - 1), z)
            y = correct(s.square(), y, torch.randn(4, 2, generator=chance), 0.3)
        else:
            # Their time is rounded down.
            y = theirs.step_pred(s, (index + 0.5) / (n - 1), x, chance).prev_sample
            y = theirs.step_correct(s.square(), y, chance).prev_sample
        found.append((y, *torch.autograd.grad(y.square().sum(), (x, s))))
    for ours, other in zip(*found, strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-9, atol=1e-9)


@BOTH
def test_a_step_of_the_predictor_is_right_to_first_order(process: Process) -> None:
    """Half the step, a quarter of the error of mean and deviation."""
    data = blob()
    errors = []
    for step in (0.02, 0.01):
        t, to = torch.full((1,), 0.4), torch.full((1,), 0.4 - step)
        (scale, std), (scale_to, std_to) = process.kernel(t), process.kernel(to)
        start = scale[:, None] * data.means
        wide = (scale * 0.5) ** 2 + std**2
        moves = [
            predict(process, data.score(process, x, t), x, t, to, torch.zeros(1, 2))
            for x in (start, start + wide.sqrt()[:, None])
        ]
        factor = ((moves[1] - moves[0]) / wide.sqrt())[0, 0]
        variance = factor**2 * wide + between(process, t, to)[1] ** 2
        errors.append(
            (moves[0] - scale_to[:, None] * data.means).abs().max().item()
            + (variance - (scale_to * 0.5) ** 2 - std_to**2).abs().item()
        )
    assert errors[1] < 0.3 * errors[0]


def test_langevin_dynamics_finds_the_distribution() -> None:
    """Small steps at one time bring any start to the Gaussian that belongs to it."""
    data, process = blob(), VE()
    t = torch.full((4000,), 0.5)
    variance = 0.25 + process.kernel(t)[1][0].item() ** 2
    x = torch.zeros(4000, 2)
    for _ in range(150):
        x = correct(data.score(process, x, t), x, torch.randn_like(x), 0.16)
    assert x.mean(0).tolist() == pytest.approx([1, -2], abs=0.05)
    assert x.var(0).tolist() == pytest.approx([variance] * 2, rel=0.1)


def tracked(process: Process) -> Any:
    data = clusters()
    data = Mixture(*(part.double() for part in (data.weights, data.means, data.deviations)))
    return partial(data.score, process)


@BOTH
def test_the_order_matters_at_both_ends_only(process: Process) -> None:
    """The paper predicts first. After one more correction at the start, we do the same."""
    score, times, x = tracked(process), times_of(5), torch.randn(6, 2)
    ours = sample(process, score, x, times, 0.2, torch.Generator().manual_seed(3))
    chance = torch.Generator().manual_seed(3)

    def z() -> Tensor:
        return torch.randn(6, 2, generator=chance)

    t = times[0].expand(6)
    x = correct(score(x, t), x, z(), 0.2)
    for t, to in itertools.pairwise(times[:-1]):
        t, to = t.expand(6), to.expand(6)
        x = predict(process, score(x, t), x, t, to, z())
        x = correct(score(x, to), x, z(), 0.2)
    t, to = (time.expand(6) for time in times[-2:])
    x = predict(process, score(x, t), x, t, to, torch.zeros(6, 2))
    torch.testing.assert_close(ours, x)


@BOTH
def test_either_half_of_a_step_alone(process: Process) -> None:
    score, times, x = tracked(process), times_of(3), torch.randn(6, 2)
    for predicts, snr in ((True, 0.0), (False, 0.2)):
        ours = sample(process, score, x, times, snr, torch.Generator().manual_seed(3), predicts)
        chance, y = torch.Generator().manual_seed(3), x
        for now, then in itertools.pairwise(times):
            t, to, z = now.expand(6), then.expand(6), torch.randn(6, 2, generator=chance)
            if predicts:
                y = predict(process, score(y, t), y, t, to, z * (then > EARLIEST * 1.01))
            else:
                y = correct(score(y, t), y, z, 0.2)
        torch.testing.assert_close(ours, y)


@BOTH
def test_samples_of_many_steps_are_data(process: Process) -> None:
    data, chance = blob(), torch.Generator().manual_seed(0)
    start = process.kernel(torch.ones(1))[1] * torch.randn(4000, 2)
    for snr in (0.0, 0.16):
        x = sample(process, partial(data.score, process), start, times_of(100), snr, chance)
        assert x.mean(0).tolist() == pytest.approx([1, -2], abs=0.06)
        assert x.std(0).tolist() == pytest.approx([0.5, 0.5], rel=0.06)


# The flow


@BOTH
def test_the_flow_keeps_the_marginals(process: Process) -> None:
    """A Gaussian stays one, so that points keep their place within it."""
    data, x = blob(), torch.randn(5, 2)
    ends = torch.tensor([EARLIEST, 1.0])
    scale, std = process.kernel(ends)
    deviation = ((scale * 0.5) ** 2 + std**2).sqrt()
    start = scale[0] * data.means + deviation[0] * x
    field = partial(moving, process, partial(data.score, process))
    end, nothing = heun(field, start, torch.linspace(EARLIEST, 1, 801))
    torch.testing.assert_close(end, scale[1] * data.means + deviation[1] * x, rtol=3e-4, atol=3e-4)
    assert not nothing.any()
    torch.testing.assert_close(
        solved(process, partial(data.score, process), end, times_of(800)), start,
        rtol=3e-4, atol=3e-4,
    )  # fmt: skip


def test_heun_and_its_gradients_are_those_of_torchdiffeq() -> None:
    times, start = torch.tensor([0.1, 0.3, 0.35, 1.0]), torch.randn(4, 2)
    matrix, found = torch.randn(2, 2), []

    def field(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.tanh(x @ matrix) * t[:, None], (x * x).sum(-1) * t

    for way in ("ours", "theirs"):
        x = start.clone().requires_grad_()
        if way == "ours":
            y, total = heun(field, x, times)
        else:
            steps = odeint(
                lambda t, state: field(state[0], t.expand(4)), (x, torch.zeros(4)), times,
                method="heun2",
            )  # fmt: skip
            y, total = (part[-1] for part in steps)
        found.append((y, total, *torch.autograd.grad(y.sum() + total.sum(), x)))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@BOTH
def test_the_likelihood_is_that_of_an_adaptive_solver(process: Process) -> None:
    score, x = tracked(process), clusters().draw(3, torch.default_generator).double()
    ours = log_likelihood(process, score, x, torch.linspace(EARLIEST, 1, 401))
    noise, total = (
        part[-1]
        for part in odeint(
            lambda t, state: spreading(process, score, state[0], t.expand(3)),
            (x, torch.zeros(3)), torch.tensor([EARLIEST, 1.0]), rtol=1e-5, atol=1e-6,
        )
    )  # fmt: skip
    prior = Normal(0, process.kernel(torch.ones(1))[1])
    theirs = prior.log_prob(noise).sum(-1) + total
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-3)


@BOTH
def test_with_the_exact_score_it_is_the_exact_likelihood(process: Process) -> None:
    data = clusters()
    data = Mixture(*(part.double() for part in (data.weights, data.means, data.deviations)))
    x, early = data.draw(50, torch.default_generator).double(), torch.full((50,), EARLIEST)
    times, exact = torch.linspace(EARLIEST, 1, 401), data.log_density(process, x, early)
    told = log_likelihood(process, partial(data.score, process), x, times)
    # Where it ends is only nearly a Gaussian around zero.
    within = 0.02 if isinstance(process, VP) else 0.2
    torch.testing.assert_close(told, exact, rtol=0, atol=within)
    noise, total = heun(partial(spreading, process, partial(data.score, process)), x, times)
    end = data.log_density(process, noise, torch.ones(50))
    torch.testing.assert_close(end + total, exact, rtol=0, atol=0.01)


@BOTH
def test_the_divergence_is_the_trace_of_the_jacobian(process: Process) -> None:
    score, x, t = tracked(process), torch.randn(5, 2), torch.linspace(0.1, 0.9, 5)
    velocity, divergence = spreading(process, score, x, t)
    torch.testing.assert_close(velocity, flow(process, score, x, t))
    for i in range(5):
        of_one = partial(flow, process, score)
        matrix = torch.autograd.functional.jacobian(
            lambda one, i=i, f=of_one: f(one[None], t[i : i + 1])[0], x[i]
        )
        torch.testing.assert_close(divergence[i], matrix.trace())


# The data and the loss


@BOTH
def test_the_mixture_is_that_of_torch(process: Process) -> None:
    weights, means = torch.tensor([0.2, 0.5, 0.3]), torch.randn(3, 2)
    data = Mixture(weights, means, torch.tensor([0.1, 0.4, 0.7]))
    t, x = torch.full((6,), 0.3), torch.randn(6, 2).requires_grad_()
    scale, std = (part[0] for part in process.kernel(t))
    deviations = ((scale * data.deviations) ** 2 + std**2).sqrt()[:, None].expand(3, 2)
    parts = Independent(Normal(scale * means, deviations), 1)
    theirs = MixtureSameFamily(Categorical(weights), parts).log_prob(x)
    torch.testing.assert_close(data.log_density(process, x, t), theirs)
    slope = torch.autograd.grad(theirs.sum(), x)[0]
    torch.testing.assert_close(data.score(process, x, t), slope)


def test_drawn_points_are_those_of_the_mixture() -> None:
    weights = torch.tensor([0.2, 0.8])
    data = Mixture(weights, torch.tensor([[0.0, 5.0], [9.0, 0.0]]), torch.tensor([0.1, 1.0]))
    x = data.draw(5000, torch.Generator().manual_seed(0))
    first = x[:, 0] < 3
    assert first.double().mean().item() == pytest.approx(0.2, abs=0.02)
    for mine, mean, deviation in ((x[first], [0, 5], 0.1), (x[~first], [9, 0], 1.0)):
        assert mine.mean(0).tolist() == pytest.approx(mean, abs=0.06)
        assert mine.std(0).tolist() == pytest.approx([deviation] * 2, rel=0.1)
    ring = clusters()
    assert ring.weights.sum().item() == pytest.approx(1)
    assert ring.means.norm(dim=-1).tolist() == pytest.approx([1.3] * 5)


@BOTH
@pytest.mark.parametrize("weighted", [True, False])
def test_the_target_is_the_score_of_the_kernel(process: Process, weighted: bool) -> None:
    x0, t, z = torch.randn(5, 2), torch.rand(5) * 0.9 + 0.1, torch.randn(5, 2)
    scale, std = (part[:, None] for part in process.kernel(t))
    x = (scale * x0 + std * z).requires_grad_()
    target = torch.autograd.grad(Normal(scale * x0, std).log_prob(x).sum(), x)[0]

    def guess(x: Tensor, t: Tensor) -> Tensor:
        return torch.sin(x) * t[:, None]

    error = (guess(x, t) - target).square().sum(-1)
    expected = (error * std[:, 0] ** 2 if weighted else error).mean()
    torch.testing.assert_close(matching_loss(guess, process, weighted, x0, t, z), expected)


def test_above_its_least_value_the_loss_is_the_error_of_the_score() -> None:
    data, process, N = blob(), VP(), 40_000
    x0, z, t = data.draw(N, torch.default_generator), torch.randn(N, 2), torch.rand(N) * 0.9 + 0.1
    exact = partial(data.score, process)

    def wrong(x: Tensor, t: Tensor) -> Tensor:
        return 0.8 * exact(x, t) + 0.5

    losses = [matching_loss(s, process, True, x0, t, z).item() for s in (wrong, exact)]
    scale, std = (part[:, None] for part in process.kernel(t))
    x = scale * x0 + std * z
    error = (std * (wrong(x, t) - exact(x, t))).square().sum(-1).mean().item()
    assert losses[0] - losses[1] == pytest.approx(error, rel=0.06)


@BOTH
def test_a_network_that_says_nothing_has_no_score(process: Process) -> None:
    """And one that says one thing, of input that is always of the same size."""
    seen: list[Tensor] = []
    model = Network(process, 8)
    model.layers.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    last = model.layers[-1]
    assert isinstance(last, nn.Linear)
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, 1.0)
    t = torch.tensor([EARLIEST, 0.3, 1.0])
    scale, std = process.kernel(t)
    x = (scale**2 + std**2).sqrt()[:, None] * torch.ones(3, 2)
    torch.testing.assert_close(model(x, t), (-1 / std)[:, None].expand(3, 2))
    torch.testing.assert_close(seen[0][:, :2], torch.ones(3, 2))
    torch.testing.assert_close(
        seen[0][:, 2:10].square() + seen[0][:, 10:].square(), torch.ones(3, 8)
    )
    assert torch.cdist(seen[0], seen[0])[0, 1] > 0.5


# The measures


def test_energy_distance_of_known_sets() -> None:
    near, far = torch.zeros(3, 2), torch.tensor([[3.0, 4.0]] * 4)
    assert energy_distance(near, far).item() == pytest.approx(10)
    a, b = torch.randn(6, 2), torch.randn(5, 2)
    total = 0.0
    for x, y, factor, pairs in ((a, b, 2, 30), (a, a, -1, 30), (b, b, -1, 20)):
        total += factor * sum(math.dist(p, q) for p in x.tolist() for q in y.tolist()) / pairs
    assert energy_distance(a, b).item() == pytest.approx(total)
    many = torch.randn(2, 1500, 2)
    assert abs(energy_distance(*many).item()) < 0.005


def test_error_of_a_score_that_is_off_by_one() -> None:
    data, process = blob(), VE()

    class Off(nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return data.score(process, x, t) + 1 / process.kernel(t)[1][:, None]

    x0 = data.draw(50, torch.Generator())
    assert score_error(process, Off(), data, x0, torch.Generator()) == pytest.approx(2)


def test_points_are_counted_where_they_lie() -> None:
    x = torch.tensor([[-0.9, 0.9]] * 4 + [[0.9, -0.9], [5.0, 0.0], [0.0, -1.01]])
    picture = counted(x, side=4, reach=1.0)
    expected = torch.zeros(4, 4)
    expected[0, 0], expected[3, 3] = 1, 0.5
    torch.testing.assert_close(picture, expected[None].float(), check_dtype=False)


def test_densities_lie_where_points_are_counted() -> None:
    data = Mixture(torch.ones(1), torch.tensor([[1.5, 0.4]]), torch.tensor([0.3]))

    class Exact(nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return data.score(VP(), x, t)

    sheet = densities(VP(), Exact(), data, 50, side=6)[0]
    tile = enlarged(torch.zeros(1, 6, 6), 192).shape[-1]
    one, other = sheet[4 : 4 + tile, 4 : 4 + tile], sheet[4 : 4 + tile, 8 + tile : 8 + 2 * tile]
    torch.testing.assert_close(one, other, atol=0.05, rtol=0)
    across, up = (int((p / 2.4 + 1) / 2 * 6) for p in (1.5, 0.4))
    half = tile // 12
    assert one[tile // 6 * (5 - up) + half, tile // 6 * across + half] == pytest.approx(1)


class Shy(nn.Module):
    """Pulls too little."""

    def __init__(self, process: Process) -> None:
        super().__init__()
        self.exact = partial(clusters().score, process)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return 0.9 * self.exact(x, t)


@pytest.mark.parametrize("snr", [0.1, 0.3])
def test_what_is_judged_is_what_was_asked_for(
    snr: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The measures written plainly, from the parts that have tests of their own."""
    shown: dict[str, Tensor] = {}
    monkeypatch.setattr(Run, "show", lambda run, name, what: shown.update({name: what}))
    monkeypatch.setattr(score_sde, "densities", partial(densities, side=5))
    run = Run(replace(TINY, snr=snr), quiet(tmp_path))
    data, process = clusters(), VE()
    model = Shy(process)
    numbers = judge(run, process, model, data)

    chance = torch.Generator().manual_seed(0)
    x0, other = (data.draw(11, chance) for _ in range(2))
    expected = {"floor": energy_distance(other, x0).item()}
    start = 10 * torch.randn(11, 2, generator=chance)
    pictures = [x0]
    for prefix, score in (("", model), ("oracle_", model.exact)):
        ways = {
            "predictor": sample(process, score, start, times_of(6), 0, chance),
            "corrected": sample(process, score, start, times_of(3), snr, chance),
            "corrector": sample(process, score, start, times_of(6), snr, chance, False),
            "flow": solved(process, score, start, times_of(3)),
        }
        pictures += ways.values()
        expected |= {prefix + way: energy_distance(x, x0).item() for way, x in ways.items()}
    early = torch.full((11,), EARLIEST)
    x = x0 + process.kernel(early)[1][:, None] * torch.randn(11, 2, generator=chance)
    truth = data.log_density(process, x, early)
    for name, score in (("likelihood_gap", model), ("oracle_gap", model.exact)):
        told = log_likelihood(process, score, x, torch.linspace(EARLIEST, 1, 9))
        expected[name] = (told - truth).abs().mean().item()
        if name == "likelihood_gap":
            expected |= {"nll": -told.mean().item(), "entropy": -truth.mean().item()}
    expected["score_error"] = score_error(process, model, data, x0, chance)
    assert numbers == pytest.approx(expected, rel=1e-4)
    sheet = grid(enlarged(torch.stack([counted(x) for x in pictures[:5]]), 192), 5, 4)
    torch.testing.assert_close(shown["samples"], sheet)
    torch.testing.assert_close(shown["densities"], densities(process, model, data, 4, 5))


@pytest.mark.parametrize("weighted", [True, False])
def test_training_is_this_loop(
    weighted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, judged = watched(monkeypatch), list[nn.Module]()

    def look(run: Run, process: Process, model: nn.Module, data: Mixture) -> dict[str, float]:
        judged.append(model)
        return {"process": float(isinstance(process, VE))}

    monkeypatch.setattr(score_sde, "judge", look)
    config = replace(TINY, process="ve", weighted=weighted, lr=0.02)
    assert train(config, quiet(tmp_path)) == {"process": 1}
    assert told.loops == [(3, ["model", "optimizer", "schedule"])]

    torch.manual_seed(0)
    chance, data, model = torch.Generator().manual_seed(0), clusters(), Network(VE(), 12)
    optimizer = torch.optim.Adam(model.parameters())
    losses = []
    for step in range(3):
        x0 = data.draw(7, chance)
        t = EARLIEST + (1 - EARLIEST) * torch.rand(7, generator=chance)
        z = torch.randn(7, 2, generator=chance)
        loss = matching_loss(model, VE(), weighted, x0, t, z)
        optimizer.param_groups[0]["lr"] = 0.02 * (1 - step / 3)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    assert told.losses["loss"] == pytest.approx(losses, rel=1e-5)
    for ours, theirs in zip(judged[0].parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert not judged[0].training


def test_shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_default_dtype(torch.float32)
    monkeypatch.setattr(score_sde, "densities", partial(densities, side=9))
    with check_shapes("papers/diffusion/score_sde.py"):
        told = train(TINY, quiet(tmp_path))
        VE().drift(torch.zeros(7, 2), torch.ones(7))
        VE().kernel(torch.ones(7))
        reverse(VE(), lambda x, t: x, torch.zeros(7, 2), torch.ones(7))
    assert {"predictor", "corrected", "flow", "corrector", "likelihood_gap"} < set(told)
    for name in ("samples", "densities"):
        assert (tmp_path / f"{name}.png").exists()


@pytest.mark.training
def test_the_score_is_learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_default_dtype(torch.float32)
    monkeypatch.setattr(score_sde, "densities", partial(densities, side=5))
    small = Config(width=64, batch=256, evaluations=20, solving=50, number=300)
    before, after = (train(replace(small, steps=n), quiet(tmp_path)) for n in (1, 300))
    assert after["score_error"] < 0.2 * before["score_error"]
    assert after["corrected"] < 0.2 * before["corrected"]
    assert after["oracle_gap"] < 0.05
