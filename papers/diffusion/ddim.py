r"""
---
title: Denoising diffusion implicit models
summary: The same network, sampled without noise on the way back, in a tenth of the steps.
paper: Denoising Diffusion Implicit Models
authors: [Jiaming Song, Chenlin Meng, Stefano Ermon]
year: 2020
arxiv: "2010.02502"
acronyms: [DDIM]
needs: [diffusion/ddpm]
equals: {what: diffusers.DDIMScheduler, within: 1e-9, test: test_each_step_is_that_of_diffusers}
notation:
  '\alpha_t': alpha_bar
  '\sigma': sigma
  '\eta': eta
  '\tau': times
  'S': S
figure:
  file: figures/ddim.svg
  alt: >-
    Three rows of dots, from noise on the left to the image on the right. In the first every dot
    is visited, 24 short hops. In the second four long hops lead across, in the third four that
    get shorter near the image. Below, one step: the model names the noise in x, what remains is
    x0, and part of that noise is added again; new noise z only where eta is not zero.
  caption: >-
    The way back may skip steps, since the network needs only `x` and its time. The times are those
    of `spaced`; `move` takes a hop of any length.
metrics:
  floor: {name: Fréchet distance of held-out images to training images, better: lower}
  frechet_10: {name: Fréchet distance of samples in 10 steps, better: lower}
  frechet_20: {name: Fréchet distance of samples in 20 steps, better: lower}
  frechet_50: {name: Fréchet distance of samples in 50 steps, better: lower}
  frechet_100: {name: Fréchet distance of samples in 100 steps, better: lower}
  error_10: {name: error of images encoded and decoded in 10 steps each, better: lower}
  error_20: {name: the same in 20, better: lower}
  error_50: {name: the same in 50, better: lower}
  error_100: {name: the same in 100, better: lower}
  error_ratio: {name: error in 10 steps over that in 100, better: higher}
runs:
  no noise: ""
  noise as in DDPM: --eta 1
  no noise, quadratic: --spacing quadratic
shows:
  samples: >-
    a row for each number of steps, 10, 20, 50 and 100 from top to bottom; a column for each
    noise to start from
claims:
  - what: in few steps, sampling without noise is better than with it
    paper: "table 1: FID 13.36 for eta 0 and 41.07 for eta 1 in 10 steps, on CIFAR-10"
    run: no noise
    control: noise as in DDPM
    metric: frechet_10
    margin: 5
    note: better with each seed, but by about the margin, which was set before the runs
  - what: without noise an image can be encoded and decoded again, with more steps the better
    paper: "table 2: an error of 0.014 in 10 steps, 0.0009 in 100, on CIFAR-10"
    run: no noise
    metric: error_ratio
    than: 1
    margin: 1
  - what: on small images, quadratic spacing gives slightly better samples
    paper: "appendix D.2, of CIFAR-10, in words"
    run: no noise, quadratic
    control: no noise
    metric: frechet_10
    margin: 1
    note: "even the paper calls the gain slight, and of our 100 times there are few to crowd"
deviations:
  - what: the times that are visited
    paper: multiples of c, or of squares with c, such that the last is close to T (appendix D.2)
    ours: such that the last is T
    others: "the authors' code: multiples from 1 to T - T / S + 1, squares to 0.8 T; diffusers: the
      same multiples by default, ours as `trailing`"
    matters: "hardly: in 10 of 100 steps theirs begin where 1.2 or 3 % of the image is left, ours at
      0.45 %"
    test: test_others_begin_where_more_of_the_image_is_left
  - what: the guess of the image
    paper: not clipped (eq. 12)
    ours: clipped to the range of pixels, and the noise recomputed to fit
    others: "the authors' code: not clipped; diffusers: clipped, the noise recomputed on request"
    matters: "yes: the step is another one wherever the guess leaves the range"
    test: test_three_ways_to_treat_a_guess_that_leaves_the_range
  - what: the larger variance of DDPM
    paper: a third kind of noise beside eta 0 and 1 (section 5, table 1)
    ours: left out
    matters: "not tried; in table 1 it is far behind in few steps and ahead in 1,000"
mistakes:
  - what: clipping the guess and keeping the noise that no longer fits it
    mutant: clipped with the old noise
    caught: test_each_step_is_that_of_diffusers
  - what: noise on top of the variance that is there already
    mutant: variance is not given up
    caught: test_each_step_is_that_of_diffusers
  - what: encoding with the time that a step goes to
    mutant: encode asks at where it goes
    caught: test_an_image_is_encoded_by_the_noise_at_the_time_that_it_leaves
exercises: [noise_scale, move]
changes: {from: diffusion/ddpm, proof: test_with_eta_1_and_all_steps_it_is_ddpm}
---

# Denoising diffusion implicit models

[DDPM](ddpm.py) takes as many steps back as it took towards noise, often a thousand. But look at
what the network is trained on: an image, a time, and the noise added by then (its eq. 14). Only the
*marginals* $q(x_t \mid x_0)$ enter, not how $x_t$ depends on $x_{t-1}$. Many processes
share these marginals, and one network serves them all. One of them has no noise on its way back.
There, sampling is a function of the start rather than a chain of draws, and since it moves
smoothly, its steps can be large.

The paper writes $\alpha_t$ for what DDPM calls $\bar\alpha_t$. We keep DDPM's name in the code
and in the formulas. Numbers are those of version 4 on arXiv.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | images | `N` | images drawn to be judged |
| `C` | channels | `S` | steps taken |
| `H`, `W` | height and width | `T` | steps of the training |
"""

