r"""
---
title: Denoising diffusion implicit models
summary: The same network, sampled without noise on the way back, in a tenth of the steps.
topic: diffusion
paper: Denoising Diffusion Implicit Models
authors: [Jiaming Song, Chenlin Meng, Stefano Ermon]
year: 2020
arxiv: "2010.02502"
notation:
  '\alpha_t': alpha_bar
  '\sigma_t': sigma
  '\eta': eta
  '\tau': times
  'S': S
runs:
  no noise: ""
  noise as in DDPM: --eta 1
claims:
  - what: with few steps, sampling without noise is better than with it
    paper: "on CIFAR-10 with 10 steps FID is 13.36 for eta 0 and higher for 1 (table 1)"
    run: no noise
    metric: frechet_10
  - what: the same network and number of steps, with noise
    paper: "as above"
    run: noise as in DDPM
    metric: frechet_10
  - what: without noise an image is encoded and decoded again
    paper: "error falls with the number of steps (table 2)"
    run: no noise
    metric: reconstruction
---

# Denoising diffusion implicit models

[DDPM](ddpm.py) needs as many steps back as it took there, often a thousand. But look at what the
network is trained on: an image, a time, and the noise between them (its eq. 14). Only the
*marginals* $q(x_t \mid x_0)$ enter, not how $x_t$ and $x_{t-1}$ hang together. Many processes
share these marginals, and one network serves them all. Among them is one whose way back has no
noise in it. It is a function rather than a chain of draws, and since it moves smoothly its steps
can be large.

This paper writes $\alpha_t$ for what DDPM calls $\bar\alpha_t$. We keep DDPM's name in the code
and in the formulas.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | images | `C` | channels |
| `H`, `W` | height and width | `S` | steps taken, of `T` |
"""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from papers.common import Options, Run, Share, UserError, main
from papers.common.data.grids import grid
from papers.diffusion import ddpm
from papers.diffusion.ddpm import Diffusion, UNet, denoising_loss, follow, loss_weights, pictures
from papers.diffusion.frechet import classifier, frechet
from papers.optimizers.adam import Adam


