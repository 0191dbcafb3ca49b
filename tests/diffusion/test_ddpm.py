"""Denoising diffusion against diffusers, and against cases that are solved on paper."""

from __future__ import annotations

import copy
import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from torch import Tensor, nn

from papers.common import Run, UserError
from papers.common.batches import Batches
from papers.common.checkpoint import Checkpoints, load
from papers.common.data import digits
from papers.common.data.grids import enlarged, grid
from papers.common.distributed import World
from papers.diffusion import ddpm
from papers.diffusion.ddpm import (
    Config,
    Diffusion,
    Variance,
    codelength,
    denoising_loss,
    every_time,
    follow,
    load_pretrained,
    loss_weights,
    pictures,
    sample,
    save_pretrained,
    train,
)
from papers.diffusion.frechet import classifier, frechet, nearest
from papers.diffusion.unet import Sizes, UNet
from papers.tools.shapes import check_shapes
from tests.diffusion.test_unet import SMALL, randomise, their_unet
from tests.given import quiet


def save(model: UNet2DModel, folder: Path, **noise: object) -> DDPMScheduler:
    """As google/ddpm-cifar10-32 lies on the hub: all files in one folder."""
    model.save_pretrained(folder)
    scheduler = DDPMScheduler(**{"num_train_timesteps": 30, "variance_type": "fixed_large"} | noise)
    scheduler.save_pretrained(folder)
    return scheduler


def times(*t: int) -> Tensor:
    return torch.tensor(t)


@pytest.mark.parametrize("variance", ["small", "large"])
@pytest.mark.parametrize("clip", [True, False])
def test_steps_are_those_of_the_ddpm_scheduler(
    double: None, variance: Variance, clip: bool
) -> None:
    theirs = DDPMScheduler(1000, variance_type=f"fixed_{variance}", clip_sample=clip)
    ours = Diffusion(1000, variance, clip)
    torch.testing.assert_close(ours.beta[1:], theirs.betas.double(), rtol=1e-6, atol=0)
    torch.testing.assert_close(
        ours.alpha_bar[1:], theirs.alphas_cumprod.double(), rtol=1e-4, atol=0
    )
    # Theirs has 32 bits: from here on both use the same table.
    theirs.alphas_cumprod = ours.alpha_bar[1:].clone()
    torch.manual_seed(0)
    x, noise = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    for step in (1000, 517, 2, 1):
        t = torch.full((2,), step)
        ours_noisy = ours.noisy(x, t, noise)
        theirs_noisy = theirs.add_noise(x, noise, t - 1)
        torch.testing.assert_close(ours_noisy, theirs_noisy, rtol=1e-12, atol=1e-12)

        ours_x = ours.mean(x, t, noise)
        if step > 1:
            z = torch.randn(x.shape, generator=torch.Generator().manual_seed(step))
            ours_x = ours_x + ours.variance[step].sqrt() * z
        generator = torch.Generator().manual_seed(step)
        theirs_x = theirs.step(noise, step - 1, x, generator=generator).prev_sample
        torch.testing.assert_close(ours_x, theirs_x, rtol=1e-9, atol=1e-9)


