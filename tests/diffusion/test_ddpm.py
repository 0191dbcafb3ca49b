"""Denoising diffusion against diffusers, and against cases that are solved on paper."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel
from torch import Tensor, nn

from papers.common import Options, UserError
from papers.diffusion import ddpm
from papers.diffusion.ddpm import (
    CIFAR10,
    Config,
    Diffusion,
    UNet,
    codelength,
    denoising_loss,
    embedding,
    follow,
    load_pretrained,
    loss_weights,
    our_name,
    pictures,
    sample,
    train,
)
from tests.shapes import check_shapes

Variance = Literal["small", "large"]
SMALL = Config(width=32, multipliers=(1, 2, 2), attention=(1,), blocks=2)


@pytest.fixture
def double() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def their_unet(config: Config, channels: int) -> UNet2DModel:
    """The settings of google/ddpm-cifar10-32, at the size of `config`."""
    levels = range(len(config.multipliers))
    down = ["AttnDownBlock2D" if i in config.attention else "DownBlock2D" for i in levels]
    return UNet2DModel(
        in_channels=channels,
        out_channels=channels,
        block_out_channels=tuple(config.width * m for m in config.multipliers),
        layers_per_block=config.blocks,
        down_block_types=tuple(down),
        up_block_types=tuple(kind.replace("Down", "Up") for kind in reversed(down)),
        attention_head_dim=None,
        norm_num_groups=min(32, config.width // 4),
        norm_eps=1e-6,
        downsample_padding=0,
        flip_sin_to_cos=False,
        freq_shift=1,
    )


def randomise(model: nn.Module) -> None:
    # Nothing may stay at zero, or a branch that is wired wrongly would go unseen.
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))


def save(model: UNet2DModel, folder: Path, variance: Variance = "large") -> None:
    model.save_pretrained(folder)
    # The ends of the schedule, moved for fewer steps as ours are.
    ends = {"beta_start": 1e-4 * 1000 / 30, "beta_end": 0.02 * 1000 / 30}
    DDPMScheduler(30, variance_type=f"fixed_{variance}", **ends).save_pretrained(folder)


def times(*t: int) -> Tensor:
    return torch.tensor(t)


def test_unet_and_its_gradients_are_those_of_diffusers(double: None) -> None:
    theirs = their_unet(SMALL, channels=2).eval()
    randomise(theirs)
    ours = UNet(SMALL, channels=2).eval()
    ours.load_state_dict({our_name(name): value for name, value in theirs.state_dict().items()})
    torch.manual_seed(0)
    ours_x = torch.randn(3, 2, 16, 16, requires_grad=True)
    theirs_x = ours_x.detach().clone().requires_grad_()
    t = times(1, 17, 1000)
    ours_y = ours(ours_x, t)
    theirs_y = theirs(theirs_x, t - 1).sample
    torch.testing.assert_close(ours_y, theirs_y, rtol=1e-9, atol=1e-9)

    direction = torch.randn_like(ours_y)
    (ours_y * direction).sum().backward()
    (theirs_y * direction).sum().backward()
    torch.testing.assert_close(ours_x.grad, theirs_x.grad, rtol=1e-8, atol=1e-8)
    ours_gradients = {name: p.grad for name, p in ours.named_parameters()}
    for name, parameter in theirs.named_parameters():
        torch.testing.assert_close(
            ours_gradients[our_name(name)], parameter.grad, rtol=1e-7, atol=1e-7
        )


def test_size_of_the_papers_model() -> None:
    with torch.device("meta"):
        ours = UNet(CIFAR10, channels=3)
        theirs = their_unet(CIFAR10, channels=3)
    count = sum(p.numel() for p in ours.parameters())
    assert count == sum(p.numel() for p in theirs.parameters()) == 35_746_307  # 35.7 M
    ours_shapes = {name: p.shape for name, p in ours.named_parameters()}
    assert ours_shapes == {our_name(name): p.shape for name, p in theirs.named_parameters()}


def test_network_starts_by_predicting_zero() -> None:
    assert not UNet(Config())(torch.randn(2, 1, 8, 8), times(1, 5)).any()


@pytest.mark.parametrize("variance", ["small", "large"])
@pytest.mark.parametrize("clip", [True, False])
def test_steps_are_those_of_the_ddpm_scheduler(
    double: None, variance: Variance, clip: bool
) -> None:
    theirs = DDPMScheduler(1000, variance_type=f"fixed_{variance}", clip_sample=clip)
    ours = Diffusion(1000, variance)
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

        ours_x = ours.mean(x, t, noise, clip)
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
    ours_x = diffusion.sample(Model(), shape, torch.Generator().manual_seed(5))
    generator = torch.Generator().manual_seed(5)
    theirs_x = torch.randn(shape, generator=generator)
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


def test_mean_is_the_papers_parametrisation(double: None) -> None:
    """Eq. 11 is eq. 7 with the guess of eq. 15, where nothing is clipped."""
    diffusion = Diffusion(50)
    x, noise = torch.randn(50, 1, 2, 2), torch.randn(50, 1, 2, 2)
    t = torch.arange(1, 51)
    beta, alpha, alpha_bar = (
        table[t].view(-1, 1, 1, 1)
        for table in (diffusion.beta, diffusion.alpha, diffusion.alpha_bar)
    )
    paper = (x - beta / (1 - alpha_bar).sqrt() * noise) / alpha.sqrt()
    torch.testing.assert_close(diffusion.mean(x, t, noise, clip=False), paper)


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
        at_zero, at_one = diffusion.mean(ends, t, model(ends, t), clip=False).flatten().tolist()
        slope = at_one - at_zero
        mean = at_zero + slope * mean
        variance = slope**2 * variance + (diffusion.variance[step].item() if step > 1 else 0)
    return mean, variance


def test_perfect_model_of_a_gaussian_samples_that_gaussian(double: None) -> None:
    """With T growing the sampled moments tend to the data's, whichever variance is taken."""
    errors = []
    for T in (100, 1000):
        for variance in ("small", "large"):
            diffusion = Diffusion(T, variance)
            mean, spread = exact_moments(diffusion, Gaussian(diffusion, 0.3, 0.5))
            errors.append(abs(mean - 0.3) + abs(spread - 0.25))
    assert max(errors[2:]) < 0.01
    assert max(errors[2:]) < max(errors[:2]) / 3


