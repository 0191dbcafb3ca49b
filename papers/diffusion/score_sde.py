r"""
---
title: Diffusion as a differential equation
summary: Noise in continuous time has a reverse, and a twin without chance that knows likelihoods.
paper: Score-Based Generative Modeling through Stochastic Differential Equations
authors: [Yang Song, Jascha Sohl-Dickstein, Diederik P. Kingma, Abhishek Kumar, Stefano Ermon,
  Ben Poole]
year: 2020
arxiv: "2011.13456"
acronyms: [SDE, VE, VP, SMLD, NCSN, predictor-corrector, probability flow]
needs: [diffusion/ddpm]
equals:
  what: diffusers.ScoreSdeVeScheduler and torchdiffeq.odeint
  within: 1e-9
  test: test_predictor_and_corrector_are_those_of_diffusers
notation:
  'f': drift
  'g': rate
  '\sigma(t)': std
  '\beta(t)': beta
  's_\theta': score
  'x(t)': x
  'x(0)': x0
  'z': z
  'r': snr
figure:
  file: figures/score_sde.svg
  alt: >-
    Two panels with the same start, three clusters on the left and one broad cloud on the right. In
    the upper one eight paths are ragged, in the lower one they are smooth and do not cross. Below,
    one step of the predictor, which lowers the time, and one of the corrector, which does not.
  caption: >-
    Eight points on a line, from noise at `t` = 1 on the right to data on the left. Above by
    `predict` with fresh noise, below by `flow` without any. Both use the exact score of
    `Mixture`, and at each time both have the same distribution.
metrics:
  score_error: {name: "squared error of the learned score, times the variance", better: lower}
  likelihood_gap: {name: error of a point's log-likelihood, unit: nats, better: lower}
  oracle_gap: {name: that error with the exact score, unit: nats, better: lower}
  nll: {name: negative log-likelihood of data, unit: nats a point, better: lower}
  entropy: {name: the same by the exact density, unit: nats a point, better: lower}
  predictor: {name: energy distance of samples by the predictor alone, better: lower}
  corrector: {name: energy distance of samples by the corrector alone, better: lower}
  corrected: {name: energy distance of samples by both, better: lower}
  flow: {name: energy distance of samples by the flow, better: lower}
  oracle_predictor: {name: "by the predictor alone, with the exact score", better: lower}
  oracle_corrector: {name: "by the corrector alone, with the exact score", better: lower}
  oracle_corrected: {name: "by predictor and corrector, with the exact score", better: lower}
  oracle_flow: {name: "by the flow, with the exact score", better: lower}
  floor: {name: energy distance of two sets of data, better: lower}
  loss: {name: training loss, better: lower}
runs:
  VP: ""
  VE: --process ve
  VP without weights: --no-weighted
shows:
  samples: >-
    where points fall: the data; samples by the predictor alone; by predictor and corrector; by the
    corrector alone; by the flow
  densities: >-
    the exact density of the data, and beside it what the learned flow says at each point, which
    leaves bridges between the clusters
claims:
  - what: with as many evaluations, predicting and correcting is better than correcting alone
    paper: "section 4.2, of the VE process on CIFAR-10"
    run: VE
    metric: corrected
    against: corrector
    margin: 0.002
    note: "sure from the start: a correction brings points 5 % closer, while the noise falls by 16 %
      in each of the 40 steps"
  - what: with as many evaluations, correcting is worth more than finer steps of the predictor
    paper: "section 4.2, of the VE process on CIFAR-10"
    run: VE
    metric: corrected
    against: predictor
    margin: 0.002
    note: "nor with the exact score: in a plane, 40 steps of the predictor leave nothing to correct;
      the paper's finer steps had to interpolate between the noise levels of its training"
  - what: the flow computes the likelihood of a point
    paper: "section 4.3"
    run: VP
    metric: oracle_gap
    than: 0.05
    margin: 0
  - what: the same with the learned score
    paper: "section 4.3"
    run: VP
    metric: likelihood_gap
    than: 0.1
    margin: 0
    note: "the solver is the same, so this is the error of the score, which small noise magnifies"
  - what: the loss should weigh each time by the variance of its noise
    paper: "section 3.3, as a choice"
    run: VP
    control: VP without weights
    metric: likelihood_gap
    margin: 0.1
  - what: a FID of 2.20 and 2.99 bits a dimension
    paper: "abstract, on CIFAR-10, by two different models"
    note: "not run here: photographs want a large network"
deviations:
  - what: the noise of VE at time 0
    paper: none, since the variance at t is less by that at 0
    ours: that of the smallest deviation
    others: "the authors' code and diffusers: the same"
    matters: "hardly: data are seen through noise with a deviation of 0.01"
    test: test_exploding_noise_starts_from_its_smallest_deviation
  - what: which comes first in a step
    paper: the predictor
    ours: the corrector
    others: "the authors' code and diffusers' pipeline: the corrector"
    matters: "at both ends only: the last step is a predictor's and can leave out its noise"
    test: test_the_order_matters_at_both_ends_only
  - what: the steps of the VP predictor
    paper: those of DDPM, whose noise has the variance beta / N
    ours: those that the process really takes between two times
    matters: "with few steps: beta / N is 1 and more for less than 20 of them"
    test: test_many_small_steps_are_those_of_ddpm
mistakes:
  - what: the whole of the score in the flow, as in the reverse process
    mutant: the flow takes the whole score
    caught: test_the_flow_keeps_the_marginals
  - what: the deviation where the variance belongs
    mutant: the deviation in place of the variance
    caught: test_predictor_and_corrector_are_those_of_diffusers
worked:
  - at: VP
    told: >-
      How much of a point is left at three times, how much noise has come, and the speed at which
      it comes.
    code: |-
      t = torch.tensor([0.0, 0.5, 1.0])
      VP().kernel(t)[0]
      VP().kernel(t)[1]
      VP().rate(t)
exercises: [reverse, flow, correct]
---

# Diffusion as a differential equation

Two kinds of model add noise to data and learn the way back. [DDPM](ddpm.py) shrinks an image while
it adds noise, so that the variance stays the same. Score matching with Langevin dynamics (SMLD)
lets the
variance explode. Both take a thousand steps, and it looks as if the number of steps belonged to the
model. In this paper it does not. In the limit of small steps both are stochastic differential
equations, and what is learned is one function of a point and a time: the *score*, the gradient of
the log-density of noisy data. How that is turned into samples is a matter of numerical methods. We
can take few steps or many, correct them, or leave out chance altogether, and then the model tells
the likelihood of each point.

Whether any of it is true can be checked where the score is known. So our data are a mixture of
Gaussians, which stays one when noise is added. Each number below stands beside the one with the
exact score.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | points in a batch | `K` | Gaussians of the mixture |
| `D` | coordinates of a point | `E` | features of the time |
| `N` | points that are judged | `M` | points of another set |
| `S` | pixels along a side of a picture | | |
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from papers.common import Options, Run, main
from papers.common.data.grids import enlarged, grid

Score = Callable[[Tensor, Tensor], Tensor]
# The scores of small noise are steep, so that neither training nor sampling goes down to time 0.
EARLIEST = 1e-3


class Process(Protocol):
    r"""
    ## From data to noise

    Data $x(0)$ drift and are shaken, from time 0 to time 1 (eq. 5), where $w$ is Brownian motion:

    $$
    \mathrm{d}x = f(x, t)\, \mathrm{d}t + g(t)\, \mathrm{d}w.
    $$

    Where $f$ is linear in $x$, what becomes of a point is a Gaussian whose `kernel` has a closed
    form, a factor and a deviation. So training can jump to any time, as in DDPM.
    """

    def drift(self, x: Tensor, t: Tensor) -> Tensor: ...

    def rate(self, t: Tensor) -> Tensor: ...

    def kernel(self, t: Tensor) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True)
class VE:
    r"""
    ### Variance that explodes

    The points stay where they are, in ever more noise (eq. 9). The deviation $\sigma(t)$ grows by
    equal factors in equal times, from below what we can see to more than the data spread:

    $$
    \mathrm{d}x = \sqrt{\frac{\mathrm{d}[\sigma^2(t)]}{\mathrm{d}t}}\, \mathrm{d}w,
    \qquad \sigma(t) = \sigma_{\min} \Big( \frac{\sigma_{\max}}{\sigma_{\min}} \Big)^t.
    $$
    """

    low: float = 0.01
    high: float = 10.0

    def drift(self, x: Tensor, t: Tensor) -> Tensor:
        return torch.zeros_like(x)  # (B, D)

    def rate(self, t: Tensor) -> Tensor:
        return self.kernel(t)[1] * math.sqrt(2 * math.log(self.high / self.low))  # (B,)

    def kernel(self, t: Tensor) -> tuple[Tensor, Tensor]:
        std = self.low * (self.high / self.low) ** t  # (B,)
        return torch.ones_like(t), std  # (B,), (B,)


@dataclass(frozen=True)
class VP:
    r"""
    ### Variance that is preserved

    The points shrink at the rate at which noise comes, so data of variance 1 keep it (eq. 11):

    $$
    \mathrm{d}x = -\tfrac12 \beta(t)\, x\, \mathrm{d}t + \sqrt{\beta(t)}\, \mathrm{d}w.
    $$

    This is DDPM in the limit of many steps, with the same $\beta$ for a thousand of them: it grows
    linearly from 0.1 to 20. What is left of a point is $e^{-\frac12 \int_0^t \beta}$.
    """

    first: float = 0.1
    last: float = 20.0

    def drift(self, x: Tensor, t: Tensor) -> Tensor:
        return -0.5 * self.rate(t)[:, None] ** 2 * x  # (B, D)

    def rate(self, t: Tensor) -> Tensor:
        beta = self.first + t * (self.last - self.first)  # (B,)
        return beta.sqrt()  # (B,)

    def kernel(self, t: Tensor) -> tuple[Tensor, Tensor]:
        total = t * self.first + t**2 * (self.last - self.first) / 2  # (B,)
        # For small t, 1 - exp(-total) would lose digits.
        return (-total / 2).exp(), (-torch.expm1(-total)).sqrt()  # (B,), (B,)


def between(process: Process, t: Tensor, to: Tensor) -> tuple[Tensor, Tensor]:
    r"""
    ### From one time to another

    The kernel from an earlier time `to` until `t`: by which factor a point shrinks on the way, and
    the deviation of the noise that comes. Variances add up, after the older one has shrunk as well.
    """
    (scale, std), (scale_to, std_to) = process.kernel(t), process.kernel(to)  # (B,)
    shrink = scale / scale_to  # (B,)
    return shrink, (std**2 - (shrink * std_to) ** 2).sqrt()  # (B,), (B,)


def reverse(process: Process, score: Score, x: Tensor, t: Tensor) -> Tensor:
    r"""
    ## Back from noise to data

    Run backwards, a diffusion is one again (Anderson 1982), with another drift (eq. 6):

    $$
    \mathrm{d}x = \big[ f(x, t) - g(t)^2\, \nabla_x \log p_t(x) \big]\, \mathrm{d}t
    + g(t)\, \mathrm{d}\bar w.
    $$

    Here $\mathrm{d}t$ is negative, so the second term pushes towards where points are dense. The
    score of noisy data is all that is unknown. This returns the bracket.
    """
    return process.drift(x, t) - process.rate(t)[:, None] ** 2 * score(x, t)  # (B, D)


def flow(process: Process, score: Score, x: Tensor, t: Tensor) -> Tensor:
    r"""
    ### Without chance

    Noise spreads a density out. A drift of $-\tfrac12 g^2$ times the score, away from where points
    are dense, does just the same. So there is an ordinary differential equation, the *probability
    flow*, whose points have the same distribution
    at each time as those of the process (eq. 13):

    $$
    \frac{\mathrm{d}x}{\mathrm{d}t} = f(x, t) - \tfrac12\, g(t)^2\, \nabla_x \log p_t(x).
    $$

    It leads both ways, from data to a code and back. [DDIM](ddim.py) turned out to be a method to
    solve it.
    """
    return process.drift(x, t) - 0.5 * process.rate(t)[:, None] ** 2 * score(x, t)  # (B, D)


def matching_loss(
    score: Score, process: Process, weighted: bool, x0: Tensor, t: Tensor, z: Tensor
) -> Tensor:
    r"""
    ## Learning the score

    The score of $p_t$ is unknown, but that of the kernel around one point is simple, and the former
    is the mean of the latter over the points that may have led to $x(t)$. A squared error finds
    means, so we regress on what we know (eq. 7, *denoising score matching*):

    $$
    \begin{aligned}
    \mathbb{E}_{t,\, x(0),\, x(t)} \Big[ \lambda(t)\, \big\lVert &s_\theta(x(t), t) \\
    &- \nabla_{x(t)} \log p_{0t}(x(t) \mid x(0)) \big\rVert^2 \Big].
    \end{aligned}
    $$

    With $x(t) = a\, x(0) + \sigma z$ the target is $-z / \sigma$, which is large where there is
    little noise. The paper's weight is $\lambda \propto \sigma^2$, and makes all times count alike.
    Then the loss is that of DDPM, the error of the predicted noise. Without `weighted`, $\lambda$
    is 1.
    """
    scale, std = (part[:, None] for part in process.kernel(t))  # (B, 1)
    error = score(scale * x0 + std * z, t) + z / std  # (B, D)
    return (std * error if weighted else error).square().sum(-1).mean()


def predict(process: Process, s: Tensor, x: Tensor, t: Tensor, to: Tensor, z: Tensor) -> Tensor:
    r"""
    ## Samplers

    ### The predictor

    What the process did from `to` until `t` is undone. A point grows by as much as it shrank, and
    moves along its score $s$, times the variance of the noise. Then noise of that variance is
    added. The paper calls this the *reverse diffusion sampler*.
    """
    shrink, std = (part[:, None] for part in between(process, t, to))  # (B, 1)
    return (2 - shrink) * x + std**2 * s + std * z  # (B, D)


def correct(s: Tensor, x: Tensor, z: Tensor, snr: float) -> Tensor:
    r"""
    ### The corrector

    A step of a predictor leaves points a little off the distribution that belongs to their time.
    But we have the score of that distribution, and there are ways to sample from it with nothing
    else: *Langevin dynamics* moves points along the score and shakes them,

    $$
    x \leftarrow x + \epsilon\, s_\theta(x, t) + \sqrt{2 \epsilon}\, z.
    $$

    The time stays, so errors that were made before fade. The step size $\epsilon$ makes the first
    movement $r$ times as long as the second, with lengths averaged over the batch:

    $$
    \epsilon = 2 \big( r\, \lVert z \rVert / \lVert s_\theta \rVert \big)^2.
    $$

    That is the paper's algorithm 4, for VE. Algorithm 5, for VP, takes $1 - \beta_i$ of it. With a
    thousand steps that is hardly less, and we leave it out.
    """
    size = 2 * (snr * z.norm(dim=-1).mean() / s.norm(dim=-1).mean()) ** 2
    return x + size * s + (2 * size).sqrt() * z  # (B, D)


@torch.no_grad()
def sample(
    process: Process,
    score: Score,
    x: Tensor,
    times: Tensor,
    snr: float,
    chance: torch.Generator,
    predicts: bool = True,
) -> Tensor:
    r"""
    ### One after the other

    From noise `x` through falling `times`, with a correction before each prediction unless `snr`
    is 0. The last prediction adds no noise, since nothing follows that could remove it. DDPM
    predicts only. SMLD corrects only, as we do without `predicts`.
    """
    for now, then in itertools.pairwise(times):
        t, to = now.expand(len(x)), then.expand(len(x))  # (B,), (B,)
        if snr:
            z = torch.randn(x.shape, generator=chance, dtype=x.dtype).to(x.device)  # (B, D)
            x = correct(score(x, t), x, z, snr)  # (B, D)
        if predicts:
            z = torch.randn(x.shape, generator=chance, dtype=x.dtype).to(x.device)  # (B, D)
            fresh = z if then > times[-1] else torch.zeros_like(z)  # (B, D)
            x = predict(process, score(x, t), x, t, to, fresh)  # (B, D)
    return x


# Of a point and a time: how fast the point moves, and how fast that spreads points out.
Field = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def heun(field: Field, x: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
    r"""
    ### Solving the flow

    Heun's method looks at both ends of a step, and goes by the mean of the two velocities. We also
    sum up the second thing that the field gives.
    """
    total = torch.zeros_like(x[:, 0])  # (B,)
    for t, to in itertools.pairwise(times):
        velocity, growth = field(x, t.expand(len(x)))  # (B, D), (B,)
        ahead = x + (to - t) * velocity  # (B, D)
        velocity_to, growth_to = field(ahead, to.expand(len(x)))  # (B, D), (B,)
        x = x + (to - t) / 2 * (velocity + velocity_to)  # (B, D)
        total = total + (to - t) / 2 * (growth + growth_to)  # (B,)
    return x, total  # (B, D), (B,)


def moving(process: Process, score: Score, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    r"""The flow as a field for those who don't ask for likelihoods."""
    return flow(process, score, x, t), torch.zeros_like(t)  # (B, D), (B,)


