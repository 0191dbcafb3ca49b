r"""
---
title: Generative adversarial nets
summary: A network makes points out of noise, a second one learns to tell them from real ones.
paper: Generative Adversarial Nets
authors: [Ian J. Goodfellow, Jean Pouget-Abadie, Mehdi Mirza, Bing Xu, David Warde-Farley,
  Sherjil Ozair, Aaron Courville, Yoshua Bengio]
year: 2014
arxiv: "1406.2661"
acronyms: [GAN, minimax, non-saturating loss, mode collapse, Helvetica scenario, 25 Gaussians]
needs: [optimizers/adam]
notation:
  'V': value
  'D': discriminator
  'G': generator
  'p_{\text{data}}': p
  'p_g': q
  'k': discriminator_steps
figure:
  file: figures/gan.svg
  alt: >-
    Above, noise z goes through the generator, and what it makes goes to the discriminator, as do
    real points x. Below, the slope of two losses of the generator over the discriminator's answer.
    Where the answer is near 0, the minimax loss is flat and the other is steep; where it is near 1,
    it is the other way round.
  caption: >-
    A beginner's points are rejected with certainty, at the left of the lower picture. There the
    loss of the game has no slope, and the other one has its largest. Slopes are those of
    `generator_loss`.
metrics:
  modes: {name: "Gaussians that are covered, of 25", better: higher}
  good: {name: points that lie on a Gaussian, unit: "%", better: higher}
  error: {name: "distance of the trained discriminator from the best one, in one dimension",
    better: lower}
  untrained: {name: the same of one that always says one half, better: lower}
  value: {name: value of the game, unit: nats, better: higher}
  distance: {name: distance of the value from that of a game that the generator has won, unit: nats,
    better: lower}
  gap: {name: "distance of the value from that of the best discriminator, in one dimension",
    unit: nats, better: lower}
runs:
  other loss: ""
  minimax loss: --loss minimax
  generator ahead: --generator-steps 10 --steps 550
shows:
  training: >-
    what the generator makes after 1/32, 1/16, 1/8, 1/4, 1/2 and all of its training, in reading
    order, in front of the 25 Gaussians in grey
claims:
  - what: a trained discriminator knows the ratio of densities
    paper: "proposition 1"
    run: other loss
    metric: error
    against: untrained
    margin: 0.1
  - what: and its value that of eq. 6
    paper: "eq. 6: minus log 4, plus twice the Jensen-Shannon divergence"
    run: other loss
    metric: gap
    than: 0.05
    margin: 0
  - what: a generator that is trained too much between two steps of its opponent maps many z to one
      point
    paper: "section 6, the Helvetica scenario"
    run: other loss
    control: generator ahead
    metric: modes
    margin: 8
    note: "both runs take about 6,000 steps, those of the two networks counted together; 550 are the
      discriminator's where the generator runs ahead"
  - what: the loss that does not saturate learns better
    paper: "section 3: much stronger gradients early in learning"
    run: other loss
    control: minimax loss
    metric: modes
    margin: 3
    note: "in the plane, where data and what is made overlap from the start, no point is rejected
      with certainty for long, so there is little for the loss of the game to saturate on"
deviations:
  - what: how the networks learn
    paper: gradient descent with momentum
    ours: Adam with a momentum of 0.5
    others: "DCGAN: the same, with a smaller learning rate"
    matters: "for time; we did not try momentum alone"
    test: test_training_is_algorithm_1
  - what: the units of the discriminator
    paper: maxout, and dropout
    ours: rectifiers, no dropout
    matters: "unknown: points in the plane come without end, so there is nothing to overfit"
  - what: the value and its logarithms
    paper: of a probability D(x)
    ours: of its logit, by log-sigmoid
    others: "torch: BCEWithLogitsLoss, summed over both kinds, is minus the value"
    matters: "yes, for probabilities that round to 0 or 1 and whose logarithm is infinite"
    test: test_certain_answers_have_finite_values
mistakes:
  - what: a discriminator's step that does not stop at what was made, and so moves the generator the
      wrong way
    mutant: the generator's gradients are kept and it learns from both
    caught: test_training_is_algorithm_1
  - what: descending where the discriminator has to ascend
    mutant: the discriminator descends
    caught: test_training_is_algorithm_1
worked:
  - at: optimal_logit
    told: >-
      At three points the data have the densities 0.3, 0.2 and 0.1, and what is made has 0.1, 0.2
      and 0.3. The best discriminator says three quarters, one half and one quarter.
    code: |-
      p, q = torch.tensor([0.3, 0.2, 0.1]), torch.tensor([0.1, 0.2, 0.3])
      optimal_logit(p.log(), q.log()).sigmoid()
exercises: [value, generator_loss, optimal_logit, coverage]
---

# Generative adversarial nets

A network turns noise into points: that is easy to build, and hard to train. We would like
to raise the probability of real points, but a network that makes points does not know how
probable they are. To compare what it makes with real points one by one is no way out: which of them
should a point made from this noise have been?

The answer of this paper is to train a judge. A *discriminator* sees points and says whether they
are real, which is ordinary classification. A *generator* makes points and is trained, through the
discriminator, to make them look real. If both are good enough, the generator ends with the
distribution of the data and the discriminator with a guess.

We follow that in the plane, where one can see it: the data are 25 Gaussians.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | points in a batch | `N` | points drawn to be judged |
| `Z` | numbers of noise | `C` | Gaussians |
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, main
from papers.common.data.grids import grid

Loss = Literal["other", "minimax"]


def value(real: Tensor, fake: Tensor) -> Tensor:
    r"""
    ## The game

    With $D(x)$ the probability, as the discriminator sees it, that $x$ is real, and $G(z)$ what the
    generator makes of noise, the two play for one number (eq. 1):

    $$
    \min_G \max_D V(D, G) = \mathbb{E}_{x} \log D(x) + \mathbb{E}_{z} \log (1 - D(G(z))).
    $$

    The discriminator wants it large: it is minus the loss of a classifier. The generator wants it
    small, and can change only the second term.

    We are given logits $s$ with $D = \sigma(s)$. Then $\log D = \log \sigma(s)$ and
    $\log (1 - D) = \log \sigma(-s)$, and both stay finite where $D$ rounds to 0 or 1.
    """
    return F.logsigmoid(real).mean() + F.logsigmoid(-fake).mean()


def generator_loss(fake: Tensor, loss: Loss = "other") -> Tensor:
    r"""
    ## Two losses for the generator

    The game itself asks it to minimise $\log (1 - D)$. But a beginner is seen through at once, so
    $D$ is near 0, and there this loss is flat in the logit. Section 3 maximises $\log D$ instead,
    which people now call the *non-saturating* loss. The two slopes, in the logit:

    $$
    \begin{aligned}
    \frac{\partial}{\partial s} \log (1 - \sigma(s)) &= -D, \\
    \frac{\partial}{\partial s} \bigl( -\log \sigma(s) \bigr) &= -(1 - D).
    \end{aligned}
    $$

    Both push the logit up. The first pushes hardest what already passes for real, the second what
    does not. They agree only at $D = \frac{1}{2}$. With the second, the two players no longer play
    for the same number.
    """
    return F.logsigmoid(-fake).mean() if loss == "minimax" else -F.logsigmoid(fake).mean()


def optimal_logit(log_p: Tensor, log_q: Tensor) -> Tensor:
    r"""
    ## The best discriminator

    Let $p_{\text{data}}$ be the density of the data and $p_g$ that of what is made. At each point,
    $D$ maximises $p_{\text{data}} \log D + p_g \log (1 - D)$, so (proposition 1, eq. 2)

    $$
    D^*(x) = \frac{p_{\text{data}}(x)}{p_{\text{data}}(x) + p_g(x)}.
    $$

    Its logit is the difference of the logarithms. So what a trained discriminator knows is a
    *ratio* of two densities, neither of which anybody has written down.
    """
    return log_p - log_q


def best_value(log_p: Tensor, log_q: Tensor, area: float) -> Tensor:
    r"""
    ## What the game is worth

    Against its best opponent, a generator gets (eq. 4 to 6)

    $$
    C(G) = -\log 4 + 2 \operatorname{JSD}(p_{\text{data}} \,\|\, p_g).
    $$

    The Jensen-Shannon divergence is zero if the two are equal, and only then. So the best that
    the generator can do is the distribution of the data, where $D^*$ is one half everywhere and
    the value is $-\log 4 = -1.386$ (theorem 1). And the divergence is never above $\log 2$, so the
    value is at most zero.

    Given the log densities at evenly spaced points, each of which stands for `area`, we put $D^*$
    into eq. 1 and sum. Section [what the discriminator learns](#what-the-discriminator-learns)
    compares that with a network.
    """
    s = optimal_logit(log_p, log_q)
    inside = log_p.exp() * F.logsigmoid(s) + log_q.exp() * F.logsigmoid(-s)
    return inside.sum() * area


def network(inputs: int, width: int, outputs: int) -> nn.Sequential:
    r"""
    ## The players

    Three hidden layers each. The generator goes from noise to the plane, and the discriminator from
    the plane to a logit.
    """
    sizes = [inputs, width, width, width]
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, outputs))


# The means of the Gaussians, and the deviation that they have in common.
CENTRES = torch.cartesian_prod(torch.arange(-2.0, 3.0), torch.arange(-2.0, 3.0))
DEVIATION = 0.05


def gaussians(N: int, generator: torch.Generator) -> Tensor:
    r"""
    ## Data that one can see

    25 narrow Gaussians on a grid, each as likely as the others. Later papers use such grids to see
    what is missed: a generator that has found a few of them fools a discriminator which has not
    yet learned about the rest.
    """
    which = torch.randint(len(CENTRES), (N,), generator=generator)  # (N,)
    return CENTRES[which] + DEVIATION * torch.randn(N, 2, generator=generator)  # (N, 2)


def coverage(points: Tensor) -> tuple[int, float]:
    r"""
    ## How many are found

    A point is good if it lies within three deviations of a mean, which holds for 98.9 % of
    the data. A Gaussian counts as covered if it has a fifth of its share of points or more. That
    leaves out the few points that lie between two crowds and happen to hit a third.
    """
    apart, which = torch.cdist(points, CENTRES.to(points)).min(dim=1)  # (N,), (N,)
    good = apart < 3 * DEVIATION  # (N,)
    counts = torch.bincount(which[good], minlength=len(CENTRES))  # (C,)
    share = len(points) / len(CENTRES)
    return int((counts >= share / 5).sum()), good.double().mean().item()


def scatter(points: Tensor, side: int = 150) -> Tensor:
    r"""
    ## A picture of points

    Grey discs are the data, three deviations wide. Each point is a square of two pixels.
    """
    edge = 2.6
    axis = torch.linspace(-edge, edge, side)
    across, down = torch.meshgrid(axis, -axis, indexing="xy")
    places = torch.stack([across, down], -1).flatten(0, 1)
    apart = torch.cdist(places, CENTRES).min(dim=1).values.view(side, side)
    paper = torch.where(apart < 3 * DEVIATION, 0.75, 1.0).expand(3, -1, -1).clone()
    # Row 0 is above, and what lies outside of the picture is not in it.
    cells = ((points * torch.tensor([1.0, -1.0]) + edge) / (2 * edge) * (side - 1)).long()
    x, y = cells[((cells >= 0) & (cells < side - 1)).all(dim=1)].unbind(1)
    for right, below in ((0, 0), (0, 1), (1, 0), (1, 1)):
        paper[:, y + below, x + right] = torch.tensor([0.8, 0.2, 0.1])[:, None]
    return paper


class Film(nn.Module):
    r"""
    ## A film of the training

    At six moments, each twice as late as the one before, we keep what the generator makes of
    the same noise. A checkpoint holds the film as well.
    """

    z: Tensor
    points: Tensor

    def __init__(self, steps: int, z: Tensor) -> None:
        super().__init__()
        self.moments = [max(1, steps >> n) for n in reversed(range(6))]
        self.register_buffer("z", z)
        self.register_buffer("points", torch.zeros(len(self.moments), len(z), 2))

    @torch.no_grad()
    def look(self, done: int, generator: nn.Module) -> None:
        for frame, moment in enumerate(self.moments):
            if moment == done:
                self.points[frame] = generator(self.z)  # (N, 2)

    def sheet(self) -> Tensor:
        return grid(torch.stack([scatter(points) for points in self.points.cpu()]), 3, gap=4)


def one_dimension(seed: int, steps: int = 400) -> dict[str, float]:
    r"""
    ## What the discriminator learns

    First a generator that does not move, as in the inner loop of the game. Data are
    normal numbers, and what is made has the mean 1.5 and the deviation 2. A discriminator
    that is trained on samples alone should end near $D^*$, which we can write down.

    We measure how far it is off, averaged over points of either kind, and beside it how far a
    discriminator is off that always says one half. And we compare its value, by the same sums as in
    [best_value](#what-the-game-is-worth).
    """
    chance = torch.Generator().manual_seed(seed)
    D = network(1, 64, 1)
    optimizer = torch.optim.Adam(D.parameters(), 3e-3)
    for _ in range(steps):
        real, fake = torch.randn(2, 256, 1, generator=chance)
        loss = -value(D(real), D(1.5 + 2 * fake))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    x = torch.linspace(-10, 12, 2201)  # (N,)
    log_p = torch.distributions.Normal(0.0, 1.0).log_prob(x)  # (N,)
    log_q = torch.distributions.Normal(1.5, 2.0).log_prob(x)  # (N,)
    best = optimal_logit(log_p, log_q).sigmoid()  # (N,)
    p, q, area = log_p.exp(), log_q.exp(), 0.01
    with torch.no_grad():
        s = D(x[:, None]).squeeze(1)  # (N,)
        reached = (p * F.logsigmoid(s) + q * F.logsigmoid(-s)).sum() * area
        weight = (p + q) / 2 * area
        error = (weight * (s.sigmoid() - best).abs()).sum()
        untrained = (weight * (0.5 - best).abs()).sum()
        gap = (best_value(log_p, log_q, area) - reached).abs()
    return {"error": error.item(), "untrained": untrained.item(), "gap": gap.item()}


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    One step each, as in the paper, and two numbers of noise, as many as the data have.
    """

    loss: Loss = "other"
    "of the generator: that of the game (minimax), or the other one, which does not saturate"
    discriminator_steps: int = 1
    "steps of the discriminator in an iteration, the k of algorithm 1"
    generator_steps: int = 1
    "steps of the generator in an iteration, 1 in algorithm 1"
    noise: int = 2
    "numbers that a point is made of"
    width: int = 128
    "units of a hidden layer"
    batch: int = 128
    "points in a batch, of either kind"
    steps: int = 3000
    "iterations"
    lr: float = 0.001
    "learning rate of either player"


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    Algorithm 1: the discriminator takes $k$ steps up, then the generator one step down. It learns
    nothing from the data but what comes through the discriminator. Points
    are drawn fresh for each step.

    In the film a cloth is folded and pulled onto the grid. Two thirds of the Gaussians are found,
    and threads of points stay between them, since a network that is continuous can't tear the
    cloth. Where the generator runs ahead it gathers in one small spot, wherever the discriminator
    was last fooled, and both chase each other.

    The value is near $-\log 4$ for most of the first half, and nearly all the time where the
    generator runs ahead. It says that the discriminator can't tell the two apart, not that they
    are equal.
    """
    run = Run(config, options)
    told = one_dimension(run.options.seed)
    G, D = network(config.noise, config.width, 2), network(2, config.width, 1)
    film = Film(config.steps, torch.randn(2500, config.noise, generator=run.generator))
    film, generator, discriminator = film.to(run.device), run.prepare(G), run.prepare(D)
    up, down = (torch.optim.Adam(net.parameters(), config.lr, (0.5, 0.999)) for net in (D, G))
    shape = (config.batch, config.noise)

    for step in run.steps(config.steps, G=G, D=D, up=up, down=down, film=film):
        for _ in range(config.discriminator_steps):
            x = run.share(gaussians(config.batch, run.generator)).to(run.device)  # (B, 2)
            z = run.share(torch.randn(shape, generator=run.generator)).to(run.device)  # (B, Z)
            with run.autocast():
                # Detached: this step is not the generator's.
                now = value(discriminator(x), discriminator(generator(z).detach()))
            up.zero_grad()
            run.backward(-now)
            run.update(up)
        for _ in range(config.generator_steps):
            z = run.share(torch.randn(shape, generator=run.generator)).to(run.device)  # (B, Z)
            with run.autocast():
                loss = generator_loss(discriminator(generator(z)), config.loss)
            down.zero_grad()
            run.backward(loss)
            run.update(down)
        film.look(step + 1, G)
        run.log(value=now, distance=(now + math.log(4)).abs())

    run.show("training", film.sheet())
    modes, good = coverage(film.points[-1])
    return run.finish(modes=modes, good=good, value=now.item(), **told)


# ## What changed since
#
# - **A distance in place of the divergence.** A critic that may not be steep tells how far there
#   is to go ([Wasserstein GAN](wasserstein.py)), and is best kept so by a
#   [penalty](gradient_penalty.py).
# - **Which loss.** The other loss is what people use, although with it the generator no longer
#   minimises a divergence of the two densities (Arjovsky and Bottou 2017,
#   [arXiv](https://arxiv.org/abs/1701.04862)).
# - **A slope that is held down.** Training settles if the discriminator is kept flat at the real
#   images, as can be seen with one [parameter on each side](stylegan2.py#the-smallest-gan).

if __name__ == "__main__":
    main(train)