def test_sampling_is_the_schedulers_loop(double: None) -> None:
    """Algorithm 2 as a whole: order of the steps, first draw, no noise at the end."""

    class Model(nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return 0.3 * x + t.view(-1, 1, 1, 1) / 1000

    diffusion = Diffusion(1000, "large")
    theirs = DDPMScheduler(1000, variance_type="fixed_large")
    theirs.alphas_cumprod = diffusion.alpha_bar[1:].clone()
    shape = (2, 1, 3, 3)
    start = torch.randn(shape, generator=torch.Generator().manual_seed(4))
    ours_x = diffusion.sample(Model(), start, torch.Generator().manual_seed(5))
    generator = torch.Generator().manual_seed(5)
    theirs_x = start
    for step in theirs.timesteps:
        predicted = Model()(theirs_x, torch.full((2,), int(step) + 1))
        theirs_x = theirs.step(predicted, step, theirs_x, generator=generator).prev_sample
    torch.testing.assert_close(ours_x, theirs_x, rtol=1e-9, atol=1e-9)


def test_all_steps_at_once_are_the_steps_one_by_one(double: None) -> None:
    """Eq. 4 from eq. 2: mean and variance of the chain, iterated."""
    diffusion = Diffusion(1000)
    mean, variance = 1.0, 0.0
    for t in range(1, 1001):
        beta = diffusion.beta[t].item()
        mean, variance = math.sqrt(1 - beta) * mean, (1 - beta) * variance + beta
        one, zero = torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)
        assert diffusion.noisy(one, times(t), zero).item() == pytest.approx(mean, rel=1e-9)
        noise_only = diffusion.noisy(zero, times(t), one).item()
        assert noise_only**2 == pytest.approx(variance, rel=1e-9)
    assert mean < 0.01
    # Fewer steps end in nearly as little.
    assert 0.003 < Diffusion(100).alpha_bar[-1].sqrt() < 0.01


def test_posterior_is_bayes_rule(double: None) -> None:
    """Eq. 6 and 7 on a grid of x_{t-1}: prior times likelihood, normalised."""
    diffusion = Diffusion(25)
    x0, x, t = 0.4, -0.7, 9
    grid = torch.linspace(-6, 6, 200_001)
    before = diffusion.alpha_bar[t - 1]
    prior = torch.distributions.Normal(before.sqrt() * x0, (1 - before).sqrt()).log_prob(grid)
    alpha, beta = diffusion.alpha[t], diffusion.beta[t]
    step = torch.distributions.Normal(alpha.sqrt() * grid, beta.sqrt())
    density = (prior + step.log_prob(torch.tensor(x))).softmax(0)
    shape = (1, 1, 1, 1)
    mean, variance = diffusion.posterior(torch.full(shape, x0), torch.full(shape, x), times(t))
    expected = (density * grid).sum()
    assert mean.item() == pytest.approx(expected.item(), abs=1e-7)
    spread = (density * (grid - expected).square()).sum()
    assert variance.item() == pytest.approx(spread.item(), rel=1e-6)


def test_clipping_changes_steps_only_where_the_guess_leaves_the_range(double: None) -> None:
    clipped, paper = Diffusion(50), Diffusion(50, clip=False)
    x0, noise, t = torch.tensor([0.9, 1.1]).view(2, 1, 1, 1), torch.randn(2, 1, 1, 1), times(20, 20)
    x = paper.noisy(x0, t, noise)
    same = clipped.mean(x, t, noise) - paper.mean(x, t, noise)
    assert same[0].item() == pytest.approx(0, abs=1e-12)
    share = paper.before[20].sqrt() * paper.beta[20] / (1 - paper.alpha_bar[20])
    assert same[1].item() == pytest.approx(-0.1 * share.item())


def test_mean_is_the_papers_parametrisation(double: None) -> None:
    """Eq. 11 is eq. 7 with the guess of eq. 15, where nothing is clipped."""
    diffusion = Diffusion(50, clip=False)
    x, noise = torch.randn(50, 1, 2, 2), torch.randn(50, 1, 2, 2)
    t = torch.arange(1, 51)
    beta, alpha, alpha_bar = (
        table[t].view(-1, 1, 1, 1)
        for table in (diffusion.beta, diffusion.alpha, diffusion.alpha_bar)
    )
    paper = (x - beta / (1 - alpha_bar).sqrt() * noise) / alpha.sqrt()
    torch.testing.assert_close(diffusion.mean(x, t, noise), paper)