def test_variance_choices_are_exact_where_the_paper_says(double: None) -> None:
    """Section 3.2: beta for standard normal data, the posterior's for a single point."""
    large = Diffusion(30, "large")
    mean, variance = exact_moments(large, Gaussian(large, 0.0, 1.0))
    # All but the last step, which adds no noise, keep unit variance.
    assert mean == pytest.approx(0, abs=1e-12)
    assert variance == pytest.approx(1 - large.beta[1].item(), rel=1e-9)
    small = Diffusion(30, "small")
    mean, variance = exact_moments(small, Gaussian(small, 0.3, 0.0))
    assert mean == pytest.approx(0.3, abs=1e-9)
    assert variance == pytest.approx(0, abs=1e-9)
    # The other way round neither is.
    swapped = Diffusion(30, "small")
    assert exact_moments(swapped, Gaussian(swapped, 0.0, 1.0))[1] < 0.97


def test_sampler_draws_those_moments(double: None) -> None:
    diffusion = Diffusion(100, "large")
    model = Gaussian(diffusion, 0.3, 0.5)
    x = diffusion.sample(model, (20_000, 1, 1, 1), torch.Generator().manual_seed(0), clip=False)
    mean, variance = exact_moments(diffusion, model)
    assert x.mean().item() == pytest.approx(mean, abs=4 * 0.5 / math.sqrt(20_000))
    assert x.var().item() == pytest.approx(variance, rel=4 * math.sqrt(2 / 20_000))


def test_without_its_noise_the_sampler_collapses(double: None) -> None:
    """The ablation: the mean alone, step after step, loses the data's spread."""
    diffusion = Diffusion(100, "large")
    model = Gaussian(diffusion, 0.3, 0.5)
    _, whole = exact_moments(diffusion, model)
    diffusion.variance.zero_()
    _, without = exact_moments(diffusion, model)
    assert without < 0.2 * whole


@pytest.mark.parametrize("variance", ["small", "large"])
def test_the_weighted_loss_is_the_divergence(double: None, variance: Variance) -> None:
    """Eq. 12 against the divergence of the two Gaussians (eq. 8), computed by torch."""
    diffusion = Diffusion(40, variance)
    x0, noise, guess = (torch.randn(38, 1, 1, 1) for _ in range(3))
    t = torch.arange(3, 41)
    x = diffusion.noisy(x0, t, noise)
    mean, _ = diffusion.posterior(x0, x, t)
    deviation = diffusion.variance[t].sqrt().view(-1, 1, 1, 1)
    normal = torch.distributions.Normal
    ours_mean = diffusion.mean(x, t, guess, clip=False)
    divergence = torch.distributions.kl_divergence(
        normal(mean, deviation), normal(ours_mean, deviation)
    ).flatten()
    ours = loss_weights(diffusion, "bound")[t] * (noise - guess).square().flatten()
    ratio = ours / divergence
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio))
    assert loss_weights(diffusion, "bound")[1:].mean().item() == pytest.approx(1)
    # What the simple loss changes: the weight of faint noise.
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
    bits = codelength(model, diffusion, x0, levels, torch.Generator().manual_seed(0)).item()

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
    x0 = torch.full((100, 1, 1, 1), shade)
    model = Gaussian(diffusion, shade, 0.0)
    bits = codelength(model, diffusion, x0, levels, torch.Generator().manual_seed(0)).item()
    edge = 1 / (levels - 1) / diffusion.variance[1].sqrt().item()
    outside = (1 - math.erf(edge / math.sqrt(2))) / (2 if open_ends else 1)
    # And what little is left of the image after the last step.
    left = diffusion.alpha_bar[-1].item()
    first = 0.5 * (1 - left + left * shade**2 - 1 - math.log(1 - left))
    assert bits == pytest.approx((first - math.log(1 - outside)) / math.log(2), rel=1e-6)


