r"""
---
title: MeanFlow and consistency models
summary: Learn where a path leads, rather than its direction, and one step is enough.
paper: Mean Flows for One-step Generative Modeling
authors: [Zhengyang Geng, Mingyang Deng, Xingjian Bai, J. Zico Kolter, Kaiming He]
year: 2025
arxiv: "2505.13447"
acronyms: [MeanFlow, CM, consistency training, consistency distillation, one-step, average velocity,
  JVP]
needs: [flows/flow_matching]
equals:
  what: diffusers' CMStochasticIterativeScheduler in its scalings and steps
  within: 1e-5
  test: test_scalings_and_a_step_are_those_of_diffusers
notation:
  'u': u
  'v': v
  'z_t': z
  'r': r
  'c_\text{skip}': c_skip
  'c_\text{out}': c_out
  '\sigma': sigma
figure:
  file: figures/mean_flow.svg
  alt: >-
    Curves lead from noise, at the time 1 on the left, to two points of data, at the time 0 on the
    right. From the start of one of them, a dashed arrow in its first direction ends between the two
    points, and another arrow leads straight to the end of the curve.
  caption: >-
    A path of the exact velocity of a mixture of two. One step along `v` ends in between, and one
    along the average velocity `u` at the data.
metrics:
  one: {name: sliced Wasserstein distance after one step, better: lower}
  two: {name: the same after two steps, better: lower}
  many: {name: the same after fifty steps along the velocity, better: lower}
  floor: {name: the same of two sets of data, better: lower}
  error: {name: squared error of the end of a path after one step, better: lower}
  loss: {name: training loss}
runs:
  mean flow: ""
  flow matching: --method matching
  consistency training: --method training
  consistency distillation: --method distillation
shows:
  samples: >-
    what one step draws, what two steps draw, and the data
claims:
  - what: one step along the average velocity is far better than one along the velocity
    paper: "in words: an average velocity allows one step"
    run: mean flow
    control: flow matching
    metric: one
    margin: 0.3
  - what: it is about as good as fifty steps of the same network
    paper: "not there: its tables compare with other networks of many steps"
    run: mean flow
    metric: one
    against: many
    within: 0.03
    note: "one step is farther from the data with every seed, by about what we allowed; and fifty
      steps of the network that learned the velocity alone come much nearer than either"
  - what: in one step, better than consistency training
    paper: "figure 1 and table 2: against iCT, a later form of it, on ImageNet"
    run: mean flow
    control: consistency training
    metric: one
    margin: 0.02
  - what: a teacher helps a consistency model
    paper: "Song 2023: distillation is better than training, on CIFAR-10"
    run: consistency distillation
    control: consistency training
    metric: one
    margin: 0.02
  - what: a FID of 3.43 in one step, on ImageNet of 256 by 256
    paper: abstract
    note: "not run here"
deviations:
  - what: the weight of an error
    paper: adaptive, larger where the error is small
    ours: the same for all
    matters: "not tried"
  - what: how times are drawn
    paper: normal, through a sigmoid
    ours: uniform
    matters: "not tried"
  - what: the share of a batch whose two times differ
    paper: "a quarter, on ImageNet"
    ours: a half
    matters: "not tried"
  - what: how far two ends are apart
    paper: "Song 2023: best by a learned distance between images (LPIPS)"
    ours: the squared distance
    matters: "no: there is none that is learned for points"
  - what: the least and the largest noise of a consistency model
    paper: "0.002 and 80, with data of spread 0.5"
    ours: "0.02 and 20, with data of spread 1.43"
    others: "diffusers: the paper's by default"
    matters: "no: points are coarser than images, and there is less between them to see"
    test: test_scalings_and_a_step_are_those_of_diffusers
  - what: the teacher
    paper: a trained diffusion model
    ours: the exact velocity of the mixture
    matters: "yes: ours makes no mistakes, so all that remains are the student's"
    test: test_the_teacher_is_exact
mistakes:
  - what: a gradient through the target
    mutant: the target is not detached
    caught: test_the_target_has_no_gradient
  - what: "the derivative at a fixed place, without the way that the point moves"
    mutant: the place does not move
    caught: test_the_exact_average_is_a_fixed_point
worked:
  - at: average_velocity
    told: >-
      Data that are all at 3, and a point at 1 at the time 0.5. Lines to a single point do not
      cross, so the velocity is the same all the way, and the derivative is zero. `model` is the
      exact average velocity, and the target is what it says: the identity holds.
    code: |-
      z, r, t = torch.tensor([[1.0]]), torch.tensor([[0.0]]), torch.tensor([[0.5]])
      model = lambda z, t, span: (z - 3.0) / t
      average_velocity(model, z, model(z, t, t), r, t)
exercises: [average_velocity, Consistency.forward, consistency_loss]
changes: {from: flows/flow_matching, proof: test_without_a_span_it_is_flow_matching}
---

# MeanFlow and consistency models

[Flow matching](flow_matching.py) learns in which direction a path leads now. Paths bend, so it
has to be asked again and again. A single long step from noise ends near the mean of all data,
as that is where the first direction points to.

What if the network were told where a path *leads*? The average velocity over a stretch of time does
that. We could compute it by following the path, at the cost of many steps for each example. But it
obeys an identity that contains only the velocity, the average velocity itself and its derivative.
So it can be learned from pairs of noise and data, as the velocity is.

*Consistency models* (Yang Song, Prafulla Dhariwal, Mark Chen and Ilya Sutskever 2023,
[arXiv](https://arxiv.org/abs/2303.01469)) came first. They learn where a path ends, from the demand
that two neighbouring points of a path have the same end. We train them, too, on the same points,
and know the exact paths that all of them should find.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | points in a batch | `D` | coordinates of a point |
| `N` | points that are drawn | `L` | levels of noise |
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import jvp

from papers.common import Options, Run, Share, main
from papers.common.data.grids import grid
from papers.diffusion.ddpm import follow
from papers.flows.flow_matching import Mixture, Network, plate, sliced_wasserstein, straight

# A network that is given a point, a time, and how far back from there it should look.
Average = Callable[[Tensor, Tensor, Tensor], Tensor]


def average_velocity(
    model: Average, z: Tensor, v: Tensor, r: Tensor, t: Tensor
) -> tuple[Tensor, Tensor]:
    r"""
    ## The identity

    Time runs as in the paper, from data at 0 to noise at 1: $z_t = (1 - t)\, x + t\, \epsilon$,
    with the velocity $v = \epsilon - x$. The *average velocity* from $r$ to $t$ is

    $$
    u(z_t, r, t) = \frac{1}{t - r} \int_r^t v(z_\tau, \tau)\, d\tau.
    $$

    Multiply by $t - r$, and differentiate with respect to $t$ along the path, with $r$ fixed. The
    derivative of the integral is what stands in it, so the integral goes away:

    $$
    u(z_t, r, t) = v(z_t, t) - (t - r)\, \frac{d}{dt} u(z_t, r, t).
    $$

    As $t$ moves, so does the point, with the velocity $v$:

    $$
    \frac{d}{dt} u = v\, \partial_z u + \partial_t u.
    $$

    That is a product of the Jacobian with a vector, and forward-mode differentiation gives it
    together with $u$, for about twice the cost of $u$ alone.

    We return what the network says, and what the identity asks it to say. The network is given $t$
    and the span $t - r$, and both grow with $t$.
    """
    one = torch.ones_like(t)
    u, change = jvp(model, (z, t, t - r), (v, one, one))[:2]  # (B, D), (B, D)
    # The network's own derivative is part of its target, and no gradient may flow through it.
    return u, (v - (t - r) * change).detach()  # (B, D), (B, D)


def mean_flow_loss(model: Average, data: Tensor, noise: Tensor, r: Tensor, t: Tensor) -> Tensor:
    r"""
    ## The loss

    The exact velocity is not known, and the line from data to noise takes its place. It is right on
    average, and the identity is linear in $v$, so the average of the targets is right, too, if the
    network is. Where $r = t$, nothing but flow matching is left.
    """
    u, target = average_velocity(model, (1 - t) * data + t * noise, noise - data, r, t)
    return (u - target).square().sum(-1).mean()


def spans(B: int, apart: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    r"""
    ### Two times

    Of two uniform times, the later is $t$. For all but a share of the batch $r = t$: the network
    has to know the velocity first, since the average builds on it.
    """
    first, second = (torch.rand(B, 1, generator=generator) for _ in range(2))
    t = torch.maximum(first, second)  # (B, 1)
    far = torch.rand(B, 1, generator=generator) < apart  # (B, 1)
    return torch.where(far, torch.minimum(first, second), t), t  # (B, 1), (B, 1)


@torch.no_grad()
def leap(model: Average, z: Tensor, steps: int) -> Tensor:
    r"""
    ## Sampling

    $z_r = z_t - (t - r)\, u(z_t, r, t)$, from noise at 1 to data at 0: in a single step, or in
    several of equal length.
    """
    for step in range(steps, 0, -1):
        t = torch.full((len(z), 1), step / steps, device=z.device)
        z = z - model(z, t, torch.full_like(t, 1 / steps)) / steps  # (B, D)
    return z


# The least noise of a consistency model, the largest, and the spread of the data.
LEAST, LARGEST, SPREAD = 0.02, 20.0, 1.43


def scalings(sigma: Tensor) -> tuple[Tensor, Tensor]:
    r"""
    ## Consistency models

    Here noise is added without shrinking the data: $x = x_0 + \sigma \epsilon$. A consistency
    function $f(x, \sigma)$ says where the path through $x$ ends. At the least noise,
    $\sigma_\text{min}$, the end is $x$ itself. That is built in, with the network $F_\theta$ and
    the spread of the data $\sigma_d$:

    $$
    f(x, \sigma) = c_\text{skip}(\sigma)\, x + c_\text{out}(\sigma)\, F_\theta(x, \sigma),
    $$

    $$
    \begin{aligned}
    c_\text{skip} &= \frac{\sigma_d^2}{(\sigma - \sigma_\text{min})^2 + \sigma_d^2} \\
    c_\text{out} &= \frac{\sigma_d\, (\sigma - \sigma_\text{min})}{\sqrt{\sigma^2 + \sigma_d^2}}
    \end{aligned}
    $$

    Without that, a constant would be consistent, and nothing would be learned.
    """
    over = sigma - LEAST
    c_skip = SPREAD**2 / (over**2 + SPREAD**2)
    c_out = SPREAD * over / (sigma**2 + SPREAD**2).sqrt()
    return c_skip, c_out


class Consistency(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        # The network's input has about unit variance, and it is told the logarithm of the noise.
        c_skip, c_out = scalings(sigma)  # (B, 1), (B, 1)
        scaled = x / (sigma**2 + SPREAD**2).sqrt()  # (B, D)
        raw = self.network(scaled, sigma.log() / 4)  # (B, D)
        return c_skip * x + c_out * raw


def levels(L: int, rho: float = 7.0) -> Tensor:
    r"""
    ### Levels of noise

    Evenly spaced in the seventh root of $\sigma$, as in EDM (Karras 2022,
    [arXiv](https://arxiv.org/abs/2206.00364)): close together where there is little noise.
    """
    low, high = LEAST ** (1 / rho), LARGEST ** (1 / rho)
    return (low + torch.linspace(0, 1, L) * (high - low)) ** rho  # (L,)


Teacher = Callable[[Tensor, Tensor], Tensor]


def consistency_loss(
    model: nn.Module,
    average: nn.Module,
    data: Tensor,
    noise: Tensor,
    sigma: tuple[Tensor, Tensor],
    teacher: Teacher | None = None,
) -> Tensor:
    r"""
    ### Two neighbours on a path

    $$
    \big\lVert f_\theta(x + \sigma_{n+1} \epsilon,\, \sigma_{n+1})
    - f_{\theta^-}(\hat x,\, \sigma_n) \big\rVert^2
    $$

    In *distillation*, $\hat x$ is a step of a solver back from $\sigma_{n+1}$, along the velocity
    that a teacher knows. In *training* there is no teacher, and $\hat x$ is the same data with the
    same noise, less of it. That is right on average, for small steps.

    The neighbour with less noise is the target, from an average $\theta^-$ of past weights.
    """
    less, more = sigma  # (B, 1), (B, 1)
    x = data + more * noise  # (B, D)
    near = data + less * noise  # (B, D)
    if teacher is not None:
        # Heun's method: a step, and another one with the mean of the velocities at both ends.
        first = teacher(x, more)  # (B, D)
        second = teacher(x + (less - more) * first, less)  # (B, D)
        near = x + (less - more) * (first + second) / 2  # (B, D)
    with torch.no_grad():
        target = average(near, less)  # (B, D)
    return (model(x, more) - target).square().sum(-1).mean()


@torch.no_grad()
def refine(
    model: nn.Module, noise: Tensor, sigmas: list[float], generator: torch.Generator
) -> Tensor:
    r"""
    ### In one step or more

    From nothing but noise to the end of its path. For a second step, some noise is added to that
    end, and the end of *its* path is found.
    """
    x = LARGEST * noise
    for number, sigma in enumerate(sigmas):
        if number > 0:
            fresh = torch.randn(x.shape, generator=generator).to(x.device)  # (B, D)
            x = x + math.sqrt(sigma**2 - LEAST**2) * fresh  # (B, D)
        x = model(x, torch.full((len(x), 1), sigma, device=x.device))  # (B, D)
    return x


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    The points and the network are those of [flow matching](flow_matching.py#configuration).
    """

    method: Literal["mean", "matching", "training", "distillation"] = "mean"
    "average velocity, velocity, or consistency without a teacher or with one"
    apart: Share = 0.5
    "share of a batch whose two times differ, for the average velocity"
    width: int = 64
    "hidden features"
    levels: int = 40
    "levels of noise, for consistency; half of them at first"
    ema: Share = 0.95
    "decay of the average of the weights, for the target of consistency"
    batch: int = 256
    "points in a batch"
    steps: int = 2500
    "training steps"
    lr: float = 0.01
    "learning rate of Adam, which falls to zero"
    drawn: int = 4000
    "points that are drawn to be judged"


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    Noise and data are drawn anew for each step. What is judged is the average of the weights, whose
    decay is the same for all methods.
    """
    run = Run(config, options)
    mixture, flows = Mixture.ring(), config.method in ("mean", "matching")
    network: nn.Module = Network(config.width, times=2 if flows else 1)
    model = run.prepare(network if flows else Consistency(network))
    average = copy.deepcopy(model)
    optimizer = torch.optim.Adam(model.parameters(), config.lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: 1 - n / config.steps)
    parts: dict[str, Any] = {"model": model, "average": average, "optimizer": optimizer}

    for step in run.steps(config.steps, schedule=schedule, **parts):
        data = mixture.sample(config.batch, run.generator)  # (B, D)
        noise = torch.randn(data.shape, generator=run.generator)  # (B, D)
        times = drawn_times(config, step, run.generator)
        data, noise, first, second = (run.share(x).to(run.device) for x in (data, noise, *times))
        with run.autocast():
            if flows:
                loss = mean_flow_loss(model, data, noise, first, second)
            else:
                teacher = exact_teacher(mixture) if config.method == "distillation" else None
                loss = consistency_loss(model, average, data, noise, (first, second), teacher)
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer, clip=1.0)
        schedule.step()
        follow(average, model, config.ema)
        run.log(loss=loss)

    return run.finish(**judge(run, mixture, average))


def drawn_times(config: Config, step: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    r"""
    ### The times of a batch

    A consistency model gets two neighbouring levels of noise. There are few levels at first: what
    the network knows at little noise is handed on from level to level, and reaches the largest
    soon. Later there are more, so that each step is small and its error, too.
    """
    if config.method in ("mean", "matching"):
        return spans(config.batch, config.apart * (config.method == "mean"), generator)
    L = max(3, config.levels // 2 + config.levels * step // (2 * config.steps))
    sigma = levels(L)  # (L,)
    lower = torch.randint(L - 1, (config.batch, 1), generator=generator)  # (B, 1)
    return sigma[lower], sigma[lower + 1]  # (B, 1), (B, 1)


def exact_teacher(mixture: Mixture) -> Teacher:
    r"""
    ### The exact teacher

    With $a = 1$ and $b = \sigma$, the [average velocity](flow_matching.py#the-average-velocity) of
    the mixture is the derivative of $x$ with respect to $\sigma$.
    """

    def teacher(x: Tensor, sigma: Tensor) -> Tensor:
        one = torch.ones_like(sigma)
        return mixture.velocity(x, (one, sigma, 0 * one, one))  # (B, D)

    return teacher


@torch.no_grad()
def true_end(mixture: Mixture, z: Tensor, steps: int = 200) -> Tensor:
    r"""
    ## Where paths end

    The exact velocity, followed in many steps by Heun's method, from noise to data.
    """
    for step in range(steps):
        now, after = (torch.full((len(z), 1), (step + i) / steps) for i in (0, 1))
        first = mixture.velocity(z, straight(now))  # (N, D)
        second = mixture.velocity(z + first / steps, straight(after))  # (N, D)
        z = z + (first + second) / (2 * steps)  # (N, D)
    return z


def judge(run: Run, mixture: Mixture, model: nn.Module) -> dict[str, float]:
    r"""
    ## One step, and more

    The distance to the data says whether the samples are right. The error says whether each noise
    went where its path ends: with $\sigma$ from 0 to infinity, the paths of both kinds are the
    same but for a factor, and our largest $\sigma$ is large enough to compare.

    Look at the picture, too. In so short a training, one step of MeanFlow finds the ring and its
    eight Gaussians, and draws a thin line between neighbours. The consistency model that has a
    teacher separates them best, but its teacher is the truth. Without one it draws only the ring.
    """
    config: Config = run.config
    noise = torch.randn(config.drawn, 2, generator=run.generator)  # (N, D)
    data, other = (mixture.sample(config.drawn, run.generator) for _ in range(2))
    z, found = noise.to(run.device), {"floor": sliced_wasserstein(data, other).item()}
    if config.method in ("mean", "matching"):
        wide = float(config.method == "mean")

        def look(x: Tensor, t: Tensor, span: Tensor) -> Tensor:
            return model(x, t, wide * span)

        def now(x: Tensor, t: Tensor, span: Tensor) -> Tensor:
            return model(x, t, 0 * span)

        drawn = {"one": leap(look, z, 1), "two": leap(look, z, 2), "many": leap(now, z, 50)}
    else:
        one = refine(model, z, [LARGEST], run.generator)
        drawn = {"one": one, "two": refine(model, z, [LARGEST, 1.0], run.generator)}
    found |= {name: sliced_wasserstein(x.cpu(), data).item() for name, x in drawn.items()}
    apart = (drawn["one"].cpu() - true_end(mixture, noise)).square().sum(-1)  # (N,)
    plates = [plate(drawn["one"].cpu()), plate(drawn["two"].cpu()), plate(data)]
    run.show("samples", grid(torch.stack(plates), 3, 4))
    return found | {"error": apart.mean().item()}


# ## What changed since
#
# - **A target that holds still.** Here the target contains the network. Improved MeanFlow turns the
#   identity around: the network's average velocity gives a velocity, which is compared with that of
#   the line (Geng 2025, [arXiv](https://arxiv.org/abs/2512.02012)).
# - **Consistency without levels.** The limit of infinitely small steps has a derivative in place of
#   neighbours, too, and has been made stable in large models (Lu and Song 2024,
#   [arXiv](https://arxiv.org/abs/2410.11081)).
# - **Better training of consistency.** No average of the weights in the target, and other weights
#   of the levels (Song and Dhariwal 2023, [arXiv](https://arxiv.org/abs/2310.14189)).

if __name__ == "__main__":
    main(train)