def spreading(process: Process, score: Score, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    r"""
    ## The likelihood of a point

    A flow that spreads points out makes them less dense, at the rate of its divergence
    $\nabla \cdot \tilde f$, where $\tilde f$ is the right side of eq. 13. At time 1 the density is
    known, a plain Gaussian. So we follow a point there, and sum up on the way:

    $$
    \log p_0(x(0)) = \log p_1(x(1)) + \int_0^1 \nabla \cdot \tilde f(x(t), t)\, \mathrm{d}t.
    $$

    The divergence is the trace of a matrix of derivatives, one pass backwards for each of its `D`
    rows. With two coordinates we can afford all. With the thousands of an image we can't, and the
    paper takes products with random vectors, whose mean is the trace, too.
    """
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        velocity = flow(process, score, x, t)  # (B, D)
        # Points don't see each other, so that the gradient of a sum has a row for each of them.
        rows = [torch.autograd.grad(part.sum(), x, retain_graph=True)[0] for part in velocity.T]
    jacobian = torch.stack(rows, 1)  # (B, D, D)
    return velocity.detach(), jacobian.diagonal(dim1=1, dim2=2).sum(-1)  # (B, D), (B,)


def log_likelihood(process: Process, score: Score, x: Tensor, times: Tensor) -> Tensor:
    r"""
    ### Along the way to the noise

    `times` rise from nearly 0 to 1. There VE has not quite forgotten its data: with a deviation of
    10 against their 1, taking it for a Gaussian around 0 is a small error.
    """
    noise, total = heun(partial(spreading, process, score), x, times)  # (B, D), (B,)
    _, std = process.kernel(times[-1:])  # (1,)
    surprise = (noise / std).square() + 2 * std.log() + math.log(2 * math.pi)  # (B, D)
    return total - surprise.sum(-1) / 2  # (B,)


@dataclass(frozen=True)
class Mixture:
    r"""
    ## Data whose score is known

    A mixture of `K` round Gaussians, each with a weight, a mean and a deviation. Whatever the
    process, noisy data are a mixture again: means shrink, and variances add up.
    """

    weights: Tensor
    means: Tensor
    deviations: Tensor

    def draw(self, N: int, chance: torch.Generator) -> Tensor:
        kinds = torch.multinomial(self.weights, N, replacement=True, generator=chance)  # (N,)
        z = torch.randn(N, self.means.shape[1], generator=chance)  # (N, D)
        return self.means[kinds] + self.deviations[kinds, None] * z  # (N, D)

    def parts(self, process: Process, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        r"""
        Of each Gaussian: how dense it is at a point, as a logarithm and with its weight; the way
        from the point to its mean; its variance.
        """
        scale, std = (part[:, None] for part in process.kernel(t))  # (B, 1)
        variance = (scale * self.deviations) ** 2 + std**2  # (B, K)
        ways = scale[..., None] * self.means - x[:, None]  # (B, K, D)
        density = (2 * math.pi * variance).log() * x.shape[1] + ways.square().sum(-1) / variance
        return self.weights.log() - density / 2, ways, variance  # (B, K), (B, K, D), (B, K)

    def log_density(self, process: Process, x: Tensor, t: Tensor) -> Tensor:
        return self.parts(process, x, t)[0].logsumexp(-1)  # (B,)

    def score(self, process: Process, x: Tensor, t: Tensor) -> Tensor:
        r"""
        ### Its score

        Each Gaussian pulls towards its mean, the more the narrower it is, and counts by the
        probability that the point is one of its own:

        $$
        \nabla_x \log p_t(x) = \sum_k P(k \mid x)\, \frac{a\, \mu_k - x}{a^2 s_k^2 + \sigma^2}.
        $$
        """
        logs, ways, variance = self.parts(process, x, t)  # (B, K), (B, K, D), (B, K)
        share = logs.softmax(-1) / variance  # (B, K)
        return (share[..., None] * ways).sum(1)  # (B, D)


def clusters() -> Mixture:
    r"""
    Five of them on a ring, not alike: weights that differ by a factor of six, and deviations by
    three.
    """
    angles = 2 * math.pi * torch.arange(5) / 5
    weights = torch.tensor([0.05, 0.15, 0.3, 0.3, 0.2])  # (K,)
    deviations = torch.tensor([0.1, 0.2, 0.1, 0.3, 0.15])  # (K,)
    return Mixture(weights, 1.3 * torch.stack([angles.cos(), angles.sin()], -1), deviations)


class Network(nn.Module):
    r"""
    ## The network

    It predicts the noise, and the score is that over $-\sigma$. Its input is scaled to a variance
    near 1, whatever the process has done to it, and the time comes as waves of the logarithm of
    $\sigma$, which differs most where the work is.
    """

    pitches: Tensor

    def __init__(self, process: Process, width: int, D: int = 2, E: int = 16) -> None:
        super().__init__()
        self.process = process
        self.register_buffer("pitches", 2.0 ** (torch.arange(E // 2) / 2 - 2))
        self.layers = nn.Sequential(
            nn.Linear(D + E, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(),
            nn.Linear(width, width), nn.SiLU(), nn.Linear(width, D),
        )  # fmt: skip

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        scale, std = (part[:, None] for part in self.process.kernel(t))  # (B, 1)
        angles = std.log() * self.pitches  # (B, E/2)
        waves = torch.cat([angles.sin(), angles.cos()], -1)  # (B, E)
        inputs = torch.cat([x / (scale**2 + std**2).sqrt(), waves], -1)  # (B, D+E)
        return -self.layers(inputs) / std  # (B, D)


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    A small network suffices for points in a plane.
    """

    process: Literal["vp", "ve"] = "vp"
    "vp preserves the variance, ve lets it explode"
    weighted: bool = True
    "each time counts by the variance of its noise"
    width: int = 128
    "of the network's layers"
    batch: int = 512
    "points in a batch"
    steps: int = 3000
    "training steps"
    lr: float = 3e-3
    "learning rate of Adam, which falls to zero"
    evaluations: int = 40
    "of the network, for a sample"
    snr: float = 0.16
    "of the corrector: the paper's for CIFAR-10"
    solving: int = 100
    "steps along the flow, for a likelihood"
    number: int = 2000
    "samples that are judged"


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    Fresh points in every step, so there is nothing to overfit.
    """
    run = Run(config, options)
    data, process = clusters(), VP() if config.process == "vp" else VE()
    network = Network(process, config.width)
    model = run.prepare(network)
    optimizer = torch.optim.Adam(model.parameters(), config.lr, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / config.steps)

    for _ in run.steps(config.steps, model=model, optimizer=optimizer, schedule=schedule):
        x0 = data.draw(config.batch, run.generator)  # (B, D)
        t = EARLIEST + (1 - EARLIEST) * torch.rand(config.batch, generator=run.generator)
        z = torch.randn(x0.shape, generator=run.generator)  # (B, D)
        x0, t, z = (run.share(drawn).to(run.device) for drawn in (x0, t, z))
        with run.autocast():
            loss = matching_loss(model, process, config.weighted, x0, t, z)
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer, clip=1.0)
        schedule.step()
        run.log(loss=loss)

    return run.finish(**judge(run, process, network.cpu().eval(), data))


def energy_distance(a: Tensor, b: Tensor) -> Tensor:
    r"""
    ## How far samples are from data

    Points of two sets lie further apart than points of one, unless the two have the same
    distribution. The *energy distance* is by how much: twice the mean distance between the sets,
    less that within each. We leave out the distance of a point to itself, so that the mean is right
    with few points, too. It may then come out slightly negative.
    """
    N, M = len(a), len(b)
    within_a = torch.cdist(a, a).sum() / (N * (N - 1))
    within_b = torch.cdist(b, b).sum() / (M * (M - 1))
    return 2 * torch.cdist(a, b).mean() - within_a - within_b


def judge(run: Run, process: Process, model: nn.Module, data: Mixture) -> dict[str, float]:
    r"""
    ## Learned against exact

    All samplers start from the same noise, and each may evaluate the score equally often.
    Predictor and corrector alone take as many steps, both together and Heun's method half of that.
    They do it with the learned score, and again with the exact one, which leaves the errors of the
    steps alone. The floor is the distance of two sets of data.

    Likelihoods are compared point by point.

    With VE the corrector alone is lost. A correction brings points about $2 r^2$ closer, which is 5
    %, and the noise falls three times as fast. With VP it starts near the data, and is merely
    worse. With a predictor it has little left to do: in a plane the predictor's steps are good
    enough, with the learned score and with the exact one, and half as many steps cost more than
    corrections bring. The likelihood is the sharper test. The same solver that is right with the
    exact score is off by a quarter of a nat with the learned one, although its samples can hardly
    be told from data.
    """
    config: Config = run.config
    exact, chance, N = partial(data.score, process), run.generator, config.number
    early = torch.full((N,), EARLIEST)  # (N,)
    x0, other = (data.draw(N, chance) for _ in range(2))  # (N, D), (N, D)
    _, std = process.kernel(torch.ones(1))  # (1,)
    start = std * torch.randn(x0.shape, generator=chance)  # (N, D)
    evaluations = config.evaluations
    whole = torch.linspace(1, EARLIEST, evaluations + 1)
    half = torch.linspace(1, EARLIEST, evaluations // 2 + 1)
    measured, pictures = {"floor": energy_distance(other, x0).item()}, [x0]
    for prefix, score in (("", model), ("oracle_", exact)):
        drawn = {
            "predictor": sample(process, score, start, whole, 0.0, chance),
            "corrected": sample(process, score, start, half, config.snr, chance),
            "corrector": sample(process, score, start, whole, config.snr, chance, predicts=False),
            "flow": solved(process, score, start, half),
        }
        pictures += drawn.values()
        measured |= {prefix + name: energy_distance(x, x0).item() for name, x in drawn.items()}
    run.show("samples", grid(enlarged(torch.stack([counted(x) for x in pictures[:5]]), 192), 5, 4))

    scale, std = process.kernel(early)  # (N,), (N,)
    x = scale[:, None] * x0 + std[:, None] * torch.randn(x0.shape, generator=chance)  # (N, D)
    points, times = x[:1000], torch.linspace(EARLIEST, 1, config.solving + 1)
    truth = data.log_density(process, points, early[:1000])  # (M,)
    for name, score in (("likelihood_gap", model), ("oracle_gap", exact)):
        told = log_likelihood(process, score, points, times)  # (M,)
        measured[name] = (told - truth).abs().mean().item()
        if score is model:
            measured |= {"nll": -told.mean().item(), "entropy": -truth.mean().item()}
    run.show("densities", densities(process, model, data, config.solving // 2))
    return measured | {"score_error": score_error(process, model, data, x0, chance)}


@torch.no_grad()
def solved(process: Process, score: Score, x: Tensor, times: Tensor) -> Tensor:
    return heun(partial(moving, process, score), x, times)[0]  # (N, D)


@torch.no_grad()
def score_error(
    process: Process, model: nn.Module, data: Mixture, x0: Tensor, chance: torch.Generator
) -> float:
    r"""
    ### Of the score itself

    Weighted as the loss is. The loss can't fall to zero, since a noisy point does not tell what
    noise it holds. What lies above its least value is this error.
    """
    t = EARLIEST + (1 - EARLIEST) * torch.rand(len(x0), generator=chance)  # (N,)
    scale, std = (part[:, None] for part in process.kernel(t))  # (N, 1)
    x = scale * x0 + std * torch.randn(x0.shape, generator=chance)  # (N, D)
    error = std * (model(x, t) - data.score(process, x, t))  # (N, D)
    return error.square().sum(-1).mean().item()


def counted(x: Tensor, side: int = 48, reach: float = 2.4) -> Tensor:
    r"""
    ### Pictures

    How many points fall into each pixel of a square, brighter by the root, so that the small
    cluster is seen as well.
    """
    places = ((x / reach + 1) / 2 * side).floor().long()  # (N, D)
    inside = places[((places >= 0) & (places < side)).all(-1)]
    # The second coordinate upwards.
    index = (side - 1 - inside[:, 1]) * side + inside[:, 0]
    counts = torch.bincount(index, minlength=side**2).float().view(1, side, side)  # (1, S, S)
    return (counts / counts.max().clamp(min=1)).sqrt()  # (1, S, S)


def densities(
    process: Process, model: nn.Module, data: Mixture, steps: int, side: int = 48
) -> Tensor:
    along = 2.4 * ((torch.arange(side) + 0.5) / side * 2 - 1)  # (S,)
    points = torch.cartesian_prod(along.flip(0), along).flip(-1)  # (S**2, D)
    truth = data.log_density(process, points, torch.full((len(points),), EARLIEST))  # (S**2,)
    times = torch.linspace(EARLIEST, 1, steps + 1)
    learned = log_likelihood(process, model, points, times)  # (S**2,)
    both = torch.stack([truth, learned]).exp().view(2, 1, side, side)  # (2, 1, S, S)
    return grid(enlarged((both / both[0].max()).clamp(0, 1).sqrt(), 192), 2, 4)


# ## What changed since
#
# - **Better times and solvers.** EDM (Karras 2022, [arXiv](https://arxiv.org/abs/2206.00364)) takes
#   process, times, solver and network apart, and finds that the flow with Heun's method needs a few
#   dozen evaluations.
# - **Weights for likelihood.** With $\lambda = g^2$ the loss bounds the negative log-likelihood
#   (Song 2021, [arXiv](https://arxiv.org/abs/2101.09258)).
# - **Flows that are learned directly.** Flow matching (Lipman 2022,
#   [arXiv](https://arxiv.org/abs/2210.02747)) regresses on the velocity, and has no process with
#   chance behind it.
# - **One step.** Consistency models (Song 2023, [arXiv](https://arxiv.org/abs/2303.01469)) learn
#   where a path of the flow ends.

if __name__ == "__main__":
    main(train)
