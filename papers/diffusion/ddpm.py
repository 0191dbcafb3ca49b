r"""
---
title: Denoising diffusion
summary: Add noise in small steps, learn to predict it, and run the steps backwards.
topic: diffusion
paper: Denoising Diffusion Probabilistic Models
authors: [Jonathan Ho, Ajay Jain, Pieter Abbeel]
year: 2020
arxiv: "2006.11239"
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
runs:
  simple loss: ""
  variational bound: --loss bound
  large variance: --variance large
claims:
  - what: the simple loss gives better samples than the bound that it simplifies
    paper: "FID 3.17 instead of 13.51 on CIFAR-10 (table 2, rows of epsilon prediction)"
    run: simple loss
    metric: frechet
  - what: the bound gives the shorter codelength in return (a minute is too short to show it)
    paper: "at most 3.70 instead of 3.75 bits per dimension on CIFAR-10 (table 1)"
    run: variational bound
    metric: bits
  - what: samples of photographs
    paper: "FID 3.17 on CIFAR-10 after 800,000 steps (table 1)"
    note: takes hours on one accelerator; CIFAR10 below is that configuration
---

# Denoising diffusion

Add a little Gaussian noise to an image, again and again. After enough steps nothing is
left but noise, and that we know how to draw. If every step is small, its reverse is nearly
Gaussian as well, with a mean that a network can learn. Then an image is drawn by starting
from noise and taking all the steps back.

What the network learns comes down to one regression. Noise an image in one go, ask which
noise it was, and take the squared error. There is no opponent as in a GAN, and no encoder
as in a VAE: the way there is fixed.

We follow the paper's sections 2 to 4 and appendix B, with the equation numbers of its
second version on arXiv.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | images in a batch | `H` | height |
| `C` | channels | `W` | width |
| `T` | timesteps, $1 \dots T$ | `E` | features of the time embedding |
| `A` | channels of a block's input | `Z` | channels of its output |
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, Share, UserError, main
from papers.common.data import grid, image_set
from papers.common.published import fill, renamed, settings, tensors
from papers.diffusion.frechet import classifier, frechet, nearest
from papers.optimizers.adam import Adam
from papers.transformers.attention import MultiHeadAttention


class Diffusion(nn.Module):
    r"""
    ## The way there

    One step shrinks the image a little and adds noise of variance $\beta_t$ (eq. 2):

    $$
    q(x_t \mid x_{t-1}) = \mathcal{N}\big(x_t;\, \sqrt{1 - \beta_t}\, x_{t-1},\, \beta_t I\big).
    $$

    Shrinking by just that factor keeps unit variance at unit variance, so the network sees
    inputs of one scale at all $t$. The paper lets $\beta_t$ grow linearly from $10^{-4}$ to
    $0.02$ over $T = 1000$ steps (section 4). With fewer steps each must do more: we multiply
    by $1000 / T$, which leaves about as little of the image at $t = T$.

    $t$ counts from 1, as in the paper. Entry 0 of each table is "no noise yet":
    $\beta_0 = 0$, $\bar\alpha_0 = 1$.
    """

    beta: Tensor
    alpha: Tensor
    alpha_bar: Tensor
    variance: Tensor

    def __init__(self, timesteps: int, variance: Literal["small", "large"] = "small") -> None:
        super().__init__()
        if timesteps <= 20:
            raise UserError(f"{timesteps} timesteps would need a beta of 1 or more: take over 20")
        steps = torch.linspace(1e-4, 0.02, timesteps, dtype=torch.float64) * 1000 / timesteps
        beta = F.pad(steps, (1, 0))  # (T+1,)
        alpha = 1 - beta  # (T+1,)
        alpha_bar = alpha.cumprod(0)  # (T+1,)

        # Two choices of the variance on the way back (section 3.2): beta is right if the data
        # are standard normal, the posterior's variance (eq. 7) if they are a single point. The
        # truth lies between. That of the posterior is zero at t = 1, where a likelihood must
        # divide by it, so it takes the value of t = 2 there, as the authors' code does.
        before = F.pad(alpha_bar[:-1], (1, 0), value=1.0)  # (T+1,)
        posterior = beta * (1 - before) / (1 - alpha_bar).clamp(min=1e-20)  # (T+1,)
        posterior[1] = posterior[2]
        chosen = posterior if variance == "small" else beta  # (T+1,)

        # Computed in 64 bits: the product of a thousand factors is. Kept in those of weights.
        tables = {"beta": beta, "alpha": alpha, "alpha_bar": alpha_bar, "variance": chosen}
        for name, table in tables.items():
            self.register_buffer(name, table.to(torch.get_default_dtype()), persistent=False)

    @property
    def timesteps(self) -> int:
        return len(self.beta) - 1

    def noisy(self, x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        r"""
        ### All steps at once

        A sum of Gaussians is a Gaussian. With $\alpha_t = 1 - \beta_t$ and
        $\bar\alpha_t = \prod_{s=1}^t \alpha_s$ (eq. 4):

        $$
        q(x_t \mid x_0) = \mathcal{N}\big(x_t;\, \sqrt{\bar\alpha_t}\, x_0,\,
        (1 - \bar\alpha_t) I\big)
        \quad\Leftrightarrow\quad
        x_t = \sqrt{\bar\alpha_t}\, x_0 + \sqrt{1 - \bar\alpha_t}\, \epsilon.
        $$

        So training needs no chain: any $t$ is one line away.
        """
        alpha_bar = self.alpha_bar[t].view(-1, 1, 1, 1)  # (B, 1, 1, 1)
        return alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise  # (B, C, H, W)

    def original(self, x: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        r"""
        ### The image behind it

        The same line solved for $x_0$ (eq. 15): who knows the noise knows the image.
        """
        alpha_bar = self.alpha_bar[t].view(-1, 1, 1, 1)  # (B, 1, 1, 1)
        return (x - (1 - alpha_bar).sqrt() * noise) / alpha_bar.sqrt()  # (B, C, H, W)

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

        It is what the learned step should imitate. The image is unknown when we sample, and
        the network's guess takes its place.
        """
        tables = (self.beta[t], self.alpha[t], self.alpha_bar[t], self.alpha_bar[t - 1])
        beta, alpha, alpha_bar, before = (table.view(-1, 1, 1, 1) for table in tables)
        mean = (
            before.sqrt() * beta / (1 - alpha_bar) * x0
            + alpha.sqrt() * (1 - before) / (1 - alpha_bar) * x
        )  # (B, C, H, W)
        return mean, beta * (1 - before) / (1 - alpha_bar)  # (B, C, H, W), (B, 1, 1, 1)

    def mean(self, x: Tensor, t: Tensor, noise: Tensor, clip: bool = True) -> Tensor:
        r"""
        ## The way back

        Put the guess $\hat x_0$ into the posterior's mean. Without `clip` the two terms
        collapse into the paper's parametrisation (eq. 11):

        $$
        \mu_\theta(x_t, t) = \frac{1}{\sqrt{\alpha_t}}
        \Big(x_t - \frac{\beta_t}{\sqrt{1 - \bar\alpha_t}}\, \epsilon_\theta(x_t, t)\Big).
        $$

        Pixels lie in $[-1, 1]$, and clipping the guess to it keeps early mistakes from
        adding up. The paper does not mention this, but its code does it.
        """
        x0 = self.original(x, t, noise)  # (B, C, H, W)
        return self.posterior(x0.clamp(-1, 1) if clip else x0, x, t)[0]  # (B, C, H, W)

    @torch.no_grad()
    def sample(
        self,
        model: nn.Module,
        shape: tuple[int, int, int, int],
        generator: torch.Generator,
        clip: bool = True,
    ) -> Tensor:
        r"""
        ### Sampling

        Algorithm 2: start from noise; for $t = T, \dots, 1$ take the step

        $$
        x_{t-1} = \mu_\theta(x_t, t) + \sigma_t z, \qquad z \sim \mathcal{N}(0, I),
        \quad\text{but } z = 0 \text{ at } t = 1.
        $$

        The last step adds no noise, because nothing comes after it that could remove it.
        """

        def draw() -> Tensor:
            # On the CPU whatever the device, so that a seed draws the same images anywhere.
            z = torch.randn(shape, generator=generator, dtype=self.beta.dtype)  # (B, C, H, W)
            return z.to(self.beta.device)

        x = draw()  # (B, C, H, W)
        for step in range(self.timesteps, 0, -1):
            t = torch.full((shape[0],), step, device=x.device)  # (B,)
            x = self.mean(x, t, model(x, t), clip)  # (B, C, H, W)
            if step > 1:
                x = x + self.variance[step].sqrt() * draw()  # (B, C, H, W)
        return x  # (B, C, H, W)


