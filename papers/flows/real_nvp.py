r"""
---
title: Real NVP
summary: A network that can be run backwards, so the density of its samples is known exactly.
paper: Density estimation using Real NVP
authors: [Laurent Dinh, Jascha Sohl-Dickstein, Samy Bengio]
year: 2016
arxiv: "1605.08803"
acronyms: [RealNVP, NICE, normalizing flow, coupling layer, dequantization, change of variables]
needs: [optimizers/adam]
equals:
  what: normflows' AffineCouplingBlock and MaskedAffineFlow
  within: 1e-9
  test: test_a_coupling_is_that_of_normflows
notation:
  'b': mask
  's': s
  't': t
  'z': z
  '\alpha': EDGE
figure:
  file: figures/real_nvp.svg
  alt: >-
    Above, two halves of x enter a coupling. One goes through unchanged and also into a network,
    which gives s and t. The other is multiplied by the exponential of s, and t is added. Below, an
    8 by 8 image under a checkerboard, then four channels of 4 by 4 of which two are kept, and then
    two channels of which half the pixels are kept. Two of the four channels leave on the way.
  caption: >-
    A coupling, and the order of masks for digits, as `checkerboard` and `halves` make them. Dark
    cells are kept, and the others are changed.
metrics:
  gap: {name: how far the likelihood of held-out points is from the true one, unit: nats,
    better: lower}
  nll: {name: negative log-likelihood of held-out points, unit: nats, better: lower}
  entropy: {name: the same under the true density, unit: nats}
  bits: {name: bound on the codelength of held-out digits, unit: bits a dimension, better: lower}
  frechet: {name: Fréchet distance of samples to training images, better: lower}
  floor: {name: the same of held-out images, better: lower}
  loss: {name: training loss, unit: nats, better: lower}
runs:
  moons: ""
  moons, only shifts: --no-scale
  digits: --task digits --steps 300
  digits, only shifts: --task digits --steps 300 --no-scale
  digits without noise: --task digits --steps 300 --no-noise
shows:
  density: >-
    the true density, what the flow has learned, and 20,000 of its samples
  samples: >-
    digits that the flow draws, none picked by hand
claims:
  - what: on two moons, the likelihood comes close to the best possible
    paper: "not there: its data are photographs, whose entropy nobody knows"
    run: moons
    metric: gap
    than: 0.1
    margin: 0
  - what: layers that also scale are better than layers that only shift
    paper: "in words: NICE preserves volume"
    run: moons
    control: moons, only shifts
    metric: gap
    margin: 0.05
  - what: so they are on digits
    paper: "in words: NICE preserves volume"
    run: digits
    control: digits, only shifts
    metric: bits
    margin: 0.05
  - what: whole numbers need noise, or the likelihood that is learned says nothing of them
    paper: "not there: it adds the noise as others did before"
    run: digits
    control: digits without noise
    metric: bits
    margin: 0.5
  - what: 3.49 bits a dimension on CIFAR-10
    paper: "table 1, quoted in Glow's"
    note: "not run here: our digits are no photographs, and our network is far smaller"
deviations:
  - what: how shades become numbers without bounds
    paper: "logit(alpha + (1 - alpha) x / 256) with alpha 0.05"
    ours: "logit(alpha + (1 - 2 alpha) x / 17), the same at both ends"
    others: "MAF: ours"
    matters: "yes: the paper's has no bound where the shade is the brightest"
    test: test_the_papers_logit_has_no_bound_at_one_end
  - what: batch normalisation
    paper: within the networks, and on what a coupling gives
    ours: none
    matters: "not tried: ten couplings train without it"
  - what: the networks of a coupling
    paper: deep residual networks with weight normalisation
    ours: two hidden layers, and a last layer that starts at zero
    others: "Glow: two hidden layers, and the same start"
    matters: "for the start: every coupling is the identity"
    test: test_it_starts_as_the_identity
  - what: a factor for each variable at the end
    paper: none
    ours: as in NICE, so that layers which only shift can still change the volume
    matters: "for the control, which would be unfair without it"
    test: test_shifts_change_the_volume_by_a_constant
mistakes:
  - what: a density without the volume that the map takes up
    mutant: no determinant
    caught: test_densities_integrate_to_one
  - what: networks that see what they are to change
    mutant: the mask left out before the network
    caught: test_the_determinant_is_that_of_autograd
  - what: "learning whole numbers as they are, a point each"
    mutant: no noise in training
    caught: test_training_is_the_plain_loop
worked:
  - at: to_logits
    told: >-
      Shades 0, 8 and 16 of 17, each with noise of one half. First the logits, then the logarithm of
      the derivative by the shade, and last the shades again. At the ends a step of one shade is
      much longer than in the middle.
    code: |-
      shades = torch.tensor([[0.5, 8.5, 16.5]])
      y, log_det = to_logits(shades)
      y
      log_det
      from_logits(y)
exercises: [Coupling.forward, Coupling.inverse, codelength]
---

# Real NVP

Push Gaussian noise through a function, and you have samples of something. To train the function by
maximum likelihood we must know how probable it makes a given $x$, so we must find the noise that
$x$ came from, and how much the function stretches space there. For most networks neither is
feasible: there is no inverse, and the determinant of a $D \times D$ Jacobian costs $D^3$.

The answer is a layer that leaves half of the variables as they are, and lets *them* decide how the
other half is scaled and shifted. To undo it, compute the same scale and shift from the half that
has not changed. The Jacobian is triangular, so its determinant is a product. And since the
network that computes scale and shift is never inverted, it can be anything.

For numbers without gaps this model needs no bound and no approximation. (Whole numbers, such as
shades, will need a bound.) Likelihood, sampling and the code of an $x$ are exact, and each takes
one pass. So we can hold it against the truth: we let it learn two
moons, whose density is known, and measure how many nats it misses.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | points or images | `D` | variables of a point |
| `C` | channels | `H`, `W` | height and width |
| `K` | points on the moons | `N` | what is drawn or held out |
| `P` | places of a picture | | |
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, main
from papers.common.data import digits
from papers.common.data.grids import enlarged, grid
from papers.common.judging import in_batches
from papers.diffusion.frechet import classifier, frechet

Board = Callable[[int, int, int, bool], Tensor]


class Coupling(nn.Module):
    r"""
    ## The coupling layer

    A mask $b$ of ones and zeros says what is kept. From that, a network computes a scale and a
    shift for the rest:

    $$
    y = b \odot x + (1 - b) \odot \big( x \odot e^{s(b \odot x)} + t(b \odot x) \big).
    $$

    What is kept depends on nothing else, and each $y_i$ that is changed depends only on its own
    $x_i$ and on what is kept. Order the variables with the kept ones first, and the Jacobian is

    $$
    \frac{\partial y}{\partial x^\top} = \begin{bmatrix} I & 0 \\ \cdot & \operatorname{diag}(e^s)
    \end{bmatrix}, \qquad \log \det = \sum_i (1 - b_i)\, s_i.
    $$

    Nobody has to know what stands in the lower left. So $s$ and $t$ may be as deep as one likes.

    Without `scale`, $s = 0$: that is the layer of NICE (Dinh 2014,
    [arXiv](https://arxiv.org/abs/1410.8516)), which shifts and never changes the volume.
    """

    mask: Tensor

    def __init__(self, network: nn.Module, mask: Tensor, scale: bool = True) -> None:
        super().__init__()
        self.network, self.scale = network, scale
        self.register_buffer("mask", mask, persistent=False)
        # One for each channel, or for each variable of a point.
        self.gain = nn.Parameter(torch.ones(len(mask), *(1 for _ in mask.shape[1:])))

    def scale_and_shift(self, x: Tensor) -> tuple[Tensor, Tensor]:
        r"""
        ### Scale and shift

        One network gives both. The scale goes through a hyperbolic tangent, times a learned gain.
        Without that, a single large output would soon make the exponential overflow.
        """
        raw, t = self.network(self.mask * x).chunk(2, dim=1)
        s = self.gain * raw.tanh() if self.scale else torch.zeros_like(t)
        return (1 - self.mask) * s, (1 - self.mask) * t

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        s, t = self.scale_and_shift(x)
        # Both are zero where something is kept, and a factor of one and a shift of zero keep it.
        return x * s.exp() + t, s.flatten(1).sum(1)  # (B, ...), (B,)

    def inverse(self, y: Tensor) -> Tensor:
        r"""
        ### Backwards

        What was kept is in $y$ as it was in $x$, so the network gives the same scale and shift:

        $$
        x = b \odot y + (1 - b) \odot \big( y - t(b \odot y) \big) \odot e^{-s(b \odot y)}.
        $$

        That is as fast as forwards, which can't be said of a density that is learned variable by
        variable.
        """
        s, t = self.scale_and_shift(y)
        return (y - t) * (-s).exp()


def checkerboard(C: int, H: int, W: int, odd: bool) -> Tensor:
    r"""
    ## What is kept

    A single coupling leaves half of $x$ as it was. The next keeps the other half, and so on in
    turn.

    In an image, the neighbours of a pixel know most of it, so a checkerboard keeps every other
    pixel. In an image with many channels, half of the channels are kept.
    """
    across, along = torch.arange(W), torch.arange(H)[:, None]
    board = (across + along + int(odd)) % 2  # (H, W)
    return board.float().expand(C, H, W)  # (C, H, W)


def halves(C: int, H: int, W: int, odd: bool) -> Tensor:
    kept = (torch.arange(C) < C // 2) != odd  # (C,)
    return kept.float()[:, None, None].expand(C, H, W)  # (C, H, W)


class Chain(nn.Module):
    r"""
    ## One after the other

    A composition is inverted from its end, and the logarithms of the determinants add up.
    """

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        log_det = x.new_zeros(len(x))  # (B,)
        for layer in self.layers:
            x, more = layer(x)
            log_det = log_det + more  # (B,)
        return x, log_det

    def inverse(self, z: Tensor) -> Tensor:
        for layer in reversed(self.layers):
            z = layer.inverse(z)  # type: ignore[operator]
        return z


class MultiScale(nn.Module):
    r"""
    ## Several scales

    After some couplings, each square of 2×2 pixels becomes one pixel with four times the
    channels. After some more, half of the channels are done: they are noise already, and only the
    other half goes on, to a coarser scale. So the image's coarse content gets the most layers, and
    most layers work on few pixels.

    The paper counts what is left out as part of the noise $z$. We put it back into its place, so
    that $z$ has the shape of $x$.
    """

    def __init__(self, fine: Chain, channels: Chain, coarse: Chain) -> None:
        super().__init__()
        self.fine, self.channels, self.coarse = fine, channels, coarse

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h, first = self.fine(x)  # (B, C, H, W), (B,)
        # The four pixels of a square come in reading order. Halves are its two rows, which is
        # another division than that of a checkerboard.
        h, second = self.channels(F.pixel_unshuffle(h, 2))  # (B, 4*C, H/2, W/2), (B,)
        done, h = h.chunk(2, dim=1)  # (B, 2*C, H/2, W/2), (B, 2*C, H/2, W/2)
        h, third = self.coarse(h)  # (B, 2*C, H/2, W/2), (B,)
        z = F.pixel_shuffle(torch.cat([done, h], 1), 2)  # (B, C, H, W)
        return z, first + second + third  # (B, C, H, W), (B,)

    def inverse(self, z: Tensor) -> Tensor:
        done, h = F.pixel_unshuffle(z, 2).chunk(2, dim=1)
        h = torch.cat([done, self.coarse.inverse(h)], 1)
        h = F.pixel_shuffle(self.channels.inverse(h), 2)
        return self.fine.inverse(h)


class Stretch(nn.Module):
    r"""
    ### A factor for each variable

    NICE ends with one, as its couplings can't change the volume. Ours is there for the comparison.
    """

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(shape))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x * self.log_scale.exp(), self.log_scale.sum().expand(len(x))  # (B, ...), (B,)

    def inverse(self, z: Tensor) -> Tensor:
        return z * (-self.log_scale).exp()


class Flow(nn.Module):
    r"""
    ## Density and samples

    With the map $f$ from data to noise, and noise that is standard normal,

    $$
    \begin{aligned}
    \log p(x) &= \log \mathcal{N}(f(x);\, 0, I) + \log \bigl| \det J(x) \bigr|, \\
    J(x) &= \frac{\partial f(x)}{\partial x^\top}.
    \end{aligned}
    $$

    The first term wants every $x$ to go to zero. The second forbids it: the map would have to
    shrink space, and its determinant says what that costs.
    """

    def __init__(self, layers: Chain, *shape: int) -> None:
        super().__init__()
        self.layers, self.shape = layers, shape

    def forward(self, x: Tensor) -> Tensor:
        z, log_det = self.layers(x)
        log_normal = -0.5 * (z.square() + math.log(2 * math.pi)).flatten(1).sum(1)  # (B,)
        return log_normal + log_det

    @torch.no_grad()
    def sample(self, N: int, generator: torch.Generator) -> Tensor:
        """Noise is drawn on the CPU, so that a seed gives the same samples on any device."""
        z = torch.randn(N, *self.shape, generator=generator)
        device = next(self.parameters()).device
        return self.layers.inverse(z.to(device))


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    The same sizes for both tasks.
    """

    task: Literal["moons", "digits"] = "moons"
    "what is learned: points on two moons, or digits"
    scale: bool = True
    "couplings scale, and do not only shift"
    noise: bool = True
    "whole numbers are spread over an interval when the flow learns them"
    couplings: int = 8
    "layers for points; digits have ten"
    width: int = 32
    "hidden features of the network of a coupling"
    batch: int = 128
    "points or images in a batch"
    steps: int = 1500
    "training steps"
    lr: float = 0.003
    "learning rate of Adam, which falls to zero"


def dense(D: int, width: int) -> nn.Sequential:
    r"""
    ## The networks

    Two hidden layers, for points fully connected, for images convolutions. The last layer
    starts at zero, as in Glow (Kingma and Dhariwal 2018,
    [arXiv](https://arxiv.org/abs/1807.03039)): then each coupling starts as the identity.
    """
    first, second = nn.Linear(D, width), nn.Linear(width, width)
    last = silent(nn.Linear(width, 2 * D))
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), last)


