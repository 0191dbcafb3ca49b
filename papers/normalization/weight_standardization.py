r"""
---
title: Weight standardization
summary: Weights with mean zero and variance one, for when a batch is too small to normalize by.
paper: Micro-Batch Training with Batch-Channel Normalization and Weight Standardization
authors: [Siyuan Qiao, Huiyu Wang, Chenxi Liu, Wei Shen, Alan Yuille]
year: 2019
arxiv: "1903.10520"
acronyms: [WS, StdConv2d, WeightStandardization]
needs: [normalization/batch_norm, normalization/group_norm]
equals:
  what: transformers' WeightStandardizedConv2d
  within: 1e-10
  test: test_outputs_and_gradients_are_those_of_transformers
notation:
  'W': W
  '\hat W': W_hat
  'I': M
  'O': C
  '\mu_W': mu
  '\sigma_W': sigma
  '\epsilon': epsilon
figure:
  file: figures/weight_standardization.svg
  alt: >-
    Weights of a layer as a table, a row for each of its outputs. One row leads to centred, from
    there to scaled, and on to W_hat. Below, a bar for each of six layers, of how much is left of
    the gradient's squared length. In the first layer it is a half, in the others between 0.7 and
    0.9.
  caption: >-
    A row, the weights of one output, is standardized by its own mean and deviation. Below, what of
    its squared length a gradient keeps on its way to the stored weights, in an untrained network
    on digits, as `kept` computes it.
metrics:
  error: {name: error on unseen digits, unit: "%", better: lower}
  late_loss: {name: "training loss, mean over the second half", unit: nats, better: lower}
  loss: {name: training loss, unit: nats, better: lower, scale: log}
runs:
  standardized: ""
  plain: --weights plain
  the mean alone: --weights centred
  the deviation alone: --weights scaled
claims:
  - what: with group norm and two images a batch, standardized weights learn faster
    paper: "abstract"
    run: standardized
    control: plain
    metric: late_loss
    margin: 0.05
  - what: and the network errs less
    paper: "abstract"
    run: standardized
    control: plain
    metric: error
    margin: 0.02
  - what: to take the mean of each row away is enough to learn faster
    paper: "not there: our control"
    run: the mean alone
    control: plain
    metric: late_loss
    margin: 0.05
  - what: to divide each row by its deviation is enough
    paper: "not there: our control"
    run: the deviation alone
    control: plain
    metric: late_loss
    margin: 0.05
    note: "on average it learns more slowly than without, but the seeds differ by about as much"
  - what: with one image for each GPU it is as good as batch norm in large batches
    paper: "abstract"
    note: "not run here: ImageNet, where a step costs more than a batch; on digits an epoch of small
      batches has many more steps, and that alone decides"
deviations:
  - what: deviation of a row
    paper: 'divided by $I$'
    ours: as the paper
    others: "the release: by $I - 1$; transformers: as ours"
    matters: "no: what follows normalizes all of a layer's rows again"
    test: test_another_deviation_is_undone_by_the_norm_that_follows
  - what: epsilon
    paper: "outside of the root in version 1"
    ours: 1e-5 inside
    others: "the release: 1e-5, outside in one place and inside in another; transformers: 1e-6,
      inside"
    matters: "for weights that are all alike: there, with epsilon outside, the gradient of the root
      is not a number"
    test: test_weights_that_are_all_alike_have_a_gradient
  - what: biases of a convolution
    paper: none
    ours: not standardized, where there are any
    others: "the release, transformers: as ours"
    matters: "no: the norm that follows has its own"
    test: test_outputs_and_gradients_are_those_of_transformers
  - what: the network
    paper: ResNets, among others on ImageNet
    ours: six layers, one epoch, on digits
    matters: for comparing numbers with the paper's
mistakes:
  - what: standardizing the weights of all outputs together
    mutant: one mean for the layer
    caught: test_each_output_has_its_own_statistics
  - what: standardizing what is stored, after each step, so that no gradient goes through it
    mutant: statistics without a gradient
    caught: test_the_way_back_written_out_is_that_of_autograd
exercises: [centred, scaled, gradients]
---

# Weight standardization

In batches of one or two images, [batch normalization](batch_norm.py) has too few values, and
[group normalization](group_norm.py) takes its place. But where batches are large, batch
normalization is still better, so something is lost without it. What?

One view of batch normalization (Santurkar 2018, [arXiv](https://arxiv.org/abs/1805.11604)) is that
it makes the loss smoother. Its gradient passes through a mean and a variance, which take two
directions out of it, and a shorter gradient means a loss that changes less from step to step. That
does not need a batch. The *weights* of an output are many numbers too, at hand whatever the batch.
So this paper standardizes them.

The obvious way is to do it to the stored weights after every step. Then the gradient would still
point to where the next standardization undoes the step. As a part of the network, it does not.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | images in a batch | `C` | outputs of a layer |
| `M` | weights of one output | | |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from papers.common import Options, Run, main
from papers.common.data import digits
from papers.normalization.group_norm import Config as NetworkConfig
from papers.normalization.group_norm import Network, errors


def centred(W: Tensor) -> Tensor:
    r"""
    ## The two halves

    A convolution's weights are a table $W \in \mathbb{R}^{O \times I}$ with a row for each of the
    $O$ outputs, and $I$ weights in it: one for each input channel and each place of the kernel.
    What is computed with is

    $$
    \begin{aligned}
    \hat W_{i,j} &= \frac{W_{i,j} - \mu_{W_i}}{\sigma_{W_i}} \\
    \mu_{W_i} &= \frac1I \sum_{j=1}^I W_{i,j} \\
    \sigma_{W_i} &= \sqrt{\frac1I \sum_{j=1}^I (W_{i,j} - \mu_{W_i})^2 + \epsilon}
    \end{aligned}
    $$

    First the mean of each row goes.
    """
    rows = W.flatten(1)  # (C, M)
    mu = rows.mean(1, keepdim=True)  # (C, 1)
    return (rows - mu).view_as(W)  # (C, ...)


def scaled(W: Tensor, epsilon: float) -> Tensor:
    r"""
    Then each row is divided by its deviation. (We look at the halves one by one as well, so the
    deviation is one from the mean here, whether that has gone already or not.)

    **An example.** A row $1, 2, 3, 6$ becomes $-2, -1, 0, 3$, and with $\sigma_W = 1.871$ then
    $-1.069$, $-0.535$, $0$, $1.604$: what [batch normalization](batch_norm.py#the-transform) makes
    of a feature with these values in four examples. It is the same formula, applied to a weight
    where there was an activation, and to an input where there was an example.

    There is no scale and no shift to learn, since the norm that follows has its own.
    """
    rows = W.flatten(1)  # (C, M)
    deviations = rows - rows.mean(1, keepdim=True)  # (C, M)
    sigma = (deviations.square().mean(1, keepdim=True) + epsilon).sqrt()  # (C, 1)
    return (rows / sigma).view_as(W)  # (C, ...)


def standardized(W: Tensor, epsilon: float) -> Tensor:
    return scaled(centred(W), epsilon)  # (C, ...)


def gradients(toward_W_hat: Tensor, W: Tensor, epsilon: float) -> Tensor:
    r"""
    ## The way back

    Let $g$ be a row of the gradient by $\hat W$. By the chain rule through $\mu_W$ and $\sigma_W$,

    $$
    \begin{aligned}
    \sigma_{W_i} \frac{\partial \ell}{\partial W_{i,j}} = g_j &- \frac1I \sum_{k=1}^I g_k \\
    &- \hat W_{i,j} \, \frac1I \sum_{k=1}^I g_k \hat W_{i,k}.
    \end{aligned}
    $$

    Two parts of $g$ do not arrive. The one along $(1, \dots, 1)$ would shift all weights of the
    row, the one along $\hat W_i$ would stretch them, and both would be undone.
    """
    W_hat, g = standardized(W, epsilon).flatten(1), toward_W_hat.flatten(1)  # (C, M), (C, M)
    sigma = (W.flatten(1).var(1, correction=0, keepdim=True) + epsilon).sqrt()  # (C, 1)
    g = g - g.mean(1, keepdim=True)  # (C, M)
    along = (g * W_hat).mean(1, keepdim=True)  # (C, 1)
    return ((g - along * W_hat) / sigma).view_as(W)  # (C, ...)


def kept(toward_W_hat: Tensor, W: Tensor) -> tuple[float, float]:
    r"""
    ### How much is left

    The two directions are at right angles, and $\hat W_i$ has the squared length $I$. But for
    $\epsilon$, what is left is exactly

    $$
    \begin{aligned}
    \sigma_{W_i}^2 \left\lVert \frac{\partial \ell}{\partial W_i} \right\rVert^2
    = \lVert g \rVert^2 &- \frac1I \Big( \sum_{k=1}^I g_k \Big)^2 \\
    &- \frac1I \Big( \sum_{k=1}^I g_k \hat W_{i,k} \Big)^2.
    \end{aligned}
    $$

    So it is never longer than $g$. We compute which share is left of a layer's squared length when
    the mean has been taken away, and when both have.
    """
    W_hat, g = standardized(W, 0.0).flatten(1), toward_W_hat.flatten(1)  # (C, M), (C, M)
    M, whole = g.shape[1], g.square().sum()
    shift = g.sum(1).square().sum() / M
    stretch = (g * W_hat).sum(1).square().sum() / M
    return (1 - shift / whole).item(), (1 - (shift + stretch) / whole).item()


class StandardizedConv2d(nn.Conv2d):
    r"""
    ## The layer

    What is stored is $W$, which the optimizer knows; what is computed with is $\hat W$.
    """

    epsilon = 1e-5

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, standardized(self.weight, self.epsilon), self.bias)


class Standardized(nn.Module):
    r"""
    ### The form to use

    Torch can put such a function in front of any weight. The layer stays what it is, and when the
    training is over, `parametrize.remove_parametrizations` stores $\hat W$ in the place of $W$. In
    use it costs nothing.
    """

    def __init__(self, weights: str = "standardized", epsilon: float = 1e-5) -> None:
        super().__init__()
        self.weights, self.epsilon = weights, epsilon

    def forward(self, W: Tensor) -> Tensor:
        if self.weights == "centred":
            return centred(W)  # (C, ...)
        # For the control, one half without the other.
        half = self.weights == "scaled"
        return scaled(W, self.epsilon) if half else standardized(W, self.epsilon)  # (C, ...)


def standardize(network: nn.Module, weights: str = "standardized") -> nn.Module:
    r"""
    Only convolutions that a norm follows are standardized. The last layer is not, since the size of
    its weights says how sure the network is.
    """
    for part in [*network.modules()]:
        if isinstance(part, nn.Conv2d):
            parametrize.register_parametrization(part, "weight", Standardized(weights))
    return network


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    The [network](group_norm.py#the-network), the optimizer and the rates of group normalization,
    for one epoch. At the start all rows have about the same deviation, and the norm that follows
    undoes any scale that they share. So to that norm the weights of both are equally large, and a
    rate that suits one suits the other.
    """

    weights: Literal["standardized", "centred", "scaled", "plain"] = "standardized"
    "what is done to the weights: both halves, one, or nothing"
    norm: Literal["group", "batch"] = "group"
    "what normalizes the maps"
    groups: int = 8
    "groups of channels"
    layers: int = 6
    "convolutions; the second, fourth and sixth halve the maps"
    width: int = 32
    "channels"
    lr: float = 0.1
    "learning rate for a batch of 32"
    batch: int = 2
    "images in a minibatch"
    epochs: int = 1
    "passes over the training digits"


def network(config: Config) -> nn.Module:
    size = {"groups": config.groups, "layers": config.layers, "width": config.width}
    made = Network(NetworkConfig(norm=config.norm, **size))
    return made if config.weights == "plain" else standardize(made, config.weights)


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    SGD with momentum. In batches of two the network with standardized weights learns faster from
    the start, and errs less when the epoch is over.

    Which of the halves is it? It is the mean. Where only that is taken away, the network learns
    nearly as fast as with both halves, and rows that are only divided learn no faster than plain
    ones. The gradient says the same: nearly all that is taken from it, as `kept` counts it in an
    untrained network, is its mean. The norm behind a convolution undoes the scale of its weights
    anyway, so the gradient along $\hat W_i$ is next to nothing already, and there is little left
    for the division to take. The shift of a row is another matter. Behind a rectifier, inputs are
    positive on average, so a row with a mean of its own adds about the same number to its output at
    every place. Batch normalization takes that away for each channel. Group normalization takes
    away only what the channels of a group have in common; with standardized weights the rest does
    not arise.
    """
    run = Run(config, options)
    data, unseen = digits("train"), digits("test")
    batches = run.batches(data.images, data.labels, size=config.batch)
    model = run.prepare(network(config))
    rate = config.lr * config.batch / 32
    optimizer = torch.optim.SGD(model.parameters(), rate, 0.9, weight_decay=1e-4)
    total, late = config.epochs * len(batches), []

    for step in run.steps(total, model=model, optimizer=optimizer):
        images, labels = batches[step]  # (B, 8, 8), (B,)
        with run.autocast():
            loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer)
        run.log(loss=loss)
        if 2 * step >= total:
            late.append(loss.detach())

    error, _ = errors(model, unseen.images.to(run.device), unseen.labels.to(run.device))
    return run.finish(error=error, late_loss=torch.stack(late).mean().item())


# ## What changed since
#
# - **Estimated statistics.** The other half of the paper is
#   [batch-channel normalization](batch_channel_norm.py), which takes the mean and the variance of a
#   channel from many small batches, and normalizes groups of one image behind it.
# - **Large networks.** BiT trains group norm with standardized weights on far more images than
#   ImageNet has (Kolesnikov 2019, [arXiv](https://arxiv.org/abs/1912.11370)).
# - **Without any norm.** Standardized weights, scaled for the nonlinearity, keep signals at one
#   size on their own (Brock 2021, [arXiv](https://arxiv.org/abs/2101.08692)).
# - **Weight decay.** The size of weights that a norm follows does not count, so decay does not keep
#   the function small. It keeps the effective learning rate from fading as the weights grow.

if __name__ == "__main__":
    main(train)
