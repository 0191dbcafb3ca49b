"""DDIM against diffusers' scheduler, against DDPM where the two meet, and as a map that inverts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler
from torch import Tensor, nn

from papers.common import Options, UserError
from papers.diffusion import ddim, ddpm
from papers.diffusion.ddim import Config, encode, move, noise_scale, sample, spaced, train
from papers.diffusion.ddpm import Diffusion
from tests.shapes import check_shapes

T = 100


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


class Optimal(nn.Module):
    """The best guess of the noise where data are normal with the given deviation."""

    def __init__(self, diffusion: Diffusion, deviation: float) -> None:
        super().__init__()
        self.diffusion, self.deviation = diffusion, deviation

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        a = self.diffusion.alpha_bar[t].view(-1, 1, 1, 1)
        return (1 - a).sqrt() * x / (a * self.deviation**2 + 1 - a)


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
        timestep_spacing="leading",
        steps_offset=0,
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
    diffusion = Diffusion(T, "small")
    for t in (2, 30, T):
        x, eps = torch.randn(3, 1, 4, 4), torch.randn(3, 1, 4, 4)
        times = torch.full((3,), t)
        mean = move(diffusion, x, eps, t, t - 1, eta=1.0, z=torch.zeros_like(x))
        torch.testing.assert_close(mean, diffusion.mean(x, times, eps, clip=False))
        sigma = noise_scale(diffusion.alpha_bar[t], diffusion.alpha_bar[t - 1], 1.0)
        torch.testing.assert_close(sigma**2, diffusion.variance[t])
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
    draws = {
        (eta, seed): sample(
            model, diffusion, start, 10, eta, torch.Generator().manual_seed(seed), clip=False
        )
        for eta in (0.0, 1.0)
        for seed in (1, 2)
    }
    torch.testing.assert_close(draws[0.0, 1], draws[0.0, 2], rtol=0, atol=0)
    assert (draws[1.0, 1] - draws[1.0, 2]).abs().max() > 0.1


def test_fewer_steps_cost_less_without_noise_than_with_it() -> None:
    """Normal data have an exact answer: how far is the deviation of the samples from it?"""
    diffusion = Diffusion(T)
    model = Optimal(diffusion, 0.5)
    start = torch.randn(50_000, 1, 1, 1)
    chance = torch.Generator().manual_seed(0)

    def error(steps: int, eta: float) -> float:
        drawn = sample(model, diffusion, start, steps, eta, chance, clip=False)
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
        code = encode(model, diffusion, x0, steps)
        again = sample(model, diffusion, code, steps, 0.0, chance, clip=False)
        errors.append((again - x0).square().mean().item())
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-3
    # What is encoded is noise.
    assert code.std().item() == pytest.approx(1, abs=0.15)


def test_steps_are_spaced_and_checked() -> None:
    assert spaced(100, 4) == [1, 26, 51, 76]
    assert spaced(100, 100) == list(range(1, 101))
    for wrong in (0, 101):
        with pytest.raises(UserError, match=f"{wrong} steps of 100"):
            spaced(100, wrong)


def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that trains in a second."""
    tiny = replace(ddpm.Config(), timesteps=60)
    monkeypatch.setattr(ddim.ddpm, "Config", lambda: tiny)


@pytest.mark.slow
def test_training_falls_and_shapes_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_default_dtype(torch.float32)
    small(monkeypatch)
    options = Options(device="cpu", out=tmp_path, quiet=True)
    with check_shapes("papers/diffusion/ddim.py"):
        told = train(Config(steps=3, number=40, batch=4), options)
        move(Diffusion(60), torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5), 5, 3, clip=True)
        chance = torch.Generator()
        steps = Diffusion(60)
        sample(Optimal(steps, 1), steps, torch.randn(2, 3, 4, 5), 3, 0, chance)
        encode(Optimal(steps, 1), steps, torch.randn(2, 3, 4, 5), 3)
    assert set(told) == {"floor", *(f"frechet_{s}" for s in (5, 10, 20, 50)), "reconstruction"}
    trained = train(Config(steps=120, number=40), options)
    assert trained["frechet_50"] < told["frechet_50"]
