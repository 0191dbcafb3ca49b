r"""
---
title: Denoising diffusion
summary: Add noise in small steps, learn to predict it, and run the steps backwards.
paper: Denoising Diffusion Probabilistic Models
authors: [Jonathan Ho, Ajay Jain, Pieter Abbeel]
year: 2020
arxiv: "2006.11239"
acronyms: [DDPM]
needs: [diffusion/unet, diffusion/frechet]
equals: {what: diffusers.DDPMScheduler, within: 1e-9, test: test_sampling_is_the_schedulers_loop}
notation:
  '\beta_t': beta
  '\alpha_t': alpha
  '\bar\alpha_t': alpha_bar
  '\sigma_t^2': variance
  '\epsilon': noise
  '\epsilon_\theta': model
  'x_t': x
  'x_0': x0
  'z': z
figure:
  file: figures/ddpm.svg
  alt: >-
    Four pictures in a row: a nought, which disappears in noise from left to right, at t from 0
    to 100. An arrow called noisy leads to the right, an arrow called sample back to the left.
    Below, one step back: the model looks at x and t and names the noise, mean takes some of it
    away, new noise z is added.
  caption: >-
    A digit at four of `T` = 100 times, made by `Diffusion.noisy`. Forward, one line leads to any
    time. Backward, every step has to be taken, each as below.
metrics:
  frechet: {name: Fréchet distance of samples to training images, better: lower}
  floor: {name: the same of held-out images, better: lower}
  nearest: {name: distance of a sample to the nearest training image}
  nearest_floor: {name: the same of a held-out image}
  bits: {name: bound on the codelength, unit: bits a dimension, better: lower}
runs:
  simple loss: ""
  variational bound: --loss bound
  large variance: --variance large
  MNIST: --data mnist
shows:
  samples: >-
    the first samples, none picked by hand
claims:
  - what: the simple loss gives better samples than the bound that it simplifies
    paper: "table 2, rows of epsilon prediction: FID 3.17 instead of 13.51 on CIFAR-10"
    run: simple loss
    control: variational bound
    metric: frechet
    margin: 5
  - what: the bound gives the shorter codelength in return
    paper: "table 1: at most 3.70 instead of 3.75 bits a dimension on CIFAR-10"
    run: variational bound
    control: simple loss
    metric: bits
    margin: 0.02
    note: "in 800 steps the bound's own loss learns less, probably since three of the hundred t
      carry a quarter of its weight"
  - what: either choice of the variance gives similar samples
    paper: "section 3.2, in words"
    run: large variance
    control: simple loss
    metric: frechet
    within: 5
  - what: samples of photographs have a FID of 3.17
    paper: "table 1, on CIFAR-10 after 800,000 steps"
    note: "not run here: 10.6 hours on a TPU v3-8 (appendix B); `CIFAR10` is its configuration"
deviations:
  - what: how fast the noise grows
    paper: beta from 0.0001 to 0.02 in 1,000 steps
    ours: the same, and 1000 / T times as fast with T steps
    others: "diffusers: as configured, by default the paper's at any T"
    matters: "yes: without it, much of the image would be left after 100 steps"
    test: test_all_steps_at_once_are_the_steps_one_by_one
  - what: the guess of the image
    paper: not clipped (eq. 11)
    ours: clipped to the range of pixels
    others: "the authors' code and diffusers: clipped"
    matters: "yes: the step is another one wherever the guess leaves the range"
    test: test_clipping_changes_steps_only_where_the_guess_leaves_the_range
  - what: the variance at t = 1
    paper: zero for the posterior's (eq. 7), beta for the large one
    ours: that of t = 2 for the posterior's, beta for the large one
    others: "the authors' code: the posterior's of t = 2 for both; diffusers: 1e-20 and beta"
    matters: "for a likelihood, which divides by it; a sample gets no noise there"
    test: test_variance_at_the_first_step_is_that_of_the_second
  - what: the first term of the bound as a loss
    paper: the log-likelihood of the shades (eq. 13)
    ours: the weighted error of the noise, as at every other t
    others: "the authors' code: eq. 13"
    matters: "not tried; our codelength has eq. 13"
    test: test_a_perfect_guess_costs_no_loss_but_bits
  - what: the error of an image
    paper: summed over its pixels (eq. 14)
    ours: their mean
    others: "the authors' code and diffusers' examples: the mean"
    matters: "no: Adam ignores the scale"
    test: test_loss_of_known_models
  - what: how t is counted
    paper: from 1 to T
    ours: from 1, but from 0 within the embedding
    others: "the authors' code and diffusers: from 0"
    matters: "only for published weights, which expect it"
    test: test_embedding_is_sines_then_cosines_from_one_to_a_ten_thousandth
  - what: mirror images
    paper: at random on CIFAR-10
    ours: none
    matters: "not tried: digits have none"
mistakes:
  - what: "drawing t with `randint(1, T)`, which leaves out T"
    mutant: t is never T
    caught: test_training_is_this_loop
  - what: "noise at the last step, where nothing removes it"
    mutant: noise at the last step too
    caught: test_sampling_is_the_schedulers_loop
  - what: an average that keeps what it should forget
    mutant: the average's decay inverted
    caught: test_average_follows
worked:
  - at: Diffusion.noisy
    told: >-
      A pixel of 1 and noise of 0.5, before the first of 1000 steps, and at four of them. First how
      much of the image is left, then of the noise, then what the network sees.
    code: |-
      diffusion = Diffusion(1000)
      t = torch.tensor([0, 1, 100, 500, 1000])
      diffusion.alpha_bar[t].sqrt()
      (1 - diffusion.alpha_bar[t]).sqrt()
      pixel = torch.ones(5, 1, 1, 1)
      diffusion.noisy(pixel, t, 0.5 * pixel).flatten()
exercises: [Diffusion.noisy, Diffusion.posterior, divergence]
---

# Denoising diffusion

Add a little Gaussian noise to an image, again and again. After enough steps nothing is
left but noise, and noise is easy to sample. If every step is small, its reverse is nearly
Gaussian as well, with a mean that a network can learn. To sample an image we start
from noise and take all the steps back.

What the network learns comes down to one regression. Add noise to an image in one go, predict
the noise, and take the squared error. There is no opponent as in a GAN, and no encoder
to learn as in a VAE: the way to the noise is fixed.

We follow the paper's sections 2 to 4 and appendix B, with the equation numbers of its
second version on arXiv.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | images in a batch | `H` | height |
| `C` | channels | `W` | width |
| `T` | timesteps, $1 \dots T$ | `N` | images that are judged |
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from papers.common import Options, Run, Share, UserError, main
from papers.common.data import IMAGE_SETS, image_set
from papers.common.data.grids import enlarged, grid
from papers.common.judging import in_batches
from papers.common.published import Settings, settings, write_settings
from papers.diffusion import unet
from papers.diffusion.frechet import classifier, frechet, nearest
from papers.diffusion.unet import Sizes, UNet

Variance = Literal["small", "large"]


class Diffusion:
    r"""
    ## The forward process

    One step of the *forward process* shrinks the image a little and adds noise of variance
    $\beta_t$ (eq. 2):

    $$
    q(x_t \mid x_{t-1}) = \mathcal{N}\big(x_t;\, \sqrt{1 - \beta_t}\, x_{t-1},\, \beta_t I\big).
    $$

    Shrinking by exactly this factor keeps a variance of one at one, so the network sees
    inputs of the same scale at all $t$. The paper lets $\beta_t$ grow linearly from $10^{-4}$ to
    $0.02$ over $T = 1000$ steps (section 4). With fewer steps each must do more: we multiply
    by $1000 / T$, which leaves about as little of the image at $t = T$.

    As in the paper, $t$ counts from 1. Entry 0 of each table stands for "no noise yet":
    $\beta_0 = 0$, $\bar\alpha_0 = 1$.
    """

    def __init__(
        self,
        timesteps: int,
        variance: Variance = "small",
        clip: bool = True,
        beta: Tensor | None = None,
    ) -> None:
        if beta is None and timesteps <= 20:
            raise UserError(f"{timesteps} timesteps would need a beta of 1 or more: take over 20")
        self.timesteps, self.kind, self.clip = timesteps, variance, clip
        # In 64 bits, and so is every coefficient until it meets an image: at small t the noise has
        # a variance of 1e-4, and computed in 32 bits 1 - 0.9999 has only three correct digits.
        ours = torch.linspace(1e-4, 0.02, timesteps, dtype=torch.float64) * 1000 / timesteps
        self.beta = F.pad(ours if beta is None else beta, (1, 0))  # (T+1,)
        self.alpha = 1 - self.beta  # (T+1,)
        self.alpha_bar = self.alpha.cumprod(0)  # (T+1,)
        self.before = F.pad(self.alpha_bar[:-1], (1, 0), value=1.0)  # (T+1,)

        # Two choices of the variance on the way back (section 3.2): beta is right if the data
        # are standard normal, the posterior's variance (eq. 7) if they are a single point. The
        # truth lies between. The posterior's is zero at t = 1, where a likelihood must
        # divide by it, so it takes the value of t = 2 there, as in the authors' code.
        least = self.beta * (1 - self.before) / (1 - self.alpha_bar).clamp(min=1e-20)  # (T+1,)
        least[1] = least[2]
        self.variance = least if variance == "small" else self.beta  # (T+1,)

    def noisy(self, x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        r"""
        ### All steps at once

        A sum of Gaussians is a Gaussian. With $\alpha_t = 1 - \beta_t$ and
        $\bar\alpha_t = \prod_{s=1}^t \alpha_s$ (eq. 4):

        $$
        \begin{aligned}
        q(x_t \mid x_0) &= \mathcal{N}\big(x_t;\, \sqrt{\bar\alpha_t}\, x_0,\,
        (1 - \bar\alpha_t) I\big) \\
        \Leftrightarrow\quad
        x_t &= \sqrt{\bar\alpha_t}\, x_0 + \sqrt{1 - \bar\alpha_t}\, \epsilon.
        \end{aligned}
        $$

        So training needs no chain: one line leads to any $t$.
        """
        image = rounded(self.alpha_bar.sqrt(), t, x0)  # (B, 1, 1, 1)
        grain = rounded((1 - self.alpha_bar).sqrt(), t, x0)  # (B, 1, 1, 1)
        return image * x0 + grain * noise  # (B, C, H, W)

    def original(self, x: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        r"""
        ### The image behind it

        The same line solved for $x_0$ (eq. 15): to know the noise is to know the image.
        """
        image = rounded(self.alpha_bar.sqrt(), t, x)  # (B, 1, 1, 1)
        grain = rounded((1 - self.alpha_bar).sqrt(), t, x)  # (B, 1, 1, 1)
        return (x - grain * noise) / image  # (B, C, H, W)

    def posterior(self, x0: Tensor, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        r"""
        ### One step back, if we knew the image

        Bayes' rule on three Gaussians gives a Gaussian (eq. 6 and 7):

        $$
        \begin{aligned}
        q(x_{t-1} \mid x_t, x_0) &= \mathcal{N}(x_{t-1};\, \tilde\mu_t,\, \tilde\beta_t I) \\
        \tilde\mu_t &= \frac{\sqrt{\bar\alpha_{t-1}}\, \beta_t}{1 - \bar\alpha_t} \, x_0
        + \frac{\sqrt{\alpha_t}\, (1 - \bar\alpha_{t-1})}{1 - \bar\alpha_t} \, x_t \\
        \tilde\beta_t &= \frac{1 - \bar\alpha_{t-1}}{1 - \bar\alpha_t} \, \beta_t
        \end{aligned}
        $$

        This is what the learned step should imitate. The image is unknown when we sample, and
        the network's guess takes its place.
        """
        beta, alpha, alpha_bar, before = self.beta, self.alpha, self.alpha_bar, self.before
        from_image = rounded(before.sqrt() * beta / (1 - alpha_bar), t, x)  # (B, 1, 1, 1)
        from_x = rounded(alpha.sqrt() * (1 - before) / (1 - alpha_bar), t, x)  # (B, 1, 1, 1)
        variance = rounded((1 - before) / (1 - alpha_bar) * beta, t, x)  # (B, 1, 1, 1)
        return from_image * x0 + from_x * x, variance  # (B, C, H, W), (B, 1, 1, 1)

    def mean(self, x: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        r"""
        ## The way back

        Put the guess $\hat x_0$ into the posterior's mean. Without `clip` the two terms
        collapse into the paper's parametrisation (eq. 11):

        $$
        \mu_\theta(x_t, t) = \frac{1}{\sqrt{\alpha_t}}
        \Big(x_t - \frac{\beta_t}{\sqrt{1 - \bar\alpha_t}}\, \epsilon_\theta(x_t, t)\Big).
        $$

        Pixels lie in $[-1, 1]$, and clipping the guess to that range keeps early mistakes from
        adding up. The paper does not mention it, but the authors' code does it.
        """
        x0 = self.original(x, t, noise)  # (B, C, H, W)
        return self.posterior(x0.clamp(-1, 1) if self.clip else x0, x, t)[0]  # (B, C, H, W)

    @torch.no_grad()
    def sample(self, model: nn.Module, x: Tensor, generator: torch.Generator) -> Tensor:
        r"""
        ### Sampling

        Algorithm 2: start from noise, the `x` that is given; for $t = T, \dots, 1$ take the step

        $$
        \begin{aligned}
        x_{t-1} &= \mu_\theta(x_t, t) + \sigma_t z, \\
        z &\sim \mathcal{N}(0, I), \quad\text{but } z = 0 \text{ at } t = 1.
        \end{aligned}
        $$

        The last step adds no noise, because nothing comes after it that could remove it.
        """
        for step in range(self.timesteps, 0, -1):
            t = torch.full((len(x),), step, device=x.device)  # (B,)
            x = self.mean(x, t, model(x, t))  # (B, C, H, W)
            if step > 1:
                # On the CPU, whatever the device, so that a seed gives the same images anywhere.
                z = torch.randn(x.shape, generator=generator, dtype=x.dtype)  # (B, C, H, W)
                x = x + self.variance[step].sqrt().item() * z.to(x.device)  # (B, C, H, W)
        return x  # (B, C, H, W)


def rounded(table: Tensor, t: Tensor, x: Tensor) -> Tensor:
    r"""
    ### Rounded last

    The coefficient for the $t$ of each image in a batch, in the precision of the images.
    """
    return table.to(x.dtype).to(x.device)[t].view(-1, 1, 1, 1)  # (B, 1, 1, 1)


@dataclass(frozen=True)
class Config(Sizes):
    r"""
    ## Configuration

    The default generates 8×8 digits with a tenth of the paper's steps. The fields before
    `timesteps` are the network's [sizes](unet.py#sizes). Larger images need a larger network, such
    as `--data mnist --width 32 --multipliers 1 2 2`.
    """

    timesteps: int = 100
    "steps from image to noise"
    variance: Variance = "small"
    "of a step back: small is the posterior's, large is beta"
    loss: Literal["simple", "bound"] = "simple"
    "simple weighs all timesteps alike, bound as the variational bound does"
    batch: int = 64
    "images in a batch"
    steps: int = 800
    "training steps"
    lr: float = 2e-3
    "learning rate of Adam"
    ema: Share = 0.99
    "decay of the average of the weights, with which samples are drawn"


# The paper's model for CIFAR-10 (appendix B): four resolutions from 32×32 to 4×4, attention at
# 16×16, 35.7 million parameters. The authors' code uses the large variance for it.
CIFAR10 = Config(
    width=128,
    multipliers=(1, 2, 2, 2),
    attention=(1,),
    blocks=2,
    dropout=0.1,
    timesteps=1000,
    variance="large",
    batch=128,
    steps=800_000,
    lr=2e-4,
    ema=0.9999,
)


def loss_weights(diffusion: Diffusion, loss: Literal["simple", "bound"]) -> Tensor:
    r"""
    ## The loss

    The variational bound on $-\log p_\theta(x_0)$ is a sum over $t$ of divergences between
    Gaussians (eq. 5). With the mean of eq. 11 each is a squared error of the noise (eq. 12):

    $$
    \begin{aligned}
    L_{t-1} - C = \mathbb{E}_{x_0, \epsilon} \bigg[
    &\frac{\beta_t^2}{2 \sigma_t^2 \alpha_t (1 - \bar\alpha_t)} \\
    &\big\lVert \epsilon - \epsilon_\theta(\sqrt{\bar\alpha_t}\, x_0
    + \sqrt{1 - \bar\alpha_t}\, \epsilon,\; t) \big\rVert^2 \bigg].
    \end{aligned}
    $$

    The paper drops the factor (eq. 14, $L_\text{simple}$). The factor is largest at small $t$,
    where the noise is too faint to see: dropping it shifts the network's effort to noisier
    images, where the content of the picture is decided. In the paper's tables the codelength gets a
    little worse and the samples much better.

    We return the factor for each $t$, scaled to a mean of one: Adam would ignore the scale
    anyway. At $t = 1$ the bound has another term, the likelihood [below](#the-bound-as-a-number);
    as a loss we keep the squared error there too.
    """
    beta, alpha, alpha_bar = diffusion.beta, diffusion.alpha, diffusion.alpha_bar
    factor = beta**2 / (2 * diffusion.variance * alpha * (1 - alpha_bar))  # (T+1,)
    # Entry 0, without noise, is 0/0 and never used.
    factor[0] = 0
    weight = factor / factor[1:].mean() if loss == "bound" else torch.ones_like(beta)  # (T+1,)
    return weight.to(torch.get_default_dtype())


def denoising_loss(
    model: nn.Module, diffusion: Diffusion, weight: Tensor, x0: Tensor, t: Tensor, noise: Tensor
) -> Tensor:
    r"""
    Algorithm 1, lines 2 to 5. The paper sums over pixels and we take the mean, so that the
    number means the same at every image size: a network that predicts nothing gets 1.
    """
    x = diffusion.noisy(x0, t, noise)  # (B, C, H, W)
    error = (noise - model(x, t)).square().mean(dim=(1, 2, 3))  # (B,)
    return (weight[t] * error).mean()


def divergence(mean: Tensor, deviation: Tensor, other: Tensor, other_deviation: Tensor) -> Tensor:
    # Unchecked, because the true deviation is zero at t = 1, where its term is not used.
    true = Normal(mean, deviation, validate_args=False)
    return kl_divergence(true, Normal(other, other_deviation, validate_args=False))


def codelength(
    model: nn.Module, diffusion: Diffusion, levels: int, x0: Tensor, t: Tensor, noise: Tensor
) -> Tensor:
    r"""
    ## The bound as a number

    A model that assigns probabilities can compress: $-\log_2 p$ is the length of a code. The
    bound (eq. 5) has three parts:

    $$
    \begin{aligned}
    L = {} &\underbrace{D_\text{KL}(q(x_T \mid x_0) \,\Vert\, \mathcal{N}(0, I))}_{L_T} \\
    &+ \sum_{t > 1} \underbrace{D_\text{KL}(q(x_{t-1} \mid x_t, x_0) \,\Vert\,
    p_\theta(x_{t-1} \mid x_t))}_{L_{t-1}} \\
    &\underbrace{{} - \log p_\theta(x_0 \mid x_1)}_{L_0}.
    \end{aligned}
    $$

    The last step must give a probability to an integer, one of `levels` shades: the mass of
    its Gaussian in the bin around the shade. The outermost bins reach to infinity
    (eq. 13). For each image we compute one term of the sum, that of its $t$, multiply it by $T$,
    and return bits a dimension. The mean over all $t$ is the bound.
    """
    x = diffusion.noisy(x0, t, noise)  # (B, C, H, W)
    mean = diffusion.mean(x, t, model(x, t))  # (B, C, H, W)
    deviation = rounded(diffusion.variance.sqrt(), t, x)  # (B, 1, 1, 1)
    true_mean, true_variance = diffusion.posterior(x0, x, t)  # (B, C, H, W), (B, 1, 1, 1)
    step = divergence(true_mean, true_variance.sqrt(), mean, deviation)  # (B, C, H, W)

    half = 1 / (levels - 1)
    upper = torch.special.ndtr((x0 + half - mean) / deviation)  # (B, C, H, W)
    lower = torch.special.ndtr((x0 - half - mean) / deviation)  # (B, C, H, W)
    mass = torch.where(x0 > 1 - half, 1, upper) - torch.where(x0 < half - 1, 0, lower)
    last = -mass.clamp(min=1e-12).log()  # (B, C, H, W)

    T, left = diffusion.timesteps, diffusion.alpha_bar[-1].item()
    zero, one = torch.zeros_like(x0), torch.ones_like(x0)  # (B, C, H, W)
    first = divergence(left**0.5 * x0, (1 - left) ** 0.5 * one, zero, one)  # (B, C, H, W)
    nats = first + T * torch.where(t.view(-1, 1, 1, 1) == 1, last, step)  # (B, C, H, W)
    return nats.mean(dim=(1, 2, 3)) / math.log(2)  # (B,)


def every_time(images: Tensor, T: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    r"""
    ### Every time equally often

    The terms of small $t$ are by far the largest, so no $t$ may come more often than another. Each
    image gets about ten: where $T$ does not divide their number, some images get one more.
    """
    N = -(-10 * len(images) // T) * T
    rows = torch.randperm(N, generator=generator) % len(images)  # (N,)
    t = torch.arange(N) % T + 1  # (N,)
    noise = torch.randn(N, *images.shape[1:], generator=generator)  # (N, C, H, W)
    return images[rows], t, noise  # (N, C, H, W), (N,), (N, C, H, W)


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, decay: float) -> None:
    r"""
    ## The average of the weights

    Samples are drawn with an exponential average of the weights over the training steps
    (appendix B: decay 0.9999). The noise in the loss never lets the weights settle, and their
    average is steadier. Statistics that a layer collects, as batch normalisation does, are copied.
    """
    for mean, weight in zip(average.parameters(), model.parameters(), strict=True):
        mean.lerp_(weight, 1 - decay)
    for kept, counted in zip(average.buffers(), model.buffers(), strict=True):
        kept.copy_(counted)


def pictures(name: str) -> tuple[Tensor, Tensor]:
    r"""
    ## The data

    All images of a data set, in a fixed random order, with pixels in $[-1, 1]$ (section 3.3). The
    last fifth is held out. The paper also mirrors images of CIFAR-10 at random. A mirrored digit
    is no digit, so we do not.
    """
    parts = [image_set(name, split) for split in ("train", "test")]
    images = torch.cat([part.images for part in parts])
    images = 2 * images.view(len(images), -1, *images.shape[-2:]) - 1
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return images[order], torch.cat([part.labels for part in parts])[order]


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    Algorithm 1: an image, a time, a noise, one step of [Adam](../optimizers/adam.py).
    """
    run = Run(config, options)
    images, labels = pictures(run.options.data or "digits")
    split = len(images) * 4 // 5
    batches = run.batches(images[:split], size=config.batch)

    diffusion = Diffusion(config.timesteps, config.variance)
    weight = loss_weights(diffusion, config.loss).to(run.device)  # (T+1,)
    average = UNet(config, channels=images.shape[1]).to(run.device)
    model = run.prepare(copy.deepcopy(average))
    optimizer = torch.optim.Adam(model.parameters(), config.lr, fused=True)

    for step in run.steps(config.steps, model=model, average=average, optimizer=optimizer):
        (x0,) = batches[step]  # (B, C, H, W)
        # Drawn for the whole batch, from which each process takes its rows, so that a run is the
        # same on one device or eight.
        shape = (config.batch, *images.shape[1:])
        t = torch.randint(1, config.timesteps + 1, shape[:1], generator=run.generator)
        noise = torch.randn(shape, generator=run.generator)
        t, noise = (run.share(drawn).to(run.device) for drawn in (t, noise))
        with run.autocast():
            loss = denoising_loss(model, diffusion, weight, x0, t, noise)
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer)
        follow(average, model, config.ema)
        run.log(loss=loss)

    return run.finish(**judge(run, diffusion, average.eval(), images, labels, split))