def embedding(t: Tensor, width: int) -> Tensor:
    r"""
    ## The time

    One network serves all $t$, so it must be told which. As a Transformer tells positions
    (appendix B): sines and cosines of $t$ at frequencies from $1$ down to $1/10000$ in
    geometric steps. They count from 0 here, as in the authors' code and in the weights that
    are published. Computed in 32 bits always, because in 16 neighbouring times fall together.
    """
    half = width // 2
    places = torch.arange(half, dtype=torch.float32, device=t.device)
    angles = (t - 1).float()[:, None] * torch.exp(-math.log(10_000) * places / (half - 1))
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def silent(layer: nn.Conv2d | nn.Linear) -> None:
    r"""
    ## Starting from nothing

    The last layer of each branch starts at zero, as in the authors' code. So every block is
    the identity at first, and the whole network predicts zero: the mean of all noise.
    """
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


class PixelAttention(nn.Module):
    r"""
    ## Attention between pixels

    A convolution sees a neighbourhood. At one resolution (16×16 on CIFAR-10) every pixel
    also [attends](../transformers/attention.py) to all others, with a single head.
    """

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, width, eps=1e-6)
        self.mix = MultiHeadAttention(width, heads=1, bias=True)
        silent(self.mix.out)

    def forward(self, x: Tensor) -> Tensor:
        B, Z, H, W = x.shape
        pixels = self.norm(x).flatten(2).transpose(1, 2)  # (B, H*W, Z)
        return x + self.mix(pixels).transpose(1, 2).reshape(B, Z, H, W)  # (B, Z, H, W)