def convolutions(C: int, width: int) -> nn.Sequential:
    first, second = nn.Conv2d(C, width, 3, padding=1), nn.Conv2d(width, width, 1)
    last = silent(nn.Conv2d(width, 2 * C, 3, padding=1))
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), last)


def silent(layer: nn.Module) -> nn.Module:
    for weight in layer.parameters():
        nn.init.zeros_(weight)
    return layer


def for_points(config: Config, D: int = 2) -> Flow:
    masks = [(torch.arange(D) % 2 == i % 2).float() for i in range(config.couplings)]
    layers = [Coupling(dense(D, config.width), mask, config.scale) for mask in masks]
    return Flow(Chain([*layers, Stretch(D)]), D)


def for_images(config: Config, C: int, H: int, W: int) -> Flow:
    r"""
    ### For images

    As in the paper, three couplings with checkerboards, three with halves of the channels, and four
    with checkerboards at the last scale. Our digits have two scales.
    """

    def some(build: Board, number: int, C: int, H: int, W: int) -> Chain:
        masks = [build(C, H, W, i % 2 == 1) for i in range(number)]
        return Chain([Coupling(convolutions(C, config.width), m, config.scale) for m in masks])

    fine = some(checkerboard, 3, C, H, W)
    channels = some(halves, 3, 4 * C, H // 2, W // 2)
    coarse = some(checkerboard, 4, 2 * C, H // 2, W // 2)
    return Flow(Chain([MultiScale(fine, channels, coarse), Stretch(C, H, W)]), C, H, W)


# Angles at which the true density is summed up, and the spread of the points around the moons.
ANGLES, SPREAD = 200, 0.1


def moons(N: int, generator: torch.Generator) -> Tensor:
    r"""
    ## Two moons whose density is known

    A point of a moon is a uniform angle on a half circle, and normal noise around it.
    """
    angle = math.pi * torch.rand(N, generator=generator)  # (N,)
    lower = torch.rand(N, generator=generator) < 0.5  # (N,)
    return arcs(angle, lower) + SPREAD * torch.randn(N, 2, generator=generator)  # (N, 2)


def arcs(angle: Tensor, lower: Tensor) -> Tensor:
    upper = torch.stack([angle.cos(), angle.sin()], -1)  # (N, 2)
    turned = torch.stack([1 - angle.cos(), 0.5 - angle.sin()], -1)  # (N, 2)
    return torch.where(lower[:, None], turned, upper)  # (N, 2)


def true_density(x: Tensor) -> Tensor:
    r"""
    ### The truth

    An average of normal densities over all angles, and we take it at the middles of 200 equal
    parts. They are much closer together than the noise is wide, so hardly a digit is lost.

    Its logarithm, averaged over points that it has drawn, is minus its entropy. No model can do
    better on average. What a model misses is the Kullback–Leibler divergence of the truth from it.
    """
    middles = math.pi * (torch.arange(ANGLES, dtype=x.dtype) + 0.5) / ANGLES
    lower = torch.arange(2 * ANGLES) >= ANGLES  # (K,)
    centres = arcs(middles.repeat(2), lower).to(x.device)  # (K, 2)
    squares = (x[:, None] - centres).square().sum(-1)  # (N, K)
    log_normal = -squares / (2 * SPREAD**2) - math.log(2 * math.pi * SPREAD**2)  # (N, K)
    return log_normal.logsumexp(1) - math.log(len(centres))


# The shades of scikit-learn's digits, and how far logits stay away from the ends of 0 to 1.
SHADES, EDGE = 17, 0.05


def to_logits(shades: Tensor) -> tuple[Tensor, Tensor]:
    r"""
    ## Whole numbers

    A digit's pixel is a whole number from 0 to 16. A density could grow without bound by standing
    on these 17 points, and say nothing of how probable each is. So uniform noise is added. Then
    the probability of an image is the integral of the density over the cube of all $u$ in
    $[0, 1)^D$, and by Jensen's inequality what we learn is a bound on it:

    $$
    \log P(x) = \log \int p(x + u)\, du \ \ge\ \mathbb{E}_u \log p(x + u).
    $$

    What is now a number from 0 to 17 has bounds, which a flow from normal noise does not know.
    So it learns logits. To keep these finite, the numbers first move away from the ends:

    $$
    y = \operatorname{logit}\big(\alpha + (1 - 2 \alpha)\, \tfrac{x + u}{17}\big).
    $$

    This is a map like any other, and has a determinant.
    """
    share = EDGE + (1 - 2 * EDGE) * shades / SHADES
    slope = (1 - 2 * EDGE) / SHADES / (share * (1 - share))
    return share.logit(), slope.log().flatten(1).sum(1)  # (B, ...), (B,)


def from_logits(y: Tensor) -> Tensor:
    return SHADES * (y.sigmoid() - EDGE) / (1 - 2 * EDGE)


def codelength(flow: nn.Module, shades: Tensor, u: Tensor) -> Tensor:
    r"""
    ### In bits

    A model that assigns probabilities can compress. We divide by the number of pixels. If all
    shades were equally likely, a pixel would take $\log_2 17 = 4.09$ bits.
    """
    y, log_det = to_logits(shades + u)
    return -(flow(y) + log_det) / shades[0].numel() / math.log(2)  # (B,)


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    The loss is the likelihood itself. Points are drawn anew for each step, and so is the noise
    of the digits.
    """
    run = Run(config, options)
    images = digits().images[:, None]  # (N, 1, 8, 8)
    shades = (images * (SHADES - 1)).round()
    batches = run.batches(shades[:TRAINED], size=config.batch)
    points = config.task == "moons"
    flow = for_points(config) if points else for_images(config, *shades.shape[1:])
    model = run.prepare(flow)
    optimizer = torch.optim.Adam(model.parameters(), config.lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: 1 - n / config.steps)

    for step in run.steps(config.steps, model=model, optimizer=optimizer, schedule=schedule):
        if points:
            x = run.share(moons(config.batch, run.generator)).to(run.device)  # (B, 2)
        else:
            u = torch.rand(config.batch, *shades.shape[1:], generator=run.generator)
            x = batches[step][0] + (run.share(u).to(run.device) if config.noise else 0.5)
            x = to_logits(x)[0]  # (B, 1, 8, 8)
        with run.autocast():
            loss = -model(x).mean()
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer, clip=10.0)
        schedule.step()
        run.log(loss=loss)

    return run.finish(**(judge_points(run, flow) if points else judge_images(run, flow, shades)))


# Digits to train on, of 1797; points to measure on.
TRAINED, HELD_OUT = 1437, 5000


def judge_points(run: Run, flow: Flow) -> dict[str, float]:
    r"""
    ## How far from the truth?

    On the same held-out points we take the likelihood under the flow and under the true density.
    The picture has the true density, the learned one, and samples. The moons are two pieces, and a
    map with an inverse can't tear the plane: look for the thread between them.
    """
    x = moons(HELD_OUT, run.generator)  # (N, 2)
    truth = true_density(x)  # (N,)
    learned = in_batches(run, "point", flow, x, size=1000)  # (N,)
    across, down = torch.linspace(-1.5, 2.5, 200), torch.linspace(1.5, -1.0, 125)
    places = torch.cartesian_prod(down, across).flip(1)  # (P, 2)
    maps = [true_density(places), in_batches(run, "place", flow, places, size=5000)]
    drawn = flow.sample(20_000, run.generator).cpu()
    edges = [torch.linspace(-1.0, 1.5, 126), torch.linspace(-1.5, 2.5, 201)]
    counts = torch.histogramdd(drawn.flip(1), edges).hist.flip(0)  # (125, 200)
    panels = torch.stack([*(y.exp().view(125, 200) for y in maps), counts])  # (3, 125, 200)
    # Half of the largest is white, as the picture would be dark elsewhere.
    bright = 2 * panels / panels.amax((1, 2), keepdim=True)  # (3, 125, 200)
    run.show("density", grid(bright, columns=3, gap=4))
    gap = (truth - learned).mean().item()
    return {"gap": gap, "nll": -learned.mean().item(), "entropy": -truth.mean().item()}


def judge_images(run: Run, flow: Flow, shades: Tensor) -> dict[str, float]:
    r"""
    ### Digits

    Held-out digits always get noise here, however the flow was trained. The Fréchet distance of
    samples stands beside that of held-out digits. Layers that scale save 0.3 bits a pixel, and yet
    their samples are no closer to real digits: a better likelihood need not show.
    """
    labels, held_out = digits().labels[:TRAINED], shades[TRAINED:]
    u = torch.rand(held_out.shape, generator=run.generator)

    def measure(x: Tensor, u: Tensor) -> Tensor:
        return codelength(flow, x, u)

    bits = in_batches(run, "digit", measure, held_out, u)  # (N,)
    drawn = from_logits(flow.sample(len(held_out), run.generator)).cpu()
    # A shade is an interval, and its name is where it begins.
    drawn = drawn.floor().clamp(0, SHADES - 1).nan_to_num()  # (N, 1, 8, 8)
    run.show("samples", grid(enlarged(drawn[:64] / (SHADES - 1)), columns=16))
    seen, new, drawn = (x / (SHADES - 1) for x in (shades[:TRAINED], held_out, drawn))
    features = classifier(seen, labels)
    with torch.no_grad():
        distances = [frechet(features(x), features(seen)).item() for x in (drawn, new)]
    return {"bits": bits.mean().item(), "frechet": distances[0], "floor": distances[1]}


# ## What changed since
#
# - **Learned permutations.** Glow (Kingma and Dhariwal 2018,
#   [arXiv](https://arxiv.org/abs/1807.03039)) mixes the channels by a learned matrix between
#   couplings, in place of fixed halves.
# - **Better noise.** Flow++ (Ho 2019, [arXiv](https://arxiv.org/abs/1902.00275)) learns the noise
#   that is added to whole numbers, and so tightens the bound.
# - **No layers.** A flow may also be the solution of a differential equation, and a velocity has no
#   need of an inverse or of a triangular Jacobian (Chen 2018,
#   [arXiv](https://arxiv.org/abs/1806.07366)). [Flow matching](flow_matching.py) learns it without
#   solving the equation.
# - **Images went elsewhere.** [Diffusion](../diffusion/ddpm.py) draws better images and is trained
#   by a bound. Likelihoods came back with [its flow](../diffusion/score_sde.py).
# - **And back.** In TarFlow (Zhai 2024, [arXiv](https://arxiv.org/abs/2412.06329)) each layer is a
#   Transformer that goes over an image patch by patch. Its authors find its images comparable to
#   those of diffusion.

if __name__ == "__main__":
    main(train)