from __future__ import annotations

import copy
import itertools
import math
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from papers.common import Options, Run, Share, UserError, main
from papers.common.data import IMAGE_SETS
from papers.common.data.grids import enlarged, grid
from papers.common.judging import in_batches
from papers.diffusion import ddpm
from papers.diffusion.ddpm import Diffusion, denoising_loss, follow, loss_weights, pictures
from papers.diffusion.frechet import classifier, frechet
from papers.diffusion.unet import UNet

Spacing = Literal["linear", "quadratic"]


def spaced(T: int, S: int, spacing: Spacing = "linear") -> list[int]:
    r"""
    ## Fewer steps

    The way back visits only $\tau_1 < \tau_2 < \dots < \tau_S$ (section 4.2). It starts from
    nothing but noise, so $\tau_S$ should be $T$. Appendix D.2 has
    two rules, and uses the second for CIFAR-10 and the first for the other data sets:

    $$
    \tau_i = \lfloor c\, i \rfloor \quad\text{or}\quad \tau_i = \lfloor c\, i^2 \rfloor.
    $$

    We choose $c$ such that $\tau_S = T$. The squares crowd at small $t$, where the details are
    decided. Where the first of them would be less than $i$, we take $i$.

    Raises `UserError` unless $1 \le S \le T$.
    """
    if not 1 <= S <= T:
        raise UserError(f"{S} steps of {T}: take at least one, and no more than there are")
    power = 1 if spacing == "linear" else 2
    return [max(i, T * i**power // S**power) for i in range(1, S + 1)]


def noise_scale(alpha_bar: float, before: float, eta: float) -> float:
    r"""
    ## How much noise

    A family with two ends (eq. 16). At $\eta = 1$, $\sigma^2$ is the variance of DDPM's posterior,
    at $\eta = 0$ it is zero:

    $$
    \sigma_{\tau_i} = \eta
    \sqrt{\frac{1 - \bar\alpha_{\tau_{i-1}}}{1 - \bar\alpha_{\tau_i}}}
    \sqrt{1 - \frac{\bar\alpha_{\tau_i}}{\bar\alpha_{\tau_{i-1}}}}.
    $$
    """
    return eta * math.sqrt((1 - before) / (1 - alpha_bar)) * math.sqrt(1 - alpha_bar / before)


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

    From the noise that the network predicts in $x$ follows its guess of the image, $\hat x_0$. Then
    we go to another time by the formula of the marginal, with the *same* noise instead of fresh
    noise (eq. 12):

    $$
    x_{\tau_{i-1}} = \sqrt{\bar\alpha_{\tau_{i-1}}}\, \hat x_0
    + \sqrt{1 - \bar\alpha_{\tau_{i-1}} - \sigma^2}\; \epsilon_\theta(x_{\tau_i})
    + \sigma z.
    $$

    The variance that $\sigma z$ adds is taken from the predicted noise, so the marginal
    stays what it was. Nothing in the formula says that `to` is the earlier time: with
    $\sigma = 0$ it works in both directions.
    """
    # Python's numbers have 64 bits, which small t needs (see DDPM).
    alpha_bar, before = diffusion.alpha_bar[t].item(), diffusion.alpha_bar[to].item()
    sigma = noise_scale(alpha_bar, before, eta) if eta else 0.0
    x0 = (x - math.sqrt(1 - alpha_bar) * noise) / math.sqrt(alpha_bar)  # (B, C, H, W)
    if clip:
        # The guess is put into the range of pixels, and the noise becomes what then remains, so
        # that the two together still give x.
        x0 = x0.clamp(-1, 1)  # (B, C, H, W)
        noise = (x - math.sqrt(alpha_bar) * x0) / math.sqrt(1 - alpha_bar)  # (B, C, H, W)
    moved = math.sqrt(before) * x0 + math.sqrt(1 - before - sigma**2) * noise  # (B, C, H, W)
    return moved + sigma * z if z is not None else moved


@torch.no_grad()
def sample(
    model: nn.Module,
    diffusion: Diffusion,
    x: Tensor,
    times: list[int],
    eta: float,
    generator: torch.Generator,
    clip: bool = True,
) -> Tensor:
    r"""
    ## Sampling

    `x` is the noise to start from, `(B, C, H, W)`, and `times` are the $\tau_i$. At $\eta = 0$ this
    noise determines the image: any number of steps gives nearly the same one (figure 5), and
    interpolating between two noises interpolates between two images (figure 6).
    """
    for t, to in zip(reversed(times), [*reversed(times[:-1]), 0], strict=True):
        noise = model(x, torch.full((len(x),), t, device=x.device))  # (B, C, H, W)
        z = torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device) if eta else None
        x = move(diffusion, x, noise, t, to, eta, z, clip)  # (B, C, H, W)
    return x


@torch.no_grad()
def encode(model: nn.Module, diffusion: Diffusion, x0: Tensor, times: list[int]) -> Tensor:
    r"""
    ## And back to the noise

    Divided by $\sqrt{\bar\alpha}$, eq. 12 becomes a step of Euler's method (eq. 13) for an
    ordinary differential equation (eq. 14), which can be solved in either direction. So an
    image has a noise that leads to it, unlike in DDPM (section 4.3).

    A step uses the noise predicted at its start all the way, which is the error of Euler's method
    and shrinks with the steps. The network was never trained at $t = 0$, so there we give it 1.
    """
    x = x0
    for t, to in itertools.pairwise([0, *times]):
        at = torch.full((len(x),), max(t, 1), device=x.device)
        x = move(diffusion, x, model(x, at), t, to)  # (B, C, H, W)
    return x


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    The network is [DDPM's](ddpm.py#configuration), in the same size.
    """

    eta: Share = 0.0
    "noise on the way back: 0 none, 1 that of DDPM"
    spacing: Spacing = "linear"
    "how the times are spaced: linear, or quadratic as in the paper for CIFAR-10"
    number: int = 200
    "images to sample for each number of steps"
    steps: int = 600
    "training steps of the network"
    batch: int = 64
    "images in a batch"


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    The loop of [DDPM](ddpm.py#training), line for line: the point of the paper is that training
    does not change.
    """
    run = Run(config, options)
    images, labels = pictures(run.options.data or "digits")
    split = len(images) * 4 // 5
    batches = run.batches(images[:split], size=config.batch)
    settings = ddpm.Config()
    diffusion = Diffusion(settings.timesteps, settings.variance)
    weight = loss_weights(diffusion, settings.loss).to(run.device)  # (T+1,)
    average = UNet(settings, channels=images.shape[1]).to(run.device)
    model = run.prepare(copy.deepcopy(average))
    optimizer = torch.optim.Adam(model.parameters(), settings.lr, fused=True)

    for step in run.steps(config.steps, model=model, average=average, optimizer=optimizer):
        (x0,) = batches[step]  # (B, C, H, W)
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


# The numbers of steps of tables 1 and 2; the last is all that our network has.
STEPS = (10, 20, 50, 100)


def judge(
    run: Run, diffusion: Diffusion, model: nn.Module, images: Tensor, labels: Tensor, split: int
) -> dict[str, float]:
    r"""
    ## Quality against steps

    We measure the [Fréchet distance](frechet.py) of samples to the training images, from the same
    noise for each number of steps, beside that of held-out images (the floor). And we measure the
    mean squared error of held-out images that were encoded and decoded again, with pixels in
    $[0, 1]$ as in table 2. The sheet has a row for each number of steps: read down a column to see
    the same noise become an image.

    Noise has its use, too: it washes out the mistakes of earlier steps. In the paper most
    noise is best with all 1,000 steps (table 1: 3.17 with the larger variance, 4.04
    without noise), and by far the worst with 10 (367 against 13.36).
    """
    config: Config = run.config
    held_out, number = images[split:], config.number
    features = classifier(images[:split], labels[:split])
    with torch.no_grad():
        seen, new = features(images[:split]), features(held_out[:number])
    size = max(8, 16_000 // images[0].numel())
    start = torch.randn(number, *images.shape[1:], generator=run.generator)  # (N, C, H, W)
    x0, rows = held_out[:32].to(run.device), []
    measured = {"floor": frechet(new, seen).item()}

    def draw(times: list[int], x: Tensor) -> Tensor:
        return sample(model, diffusion, x, times, config.eta, run.generator).clamp(-1, 1)

    for S in STEPS:
        times = spaced(diffusion.timesteps, S, config.spacing)
        drawn = in_batches(run, "sample", partial(draw, times), start, size=size)  # (N, C, H, W)
        rows.append(drawn[:12])
        with torch.no_grad():
            measured[f"frechet_{S}"] = frechet(features(drawn), seen).item()
        if config.eta == 0:
            code = encode(model, diffusion, x0, times)
            again = sample(model, diffusion, code, times, 0.0, run.generator, clip=False)
            measured[f"error_{S}"] = (again / 2 - x0 / 2).square().mean().item()
    if config.eta == 0:
        fewest, most = (measured[f"error_{S}"] for S in (STEPS[0], STEPS[-1]))
        measured["error_ratio"] = fewest / most
    run.show("samples", grid(enlarged((torch.cat(rows) + 1) / 2), columns=12))
    return measured


# ## What changed since
#
# - **The equation.** It has a stochastic twin, and knows the [likelihood](score_sde.py) of each
#   image (Song 2020).
# - **Better solvers.** For the same equation, methods of higher order need fewer evaluations of
#   the network: DPM-Solver 10 to 20 (Lu 2022, [arXiv](https://arxiv.org/abs/2206.00927)), Heun's
#   method in EDM about 35 (Karras 2022, [arXiv](https://arxiv.org/abs/2206.00364)).
# - **Straighter paths.** [Flow matching](../flows/flow_matching.py) (Lipman 2022)
#   learns an equation whose paths bend less, and [consistency models](../flows/mean_flow.py)
#   (Song 2023) learn where a path ends.
# - **Editing.** Encode a photograph, change the text on which the network is conditioned, and
#   decode: that is one way to edit images with diffusion models.

if __name__ == "__main__":
    main(train, data=IMAGE_SETS)