def test_average_follows() -> None:
    average, model = nn.Linear(2, 2), nn.Linear(2, 2)
    expected = 0.9 * average.weight + 0.1 * model.weight
    follow(average, model, decay=0.9)
    torch.testing.assert_close(average.weight, expected)


def test_embedding_is_sines_then_cosines_from_one_to_a_ten_thousandth() -> None:
    waves = embedding(times(1, 3), 6)
    assert waves[0].tolist() == [0, 0, 0, 1, 1, 1]
    frequencies = (1, 0.01, 0.0001)
    expected = [math.sin(2 * f) for f in frequencies] + [math.cos(2 * f) for f in frequencies]
    assert waves[1].tolist() == pytest.approx(expected, rel=1e-5)


def test_published_weights_load(tmp_path: Path) -> None:
    theirs = their_unet(SMALL, channels=3).eval()
    randomise(theirs)
    save(theirs, tmp_path)
    ours, config = load_pretrained(tmp_path)
    assert (config.width, config.multipliers, config.attention) == (32, (1, 2, 2), (1,))
    assert (config.blocks, config.timesteps, config.variance) == (2, 30, "large")
    x, t = torch.randn(2, 3, 16, 16), times(3, 800)
    with torch.no_grad():
        torch.testing.assert_close(ours(x, t), theirs(x, t - 1).sample, rtol=1e-3, atol=1e-3)


def test_older_names_of_attention_load_too() -> None:
    old, new = ("query", "key", "value", "proj_attn"), ("to_q", "to_k", "to_v", "to_out.0")
    for one, other in zip(old, new, strict=True):
        name = "down_blocks.1.attentions.0.{}.weight"
        assert our_name(name.format(one)) == our_name(name.format(other))
    assert our_name("mid_block.attentions.0.query.bias") == "middle.0.attention.mix.query.bias"


def test_noise_of_another_schedule_is_refused(tmp_path: Path) -> None:
    theirs = their_unet(SMALL, channels=3)
    save(theirs, tmp_path)
    other = {"beta_schedule": "squaredcos_cap_v2"}, {"num_train_timesteps": 100}, {"beta_end": 0.01}
    place = tmp_path / "scheduler_config.json"
    said = json.loads(place.read_text())
    for changed in other:
        place.write_text(json.dumps(said | changed))
        with pytest.raises(
            UserError, match=r"scheduler_config\.json: beta_.* choose other weights"
        ):
            load_pretrained(tmp_path)


def test_samples_of_published_weights_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(their_unet(Config(width=8), channels=3), tmp_path / "hub", "small")
    sample(tmp_path / "hub", images=2, size=4, out=tmp_path / "out")
    written = Path(capsys.readouterr().out.split()[-1])
    assert written.read_bytes()[:4] == b"\x89PNG"


def test_pictures_are_all_images_once_between_minus_one_and_one() -> None:
    images, labels = pictures("digits")
    assert images.shape == (1797, 1, 8, 8)
    assert (images.min(), images.max()) == (-1, 1)
    # Labels went along: the mean image of each digit is the data set's.
    assert labels.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert images.sum().item() == pytest.approx(2 * 4.8842 / 16 * 1797 * 64 - 1797 * 64, rel=1e-3)


def test_too_few_steps_are_refused() -> None:
    with pytest.raises(UserError, match="take over 20"):
        Diffusion(20)


def test_training_and_its_shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On images that are not square, or height and width could be swapped unseen."""
    torch.manual_seed(0)
    images = torch.randint(0, 4, (80, 3, 8, 4)) / 1.5 - 1
    monkeypatch.setattr(ddpm, "pictures", lambda name: (images, torch.arange(80) % 10))
    options = Options(out=tmp_path, quiet=True, checkpoint_every=0)
    with check_shapes("papers/diffusion/ddpm.py", T=22):
        loss_weights(Diffusion(22), "bound")
        numbers = train(Config(width=12, timesteps=22, batch=5, steps=2), options)
    assert set(numbers) == {"frechet", "floor", "nearest", "nearest_floor", "bits"}
    assert (tmp_path / "samples.png").exists()


@pytest.mark.slow
def test_training_learns_to_denoise(tmp_path: Path) -> None:
    """An untrained model predicts nothing, and its samples are noise."""
    options = Options(out=tmp_path, quiet=True, checkpoint_every=0)
    untrained = train(Config(width=8, timesteps=25, steps=1), options)
    trained = train(Config(width=8, timesteps=25, steps=150, lr=3e-3, ema=0.95), options)
    assert trained["bits"] < untrained["bits"] - 1
    assert trained["frechet"] < 0.5 * untrained["frechet"]
