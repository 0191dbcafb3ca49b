r"""
---
title: CycleGAN
summary: Two translators learn from unpaired pictures that there and back again changes nothing.
paper: Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks
authors: [Jun-Yan Zhu, Taesung Park, Phillip Isola, Alexei A. Efros]
year: 2017
arxiv: "1703.10593"
acronyms: [CycleGAN, cycle consistency, unpaired translation, LSGAN, least squares, PatchGAN,
  identity loss, horse2zebra]
needs: [adversarial/gan, adversarial/dcgan, normalization/instance_norm, vision/resnet]
equals:
  what: "torch's layers in the order of the appendix"
  within: 1e-10
  test: test_the_translator_is_that_of_the_appendix
notation:
  'G': G
  'F': F
  'D_X': D_X
  'D_Y': D_Y
  '\hat{y}': y_hat
  '\lambda': weight
figure:
  file: figures/cycle_gan.svg
  alt: >-
    Above, the outline of a shape, which G turns into a filled one, shown to the judge D_Y, and F
    turns that into an outline again, which is compared with the first. Below, a filled shape goes
    by F to an outline, shown to the judge D_X, and by G back to a filled one.
  caption: >-
    Both ways around. Nobody knows what the picture in the middle should be: a judge says whether it
    looks like one of its kind, and the way back whether it still says what it was made from.
metrics:
  error: {name: error of G against the true translation, better: lower}
  symmetric: {name: "error of G, up to a symmetry", better: lower}
  error_back: {name: error of F against the true translation, better: lower}
  symmetric_back: {name: "error of F, up to a symmetry", better: lower}
  unmoved: {name: error of points that are left as they are, better: lower}
  kept: {name: colours that are kept, unit: "%", better: higher}
  around: {name: "distance of F(G(x)) from x", better: lower}
  around_back: {name: "distance of G(F(y)) from y", better: lower}
  cycle: {name: loss of the cycles, better: lower, scale: log}
  judged: {name: loss of the judges, better: lower}
runs:
  both ways: ""
  no cycle: --cycle none
  one way: --cycle forward
  logarithms: --loss log
shows:
  points: >-
    above, new points of the lying bar, what G makes of them, and what F makes of that; below,
    points of the standing bar, what F makes of them, and what G makes of that. A point keeps the
    colour that it has at the left
  found: the symmetry of the truth that is nearest to G
claims:
  - what: up to a symmetry, the turn is found without a single pair
    paper: "section 3: learning mappings between two domains from samples of each"
    run: both ways
    metric: symmetric
    against: unmoved
    margin: 0.4
    note: "two seeds come within 0.06 of a turn in a mirror; one squeezes the bar instead, which no
      loss tells from a turn, and which is none of the four symmetries that we count"
  - what: without the cycle it is not
    paper: "section 5.1.4 and tables 4 and 5: removing the loss degrades the results"
    run: both ways
    control: no cycle
    metric: symmetric
    margin: 0.05
    note: "a bar that is squeezed counts as wrong; with each seed the cycle closes to less than
      0.01, and without its loss to no less than 0.2"
  - what: one direction is not enough for the other
    paper: "section 5.1.4: collapse, especially in the direction that was removed"
    run: both ways
    control: one way
    metric: around_back
    margin: 0.05
    note: "the direction that nothing asks for closes to 0.004 with each seed, as the other does"
  - what: squares are better than logarithms
    paper: "section 4: more stable, and of higher quality"
    run: both ways
    control: logarithms
    metric: symmetric
    margin: 0.05
    note: "the same with both: two seeds come within 0.06 of a turn, and the third errs by 0.5"
  - what: outlines are filled, and colours kept where the identity term is added
    paper: "section 5.2 and figure 9: without it the tint may change for no reason"
    note: "not recorded, and there is no run without the term beside it. With `--task shapes --width
      16 --batch 2 --lr 0.0005 --identity 0.5 --steps 1000`, tried once, shapes come out filled and
      keep their colours, but the grey around them is speckled, so that a translation is about as
      far from the truth as the picture left as it is"
  - what: "translations of maps and aerial photographs pass for real in a quarter of trials"
    paper: "section 5.1.3 and table 1"
    note: "not run here"
deviations:
  - what: strides of the judge
    paper: "2 in all four layers (appendix 7.2), and patches of 70 by 70 (section 4)"
    ours: "1 in the last of them, for patches of 70 by 70"
    others: "the authors' code: the same"
    matters: "yes: the two don't go together; with 2 in all four, patches have 94 by 94"
    test: test_a_judge_sees_patches_of_70_pixels
  - what: the end of a translator
    paper: "c7s1-3, by its definition with normalisation and a rectifier (appendix 7.2)"
    ours: "the convolution, then tanh"
    others: "the authors' code: the same"
    matters: "yes: a rectifier draws nothing below zero, and after normalisation no channel could be
      dark all over"
    test: test_a_translation_can_be_black
  - what: which pictures the history returns
    paper: "not written; it keeps 50"
    ours: "all until it is full, then an earlier one in half of the cases"
    others: "the authors' code: the same"
    matters: "not tried"
    test: test_the_history_against_a_list
  - what: how far back the history reaches
    paper: "50 pictures and a batch of 1: one stays for about 100 steps"
    ours: "50 points and a batch of 64: one stays for about a step and a half"
    matters: "not tried"
  - what: the norm of a cycle
    paper: "a sum of absolute values (eq. 2)"
    ours: "their average"
    others: "the authors' code: the same"
    matters: "yes, for the weight: 10 for the average of a picture of 256 by 256 is 10 divided by
      196,608 for the sum"
    test: test_the_norm_is_the_average_times_the_pixels
  - what: Adam
    paper: "learning rate 0.0002 (section 4)"
    ours: "0.002; the momentum of 0.5 is DCGAN's"
    matters: "for time"
    test: test_training_is_this_loop
mistakes:
  - what: a made point that is judged together with those it was made from
    mutant: each judge gets what the other should
    caught: test_training_is_this_loop
  - what: comparing what came back with what it should have become
    mutant: the cycle is compared with the other domain
    caught: test_the_objective_and_its_gradients_are_the_equations
worked:
  - at: distance
    told: >-
      Two pictures of one pixel, red and blue. G makes red of blue and blue of red, and F the same:
      each translation may be wrong, and the cycle is perfect all the same.
    code: |-
      x = torch.tensor([[1.0, -1.0, -1.0], [-1.0, -1.0, 1.0]])
      G = F = lambda picture: picture[:, [2, 1, 0]]
      distance(G(x), x)
      distance(F(G(x)), x)
exercises: [judge_loss, objective, rate, receptive_field]
---

# CycleGAN

To learn from examples how to translate one kind of picture into another, say outlines into filled
shapes, one would like pairs: this outline belongs to that shape. For most kinds there are none.
Nobody has photographed what Monet painted. What we have is a heap of paintings and a heap of
photographs.

A [discriminator](gan.py) gets by with heaps. It can teach a translator $G$ to make pictures that
look like those of the second heap. But it never asks *which* picture $G$ makes. Any shape will do
for any outline, and even one good shape for all of them, if the judge is slow.

So this paper adds a second translator $F$ for the way back, and asks that what went there
and back is what it was. To find its way back from a shape, $F$ has to see in it which outline it
was made from.

We train on points in the plane, where one can see where each goes: a bar that lies, and one that
stands. How they belong together, by a turn, we know and the networks are never told. The paper's
networks for pictures are here as well, with outlines and filled shapes to train them on.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | pictures in a batch | `N` | pictures drawn, or points |
| `C` | maps | `E` | maps of the next layer |
| `S` | side of a picture | `K` | symmetries |
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from papers.adversarial.dcgan import start_small
from papers.adversarial.gan import generator_loss, network, value
from papers.common import Options, Run, main
from papers.common.data.grids import enlarged, grid
from papers.common.data.shapes import COLOURS, covered
from papers.normalization.instance_norm import FusedInstanceNorm

Task = Literal["bar", "shapes"]
Loss = Literal["squares", "log"]
Cycle = Literal["both", "forward", "backward", "none"]


def judge_loss(real: Tensor, fake: Tensor, loss: Loss = "squares") -> Tensor:
    r"""
    ## Two games

    Domain $X$ has pictures $x$, and $Y$ has pictures $y$. The translator $G$ makes
    $\hat{y} = G(x)$, and a judge $D_Y$ tells those from real ones. Eq. 1 is
    [the value of the game](gan.py#the-game), with a picture where noise was:

    $$
    \begin{aligned}
    \mathcal{L}_{\text{GAN}}(G, D_Y, X, Y) &= \mathbb{E}_y \log D_Y(y) \\
    &\quad + \mathbb{E}_x \log (1 - D_Y(G(x))).
    \end{aligned}
    $$

    On the way back $F$ plays the same against $D_X$.

    In place of the logarithms, section 4 takes squares (Mao 2016,
    [arXiv](https://arxiv.org/abs/1611.04076)): the judge should answer 1 for what is real and 0 for
    what is made. Half the sum is its loss, to slow it down (appendix 7.1). The best answer is that
    of [the first game](gan.py#the-best-discriminator), $p / (p + q)$, the mean of ones and zeros in
    this place, now given without a sigmoid.
    """
    if loss == "log":
        return -value(real, fake) / 2
    return ((real - 1).square().mean() + fake.square().mean()) / 2


def translator_loss(fake: Tensor, loss: Loss = "squares") -> Tensor:
    r"""
    ### What a translator wants

    An answer of 1. Its slope, $2 (D - 1)$, grows with the distance to that. So there is a pull even
    where the judge is sure. It pulls also where the answer is above 1, and a made picture looks
    more real than it should: back, to the border.
    """
    return generator_loss(fake) if loss == "log" else (fake - 1).square().mean()


def distance(one: Tensor, other: Tensor) -> Tensor:
    r"""
    ## There and back

    What comes back is compared pixel by pixel, in both directions (eq. 2):

    $$
    \mathcal{L}_{\text{cyc}}(G, F) = \mathbb{E}_x \lVert F(G(x)) - x \rVert_1
    + \mathbb{E}_y \lVert G(F(y)) - y \rVert_1.
    $$

    The first term alone says that $G$ is one-to-one: it may not make the same of two outlines. The
    second says the same of $F$. It is needed only for those $y$ that $G$ never makes, for where
    $y = G(x)$ and the first is zero, $G(F(y)) = G(F(G(x))) = G(x) = y$. We take the mean over
    pixels, where the norm is a sum.

    ### What it does not say

    Which one belongs to which. Let $T$ be any map of $Y$ to itself that has an inverse and leaves
    the distribution of $Y$ as it is. If the pair $(G, F)$ is perfect then so is
    $(T \circ G, F \circ T^{-1})$: its cycle is
    $F \circ T^{-1} \circ T \circ G = F \circ G$, and no judge sees a difference. If red, green and
    blue shapes are equally many, $T$ may exchange the colours. Section 6 saw that happen, to
    trees and buildings. What decides in such a case is only what a network finds easy.
    """
    return (one - other).abs().mean()


class Players(NamedTuple):
    """The two translators and their judges."""

    G: nn.Module
    F: nn.Module
    D_X: nn.Module
    D_Y: nn.Module


def objective(
    players: Players, x: Tensor, y: Tensor, config: Config
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r"""
    ## The full objective

    What both translators minimise together (eq. 3 and 4), where the games are those of
    [squares](#what-a-translator-wants):

    $$
    \begin{aligned}
    \mathcal{L}(G, F, D_X, D_Y) &= \mathcal{L}_{\text{GAN}}(G, D_Y, X, Y) \\
    &\quad + \mathcal{L}_{\text{GAN}}(F, D_X, Y, X) \\
    &\quad + \lambda \mathcal{L}_{\text{cyc}}(G, F).
    \end{aligned}
    $$

    Where colours should stay, section 5.2 adds a term: a picture that is already of the kind which
    a translator makes should be left alone,
    $\mathbb{E}_y \lVert G(y) - y \rVert_1 + \mathbb{E}_x \lVert F(x) - x \rVert_1$, here with a
    share of $\lambda$. A $G$ that keeps red filled shapes red has a reason to fill red outlines
    with red.
    """
    G, F, D_X, D_Y = players
    y_hat, x_hat = G(x), F(y)
    loss = translator_loss(D_Y(y_hat), config.loss) + translator_loss(D_X(x_hat), config.loss)
    cycle = x.new_zeros(())
    if config.cycle in ("both", "forward"):
        cycle = cycle + distance(F(y_hat), x)
    if config.cycle in ("both", "backward"):
        cycle = cycle + distance(G(x_hat), y)
    loss = loss + config.weight * cycle
    if config.identity > 0:
        loss = loss + config.weight * config.identity * (distance(G(y), y) + distance(F(x), x))
    return loss, cycle, x_hat, y_hat


class History(nn.Module):
    r"""
    ## What was made before

    A judge that sees only the latest pictures forgets earlier faults, and the translators can
    return to them, in circles. So it is shown a mixture (section 4): 50 earlier pictures are kept,
    and each new one either goes to the judge itself or takes the place of an earlier one,
    which goes instead. A checkpoint holds them, too.
    """

    kept: Tensor
    count: Tensor

    def __init__(self, size: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("kept", torch.zeros(size, *shape))
        self.register_buffer("count", torch.tensor(0))

    @torch.no_grad()
    def exchange(self, fresh: Tensor, chance: torch.Generator) -> Tensor:
        size, count = len(self.kept), int(self.count)
        swap = (torch.rand(len(fresh), generator=chance) < 0.5).tolist()
        place = torch.randint(size, (len(fresh),), generator=chance).tolist()
        every = torch.cat([self.kept, fresh])
        # Both as numbers of a picture in `every`.
        kept, shown = list(range(size)), list(range(size, len(every)))
        for k, number in enumerate(shown):
            if count < size:
                kept[count] = number
                count += 1
            elif swap[k]:
                shown[k] = kept[place[k]]
                kept[place[k]] = number
        self.kept.copy_(every[kept])
        self.count.fill_(count)
        return every[shown]


def convolution(C: int, E: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    r"""
    ## A translator

    In the words of appendix 7.2, at full size: `c7s1-64, d128, d256, R256` nine times,
    `u128, u64, c7s1-3`. A `c7s1` is a convolution of 7 by 7 pixels with a stride of 1, a `d` halves
    the picture, an `R` is a residual block and a `u` doubles.

    The picture is mirrored at its edges, so that nothing there is surrounded by zeros. Each layer
    has [instance normalisation](../normalization/instance_norm.py) and a rectifier. Its bias does
    nothing, for normalisation subtracts it; the paper's networks have it, and so do ours.
    """
    layer = nn.Conv2d(C, E, kernel, stride, kernel // 2, padding_mode="reflect")
    return [layer, FusedInstanceNorm(E), nn.ReLU()]


class Residual(nn.Module):
    def __init__(self, C: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*convolution(C, C, 3), *convolution(C, C, 3)[:-1])

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.layers(x)  # (B, C, S, S)
        return y


def translator(widths: tuple[int, ...], blocks: int, channels: int = 3) -> nn.Sequential:
    r"""
    ### All of it

    What it does not change it can pass through the residual blocks. There is no noise in it: a
    picture has one translation. The last layer has neither normalisation nor rectifier,
    but a tanh, for pixels from -1 to 1. First weights are [DCGAN's](dcgan.py#first-weights).
    """
    layers = convolution(channels, widths[0], 7)
    for C, E in itertools.pairwise(widths):
        layers += convolution(C, E, 3, stride=2)
    layers += [Residual(widths[-1]) for _ in range(blocks)]
    for C, E in itertools.pairwise(widths[::-1]):
        up = nn.ConvTranspose2d(C, E, 3, stride=2, padding=1, output_padding=1)
        layers += [up, FusedInstanceNorm(E), nn.ReLU()]
    last = convolution(widths[0], channels, 7)[0]
    return nn.Sequential(*layers, last, nn.Tanh()).apply(start_small)


def judge(widths: tuple[int, ...], channels: int = 3) -> nn.Sequential:
    r"""
    ## A judge of patches

    `C64-C128-C256-C512`, each a convolution of 4 by 4 with a leaky rectifier, and then one to a
    single map. Each number of that map judges one patch of the picture, and the loss averages them.
    So it looks at texture and edges. What the picture says as a whole is left to the cycle. The
    first layer is not normalised.
    """
    layers: list[nn.Module] = [nn.Conv2d(channels, widths[0], 4, 2, 1), nn.LeakyReLU(0.2)]
    for C, E in itertools.pairwise(widths):
        # With a stride of 2 in the last one, too, a patch would have 94 pixels, not the 70 of
        # section 4.
        stride = 1 if widths[-1] == E else 2
        layers += [nn.Conv2d(C, E, 4, stride, 1), FusedInstanceNorm(E), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, 1, 1)).apply(start_small)


def receptive_field(network: nn.Module) -> int:
    r"""
    ### How large a patch is

    We go back from one number of the last map. If it sees $r$ numbers across of what a layer with
    a kernel of $k$ and a stride of $s$ gives, then of its input $r \leftarrow (r - 1) s + k$.
    """
    r = 1
    for layer in reversed([m for m in network.modules() if isinstance(m, nn.Conv2d)]):
        r = (r - 1) * layer.stride[0] + layer.kernel_size[0]
    return r


def shapes(N: int, seed: int, S: int = 16) -> tuple[Tensor, Tensor]:
    r"""
    ## Pairs that nobody is told

    A circle, a square or a triangle, in red, green or blue, near the middle,
    [drawn](../common/data/shapes.py) once as an outline and once filled. For training we take the
    outlines of one seed and the filled shapes of another, so no outline has its partner.
    """
    chance = np.random.default_rng(seed)
    kind, colour = chance.integers(3, size=N), chance.integers(3, size=N)
    radius, middle = chance.uniform(0.24, 0.34, N), chance.uniform(0.4, 0.6, (N, 2))
    filled = covered(kind, middle, radius, S)
    outline = filled - covered(kind, middle, radius - 0.11, S)
    # Of full colour on grey, which is zero.
    inks = 2 * torch.tensor(COLOURS)[torch.from_numpy(colour)] - 1  # (N, 3)
    x, y = (torch.from_numpy(each).float()[:, None] for each in (outline, filled))
    return inks[:, :, None, None] * x, inks[:, :, None, None] * y


def bar(N: int, seed: int) -> tuple[Tensor, Tensor]:
    r"""
    ### In the plane

    And, smaller still, points in a lying rectangle and in one that stands: the same, turned by a
    right angle.
    """
    chance = torch.Generator().manual_seed(seed)
    x = (torch.rand(N, 2, generator=chance) - 0.5) * torch.tensor([2.0, 1.0])  # (N, 2)
    return x, torch.stack([-x[:, 1], x[:, 0]], 1)


def pairs(task: Task, N: int, seed: int) -> tuple[Tensor, Tensor]:
    return shapes(N, seed) if task == "shapes" else bar(N, seed)


def disguises(task: Task, y: Tensor) -> Tensor:
    r"""
    ## Right, up to a symmetry

    Some of what [no loss can tell](#there-and-back) from the true translation: exchanging colours,
    or, in the plane, mirroring. The first one is the truth. They are not all there is: in the plane
    anything that leaves areas as large as they are, such as a whirl, or a turn by a right angle
    with a squeeze after it, is a symmetry of an evenly filled rectangle.
    """
    if task == "shapes":
        return torch.stack([y[:, list(order)] for order in itertools.permutations(range(3))])
    signs = itertools.product((1.0, -1.0), repeat=2)
    return torch.stack([y * y.new_tensor(sign) for sign in signs])


# What the four of the plane are called, in their order.
FOUND = ("the turn", "the turn, upside down", "the turn, left for right", "the turn backwards")


def errors(task: Task, made: Tensor, true: Tensor) -> Tensor:
    """How far `made` is from each disguise of the truth, on average over pixels."""
    return (disguises(task, true) - made).abs().flatten(1).mean(1)  # (K,)


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    With a `task` of `bar`, the players are those of [the first game](gan.py#the-players).
    """

    task: Task = "bar"
    "a bar of points that is turned, or shapes: outlines and filled ones"
    loss: Loss = "squares"
    "of the games: least squares, or the logarithms of eq. 1"
    cycle: Cycle = "both"
    "cycles that have to close: both, forward (from X), backward (from Y) or none"
    weight: float = 10.0
    "of the cycles, the paper's lambda"
    identity: float = 0.0
    "weight of the identity term, as a share of that; 0.5 in appendix 7.1"
    history: int = 50
    "made pictures that are kept for each judge"
    width: int = 64
    "units of a hidden layer, or maps of the first one; 64 in the paper"
    blocks: int = 2
    "residual blocks of a translator of pictures; the paper has 9, or 6 for small pictures"
    batch: int = 64
    "points or pictures in a batch, of either domain; 1 in the paper"
    steps: int = 800
    "steps of the translators, and of the judges"
    lr: float = 0.002
    "learning rate of Adam for the first half; the paper has 0.0002"
    number: int = 600
    "points or pictures to translate and judge"


def players_of(config: Config) -> Players:
    if config.task == "bar":
        G, F = (network(2, config.width, 2) for _ in range(2))
        D_X, D_Y = (network(2, config.width, 1) for _ in range(2))
    else:
        widths = (config.width, 2 * config.width)
        G, F = (translator(widths, config.blocks) for _ in range(2))
        D_X, D_Y = (judge(widths) for _ in range(2))
    return Players(G, F, D_X, D_Y)


def rate(step: int, steps: int, lr: float) -> float:
    r"""
    ## The learning rate

    The same for the first half, then in a straight line towards zero. The paper takes 100 epochs
    for each half.
    """
    return lr * min(1.0, 2 * (1 - step / steps))


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    One step of both translators, then one of both judges, on pictures that the history gives out.
    What a translator made is used twice: its own step needs the graph, the judges' does not.

    In the pictures of points, of the first seed, colours show where each goes. Without the cycle G
    puts them all on a bent line, and F into a thin wedge. With it they fill the bar, and two of
    three seeds come to a turn in a mirror. The third squeezes the bar to half its length and twice
    its height. No loss sees a mistake there: the standing bar is filled as evenly, and the way back
    is as exact. More data would not help. A pair would, or a bar with one end unlike the other.
    """
    run = Run(config, options)
    X, Y = pairs(config.task, 2000, 1)[0], pairs(config.task, 2000, 2)[1]
    xs, ys = run.batches(X, size=config.batch), run.batches(Y, size=config.batch)
    nets = players_of(config)
    players = Players(*map(run.prepare, nets))
    D_X, D_Y = players.D_X, players.D_Y
    down = torch.optim.Adam([*nets.G.parameters(), *nets.F.parameters()], config.lr, (0.5, 0.999))
    up = torch.optim.Adam([*nets.D_X.parameters(), *nets.D_Y.parameters()], config.lr, (0.5, 0.999))
    made_x, made_y = (History(config.history, X.shape[1:]).to(run.device) for _ in range(2))
    made = {"made_x": made_x, "made_y": made_y}

    for step in run.steps(config.steps, **nets._asdict(), **made, up=up, down=down):
        for group in (*down.param_groups, *up.param_groups):
            group["lr"] = rate(step, config.steps, config.lr)
        (x,), (y,) = xs[step], ys[step]
        with run.autocast():
            loss, cycle, x_hat, y_hat = objective(players, x, y, config)
        down.zero_grad()
        run.backward(loss)
        run.update(down)
        x_old = made_x.exchange(x_hat, run.generator)
        y_old = made_y.exchange(y_hat, run.generator)
        with run.autocast():
            judged = judge_loss(D_X(x), D_X(x_old), config.loss)
            judged = judged + judge_loss(D_Y(y), D_Y(y_old), config.loss)
        up.zero_grad()
        run.backward(judged)
        run.update(up)
        run.log(cycle=cycle, judged=judged)

    return run.finish(**measure(run, nets))


@torch.no_grad()
def measure(run: Run, players: Players) -> dict[str, float]:
    r"""
    ## What we measure

    On new pictures, of which we know both sides: how far a translation is from the true one, pixel
    by pixel, and from the nearest of its [disguises](#right-up-to-a-symmetry), and how far a
    picture that is left as it is.
    """
    config: Config = run.config
    x, y = (each.to(run.device) for each in pairs(config.task, config.number, 3))
    y_hat, x_hat = players.G(x), players.F(y)
    there, back = errors(config.task, y_hat, y), errors(config.task, x_hat, x)
    rows = [x, y_hat, players.F(y_hat), y, x_hat, players.G(x_hat)]
    told = {
        "error": there[0].item(),
        "symmetric": there.min().item(),
        "error_back": back[0].item(),
        "symmetric_back": back.min().item(),
        "unmoved": distance(x, y).item(),
        "around": distance(rows[2], x).item(),
        "around_back": distance(rows[5], y).item(),
    }
    if config.task == "shapes":
        colour, true = (each.sum((2, 3)).argmax(1) for each in (y_hat, y))  # (N,), (N,)
        told["kept"] = (colour == true).float().mean().item()
        sheet = torch.cat([row[:12] for row in rows])
        run.show("there_and_back", grid(enlarged((sheet.cpu() + 1) / 2, 32), columns=12))
    else:
        run.show("found", FOUND[int(there.argmin())])
        starts = [x] * 3 + [y] * 3
        drawn = [dots(row.cpu(), start.cpu()) for row, start in zip(rows, starts, strict=True)]
        run.show("points", grid(torch.stack(drawn), columns=3, gap=4))
    return told


def dots(points: Tensor, start: Tensor, side: int = 150) -> Tensor:
    r"""
    ### A picture of points

    Each in the colour of the place that it started from.
    """
    edge = 1.4
    sheet = torch.ones(3, side, side)
    cells = ((points * points.new_tensor([1.0, -1.0]) + edge) / (2 * edge) * (side - 1)).long()
    inside = ((cells >= 0) & (cells < side - 1)).all(dim=1)  # (N,)
    right, up = (start / start.abs().amax(0)).unbind(1)  # (N,), (N,)
    ink = torch.stack([0.5 + 0.45 * right, 0.35 - 0.3 * up, 0.5 - 0.45 * right])  # (3, N)
    column, row = cells[inside].unbind(1)
    for across, below in itertools.product((0, 1), repeat=2):
        sheet[:, row + below, column + across] = ink[:, inside]
    return sheet


# ## What changed since
#
# - **At the same time** two other groups had the same idea, under the names of
#   [DiscoGAN](https://arxiv.org/abs/1703.05192) and [DualGAN](https://arxiv.org/abs/1704.02510).
# - **What is hidden.** A translator can close the cycle by writing what it needs for the way back
#   into the picture, too faintly to be seen (Chu 2017, [arXiv](https://arxiv.org/abs/1712.02950)).
# - **Which solution.** How many there are is a question of the symmetries of the two domains
#   (Moriakov 2020, [arXiv](https://arxiv.org/abs/2001.09061)). That networks often find the wanted
#   one may be because it is the simplest (Galanti 2017,
#   [arXiv](https://arxiv.org/abs/1709.00074)).
# - **Without the way back.** If each patch of a translation is to be closer to the patch that it
#   was made from than to others, one translator is enough (Park 2020,
#   [arXiv](https://arxiv.org/abs/2007.15651)).

if __name__ == "__main__":
    main(train)
