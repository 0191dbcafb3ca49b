r"""
---
title: Group normalization
summary: Statistics of a few channels in one image, so that small batches do no harm.
paper: Group Normalization
authors: [Yuxin Wu, Kaiming He]
year: 2018
arxiv: "1803.08494"
acronyms: [GN, GroupNorm]
needs: [normalization/batch_norm, normalization/layer_norm]
equals:
  what: torch.nn.GroupNorm
  within: 1e-10
  test: test_outputs_and_gradients_are_those_of_torch
notation:
  'G': G
  'C': C
  'm': M
  '\mu_i': mu
  '\sigma_i': sigma
  '\gamma': weight
  '\beta': bias
  '\mathcal{S}_i': together
figure:
  file: figures/group_norm.svg
  alt: >-
    Four tables, a row for each image and a column for each of six channels. In each the cells are
    marked that share mean and variance with one of them. In batch norm they are one column, in
    layer norm one row, in instance norm one cell and in group norm three cells of a row, which is
    half of it.
  caption: >-
    A cell is a channel of an image, with all its pixels. What is marked is normalized together with
    the darkest cell, as `together` says it. Group norm lies between layer norm, which has one
    group, and instance norm, where each channel is one.
metrics:
  error: {name: error on unseen digits, unit: "%", better: lower}
  joint_error: {name: "error on unseen digits, normalized by the statistics of all of them",
    unit: "%", better: lower}
  times_torch: {name: time of the written-out layer, unit: × torch, better: lower}
  fused_times_torch: {name: time of the fused layer, unit: × torch, better: lower}
  loss: {name: training loss, unit: nats, better: lower, scale: log}
runs:
  "group, 32 images": ""
  "batch, 32 images": --norm batch
  "group, 4 images": --batch 4
  "batch, 4 images": --norm batch --batch 4
  "group, 2 images": --batch 2
  "batch, 2 images": --norm batch --batch 2
  "larger maps, group, 2 images": --layers 4 --batch 2
  "larger maps, batch, 2 images": --layers 4 --batch 2 --norm batch
  "layer, 32 images": --groups 1
  "instance, 32 images": --groups 32
claims:
  - what: batch norm errs more in batches of two than in batches of 32
    paper: "table 2, on ImageNet: 34.7 % for 23.6 %"
    run: "batch, 32 images"
    control: "batch, 2 images"
    metric: error
    margin: 0.05
  - what: group norm errs as much in batches of two as in batches of 32
    paper: "table 2, on ImageNet: 24.1 % both"
    run: "group, 2 images"
    control: "group, 32 images"
    metric: error
    within: 0.05
    note: "the small batches do better here, since an epoch has 16 times as many steps of them"
  - what: in batches of two group norm errs less than batch norm
    paper: "table 2, on ImageNet: 24.1 % for 34.7 %"
    run: "group, 2 images"
    control: "batch, 2 images"
    metric: error
    margin: 0.05
  - what: also where no map is smaller than 2 by 2
    paper: "not there: the smallest maps of ResNet-50 are 7 by 7"
    run: "larger maps, group, 2 images"
    control: "larger maps, batch, 2 images"
    metric: error
    margin: 0.05
    note: "digits are alike, and eight values of a feature are enough"
  - what: in batches of four group norm errs less than batch norm
    paper: "table 2, on ImageNet: 24.2 % for 27.3 %"
    run: "group, 4 images"
    control: "batch, 4 images"
    metric: error
    margin: 0.02
    note: "four values are enough, too"
  - what: in batches of 32 the two are alike
    paper: "table 2, on ImageNet: 24.1 % for 23.6 %"
    run: "group, 32 images"
    control: "batch, 32 images"
    metric: error
    within: 0.02
    note: "within four epochs batch norm learns more"
  - what: eight groups err less than one, which is layer norm
    paper: "table 3, on ImageNet: 24.4 % for 25.3 %"
    run: "group, 32 images"
    control: "layer, 32 images"
    metric: error
    margin: 0.01
    note: "within four epochs one group learns more; we do not know why"
  - what: the fused form is as fast as torch's layer
    paper: "not there"
    run: "group, 32 images"
    metric: fused_times_torch
    than: 1.05
    margin: 0
    note: "it calls the same function"
deviations:
  - what: groups
    paper: "32, of 64 to 2,048 channels (section 3.1)"
    ours: 8, of 32 channels
    others: "torch: no default"
    matters: for comparing numbers with the paper's
  - what: epsilon
    paper: "inside the root (eq. 2); 1e-5 (figure 3)"
    ours: as the paper
    others: "torch: 1e-5; Keras: 1e-3"
    matters: "where a group hardly varies"
    test: test_outputs_and_gradients_are_those_of_torch
  - what: layer norm
    paper: "over channels and places; gains for each channel (eq. 4 and 6)"
    ours: as the paper, with one group
    others: "torch.nn.LayerNorm over the same values: gains for each channel and place"
    matters: "gains have another shape; without them the two are the same"
    test: test_one_group_is_layer_norm_and_a_group_for_each_channel_is_instance_norm
  - what: the network
    paper: ResNet-50, 100 epochs, on ImageNet, over 8 GPUs
    ours: six layers, 4 epochs, on digits
    matters: for comparing numbers with the paper's
mistakes:
  - what: taking every n-th channel for a group, and not neighbours
    mutant: groups of channels that lie apart
    caught: test_what_is_normalized_together_is_what_the_equations_say
  - what: taking each channel for a group of its own
    mutant: each channel is a group
    caught: test_outputs_and_gradients_are_those_of_torch
exercises: [normalized, together]
---

# Group normalization

[Batch normalization](batch_norm.py) takes its statistics from the images that happen to be in a
batch. From 32 images they are good, from two they are mostly noise, and of large images or videos
no more than two may fit into memory. [Layer normalization](layer_norm.py) needs no batch, but takes
all channels of an image together, although in a convolutional network one channel may see edges and
another one colours, each with a mean of its own.

Between all channels and each on its own there is room. Old descriptors of images, such as SIFT
and HOG, are made of groups of numbers that are alike, the directions of edges in one place, say,
and are normalized group by group. So this paper takes a few channels of one image at a time.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | images in a batch | `G` | groups |
| `C` | channels | `M` | values of a group |
| `H, W` | height and width of a map | `U` | unseen digits |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, main
from papers.common.data import digits
from papers.normalization.batch_norm import FusedBatchNorm, pace


def together(kind: str, B: int, C: int, G: int) -> Tensor:
    r"""
    ## One formula for four layers

    All of them compute (eq. 1 and 2)

    $$
    \hat x_i = \frac{1}{\sigma_i} (x_i - \mu_i), \qquad
    \mu_i = \frac1m \sum_{k \in \mathcal{S}_i} x_k, \qquad
    \sigma_i = \sqrt{\frac1m \sum_{k \in \mathcal{S}_i} (x_k - \mu_i)^2 + \epsilon},
    $$

    and differ in the set $\mathcal{S}_i$ of the $m$ values that share a mean. With $i_N$ and $i_C$
    for the image and the channel of $i$:

    | norm | the values $k$ with | equation |
    |---|---|---|
    | batch | $k_C = i_C$ | 3 |
    | layer | $k_N = i_N$ | 4 |
    | instance | $k_N = i_N$ and $k_C = i_C$ | 5 |
    | group | $k_N = i_N$ and $\lfloor k_C / (C/G) \rfloor = \lfloor i_C / (C/G) \rfloor$ | 7 |

    Where in its map a value lies makes no difference, so it is enough to say for each image and
    channel with which others it goes.
    """
    image, channel = torch.arange(B)[:, None], torch.arange(C)  # (B, 1), (C,)
    group = channel // (C // G)  # (C,)
    name = {
        "batch": channel.expand(B, C),
        "layer": image.expand(B, C),
        "instance": image * C + channel,
        "group": image * G + group,
    }[kind]  # (B, C)
    # Those with the same number go together.
    return name[:, :, None, None] == name  # (B, C, B, C)


def normalized(x: Tensor, G: int, epsilon: float) -> Tensor:
    r"""
    ## The statistics of a group

    Channels of a group are neighbours, so laying out each group as one row is all there is to do.

    **An example.** An image with four channels of a single pixel, $1, 2, 3, 6$, has in two groups
    the means $1.5$ and $4.5$ and the deviations $0.5$ and $1.5$, and becomes $-1, 1, -1, 1$. In one
    group it becomes $-1.069$, $-0.535$, $0$, $1.604$, as in
    [layer normalization](layer_norm.py#the-statistics). In four it becomes $0, 0, 0, 0$: a mean of
    one value leaves nothing of it. Maps of one pixel need groups of several channels.
    """
    groups = x.reshape(len(x), G, -1)  # (B, G, M)
    mu = groups.mean(-1, keepdim=True)  # (B, G, 1)
    sigma = ((groups - mu).square().mean(-1, keepdim=True) + epsilon).sqrt()  # (B, G, 1)
    return ((groups - mu) / sigma).view_as(x)  # (B, C, H, W)


class GroupNorm(nn.Module):
    r"""
    ## The layer

    Whatever the set, each *channel* has its own scale and shift (eq. 6):

    $$
    y_i = \gamma \hat x_i + \beta.
    $$

    One group is layer normalization as this paper understands it, and as many groups as channels
    are instance normalization.
    """

    def __init__(self, groups: int, C: int, epsilon: float = 1e-5) -> None:
        super().__init__()
        if C % groups:
            raise ValueError(f"group norm: {C} channels do not divide into {groups} groups")
        self.groups, self.epsilon = groups, epsilon
        self.weight, self.bias = nn.Parameter(torch.ones(C)), nn.Parameter(torch.zeros(C))

    def forward(self, x: Tensor) -> Tensor:
        x_hat = normalized(x, self.groups, self.epsilon)  # (B, C, H, W)
        return self.weight[:, None, None] * x_hat + self.bias[:, None, None]  # (B, C, H, W)


class FusedGroupNorm(GroupNorm):
    r"""
    ### The form to use

    Torch has all of it in one function, with the same numbers. How long both forms take, as
    multiples of what `torch.nn.GroupNorm` does, is [measured](batch_norm.py#how-fast-it-is).
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.group_norm(x, self.groups, self.weight, self.bias, self.epsilon)  # (B, C, H, W)


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    As in section 4.1, the learning rate is in proportion to the size of the batch, and the number
    of epochs is the same for all sizes.
    """

    norm: Literal["group", "batch"] = "group"
    "what normalizes"
    groups: int = 8
    "groups of channels; 1 is layer norm, and as many as channels instance norm"
    layers: int = 6
    "convolutions; the second, fourth and sixth halve the maps"
    width: int = 32
    "channels"
    lr: float = 0.1
    "learning rate for a batch of 32"
    batch: int = 32
    "images in a minibatch"
    epochs: int = 4
    "passes over the training digits"


class Network(nn.Module):
    r"""
    ## The network

    Convolutions, each with a norm and a rectifier. Maps are 8 pixels wide and high, then 4, then 2,
    and in the end a single one, where batch normalization has as many values of a channel as there
    are images. With `--layers 4` the last maps have 2 by 2 pixels, and it has four times as many.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.layers = nn.Sequential()
        D, C = 1, config.width
        for number in range(config.layers):
            layer = nn.Conv2d(D, C, 3, stride=1 + number % 2, padding=1, bias=False)
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            norm = FusedGroupNorm(config.groups, C) if config.norm == "group" else FusedBatchNorm(C)
            self.layers.extend([layer, norm, nn.ReLU()])
            D = C
        self.classes = nn.Linear(C, 10)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.layers(images[:, None])  # (B, C, H, W)
        logits: Tensor = self.classes(maps.mean((2, 3)))  # (B, 10)
        return logits


@torch.no_grad()
def errors(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, float]:
    r"""
    ## What we measure

    The error as one would use the network, and that with the statistics of all these images
    together. If only the second is small, the network has learned, but its running statistics are
    wrong. For group norm the two are the same.
    """
    found = []
    for training in (False, True):
        wrong = model.train(training)(images).argmax(1) != labels  # (U,)
        found.append(wrong.float().mean().item())
    return found[0], found[1]


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    SGD with momentum, as is usual for such networks, and with the paper's weight decay on all
    weights, gains and biases included. There is no schedule.

    In batches of two, batch normalization fails on digits only where maps have shrunk to one pixel.
    Two values of a channel are $-1$ and $1$ when normalized, whatever they were, and all that is
    left is which of them was the larger. Judging by better statistics does not help, so it is the
    learning that fails. Where no map is smaller than 2 by 2, there are eight values, and that is
    enough for digits, which are all alike: here the paper's finding does not show. On ImageNet it
    does, with 98 values in the smallest maps, perhaps because photographs differ by far more.

    Maps of one pixel are hard on small groups, too. With a group for each channel nothing is left
    of them, and nothing is learned. Eight groups leave something, yet err more than one. It is
    tempting to say that four values tell less than 32, but with `--layers 4`, where each group has
    16, one group is ahead as well. In four epochs eight groups may simply not have got as far.
    """
    run = Run(config, options)
    data, unseen = digits("train"), digits("test")
    batches = run.batches(data.images, data.labels, size=config.batch)
    model = run.prepare(Network(config))
    rate = config.lr * config.batch / 32
    optimizer = torch.optim.SGD(model.parameters(), rate, 0.9, weight_decay=1e-4)

    for step in run.steps(config.epochs * len(batches), model=model, optimizer=optimizer):
        images, labels = batches[step]  # (B, 8, 8), (B,)
        with run.autocast():
            loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer)
        run.log(loss=loss)

    error, joint = errors(model, unseen.images.to(run.device), unseen.labels.to(run.device))
    numbers = {"error": error, "joint_error": joint}
    if config.norm == "group":
        theirs, maps = nn.GroupNorm(8, 64), torch.randn(16, 64, 16, 16, requires_grad=True)
        numbers["times_torch"] = pace(GroupNorm(8, 64), theirs, maps)
        numbers["fused_times_torch"] = pace(FusedGroupNorm(8, 64), theirs, maps)
    return run.finish(**numbers)


# ## What changed since
#
# - **Weights, too.** With [standardized weights](weight_standardization.py), group norm in batches
#   of one or two does as well as batch norm in large ones (Qiao 2019,
#   [arXiv](https://arxiv.org/abs/1903.10520)).
# - **Channels, too.** [Batch-channel normalization](batch_channel_norm.py), of the same paper, has
#   group norm behind a batch norm whose statistics come from many batches, so that no channel of a
#   group is always the smallest.
# - **Side by side.** [One table](compared.py) has the norms of this topic in one network, and what
#   they cost.
# - **Diffusion.** The [U-Net](../diffusion/unet.py) of diffusion models has group norm in every
#   block.
# - **Transformers** for images brought layer norm with them, as [ViT](../vision/vit.py) shows, and
#   ConvNeXt took it back into convolutional networks (Liu 2022,
#   [arXiv](https://arxiv.org/abs/2201.03545)).

if __name__ == "__main__":
    main(train)
