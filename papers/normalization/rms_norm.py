r"""
---
title: RMSNorm
summary: Layer normalization without the mean, on the hypothesis that the division is what helps.
paper: Root Mean Square Layer Normalization
authors: [Biao Zhang, Rico Sennrich]
year: 2019
arxiv: "1910.07467"
acronyms: [RMS, pRMSNorm, root mean square]
needs: [normalization/layer_norm]
equals:
  what: torch.nn.RMSNorm
  within: 1e-10
  test: test_outputs_and_gradients_are_those_of_torch
notation:
  'a': a
  'n': H
  'g': weight
  '\epsilon': epsilon
  'k': K
  'p': share
  'W': linear
  'b': bias
  'R': slope
figure:
  file: figures/rms_norm.svg
  alt: >-
    Two planes, an axis for each of two units. On the left ten points around the origin, near and
    far, each move along a ray to a circle. On the right the same points first move at right angles
    to the diagonal onto a slanted line, and all of them end in one of two places on it, a point for
    each side of the diagonal.
  caption: >-
    A layer of two units, by the page's own `RMSNorm` and `CentredRMSNorm`. What is divided keeps
    its direction. Where the mean is subtracted as well, two units can only say which of them is
    larger.
metrics:
  error: {name: error on unseen digits, unit: "%", better: lower}
  times_torch: {name: time of the written-out layer, unit: × torch, better: lower}
  fused_times_torch: {name: time of the fused layer, unit: × torch, better: lower}
  times_centred: {name: time without the mean, unit: × with it, better: lower}
  torch_times_layer_norm: {name: "time of torch's RMSNorm", unit: × LayerNorm, better: lower}
  loss: {name: training loss, unit: nats, better: lower, scale: log}
runs:
  RMSNorm: ""
  layer norm: --norm layer
  a sixteenth of the units: --norm partial
  no norm: --norm none
  "weights ten times too large, RMSNorm": --scale 10
  "weights ten times too large, the mean alone": --scale 10 --norm centring
  "weights ten times too large, no norm": --scale 10 --norm none
  "weights with a common part, RMSNorm": --shift 0.2
  "weights with a common part, layer norm": --shift 0.2 --norm layer
claims:
  - what: it learns as well as layer normalization does
    paper: "comparable performance (abstract)"
    run: RMSNorm
    control: layer norm
    metric: error
    within: 0.02
    note: "the means are close, but the seeds of ours vary by more than what is allowed"
  - what: where weights are too large, it errs less than without a norm
    paper: "re-scaling is the reason for LayerNorm's success (section 1), as a hypothesis"
    run: "weights ten times too large, RMSNorm"
    control: "weights ten times too large, no norm"
    metric: error
    margin: 0.02
  - what: and less than with the other half alone, which subtracts the mean
    paper: "not there: our control"
    run: "weights ten times too large, RMSNorm"
    control: "weights ten times too large, the mean alone"
    metric: error
    margin: 0.02
  - what: it learns as well as layer normalization where all weights have a common part, too
    paper: "re-centering invariance is dispensable (abstract)"
    run: "weights with a common part, RMSNorm"
    control: "weights with a common part, layer norm"
    metric: error
    within: 0.02
    note: "it divides by what all units have in common, and nothing is left of the digits"
  - what: the mean square of a sixteenth of the units will do
    paper: "pRMSNorm, with p = 6.25 %"
    run: a sixteenth of the units
    control: RMSNorm
    metric: error
    within: 0.02
  - what: without the mean a layer takes less time, by 7 % at least
    paper: "7 to 64 % less, of whole models (abstract)"
    run: RMSNorm
    metric: times_centred
    than: 0.93
    margin: 0
  - what: written out, it is as fast as torch's layer
    paper: "not there"
    run: RMSNorm
    metric: times_torch
    than: 1.05
    margin: 0
    note: "the operations are the same, and their times vary by a tenth from one run to the next"
  - what: torch's RMSNorm is faster than its LayerNorm
    paper: "not there; both were written out"
    run: RMSNorm
    metric: torch_times_layer_norm
    than: 1.0
    margin: 0
    note: "on a CPU only the LayerNorm is one kernel, though it even adds a bias"
  - what: translation, reading, retrieval and images lose nothing by it
    paper: "the experiments, with RNNs, a Transformer and a convolutional network"
    note: "not run here: WMT, CNN articles, COCO"
deviations:
  - what: epsilon
    paper: "none (eq. 4)"
    ours: "1e-5, inside the root"
    others: "the authors' code: 1e-8, outside; LLaMA: 1e-6; torch: the smallest step of the dtype"
    matters: only for vectors near zero
    test: test_epsilon_bounds_the_amplification
  - what: precision of the squares
    paper: not said
    ours: "float32 at least, rounded before the gain"
    others: "LLaMA in transformers: float32 always, rounded before the gain; Gemma and torch: after"
    matters: "in the last bit of 16; without it, large numbers become infinite"
    test: test_in_16_bits_it_is_llamas_and_not_gemmas
  - what: bias
    paper: "behind the gain, as in layer normalization"
    ours: "in the network below, not in the norm"
    others: "the authors' code: off by default; LLaMA and torch: none"
    matters: "no, where a linear layer with a bias follows"
    test: test_a_layer_is_the_equation
  - what: units of the partial norm
    paper: "the first k of n, rounded up"
    ours: as the paper
    others: "the authors' code: rounded down"
    matters: "only where a small layer would have no unit left"
    test: test_a_share_is_rounded_up
  - what: the network
    paper: "RNNs, a Transformer, a convolutional network"
    ours: eight plain layers, on digits
    matters: for comparing numbers with the paper's
    test: test_training_is_this_loop
mistakes:
  - what: squaring in half precision
    mutant: squares in half precision
    caught: test_large_halves_stay_finite
  - what: dividing by the length, which is larger than the RMS by the root of the width
    mutant: the sum of squares
    caught: test_outputs_and_gradients_are_those_of_torch
  - what: one mean square for the whole batch
    mutant: squares over the batch
    caught: test_an_example_does_not_need_the_others
worked:
  - at: RMSNorm
    told: >-
      The mean of these squares is 12.5, and its root 3.536. Ten times the numbers give the same
      result. Add 10 to each instead, and they become nearly alike.
    code: |-
      a = torch.tensor([1.0, 2.0, 3.0, 6.0])
      a.square().mean().sqrt()
      RMSNorm(4)(a)
      RMSNorm(4)(10 * a)
      RMSNorm(4)(a + 10)
exercises: [RMSNorm, PartialRMSNorm.mean_square, slope]
changes: {from: normalization/layer_norm, proof: test_of_what_is_centred_it_is_layer_norm}
---

# RMSNorm

[Layer normalization](layer_norm.py) does two things to the summed inputs of a layer: it subtracts
their mean, and divides by what is left of their size. Either makes the layer blind to something,
the first to a shift of all units, the second to a factor. It costs time, most of all in a
recurrent network, where one small layer follows another.

Which half is it that helps? The authors' hypothesis is that it is the division. Sums that are too
large or too small are what breaks a deep network, and the next layer can cope with a mean by
itself. So they leave the mean out, and divide by the root of the mean square, the *RMS*. What
remains is a single formula, and most large language models now have it in every block.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | examples in a batch | `H` | units of a layer, $n$ |
| `D` | inputs of a layer | `K` | units that are squared, $k$ |
| `U` | unseen digits | | |
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, main
from papers.common.data import digits
from papers.normalization.batch_norm import pace


class RMSNorm(nn.Module):
    r"""
    ## The layer

    The summed inputs $a_1 \dots a_n$ of the $n$ units of a layer are divided by the root of their
    mean square, and each unit has a gain $g$ (eq. 4):

    $$
    \begin{aligned}
    \bar a_i &= \frac{a_i}{\operatorname{RMS}(a)} \, g_i \\
    \operatorname{RMS}(a) &= \sqrt{\frac1n \sum_{i=1}^{n} a_i^2}
    \end{aligned}
    $$

    Where every gain is 1, what comes out has the length $\sqrt n$ and the direction of $a$: all
    examples are moved to the surface of a ball. A small $\epsilon$ under the root, which is not in
    the paper, is for vectors of zeros.

    The weight has the name that it has in torch and in [LLaMA](../transformers/llama.py#rmsnorm),
    so that published weights fit.
    """

    def __init__(self, H: int, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.weight = nn.Parameter(torch.ones(H))

    def mean_square(self, a: Tensor) -> Tensor:
        return a.square().mean(-1, keepdim=True)  # (..., 1)

    def forward(self, a: Tensor) -> Tensor:
        # Squares soon leave the range of 16 bits: in fp16 that of 256 is infinite already.
        wide = a.to(torch.promote_types(a.dtype, torch.float32))  # (..., H)
        unit = wide * torch.rsqrt(self.mean_square(wide) + self.epsilon)  # (..., H)
        return unit.to(a.dtype) * self.weight  # (..., H)


class FusedRMSNorm(RMSNorm):
    r"""
    ### The form to use

    Torch has a function for it. On a GPU that is one kernel, which reads the numbers once. On a CPU
    it is the same operations as above, one after the other, so nothing is gained there, and torch's
    LayerNorm, which is one kernel on a CPU as well, is faster. How long each takes is
    [measured](batch_norm.py#how-fast-it-is) in each run of RMSNorm. Fewer operations save time only
    if both layers are written equally well.
    """

    def forward(self, a: Tensor) -> Tensor:
        return F.rms_norm(a, self.weight.shape, self.weight, self.epsilon)  # (..., H)


class PartialRMSNorm(RMSNorm):
    r"""
    ## A part of the units

    If all units of a layer are alike, a few of them tell how large the others are. pRMSNorm takes
    the first $k$:

    $$
    \operatorname{RMS}(a) \approx \sqrt{\frac1k \sum_{i=1}^{k} a_i^2}, \qquad
    k = \lceil n \cdot p \rceil.
    $$

    It is invariant to the same things. The paper finds 6.25 % enough. In our network of 128 units
    these are 8, and the mean of 8 squares is typically off by half its size. So each example is
    made too large or too small by about a quarter. In a layer of 1,024 there would be 64.
    """

    def __init__(self, H: int, share: float = 0.0625, epsilon: float = 1e-5) -> None:
        super().__init__(H, epsilon)
        self.K = math.ceil(H * share)

    def mean_square(self, a: Tensor) -> Tensor:
        return super().mean_square(a[..., : self.K])  # (..., 1)


class CentredRMSNorm(RMSNorm):
    r"""
    ## Against layer normalization

    Layer normalization is RMSNorm of what has been centred. That makes it easy to see what is lost.
    The table marks which [changes](layer_norm.py#table-1) of the weights $W$ or the data $x$ a norm
    of the sums $a = W x$ does not notice:

    | what is changed | layer norm | RMSNorm | pRMSNorm |
    |---|---|---|---|
    | weight matrix re-scaled | ✓ | ✓ | ✓ |
    | weight matrix re-centered | ✓ | | |
    | one unit's weights re-scaled | | | |
    | data re-scaled | ✓ | ✓ | ✓ |
    | data re-centered | | | |
    | one example re-scaled | ✓ | ✓ | ✓ |

    The only difference is in the second row: a vector added to the weights of all units adds one
    number to all sums. Since $\operatorname{RMS}^2 = \mu^2 + \sigma^2$, the two norms agree where
    the mean is zero. It stays zero by itself if each column of $W$ has mean zero, so whoever
    subtracts the mean of the columns once can use RMSNorm in place of layer normalization from
    then on.
    """

    def forward(self, a: Tensor) -> Tensor:
        return super().forward(a - a.mean(-1, keepdim=True))  # (..., H)


class Centring(nn.Module):
    r"""
    ### The other half

    A control that the paper does not have: it subtracts the mean and divides by nothing.
    """

    def __init__(self, H: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(H))

    def forward(self, a: Tensor) -> Tensor:
        return self.weight * (a - a.mean(-1, keepdim=True))  # (..., H)


def slope(a: Tensor) -> Tensor:
    r"""
    ## The gradient

    By how much each normalized sum follows each sum:

    $$
    R = \frac{1}{\operatorname{RMS}(a)} \left(I - \frac{a \, a^\top}
    {n \operatorname{RMS}(a)^2}\right).
    $$

    The second term takes away what only makes $a$ longer: $R \, a = 0$. And if $W$ is multiplied
    by a positive number, $R$ and with it the gradient by $W$ are divided by it. So a step that is
    too large makes weights longer and the next step smaller. The authors call this an implicit
    adaptation of the learning rate. Multiply the data instead, and the gradient by $W$ stays.
    """
    H = len(a)
    square = a.square().mean()  # ()
    return (torch.eye(H, dtype=a.dtype) - a.outer(a) / (H * square)) / square.sqrt()  # (H, H)


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    A deep network without shortcuts, where numbers grow or shrink from layer to layer. With
    `--scale 10` each layer makes them ten times larger than it should. With `--shift 0.2` all units
    of a layer hear the same number on top of what they are to hear.
    """

    norm: Literal["rms", "partial", "layer", "centring", "none"] = "rms"
    "what is done to the summed inputs of a layer"
    layers: int = 8
    "hidden layers"
    width: int = 128
    "units of a layer"
    scale: float = 1.0
    "factor of the weights at the start"
    shift: float = 0.0
    "what is added to all weights at the start"
    lr: float = 0.002
    "learning rate of Adam"
    batch: int = 32
    "digits in a minibatch"
    steps: int = 300
    "minibatches"


class Layer(nn.Module):
    r"""
    ## A layer and its norm

    The norm stands between the weights and the rectifier $f$, and the bias behind it, as in the
    paper:

    $$
    y = f\left(\frac{W x}{\operatorname{RMS}(W x)} \odot g + b\right).
    $$
    """

    def __init__(self, D: int, config: Config) -> None:
        super().__init__()
        H = config.width
        self.linear = nn.Linear(D, H, bias=False)
        nn.init.kaiming_normal_(self.linear.weight, nonlinearity="relu")
        with torch.no_grad():
            self.linear.weight.mul_(config.scale).add_(config.shift)
        self.norm = {
            "rms": RMSNorm,
            "partial": PartialRMSNorm,
            "layer": CentredRMSNorm,
            "centring": Centring,
            "none": nn.Identity,
        }[config.norm](H)
        self.bias = nn.Parameter(torch.zeros(H))

    def forward(self, x: Tensor) -> Tensor:
        return (self.norm(self.linear(x)) + self.bias).relu()  # (B, H)


def network(config: Config) -> nn.Sequential:
    r"""
    ## The network

    The last layer has no norm, since probabilities need large and small numbers.
    """
    layers = [Layer(config.width if depth else 64, config) for depth in range(config.layers)]
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(config.width, 10))


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    Where the weights have the right size, eight layers learn digits with any of these norms and
    with none. Ten times too large, they make numbers a hundred million times as large as they
    should be, unless each layer divides. Subtracting the mean alone helps somewhat, but is no
    substitute.

    A common part of all weights is the opposite case. Each unit hears the same number, which is
    larger than what tells one digit from another. Layer normalization takes it away. RMSNorm
    divides by it: all units say about the same, whatever the digit, and a few layers later nothing
    else is left. So there are weights for which the mean is not dispensable. But nobody starts from
    such weights, and where means are small from the start, RMSNorm errs about as often as layer
    normalization, on average over three seeds.
    """
    run = Run(config, options)
    data, unseen = digits("train"), digits("test")
    batches = run.batches(data.images, data.labels, size=config.batch)
    model = run.prepare(network(config))
    optimizer = torch.optim.Adam(model.parameters(), config.lr, fused=True)

    for step in run.steps(config.steps, model=model, optimizer=optimizer):
        images, labels = batches[step]  # (B, 8, 8), (B,)
        with run.autocast():
            loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer, clip=1.0)
        run.log(loss=loss)

    with torch.no_grad():
        wrong = model(unseen.images.to(run.device)).argmax(1).cpu() != unseen.labels  # (U,)
    numbers = {"error": wrong.float().mean().item()}
    if config.norm == "rms":
        theirs, large = nn.RMSNorm(256, 1e-5), torch.randn(1024, 256, requires_grad=True)
        numbers["times_torch"] = pace(RMSNorm(256), theirs, large)
        numbers["fused_times_torch"] = pace(FusedRMSNorm(256), theirs, large)
        numbers["times_centred"] = pace(RMSNorm(256), CentredRMSNorm(256), large)
        numbers["torch_times_layer_norm"] = pace(theirs, nn.LayerNorm(256), large)
    return run.finish(**numbers)


# ## What changed since
#
# - **In language models.** T5 left out mean and bias in the same month (Raffel 2019,
#   [arXiv](https://arxiv.org/abs/1910.10683)), and since [LLaMA](../transformers/llama.py) nearly
#   all open models do. There is one before each sublayer, and often one more for
#   queries and keys.
# - **The same network.** In a transformer the mean of the residual stream can be taken out of all
#   weights that write to it, once and for all. Then RMSNorm computes exactly what layer
#   normalization did (Jiang 2023, [arXiv](https://arxiv.org/abs/2305.14858)).
# - **What it costs** beside torch's layer is also measured among
#   [other parts](../training/speed.py#norms).

if __name__ == "__main__":
    main(train)