class Gaussian(nn.Module):
    r"""The best prediction of the noise for data of mean `m` and deviation `s`."""

    def __init__(self, diffusion: Diffusion, m: float, s: float) -> None:
        super().__init__()
        self.diffusion, self.m, self.s = diffusion, m, s

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        alpha_bar = self.diffusion.alpha_bar[t].view(-1, 1, 1, 1)
        spread = alpha_bar * self.s**2 + 1 - alpha_bar
        return (1 - alpha_bar).sqrt() * (x - alpha_bar.sqrt() * self.m) / spread


def exact_moments(diffusion: Diffusion, model: Gaussian) -> tuple[float, float]:
    """The chain is linear in x for such data, so that its mean and variance can be iterated."""
    mean, variance = 0.0, 1.0
    for step in range(diffusion.timesteps, 0, -1):
        t, ends = times(step, step), torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)
        at_zero, at_one = diffusion.mean(ends, t, model(ends, t)).flatten().tolist()
        slope = at_one - at_zero
        mean = at_zero + slope * mean
        variance = slope**2 * variance + (diffusion.variance[step].item() if step > 1 else 0)
    return mean, variance


def test_perfect_model_of_a_gaussian_samples_that_gaussian(double: None) -> None:
    """With T growing the sampled moments tend to the data's, whichever variance is taken."""
    errors = []
    for T in (100, 1000):
        for variance in ("small", "large"):
            diffusion = Diffusion(T, variance, clip=False)
            mean, spread = exact_moments(diffusion, Gaussian(diffusion, 0.3, 0.5))
            errors.append(abs(mean - 0.3) + abs(spread - 0.25))
    assert max(errors[2:]) < 0.01
    assert max(errors[2:]) < max(errors[:2]) / 3


def test_variance_choices_are_exact_where_the_paper_says(double: None) -> None:
    """Section 3.2: beta for standard normal data, the posterior's for a single point."""
    large = Diffusion(30, "large", clip=False)
    mean, variance = exact_moments(large, Gaussian(large, 0.0, 1.0))
    # All but the last step, which adds no noise, keep unit variance.
    assert mean == pytest.approx(0, abs=1e-12)
    assert variance == pytest.approx(1 - large.beta[1].item(), rel=1e-9)
    small = Diffusion(30, "small", clip=False)
    mean, variance = exact_moments(small, Gaussian(small, 0.3, 0.0))
    assert mean == pytest.approx(0.3, abs=1e-9)
    assert variance == pytest.approx(0, abs=1e-9)
    # The other way round neither is.
    swapped = Diffusion(30, "small", clip=False)
    assert exact_moments(swapped, Gaussian(swapped, 0.0, 1.0))[1] < 0.97


def test_sampler_draws_those_moments(double: None) -> None:
    diffusion = Diffusion(100, "large", clip=False)
    model = Gaussian(diffusion, 0.3, 0.5)
    start = torch.randn(20_000, 1, 1, 1, generator=torch.Generator().manual_seed(1))
    x = diffusion.sample(model, start, torch.Generator().manual_seed(0))
    mean, variance = exact_moments(diffusion, model)
    assert x.mean().item() == pytest.approx(mean, abs=4 * 0.5 / math.sqrt(20_000))
    assert x.var().item() == pytest.approx(variance, rel=4 * math.sqrt(2 / 20_000))


def test_without_its_noise_the_sampler_collapses(double: None) -> None:
    """The ablation: the mean alone, step after step, loses the data's spread."""
    diffusion = Diffusion(100, "large", clip=False)
    model = Gaussian(diffusion, 0.3, 0.5)
    _, whole = exact_moments(diffusion, model)
    diffusion.variance.zero_()
    _, without = exact_moments(diffusion, model)
    assert without < 0.2 * whole


