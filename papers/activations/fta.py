r"""
---
title: Fuzzy tiling activations
summary: One number becomes many features, few of which are on, so that what is learned is kept.
paper: "Fuzzy Tiling Activations: A Simple Approach to Learning Sparse Representations Online"
authors: [Yangchen Pan, Kirby Banman, Martha White]
year: 2019
arxiv: "1911.08068"
acronyms: [FTA, tile coding, catastrophic forgetting, interference, sparse representations]
needs: [training/loop]
notation:
  'z': z
  'c': c
  'k': K
  '\delta': delta
  '\eta': eta
figure:
  file: figures/fta.svg
  alt: >-
    Above, what twelve hard tiles between -1 and 1 make of the number 0.21: one cell is full. Below
    it the same with a fuzzy edge as wide as a tile: the cell and its two neighbours are nearly
    full, one more than the other. Under them are curves over z. One tile, hard, is a box; fuzzy, it
    has sloping shoulders on both sides that end in a step. A third line, the sum over all fuzzy
    tiles, is flat but for the ends.
  caption: >-
    What `fta` makes of 0.21, with hard and with fuzzy edges. Below, one of its features over all
    `z`, and the sum of all features.
metrics:
  error: {name: "error over the whole range, at the end", unit: variances of the function,
    better: lower}
  first_half: {name: "error on the first half, when it has just been learned",
    unit: variances of the function, better: lower}
  kept: {name: "error on the first half, at the end", unit: variances of the function,
    better: lower}
  active: {name: features that are not zero, unit: "%", better: lower}
  interference: {name: "how alike the gradients of distant inputs are, before training",
    better: lower}
  rate: {name: "the best learning rate, at which all of this is measured"}
  loss: {name: "training loss, one learning rate after the other", better: lower, scale: log}
runs:
  FTA: ""
  ReLU: --unit relu
  "ReLU, as wide": --unit relu --features 640
  hard tiles: --eta 0
  "ReLU, in any order": --unit relu --shuffled
shows:
  rates: >-
    the error over the whole range at the end, at each learning rate
  fit: >-
    in white the function, and in red what the network says: above, when it has been shown the left
    half, and below, when it has been shown everything from left to right
  alike: >-
    how alike the gradients of any two inputs are before training, from black, which is at a right
    angle, to white, which is in the same direction
claims:
  - what: a function learned from left to right is known better at the end with FTA than with ReLU
    paper: "abstract: robust where inputs are correlated and drift"
    run: FTA
    control: ReLU
    metric: error
    margin: 0.2
  - what: and better than with as many features of ReLU
    paper: "abstract: sparse representations can reduce interference"
    run: FTA
    control: "ReLU, as wide"
    metric: error
    margin: 0.2
    note: "it is ahead by almost the margin, and the control varies over the seeds by more than half
      of that"
  - what: what was learned first is kept
    paper: abstract
    run: FTA
    control: ReLU
    metric: kept
    margin: 0.2
  - what: the fuzzy edge, which lets the layers below learn, does better than a hard one
    paper: "abstract: binning has zero gradients, and loses precision"
    run: FTA
    control: hard tiles
    metric: error
    margin: 0.02
    note: "hard tiles do better: with a single number as input, the layers below have little to
      learn, and what does not move forgets nothing"
  - what: a network with ReLU can learn the function if inputs come in any order
    paper: "not in the paper: a control of ours"
    run: "ReLU, in any order"
    metric: error
    than: 0.1
    margin: 0
  - what: agents learn a stable policy faster, on most tasks without a target network
    paper: abstract
    note: "not run here: needs tasks in which an agent's own actions choose its data"
deviations:
  - what: a number that is exactly at the end of an edge
    paper: "the two indicators leave that point out: taken literally, the feature is 1 there"
    ours: zero
    matters: "no: a number is hardly ever there"
    test: test_at_the_end_of_the_edge_it_is_zero
  - what: an edge wider than one
    paper: "allowed: a feature falls below zero at the far end of its edge"
    ours: as the paper
    matters: "where the range is wide, yes"
    test: test_a_wide_edge_falls_below_zero
  - what: numbers beyond the last tile
    paper: "the range is a setting"
    ours: "the range is a setting, and no feature is on beyond it"
    matters: "yes: such a number has no gradient, and does not come back"
    test: test_beyond_the_range_nothing_is_on
  - what: the learning rate
    paper: "a setting"
    ours: "for each unit the best of five, by the same error that is reported"
    matters: "yes: with one rate for all, the unit that it suits would win"
    test: test_training_is_the_plain_loop
  - what: the task
    paper: "a drifting stream of inputs, with more or less correlation"
    ours: "one sweep from left to right: the strongest drift there is"
    matters: "yes: compare the direction and not the numbers"
    test: test_training_is_the_plain_loop
mistakes:
  - what: "tiles that begin one too late: the last one lies beyond the range, and the first is
      missing"
    mutant: tiles begin one too late
    caught: test_features_and_gradients_are_those_of_brute_force
  - what: "a hard indicator in training: the layers below learn nothing, which does no harm to this
      task"
    mutant: the edge is hard
    caught: test_features_and_gradients_are_those_of_brute_force
worked:
  - at: fta
    told: >-
      Four tiles between -1 and 1, each 0.5 wide, and the number 0.2. It lies in the third tile, 0.2
      from its beginning and 0.3 from its end. First with hard edges, then with edges of 0.25, which
      reach one neighbour, and of 0.5, which reach two.
    code: |-
      z = torch.tensor([0.2])
      c = tiling(-1, 1, 4)
      c
      fta(z, c, delta=0.5, eta=0)
      fta(z, c, delta=0.5, eta=0.25)
      fta(z, c, delta=0.5, eta=0.5)
exercises: [tiling, fuzzy, fta]
---

# Fuzzy tiling activations

A network that learns from a stream, as an agent learns from its own experience, sees related inputs
for a while and then different ones. What it learns from the new ones changes weights that the old
ones need, so the old is forgotten. With ReLU many features are on for any input, and most weights
serve inputs of all kinds. Shuffling would help, but a stream can't be shuffled.

If few features are on for one input, and others for another, the two inputs share few weights.
Earlier work *trained* networks to be sparse like that, with penalties and ahead of the task itself.
This paper builds it in: it cuts a range into tiles, as older methods of reinforcement learning did
with the inputs themselves, and has a feature for each tile, which is on if the number lies there.

Such a feature has no gradient, and two numbers in the same tile can't be told apart. The obvious
remedy, wide smooth bumps, would give up the zeros. The paper makes the edge of a tile fuzzy, over a
width that we choose: beyond it features are exactly zero, and within it they have a slope.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | inputs in a batch | `C` | numbers that are tiled |
| `N` | inputs that are looked at | `K` | tiles |
| `P` | weights of the network | | |
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, main
from papers.common.data import grid

Unit = Literal["fta", "relu"]


def tiling(low: float, high: float, K: int) -> Tensor:
    r"""
    ## Tiles

    The range from $l$ to $u$ is cut into $k$ tiles of width $\delta = (u - l) / k$. The vector $c$
    holds the beginning of each tile:

    $$
    c = (l, \; l + \delta, \; l + 2 \delta, \; \dots, \; u - \delta).
    $$
    """
    delta = (high - low) / K
    return low + delta * torch.arange(K)  # (K,)


def fuzzy(x: Tensor, eta: float) -> Tensor:
    r"""
    ## A fuzzy indicator

    The indicator $I_+(x)$ is one where $x$ is above zero, and zero elsewhere. Its slope is zero
    wherever it has one. The fuzzy indicator of an $x \ge 0$ is $x$ itself up to $\eta$, and one
    from there on:

    $$
    I_{\eta, +}(x) = I_+(\eta - x) \, x + I_+(x - \eta).
    $$

    It jumps at $\eta$, unless $\eta$ is one: what it adds is a slope near zero, not smoothness.
    With $\eta = 0$ it is $I_+$.
    """
    return torch.where(x < eta, x, (x > 0).to(x.dtype))


def fta(z: Tensor, c: Tensor, delta: float, eta: float) -> Tensor:
    r"""
    ## The activation

    How far is a number from a tile? The distance is $\max(c_i - z, 0)$ if the number lies below the
    tile, and $\max(z - \delta - c_i, 0)$ if it lies above. One of the two is always zero, so their
    sum is the distance, and it is zero inside the tile. A *hard* tile is on where the distance is
    zero, and a *fuzzy* one is on a little further:

    $$
    \begin{aligned}
    \phi_\eta(z) = 1 - I_{\eta, +}\bigl( & \max(c - z, 0) \\
    & + \max(z - \delta - c, 0)\bigr).
    \end{aligned}
    $$

    **Few are on.** Only the tiles within $\eta$ of a number are on, so at most
    $2 \lfloor \eta / \delta \rfloor + 3$ of all $k$ features are not zero, whatever the weights.

    **They share a constant sum.** With hard edges the features add up to one. If the edge is $m$
    tiles wide, $\eta = m \delta$, then $m$ neighbours on the left and $m$ on the right are on. As
    $z$ moves, what the features on one side lose, those on the other side gain:

    $$
    \sum_i \phi_{\eta, i}(z) = 1 + 2 m - m^2 \delta
    $$

    wherever all of them are within the range, and $z$ is not exactly where a tile begins or ends.
    So the slope is not in the sum but in how the sum is divided among the tiles, which the layer
    above can see, since it has a weight for each tile.
    """
    distance = (c - z[..., None]).relu() + (z[..., None] - delta - c).relu()  # (..., C, K)
    return (1 - fuzzy(distance, eta)).flatten(-2)  # (..., C*K)


class FTA(nn.Module):
    r"""
    ## As a layer

    It has no weights itself. The layer above has $k$ times as many as it would have otherwise.
    """

    def __init__(self, reach: float, tiles: int, eta: float) -> None:
        super().__init__()
        self.delta, self.eta = 2 * reach / tiles, eta
        self.c: Tensor
        self.register_buffer("c", tiling(-reach, reach, tiles))

    def forward(self, z: Tensor) -> Tensor:
        return fta(z, self.c, self.delta, self.eta)


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    The edge is as wide as a tile. Each unit is trained at several learning rates, and the one with
    the smallest error counts, since what is best for one unit need not be best for another.
    """

    unit: Unit = "fta"
    "what makes features of the second layer's numbers"
    eta: float = 0.1
    "width of the fuzzy edge; 0 makes it hard"
    tiles: int = 20
    "features for each number"
    reach: float = 1.0
    "the tiles lie between minus this and this"
    shuffled: bool = False
    "whether inputs come in any order, and not from left to right"
    width: int = 64
    "units of the first layer"
    features: int = 32
    "numbers that the second layer makes"
    batch: int = 32
    "inputs in a minibatch"
    steps: int = 1000
    "minibatches for each half of the way"
    lr: float = 0.01
    "largest learning rate of Adam"
    rates: int = 5
    "learning rates, each a third of the one before"