class Block(nn.Module):
    r"""
    ## A residual block

    Two 3×3 convolutions around a shortcut, as in a Wide ResNet, with group instead of weight
    normalisation (appendix B). The time comes in between the two, as one number for each
    channel: the block can brighten or dim what it has found, depending on how noisy the image
    is.
    """

    def __init__(
        self, inputs: int, width: int, time: int, groups: int, dropout: float, attend: bool
    ) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, inputs, eps=1e-6)
        self.conv1 = nn.Conv2d(inputs, width, 3, padding=1)
        self.time = nn.Linear(time, width)
        self.norm2 = nn.GroupNorm(groups, width, eps=1e-6)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        silent(self.conv2)
        self.shortcut = nn.Conv2d(inputs, width, 1) if inputs != width else nn.Identity()
        self.attention = PixelAttention(width, groups) if attend else nn.Identity()

    def forward(
        self,
        x: Tensor,  # (B, A, H, W)
        time: Tensor,  # (B, E)
    ) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))  # (B, Z, H, W)
        h = h + self.time(F.silu(time))[:, :, None, None]  # (B, Z, H, W)
        h = self.conv2(self.dropout(F.silu(self.norm2(h))))  # (B, Z, H, W)
        return self.attention(self.shortcut(x) + h)  # (B, Z, H, W)


class Halve(nn.Module):
    r"""
    ## Between resolutions

    Down by a convolution of stride two. The authors' framework pads an even size at the right
    and the bottom only, and weights trained with it need the same.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2] % 2 or x.shape[3] % 2:
            sides = f"{x.shape[2]} by {x.shape[3]}"
            raise UserError(f"{sides} pixels cannot be halved: give fewer --multipliers")
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Double(nn.Module):
    r"""
    Up by repeating each pixel and smoothing, which leaves no checkerboard as a transposed
    convolution can.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Down(nn.Module):
    r"""
    ## A level on the way down

    Blocks at one resolution, then the way to the next. We return everything that is made,
    because all of it is put aside for the way up.
    """

    def __init__(self, blocks: list[Block], resize: Halve | None) -> None:
        super().__init__()
        self.blocks, self.resize = nn.ModuleList(blocks), resize

    def forward(self, h: Tensor, time: Tensor) -> list[Tensor]:
        made = []
        for block in self.blocks:
            h = block(h, time)
            made.append(h)
        return made if self.resize is None else [*made, self.resize(h)]


