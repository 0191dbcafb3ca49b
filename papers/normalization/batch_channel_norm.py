r"""
---
title: Batch-channel normalization
summary: Batch statistics that are estimated over many small batches, and group norm behind them.
paper: Micro-Batch Training with Batch-Channel Normalization and Weight Standardization
authors: [Siyuan Qiao, Huiyu Wang, Chenxi Liu, Wei Shen, Alan Yuille]
year: 2019
arxiv: "1903.10520"
acronyms: [BCN, elimination singularity, micro-batch training]
needs: [normalization/group_norm, normalization/weight_standardization]
equals:
  what: torch.nn.BatchNorm2d in use, and torch.nn.GroupNorm behind it
  within: 1e-10
  test: test_where_a_batch_says_nothing_new_it_is_torchs_two_layers
notation:
  '\mu_c': mu
  '\sigma_c^2': around
  '\hat\mu_c': running_mean
  '\hat\sigma_c^2': running_var
  'r': momentum
figure:
  file: figures/batch_channel_norm.svg
  alt: >-
    A table with a row for each image, four from before and two of the batch, and a column for each
    channel. One column through all rows leads to batch, and half of the last row to channel, which
    comes after it. Below, two channels over twelve images, behind a rectifier. With group norm the
    first is zero for all of them. With batch-channel normalization each is zero for some.
  caption: >-
    A channel is normalized by what was seen before, then a group by the image itself. Below, two
    channels of which one is always the smaller: group norm makes it negative for every image.
metrics:
  error: {name: error on unseen digits, unit: "%", better: lower}
  late_loss: {name: "training loss, mean over the second half", unit: nats, better: lower}
  silent: {name: "channels of the last layer that stay at zero for 95 of 100 unseen digits",
    unit: "%", better: lower}
  loss: {name: training loss, unit: nats, better: lower, scale: log}
runs:
  batch-channel: ""
  "batch-channel, statistics of the batch": --norm exact
  "estimated batch norm alone": --norm estimated
  group: --norm group
  "batch-channel, standardized weights": --standardized
  "group, standardized weights": --norm group --standardized
claims:
  - what: in batches of two it errs less than group norm
    paper: "abstract"
    run: batch-channel
    control: group
    metric: error
    margin: 0.02
  - what: with standardized weights, too
    paper: "abstract: the two together"
    run: "batch-channel, standardized weights"
    control: "group, standardized weights"
    metric: error
    margin: 0.02
    note: "standardized weights help group norm, and then it errs as little"
  - what: standardized weights help it
    paper: "abstract: the two together"
    run: "batch-channel, standardized weights"
    control: batch-channel
    metric: error
    margin: 0.02
    note: "not here: on average it errs a little more with them"
  - what: statistics must be estimated, and not taken from a batch of two
    paper: "abstract"
    run: batch-channel
    control: "batch-channel, statistics of the batch"
    metric: error
    margin: 0.1
  - what: and estimated statistics need the channel norm behind them
    paper: "not there: our control"
    run: batch-channel
    control: "estimated batch norm alone"
    metric: error
    margin: 0.1
  - what: fewer channels fall silent than with group norm
    paper: "abstract: away from elimination singularities"
    run: batch-channel
    control: group
    metric: silent
    margin: 0.01
  - what: with one or two images for each GPU it is as good as batch norm in large batches
    paper: "abstract"
    note: "not run here: ImageNet, COCO and others"
deviations:
  - what: scale and shift of the channel norm
    paper: "the release: for each group"
    ours: for each channel, as in group norm
    others: "torch.nn.GroupNorm: as ours"
    matters: "little: the batch norm before it has a scale for each channel, too"
    test: test_it_is_one_layer_after_the_other
  - what: the variance that is estimated
    paper: "the release: around the estimated mean, before that is moved"
    ours: as the release
    others: "torch's batch norm: around the mean of the batch, and unbiased"
    matters: "in small batches: it counts by how much their means differ"
    test: test_the_variance_is_taken_around_the_estimated_mean
  - what: the rate of the estimates
    paper: "the release: a number that the training sets"
    ours: 0.1, as batch norm has it
    matters: "where weights change fast: the estimates lag behind"
    test: test_estimates_follow_at_their_rate
  - what: groups
    paper: "the release: 32"
    ours: 8, of 32 channels
    matters: for comparing numbers with the paper's
mistakes:
  - what: normalizing by the statistics of the small batch, and only using the estimates later
    mutant: statistics of the batch while it trains
    caught: test_an_image_is_not_normalized_by_its_batch
  - what: moving the estimates in place while a gradient still needs them
    mutant: estimates that move under a gradient
    caught: test_two_batches_may_go_forward_before_one_goes_back
exercises: [EstimatedBatchNorm.track, EstimatedBatchNorm.forward]
---

# Batch-channel normalization

[Batch normalization](batch_norm.py) gives every channel mean zero over the data. That has a use
that is easy to overlook: behind it, a rectifier lets each channel through for some images.
[Group normalization](group_norm.py) does not promise that. It looks at one image and several
channels, and if one of them is always the smallest of its group, it is always negative, for every
image, until a shift is learned that lifts it. Behind a rectifier it is zero. The paper calls such
a place an *elimination singularity*: the network has a channel less, and none of its gradient
comes back to say so.

So one would like to know the mean of a channel over many images, and has two at a time. The obvious
answer, to normalize by these two, is what fails in small batches in the first place. But nobody
says that the statistics have to come from one batch. Weights change little from step to step, so
those of the batches before are nearly those of now. Normalized by these, the channels of an image
then go through group normalization.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | images in a batch | `C` | channels |
| `H, W` | height and width of a map | `M` | values of a channel in a batch |
| `U` | unseen digits | | |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, main
from papers.common.data import digits
from papers.normalization.batch_norm import BatchNorm, FusedBatchNorm, statistics
from papers.normalization.group_norm import Config as NetworkConfig
from papers.normalization.group_norm import FusedGroupNorm, Network, errors
from papers.normalization.instance_norm import exchanged
from papers.normalization.weight_standardization import standardize


class EstimatedBatchNorm(BatchNorm):
    r"""
    ## Estimated statistics

    It has the tensors of batch normalization, and is that layer in use. What differs is training.
    """

    @torch.no_grad()
    def track(self, mu: Tensor, variance: Tensor, M: int) -> None:
        r"""
        With every batch the estimates move a part $r$ of the way to its mean and its variance:

        $$
        \begin{aligned}
        \hat\mu_c &\leftarrow \hat\mu_c + r (\mu_c - \hat\mu_c) \\
        \hat\sigma_c^2 &\leftarrow \hat\sigma_c^2 + r (\sigma_c^2 - \hat\sigma_c^2)
        \end{aligned}
        $$

        Here $\sigma_c^2$ is taken around $\hat\mu_c$, not around the mean of the batch, which lies
        too close to its own values. The two differ by $(\mu_c - \hat\mu_c)^2$. So there is no need
        for the [unbiased](batch_norm.py#what-is-tracked) estimate, and even a batch of one value
        has a variance. With `momentum=None`, $r$ is one over the number of batches so far, so all
        of them weigh the same.

        **An example.** The estimates are 0 and 1, the rate is a tenth, and a batch has the values
        $1, 2, 3, 6$, with mean 3 and variance 3.5. Around 0 the variance is $3.5 + 9 = 12.5$, so
        the estimates become $0.3$ and $2.15$, and the value 1 becomes $0.7 / \sqrt{2.15} = 0.477$.
        Batch normalization would have made $-1.069$ of it.
        """
        around = variance + (mu - self.running_mean).square()  # (C,)
        self.num_batches_tracked += 1
        new = 1 / self.num_batches_tracked.item() if self.momentum is None else self.momentum
        self.running_mean.lerp_(mu, new)  # (C,)
        self.running_var.lerp_(around, new)  # (C,)

    def forward(self, x: Tensor) -> Tensor:
        r"""
        ### Normalized by what was seen before

        To the gradient the estimates are constants. So nothing keeps the weights before this layer
        from growing, step by step, and the estimates follow behind.
        """
        if self.training:
            values = x.movedim(1, -1).flatten(0, -2)  # (M, C)
            self.track(*statistics(values), len(values))
        # A copy, since the next batch may move the estimates before this one has gone back.
        mu, variance = self.running_mean.clone(), self.running_var.clone()  # (C,)
        return F.batch_norm(x, mu, variance, self.weight, self.bias, False, 0.0, self.epsilon)


class BatchChannelNorm(nn.Module):
    r"""
    ## Batch, then channels

    What the estimates miss, the second layer sees. It normalizes each image by its own statistics,
    with a gradient through them. So the scale of an image is undone at once, however far behind the
    estimates are. And the first layer has seen to it that no channel of a group is always the
    smallest.

    In large batches the first layer is batch normalization as it is, by `estimated=False`.
    """

    def __init__(self, C: int, groups: int, estimated: bool = True, momentum: float = 0.1) -> None:
        super().__init__()
        kind = EstimatedBatchNorm if estimated else BatchNorm
        self.batch, self.channel = kind(C, momentum=momentum), FusedGroupNorm(groups, C)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.channel(self.batch(x))  # (B, C, H, W)
        return y


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    One network, one optimizer and one epoch for all norms of this topic.
    """

    norm: Literal["batch-channel", "exact", "estimated", "group", "layer", "instance", "batch"] = (
        "batch-channel"
    )
    "what normalizes; exact is batch-channel with the statistics of the batch"
    standardized: bool = False
    "standardize the weights"
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


def network(config: Config) -> Network:
    r"""
    ## One network, seven norms

    It is that of [group normalization](group_norm.py#the-network), whose last maps have one pixel.
    There, instance normalization has a group for each channel, and nothing to work with.
    """
    make: dict[str, Callable[[int], nn.Module]] = {
        "batch-channel": lambda C: BatchChannelNorm(C, config.groups),
        "exact": lambda C: BatchChannelNorm(C, config.groups, estimated=False),
        "estimated": EstimatedBatchNorm,
        "group": lambda C: FusedGroupNorm(config.groups, C),
        "layer": lambda C: FusedGroupNorm(1, C),
        "instance": lambda C: FusedGroupNorm(C, C),
        "batch": FusedBatchNorm,
    }
    made = Network(NetworkConfig(norm="batch", layers=config.layers, width=config.width))
    exchanged(made, make[config.norm])
    if config.standardized:
        standardize(made)
    return made


@torch.no_grad()
def silent(network: Network, images: Tensor) -> float:
    r"""
    ## Silent channels

    Which share of the last layer's channels stay at zero for at least 95 of 100 digits? They tell
    the layer that decides next to nothing. With a mean of zero over all digits that is hard to
    come by.
    """
    maps = network.eval().layers(images[:, None])  # (U, C, H, W)
    heard = (maps.amax((2, 3)) > 0).float().mean(0)  # (C,)
    return (heard <= 0.05).float().mean().item()


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    SGD with momentum, at the rate that group normalization has. In batches of two, batch-channel
    normalization learns faster than group norm alone, and it errs less on unseen digits. That gap
    is gone as soon as both have standardized weights.

    No channel of the last layer is silent with it. With group norm about a tenth are, and with
    standardized weights hardly fewer. Those weights lower the training loss far more with group
    norm than with this layer. They take away what all their inputs have in common, so they may do
    some of what an estimated mean does.

    Is silence what holds group norm back? That cannot be all. Estimated batch norm alone has no
    silent channel either, and errs about twice as often as group norm. It needs the second layer,
    perhaps because only that one has a gradient that knows of the normalization.

    With the statistics of two images little is learned. That is a hard case, though. Where
    maps have shrunk to one pixel, a channel has two values, which become $-1$ and $1$ whatever they
    were, and the layer behind gets no more than these. Where no map is smaller than 2 by 2, batches
    of two [are enough](group_norm.py#training) for batch normalization on digits, and there
    estimates may not be needed.
    """
    run = Run(config, options)
    data, unseen = digits("train"), digits("test")
    batches = run.batches(data.images, data.labels, size=config.batch)
    made = network(config)
    model = run.prepare(made)
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

    judged = unseen.images.to(run.device)
    numbers = {"silent": silent(made, judged), "late_loss": torch.stack(late).mean().item()}
    numbers["error"], _ = errors(model, judged, unseen.labels.to(run.device))
    return run.finish(**numbers)


# ## What changed since
#
# - **Elimination singularities** have a paper of their own by the same authors, where this layer
#   comes from (Qiao 2019, [arXiv](https://arxiv.org/abs/1911.09738)). The name is older: shortcuts
#   are another way around such places (Orhan 2017, [arXiv](https://arxiv.org/abs/1701.09175)).
# - **Estimates with a gradient.** Others use statistics of earlier batches, too, and correct them
#   for what the weights have changed since (Yao 2020, [arXiv](https://arxiv.org/abs/2002.05712)).
# - **Without estimates.** BiT takes group normalization with
#   [standardized weights](weight_standardization.py), and needs no statistics of a batch at all
#   (Kolesnikov 2019, [arXiv](https://arxiv.org/abs/1912.11370)).

if __name__ == "__main__":
    main(train)
