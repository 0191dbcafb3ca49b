r"""
---
title: Gradient penalty
summary: A critic is kept from being steep by a penalty on its gradient, between data and samples.
paper: Improved Training of Wasserstein GANs
authors: [Ishaan Gulrajani, Faruk Ahmed, Martin Arjovsky, Vincent Dumoulin, Aaron Courville]
year: 2017
arxiv: "1704.00028"
acronyms: [WGAN-GP, gradient penalty, Lipschitz, value surface, capacity underuse]
needs: [adversarial/wasserstein]
notation:
  '\hat{x}': x_hat
  '\tilde{x}': fake
  '\epsilon': epsilon
  '\lambda': weight
  'D': critic
figure:
  file: figures/gradient_penalty.svg
  alt: >-
    Above, a real point, a made one, and a place on the line between them, at which the gradient is
    asked for. Below, on a line, three made points and three real ones. The best critic rises by 1
    for each step wherever a made point has to pass on its way to the right, and falls where it has
    to go to the left.
  caption: >-
    The best critic has a slope of 1 or -1 on all the way that is to be gone. So the penalty asks
    for a norm of 1, at a random place on the way. Heights are sums of `best_slope`.
metrics:
  modes: {name: "Gaussians that are covered, of 25", better: higher}
  good: {name: points that lie on a Gaussian, unit: "%", better: higher}
  distance: {name: sliced distance of what is made from the data, better: lower}
  floor: {name: the same of other data, better: lower}
  limits: {name: weights at their limits, unit: "%", better: higher}
  norm: {name: distance of the gradient's norm from 1 between data and samples, better: lower}
  estimate: {name: "the critic's estimate, divided by its largest slope", better: higher}
  loss: {name: loss of the critic, better: lower}
runs:
  penalty: ""
  clipping: --limit clipping
shows:
  training: >-
    what the generator makes after 1/32, 1/16, 1/8, 1/4, 1/2 and all of its training, in reading
    order, in front of the 25 Gaussians in grey
  surface: >-
    height lines of a critic that tells data from the same data with noise: where it is high, it
    takes points for real
claims:
  - what: clipping pushes weights to its two limits
    paper: "figure 1b, right; of weights that are spread evenly, one of a hundred would be there"
    run: clipping
    metric: limits
    than: 0.1
    margin: 0
  - what: between data and samples the critic's gradient has a norm near 1
    paper: "proposition 1, of the best critic, and eq. 3, which asks for it"
    run: penalty
    metric: norm
    than: 0.3
    margin: 0
  - what: a critic with the penalty gets closer to the distance
    paper: "figure 1a: clipped critics, trained to the end, ignore higher moments of the data"
    run: penalty
    control: clipping
    metric: estimate
    margin: 0.02
    note: "600 steps are few for a critic that has to find 25 hills, and seeds differ more than the
      two limits do; both are far below the distance"
  - what: more Gaussians are covered after as many steps
    paper: "figure 3: better Inception scores on CIFAR-10, even with RMSProp for both"
    run: penalty
    control: clipping
    metric: modes
    margin: 3
    note: "each has the optimizer of its own paper, so that it isn't the penalty alone"
  - what: "an Inception score of 7.86 on CIFAR-10, without labels"
    paper: "its table of scores, of a residual network"
    note: "not run here"
deviations:
  - what: weight of the penalty
    paper: "10 (algorithm 1)"
    ours: "0.1"
    others: "the authors' code for points in the plane: 0.1"
    matters: "yes: with 1 our generator does not find the Gaussians in this time"
    test: test_training_is_algorithm_1
  - what: noise of the generator that does not learn
    paper: "normal, with a deviation of 1 (section 3.1)"
    ours: "a deviation of 0.3, and a weight of 1 for the penalty"
    matters: "yes: with larger noise it takes long until there are hills around the Gaussians"
    test: test_a_critic_by_itself
  - what: Adam
    paper: "learning rate 0.0001, momentum 0 and 0.9 (algorithm 1)"
    ours: "learning rate 0.002, momentum 0.5 and 0.9"
    matters: "for time"
    test: test_training_is_algorithm_1
  - what: the norm's gradient where the norm is zero
    paper: not written
    ours: zero, as torch has it
    others: "some add an epsilon below the root"
    matters: "hardly: a network with rectifiers is flat only where all of a layer is shut"
    test: test_where_the_critic_is_flat_the_gradient_is_finite
mistakes:
  - what: a gradient that is computed without its own graph, so that the penalty changes nothing
    mutant: the penalty has no gradient
    caught: test_the_penalty_and_its_gradient_in_closed_form
  - what: one place between the two for all points of a batch
    mutant: one epsilon for all
    caught: test_training_is_algorithm_1
worked:
  - at: penalty
    told: >-
      A critic that is 3 x in one direction and 4 x in the other has a gradient of norm 5
      everywhere, so the penalty is 4 squared. One that is half as steep everywhere, 1.5 squared.
    code: |-
      steep = torch.nn.Linear(2, 1)
      steep.weight.data = torch.tensor([[3.0, 4.0]])
      penalty(steep, torch.zeros(1, 2), torch.ones(1, 2), torch.tensor([[0.5]])).detach()
      steep.weight.data /= 2
      penalty(steep, torch.zeros(1, 2), torch.ones(1, 2), torch.tensor([[0.5]])).detach()
exercises: [slopes, penalty, best_slope]
changes: {from: adversarial/wasserstein}
---

# Gradient penalty

A [Wasserstein critic](wasserstein.py#the-critic) may not be steep, and clipping its weights is a
crude way to see to that. Of all the functions that are nowhere steeper than $K$, a network with
clipped weights can become only a few, and those are simple. Its weights don't spread over the range
that they are allowed. They go to the two ends, because there the critic is steepest.

This paper asks for what is wanted. A function is 1-Lipschitz if its gradient has a norm of
at most 1 everywhere. Everywhere is too much to check. But the best critic has a norm of
exactly 1 on the way from what is made to the data that it should become, so that is where we look,
and we punish what differs.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | points in a batch | `N` | points of a sample |
| `Z` | numbers of noise | `S` | places along a side |
| `P` | places | | |
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from papers.adversarial import wasserstein
from papers.adversarial.gan import CENTRES, Film, coverage, gaussians, network
from papers.adversarial.wasserstein import clip_weights, critic_value, sliced
from papers.common import Options, Run, main

Limit = Literal["penalty", "clipping"]


def best_slope(x: Tensor, y: Tensor, at: Tensor) -> Tensor:
    r"""
    ## The best critic

    On a line we can write its slope down. With $F$ and $G$ the shares of data and of samples to the
    left of a place, integrating eq. 2 of the page before by parts gives

    $$
    \mathbb{E} f(x) - \mathbb{E} f(y) = \int f'(t) \, \bigl( G(t) - F(t) \bigr) \, dt,
    $$

    and with $|f'| \le 1$ that is largest if $f'$ is the sign of $G - F$. So the slope is 1 or
    -1 wherever anything has to pass, and the integral is
    [the distance](wasserstein.py#the-distance-on-a-line).

    In any number of dimensions (proposition 1): if the best plan moves $y$ to another place $x$,
    then the best critic rises as steeply as it may all the way from $y$ to $x$. Where it has a
    gradient, that is

    $$
    \nabla f^*(x_t) = \frac{x - y}{\lVert x - y \rVert},
    $$

    which has norm 1. So it has at almost all data and samples, the ends of these ways
    (corollary 1).
    """
    F = (x[:, None] <= at).double().mean(0)  # (P,)
    G = (y[:, None] <= at).double().mean(0)  # (P,)
    return (G - F).sign()


def slopes(critic: nn.Module, x: Tensor) -> Tensor:
    r"""
    ## How steep it is

    The norm of the gradient, for each point by itself. What the critic says of one point doesn't
    depend on the others, so the gradient of the sum has a row for each. Batch normalisation would
    mix them, so such a critic may not have it (section 4, *no critic batch normalization*); layer
    normalisation is fine.

    The graph is kept, for the penalty has to be differentiated again.
    """
    x = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return gradient.flatten(1).norm(dim=1)


def penalty(critic: nn.Module, real: Tensor, fake: Tensor, epsilon: Tensor) -> Tensor:
    r"""
    ## The penalty

    We do not know the best plan, so we pair data and samples as they come, and take a random place
    $\hat{x}$ on the line between the two. The critic's loss (eq. 3):

    $$
    \begin{aligned}
    \hat{x} &= \epsilon x + (1 - \epsilon) \tilde{x}, \qquad \epsilon \sim U[0, 1] \\
    L &= \mathbb{E} D(\tilde{x}) - \mathbb{E} D(x)
    + \lambda \, \mathbb{E} \bigl( \lVert \nabla_{\hat{x}} D(\hat{x}) \rVert_2 - 1 \bigr)^2
    \end{aligned}
    $$

    It draws the norm to 1 from both sides, though only more than 1 is forbidden. Section 4 found
    this slightly better, without a full comparison.

    This is no bound. For a critic that is $K$ times as steep the first terms are $K$ times as
    large, and it stops where that is worth the penalty: above 1, and the smaller $\lambda$ the
    further.
    """
    x_hat = epsilon * real + (1 - epsilon) * fake  # (B, 2)
    return (slopes(critic, x_hat) - 1).square().mean()


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    Networks are those of [the page before](wasserstein.py#configuration), and so is clipping.
    """

    limit: Limit = "penalty"
    "what keeps the critic from being steep: the penalty, or clipping"
    weight: float = 0.1
    "of the penalty, the paper's lambda"
    critic_steps: int = 5
    "steps of the critic for each of the generator"
    noise: int = 2
    "numbers that a point is made of"
    width: int = 64
    "units of a hidden layer"
    batch: int = 128
    "points in a batch, of either kind"
    steps: int = 1200
    "steps of the generator"
    lr: float = 0.002
    "learning rate of Adam, with the penalty"


CLIPPING = wasserstein.Config()


def optimizer(config: Config, net: nn.Module) -> torch.optim.Optimizer:
    r"""
    ## Two ways to train

    Each with the optimizer of its own paper. Clipping went with one that has no momentum.
    """
    if config.limit == "penalty":
        return torch.optim.Adam(net.parameters(), config.lr, (0.5, 0.9))
    return torch.optim.RMSprop(net.parameters(), CLIPPING.lr)


def critic_loss(
    config: Config, critic: nn.Module, real: Tensor, fake: Tensor, epsilon: Tensor
) -> Tensor:
    loss = -critic_value(critic(real), critic(fake))
    if config.limit == "penalty":
        loss = loss + config.weight * penalty(critic, real, fake, epsilon)
    return loss


def square(S: int, edge: float = 3.0) -> Tensor:
    """Places all over a square around the data, the upper left first."""
    axis = torch.linspace(-edge, edge, S)
    across, down = torch.meshgrid(axis, -axis, indexing="xy")
    return torch.stack([across, down], -1)  # (S, S, 2)


# Deviation of the noise, and weight of the penalty, where a critic is by itself.
NOISE, ALONE = 0.3, 1.0


def noisy_data(config: Config, seed: int, steps: int = 600) -> tuple[nn.Module, dict[str, float]]:
    r"""
    ## A critic by itself

    As in figure 1, a generator that does not learn: it makes data and adds normal noise. What does
    the critic see? Our noise is smaller than the distance of the Gaussians, so that there
    is something to see between them.

    We measure how steep it is at places between data and samples, how many of its weights lie
    within a hundredth of their limits, and what it says of the distance: its estimate divided by
    its largest slope on a grid around the data. A critic that sees only the broad shape gets less.
    """
    config = replace(config, weight=ALONE)
    chance = torch.Generator().manual_seed(seed)
    critic = network(2, config.width, 1)
    up = optimizer(config, critic)
    for _ in range(steps):
        real, base = (gaussians(config.batch, chance) for _ in range(2))  # (B, 2), (B, 2)
        fake = base + NOISE * torch.randn(base.shape, generator=chance)  # (B, 2)
        epsilon = torch.rand(config.batch, 1, generator=chance)  # (B, 1)
        loss = critic_loss(config, critic, real, fake, epsilon)
        up.zero_grad()
        loss.backward()
        up.step()
        if config.limit == "clipping":
            clip_weights(critic, CLIPPING.clip)

    real, base = (gaussians(2000, chance) for _ in range(2))  # (N, 2), (N, 2)
    fake = base + NOISE * torch.randn(base.shape, generator=chance)  # (N, 2)
    epsilon = torch.rand(len(real), 1, generator=chance)  # (N, 1)
    between = slopes(critic, epsilon * real + (1 - epsilon) * fake)  # (N,)
    steepest = slopes(critic, square(41).flatten(0, 1)).max()
    told = {"norm": (between - 1).abs().mean().item()}
    with torch.no_grad():
        told["estimate"] = (critic_value(critic(real), critic(fake)) / steepest).item()
    if config.limit == "clipping":
        weights = torch.cat([p.detach().flatten() for p in critic.parameters()]).abs()
        told["limits"] = (weights > 0.99 * CLIPPING.clip).double().mean().item()
    return critic, told


@torch.no_grad()
def surface(critic: nn.Module, S: int = 240) -> Tensor:
    r"""
    ## What it looks like

    The critic's height at each place becomes a level of grey, with twelve lines at which it is
    equally high, and the means of the data in red.
    """
    places = square(S)  # (S, S, 2)
    height = critic(places).squeeze(-1)  # (S, S)
    height = (height - height.min()) / (height.max() - height.min()).clamp(min=1e-9)  # (S, S)
    level = (height * 12).floor()  # (S, S)
    edge = torch.zeros(S, S)
    edge[1:, 1:] = ((level[1:, 1:] != level[:-1, 1:]) | (level[1:, 1:] != level[1:, :-1])).float()
    grey = (0.35 + 0.6 * height) * (1 - 0.7 * edge)  # (S, S)
    near = torch.cdist(places.flatten(0, 1), CENTRES).min(1).values.view(S, S)
    picture = grey.expand(3, -1, -1).clone()  # (3, S, S)
    picture[:, near < 0.06] = torch.tensor([0.8, 0.2, 0.1])[:, None]
    return picture


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    Algorithm 1 with either limit. With the penalty the points find the outer rows and columns, and
    cover about a third of the Gaussians, where clipping leaves them spread over the square. The
    sliced distance sees little of that. [The first game](gan.py#training) is better in less time:
    here each step of the generator costs five of the critic, with a second derivative in each.
    """
    run = Run(config, options)
    alone, told = noisy_data(config, run.options.seed)
    G, D = network(config.noise, config.width, 2), network(2, config.width, 1)
    draw, shape = run.generator, (config.batch, config.noise)
    film = Film(config.steps, torch.randn(2500, config.noise, generator=draw)).to(run.device)
    generator, critic = run.prepare(G), run.prepare(D)
    up, down = optimizer(config, D), optimizer(config, G)

    for step in run.steps(config.steps, G=G, D=D, up=up, down=down, film=film):
        for _ in range(config.critic_steps):
            x = run.share(gaussians(config.batch, draw)).to(run.device)  # (B, 2)
            z = run.share(torch.randn(shape, generator=draw)).to(run.device)  # (B, Z)
            epsilon = run.share(torch.rand(config.batch, 1, generator=draw)).to(run.device)
            with run.autocast():
                loss = critic_loss(config, critic, x, generator(z).detach(), epsilon)
            up.zero_grad()
            run.backward(loss)
            run.update(up)
            if config.limit == "clipping":
                clip_weights(D, CLIPPING.clip)
        z = run.share(torch.randn(shape, generator=draw)).to(run.device)  # (B, Z)
        with run.autocast():
            low = -critic(generator(z)).mean()
        down.zero_grad()
        run.backward(low)
        run.update(down)
        film.look(step + 1, G)
        run.log(loss=loss)

    run.show("training", film.sheet())
    run.show("surface", surface(alone))
    made, data, other = film.points[-1].cpu(), gaussians(2500, draw), gaussians(2500, draw)
    modes, good = coverage(made)
    told |= {"distance": sliced(data, made).item(), "floor": sliced(data, other).item()}
    return run.finish(modes=modes, good=good, **told)


# ## What changed since
#
# - **Where the gradient is asked for.** R1 penalises it at the data alone, towards zero rather than
#   1. Training that starts close enough to its goal then provably gets there, which this paper's
#   does not always (Mescheder 2018, [arXiv](https://arxiv.org/abs/1801.04406)). Large image
#   generators took that up, [StyleGAN2](stylegan2.py) among them.
# - **Without a second derivative.** Dividing each matrix by its largest singular value needs none,
#   and costs little (Miyato 2018, [arXiv](https://arxiv.org/abs/1802.05957)).

if __name__ == "__main__":
    main(train)