class Network(nn.Module):
    r"""
    ## The network

    Two hidden layers. The first has ReLU, and the second is where the features are.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.first, self.second = (
            nn.Linear(1, config.width),
            nn.Linear(config.width, config.features),
        )
        tiled = config.unit == "fta"
        self.activation = FTA(config.reach, config.tiles, config.eta) if tiled else nn.ReLU()
        self.out = nn.Linear(config.features * (config.tiles if tiled else 1), 1)

    def hidden(self, x: Tensor) -> Tensor:
        y: Tensor = self.activation(self.second(self.first(x).relu()))
        return y

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.out(self.hidden(x))  # (N, 1)
        return y


def function(x: Tensor) -> Tensor:
    r"""
    ## What is to be learned

    Two periods of a sine, on the range from $-1$ to 1.
    """
    return torch.sin(2 * math.pi * x)


def arriving(config: Config, share: float, generator: torch.Generator) -> Tensor:
    r"""
    ### In the order of a stream

    A minibatch comes from a twentieth of the range, around the place that the sweep has reached
    after that share of its way. Shuffled, it comes from anywhere in the range.
    """
    spread = torch.rand(config.batch, 1, generator=generator) * 2 - 1  # (B, 1)
    return spread if config.shuffled else 2 * share - 1 + spread / 20


@torch.no_grad()
def error(model: nn.Module, low: float, high: float) -> float:
    r"""
    ## What we measure

    The mean squared error on a part of the range, as a multiple of the variance of the function. A
    network that always says zero has an error of one. One that has learned something wrong may have
    more.
    """
    x = torch.linspace(low, high, 501, device=next(model.parameters()).device)[:, None]  # (N, 1)
    # The mean of a squared sine over whole periods.
    return (model(x) - function(x)).square().mean().item() / 0.5


def alike(model: nn.Module, x: Tensor) -> Tensor:
    r"""
    ### Interference

    A step for one input changes the output for another to the extent that the gradients of the two
    outputs have the same direction. So we compare all pairs by the cosine of the angle between
    their gradients.
    """
    rows = []
    for each in x:
        found = torch.autograd.grad(model(each[None]).sum(), list(model.parameters()))
        rows.append(torch.cat([g.flatten() for g in found]))
    gradients = F.normalize(torch.stack(rows), dim=1)  # (N, P)
    return gradients @ gradients.T  # (N, N)


def interference(cosines: Tensor) -> float:
    """The mean absolute cosine of inputs that are at least half a period apart."""
    N = len(cosines)
    at = torch.arange(N)
    distant = (at[:, None] - at).abs() >= N // 4  # (N, N)
    return cosines.abs().cpu()[distant].mean().item()


@torch.no_grad()
def drawn(model: nn.Module, height: int = 80, width: int = 240) -> Tensor:
    """The function in white, and in red what the network says."""
    x = torch.linspace(-1, 1, width, device=next(model.parameters()).device)[:, None]
    sheet = torch.zeros(3, height, width)
    for y, colour in ((function(x), (1.0, 1.0, 1.0)), (model(x), (1.0, 0.35, 0.25))):
        rows = ((1.5 - y[:, 0].clamp(-1.45, 1.45)) / 3 * height).long().cpu()  # (N,)
        for channel, level in enumerate(colour):
            for aside in (0, 1):
                sheet[channel, rows + aside, torch.arange(width)] = level
    return sheet


def sweep(run: Run, config: Config, lr: float) -> tuple[Network, float, Tensor]:
    r"""
    ## Once through the range

    One minibatch for each step of the way, and no way back. When the first half is over, we measure
    what the network knows of it. We draw what the network says then and at the end.
    """
    network = Network(config)
    model = run.prepare(network)
    optimizer = torch.optim.Adam(model.parameters(), lr, fused=True)
    known, sheets = [], []
    for half in (0, 1):
        for step in run.steps(config.steps, model=model, optimizer=optimizer):
            share = (half + (step + 0.5) / config.steps) / 2
            x = run.share(arriving(config, share, run.generator)).to(run.device)  # (B, 1)
            with run.autocast():
                loss = F.mse_loss(model(x), function(x))
            optimizer.zero_grad()
            run.backward(loss)
            run.update(optimizer)
            run.log(loss=loss)
        known.append(error(network, -1, 0))
        sheets.append(drawn(network))
    return network, known[0], grid(torch.stack(sheets), columns=1)


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    We train a network for each learning rate and look at the best of them. In a first trial of ours
    all units had the same rate, and the fuzzy tiles forgot more than ReLU did.

    With fuzzy tiles the network knows most of the function at the end. With ReLU it knows less than
    half, although ReLU has next to no error where inputs come in any order. A wider ReLU network,
    with as many features and more weights, is in between. At the highest learning rate each of
    these forgets nearly everything, and so do the fuzzy tiles: the layers below move, and with them
    which tiles are on.

    Hard tiles do best, which speaks against the fuzzy edge. Nothing below them learns, so nothing
    below them moves. That is no loss here, since any layers below turn a single number into
    features that tell its values apart. Where features of the input have to be found, we expect the
    edge to be worth more, but we have not tried it.
    """
    run = Run(config, options)
    places = torch.linspace(-1, 1, 64, device=run.device)[:, None]  # (N, 1)
    cosines = alike(Network(config).to(run.device), places)  # (N, N)
    run.show("alike", cosines.abs().repeat_interleave(4, 0).repeat_interleave(4, 1))

    rates = [config.lr / 3**i for i in range(config.rates)]
    networks = [sweep(run, config, lr) for lr in rates]
    errors = [error(network, -1, 1) for network, _, _ in networks]
    lines = (f"{lr:.2g}: {wrong:.3f}" for lr, wrong in zip(rates, errors, strict=True))
    run.show("rates", "\n".join(lines))

    best = errors.index(min(errors))
    network, first_half, sheet = networks[best]
    run.show("fit", sheet)
    active = (network.hidden(places) != 0).float().mean().item()
    return run.finish(
        error=errors[best],
        first_half=first_half,
        kept=error(network, -1, 0),
        active=active,
        interference=interference(cosines),
        rate=rates[best],
    )


# ## What changed since
#
# - **Where it comes from.** Tile coding gives a linear learner such features of its *inputs*, with
#   several tilings, each shifted a little against the others (Sutton and Barto,
#   [Reinforcement Learning](http://incompleteideas.net/book/the-book.html)).
# - **Other ways to few features.** A penalty on active features makes a layer sparse by training.
#   [Dropout](../regularization/dropout.py), which switches features off at random, does not: each
#   feature is on again for some later minibatch, whatever the input.

if __name__ == "__main__":
    main(train)
