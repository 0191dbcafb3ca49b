r"""
---
title: Sketch-RNN
summary: An autoencoder for drawings that are movements of a pen, one after the other.
paper: A Neural Representation of Sketch Drawings
authors: [David Ha, Douglas Eck]
year: 2017
arxiv: "1704.03477"
acronyms: [sketch-rnn, mixture density network, MDN, "Quick, Draw!", stroke-5, KL annealing,
  free bits]
needs: [variational/vae, recurrent/lstm, recurrent/hyper_lstm]
equals:
  what: torch.distributions.MixtureSameFamily of bivariate normal distributions
  within: 1e-9
  test: test_the_density_and_its_gradients_are_those_of_torch_distributions
notation:
  'N_{max}': T
  'N_z': Z
  'M': M
  '\Pi': weights
  '\mu': mean
  '\sigma': deviation
  '\rho': rho
  'q': pen
  '\tau': temperature
  'z': z
figure:
  file: figures/sketch_rnn.svg
  alt: >-
    Above, a drawing is read by one network from its start and by another from its end. Both give a
    code z, and a decoder that is told z at each step says where the pen may go next. Below, the
    places where it may go, as ellipses around their middles, at three temperatures. The lower the
    temperature, the smaller the ellipses, and the fewer are left.
  caption: >-
    Below, one `Mixture` at three temperatures, with fifty draws from each. The darker an ellipse,
    the larger its weight.
metrics:
  reconstruction: {name: reconstruction loss of held-out drawings, unit: nats a step, better: lower}
  rate: {name: divergence of codes from the prior, unit: nats a feature, better: lower}
  bound: {name: bound on the log-likelihood of a held-out drawing, unit: nats, better: higher}
  near: {name: distance of samples to the nearest training drawing, better: lower}
  near_floor: {name: the same of held-out drawings, better: lower}
  loss: {name: training loss, better: lower}
runs:
  weight 1: ""
  weight 0.25: --weight 0.25
  no code: --alone
  no correlation: --no-correlated
shows:
  temperatures: >-
    above, held-out drawings; below, what the decoder draws from their codes, at temperatures of
    0.1, 0.4, 0.7 and 1
  between: each row leads from the code of one drawing to that of another, at a temperature of 0.1
  samples: drawings from codes of the prior, at a temperature of 0.5
  endings: on the left the beginning that is given, then nine ways to go on, at a temperature of 0.7
claims:
  - what: a lower weight of the divergence reconstructs better
    paper: "table 1: a trade-off between the two losses"
    run: weight 0.25
    control: weight 1
    metric: reconstruction
    margin: 0.05
  - what: with a higher weight, codes from the prior become drawings
    paper: "in words, of drawings halfway between two others"
    run: weight 1
    control: weight 0.25
    metric: near
    margin: 0.2
    note: "samples of both are about as far from the training drawings, and much farther than
      held-out drawings are"
  - what: what a code tells is worth more than it costs
    paper: "not there: table 1 compares only the reconstruction with that of a decoder alone, and
      there a code costs nothing"
    run: weight 1
    control: no code
    metric: bound
    margin: 1
    note: "with each seed the decoder alone has the higher bound"
  - what: normal distributions that may be slanted describe movements better
    paper: "not there: all its models have the correlation"
    run: weight 1
    control: no correlation
    metric: reconstruction
    margin: 0.05
    note: "0.005 better on average, and worse with one of three seeds"
  - what: losses on cats and other drawings of Quick, Draw!
    paper: "table 1"
    note: "not run here: 70,000 drawings a class, of up to 200 steps"
deviations:
  - what: the decoder
    paper: a HyperLSTM
    ours: "an LSTM, and a HyperLSTM with `--cell hyper`"
    others: "the authors' release: LSTM by default, with layer normalisation or as HyperLSTM"
    matters: "for time"
    test: test_the_decoder_may_be_a_hyper_lstm
  - what: the longest drawing
    paper: "has as many steps as there are, so its end is never asked for"
    ours: one step more
    matters: "for that drawing"
    test: test_drawings_become_rows_of_five
  - what: "steps, features, units, bumps"
    paper: "drawings of up to some 200 steps"
    ours: "17 steps, 16 features, 48 and 96 units, 8 bumps"
    others: "the authors' release: 250 steps, 128 features, 256 and 512 units, 20 bumps"
    matters: "for time, and for what a weight means, which depends on the ratio of features to
      steps"
    test: test_with_the_right_weight_the_loss_is_the_bound
  - what: against overfitting
    paper: "recurrent dropout, and drawings stretched at random"
    ours: neither
    matters: "hardly here: each training drawing is seen about four times"
  - what: training
    paper: not looked up
    ours: "batches of 50, Adam at 0.004, R of 0.985"
    others: "the authors' release: batches of 100, Adam at 0.001, R of 0.99995"
    matters: "for time"
mistakes:
  - what: a temperature that multiplies deviations, where it should multiply variances
    mutant: temperature for deviations
    caught: test_temperature_is_an_exponent_of_a_normal_distribution
  - what: a step that is told where it has to go
    mutant: the step itself is read
    caught: test_a_step_knows_nothing_of_itself
  - what: movements asked for after the end
    mutant: no end to what is asked
    caught: test_after_the_end_only_the_pen_counts
worked:
  - at: Mixture.log_density
    told: >-
      One bump of width 1 around the origin. A slant of 0.9 makes movements along the diagonal
      likelier, and those across it very unlikely.
    code: |-
      offsets = torch.tensor([[0.0, 0.0], [1.0, 1.0], [1.0, -1.0]])
      round_ = Mixture.of(torch.zeros(3, 9))
      round_.log_density(offsets)
      round_._replace(rho=torch.full((3, 1), 0.9)).log_density(offsets)
exercises: [five, Mixture.log_density, Mixture.tempered, reconstruction, annealed]
---

# Sketch-RNN

A drawing on a screen is a grid of pixels. A drawing by a person is something else: the pen is set
down, moves, is lifted, moves on. This paper models drawings as such sequences. A sequence of words
is written by predicting the next word, from a list of all words. But the next movement of a pen is
a point of the plane, and the average of all plausible points is hardly ever plausible itself:
whoever draws a circle may go either way round, but not straight between the two. So the network
says where the pen may go as a sum of several normal distributions, and one movement is drawn from
it.

To draw *this* cat and not any cat, the decoder is told a code, and a second network finds the code
of a given drawing. Together they are a [variational autoencoder](vae.py). So there are drawings
between two others, and from a code of the prior comes a new one.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | drawings in a batch | `T` | steps of a drawing, with the end |
| `Z` | features of a code | `M` | bumps of a mixture |
| `H` | units of an encoder | `C` | units of the decoder |
| `K` | codes on a path | | |
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, Share, UserError, main
from papers.common.checkpoint import write_whole
from papers.common.data import doodles, strokes
from papers.common.data.grids import grid
from papers.common.data.ink import END, FIRST, picture, small, svg
from papers.common.errors import choose
from papers.common.judging import in_batches
from papers.common.limits import chance
from papers.common.published import fill, save, settings, tensors
from papers.diffusion.frechet import nearest
from papers.recurrent.hyper_lstm import HyperLSTM
from papers.recurrent.lstm import LSTM
from papers.variational.vae import divergence, reparameterized


def five(drawings: list[Tensor], T: int) -> Tensor:
    r"""
    ## Five numbers a step

    A step is $(\Delta x, \Delta y, p_1, p_2, p_3)$ (section 3.1): how far the pen moves from the
    last point, and one of three states. With $p_1$ it stays on the paper and draws a line to the
    next point, with $p_2$ it is lifted for the next movement, and with $p_3$ the drawing is over.
    The files have three numbers, without the end. We add it, and fill up with it to `T` steps.
    """
    x = torch.tensor(END).repeat(len(drawings), T, 1)  # (B, T, 5)
    for row, drawing in zip(x, drawings, strict=True):
        lifted = drawing[:, 2:]
        row[: len(drawing), :4] = torch.cat([drawing[:, :2], 1 - lifted, lifted], 1)
        row[: len(drawing), 4] = 0
    return x


class Mixture(NamedTuple):
    r"""
    ## Where the pen may go

    A movement has the density of a mixture of $M$ normal distributions in the plane (eq. 3):

    $$
    p(\Delta x, \Delta y) = \sum_{j=1}^{M} \Pi_j \,
    \mathcal{N}(\Delta x, \Delta y \mid \mu_j, \sigma_j, \rho_j), \quad \sum_{j=1}^{M} \Pi_j = 1.
    $$

    Each bump has a middle, a deviation in $x$ and in $y$, and a correlation $\rho$ of the two,
    which makes it slanted. The state of the pen is a choice among three, $q_1$ to $q_3$. We keep
    logarithms of `weights` and of `pen`.
    """

    weights: Tensor
    mean: Tensor
    deviation: Tensor
    rho: Tensor
    pen: Tensor

    @classmethod
    def of(cls, y: Tensor, correlated: bool = True) -> Mixture:
        r"""
        ### From the output of a network

        Its $6M + 3$ numbers have no bounds. With a hat on what the network says:

        $$
        \begin{aligned}
        \Pi &= \operatorname{softmax}(\hat\Pi), & q &= \operatorname{softmax}(\hat q), \\
        \sigma &= \exp(\hat\sigma), & \rho &= \tanh(\hat\rho).
        \end{aligned}
        $$
        """
        bumps = y[..., :-3].unflatten(-1, (-1, 6))  # (..., M, 6)
        weights, mean, deviation, rho = bumps.split([1, 2, 2, 1], -1)
        rho = rho.squeeze(-1).tanh() if correlated else torch.zeros_like(rho).squeeze(-1)
        weights, pen = weights.squeeze(-1).log_softmax(-1), y[..., -3:].log_softmax(-1)
        return cls(weights, mean, deviation.exp(), rho, pen)

    def log_density(self, offsets: Tensor) -> Tensor:
        r"""
        ### The density of a movement

        With $a$ and $b$ for how many deviations a movement is off a bump's middle in $x$ and $y$:

        $$
        \mathcal{N} = \frac{1}{2\pi \sigma_x \sigma_y \sqrt{1 - \rho^2}}
        \exp\!\Big( {-\frac{a^2 + b^2 - 2 \rho a b}{2 (1 - \rho^2)}} \Big).
        $$

        It is a density, not a probability: where a bump is narrow, it exceeds one, and the loss
        falls below zero.
        """
        away = (offsets.unsqueeze(-2) - self.mean) / self.deviation  # (..., M, 2)
        a, b = away.unbind(-1)  # (..., M)
        # In float32, tanh reaches one.
        rest = (1 - self.rho.square()).clamp_min(1e-6)  # (..., M)
        squares = (a.square() + b.square() - 2 * self.rho * a * b) / rest  # (..., M)
        volume = self.deviation.log().sum(-1) + rest.log() / 2 + math.log(2 * math.pi)
        return (self.weights - squares / 2 - volume).logsumexp(-1)

    def tempered(self, temperature: float) -> Mixture:
        r"""
        ### Temperature

        To draw with less chance than there was in the data, the logits are divided by $\tau$ and
        variances multiplied by it:

        $$
        \hat\Pi_j \to \frac{\hat\Pi_j}{\tau}, \quad \hat q_k \to \frac{\hat q_k}{\tau}, \quad
        \sigma_x^2 \to \sigma_x^2 \tau, \quad \sigma_y^2 \to \sigma_y^2 \tau.
        $$

        Each part alone becomes $p^{1/\tau}$, up to a constant. At $\tau = 1$ nothing changes, and
        towards 0 the pen goes to the middle of the heaviest bump.
        """
        return self._replace(
            weights=(self.weights / temperature).log_softmax(-1),
            deviation=self.deviation * math.sqrt(temperature),
            pen=(self.pen / temperature).log_softmax(-1),
        )

    def draw(self, generator: torch.Generator) -> Tensor:
        r"""
        ### One step

        First a bump, then a place in it. Of two independent normal numbers, $\epsilon_1$ and
        $\rho \, \epsilon_1 + \sqrt{1 - \rho^2} \, \epsilon_2$ have the correlation $\rho$.
        """
        # On the CPU, so that a seed means the same on every device.
        weights, mean, deviation, rho, pen = (part.cpu() for part in self)
        bump = torch.multinomial(weights.exp(), 1, generator=generator)[:, 0]  # (B,)
        row = torch.arange(len(bump))
        mean, deviation, rho = mean[row, bump], deviation[row, bump], rho[row, bump]
        a, b = torch.randn(2, len(bump), generator=generator).to(rho)  # (B,), (B,)
        b = rho * a + (1 - rho.square()).sqrt() * b  # (B,)
        offsets = mean + deviation * torch.stack([a, b], 1)  # (B, 2)
        state = torch.multinomial(pen.exp(), 1, generator=generator)[:, 0]  # (B,)
        step = torch.cat([offsets, F.one_hot(state, 3).to(rho)], 1)  # (B, 5)
        return step.to(self.mean.device)


def reconstruction(mixture: Mixture, x: Tensor) -> Tensor:
    r"""
    ## What a drawing costs

    Each step is predicted from the true steps before it, and the loss adds up how unlikely the true
    next one was. $N_s$ of them are movements, and both sums are divided by $N_{max}$:

    $$
    \begin{aligned}
    L_s &= -\frac{1}{N_{max}} \sum_{i=1}^{N_s} \log p(\Delta x_i, \Delta y_i), \\
    L_p &= -\frac{1}{N_{max}} \sum_{i=1}^{N_{max}} \sum_{k=1}^{3} p_{k,i} \log q_{k,i}, \\
    L_R &= L_s + L_p.
    \end{aligned}
    $$

    After the end, no movement is asked for, but the pen still has to say that it is over. So the
    network must know when to stop.
    """
    drawn = 1 - x[..., 4]  # (B, T)
    movements = -(mixture.log_density(x[..., :2]) * drawn).mean(1)  # (B,)
    states = -(x[..., 2:] * mixture.pen).sum(2).mean(1)  # (B,)
    return movements + states


class Encoder(nn.Module):
    r"""
    ## The encoder

    One [LSTM](../recurrent/lstm.py#the-carousel) reads the drawing, a second reads it from its end.
    What both hold when they are through, $h = [h_\to ; h_\gets]$, becomes mean and variance of a
    code, as in [any such autoencoder](vae.py#the-encoder).
    """

    def __init__(self, H: int, Z: int) -> None:
        super().__init__()
        self.forwards, self.backwards = LSTM(5, H), LSTM(5, H)
        self.mean, self.log_variance = nn.Linear(2 * H, Z), nn.Linear(2 * H, Z)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        B, T, _ = x.shape
        lengths = (1 - x[..., 4]).sum(1).long()  # (B,)
        rows = torch.arange(B, device=x.device)
        # What fills a drawing up stands behind it, forwards and backwards, and is not read.
        back = (lengths[:, None] - 1 - torch.arange(T, device=x.device)) % T  # (B, T)
        there, _ = self.forwards(x)
        again, _ = self.backwards(x[rows[:, None], back])
        last = rows, lengths - 1
        h = torch.cat([there[last], again[last]], 1)  # (B, 2*H)
        return self.mean(h), self.log_variance(h)  # (B, Z), (B, Z)


State = tuple[Tensor, ...]


class Decoder(nn.Module):
    r"""
    ## The decoder

    Its state begins as a function of the code, and it is told the code again at each step, beside
    the step before:

    $$
    \begin{aligned}
    [h_0 ; c_0] &= \tanh(W_z z + b_z), \\
    [h_i ; c_i] &= \operatorname{forward}([S_{i-1} ; z], [h_{i-1} ; c_{i-1}]), \\
    y_i &= W_y h_i + b_y.
    \end{aligned}
    $$

    Without a code it begins with zeros, and is a model of drawings by itself. The paper calls that
    *unconditional*, and it is our control.
    """

    def __init__(
        self, C: int, Z: int, M: int, hyper: bool = False, correlated: bool = True
    ) -> None:
        super().__init__()
        self.width, self.correlated = C, correlated
        small = max(1, C // 4)
        self.layer: nn.Module = HyperLSTM(5 + Z, C, small, 4) if hyper else LSTM(5 + Z, C)
        self.begin = nn.Linear(Z, 2 * C) if Z else None
        self.say = nn.Linear(C, 6 * M + 3)

    def start(self, z: Tensor) -> State:
        zeros = z.new_zeros(len(z), 2 * self.width)  # (B, 2*C)
        h, c = (self.begin(z).tanh() if self.begin else zeros).chunk(2, 1)  # (B, C), (B, C)
        # The small network of a HyperLSTM has a state of its own.
        small = self.layer.start(z)[2:] if isinstance(self.layer, HyperLSTM) else ()
        return h, c, *small

    def forward(
        self, before: Tensor, z: Tensor, state: State | None = None
    ) -> tuple[Mixture, State]:
        B, T, _ = before.shape
        told = z[:, None].expand(B, T, -1)  # (B, T, ...)
        h, state = self.layer(torch.cat([before, told], 2), state or self.start(z))
        return Mixture.of(self.say(h), self.correlated), state


class SketchRNN(nn.Module):
    r"""
    ## The autoencoder

    The two losses of a drawing: what is left to say when the code is known, and what the code
    costs. The [divergence](vae.py#what-a-guess-costs) is divided by the number of features:

    $$
    L_{KL} = -\frac{1}{2 N_z} \sum_{j=1}^{N_z} \big(1 + \hat\sigma_j - \mu_j^2
    - \exp(\hat\sigma_j)\big).
    $$

    The bound on the log-likelihood of a drawing is $-(N_{max} L_R + N_z L_{KL})$. So in the sum
    $L_R + w_{KL} L_{KL}$ it is not the weight of 1 that gives the bound, but $N_z / N_{max}$. With
    the sizes of the authors' release that is about a half, with ours nearly 1.
    """

    def __init__(
        self,
        C: int,
        Z: int,
        M: int,
        hyper: bool = False,
        correlated: bool = True,
        alone: bool = False,
    ) -> None:
        super().__init__()
        self.features = 0 if alone else Z
        self.encoder = None if alone else Encoder(C // 2, Z)
        self.decoder = Decoder(C, self.features, M, hyper, correlated)

    def forward(self, x: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        if self.encoder is None:
            z, rate = eps[:, :0], x.new_zeros(len(x))  # (B, 0), (B,)
        else:
            mean, log_variance = self.encoder(x)  # (B, Z), (B, Z)
            z = reparameterized(mean, log_variance, eps)  # (B, Z)
            rate = divergence(mean, log_variance) / self.features  # (B,)
        first = x.new_tensor(FIRST).expand(len(x), 1, 5)
        before = torch.cat([first, x[:, :-1]], 1)  # (B, T, 5)
        mixture, _ = self.decoder(before, z)
        return reconstruction(mixture, x), rate  # (B,), (B,)


# The $\eta_{min}$ of the authors' release.
LOWEST = 0.01


def annealed(rate: Tensor, step: int, rise: float, least: float) -> Tensor:
    r"""
    ## A cost that comes later

    At the start the decoder has no use for a code, and the divergence alone would make all codes
    alike. What is then lost is hard to get back. So the divergence is charged little at first,
    and more with each step, and never for less than a floor $KL_{min}$:

    $$
    \begin{aligned}
    \eta &= 1 - (1 - \eta_{min}) \, R^{\,step}, \\
    L &= L_R + w_{KL} \, \eta \, \max(L_{KL}, KL_{min}).
    \end{aligned}
    $$

    Below the floor the divergence has no gradient: that much the code may tell for nothing.
    """
    eta = 1 - (1 - LOWEST) * rise**step
    return eta * rate.mean().clamp_min(least)


@torch.no_grad()
def write(
    decoder: Decoder,
    z: Tensor,
    T: int,
    temperature: float,
    generator: torch.Generator,
    beginning: Tensor | None = None,
) -> Tensor:
    r"""
    ## Drawing

    What is drawn is read in the next step. A `beginning` is read in place of what would have been
    drawn, so that the decoder finds an end to it.
    """
    step = z.new_tensor(FIRST).expand(len(z), 5)  # (B, 5)
    end, state, steps = z.new_tensor(END), None, []
    for t in range(T):
        mixture, state = decoder(step[:, None], z, state)
        now = Mixture(*(part[:, 0] for part in mixture)).tempered(temperature)
        drawn = now.draw(generator)  # (B, 5)
        if beginning is not None and t < beginning.shape[1]:
            drawn = beginning[:, t]  # (B, 5)
        step = torch.where(step[:, 4:] == 1, end, drawn)  # (B, 5)
        steps.append(step)
    return torch.stack(steps, 1)  # (B, T, 5)


def between(start: Tensor, end: Tensor, share: Tensor) -> Tensor:
    r"""
    ## From one code to another

    Codes from the prior all lie at about the same distance from the origin, and a straight line
    between two of them would come closer to it. So we go along an arc. With $\Omega$ for the angle
    between both:

    $$
    z_t = \frac{\sin((1 - t) \, \Omega)}{\sin \Omega} \, z_0
    + \frac{\sin(t \, \Omega)}{\sin \Omega} \, z_1.
    $$
    """
    angle = F.cosine_similarity(start, end, dim=-1).clamp(-0.9999, 0.9999).acos()[:, None]
    parts = ((1 - share) * angle).sin(), (share * angle).sin()  # (B, K), (B, K)
    return (parts[0][..., None] * start[:, None] + parts[1][..., None] * end[:, None]) / (
        angle.sin()[..., None]
    )  # (B, K, Z)


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    The encoder's networks have half as many units as the decoder, as in the authors' release.
    """

    cell: Literal["lstm", "hyper"] = "lstm"
    "of the decoder: an LSTM, or one whose weights are scaled in each step"
    features: int = 16
    "features of a code"
    width: int = 96
    "units of the decoder"
    bumps: int = 8
    "normal distributions in a mixture"
    correlated: bool = True
    "whether they may be slanted"
    alone: bool = False
    "the decoder without a code, and no encoder"
    weight: float = 1.0
    "of the divergence in the loss"
    rise: Share = 0.985
    "how much of what the weight lacks is left after each step"
    least: float = 0.2
    "divergence of a feature that costs nothing"
    batch: int = 50
    "drawings in a batch"
    steps: int = 300
    "training steps"
    lr: float = 4e-3
    "learning rate of Adam, which falls in the second half"


def build(config: Config) -> SketchRNN:
    if config.width < 2:
        raise UserError(f"--width {config.width}: the encoder has half as many, so give 2 or more")
    C, Z, M, hyper = config.width, config.features, config.bumps, config.cell == "hyper"
    return SketchRNN(C, Z, M, hyper, config.correlated, config.alone)


# Drawings to train on, to test on and to draw, and from how many movements on one is left out.
TRAINING, HELD_OUT, SAMPLES, LONGEST = 4000, 400, 200, 64


def drawings(name: str) -> tuple[Tensor, Tensor]:
    r"""
    ## Data

    By default [doodles](../common/data/doodles.py), or with `--data` what people drew. Movements
    are divided by one number, so that those of the training drawings have a deviation of 1. Nothing
    is subtracted: the pen ends up about where it began, so the mean is near zero.
    """
    both = [doodles(TRAINING), doodles(HELD_OUT, seed=1)]
    if name in DATA[1:]:
        both = [
            [each for each in strokes(name, split) if len(each) < LONGEST]
            for split in ("train", "test")
        ]
    scale = torch.cat(both[0])[:, :2].std()
    T = max(len(each) for part in both for each in part) + 1
    for each in (each for part in both for each in part):
        each[:, :2] /= scale
    training, held_out = (five(part, T) for part in both)
    return training, held_out


DATA = ("doodles", "sheep", "kanji")


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    As for any autoencoder of this kind. Our runs are short, and at a weight of 1 the divergence
    ends at its floor. That is 3.2 nats for a drawing, of which $\log 8 = 2.1$ would say which of
    the eight things it shows. The copies look like that: a face becomes a face, but smiles or not
    at random, and a fish may become a ring. At 0.25 the code says more, and copies are closer.

    The bound charges a code for what it says, and the decoder alone has the better bound. It may be
    that a few steps into a drawing a decoder has seen what it is going to be. At any rate the code
    saves it less than the floor lets the encoder spend. That a code lowers $L_R$, in which it costs
    nothing, says little.
    """
    run = Run(config, options)
    training, held_out = drawings(run.options.data)
    batches = run.batches(training, size=config.batch)
    network = build(config)
    model = run.prepare(network)
    optimizer = torch.optim.Adam(model.parameters(), config.lr, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, 2 * (1 - step / config.steps))
    )

    for step in run.steps(config.steps, model=model, optimizer=optimizer, schedule=schedule):
        (x,) = batches[step]  # (B, T, 5)
        eps = torch.randn(config.batch, config.features, generator=run.generator)
        eps = run.share(eps).to(run.device)  # (B, Z)
        with run.autocast():
            cost, rate = model(x, eps)  # (B,), (B,)
            loss = cost.mean() + config.weight * annealed(rate, step, config.rise, config.least)
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer, clip=1.0)
        schedule.step()
        run.log(loss=loss)

    if run.rank == 0:
        keep(network, config, training.shape[1], run.out / "model")
    return run.finish(**judge(run, network, training, held_out))


@torch.no_grad()
def judge(run: Run, model: SketchRNN, training: Tensor, held_out: Tensor) -> dict[str, float]:
    r"""
    ## What is measured

    Both losses on drawings that were held out, the bound that they make together, and how far
    drawings from codes of the prior are from the nearest training drawing, as pictures of 16 by 16
    pixels. The same distance of held-out drawings stands beside it.
    """
    T, Z = held_out.shape[1], run.config.features
    eps = torch.randn(len(held_out), Z, generator=run.generator)  # (B, Z)

    def losses(x: Tensor, eps: Tensor) -> Tensor:
        return torch.stack(model(x, eps), 1)  # (B, 2)

    cost, rate = in_batches(run, "drawings", losses, held_out, eps).mean(0).tolist()
    z = torch.randn(SAMPLES, Z, generator=run.generator)[:, : model.features].to(run.device)
    samples = write(model.decoder, z, T, 0.5, run.generator)  # (..., T, 5)
    show(run, model, held_out.to(run.device), samples)
    seen = small(training[:1000])
    return {
        "reconstruction": cost,
        "rate": rate,
        "bound": -(T * cost + model.features * rate),
        "near": nearest(small(samples), seen).item(),
        "near_floor": nearest(small(held_out[:SAMPLES]), seen).item(),
    }


def sheet(x: Tensor, columns: int = 10) -> Tensor:
    return grid(torch.stack([picture(each) for each in x]), columns=columns)


def show(run: Run, model: SketchRNN, held_out: Tensor, samples: Tensor) -> None:
    r"""
    ### What is shown

    Copies, drawings between two, and new ones. A decoder without a code goes on from a beginning of
    six steps, each in nine ways.
    """
    T, decoder = held_out.shape[1], model.decoder
    run.show("samples", sheet(samples[:30]))
    if model.encoder is None:
        begun = held_out[:4, :6].repeat_interleave(9, 0)  # (..., 6, 5)
        z = begun.new_zeros(len(begun), 0)
        ends = write(decoder, z, T, 0.7, run.generator, begun).view(4, 9, T, 5)
        cut = held_out[:4].clone()
        cut[:, 6:] = cut.new_tensor(END)
        run.show("endings", sheet(torch.cat([cut[:, None], ends], 1).flatten(0, 1)))
        return
    z = model.encoder(held_out[:10])[0]  # (..., Z)
    copies = [write(decoder, z, T, each, run.generator) for each in (0.1, 0.4, 0.7, 1.0)]
    run.show("temperatures", sheet(torch.cat([held_out[:10], *copies])))
    share = torch.linspace(0, 1, 10, device=z.device)[None]
    path = between(z[:4], z[4:8], share).flatten(0, 1)  # (..., Z)
    run.show("between", sheet(write(decoder, path, T, 0.1, run.generator)))


def keep(model: SketchRNN, config: Config, T: int, folder: Path) -> None:
    r"""
    ## Kept, and drawn from

    A run leaves its weights in a folder `model`, from which others draw:
    `python papers/variational/sketch_rnn.py generate --weights runs/variational/sketch_rnn/model`
    writes `drawing.svg`, and `--temperature` says how daring it is.
    """
    sizes = {"features": config.features, "width": config.width, "bumps": config.bumps}
    switches = {"correlated": config.correlated, "alone": config.alone}
    told = {"model_type": "sketch-rnn", "cell": config.cell, "steps": T, **sizes, **switches}
    save(folder, told, model.state_dict())


def load(folder: Path) -> tuple[SketchRNN, int]:
    told = settings(folder, "sketch-rnn")
    sizes: dict[str, Any] = {name: told.count(name) for name in ("features", "width", "bumps")}
    switches: dict[str, Any] = {name: bool(told[name]) for name in ("correlated", "alone")}
    T = told.count("steps")
    cells: dict[str, Literal["lstm", "hyper"]] = {"lstm": "lstm", "hyper": "hyper"}
    config = Config(cell=choose("cell", told["cell"], cells), **sizes, **switches)
    told.ignores()
    with told.blueprint():
        model = build(config)
    return fill(model, tensors(folder, str), folder), T


def generate(
    weights: Path, out: Path = Path("drawing.svg"), temperature: float = 0.5, seed: int = 0
) -> None:
    r"""
    Draw one drawing from a code of the prior, and write it as SVG.
    """
    if not 0 < temperature < math.inf:
        raise UserError(f"--temperature {temperature}: give a number above 0")
    model, T = load(weights)
    generator = chance(seed)
    z = torch.randn(1, model.features, generator=generator)  # (1, Z)
    drawing = write(model.decoder, z, T, temperature, generator)[0]  # (T, 5)
    write_whole(out, lambda file: file.write(svg(drawing).encode()))
    print(out)


# ## What changed since
#
# - **Other readers.** Where a model has to draw things of many classes, an encoder that looks at
#   the picture does better than one that follows the strokes, says Sketch-pix2seq (Chen 2017,
#   [arXiv](https://arxiv.org/abs/1709.04121)).
# - **Attention.** [Transformers](../transformers/transformer.py) learned to read and write drawings
#   (Sketchformer, Ribeiro 2020, [arXiv](https://arxiv.org/abs/2002.10381)).
# - **Vector graphics.** DeepSVG (Carlier 2020, [arXiv](https://arxiv.org/abs/2007.11301)) writes
#   icons, path by path.
# - **Floors and annealing** are usual wherever a strong decoder could do without its code. A code
#   [from a list](vq_vae.py) is another way to keep it in use.

if __name__ == "__main__":
    main(train, data=DATA, generate=generate)
