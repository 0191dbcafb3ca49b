r"""
---
title: Norms side by side
summary: One network with each norm of this topic, in batches of three sizes, and what each costs.
needs: [normalization/group_norm, normalization/rms_norm, normalization/batch_channel_norm]
metrics:
  error_2: {name: error in batches of 2, unit: "%", better: lower}
  error_8: {name: error in batches of 8, unit: "%", better: lower}
  error_32: {name: error in batches of 32, unit: "%", better: lower}
  times_torch: {name: the norm, unit: × torch's, better: lower}
  times_none: {name: a step of the network, unit: × that without a norm, better: lower}
  loss: {name: training loss, unit: nats, better: lower, scale: log}
runs:
  batch: ""
  layer: --norm layer
  RMS: --norm rms
  instance: --norm instance
  group: --norm group
  "group, standardized weights": --norm standardized
  "batch-channel, standardized weights": --norm batch-channel
claims:
  - what: batch norm errs less in batches of 32 than in batches of 2
    paper: "Wu 2018, table 2: 23.6 % for 34.7 %, on ImageNet"
    run: batch
    metric: error_32
    against: error_2
    margin: 0.05
  - what: in batches of 2, group norm errs less than batch norm
    paper: "Wu 2018, table 2: 24.1 % for 34.7 %"
    run: group
    control: batch
    metric: error_2
    margin: 0.05
  - what: in batches of 32 it is the other way round
    paper: "Wu 2018, table 2: 23.6 % for 24.1 %"
    run: batch
    control: group
    metric: error_32
    margin: 0.01
  - what: without the mean, layer norm errs as much as with it
    paper: "Zhang 2019, abstract; not of images like ours"
    run: RMS
    control: layer
    metric: error_32
    within: 0.03
    note: "the means are close, but the seeds vary by more than what is allowed"
  - what: of all, batch-channel norm with standardized weights errs least in batches of 2, and less
      than group norm
    paper: "Qiao 2019, abstract"
    run: "batch-channel, standardized weights"
    control: group
    metric: error_2
    margin: 0.02
  - what: batch norm takes no longer than torch's
    paper: our own bound
    run: batch
    metric: times_torch
    than: 1.05
    margin: 0
---

# Norms side by side

Each page of this topic compares its norm with one or two others, on the network that its paper is
about. Here all of them stand in the same place of the same network, with the same weights to start
from, the same learning rate and the same number of digits to learn from. What differs from row to
row is the norm, and from column to column the size of the batches.

The network is that of [group normalization](group_norm.py#the-network): six convolutions, whose
last maps have one pixel. That is hard on whatever looks at one channel of few images, and shows
where each norm breaks. It is no ranking: other data, more epochs or a rate of its own for each norm
may change the order of those that are close. Batch-channel normalization has standardized weights,
as in its paper.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | images in a batch | `C` | channels |
| `H, W` | height and width of a map | | |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, main
from papers.common.data import digits
from papers.normalization.batch_channel_norm import BatchChannelNorm
from papers.normalization.batch_norm import FusedBatchNorm, pace
from papers.normalization.group_norm import Config as NetworkConfig
from papers.normalization.group_norm import FusedGroupNorm, Network, errors
from papers.normalization.instance_norm import exchanged
from papers.normalization.rms_norm import RMSNorm
from papers.normalization.weight_standardization import standardize

Norm = Literal[
    "batch", "layer", "rms", "instance", "group", "standardized", "batch-channel", "none"
]


class ImageRMSNorm(RMSNorm):
    r"""
    ## RMSNorm of an image

    [RMSNorm](rms_norm.py) is for vectors. Over maps it takes the mean square of all channels and
    pixels of an image, as layer normalization takes their mean and variance, and has a gain for
    each channel.
    """

    def forward(self, x: Tensor) -> Tensor:
        square = self.mean_square(x.flatten(1))  # (B, 1)
        scale = torch.rsqrt(square + self.epsilon)[..., None, None]  # (B, 1, 1, 1)
        return x * scale * self.weight[:, None, None]  # (B, C, H, W)


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    The learning rate is in proportion to the size of a batch, as in all these papers.
    """

    norm: Norm = "batch"
    "what normalizes; standardized is group norm with standardized weights"
    groups: int = 8
    "groups of channels"
    layers: int = 6
    "convolutions; the second, fourth and sixth halve the maps"
    width: int = 32
    "channels"
    lr: float = 0.1
    "learning rate for a batch of 32"
    epochs: int = 1
    "passes over the training digits, for each size of a batch"


# Images in a batch.
SIZES = (2, 8, 32)


