"""DDIM against diffusers' scheduler, against DDPM where the two meet, and as a map that inverts."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler
from torch import Tensor, nn

from papers.common import Run, UserError
from papers.common.checkpoint import Checkpoints, load
from papers.common.data.grids import enlarged, grid
from papers.diffusion import ddim, ddpm
from papers.diffusion.ddim import (
    Config,
    Spacing,
    encode,
    judge,
    move,
    noise_scale,
    sample,
    spaced,
    train,
)
from papers.diffusion.ddpm import Diffusion
from papers.diffusion.frechet import classifier, frechet
from papers.tools.shapes import check_shapes
from tests.given import quiet

pytestmark = pytest.mark.usefixtures("doubled")

T = 100


class Optimal(nn.Module):
    """The best guess of the noise where data are normal with the given deviation."""

    def __init__(self, diffusion: Diffusion, deviation: float) -> None:
        super().__init__()
        self.diffusion, self.deviation = diffusion, deviation

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        a = self.diffusion.alpha_bar[t].view(-1, 1, 1, 1)
        best = (1 - a).sqrt() * x / (a * self.deviation**2 + 1 - a)
        return best.to(x.dtype)


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("steps", [10, 100])
def test_each_step_is_that_of_diffusers(steps: int, eta: float, clip: bool) -> None:
    diffusion = Diffusion(T)
    theirs = DDIMScheduler(
        num_train_timesteps=T,
        trained_betas=diffusion.beta[1:].numpy(),
        clip_sample=clip,
        set_alpha_to_one=True,
        timestep_spacing="trailing",
    )
    theirs.alphas_cumprod = diffusion.alpha_bar[1:]
    theirs.final_alpha_cumprod = torch.tensor(1.0)
    theirs.set_timesteps(steps)
    times = spaced(T, steps)
    # They count times from 0, we from 1.
    assert [t + 1 for t in theirs.timesteps.tolist()] == times[::-1]
    for index in (0, 1, steps // 2, steps - 1):
        t, to = times[index], times[index - 1] if index else 0
        x, eps, z = (torch.randn(2, 1, 3, 3) for _ in range(3))
        ours = move(diffusion, x, eps, t, to, eta, z, clip)
        step = theirs.step(
            eps, t - 1, x, eta=eta, use_clipped_model_output=clip, variance_noise=z
        ).prev_sample
        torch.testing.assert_close(ours, step, rtol=1e-9, atol=1e-9)


def test_others_begin_where_more_of_the_image_is_left() -> None:
    """Multiples in diffusers' default, squares in the authors' code, which count from 0."""
    diffusion, S = Diffusion(T), 10
    theirs = DDIMScheduler(num_train_timesteps=T)
    theirs.set_timesteps(S)
    multiples = int(theirs.timesteps[0]) + 1
    assert multiples == T - T // S + 1
    squares = int(torch.linspace(0, (0.8 * T) ** 0.5, S).square()[-1].round()) + 1
    first = [multiples, squares, spaced(T, S)[-1], spaced(T, S, "quadratic")[-1]]
    left = [diffusion.alpha_bar[t].sqrt().item() for t in first]
    assert left == pytest.approx([0.012, 0.030, 0.0045, 0.0045], rel=0.05)


def test_three_ways_to_treat_a_guess_that_leaves_the_range() -> None:
    """Not at all (the paper), by clipping it (diffusers), by clipping it and its noise (ours)."""
    diffusion = Diffusion(T)
    theirs = DDIMScheduler(num_train_timesteps=T, trained_betas=diffusion.beta[1:].numpy())
    theirs.alphas_cumprod = diffusion.alpha_bar[1:]
    theirs.set_timesteps(10)
    x0, noise = torch.tensor([0.9, 1.5]).view(2, 1, 1, 1), torch.randn(2, 1, 1, 1)
    x = diffusion.noisy(x0, torch.tensor([41, 41]), noise)
    ways = torch.stack(
        [
            move(diffusion, x, noise, 41, 31),
            theirs.step(noise, 40, x).prev_sample,
            move(diffusion, x, noise, 41, 31, clip=True),
        ]
    )
    inside, outside = ways[:, 0].flatten(), ways[:, 1].flatten()
    torch.testing.assert_close(inside, inside[:1].expand(3), rtol=1e-6, atol=1e-6)
    assert (outside[:, None] - outside).abs().add(torch.eye(3)).min() > 0.05


def test_gradients_are_those_of_diffusers() -> None:
    diffusion = Diffusion(T)
    theirs = DDIMScheduler(
        num_train_timesteps=T, trained_betas=diffusion.beta[1:].numpy(), clip_sample=False
    )
    theirs.alphas_cumprod = diffusion.alpha_bar[1:]
    theirs.set_timesteps(10)
    grads = []
    for way in ("ours", "theirs"):
        torch.manual_seed(1)
        x = torch.randn(2, 1, 3, 3, requires_grad=True)
        eps = torch.randn(2, 1, 3, 3, requires_grad=True)
        out = (
            move(diffusion, x, eps, 41, 31)
            if way == "ours"
            else theirs.step(eps, 40, x).prev_sample
        )
        out.square().sum().backward()
        grads.append((x.grad, eps.grad))
    for ours, their in zip(*grads, strict=True):
        assert ours is not None
        torch.testing.assert_close(ours, their)


def test_with_eta_1_and_all_steps_it_is_ddpm() -> None:
    """Equation 12 with the noise of equation 16 is DDPM's posterior, mean and variance."""
    diffusion = Diffusion(T, "small", clip=False)
    for t in (2, 30, T):
        x, eps = torch.randn(3, 1, 4, 4), torch.randn(3, 1, 4, 4)
        times = torch.full((3,), t)
        mean = move(diffusion, x, eps, t, t - 1, eta=1.0, z=torch.zeros_like(x))
        torch.testing.assert_close(mean, diffusion.mean(x, times, eps))
        a, before = diffusion.alpha_bar[t].item(), diffusion.alpha_bar[t - 1].item()
        assert noise_scale(a, before, 1.0) ** 2 == pytest.approx(diffusion.variance[t].item())
        # Half the noise is not: the mean differs, since less variance is left for z.
        half = move(diffusion, x, eps, t, t - 1, eta=0.5, z=torch.zeros_like(x))
        assert (half - mean).abs().max() > 1e-6


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_the_marginals_stay_what_they_were(eta: float) -> None:
    """Lemma 1: whatever eta, x at the earlier time has mean sqrt(a) x0 and variance 1 - a."""
    diffusion = Diffusion(T)
    x0 = torch.full((200_000, 1, 1, 1), 0.7)
    t, to = 80, 35
    eps = torch.randn_like(x0)
    x = diffusion.noisy(x0, torch.full((len(x0),), t), eps)
    moved = move(diffusion, x, eps, t, to, eta, torch.randn_like(x0))
    a = diffusion.alpha_bar[to]
    assert moved.mean().item() == pytest.approx(0.7 * a.sqrt().item(), abs=0.01)
    assert moved.var().item() == pytest.approx(1 - a.item(), rel=0.02)


