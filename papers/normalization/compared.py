r"""
---
title: Norms side by side
summary: One network with each norm of this topic, in batches of three sizes, and what each costs.
needs: [normalization/group_norm, normalization/rms_norm, normalization/batch_channel_norm]
figure:
  file: figures/compared.svg
  alt: >-
    Seven rows of dots, one row for each norm, over three panels for batches of 2, 8 and 32 images.
    In batches of 2 batch norm errs on about three digits in four, and in the others on about one in
    six. Instance norm stands at 90 % in all three panels, where a guess is. The others err on a
    tenth to three eighths of the digits, but for group norm in batches of 32, whose dots lie far
    apart.
  caption: >-
    A dot is a run on record, and the dashed line is a guess. "WS" is group norm with standardized
    weights, which batch-channel norm has, too. Rows whose dots overlap are in no order.
metrics:
  error_2: {name: error in batches of 2, unit: "%", better: lower}
  error_8: {name: error in batches of 8, unit: "%", better: lower}
  error_32: {name: error in batches of 32, unit: "%", better: lower}
  times_torch: {name: the norm, unit: × torch's, better: lower}
  times_none: {name: the network forward and back, unit: × that without a norm, better: lower}
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
  - what: in batches of 32, batch norm errs less than group norm
    paper: "Wu 2018, table 2: 23.6 % for 24.1 %"
    run: batch
    control: group
    metric: error_32
    margin: 0.01
  - what: RMSNorm, which is layer norm without the mean, errs as much as layer norm
    paper: "Zhang 2019, abstract; not of images like ours"
    run: RMS
    control: layer
    metric: error_32
    within: 0.03
    note: "the means are close, but the seeds vary by more than is allowed"
  - what: in batches of 2, batch-channel norm with standardized weights errs less than group norm
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
about. Here all of them stand in the same place of the same network. They start from the same
weights, have the same learning rate, and learn from the same digits. What differs from run to run
is the norm. Each run trains three networks, with batches of three sizes.

The network is that of [group normalization](group_norm.py#the-network): six convolutions, whose
last maps have one pixel. That is hard on a norm that looks at a single channel of few images, and
it shows where each norm breaks down. It is no ranking: with other data, more epochs or a learning
rate of its own for each norm, those that are close may change places. Batch-channel normalization
has standardized weights, as in its paper.

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

    [RMSNorm](rms_norm.py) is for vectors. For maps we take the mean square over all channels and
    pixels of an image, over which layer normalization takes mean and variance. There is a gain for
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

    The learning rate is in proportion to the size of a batch, as in the paper on group
    normalization.
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


# The sizes of the batches, in images.
SIZES = (2, 8, 32)


def ours(norm: Norm, G: int, C: int) -> nn.Module:
    r"""
    ## Seven norms

    Each in the form that is used in practice, with torch's function where there is one. Instance
    normalization is group normalization with a group for each channel, since torch's own layer
    refuses maps of one pixel in training.
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

    The layers that are built in for the same. Torch's RMSNorm has a gain for every pixel. There
    are no standardized weights in torch. So there the norm alone is compared, which is group
    normalization, and what the weights cost can be seen in the time of the whole network.
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

    The norm by itself, forward and backward, as a multiple of torch's, on 32 images whose maps are
    8 by 8. And the whole network, forward and backward, as a multiple of the same without a norm.
    Both are [timed in turns](batch_norm.py#how-fast-it-is).
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
    gets three digits in four wrong: where maps have one pixel, two values become about $-1$ and
    $1$, whatever they were. To the norms that look at one image alone this does not happen. But
    instance normalization has just one value to look at in such a map. It makes a zero of it, and
    nothing is learned.

    With standardized weights, group normalization errs less in batches of 2 and of 32, and learns
    about as fast as batch normalization. Batch-channel normalization with such weights is about as
    good, and makes the network the slowest of all.

    By themselves, our layers take about as long as torch's, with two exceptions. Our RMSNorm is
    written out, and takes a fifth more. And our instance normalization takes a third of the time of
    torch's, since torch's group normalization with a group for each channel is a faster way to
    compute the same.
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