def judge(
    run: Run, diffusion: Diffusion, model: nn.Module, images: Tensor, labels: Tensor, split: int
) -> dict[str, float]:
    r"""
    ## Are the samples any good?

    There is a sheet of samples to look at. And we measure as many samples as there are held-out
    images, up to a thousand, fewer where images are larger:

    - their [Fréchet distance](frechet.py) to the training images, beside that of the held-out
      images (the floor);
    - their distance to the nearest training image, beside that of the held-out images (a much
      smaller one would mean copying);
    - the bits a dimension of held-out images.
    """
    # A sample takes as many passes through the network as there are timesteps.
    pixels = images[0].numel()
    number = min(1000, max(100, 200_000 // pixels))
    training, held_out = images[:split], images[split:][:number]
    noise = torch.randn(held_out.shape, generator=run.generator)  # (N, C, H, W)

    def draw(x: Tensor) -> Tensor:
        return diffusion.sample(model, x, run.generator).clamp(-1, 1)  # (B, C, H, W)

    samples = in_batches(run, "sample", draw, noise, size=max(8, 16_000 // pixels))  # (N, C, H, W)
    run.show("samples", grid(enlarged((samples[:128] + 1) / 2), columns=16))

    # Shades are equally spaced, though not every one need occur.
    levels = round(2 / held_out.unique().diff().min().item()) + 1
    terms = every_time(held_out, diffusion.timesteps, run.generator)
    bits = in_batches(run, "image", partial(codelength, model, diffusion, levels), *terms)

    features = classifier(training, labels[:split])
    with torch.no_grad():
        seen, new, drawn = (features(x) for x in (training, held_out, samples))
    return {
        "frechet": frechet(drawn, seen).item(),
        "floor": frechet(new, seen).item(),
        "nearest": nearest(samples, training).item(),
        "nearest_floor": nearest(held_out, training).item(),
        "bits": bits.mean().item(),
    }


def published_betas(told: Settings) -> Tensor:
    r"""
    ## Published weights

    Other weights come with other schedules: $\beta_t$ linear between other ends, with a linear
    square root, or the cosine of Nichol and Dhariwal (2021), whose $\bar\alpha_t$ falls like a
    squared cosine, so that small images last longer.
    """
    if told.get("trained_betas") is not None:
        return torch.tensor(told["trained_betas"], dtype=torch.float64)
    T, schedule = told.count("num_train_timesteps"), told["beta_schedule"]
    first, last = told.number("beta_start"), told.number("beta_end")
    if schedule == "linear":
        return torch.linspace(first, last, T, dtype=torch.float64)
    if schedule == "scaled_linear":
        return torch.linspace(first**0.5, last**0.5, T, dtype=torch.float64) ** 2
    if schedule != "squaredcos_cap_v2":
        told.differs("beta_schedule")
    share = torch.linspace(0, 1, T + 1, dtype=torch.float64)
    left = torch.cos((share + 0.008) / 1.008 * math.pi / 2) ** 2
    return (1 - left[1:] / left[:-1]).clamp(max=0.999)


def load_pretrained(folder: str | Path) -> tuple[UNet, Diffusion]:
    r"""
    Reads a folder with the [network](unet.py#published-weights) and the `scheduler_config.json` of
    [google/ddpm-cifar10-32](https://huggingface.co/google/ddpm-cifar10-32) or
    [google/ddpm-celebahq-256](https://huggingface.co/google/ddpm-celebahq-256), which are this
    paper's. Also returns the `Diffusion`, whose schedule belongs to the weights. Raises `UserError`
    when the folder holds no such model, or one that predicts something other than the noise.
    """
    model = unet.load_pretrained(part(folder, "unet"))
    told = settings(part(folder, "scheduler"), "DDPMScheduler", "scheduler_config.json")
    told.presumes(prediction_type="epsilon", clip_sample_range=1.0)
    told.presumes(thresholding=False, rescale_betas_zero_snr=False)
    kinds: dict[str, Variance] = {
        "fixed_small": "small",
        "fixed_small_log": "small",
        "fixed_large": "large",
    }
    if told["variance_type"] not in kinds:
        told.differs("variance_type")
    variance, clip = kinds[told["variance_type"]], bool(told.get("clip_sample", True))
    beta = published_betas(told)
    # For sampling in fewer steps than in training, and for thresholding, which is off.
    told.ignores(
        *("num_train_timesteps", "beta_schedule", "beta_start", "beta_end"),
        *("timestep_spacing", "steps_offset", "dynamic_thresholding_ratio", "sample_max_value"),
    )
    return model, Diffusion(len(beta), variance, clip, beta)


def part(folder: str | Path, name: str) -> Path:
    """Some models have a folder for each part, others all files in one."""
    inner = Path(folder, name)
    return inner if inner.is_dir() else Path(folder)


def save_pretrained(model: UNet, diffusion: Diffusion, folder: str | Path) -> None:
    r"""
    ### Writing them

    Writes such a folder, from which diffusers makes a `DDPMPipeline`.
    """
    unet.save_pretrained(model, Path(folder, "unet"))
    told = {
        "_class_name": "DDPMScheduler",
        "num_train_timesteps": diffusion.timesteps,
        "trained_betas": diffusion.beta[1:].tolist(),
        "variance_type": f"fixed_{diffusion.kind}",
        "clip_sample": diffusion.clip,
        "prediction_type": "epsilon",
    }
    parts = {"unet": ["diffusers", "UNet2DModel"], "scheduler": ["diffusers", "DDPMScheduler"]}
    write_settings(Path(folder, "scheduler", "scheduler_config.json"), told)
    write_settings(Path(folder, "model_index.json"), {"_class_name": "DDPMPipeline", **parts})


def sample(
    weights: Path,
    images: int = 16,
    size: int = 0,
    seed: int = 0,
    out: Path | None = None,
) -> None:
    r"""
    ### Sampling from them

    `python papers/diffusion/ddpm.py sample --weights FOLDER` writes a sheet of samples, in the size
    that the weights were trained on or in another that can be halved as often.
    """
    model, diffusion = load_pretrained(weights)
    side = size or model.side
    if not side:
        raise UserError(f"{weights} does not say how large its images are: give --size")
    run = Run(Config(), Options(seed=seed, out=out))
    noise = torch.randn(images, model.enter.in_channels, side, side, generator=run.generator)
    draw = partial(diffusion.sample, model.to(run.device), generator=run.generator)
    x = in_batches(run, "sample", draw, noise, size=16)
    run.show("published", grid(enlarged((x + 1) / 2)))
    print(run.out / "published.png")


# ## What changed since
#
# - **Fewer steps.** [DDIM](ddim.py) (Song 2020)
#   finds other chains with the same $q(x_t \mid x_0)$, so that a network trained as above
#   samples in 20 to 100 steps, and without noise on the way.
# - **Better codes.** Nichol and Dhariwal (2021, [arXiv](https://arxiv.org/abs/2102.09672)) learn
#   the variance too, and replace the linear $\beta_t$, which destroys small images too early.
# - **One view.** With infinitely many steps the chain is a [stochastic differential
#   equation](score_sde.py), and $\epsilon_\theta$ is the score up to scale (Song 2020).
# - **Labels and texts.** The network is told what to draw, and [guidance](guidance.py) makes the
#   samples more typical of it (Ho and Salimans 2022).
# - **Other targets, other networks.** Many large models now predict a velocity along straighter
#   paths, in the latent space of an [autoencoder](latent/autoencoder.py), with a
#   [Transformer](dit.py) in place of the U-Net (Peebles and Xie 2022).

if __name__ == "__main__":
    main(train, data=IMAGE_SETS, sample=sample)
