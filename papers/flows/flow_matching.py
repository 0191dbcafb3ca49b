r"""
---
title: Flow matching
summary: Learn the velocity that carries noise to data, by regression on straight lines.
paper: Flow Matching for Generative Modeling
authors: [Yaron Lipman, Ricky T. Q. Chen, Heli Ben-Hamu, Maximilian Nickel, Matt Le]
year: 2022
arxiv: "2210.02747"
acronyms: [CFM, rectified flow, reflow, optimal transport path, continuous normalizing flow,
  v-prediction, velocity, parametrization]
needs: [diffusion/ddpm]
equals:
  what: diffusers' FlowMatchEulerDiscreteScheduler and torchdiffeq's Euler steps
  within: 1e-5
  test: test_steps_are_those_of_diffusers
notation:
  'x_0': noise
  'x_1': data
  '\sigma_\text{min}': least
  'a_t': a
  'b_t': b
  'v_\theta': model
  'c_k': centres
figure:
  file: figures/flow_matching.svg
  alt: >-
    Two pictures side by side. On the left, many straight lines lead from points of noise to two
    points of data, and cross. On the right, curves from the same points of noise follow the average
    velocity. They do not cross, bend away from the middle, and end at the points of data.
  caption: >-
    Left, what a step of the training sees: noise and data drawn independently. Right, from the same
    noise, `solve` with the velocity that is best for all lines at once, `Mixture.velocity`.
metrics:
  error: {name: squared error of the learned velocity, unit: share of the exact one's square,
    better: lower}
  straightness: {name: squared difference of the velocity from that of the straight line,
    better: lower}
  one: {name: sliced Wasserstein distance after one step, better: lower}
  four: {name: the same after four steps, better: lower}
  four_exact: {name: the same with the exact velocity, better: lower}
  many: {name: the same after fifty steps, better: lower}
  floor: {name: the same of two sets of data, better: lower}
  loss: {name: training loss, better: lower}
runs:
  reflow: ""
  one training, twice as long: --no-reflow --steps 5000
  diffusion path: --no-reflow --steps 5000 --path diffusion
shows:
  samples: >-
    paths of 60 points, what is drawn in one, four and fifty steps, and the data
claims:
  - what: the learned velocity is close to the exact one
    paper: "theorem 2 says that it is what the loss asks for"
    run: one training, twice as long
    metric: error
    than: 0.05
    margin: 0
  - what: in four steps, straight paths give better samples than a path of diffusion
    paper: "abstract: faster training and sampling; figure 4 shows few steps, in a plane"
    run: one training, twice as long
    control: diffusion path
    metric: four
    margin: 0.02
    note: "they are better with every seed, by half of the margin; with the exact velocity the
      difference is about the margin"
  - what: a second training on the pairs of the first makes paths straighter
    paper: "Liu 2022, abstract: increasingly straight paths"
    run: reflow
    control: one training, twice as long
    metric: straightness
    margin: 0.2
  - what: and then a single step is of use
    paper: "Liu 2022, abstract: high quality results even with a single Euler step"
    run: reflow
    control: one training, twice as long
    metric: one
    margin: 0.2
  - what: on ImageNet, better likelihood and samples than diffusion
    paper: abstract
    note: "not run here"
deviations:
  - what: the spread that is left at the data
    paper: "sigma_min, small (eq. 20)"
    ours: zero, which the functions take as a parameter
    others: "Liu 2022 and diffusers: zero"
    matters: "no: our data have a spread of their own"
    test: test_the_straight_path_is_that_of_the_paper
  - what: which end is which
    paper: noise at 0, data at 1
    ours: the same
    others: "diffusers, DDPM: data at 0, and diffusers' velocity points to the noise"
    matters: "for published weights: t and the sign are turned around"
    test: test_steps_are_those_of_diffusers
  - what: the end of a path of diffusion
    paper: "stops at 1 - 0.00001, as the velocity has no bound at the data"
    ours: we stop at 0.999
    matters: "yes: the loss would have no bound either"
    test: test_the_diffusion_path_has_no_bound_at_its_end
mistakes:
  - what: "regressing on data alone, without the noise that it came from"
    mutant: the target forgets the noise
    caught: test_the_loss_is_that_of_the_paper
  - what: "pairing the second time by chance, as in the first training"
    mutant: pairs are torn apart
    caught: test_pairs_are_the_ends_of_paths
worked:
  - at: unmix
    told: >-
      A point of data 2 and a point of noise -1, at a quarter of the way. First x and the velocity,
      then what follows from the two: the data, and the noise.
    code: |-
      t, data, noise = torch.tensor([[0.25]]), torch.tensor([[2.0]]), torch.tensor([[-1.0]])
      a, b, da, db = straight(t)
      x, velocity = a * data + b * noise, da * data + db * noise
      x, velocity
      unmix("velocity", velocity, x, straight(t))
exercises: [Mixture.velocity, solve, unmix]
---

# Flow matching

[DDPM](../diffusion/ddpm.py) adds noise step by step, and [DDIM](../diffusion/ddim.py) found that
one may go back along an ordinary differential equation. Then why not begin with the equation? Let a
point start as noise and move with a velocity $v_\theta(x, t)$. We only have to learn velocities
that carry the distribution of noise to that of data.

The obvious way to train one is to solve the equation and compare where it ends, which takes
hundreds of passes for each step of training. This paper needs none: draw a point of noise and a
point of data, connect them by a line, and regress on the line's velocity. Lines cross, so no
function can follow them all. But the average of their velocities at each point is just what
carries noise to data.

Here we know the data's density, a mixture of eight Gaussians, and so the exact average velocity.
What the network has learned can be held against it. The same idea came with a second one in
*rectified flow* (Xingchao Liu, Chengyue Gong and Qiang Liu 2022,
[arXiv](https://arxiv.org/abs/2209.03003)): train again on the pairs that the first flow connects.
Their lines hardly cross any more, and the paths come out nearly straight.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | points in a batch | `D` | coordinates of a point |
| `K` | Gaussians of the mixture | `N` | points that are drawn |
| `P` | directions | `S` | pixels of a side |
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from papers.common import Options, Run, main
from papers.common.data.grids import grid

Velocity = Callable[[Tensor, Tensor], Tensor]
# What x is made of at a time, and how fast that changes: a, b, and their derivatives.
Mix = tuple[Tensor, Tensor, Tensor, Tensor]


def straight(t: Tensor, least: float = 0.0) -> Mix:
    r"""
    ## A path

    At the time $t$ a point is a mixture of data and noise, $x_t = a_t x_1 + b_t x_0$, and moves
    with the velocity $a'_t x_1 + b'_t x_0$. On the paper's *optimal transport path* (eq. 20 to 22)

    $$
    a_t = t, \qquad b_t = 1 - (1 - \sigma_\text{min})\, t.
    $$

    The velocity is the same all the way. With $\sigma_\text{min} = 0$ it is $x_1 - x_0$, and the
    path a straight line at constant speed.
    """
    one = torch.ones_like(t)
    return t, 1 - (1 - least) * t, one, -(1 - least) * one


# Of the path of diffusion: how much noise is added a unit of time, from data to noise.
FIRST, LAST = 0.1, 20.0


def diffusion(t: Tensor) -> Mix:
    r"""
    ### The path of diffusion

    For comparison, DDPM's process in continuous time: $b_t^2 = 1 - a_t^2$, and $a_t$ falls with a
    rate $\beta$ that grows from 0.1 to 20 as we go from data to noise. For the first half of the
    way a point is mostly noise, and then it turns into data quickly.
    """
    left = 1 - t
    a = (-0.5 * (FIRST * left + 0.5 * left**2 * (LAST - FIRST))).exp()
    da = 0.5 * (FIRST + left * (LAST - FIRST)) * a
    b = (1 - a**2).sqrt()
    return a, b, da, -a * da / b


Kind = Literal["noise", "data", "velocity", "v"]


def told_by(kind: Kind, mix: Mix) -> tuple[Tensor, Tensor]:
    r"""
    ## What a network may predict

    | prediction | of data | of noise | where it comes from |
    |---|---|---|---|
    | `noise`, $\epsilon$ | 0 | 1 | DDPM |
    | `data`, $x_0$ in DDPM | 1 | 0 | the posterior's mean |
    | `velocity`, $u$ | $a'_t$ | $b'_t$ | this paper |
    | `v` | $-b_t$ | $a_t$ | progressive distillation |

    They are all mixtures of data and noise, and $x_t$ is another one. From two mixtures follow the
    two parts, so a network for one of them is a network for all. What differs is the weight that
    errors have at each $t$. Where $a_t^2 + b_t^2 = 1$, as on the path of diffusion, the two are
    $\cos \phi$ and $\sin \phi$, and $v$ is the derivative of $x$ by that angle (Salimans and Ho
    2022,
    [arXiv](https://arxiv.org/abs/2202.00512)).
    """
    a, b, da, db = mix
    zero, one = torch.zeros_like(a), torch.ones_like(a)
    parts = {"noise": (zero, one), "data": (one, zero), "velocity": (da, db), "v": (-b, a)}
    return parts[kind]


def unmix(kind: Kind, told: Tensor, x: Tensor, mix: Mix) -> tuple[Tensor, Tensor]:
    r"""
    ### Data and noise

    Two equations with two unknowns, by Cramer's rule:

    $$
    \begin{aligned}
    a\, x_1 + b\, x_0 &= x \\
    p\, x_1 + q\, x_0 &= \text{what is told.}
    \end{aligned}
    $$

    Where $aq = bp$ they say the same, and no data follow: at $t = 0$, say, $x$ is the noise, and to
    be told it again does not help.
    """
    (a, b, *_), (p, q) = mix, told_by(kind, mix)
    determinant = a * q - b * p
    return (q * x - b * told) / determinant, (a * told - p * x) / determinant  # (B, D), (B, D)


def translated(kind: Kind, to: Kind, told: Tensor, x: Tensor, mix: Mix) -> Tensor:
    data, noise = unmix(kind, told, x, mix)
    p, q = told_by(to, mix)
    return p * data + q * noise


def matching_loss(
    model: Velocity, path: Callable[[Tensor], Mix], data: Tensor, noise: Tensor, t: Tensor
) -> Tensor:
    r"""
    ## The loss

    A time, noise, data, and a regression, which on the straight path is the paper's eq. 23:

    $$
    \mathbb{E}_{t, x_1, x_0} \big\lVert v_\theta(a_t x_1 + b_t x_0,\, t)
    - (a'_t x_1 + b'_t x_0) \big\rVert^2.
    $$

    Even the best network does not make it small. Lines to many data pass through one $x$, and the
    network can only answer their average. What is left is the variance of the lines, which does not
    depend on
    $\theta$. So the gradient is the same as if we regressed on the average itself, says theorem 2.
    """
    a, b, da, db = path(t)  # (B, 1), (B, 1), (B, 1), (B, 1)
    error = model(a * data + b * noise, t) - (da * data + db * noise)  # (B, D)
    return error.square().sum(-1).mean()


@dataclass(frozen=True)
class Mixture:
    r"""
    ## The exact velocity

    The data are a mixture of Gaussians with centres $c_k$, all with one spread. `ring` has eight on
    a circle.
    """

    centres: Tensor
    spread: float

    @classmethod
    def ring(cls, K: int = 8, radius: float = 2.0, spread: float = 0.2) -> Mixture:
        angle = 2 * math.pi * torch.arange(K) / K  # (K,)
        return cls(radius * torch.stack([angle.cos(), angle.sin()], -1), spread)

    def sample(self, N: int, generator: torch.Generator) -> Tensor:
        K, D = self.centres.shape
        which = torch.randint(K, (N,), generator=generator)
        return self.centres[which] + self.spread * torch.randn(N, D, generator=generator)

    def log_density(self, x: Tensor, mix: Mix) -> tuple[Tensor, Tensor]:
        r"""
        ### The density on the way

        Given the Gaussian that the data came from, $x_t$ is normal with mean $a c_k$ and variance
        $b^2 + a^2 s^2$. We return the logarithm of the density, and how probable each of the $K$
        Gaussians is, given $x$.
        """
        a, b, *_ = mix
        variance = b**2 + (a * self.spread) ** 2  # (B, 1)
        apart = x[:, None] - a[..., None] * self.centres.to(x)  # (B, K, D)
        squares = apart.square().sum(-1) / variance  # (B, K)
        normal = -0.5 * (squares + x.shape[-1] * (2 * math.pi * variance).log())  # (B, K)
        return normal.logsumexp(-1) - math.log(len(self.centres)), normal.softmax(-1)

    def velocity(self, x: Tensor, mix: Mix) -> Tensor:
        r"""
        ### The average velocity

        $$
        \begin{aligned}
        u_t(x) &= \mathbb{E}[a'_t x_1 + b'_t x_0 \mid x_t = x] \\
        &= \sum_k P(k \mid x) \, \big( a'_t\, \mathbb{E}[x_1 \mid x, k]
        + b'_t\, \mathbb{E}[x_0 \mid x, k] \big).
        \end{aligned}
        $$

        Within one Gaussian everything is linear. Noise and data share the way from the mean
        $a c_k$ to $x$ by their variances: on average $b^2 / (b^2 + a^2 s^2)$ of it is noise, and
        the rest is the data's distance from their centre.
        """
        a, b, da, db = mix
        _, chances = self.log_density(x, mix)
        centres, variance = self.centres.to(x), b**2 + (a * self.spread) ** 2
        share = (x[:, None] - a[..., None] * centres) / variance[..., None]  # (B, K, D)
        data = centres + (a * self.spread**2)[..., None] * share  # (B, K, D)
        noise = b[..., None] * share  # (B, K, D)
        each = da[..., None] * data + db[..., None] * noise  # (B, K, D)
        return (chances[..., None] * each).sum(1)  # (B, D)


@torch.no_grad()
def solve(model: Velocity, x: Tensor, steps: int, end: float = 1.0) -> list[Tensor]:
    r"""
    ## Sampling

    Euler's method: look at the velocity, and follow it for a while. We return all points that are
    passed, from noise to data. If the velocity of a point never changes, one step is exact.
    """
    passed = [x]
    for step in range(steps):
        t = torch.full((len(x), 1), end * step / steps, dtype=x.dtype, device=x.device)
        x = x + end / steps * model(x, t)  # (B, D)
        passed.append(x)
    return passed


def straightness(passed: list[Tensor]) -> Tensor:
    r"""
    ## How straight?

    Liu et al. compare the velocity at each time with that of the line from start to end:

    $$
    S = \int_0^1 \mathbb{E} \big\lVert (Z_1 - Z_0) - \dot Z_t \big\rVert^2 dt.
    $$

    It is zero if all points move on straight lines and at constant speed. Here, $\dot Z_t$ is a
    step of the solver, divided by its length.
    """
    steps = torch.stack(passed).diff(dim=0) * (len(passed) - 1)  # (N, B, D)
    return (passed[-1] - passed[0] - steps).square().sum(-1).mean()


def sliced_wasserstein(x: Tensor, y: Tensor, P: int = 64) -> Tensor:
    r"""
    ## A distance between two sets of points

    On a line, the cheapest way to move one set onto another keeps their order: sort both, and
    average the distances. We project the plane onto lines in 64 directions, evenly spaced, and take
    the mean. It is not zero for two sets of one distribution, so there is a floor beside it.
    """
    angle = math.pi * torch.arange(P, dtype=x.dtype) / P
    directions = torch.stack([angle.cos(), angle.sin()])  # (D, P)
    first, second = (points @ directions for points in (x, y))  # (N, P), (N, P)
    return (first.sort(0).values - second.sort(0).values).abs().mean()


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    A small network is enough for points in the plane.
    """

    path: Literal["straight", "diffusion"] = "straight"
    "how data and noise are mixed"
    reflow: bool = True
    "train again, on the pairs that the first training connects"
    width: int = 96
    "hidden features"
    batch: int = 256
    "points in a batch"
    steps: int = 2500
    "training steps, of each of the trainings"
    lr: float = 0.01
    "learning rate of Adam, which falls to zero"
    drawn: int = 4000
    "points that are drawn to be judged"


class Network(nn.Module):
    r"""
    ## The network

    Three hidden layers. The time comes as sines and cosines, so that the network can tell times
    near each other apart.
    """

    def __init__(self, width: int, D: int = 2, times: int = 1) -> None:
        super().__init__()
        self.register_buffer("rates", math.pi * 2.0 ** torch.arange(2), persistent=False)
        inner = [nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()]
        self.layers = nn.Sequential(
            nn.Linear(D + 4 * times, width), nn.SiLU(), *inner, nn.Linear(width, D)
        )

    rates: Tensor

    def forward(self, x: Tensor, *t: Tensor) -> Tensor:
        phases = [time * self.rates for time in t]
        features = [part for phase in phases for part in (phase.cos(), phase.sin())]
        moved: Tensor = self.layers(torch.cat([x, *features], -1))  # (B, D)
        return moved


PATHS: dict[str, Callable[[Tensor], Mix]] = {"straight": straight, "diffusion": diffusion}
# Steps to connect pairs, and the last time on the path of diffusion.
FINE, END = 50, {"straight": 1.0, "diffusion": 0.999}


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    The first training pairs noise and data by chance. The second takes noise, and the points to
    which the first flow carries it. It goes on with the first one's weights.
    """
    run = Run(config, options)
    mixture, path, end = Mixture.ring(), PATHS[config.path], END[config.path]
    network = Network(config.width)
    noise = torch.randn(20_000, 2, generator=run.generator)  # (N, D)
    pairs, first = (noise, mixture.sample(len(noise), run.generator)), network

    for stage in range(2 if config.reflow else 1):
        if stage == 1:
            first = copy.deepcopy(network)
            pairs = noise, solve(first, noise.to(run.device), FINE, end)[-1].cpu()
        batches = run.batches(*pairs, size=config.batch)
        model = run.prepare(network)
        optimizer = torch.optim.Adam(model.parameters(), config.lr)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: 1 - n / config.steps)
        for step in run.steps(config.steps, model=model, optimizer=optimizer, schedule=schedule):
            t = run.share(end * torch.rand(config.batch, 1, generator=run.generator))  # (B, 1)
            start, data = batches[step]  # (B, D), (B, D)
            with run.autocast():
                loss = matching_loss(model, path, data, start, t.to(run.device))
            optimizer.zero_grad()
            run.backward(loss)
            run.update(optimizer)
            schedule.step()
            run.log(loss=loss)

    return run.finish(error=velocity_error(run, mixture, first), **judge(run, mixture, network))


@torch.no_grad()
def velocity_error(run: Run, mixture: Mixture, model: Network) -> float:
    r"""
    ## Against the exact velocity

    On points of the path, after the first training, as a share of the square of the exact velocity:
    a network that says zero has an error of one.
    """
    config: Config = run.config
    N, path = config.drawn, PATHS[config.path]
    data = mixture.sample(N, run.generator)
    noise = torch.randn(N, 2, generator=run.generator)
    t = END[config.path] * torch.rand(N, 1, generator=run.generator)  # (N, 1)
    mix = path(t)
    x = mix[0] * data + mix[1] * noise  # (N, D)
    exact = mixture.velocity(x, mix)  # (N, D)
    found = model(x.to(run.device), t.to(run.device)).cpu()  # (N, D)
    return ((found - exact).square().sum() / exact.square().sum()).item()


def judge(run: Run, mixture: Mixture, model: Network) -> dict[str, float]:
    r"""
    ## What comes out

    From the same noise we draw with one, four and fifty steps, and compare with points of the
    mixture, and 60 paths tell how straight they are. With the exact velocity, four steps show what
    the solver alone misses. The picture has
    paths first: where they bend, a long step leaves them.

    After the second training, one step is nearly as good as fifty, and close to the floor. Before
    it, a single step is useless on either path. On the straight one, it ends
    near the mean of all data. On that of diffusion it hardly moves, and its smaller distance says
    only that noise is nearer to a ring than a point is.
    """
    config: Config = run.config
    end, N = END[config.path], config.drawn
    noise = torch.randn(N, 2, generator=run.generator)
    data, other = (mixture.sample(N, run.generator) for _ in range(2))
    found = {"floor": sliced_wasserstein(data, other).item()}
    plates = []
    for name, steps in (("one", 1), ("four", 4), ("many", FINE)):
        drawn = solve(model, noise.to(run.device), steps, end)[-1].cpu()  # (N, D)
        found[name] = sliced_wasserstein(drawn, data).item()
        plates.append(plate(drawn))

    def exact(x: Tensor, t: Tensor) -> Tensor:
        return mixture.velocity(x, PATHS[config.path](t))  # (N, D)

    found["four_exact"] = sliced_wasserstein(solve(exact, noise, 4, end)[-1], data).item()
    paths = torch.stack(solve(model, noise[:60].to(run.device), 400, end)).cpu()
    found["straightness"] = straightness(list(paths[::8])).item()
    run.show("samples", grid(torch.stack([plate(paths.flatten(0, 1)), *plates, plate(data)]), 5, 4))
    return found


def plate(points: Tensor, S: int = 128, reach: float = 2.8) -> Tensor:
    r"""
    ### A picture of points

    How many lie in each pixel, seen from above. Three or more are white.
    """
    edges = torch.linspace(-reach, reach, S + 1)
    counts = torch.histogramdd(points.flip(1).float(), [edges, edges]).hist.flip(0)  # (S, S)
    return (counts / 3).clamp(max=1)  # (S, S)


# ## What changed since
#
# - **In large models.** Stable Diffusion 3 (Esser 2024,
#   [arXiv](https://arxiv.org/abs/2403.03206)) is trained by this loss on straight paths, with times
#   drawn more often from the middle.
# - **Pairs within a batch.** Minibatch optimal transport pairs noise and data that are near each
#   other, so that lines cross less often in the first training already (Tong 2023,
#   [arXiv](https://arxiv.org/abs/2302.00482)).
# - **One step.** [MeanFlow](mean_flow.py) (Geng 2025) learns the average
#   velocity over a stretch of time, and needs no second training.
# - **Density.** The flow can be inverted, as [Real NVP](real_nvp.py) can, and the density of what
#   it makes is known, by an integral over the divergence of the velocity.

if __name__ == "__main__":
    main(train)