class Up(nn.Module):
    r"""
    ## A level on the way up

    Each block also reads the latest of what was put aside, and takes it away.
    """

    def __init__(self, blocks: list[Block], resize: Double | None) -> None:
        super().__init__()
        self.blocks, self.resize = nn.ModuleList(blocks), resize

    def forward(self, h: Tensor, time: Tensor, aside: list[Tensor]) -> Tensor:
        for block in self.blocks:
            h = block(torch.cat([h, aside.pop()], dim=1), time)
        return h if self.resize is None else self.resize(h)


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    The default draws 8×8 digits with a tenth of the paper's steps.
    """

    width: int = 16
    "channels at the highest resolution"
    multipliers: tuple[int, ...] = (1, 2)
    "of the width, one for each resolution"
    attention: tuple[int, ...] = (1,)
    "resolutions with attention, counted from 0, the highest"
    blocks: int = 1
    "residual blocks at each resolution on the way down; one more on the way up"
    dropout: Share = 0.0
    "share of activations dropped"
    timesteps: int = 100
    "steps from image to noise"
    variance: Literal["small", "large"] = "small"
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
    "decay of the average of the weights that samples are drawn with"


# The paper's model for CIFAR-10 (appendix B): four resolutions from 32×32 to 4×4, attention at
# 16×16, 35.7 million parameters. The authors' code takes the large variance for it.
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


class UNet(nn.Module):
    r"""
    ## The network

    $\epsilon_\theta(x_t, t)$ has the shape of its input. A U-Net (appendix B) works through
    the image at several resolutions, each half the one before: the coarse ones decide what
    is in the picture, the fine ones where its edges are. On the way up each block is also
    given what a block at the same resolution made on the way down, so that no detail has to
    pass through the coarse middle.
    """

    def __init__(self, config: Config, channels: int = 1) -> None:
        super().__init__()
        first, E = config.width, 4 * config.width
        groups = max(1, min(32, first // 4))
        if first % 4 or first % groups:
            raise UserError(f"--width {first}: give a multiple of 4, and from 128 on one of 32")
        if min(config.multipliers, default=0) < 1:
            raise UserError("give --multipliers from 1 on, and at least one")
        widths = [first * multiplier for multiplier in config.multipliers]

        def block(inputs: int, width: int, attend: bool) -> Block:
            return Block(inputs, width, E, groups, config.dropout, attend)

        self.time = nn.Sequential(nn.Linear(first, E), nn.SiLU(), nn.Linear(E, E))
        self.enter = nn.Conv2d(channels, first, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()

        # The channels of everything that is put aside for the way up.
        aside, inputs = [first], first
        for level, width in enumerate(widths):
            sizes = [inputs] + [width] * (config.blocks - 1)
            blocks = [block(size, width, level in config.attention) for size in sizes]
            lowest = level == len(widths) - 1
            self.down.append(Down(blocks, None if lowest else Halve(width)))
            aside += [width] * (config.blocks if lowest else config.blocks + 1)
            inputs = width

        self.middle = nn.ModuleList([block(inputs, inputs, True), block(inputs, inputs, False)])

        for level, width in reversed(list(enumerate(widths))):
            blocks = []
            for _ in range(config.blocks + 1):
                blocks.append(block(inputs + aside.pop(), width, level in config.attention))
                inputs = width
            self.up.append(Up(blocks, Double(width) if level else None))

        self.norm = nn.GroupNorm(groups, inputs, eps=1e-6)
        self.leave = nn.Conv2d(inputs, channels, 3, padding=1)
        silent(self.leave)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        waves = embedding(t, self.enter.out_channels).to(self.enter.weight.dtype)
        time = self.time(waves)  # (B, E)
        aside = [self.enter(x)]
        for level in self.down:
            aside += level(aside[-1], time)
        h = aside[-1]
        for block in self.middle:
            h = block(h, time)
        for level in self.up:
            h = level(h, time, aside)
        return self.leave(F.silu(self.norm(h)))  # (B, C, H, W)


def loss_weights(diffusion: Diffusion, loss: Literal["simple", "bound"]) -> Tensor:
    r"""
    ## The loss

    The variational bound on $-\log p_\theta(x_0)$ is a sum over $t$ of divergences between
    Gaussians (eq. 5). With the mean of eq. 11 each is a squared error of the noise (eq. 12):

    $$
    L_{t-1} - C = \mathbb{E}_{x_0, \epsilon} \bigg[
    \frac{\beta_t^2}{2 \sigma_t^2 \alpha_t (1 - \bar\alpha_t)}
    \big\lVert \epsilon - \epsilon_\theta(\sqrt{\bar\alpha_t}\, x_0
    + \sqrt{1 - \bar\alpha_t}\, \epsilon,\; t) \big\rVert^2 \bigg].
    $$

    The paper drops the factor (eq. 14, $L_\text{simple}$). The factor is largest at small $t$,
    where the noise is too faint to see: dropping it turns the network's effort to the noisy
    images, in which the picture is decided. In the paper's tables the codelength gets a little
    worse and the samples much better.

    We return the factor for each $t$, scaled to a mean of one: Adam would ignore the scale
    anyway.
    """
    if loss == "simple":
        return torch.ones_like(diffusion.beta)  # (T+1,)
    beta, alpha, alpha_bar = diffusion.beta, diffusion.alpha, diffusion.alpha_bar
    factor = beta**2 / (2 * diffusion.variance * alpha * (1 - alpha_bar))  # (T+1,)
    # Entry 0, where nothing is noisy yet, is 0/0 and never drawn.
    factor[0] = 0
    return factor / factor[1:].mean()


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


def normal_kl(
    mean: Tensor, variance: Tensor, other_mean: Tensor | float, other_variance: Tensor | float
) -> Tensor:
    ratio = torch.as_tensor(variance / other_variance)
    return 0.5 * (ratio + (mean - other_mean).square() / other_variance - 1 - ratio.log())


@torch.no_grad()
def codelength(
    model: nn.Module, diffusion: Diffusion, x0: Tensor, levels: int, generator: torch.Generator
) -> Tensor:
    r"""
    ## The bound as a number

    A model that assigns probabilities can compress: $-\log_2 p$ is the length of a code. The
    bound (eq. 5) has three parts,

    $$
    L = \underbrace{D_\text{KL}(q(x_T \mid x_0) \,\Vert\, \mathcal{N}(0, I))}_{L_T}
    + \sum_{t > 1} \underbrace{D_\text{KL}(q(x_{t-1} \mid x_t, x_0) \,\Vert\,
    p_\theta(x_{t-1} \mid x_t))}_{L_{t-1}}
    \underbrace{{} - \log p_\theta(x_0 \mid x_1)}_{L_0}.
    $$

    The last step must give a probability to an integer, one of `levels` shades: the mass of
    its Gaussian in the bin around the shade, where the outermost bins reach to infinity
    (eq. 13). We draw one $t$ for each image, all $t$ equally often, multiply by $T$, and
    return bits for each dimension.
    """
    T, N = diffusion.timesteps, len(x0)
    t = (torch.randperm(N, generator=generator) % T + 1).to(x0.device)  # (N,)
    noise = torch.randn(x0.shape, generator=generator, dtype=x0.dtype).to(x0.device)
    x = diffusion.noisy(x0, t, noise)  # (N, C, H, W)
    mean = diffusion.mean(x, t, model(x, t))  # (N, C, H, W)
    variance = diffusion.variance[t].view(-1, 1, 1, 1)  # (N, 1, 1, 1)
    true_mean, true_variance = diffusion.posterior(x0, x, t)  # (N, C, H, W), (N, 1, 1, 1)
    step = normal_kl(true_mean, true_variance, mean, variance)  # (N, C, H, W)

    half = 1 / (levels - 1)
    upper = torch.special.ndtr((x0 + half - mean) / variance.sqrt())  # (N, C, H, W)
    lower = torch.special.ndtr((x0 - half - mean) / variance.sqrt())  # (N, C, H, W)
    mass = torch.where(x0 > 1 - half, 1, upper) - torch.where(x0 < half - 1, 0, lower)
    last = -mass.clamp(min=1e-12).log()  # (N, C, H, W)

    left = diffusion.alpha_bar[T]
    first = normal_kl(left.sqrt() * x0, 1 - left, 0.0, 1.0)  # (N, C, H, W)
    nats = first + T * torch.where(t.view(-1, 1, 1, 1) == 1, last, step)  # (N, C, H, W)
    return nats.mean() / math.log(2)


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, decay: float) -> None:
    r"""
    ## The average of the weights

    Samples are drawn with an exponential average of the weights over the training steps
    (appendix B: decay 0.9999). The noise in the loss never lets the last weights settle. Their
    average does.
    """
    for mean, weight in zip(average.parameters(), model.parameters(), strict=True):
        mean.lerp_(weight, 1 - decay)


def pictures(name: str) -> tuple[Tensor, Tensor]:
    r"""
    ## The data

    All images of a set, in a fixed random order, with pixels in $[-1, 1]$ (section 3.3). The
    last fifth is held out. The paper also mirrors images of CIFAR-10 at random. Digits have
    no mirror images, and we leave it out.
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

    diffusion = Diffusion(config.timesteps, config.variance).to(run.device)
    weight = loss_weights(diffusion, config.loss)  # (T+1,)
    average = UNet(config, channels=images.shape[1]).to(run.device)
    model = run.prepare(copy.deepcopy(average))
    optimizer = Adam(model.parameters(), lr=config.lr)

    for step in run.steps(config.steps, model=model, average=average, optimizer=optimizer):
        (x0,) = batches[step]  # (B, C, H, W)
        # Drawn for the whole batch, of which each process takes its rows: the run is the same
        # on one device or on eight.
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

    To look at: a sheet of samples. To measure, on as many samples as images are held out:
    their [Fréchet distance](frechet.py) to the training images beside that of the held-out
    images (the floor), their distance to the nearest training image beside that of the
    held-out ones (a much smaller one would mean copying), and the bits for each dimension of
    held-out images.
    """
    training, held_out = images[:split], images[split:]
    number = min(len(held_out), 1000)
    shape = (number, *images.shape[1:])
    samples = diffusion.sample(model, shape, run.generator).clamp(-1, 1).cpu()
    run.image("samples", grid((samples[:64] + 1) / 2))

    features = classifier(training, labels[:split])
    with torch.no_grad():
        seen, new, drawn = (features(x) for x in (training, held_out[:number], samples))
    x0, levels = held_out[:number].to(run.device), len(images.unique())
    bits = [codelength(model, diffusion, x0, levels, run.generator) for _ in range(10)]
    return {
        "frechet": frechet(drawn, seen).item(),
        "floor": frechet(new, seen).item(),
        "nearest": nearest(samples, training).item(),
        "nearest_floor": nearest(held_out[:number], training).item(),
        "bits": torch.stack(bits).mean().item(),
    }


# ## Published weights
#
# The hub's names, as regular expressions, and ours.
NAMES = {
    r"^conv_in\.": "enter.",
    r"^conv_out\.": "leave.",
    r"^conv_norm_out\.": "norm.",
    r"^time_embedding\.linear_1\.": "time.0.",
    r"^time_embedding\.linear_2\.": "time.2.",
    r"^(down|up)_blocks\.(\d+)\.(?:resnets|attentions)\.(\d+)\.": r"\1.\2.blocks.\3.",
    r"^(down|up)_blocks\.(\d+)\.(?:down|up)samplers\.0\.": r"\1.\2.resize.",
    r"^mid_block\.(?:resnets|attentions)\.(\d)\.": r"middle.\1.",
    r"\.group_norm\.": ".attention.norm.",
    # Older files call the projections of attention `query` to `proj_attn`.
    r"\.(?:to_q|query)\.": ".attention.mix.query.",
    r"\.(?:to_k|key)\.": ".attention.mix.key.",
    r"\.(?:to_v|value)\.": ".attention.mix.value.",
    r"\.(?:to_out\.0|proj_attn)\.": ".attention.mix.out.",
    r"\.time_emb_proj\.": ".time.",
    r"\.conv_shortcut\.": ".shortcut.",
}


def our_name(theirs: str) -> str:
    return renamed(theirs, NAMES)


def load_pretrained(folder: Path) -> tuple[UNet, Config]:
    r"""
    Reads a folder with the `config.json`, `scheduler_config.json` and
    `diffusion_pytorch_model.safetensors` of
    [google/ddpm-cifar10-32](https://huggingface.co/google/ddpm-cifar10-32) or
    [google/ddpm-celebahq-256](https://huggingface.co/google/ddpm-celebahq-256), which are this
    paper's. Returns the `Config` too, since the noise belongs to the weights. Raises `UserError`
    when the folder holds no such model.
    """
    told = settings(folder, "UNet2DModel")
    noise = settings(folder, "DDPMScheduler", "scheduler_config.json")
    T = noise.count("num_train_timesteps")
    noise.requires(beta_schedule="linear", beta_start=1e-4 * 1000 / T, beta_end=0.02 * 1000 / T)
    with told.blueprint():
        widths, kinds = told.counts("block_out_channels"), told["down_block_types"]
        told.requires(
            flip_sin_to_cos=False,
            freq_shift=1,
            downsample_padding=0,
            norm_eps=1e-6,
            norm_num_groups=min(32, widths[0] // 4),
            attention_head_dim=None,
            out_channels=told["in_channels"],
            up_block_types=[kind.replace("Down", "Up") for kind in reversed(kinds)],
        )
        config = Config(
            width=widths[0],
            multipliers=tuple(width // widths[0] for width in widths),
            attention=tuple(i for i, kind in enumerate(kinds) if kind.startswith("Attn")),
            blocks=told.count("layers_per_block"),
            timesteps=T,
            variance="large" if noise["variance_type"] == "fixed_large" else "small",
        )
        model = UNet(config, told.count("in_channels"))
    weights = tensors(folder, our_name, "diffusion_pytorch_model.safetensors")
    return fill(model, weights, folder), config


def sample(
    weights: Path, images: int = 16, size: int = 32, seed: int = 0, out: Path | None = None
) -> None:
    r"""
    ### Drawing with them

    `python papers/diffusion/ddpm.py sample --weights FOLDER` writes a sheet of samples.
    """
    model, config = load_pretrained(weights)
    run = Run(config, Options(seed=seed, out=out))
    diffusion = Diffusion(config.timesteps, config.variance).to(run.device)
    shape = (images, model.enter.in_channels, size, size)
    x = diffusion.sample(model.to(run.device), shape, run.generator)
    run.image("published", grid((x + 1) / 2))
    print(run.out / "published.png")


# ## What changed since
#
# - **Fewer steps.** [DDIM](ddim.py) (Song, Meng and Ermon, 2020)
#   finds other chains with the same $q(x_t \mid x_0)$, so that a network trained as above
#   samples in 20 to 100 steps, and without noise on the way.
# - **Better codes.** Nichol and Dhariwal (2021, [arXiv](https://arxiv.org/abs/2102.09672)) learn
#   the variance too, and replace the linear $\beta_t$, which destroys small images too early.
# - **One view.** With infinitely many steps the chain is a stochastic differential equation, and
#   $\epsilon_\theta$ is the score up to scale (Song and others, 2020,
#   [arXiv](https://arxiv.org/abs/2011.13456)).
# - **Other targets, other networks.** Most large models now predict a velocity along straighter
#   paths, in the latent space of an autoencoder, with a [Transformer](../vision/vit.py) for the
#   U-Net (Peebles and Xie, 2022, [arXiv](https://arxiv.org/abs/2212.09748)).

if __name__ == "__main__":
    main(train, sample=sample)