def test_without_noise_a_sample_is_a_function_of_its_start() -> None:
    diffusion = Diffusion(T)
    model = Optimal(diffusion, 0.5)
    start = torch.randn(4, 1, 2, 2)
    draws = {}
    for eta, seed in itertools.product((0.0, 1.0), (1, 2)):
        chance = torch.Generator().manual_seed(seed)
        taken = spaced(T, 10)
        draws[eta, seed] = sample(model, diffusion, start, taken, eta, chance, clip=False)
    torch.testing.assert_close(draws[0.0, 1], draws[0.0, 2], rtol=0, atol=0)
    assert (draws[1.0, 1] - draws[1.0, 2]).abs().max() > 0.1


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_the_last_step_goes_all_the_way(eta: float) -> None:
    """A model that knows the only image there is ends with just that."""
    diffusion = Diffusion(T)
    start, chance = torch.randn(4, 1, 2, 2), torch.Generator().manual_seed(0)
    drawn = sample(Optimal(diffusion, 0.0), diffusion, start, spaced(T, 7), eta, chance)
    torch.testing.assert_close(drawn, torch.zeros_like(drawn), rtol=0, atol=1e-12)


def test_fewer_steps_cost_less_without_noise_than_with_it() -> None:
    """Normal data have an exact answer: how far is the deviation of the samples from it?"""
    diffusion = Diffusion(T)
    model = Optimal(diffusion, 0.5)
    start = torch.randn(50_000, 1, 1, 1)
    chance = torch.Generator().manual_seed(0)

    def error(steps: int, eta: float) -> float:
        drawn = sample(model, diffusion, start, spaced(T, steps), eta, chance, clip=False)
        return abs(drawn.std().item() - 0.5)

    assert error(10, 0.0) < 0.8 * error(10, 1.0)
    assert error(50, 0.0) < error(10, 0.0)


