r"""
---
title: Wasserstein GAN
summary: A critic that may not be steep measures how far there is to go, and never saturates.
paper: Wasserstein GAN
authors: [Martin Arjovsky, Soumith Chintala, Léon Bottou]
year: 2017
arxiv: "1701.07875"
acronyms: [WGAN, earth mover's distance, Kantorovich-Rubinstein duality, weight clipping, critic]
needs: [adversarial/gan]
equals:
  what: scipy's wasserstein_distance
  within: 1e-7
  test: test_the_exact_distance_is_that_of_scipy
notation:
  'f': critic
  'g_\theta': generator
  'c': clip
  '\theta': theta
  'n_{\text{critic}}': critic_steps
figure:
  file: figures/wasserstein.svg
  alt: >-
    Two curves over the shift between two narrow Gaussians. One is a V that reaches zero where the
    shift is zero. The other has a narrow dip there, and is flat everywhere else.
  caption: >-
    What the generator is to go down, when it is off by a shift. Beside the dip, the divergence of
    the first paper has no slope. Numbers are those of `exact` and of the page on GANs.
metrics:
  modes: {name: "Gaussians that are covered, of 25", better: higher}
  good: {name: points that lie on a Gaussian, unit: "%", better: higher}
  distance: {name: sliced distance of what is made from the data, better: lower}
  floor: {name: the same of other data, better: lower}
  agreement: {name: correlation of the critic's estimate with the distance over the training,
    better: higher}
  doubling: {name: "estimate for a shift of 4 over that for 2, which is 2 for a distance",
    better: higher}
  reached: {name: "estimate for a shift of 4, divided by the steepness, as a share of 4", unit: "%",
    better: higher}
runs:
  critic: ""
  discriminator: --opponent discriminator
shows:
  training: >-
    what the generator makes after 1/32, 1/16, 1/8, 1/4, 1/2 and all of its training, in reading
    order, in front of the 25 Gaussians in grey
claims:
  - what: the estimate is a distance, also where the two distributions do not overlap
    paper: "example 1; section 3: the critic can't saturate, and converges to a linear function"
    run: critic
    control: discriminator
    metric: doubling
    margin: 0.5
  - what: "and as large as the slope of the critic allows"
    paper: "eq. 2 and 3: the supremum over all functions of that slope"
    run: critic
    metric: reached
    than: 0.8
    margin: 0
  - what: what the critic estimates goes with the quality of what is made
    paper: "section 4.2, of images, by eye"
    run: critic
    control: discriminator
    metric: agreement
    margin: 0.2
    note: "no better than the discriminator's: perhaps five steps are too few to keep up with a
      generator that moves; and in the plane the two overlap, so the divergence does not saturate"
  - what: what is made ends nearer to the data
    paper: "section 4.3: no evidence of mode collapse in any experiment"
    run: critic
    control: discriminator
    metric: distance
    margin: 0.2
    note: "it ends nearer to the data with each seed, but by less than the margin"
  - what: more Gaussians are covered
    paper: "not there: its data are images"
    run: critic
    control: discriminator
    metric: modes
    margin: 3
    note: "the other way round: a clipped critic sees the square in which the data are, and hardly
      what is in it"
deviations:
  - what: where weights are clipped
    paper: "0.01"
    ours: "0.1"
    matters: "for time: with two numbers as input, small weights make a critic that is nearly flat"
    test: test_training_is_algorithm_1
  - what: learning rate of RMSProp
    paper: "0.00005"
    ours: "0.0005"
    matters: "for time"
    test: test_training_is_algorithm_1
  - what: biases
    paper: all parameters are clipped
    ours: the same
    others: "some clip matrices alone, since a bias does not make a function steeper"
    matters: "not tried"
    test: test_all_parameters_are_clipped
mistakes:
  - what: a critic that ends in a sigmoid, whose estimate is never above one
    mutant: a sigmoid at the end of the critic
    caught: test_the_critic_value_is_the_difference_of_means
  - what: clipping before the step
    mutant: the step comes after the clipping
    caught: test_training_is_algorithm_1
worked:
  - at: exact
    told: >-
      Three points each. Sorted, they are 0, 1, 3 and 5, 6, 8, so that each has 5 to go. Moving one
      of them to 11 adds 3 to what it has to go, and 1 to the mean of the three.
    code: |-
      x = torch.tensor([3.0, 0.0, 1.0])
      exact(x, torch.tensor([5.0, 6.0, 8.0]))
      exact(x, torch.tensor([5.0, 6.0, 11.0]))
exercises: [exact, critic_value, clip_weights]
---

# Wasserstein GAN

The divergence behind [the first paper](gan.py#what-the-game-is-worth) compares densities at each
point. Two narrow distributions that do not overlap are as far apart as can be, whether the gap is
an inch or a mile. A generator in the wrong place is then told that it is wrong, and not
where to go.

Imagine both distributions as heaps of earth. The *earth mover's distance* is the work that it takes
to turn one into the other: mass times distance. It falls with each inch that the heap comes closer.
To compute it, one would have to find the best plan for the transport. But there is a second way:
find the function that is higher on one heap than on the other, as much as it can without being
steeper than 1. A network can be trained to do that, and the paper calls it a *critic*.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | points in a batch | `N` | points of one sample |
| `Z` | numbers of noise | `M` | points of the other |
| `S` | directions | | |
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from papers.adversarial.gan import Film, coverage, gaussians, generator_loss, network, value
from papers.common import Options, Run, main

Opponent = Literal["critic", "discriminator"]


def exact(x: Tensor, y: Tensor) -> Tensor:
    r"""
    ## The distance on a line

    In general we look for the cheapest plan, $\gamma$, of what goes where (eq. 1):

    $$
    W(\mathbb{P}_r, \mathbb{P}_g)
    = \inf_{\gamma} \mathbb{E}_{(x, y) \sim \gamma} \lVert x - y \rVert.
    $$

    On a line, earth never has to cross other earth on its way. So what counts is how much has to
    pass each place: the difference of the two shares that lie to its left, $F$ and $G$.

    $$
    W = \int | F(t) - G(t) | \, dt
    $$

    For samples, $F$ and $G$ are steps, constant from one point to the next.
    """
    x, y = x.sort(dim=-1).values, y.sort(dim=-1).values  # (..., N), (..., M)
    places = torch.cat([x, y], -1).sort(dim=-1).values  # (..., N+M)
    inside = places[..., :-1].contiguous()  # (..., N+M-1)
    F = torch.searchsorted(x, inside, right=True).to(x) / x.shape[-1]  # (..., N+M-1)
    G = torch.searchsorted(y, inside, right=True).to(y) / y.shape[-1]  # (..., N+M-1)
    return ((F - G).abs() * places.diff(dim=-1)).sum(-1)


def sliced(x: Tensor, y: Tensor, S: int = 32) -> Tensor:
    r"""
    ## In the plane

    There a plan has to be searched for. We look at the shadows of the points in directions all
    around, and take the mean of their distances. With all directions it is zero for equal
    distributions alone, and for a shift it is $2 / \pi$ of its length. 32 come close. The paper has
    no need of it: we use it to judge.
    """
    angles = torch.arange(S) * math.pi / S  # (S,)
    directions = torch.stack([angles.cos(), angles.sin()]).to(x)  # (2, S)
    return exact((x @ directions).T.contiguous(), (y @ directions).T.contiguous()).mean()


def critic_value(real: Tensor, fake: Tensor) -> Tensor:
    r"""
    ## The critic

    The second way to the same number, by Kantorovich and Rubinstein (eq. 2):

    $$
    W(\mathbb{P}_r, \mathbb{P}_\theta) = \sup_{\lVert f \rVert_L \le 1}
    \mathbb{E}_{x \sim \mathbb{P}_r} f(x) - \mathbb{E}_{x \sim \mathbb{P}_\theta} f(x).
    $$

    The functions are those whose values at two points never differ by more than the points are
    apart (*1-Lipschitz*). If they may differ $K$ times as much, the supremum is $K W$.

    A network takes the place of $f$ and is trained to make the difference large (eq. 3). What it
    says is a height and no probability, so there is no sigmoid at its end and no logarithm.
    """
    return real.mean() - fake.mean()


@torch.no_grad()
def clip_weights(critic: nn.Module, clip: float) -> None:
    r"""
    ## Not too steep

    Without a limit the critic would just grow. If all weights lie in $[-c, c]$, the network can't
    be steeper than some $K$ that depends on $c$ and on the architecture alone, which is all
    that is needed: the generator goes down $K W$ instead of $W$.

    "Weight clipping is a clearly terrible way to enforce a Lipschitz constraint", says section 3.
    If $c$ is large, weights take long to reach their limit; if $c$ is small, gradients vanish on
    their way through many layers.
    [The next paper](gradient_penalty.py) does without.
    """
    for weight in critic.parameters():
        weight.clamp_(-clip, clip)


def worth(real: Tensor, fake: Tensor, opponent: Opponent) -> Tensor:
    r"""
    ## The control

    The same networks, as [the first paper](gan.py#the-game) trains them.
    """
    return critic_value(real, fake) if opponent == "critic" else value(real, fake)


def theta_apart(theta: float, opponent: Opponent, clip: float, steps: int = 300) -> float:
    r"""
    ## Example 1, with a critic

    The paper's example is a pair of parallel lines, $\theta$ apart. Their earth mover's
    distance is $|\theta|$, and their Jensen-Shannon divergence is $\log 2$ unless $\theta = 0$. We
    take two narrow Gaussians on a line, which do not overlap either, and train a critic, or a
    discriminator, to tell them apart.

    Of a discriminator we return the divergence that its value stands for. Of a critic, the estimate
    divided by its steepness $K$, measured where the points are and between them. A function that is
    nowhere steeper than $K$ gets at most $K |\theta|$, so but for the chance in a batch this is
    never above the distance.
    """
    critic = network(1, 32, 1)
    optimizer = torch.optim.RMSprop(critic.parameters(), 0.003)
    for _ in range(steps):
        real, fake = 0.1 * torch.randn(2, 128, 1)
        now = worth(critic(real), critic(fake + theta), opponent)
        optimizer.zero_grad()
        (-now).backward()
        optimizer.step()
        if opponent == "critic":
            clip_weights(critic, clip)

    if opponent == "discriminator":
        # What theorem 1 of the first paper makes of the value is a divergence.
        return (now.item() + math.log(4)) / 2
    x = torch.linspace(-0.5, theta + 0.5, 500)[:, None].requires_grad_()  # (N, 1)
    (slope,) = torch.autograd.grad(critic(x).sum(), x)
    return now.item() / slope.abs().max().item()


class Diary(Film):
    r"""
    ## Does the estimate mean anything?

    At forty moments we write down what the opponent says of 2,500 points of either kind, and how
    far apart they are. Then we ask for the correlation of the two: 1 if one is a linear function of
    the other, 0 if they have nothing to do with each other. The first tenth is left out, where the
    opponent has learned little.
    """

    pairs: Tensor

    def __init__(self, steps: int, z: Tensor, data: Tensor, opponent: Opponent) -> None:
        super().__init__(steps, z)
        self.every, self.data, self.opponent = max(1, steps // 40), data, opponent
        self.register_buffer("pairs", torch.zeros(steps // self.every, 2))

    @torch.no_grad()
    def write(self, done: int, generator: nn.Module, critic: nn.Module) -> dict[str, Tensor]:
        if done % self.every:
            return {}
        made, data = generator(self.z), self.data.to(self.z.device)  # (N, 2), (N, 2)
        estimate = worth(critic(data), critic(made), self.opponent)
        distance = sliced(data, made)
        self.pairs[done // self.every - 1] = torch.stack([estimate, distance])  # (2,)
        return {"estimate": estimate, "distance": distance}

    def agreement(self) -> float:
        kept = self.pairs[len(self.pairs) // 10 :].double().cpu()
        return torch.corrcoef(kept.T)[0, 1].item()


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    Networks and data are those of [the first paper](gan.py#configuration), with half the units.
    Five steps of the critic are the paper's, whose batches have 64 images.
    """

    opponent: Opponent = "critic"
    "of the generator: a critic, or the discriminator of the first paper"
    clip: float = 0.1
    "largest weight of the critic, the paper's c"
    critic_steps: int = 5
    "steps of the opponent for each of the generator"
    noise: int = 2
    "numbers that a point is made of"
    width: int = 64
    "units of a hidden layer"
    batch: int = 128
    "points in a batch, of either kind"
    steps: int = 1000
    "steps of the generator"
    lr: float = 0.0005
    "learning rate of either player"


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    Algorithm 1. The critic takes $n_{\text{critic}} = 5$ steps for each of the generator
    $g_\theta$, and its weights are clipped after each. Since it can't saturate, it may be trained
    as well as we like: the better it is, the better are the gradients of the generator. RMSProp has
    no momentum: with it, the paper finds training unstable at times (section 4.2).

    With this critic the points soon fill the square, and hardly a Gaussian stands out. The
    discriminator crowds them on the sides of the square, and finds more of the Gaussians there. So
    by the distance the critic is better, and by the count the discriminator: it depends on what one
    asks for. What holds without doubt is the measurement itself: trained to the end, on a line, a
    critic tells how far there is to go, and a discriminator only that there is some way.
    """
    run = Run(config, options)
    told = judge_shifts(config)
    G, f = network(config.noise, config.width, 2), network(2, config.width, 1)
    draw, shape = run.generator, (config.batch, config.noise)
    z, data = torch.randn(2500, config.noise, generator=draw), gaussians(2500, draw)
    diary = Diary(config.steps, z, data, config.opponent).to(run.device)
    generator, critic = run.prepare(G), run.prepare(f)
    up, down = (torch.optim.RMSprop(net.parameters(), config.lr) for net in (f, G))

    for step in run.steps(config.steps, G=G, f=f, up=up, down=down, diary=diary):
        for _ in range(config.critic_steps):
            x = run.share(gaussians(config.batch, draw)).to(run.device)  # (B, 2)
            z = run.share(torch.randn(shape, generator=draw)).to(run.device)  # (B, Z)
            with run.autocast():
                now = worth(critic(x), critic(generator(z).detach()), config.opponent)
            up.zero_grad()
            run.backward(-now)
            run.update(up)
            if config.opponent == "critic":
                clip_weights(f, config.clip)
        z = run.share(torch.randn(shape, generator=draw)).to(run.device)  # (B, Z)
        with run.autocast():
            judged = critic(generator(z))
            loss = -judged.mean() if config.opponent == "critic" else generator_loss(judged)
        down.zero_grad()
        run.backward(loss)
        run.update(down)
        diary.look(step + 1, G)
        run.log(**diary.write(step + 1, G, f))

    run.show("training", diary.sheet())
    return run.finish(**judge(diary, draw), **told)


def judge_shifts(config: Config) -> dict[str, float]:
    r"""
    ## What we measure

    Of the shifts, how much the estimate grows when the way is twice as long, and how much of the
    largest possible estimate is reached. Of the training, what [the first
    paper](gan.py#how-many-are-found) counts, and the distance to the data, beside the distance
    that as many other data have.
    """
    near, far = (theta_apart(theta, config.opponent, config.clip) for theta in (2.0, 4.0))
    told = {"doubling": far / near}
    return told | ({"reached": far / 4.0} if config.opponent == "critic" else {})


def judge(diary: Diary, draw: torch.Generator) -> dict[str, float]:
    data, made = diary.data.cpu(), diary.points[-1].cpu()
    modes, good = coverage(made)
    floor = sliced(data, gaussians(len(data), draw)).item()
    told = {"modes": float(modes), "good": good, "agreement": diary.agreement()}
    return told | {"distance": sliced(data, made).item(), "floor": floor}


# ## What changed since
#
# - **How steepness is limited.** A [penalty](gradient_penalty.py) on the critic's gradient has
#   taken the place of clipping. Dividing each matrix by its largest singular value keeps each layer
#   from being steeper than 1 (Miyato 2018, [arXiv](https://arxiv.org/abs/1802.05957)).
# - **Whether it is the distance that helps.** With enough tuning and time, most losses come out
#   alike on images (Lucic 2018, [arXiv](https://arxiv.org/abs/1711.10337)), and critics of
#   WGANs are far from the true distance (Stanczuk 2021, [arXiv](https://arxiv.org/abs/2103.01678)).
# - **Transport itself.** To compute plans rather than learn a critic, see Cuturi 2013,
#   [arXiv](https://arxiv.org/abs/1306.0895).

if __name__ == "__main__":
    main(train)