def ours(norm: Norm, G: int, C: int) -> nn.Module:
    r"""
    ## Seven norms

    Of each the form that one uses, by torch's function where there is one. Instance normalization
    is a group for each channel, since torch's own refuses maps of one pixel.
    """
    make: dict[Norm, Callable[[], nn.Module]] = {
        "batch": lambda: FusedBatchNorm(C),
        "layer": lambda: FusedGroupNorm(1, C),
        "rms": lambda: ImageRMSNorm(C),
        "instance": lambda: FusedGroupNorm(C, C),
        "group": lambda: FusedGroupNorm(G, C),
        "standardized": lambda: FusedGroupNorm(G, C),
        "batch-channel": lambda: BatchChannelNorm(C, G),
    }
    return make.get(norm, nn.Identity)()


def torchs(norm: Norm, G: int, C: int, H: int, W: int) -> nn.Module:
    r"""
    ### And torch's

    What is built in for the same. Torch's RMSNorm wants a gain for every pixel, too. Standardized
    weights it does not have: there the norm is that of the row above, and what the weights cost is
    in the last column.
    """
    make: dict[Norm, Callable[[], nn.Module]] = {
        "batch": lambda: nn.BatchNorm2d(C),
        "layer": lambda: nn.GroupNorm(1, C),
        "rms": lambda: nn.RMSNorm((C, H, W), 1e-5),
        "instance": lambda: nn.InstanceNorm2d(C, affine=True),
        "group": lambda: nn.GroupNorm(G, C),
        "standardized": lambda: nn.GroupNorm(G, C),
        "batch-channel": lambda: nn.Sequential(nn.BatchNorm2d(C), nn.GroupNorm(G, C)),
    }
    return make[norm]()


def network(config: Config) -> nn.Module:
    made = Network(NetworkConfig(norm="batch", layers=config.layers, width=config.width))
    exchanged(made, lambda C: ours(config.norm, config.groups, C))
    return standardize(made) if config.norm in {"standardized", "batch-channel"} else made


def costs(config: Config) -> dict[str, float]:
    r"""
    ## What it costs

    The norm by itself, forward and back, as a multiple of torch's, on 32 maps of 8 by 8. And a
    step of the whole network, as a multiple of the same without a norm. Both are
    [timed in turns](batch_norm.py#how-fast-it-is).
    """
    G, C = config.groups, config.width
    maps = torch.randn(32, C, 8, 8, requires_grad=True)  # (32, C, 8, 8)
    images = torch.rand(32, 8, 8)  # (32, 8, 8)
    theirs, bare = torchs(config.norm, G, C, 8, 8), network(replace(config, norm="none"))
    return {
        "times_torch": pace(ours(config.norm, G, C), theirs, maps),
        "times_none": pace(network(config), bare, images),
    }


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    SGD with momentum, for one pass over the digits whatever the size of a batch. So large batches
    mean few steps, and the errors in batches of 32 tell above all who learns fast.

    There batch normalization is ahead of all others that have plain weights. In batches of two it
    is not much better than a guess: where maps have one pixel, two values become $-1$ and $1$,
    whatever they were. The norms that look at one image do not mind, apart from instance
    normalization. It has a single value of a channel to look at there, makes zero of it, and
    nothing is learned.

    With standardized weights group normalization errs less in batches of two and of 32, and is as
    fast a learner as batch normalization. Batch-channel normalization with such weights is about as
    good, and a step takes longest with it.

    By themselves, our layers take as long as torch's, with two exceptions. Our RMSNorm is written
    out, and has no kernel on a processor. And our instance normalization is torch's group
    normalization with a group for each channel, which is the faster way to compute the same.
    """
    run = Run(config, options)
    data, unseen = digits("train"), digits("test")
    judged, labelled = unseen.images.to(run.device), unseen.labels.to(run.device)
    numbers = {}

    for size in SIZES:
        batches = run.batches(data.images, data.labels, size=size)
        model = run.prepare(network(config))
        optimizer = torch.optim.SGD(
            model.parameters(), config.lr * size / 32, 0.9, weight_decay=1e-4
        )
        for step in run.steps(config.epochs * len(batches), model=model, optimizer=optimizer):
            images, labels = batches[step]  # (B, 8, 8), (B,)
            with run.autocast():
                loss = F.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            run.backward(loss)
            run.update(optimizer)
            run.log(**{f"loss/{size}": loss})
        numbers[f"error_{size}"], _ = errors(model, judged, labelled)

    return run.finish(**numbers, **costs(config))


if __name__ == "__main__":
    main(train)