@pytest.mark.parametrize("variance", ["small", "large"])
def test_the_weighted_loss_is_the_divergence(double: None, variance: Variance) -> None:
    """Eq. 12 against the divergence of the two Gaussians (eq. 8), computed by torch."""
    diffusion = Diffusion(40, variance, clip=False)
    x0, noise, guess = (torch.randn(38, 1, 1, 1) for _ in range(3))
    t = torch.arange(3, 41)
    x = diffusion.noisy(x0, t, noise)
    mean, _ = diffusion.posterior(x0, x, t)
    deviation = diffusion.variance[t].sqrt().view(-1, 1, 1, 1)
    normal = torch.distributions.Normal
    ours_mean = diffusion.mean(x, t, guess)
    divergence = torch.distributions.kl_divergence(
        normal(mean, deviation), normal(ours_mean, deviation)
    ).flatten()
    ours = loss_weights(diffusion, "bound")[t] * (noise - guess).square().flatten()
    ratio = ours / divergence
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio))
    assert loss_weights(diffusion, "bound")[1:].mean().item() == pytest.approx(1)
    # What the simple loss changes: the weight of faint noise, of which the page says a number.
    shares = loss_weights(Diffusion(100), "bound")[1:] / 100
    assert shares[:3].sum().item() == pytest.approx(0.25, abs=0.01)
    bound = loss_weights(diffusion, "bound")
    assert bound[2] > 2 * bound[20] > 0
    assert loss_weights(diffusion, "simple").tolist() == [1] * 41