def test_an_image_is_found_again_and_better_with_more_steps() -> None:
    """Table 2's shape: encoding and decoding is the identity in the limit of small steps."""
    diffusion = Diffusion(T)
    model = Optimal(diffusion, 0.5)
    x0 = 0.5 * torch.randn(64, 1, 2, 2)
    chance = torch.Generator()
    errors = []
    for steps in (5, 20, 100):
        taken = spaced(T, steps)
        code = encode(model, diffusion, x0, taken)
        again = sample(model, diffusion, code, taken, 0.0, chance, clip=False)
        errors.append((again - x0).square().mean().item())
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-3
    # What is encoded is noise.
    assert code.std().item() == pytest.approx(1, abs=0.15)


def test_steps_are_spaced_and_checked() -> None:
    assert spaced(100, 4) == [25, 50, 75, 100]
    assert spaced(100, 6) == [16, 33, 50, 66, 83, 100]
    assert spaced(100, 4, "quadratic") == [6, 25, 56, 100]
    assert spaced(100, 20, "quadratic")[:8] == [1, 2, 3, 4, 6, 9, 12, 16]
    for wrong in (0, 101):
        with pytest.raises(UserError, match=f"{wrong} steps of 100"):
            spaced(100, wrong)


@pytest.mark.parametrize("spacing", ["linear", "quadratic"])
def test_any_number_of_steps_starts_from_noise_and_is_that_number(spacing: Spacing) -> None:
    for S in range(1, T + 1):
        taken = spaced(T, S, spacing)
        assert len(set(taken)) == S
        assert taken == sorted(taken)
        assert (taken[0] >= 1, taken[-1]) == (True, T)
    assert spaced(T, T, spacing) == list(range(1, T + 1))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that trains in a second, and few steps to take with it."""
    torch.set_default_dtype(torch.float32)
    tiny = replace(ddpm.Config(), width=8, timesteps=25, lr=3e-3, ema=0.95)
    monkeypatch.setattr(ddim.ddpm, "Config", lambda: tiny)
    monkeypatch.setattr(ddim, "STEPS", (5, 25))


def test_an_image_is_encoded_by_the_noise_at_the_time_that_it_leaves() -> None:
    """Where the noise depends on the time alone, eq. 13 sums up."""

    class Clock(nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            asked.append(int(t[0]))
            return torch.full_like(x, asked[-1] / 100)

    asked: list[int] = []
    diffusion, times = Diffusion(T), [10, 40, 100]
    x0 = torch.randn(2, 1, 3, 3)
    code = encode(Clock(), diffusion, x0, times)
    assert asked == [1, 10, 40]
    ratio = [((1 - a) / a) ** 0.5 for a in diffusion.alpha_bar[[0, *times]].tolist()]
    moved = sum(f / 100 * (ratio[i + 1] - ratio[i]) for i, f in enumerate((1, 10, 40)))
    torch.testing.assert_close(code, diffusion.alpha_bar[100].sqrt() * (x0 + moved))


class Shy(Optimal):
    """It sees too little noise, so that its guesses of images leave the range of pixels."""

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return 0.9 * super().forward(x, t)


@pytest.mark.parametrize(("eta", "spacing"), [(0.0, "quadratic"), (0.7, "linear")])
def test_what_is_judged_is_what_was_asked_for(
    eta: float, spacing: Spacing, small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The measures written plainly, from the parts that have tests of their own."""
    images, labels = (part[:80] for part in ddpm.pictures("digits"))
    shown: dict[str, Any] = {}
    monkeypatch.setattr(Run, "show", lambda run, name, what: shown.update({name: what}))
    run = Run(Config(eta=eta, spacing=spacing, number=14), quiet(tmp_path))
    diffusion = Diffusion(25)
    model = Shy(diffusion, 0.5)
    numbers = judge(run, diffusion, model, images, labels, 60)

    generator = torch.Generator().manual_seed(0)
    start = torch.randn(14, 1, 8, 8, generator=generator)
    features, held_out = classifier(images[:60], labels[:60]), images[60:]
    with torch.no_grad():
        seen = features(images[:60])
        expected = {"floor": frechet(features(held_out[:14]), seen).item()}
        rows = []
        for S in (5, 25):
            times = spaced(25, S, spacing)
            drawn = sample(model, diffusion, start, times, eta, generator).clamp(-1, 1)
            rows.append(drawn[:12])
            expected[f"frechet_{S}"] = frechet(features(drawn), seen).item()
            if eta == 0:
                code = encode(model, diffusion, held_out, times)
                again = sample(model, diffusion, code, times, 0, generator, clip=False)
                expected[f"error_{S}"] = (again - held_out).square().mean().item() / 4
    if eta == 0:
        expected["error_ratio"] = expected["error_5"] / expected["error_25"]
    assert numbers == pytest.approx(expected, rel=1e-4)
    sheet = grid(enlarged((torch.cat(rows) + 1) / 2), columns=12)
    torch.testing.assert_close(shown["samples"], sheet)


