r"""
---
title: Layer normalization
summary: Mean and variance within one example, so that no example needs the others.
paper: Layer Normalization
authors: [Jimmy Lei Ba, Jamie Ryan Kiros, Geoffrey E. Hinton]
year: 2016
arxiv: "1607.06450"
acronyms: [LN, LayerNorm, weight normalization]
needs: [normalization/batch_norm]
equals:
  what: torch.nn.LayerNorm
  within: 1e-10
  test: test_outputs_and_gradients_are_those_of_torch
notation:
  'a': a
  'H': H
  '\mu': mu
  '\sigma': sigma
  'g': weight
  'b': bias
  'W': W
  'W_{hh}': recurrent
  'W_{xh}': inputs
  '\mathbf{h}^t': h
figure:
  file: figures/layer_norm.svg
  alt: >-
    The summed inputs of a layer as a table, a row for each example and a column for each unit. One
    row leads to its own mu and sigma, and a column, dashed, to batch normalization. Below, three
    curves over the steps back in a recurrent network. Without normalization the error falls by
    fifteen powers of ten, with twice the weights by four. With layer normalization it falls by less
    than one, until in the last three steps back it shoots up by almost seven.
  caption: >-
    A row is normalized by its own mean and deviation. Below, the gradient of the last state by an
    earlier pixel, in untrained networks that read digits, as `flow` computes it. The first pixels
    of all digits are black, and the less a layer hears, the more it is amplified.
metrics:
  error: {name: error on unseen digits, unit: "%", better: lower}
  lost: {name: "what the error loses on its way through the steps, untrained",
    unit: powers of ten, better: lower}
  times_torch: {name: time of the written-out layer, unit: × torch, better: lower}
  fused_times_torch: {name: time of the fused layer, unit: × torch, better: lower}
  loss: {name: training loss, unit: nats, better: lower, scale: log}
runs:
  layer norm: ""
  plain: --norm none
  plain, twice the weights: --norm none --scale 2
  batch norm at each step: --norm batch
  "whole digits, two a batch, layer norm": --pieces 1 --batch 2 --steps 2000
  "whole digits, two a batch, batch norm": --norm batch --pieces 1 --batch 2 --steps 2000
  "whole digits, four a batch, layer norm": --pieces 1 --batch 4 --steps 2000
  "whole digits, four a batch, batch norm": --norm batch --pieces 1 --batch 4 --steps 2000
claims:
  - what: a recurrent network learns faster with it
    paper: "abstract; section 6, of five tasks"
    run: layer norm
    control: plain
    metric: error
    margin: 0.1
  - what: less of the error is lost on its way back through the steps
    paper: "section 3.1, of gradients that vanish or explode"
    run: layer norm
    control: plain
    metric: lost
    margin: 3
    note: "measured on random inputs; on digits the error grows in the first steps, as the figure
      shows"
  - what: it learns faster than with twice the weights and no normalization
    paper: "not there: our control"
    run: layer norm
    control: plain, twice the weights
    metric: error
    margin: 0.02
    note: "larger weights at the start do as much here"
  - what: it is better than batch normalization with its own statistics for each step
    paper: "section 6.2, against Cooijmans 2016"
    run: layer norm
    control: batch norm at each step
    metric: error
    margin: 0.02
    note: "all digits have 64 pixels, so batch norm has statistics for each step, and here gains and
      biases of its own for each as well"
  - what: with batches of four it is better than batch normalization
    paper: "section 6.6, figure 6 (right), on MNIST"
    run: "whole digits, four a batch, layer norm"
    control: "whole digits, four a batch, batch norm"
    metric: error
    margin: 0.02
    note: "four values are enough for statistics of digits"
  - what: and with batches of two
    paper: "not there"
    run: "whole digits, two a batch, layer norm"
    control: "whole digits, two a batch, batch norm"
    metric: error
    margin: 0.02
  - what: the fused form is as fast as torch's layer
    paper: "not there"
    run: layer norm
    metric: fused_times_torch
    than: 1.05
    margin: 0
    note: "it calls the same function"
  - what: order embeddings of images and sentences converge in 60 % of the time
    paper: "section 6.1"
    note: "not run here: Microsoft COCO"
deviations:
  - what: epsilon
    paper: none in equations 3 and 4
    ours: 1e-5 inside the root
    others: "torch: 1e-5; BERT: 1e-12; Keras: 1e-3"
    matters: "where a layer hears nothing: it bounds by how much that is amplified"
    test: test_epsilon_bounds_the_amplification
  - what: data re-scaled, under weight normalization
    paper: invariant by the text of section 5.1, not by table 1
    ours: not invariant
    matters: "no: the table is right"
    test: test_table_1
  - what: batch normalization at each step
    paper: "as Cooijmans 2016 has it: one gain for all steps, which starts at 0.1"
    ours: a gain and a bias for each step, which start at 1 and 0
    matters: "perhaps: it gives batch normalization more weights than layer normalization"
    test: test_layer_norm_is_one_for_all_steps_and_batch_norm_is_not
  - what: the network for whole digits
    paper: two hidden layers of 1,000 units, MNIST
    ours: one of 64 units, 8 by 8 pixels
    matters: for comparing numbers with the paper's
mistakes:
  - what: normalizing over the batch and not over the units
    mutant: statistics over the batch
    caught: test_an_example_does_not_need_the_others
  - what: taking the unbiased variance
    mutant: the unbiased variance
    caught: test_outputs_and_gradients_are_those_of_torch
  - what: normalizing the state and not the summed inputs
    mutant: normalized behind the nonlinearity
    caught: test_a_step_is_equation_4
exercises: [normalized, sums, Recurrent.forward]
---

# Layer normalization

[Batch normalization](batch_norm.py) needs a batch, in training and for the statistics that it uses
later. That excludes learning from one example at a time, and it is awkward in a recurrent
network. There a layer is used at every step, each step has its own distribution, and so each
needs statistics of its own. The last steps of a sequence that is longer than any in training have
none.

The remedy is to turn the table by a right angle. Instead of one unit over all examples, we take
all units of a layer in one example. Mean and variance are at hand as soon as the layer has summed
its inputs, at every step, for one example as for a thousand, and in use as in training. There is
nothing to track.

It does not do the same thing, though. A unit no longer has mean zero and variance one; only the
units of a layer together do. What the layer no longer sees, and what it sees now, is in
[table 1](#table-1).

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | examples in a batch | `H` | units of a layer |
| `T` | steps, or pieces of a digit | `D` | inputs of a step |
| `U` | unseen digits | | |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, UserError, main
from papers.common.data import digits
from papers.normalization.batch_norm import FusedBatchNorm, pace, statistics
from papers.recurrent.lstm import flow


def normalized(a: Tensor, epsilon: float) -> Tensor:
    r"""
    ## The statistics

    Of the summed inputs $a_1 \dots a_H$ of the $H$ units of a layer (eq. 3):

    $$
    \mu = \frac1H \sum_{i=1}^H a_i, \qquad
    \sigma = \sqrt{\frac1H \sum_{i=1}^H (a_i - \mu)^2}.
    $$

    All units of a layer share them, and each example has its own.

    **An example.** A layer of four units with the summed inputs $1, 2, 3, 6$ has $\mu = 3$ and
    $\sigma = \sqrt{3.5} = 1.871$. It hands on $-1.069$, $-0.535$, $0$, $1.604$, and would hand on
    the same for $10, 20, 30, 60$. On [the page of batch
    normalization](batch_norm.py#the-transform) these four numbers were one unit in four examples.
    """
    mu = a.mean(-1, keepdim=True)  # (..., 1)
    # Without the small epsilon, a layer whose units all hear the same would divide by zero.
    sigma = ((a - mu).square().mean(-1, keepdim=True) + epsilon).sqrt()  # (..., 1)
    return (a - mu) / sigma  # (..., H)


class LayerNorm(nn.Module):
    r"""
    ## The layer

    Each unit has a gain $g$ and a bias $b$, which come after the normalization and before the
    nonlinearity $f$ (eq. 5):

    $$
    h_i = f\left(\frac{g_i}{\sigma} (a_i - \mu) + b_i\right).
    $$

    They start at 1 and 0 (section 6), and have torch's names.
    """

    def __init__(self, H: int, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.weight, self.bias = nn.Parameter(torch.ones(H)), nn.Parameter(torch.zeros(H))

    def forward(self, a: Tensor) -> Tensor:
        return self.weight * normalized(a, self.epsilon) + self.bias  # (..., H)


class FusedLayerNorm(LayerNorm):
    r"""
    ### The form to use

    The layer above goes through the numbers eight times, torch's function twice, and what comes
    out is the same. How long both take, as multiples of what `torch.nn.LayerNorm` does, is
    [measured](batch_norm.py#how-fast-it-is) in each run that has such layers.
    """

    def forward(self, a: Tensor) -> Tensor:
        return F.layer_norm(a, self.weight.shape, self.weight, self.bias, self.epsilon)  # (..., H)


def sums(kind: str, W: Tensor, x: Tensor) -> Tensor:
    r"""
    ## Table 1

    What does a normalized layer not notice? Section 5.1 compares three kinds. We know two of them,
    layer and batch normalization. The third, *weight* normalization (Salimans 2016,
    [arXiv](https://arxiv.org/abs/1602.07868)), looks at no data. It divides a unit's summed
    inputs, a row of $W x$, by the length of its weights: $\mu = 0$, $\sigma = \lVert w \rVert_2$.
    Gain and bias are left out here.
    """
    a = x @ W.T  # (B, H)
    if kind == "batch":
        mu, variance = statistics(a)  # (H,), (H,)
        return (a - mu) / variance.sqrt()  # (B, H)
    if kind == "layer":
        return normalized(a, 0.0)  # (B, H)
    return a / W.norm(dim=1)  # (B, H)


def changed(W: Tensor, x: Tensor, by: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    r"""
    We change weights or data in the six ways of the table and see whether anything else comes out.
    To *re-scale* is to multiply by a positive number, and to *re-center* is to add a vector, the
    same to all rows of the matrix or to all examples.

    | what is changed | batch | weight | layer |
    |---|---|---|---|
    | weight matrix re-scaled | ✓ | ✓ | ✓ |
    | weight matrix re-centered | | | ✓ |
    | one unit's weights re-scaled | ✓ | ✓ | |
    | data re-scaled | ✓ | | ✓ |
    | data re-centered | ✓ | | |
    | one example re-scaled | | | ✓ |

    Why the second row? To add the same vector to the weights of all units adds the same number
    to all their sums, and that goes with the mean. So the weights of a layer have fewer
    directions to move in than it seems. And why the last? An example that is twice as bright
    has sums that are twice as large, and so is $\sigma$. But with the brightness goes whatever it
    had to say.
    """
    first_unit, first_example = torch.ones(len(W), 1), torch.ones(len(x), 1)  # (H, 1), (B, 1)
    first_unit[0] = first_example[0] = 3.0
    return {
        "weight matrix re-scaled": (3 * W, x),
        "weight matrix re-centered": (W + by, x),
        "one unit's weights re-scaled": (first_unit * W, x),
        "data re-scaled": (W, 3 * x),
        "data re-centered": (W, x + by),
        "one example re-scaled": (W, first_example * x),
    }


class Recurrent(nn.Module):
    r"""
    ## In a recurrent network

    The summed inputs of a step, $\mathbf{a}^t = W_{hh} \mathbf{h}^{t-1} + W_{xh} \mathbf{x}^t$, are
    normalized before they become the new state (eq. 4):

    $$
    \mathbf{h}^t = f\left[\frac{\mathbf{g}}{\sigma^t} \odot (\mathbf{a}^t - \mu^t)
    + \mathbf{b}\right].
    $$

    In a plain network the sums tend to grow or to shrink with each step, and the gradient on its
    way back [with them](../recurrent/lstm.py#a-chain-of-products). Here the sums can't: multiply
    $W_{hh}$ and $W_{xh}$ by any positive number, and the states stay as they are.

    The network is given a norm for each step. Layer normalization puts the same one everywhere;
    batch normalization has another one, with its own statistics, at every step.
    """

    def __init__(self, D: int, H: int, norms: list[nn.Module], bias: bool) -> None:
        super().__init__()
        self.inputs = nn.Linear(D, H, bias)
        self.recurrent = nn.Linear(H, H, bias=False)
        self.norms = nn.ModuleList(norms)
        # A norm's biases start at zero, so those of the control do, too.
        if bias:
            nn.init.zeros_(self.inputs.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = x.new_zeros(len(x), self.recurrent.in_features)  # (B, H)
        states = []
        for net, norm in zip(self.inputs(x).unbind(1), self.norms, strict=True):
            a = net + self.recurrent(h)  # (B, H)
            h = norm(a).tanh()  # (B, H)
            states.append(h)
        return torch.stack(states, 1), h  # (B, T, H), (B, H)


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    By default a network reads a digit pixel by pixel and says at the end which one it was. With
    `--pieces 1` it sees the digit as a whole, and is a network with one hidden layer, for what
    the paper tells of small batches.
    """

    norm: Literal["layer", "batch", "none"] = "layer"
    "what the summed inputs are normalized over: the layer, the batch or nothing"
    pieces: int = 64
    "pieces in which a digit is read; 64 are single pixels"
    width: int = 64
    "units of the layer"
    scale: float = 1.0
    "factor of the weights at the start"
    lr: float = 0.002
    "learning rate of Adam"
    batch: int = 32
    "digits in a minibatch"
    steps: int = 600
    "minibatches"


class Reader(nn.Module):
    r"""
    ## A network that reads

    One layer over the pieces, and a linear one that reads its last state.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.pieces, H = config.pieces, config.width
        if 64 % self.pieces:
            raise UserError(f"--pieces {self.pieces}: the 64 pixels do not divide into so many")
        make: dict[str, Callable[[], list[nn.Module]]] = {
            "layer": lambda: [FusedLayerNorm(H)] * self.pieces,
            "batch": lambda: [FusedBatchNorm(H) for _ in range(self.pieces)],
            "none": lambda: [nn.Identity()] * self.pieces,
        }
        norms = make[config.norm]()
        self.layer = Recurrent(64 // self.pieces, H, norms, bias=config.norm == "none")
        with torch.no_grad():
            self.layer.inputs.weight *= config.scale
            self.layer.recurrent.weight *= config.scale
        self.classes = nn.Linear(H, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = images.reshape(len(images), self.pieces, -1)  # (B, T, D)
        logits: Tensor = self.classes(self.layer(x)[1])  # (B, 10)
        return logits


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    Before we train, we measure how many powers of ten the error loses on its way back through all
    steps, on random inputs. With layer normalization it loses only a few, whatever the scale of the
    weights.

    On digits something else happens first. Their first pixels are black, so the layer hears next to
    nothing, $\sigma$ is little more than $\sqrt\epsilon$, and each of these steps amplifies
    about 300-fold. The gradient explodes there, and we [clip](../training/clipping.py) it.

    With twice the weights a plain network does just as well, as the runs show, but somebody has to
    find that factor. And batch normalization, which has 64 sets of statistics here, is no worse
    than layer normalization. It can have them because all digits have the same number of pixels.
    Small batches are another matter. Four examples still have a mean that is worth something. Two
    do not: each value becomes 1 or $-1$, whatever it was, and says only which of the two was the
    larger.
    """
    run = Run(config, options)
    data, unseen = digits("train"), digits("test")
    batches = run.batches(data.images, data.labels, size=config.batch)
    reader = Reader(config)
    noise = torch.rand(50, config.pieces, 64 // config.pieces)
    reach = flow(reader.layer, noise)  # (T,)
    model = run.prepare(reader)
    optimizer = torch.optim.Adam(model.parameters(), config.lr, fused=True)

    for step in run.steps(config.steps, model=model, optimizer=optimizer):
        images, labels = batches[step]  # (B, 8, 8), (B,)
        with run.autocast():
            loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer, clip=1.0)
        run.log(loss=loss)

    model.eval()
    with torch.no_grad():
        wrong = model(unseen.images.to(run.device)).argmax(1).cpu() != unseen.labels  # (U,)
    numbers = {"error": wrong.float().mean().item(), "lost": (reach[-1] - reach[0]).item()}
    if config.norm == "layer":
        theirs, large = nn.LayerNorm(256), torch.randn(1024, 256, requires_grad=True)
        numbers["times_torch"] = pace(LayerNorm(256), theirs, large)
        numbers["fused_times_torch"] = pace(FusedLayerNorm(256), theirs, large)
    return run.finish(**numbers)


# ## What changed since
#
# - **Everywhere.** Each sublayer of a [transformer](../transformers/transformer.py) has one, where
#   a position of a sequence is an example. At first it stood behind the sum, and since
#   [GPT-2](../transformers/gpt2.py) it has stood before the sublayer.
#   [BERT](../transformers/bert.py) puts one on its embeddings, too. [DeepNorm](deep_norm.py)
#   leaves it behind the sum and makes the shortcut larger, so that hundreds of layers can be
#   trained.
# - **Without the mean.** [RMSNorm](rms_norm.py) keeps the division alone. It
#   gives up the second row of table 1 and learns about as well.
# - **In images** the paper itself finds batch normalization better (section 6.7). Its guess is that
#   units near the border, which are seldom switched on, are too unlike the others of their layer.
#   [Groups](group_norm.py) of channels lie between the two.
# - **Why does it help?** The gradient through mean and variance seems to matter more than the
#   normalized numbers do (Xu 2019, [arXiv](https://arxiv.org/abs/1911.07013)).

if __name__ == "__main__":
    main(train)