def test_loss_of_known_models(double: None) -> None:
    class Knows(nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return noise

    diffusion = Diffusion(30)
    x0, noise, t = torch.randn(4, 1, 2, 2), torch.randn(4, 1, 2, 2), times(1, 4, 7, 30)
    weight = torch.arange(31.0)
    assert denoising_loss(Knows(), diffusion, weight, x0, t, noise).item() == 0
    silent = denoising_loss(UNet(Config(width=8)), diffusion, weight, x0, t, noise)
    expected = (weight[t] * noise.square().mean((1, 2, 3))).mean()
    assert silent.item() == pytest.approx(expected.item())


def test_codelength_of_a_gaussian_is_the_exact_bound(double: None) -> None:
    """A perfect model of finely binned Gaussian data: each term is known, and entropy is below."""
    diffusion = Diffusion(1000, "small")
    torch.manual_seed(1)
    levels, s = 256, 0.2
    x0 = (s * torch.randn(1_000_000, 1, 1, 1)).clamp(-1, 1)
    x0 = ((x0 + 1) / 2 * (levels - 1)).round() / (levels - 1) * 2 - 1
    model = Gaussian(diffusion, 0.0, s)
    t = torch.arange(1_000_000) % 1000 + 1
    bits = codelength(model, diffusion, levels, x0, t, torch.randn(x0.shape)).mean().item()

    t = torch.arange(1, 1001)
    beta, alpha_bar, before = diffusion.beta[t], diffusion.alpha_bar[t], diffusion.alpha_bar[t - 1]
    # The variance of x_0 that is left when x_t is known.
    left = s**2 * (1 - alpha_bar) / (alpha_bar * s**2 + 1 - alpha_bar)
    steps = before * (beta / (1 - alpha_bar)) ** 2 * left / (2 * diffusion.variance[t])
    scale = diffusion.variance[1].sqrt() * math.sqrt(2 * math.pi) * (levels - 1) / 2
    last = scale.log() + left[0] / (2 * diffusion.variance[1])
    expected = (steps[1:].sum() + last).item() / math.log(2)
    assert bits == pytest.approx(expected, abs=0.25)
    entropy = math.log2(s * math.sqrt(2 * math.pi * math.e) * (levels - 1) / 2)
    assert entropy < expected < entropy + 1


@pytest.mark.parametrize(("shade", "open_ends"), [(-1.0, 1), (1.0, 1), (0.0, 0)])
def test_codelength_of_a_single_point(double: None, shade: float, open_ends: int) -> None:
    """Eq. 13: all that a perfect model pays is the mass outside the bin, open at the ends."""
    diffusion, levels = Diffusion(100), 257
    model = Gaussian(diffusion, shade, 0.0)
    # 36 images, or 360 draws: the hundred times do not divide them, and still come equally often.
    draws = every_time(torch.full((36, 1, 1, 1), shade), 100, torch.Generator().manual_seed(0))
    bits = codelength(model, diffusion, levels, *draws).mean().item()
    edge = 1 / (levels - 1) / diffusion.variance[1].sqrt().item()
    outside = (1 - math.erf(edge / math.sqrt(2))) / (2 if open_ends else 1)
    # And what little is left of the image after the last step.
    left = diffusion.alpha_bar[-1].item()
    first = 0.5 * (1 - left + left * shade**2 - 1 - math.log(1 - left))
    assert bits == pytest.approx((first - math.log(1 - outside)) / math.log(2), rel=1e-6)


def test_a_perfect_guess_costs_no_loss_but_bits(double: None) -> None:
    """At t = 1 the paper's bound asks for the shade (eq. 13), and our loss for the noise."""
    diffusion, x0 = Diffusion(100), torch.zeros(50, 1, 1, 1)
    model, noise, t = Gaussian(diffusion, 0.0, 0.0), torch.randn(x0.shape), torch.ones(50).long()
    weight = loss_weights(diffusion, "bound")
    assert denoising_loss(model, diffusion, weight, x0, t, noise).item() == pytest.approx(0)
    # A hundred times, for the terms of the other t, the bits of the mass outside the bin.
    edge = 1 / 256 / diffusion.variance[1].sqrt().item()
    expected = -100 * math.log2(math.erf(edge / math.sqrt(2)))
    bits = codelength(model, diffusion, 257, x0, t, noise)
    left = diffusion.alpha_bar[-1].item()
    first = 0.5 * (-left - math.log(1 - left)) / math.log(2)
    torch.testing.assert_close(bits, torch.full_like(bits, first + expected))
    assert expected > 0


@pytest.mark.parametrize("number", [1, 36, 100, 160])
def test_every_time_is_drawn_equally_often_and_images_nearly(number: int) -> None:
    images = torch.arange(number).view(-1, 1, 1, 1).float()
    x0, t, noise = every_time(images, 100, torch.Generator().manual_seed(0))
    assert len(x0) == len(t) == len(noise) >= 10 * number
    assert t.bincount().tolist() == [0] + [len(t) // 100] * 100
    seen = x0.flatten().long().bincount(minlength=number)
    assert seen.max() - seen.min() <= 1
    # No time belongs to an image, and no two draws share their noise.
    assert number == 1 or len(set(t[x0.flatten() == 0].tolist())) > 2
    assert noise.std().item() == pytest.approx(1, abs=0.15)
    assert noise.unique().numel() == noise.numel()


@pytest.mark.parametrize("T", [100, 1000])
def test_coefficients_lose_no_digits_in_32_bits(T: int) -> None:
    """Against eq. 4, 7 and 15 in exact fractions, also where the noise is faintest."""
    diffusion = Diffusion(T)
    betas = [Fraction(beta) for beta in diffusion.beta.tolist()]
    alphas = [1 - beta for beta in betas]
    torch.manual_seed(0)
    x, x0, noise = (torch.rand(64, 1, 1, 1) for _ in range(3))
    for step in (1, 2, 3, T // 2, T):
        bar, before = math.prod(alphas[1 : step + 1]), math.prod(alphas[1:step])
        image, grain = math.sqrt(bar), math.sqrt(1 - bar)
        from_image = math.sqrt(before) * float(betas[step] / (1 - bar))
        from_x = math.sqrt(alphas[step]) * float((1 - before) / (1 - bar))
        t = torch.full((64,), step)
        mean, variance = diffusion.posterior(x0, x, t)
        noisy, found = diffusion.noisy(x0, t, noise), diffusion.original(x, t, noise)
        spread = float(betas[step] * (1 - before) / (1 - bar))
        exact = (
            (mean, from_image * x0.double() + from_x * x.double()),
            (variance, torch.full_like(variance, spread, dtype=torch.float64)),
            (noisy, image * x0.double() + grain * noise.double()),
        )
        for ours, right in exact:
            torch.testing.assert_close(ours.double(), right, rtol=3e-7, atol=0)
        # A difference of like numbers has an error in proportion to them, and not to itself.
        right = (x.double() - grain * noise.double()) / image
        torch.testing.assert_close(found.double(), right, rtol=0, atol=3e-7 / image)


def test_variance_at_the_first_step_is_that_of_the_second(double: None) -> None:
    """The posterior's own is zero there, and a likelihood divides by it (the authors' code)."""
    small, large = Diffusion(100, "small"), Diffusion(100, "large")
    _, posterior = small.posterior(*torch.zeros(2, 2, 1, 1, 1), times(1, 2))
    assert posterior[0] == 0 < posterior[1]
    assert small.variance[1].item() == small.variance[2].item() == posterior[1].item()
    torch.testing.assert_close(large.variance, large.beta)


def test_average_follows() -> None:
    average, model = nn.Linear(2, 2), nn.Linear(2, 2)
    expected = 0.9 * average.weight + 0.1 * model.weight
    follow(average, model, decay=0.9)
    torch.testing.assert_close(average.weight, expected)


def test_an_average_has_the_statistics_of_its_model() -> None:
    average, model = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    model(torch.randn(8, 2) + 5)
    follow(average, model, decay=0.9)
    assert average.num_batches_tracked == 1
    torch.testing.assert_close(average.running_mean, model.running_mean)
    torch.testing.assert_close(average.running_var, model.running_var)


@pytest.mark.parametrize(
    "noise",
    [
        {},
        {"variance_type": "fixed_small_log", "clip_sample": False},
        {"beta_start": 3e-3, "beta_end": 0.3},
        {"beta_schedule": "scaled_linear", "beta_end": 0.2},
        {"beta_schedule": "squaredcos_cap_v2"},
        {"trained_betas": [0.1 + step / 40 for step in range(30)]},
    ],
)
def test_published_noise_is_that_of_diffusers(noise: dict[str, Any], tmp_path: Path) -> None:
    unet = their_unet(SMALL, channels=3)
    theirs = save(unet, tmp_path, **noise)
    model, ours = load_pretrained(tmp_path)
    assert model.sizes == SMALL
    assert ours.timesteps == 30
    torch.testing.assert_close(ours.beta[1:], theirs.betas.double(), rtol=1e-4, atol=1e-6)
    torch.manual_seed(0)
    x, guess = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    for step in (30, 7, 1):
        chance = torch.Generator().manual_seed(step)
        z = torch.randn(x.shape, generator=chance) if step > 1 else torch.zeros_like(x)
        expected = ours.mean(x, torch.full((2,), step), guess)
        expected = expected + ours.variance[step].sqrt().float() * z
        found = theirs.step(guess, step - 1, x, generator=torch.Generator().manual_seed(step))
        torch.testing.assert_close(found.prev_sample, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prediction_type", "v_prediction"),
        ("prediction_type", "sample"),
        ("variance_type", "learned_range"),
        ("variance_type", "fixed_large_log"),
        ("beta_schedule", "sigmoid"),
        ("clip_sample_range", 2.0),
        ("thresholding", True),
        ("rescale_betas_zero_snr", True),
        ("something_new", 1),
    ],
)
def test_noise_that_would_be_another_is_refused(name: str, value: object, tmp_path: Path) -> None:
    save(their_unet(SMALL, channels=3), tmp_path)
    place = tmp_path / "scheduler_config.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | {name: value}))
    with pytest.raises(UserError, match=rf"scheduler_config\.json: {name} is "):
        load_pretrained(tmp_path)


@pytest.mark.parametrize("clip", [True, False])
def test_what_we_write_is_a_pipeline_of_diffusers(clip: bool, tmp_path: Path) -> None:
    """Both draw the same images from the same noise."""
    ours = UNet(Sizes(width=8), channels=3).eval()
    randomise(ours)
    ours.side = 8
    diffusion = Diffusion(25, "large", clip)
    save_pretrained(ours, diffusion, tmp_path)
    pipeline = DDPMPipeline.from_pretrained(tmp_path)
    pipeline.set_progress_bar_config(disable=True)
    chance = torch.Generator().manual_seed(3)
    drawn = pipeline(2, chance, num_inference_steps=25, output_type="np").images
    chance = torch.Generator().manual_seed(3)
    start = torch.randn(2, 3, 8, 8, generator=chance)
    expected = (diffusion.sample(ours, start, chance) / 2 + 0.5).clamp(0, 1)
    found = torch.from_numpy(drawn).permute(0, 3, 1, 2)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-2)
    _, again = load_pretrained(tmp_path)
    assert (again.kind, again.clip, again.timesteps) == ("large", clip, 25)
    assert torch.equal(again.beta, diffusion.beta)


def test_samples_of_published_weights_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As large as the training images, unless another size is asked for."""
    theirs = their_unet(Sizes(width=8), channels=3)
    save(theirs, tmp_path / "hub", variance_type="fixed_small", num_train_timesteps=3)
    shown: dict[str, Any] = {}
    monkeypatch.setattr(Run, "show", lambda run, name, what: shown.update({name: what}))
    with pytest.raises(UserError, match="does not say how large its images are: give --size"):
        sample(tmp_path / "hub", out=tmp_path)
    sample(tmp_path / "hub", images=2, size=4, seed=5, out=tmp_path)
    assert capsys.readouterr().out == f"{tmp_path}/published.png\n"

    model, diffusion = load_pretrained(tmp_path / "hub")
    chance = torch.Generator().manual_seed(5)
    start = torch.randn(2, 3, 4, 4, generator=chance)
    expected = grid(enlarged((diffusion.sample(model, start, chance) + 1) / 2))
    torch.testing.assert_close(shown["published"], expected)

    place = tmp_path / "hub" / "config.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | {"sample_size": 8}))
    sample(tmp_path / "hub", images=4, out=tmp_path)
    assert shown["published"].shape == (3, 2 * 49 + 1, 2 * 49 + 1)


def test_pictures_are_all_images_once_between_minus_one_and_one() -> None:
    images, labels = pictures("digits")
    assert images.shape == (1797, 1, 8, 8)
    assert (images.min(), images.max()) == (-1, 1)
    assert labels.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert images.sum().item() == pytest.approx(2 * 4.8842 / 16 * 1797 * 64 - 1797 * 64, rel=1e-3)


def test_labels_go_with_their_pictures() -> None:
    images, labels = pictures("digits")
    data = digits()
    known = {tuple(x.flatten().tolist()): y for x, y in zip(data.images, data.labels, strict=True)}
    for image, label in zip(images, labels, strict=True):
        assert known[tuple(((image + 1) / 2).flatten().tolist())] == label


def test_too_few_steps_are_refused() -> None:
    with pytest.raises(UserError, match="take over 20"):
        Diffusion(20)


def test_shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On images that are not square, or height and width could be swapped unseen."""
    torch.manual_seed(0)
    images = torch.randint(0, 4, (80, 3, 8, 4)) / 1.5 - 1
    monkeypatch.setattr(ddpm, "pictures", lambda name: (images, torch.arange(80) % 10))
    with check_shapes("papers/diffusion/ddpm.py", T=22):
        loss_weights(Diffusion(22), "bound")
        numbers = train(Config(width=12, timesteps=22, batch=5, steps=2), quiet(tmp_path))
    assert set(numbers) == {"frechet", "floor", "nearest", "nearest_floor", "bits"}
    assert (tmp_path / "samples.png").exists()


@pytest.mark.parametrize("loss", ["simple", "bound"])
def test_training_is_this_loop(
    loss: Literal["simple", "bound"], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Algorithm 1 written plainly, and the measures of the average that it ends with."""
    images, labels = (part[:60] for part in pictures("digits"))
    monkeypatch.setattr(ddpm, "pictures", lambda name: (images, labels))
    shown: dict[str, Any] = {}
    monkeypatch.setattr(Run, "show", lambda run, name, what: shown.update({name: what}))
    config = Config(
        width=8, timesteps=25, variance="large", loss=loss, batch=6, steps=5, lr=0.01, ema=0.8
    )
    numbers = train(config, quiet(tmp_path))
    saved = load(Checkpoints(tmp_path / "checkpoints").files()[-1])["state"]

    torch.manual_seed(0)
    diffusion, average = Diffusion(25, "large"), UNet(config)
    model = copy.deepcopy(average)
    beta, alpha, bar = (
        table.float() for table in (diffusion.beta, diffusion.alpha, diffusion.alpha_bar)
    )
    weight = (beta**2 / (2 * beta * alpha * (1 - bar)))[1:]  # eq. 12 with the large variance
    weight = torch.ones(25) if loss == "simple" else weight / weight.mean()
    batches = Batches((images[:48],), 6, torch.device("cpu"), World(), 0, 1)
    generator = torch.Generator().manual_seed(0)
    adam = torch.optim.Adam(model.parameters(), 0.01, (0.9, 0.999), 1e-8)
    for step in range(5):
        (x0,) = batches[step]
        t = torch.randint(1, 26, (6,), generator=generator)
        noise = torch.randn(x0.shape, generator=generator)
        signal = bar[t].view(-1, 1, 1, 1)
        error = noise - model(signal.sqrt() * x0 + (1 - signal).sqrt() * noise, t)
        adam.zero_grad()
        (weight[t - 1] * error.square().mean((1, 2, 3))).mean().backward()
        adam.step()
        with torch.no_grad():
            for mean, value in zip(average.parameters(), model.parameters(), strict=True):
                mean.copy_(0.8 * mean + 0.2 * value)
    for part, expected in (("model", model), ("average", average)):
        for name, value in expected.state_dict().items():
            # A bias of the keys changes no output: its gradient is nothing but rounding.
            if not name.endswith("key.bias"):
                torch.testing.assert_close(saved[part][name], value, rtol=2e-2, atol=2e-4, msg=name)

    training, held_out = images[:48], images[48:]
    average.load_state_dict(saved["average"])
    start = torch.randn(12, 1, 8, 8, generator=generator)
    samples = diffusion.sample(average.eval(), start, generator).clamp(-1, 1)
    torch.testing.assert_close(shown["samples"], grid(enlarged((samples + 1) / 2), columns=16))
    terms = every_time(held_out, 25, generator)
    features = classifier(training, labels[:48])
    with torch.no_grad():
        # Digits have 17 shades.
        bits = codelength(average, diffusion, 17, *terms).mean()
        seen, new, drawn = (features(x) for x in (training, held_out, samples))
    assert numbers == pytest.approx(
        {
            "frechet": frechet(drawn, seen).item(),
            "floor": frechet(new, seen).item(),
            "nearest": nearest(samples, training).item(),
            "nearest_floor": nearest(held_out, training).item(),
            "bits": bits.item(),
        },
        rel=1e-4,
    )


@pytest.mark.slow
@pytest.mark.training
def test_training_learns_to_denoise(tmp_path: Path) -> None:
    """An untrained model predicts nothing, and its samples are noise."""
    untrained = train(Config(width=8, timesteps=25, steps=1), quiet(tmp_path))
    trained = train(Config(width=8, timesteps=25, steps=150, lr=3e-3, ema=0.95), quiet(tmp_path))
    assert trained["bits"] < untrained["bits"] - 1
    assert trained["frechet"] < 0.5 * untrained["frechet"]