def test_training_is_that_of_ddpm(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That nothing changes there is the point of the paper."""
    judged: list[nn.Module] = []

    def look(run: Run, diffusion: Diffusion, model: nn.Module, *rest: Any) -> dict[str, float]:
        judged.append(model)
        return {}

    for page in (ddim, ddpm):
        monkeypatch.setattr(page, "judge", look)
    tiny = ddpm.Config()
    train(Config(steps=3, batch=7), quiet(tmp_path / "ddim"))
    ddpm.train(replace(tiny, steps=3, batch=7), quiet(tmp_path / "ddpm"))
    ours, theirs = (
        load(Checkpoints(tmp_path / name / "checkpoints").files()[-1])["state"]
        for name in ("ddim", "ddpm")
    )
    for part in ("model", "average"):
        for name, value in ours[part].items():
            assert torch.equal(value, theirs[part][name])
    assert not judged[0].training
    for name, value in judged[0].state_dict().items():
        assert torch.equal(value, ours["average"][name])


def test_shapes(small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On images that are not square, or height and width could be swapped unseen."""
    images = torch.randint(0, 4, (80, 3, 8, 4)) / 1.5 - 1
    monkeypatch.setattr(ddim, "pictures", lambda name: (images, torch.arange(80) % 10))
    with check_shapes("papers/diffusion/ddim.py"):
        told = train(Config(steps=2, number=14, batch=5), quiet(tmp_path))
        move(Diffusion(60), torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5), 5, 3, clip=True)
    assert set(told) == {"floor", "frechet_5", "frechet_25", "error_5", "error_25", "error_ratio"}
    assert (tmp_path / "samples.png").exists()


@pytest.mark.slow
@pytest.mark.training
def test_training_falls(small: None, tmp_path: Path) -> None:
    untrained = train(Config(steps=1, number=40), quiet(tmp_path))
    trained = train(Config(steps=150, number=40), quiet(tmp_path))
    assert trained["frechet_25"] < 0.5 * untrained["frechet_25"]