def spaced(T: int, S: int) -> list[int]:
    r"""
    ## Fewer steps

    The way back visits only $\tau_1 < \tau_2 < \dots < \tau_S$ (section 4.2). We space them
    evenly from $t = 1$, the paper's *linear* choice (appendix D.2).

    Raises `UserError` unless $1 \le S \le T$.
    """
    if not 1 <= S <= T:
        raise UserError(f"{S} steps of {T}: take at least one, and no more than there are")
    return [1 + i * (T // S) for i in range(S)]


def noise_scale(alpha_bar: Tensor, before: Tensor, eta: float) -> Tensor:
    r"""
    ## How much noise

    A family between two ends (eq. 16). At $\eta = 1$ it is the variance of DDPM's posterior, at
    $\eta = 0$ nothing:

    $$
    \sigma_{\tau_i} = \eta
    \sqrt{\frac{1 - \bar\alpha_{\tau_{i-1}}}{1 - \bar\alpha_{\tau_i}}}
    \sqrt{1 - \frac{\bar\alpha_{\tau_i}}{\bar\alpha_{\tau_{i-1}}}}.
    $$
    """
    return eta * ((1 - before) / (1 - alpha_bar) * (1 - alpha_bar / before)).sqrt()


def move(
    diffusion: Diffusion,
    x: Tensor,  # (B, C, H, W)
    noise: Tensor,  # (B, C, H, W)
    t: int,
    to: int,
    eta: float = 0.0,
    z: Tensor | None = None,
    clip: bool = False,
) -> Tensor:
    r"""
    ## One step

    From the noise that the network saw follows its guess of the image, $\hat x_0$. Then we go
    to another time by the marginal's own formula, with the *same* noise in place of a fresh
    one (eq. 12):

    $$
    x_{\tau_{i-1}} = \sqrt{\bar\alpha_{\tau_{i-1}}}\, \hat x_0
    + \sqrt{1 - \bar\alpha_{\tau_{i-1}} - \sigma^2}\; \epsilon_\theta(x_{\tau_i})
    + \sigma z.
    $$

    Whatever part of the variance $\sigma^2 z$ brings, the seen noise gives up, so that the marginal
    stays what it was. Nothing in the formula says that `to` is the earlier time: with
    $\sigma = 0$ it goes both ways.
    """
    alpha_bar, before = diffusion.alpha_bar[t], diffusion.alpha_bar[to]
    sigma = noise_scale(alpha_bar, before, eta) if eta else torch.zeros_like(alpha_bar)
    x0 = diffusion.original(x, torch.full((len(x),), t, device=x.device), noise)  # (B, C, H, W)
    if clip:
        # The guess is put into the range of pixels, and the noise is what then remains: both
        # ends of the line must lie on x.
        x0 = x0.clamp(-1, 1)  # (B, C, H, W)
        noise = (x - alpha_bar.sqrt() * x0) / (1 - alpha_bar).sqrt()  # (B, C, H, W)
    moved = before.sqrt() * x0 + (1 - before - sigma**2).sqrt() * noise  # (B, C, H, W)
    return moved + sigma * z if z is not None else moved


@torch.no_grad()
def sample(
    model: nn.Module,
    diffusion: Diffusion,
    x: Tensor,
    S: int,
    eta: float,
    generator: torch.Generator,
    clip: bool = True,
) -> Tensor:
    r"""
    ## Sampling

    `x` is the noise to start from, `(B, C, H, W)`. At $\eta = 0$ it decides the image: the same
    noise gives nearly the same image with any number of steps (figure 5), and what lies
    between two noises gives what lies between two images (figure 6).
    """
    times = spaced(diffusion.timesteps, S)
    for t, to in zip(reversed(times), [*reversed(times[:-1]), 0], strict=True):
        noise = model(x, torch.full((len(x),), t, device=x.device))  # (B, C, H, W)
        z = torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device) if eta else None
        x = move(diffusion, x, noise, t, to, eta, z, clip)  # (B, C, H, W)
    return x


@torch.no_grad()
def encode(model: nn.Module, diffusion: Diffusion, x0: Tensor, S: int) -> Tensor:
    r"""
    ## And back to the noise

    Dividing eq. 12 by $\sqrt{\bar\alpha}$ turns it into Euler's method for an ordinary
    differential equation (eq. 14). Equations can be followed in either direction. So an image has
    a noise that leads to it, which DDPM's has not (section 4.3).

    The noise at a time is taken for that of the step before, which is the error of Euler's method
    and shrinks with the steps.
    """
    times = [0, *spaced(diffusion.timesteps, S)]
    x = x0
    for t, to in itertools.pairwise(times):
        at = torch.full((len(x),), max(t, 1), device=x.device)
        x = move(diffusion, x, model(x, at), t, to)  # (B, C, H, W)
    return x


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    The network is [DDPM](ddpm.py#configuration)'s, as small as there.
    """

    eta: Share = 0.0
    "noise on the way back: 0 none, 1 that of DDPM"
    number: int = 200
    "images to draw for each number of steps"
    steps: int = 600
    "training steps of the network"
    batch: int = 64
    "images in a batch"


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    The loop of DDPM, line for line: that nothing changes here is the point of the paper.
    """
    run = Run(config, options)
    images, labels = pictures(run.options.data or "digits")
    split = len(images) * 4 // 5
    batches = run.batches(images[:split], size=config.batch)
    settings = ddpm.Config()
    diffusion = Diffusion(settings.timesteps, settings.variance).to(run.device)
    weight = loss_weights(diffusion, "simple")  # (T+1,)
    average = UNet(settings, channels=images.shape[1]).to(run.device)
    model = run.prepare(copy.deepcopy(average))
    optimizer = Adam(model.parameters(), lr=settings.lr)

    for step in run.steps(config.steps, model=model, average=average, optimizer=optimizer):
        (x0,) = batches[step]  # (B, C, H, H)
        shape = (config.batch, *images.shape[1:])
        t = torch.randint(1, settings.timesteps + 1, shape[:1], generator=run.generator)
        noise = torch.randn(shape, generator=run.generator)
        t, noise = (run.share(drawn).to(run.device) for drawn in (t, noise))
        with run.autocast():
            loss = denoising_loss(model, diffusion, weight, x0, t, noise)
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer)
        follow(average, model, settings.ema)
        run.log(loss=loss)

    return run.finish(**judge(run, diffusion, average.eval(), images, labels, split))


def judge(
    run: Run, diffusion: Diffusion, model: nn.Module, images: Tensor, labels: Tensor, split: int
) -> dict[str, float]:
    r"""
    ## Quality against steps

    The [Fréchet distance](frechet.py) of the samples to the training images, from the same noise
    each time, and that of held-out images as the floor. The sheet has a row for each number of
    steps: read down a column to see one noise become an image.

    Noise has a use, too: it washes out the mistakes of the steps before. A network that was
    trained for a minute makes many, so from some number of steps on the run with noise may be
    ahead here, which it is not in the paper's table. Compare the two runs below.
    """
    config: Config = run.config
    features = classifier(images[:split], labels[:split])
    shape = (config.number, *images.shape[1:])
    start = torch.randn(shape, generator=run.generator).to(run.device)  # (B, C, H, H)
    held_out = images[split : split + config.number]
    rows, measured = [], {}
    with torch.no_grad():
        seen = features(images[:split])
        measured["floor"] = frechet(features(held_out), seen).item()
        for S in (5, 10, 20, 50):
            drawn = sample(model, diffusion, start, S, config.eta, run.generator)
            drawn = drawn.clamp(-1, 1).cpu()  # (B, C, H, H)
            measured[f"frechet_{S}"] = frechet(features(drawn), seen).item()
            rows.append(drawn[:12])
        if config.eta == 0:
            x0 = held_out[:32].to(run.device)
            code = encode(model, diffusion, x0, 50)
            again = sample(model, diffusion, code, 50, 0.0, run.generator, clip=False)
            measured["reconstruction"] = (again - x0).square().mean().item()
    run.image("samples", grid((torch.cat(rows) + 1) / 2, columns=12))
    return measured


# ## What changed since
#
# - **Better solvers.** With the equation in hand, methods of higher order need 10 to 20
#   evaluations: DPM-Solver (2022, [arXiv](https://arxiv.org/abs/2206.00927)), and Heun's method
#   in EDM (2022, [arXiv](https://arxiv.org/abs/2206.00364)).
# - **Straighter paths.** Flow matching (2022, [arXiv](https://arxiv.org/abs/2210.02747)) learns an
#   equation whose paths bend less, and consistency models (2023,
#   [arXiv](https://arxiv.org/abs/2303.01469)) learn where a path ends.
# - **Editing.** To encode an image, change what the network is told, and decode, is how photographs
#   are edited with diffusion models.

if __name__ == "__main__":
    main(train)
