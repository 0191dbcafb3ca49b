r"""
---
title: Instance normalization
summary: Mean and variance of one channel of one image, so that its contrast no longer counts.
paper: "Instance Normalization: The Missing Ingredient for Fast Stylization"
authors: [Dmitry Ulyanov, Andrea Vedaldi, Victor Lempitsky]
year: 2016
arxiv: "1607.08022"
acronyms: [IN, InstanceNorm, contrast normalization]
needs: [normalization/batch_norm, normalization/group_norm]
equals:
  what: torch.nn.InstanceNorm1d and InstanceNorm2d
  within: 1e-10
  test: test_outputs_gradients_and_statistics_are_those_of_torch
notation:
  'T': B
  'x': x
  '\mu_{ti}': mu
  '\sigma_{ti}^2': variance
  '\epsilon': epsilon
  'a': contrast
  'b': brightness
figure:
  file: figures/instance_norm.svg
  alt: >-
    Three rows of four pictures. In the first row a digit, the same with half and with a fifth of
    its contrast, and one that is half as strong and brighter. In the second row, normalized as one
    batch, the four still differ as they did. In the third, each normalized by its own mean and
    variance, all four look the same.
  caption: >-
    One digit at several contrasts, as `changed` makes them, normalized together and one by one. A
    network behind the third row cannot tell them apart.
metrics:
  error: {name: error on unseen digits, unit: "%", better: lower}
  faint_error: {name: "error on unseen digits with a fifth of the contrast", unit: "%",
    better: lower}
  bright_error: {name: "error on unseen digits with half of the contrast, brighter by half",
    unit: "%", better: lower}
  times_torch: {name: time of the written-out layer, unit: × torch, better: lower}
  fused_times_torch: {name: time of the fused layer, unit: × torch, better: lower}
  loss: {name: training loss, unit: nats, better: lower, scale: log}
runs:
  instance: ""
  batch: --norm batch
  "instance, running averages in use": --tracked
  "batch, trained at all contrasts": --norm batch --vary
  "batch, images normalized once": --norm batch --once
claims:
  - what: an image may lose contrast, and the network still knows it
    paper: "section 2, of stylized images"
    run: instance
    control: batch
    metric: faint_error
    margin: 0.2
  - what: the same if it becomes brighter, too
    paper: "not there"
    run: instance
    control: batch
    metric: bright_error
    margin: 0.2
  - what: it must normalize in use as it did in training
    paper: "abstract: both at training and testing times"
    run: instance
    control: "instance, running averages in use"
    metric: error
    margin: 0.05
  - what: at the contrast of the training images it errs as often as batch norm
    paper: "not there"
    run: instance
    control: batch
    metric: error
    within: 0.02
  - what: on faint images it errs less than batch norm that was trained at all contrasts
    paper: "not there: our control"
    run: instance
    control: "batch, trained at all contrasts"
    metric: faint_error
    margin: 0.02
  - what: and less than batch norm behind images that are normalized once
    paper: "not there: our control"
    run: instance
    control: "batch, images normalized once"
    metric: faint_error
    margin: 0.01
    note: "a grey image has one contrast, and that is gone once it is normalized"
  - what: the fused form is as fast as torch's layer
    paper: "not there"
    run: instance
    metric: fused_times_torch
    than: 1.05
    margin: 0
  - what: images are stylized better, by two generators
    paper: "section 3, by eye"
    note: "not run here: a generator that is trained on photographs, and a VGG network that judges
      style"
deviations:
  - what: scale and shift
    paper: none in the formula
    ours: on demand, and in the network that we train, as in the layer it replaces
    others: "torch: on demand, off by default"
    matters: "little here: what follows a rectifier can be scaled by the next layer, too"
    test: test_outputs_gradients_and_statistics_are_those_of_torch
  - what: statistics in use
    paper: those of the image
    ours: as the paper; running averages on demand
    others: "torch: as ours, `track_running_stats`"
    matters: "very much, as the claims show"
    test: test_tracked_statistics_take_contrast_for_content
  - what: the counter of batches
    paper: none
    ours: stays at zero, and is there so that states load
    others: "torch: as ours; its batch norm does count"
    matters: "no: nothing reads it"
    test: test_outputs_gradients_and_statistics_are_those_of_torch
  - what: what is learned
    paper: to stylize images
    ours: to tell digits apart, where an error can be counted
    matters: for comparing numbers with the paper's
mistakes:
  - what: taking the statistics over the batch as well, which is batch normalization
    mutant: statistics over the batch
    caught: test_an_image_does_not_need_the_others
  - what: running averages in use, though nobody asked for them
    mutant: running averages in use by default
    caught: test_contrast_and_brightness_make_no_difference
exercises: [statistics, normalized]
---

# Instance normalization

A photograph is to become a painting. How strong the contrasts of the painting are should depend on
the painter and not on the weather in the photograph. So a network that stylizes images has to throw
away the contrast of its input. The paper finds that networks hardly learn to, and builds it in:
where there was [batch normalization](batch_norm.py), each channel of each image is normalized on
its own.

Why do they not learn it? What they should compute is a quotient, as in the simplest formula that
removes a contrast (eq. 1),

$$
y_{tijk} = \frac{x_{tijk}}{\sum_{l=1}^W \sum_{m=1}^H x_{tilm}},
$$

for image $t$, channel $i$ and pixel $jk$. But convolutions and rectifiers can only add and cut off.
Without biases, twice the contrast gives twice the output at every layer. Batch normalization
does not help, since its divisor is the same for all images: a faint image among strong ones stays
faint.

The obvious answer is to normalize each image once, before the network sees it. [Below](#training)
we compare with that.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | images in a batch | `M` | pixels of a map |
| `C` | channels | `U` | unseen digits |
| `H, W` | height and width of a map | | |
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
from papers.normalization.batch_norm import FusedBatchNorm, pace
from papers.normalization.group_norm import Config as NetworkConfig
from papers.normalization.group_norm import Network


def statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    r"""
    ## The statistics of an instance

    Each channel of each image has its own mean and variance, over its pixels (section 2):

    $$
    \begin{aligned}
    \mu_{ti} &= \frac{1}{HW} \sum_{l=1}^W \sum_{m=1}^H x_{tilm} \\
    \sigma_{ti}^2 &= \frac{1}{HW} \sum_{l=1}^W \sum_{m=1}^H (x_{tilm} - \mu_{ti})^2
    \end{aligned}
    $$

    Batch normalization sums over the images $t$, too, and divides by $HWT$. That is the only
    difference.
    """
    pixels = x.flatten(2)  # (B, C, M)
    mu = pixels.mean(-1)  # (B, C)
    variance = (pixels - mu[:, :, None]).square().mean(-1)  # (B, C)
    return mu, variance


def normalized(x: Tensor, mu: Tensor, variance: Tensor, epsilon: float) -> Tensor:
    r"""
    $$
    y_{tijk} = \frac{x_{tijk} - \mu_{ti}}{\sqrt{\sigma_{ti}^2 + \epsilon}}
    $$

    **Contrast is gone.** An image $a x + b$, with any contrast $a > 0$ and any brightness $b$, has
    the mean $a \mu + b$ and the variance $a^2 \sigma^2$, and so

    $$
    \frac{(a x + b) - (a \mu + b)}{\sqrt{a^2 \sigma^2 + \epsilon}}
    = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon / a^2}}.
    $$

    But for $\epsilon$, neither $a$ nor $b$ is left. And $\epsilon$ says where that ends: an image
    with far less contrast than $\sqrt\epsilon$ is taken for an even grey, and remains one.

    **An example.** A map with the pixels $1, 2, 3, 6$ and a fainter one with $0.1, 0.2, 0.3, 0.6$
    both become $-1.069$, $-0.535$, $0$, $1.604$. In a batch of the two, batch normalization leaves
    the one with a standard deviation of $0.987$ and the other with $0.099$.
    """
    root = (variance + epsilon).sqrt()[:, :, None]  # (..., C, 1)
    return ((x.flatten(2) - mu[:, :, None]) / root).view_as(x)  # (B, C, H, W)


class InstanceNorm(nn.Module):
    r"""
    ## The layer

    In batch normalization the statistics of use are averages from the training. This layer takes
    those of the image, in use as in training, and that is the second half of the paper's change.

    Torch also has a form that tracks averages and uses them later, which we follow with `tracked`.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self,
        C: int,
        epsilon: float = 1e-5,
        affine: bool = False,
        tracked: bool = False,
        momentum: float = 0.1,
    ) -> None:
        super().__init__()
        self.epsilon, self.momentum, self.tracked = epsilon, momentum, tracked
        self.weight = nn.Parameter(torch.ones(C)) if affine else None
        self.bias = nn.Parameter(torch.zeros(C)) if affine else None
        self.register_buffer("running_mean", torch.zeros(C) if tracked else None)
        self.register_buffer("running_var", torch.ones(C) if tracked else None)
        if tracked:
            self.register_buffer("num_batches_tracked", torch.tensor(0))

    @torch.no_grad()
    def track(self, mu: Tensor, variance: Tensor, M: int) -> None:
        r"""
        ### What is tracked

        The average over the images of a batch, of the mean and of the
        [unbiased](batch_norm.py#what-is-tracked) variance.
        """
        self.running_mean.lerp_(mu.mean(0), self.momentum)  # (C,)
        self.running_var.lerp_(variance.mean(0) * M / (M - 1), self.momentum)  # (C,)

    def forward(self, x: Tensor) -> Tensor:
        B, C, M = *x.shape[:2], x[0, 0].numel()
        mu, variance = statistics(x)  # (B, C), (B, C)
        if self.tracked and not self.training:
            mu, variance = self.running_mean.expand(B, C), self.running_var.expand(B, C)  # (B, C)
        elif M < 2:
            raise ValueError("instance norm: a map of one pixel has no contrast")
        elif self.tracked:
            self.track(mu, variance, M)
        y = normalized(x, mu, variance, self.epsilon)  # (B, C, H, W)
        if self.weight is None or self.bias is None:
            return y
        scaled = self.weight[:, None] * y.flatten(2) + self.bias[:, None]  # (B, C, M)
        return scaled.view_as(x)  # (B, C, H, W)


class FusedInstanceNorm(InstanceNorm):
    r"""
    ### The form to use

    Torch has all of it in one function, with the same numbers. How long both forms take, as
    multiples of what `torch.nn.InstanceNorm2d` does, is [measured](batch_norm.py#how-fast-it-is).
    """

    def forward(self, x: Tensor) -> Tensor:
        running, learned = (self.running_mean, self.running_var), (self.weight, self.bias)
        own = self.training or not self.tracked
        return F.instance_norm(x, *running, *learned, own, self.momentum, self.epsilon)


def exchanged(network: nn.Module, make: Callable[[int], nn.Module]) -> nn.Module:
    r"""
    ## One layer for another

    The paper takes two networks as they are and replaces their batch normalization everywhere. We
    do that to the [network](group_norm.py#the-network) of another page. Given the same seed, both
    have the same weights to start from.
    """
    # A list, since what is put in may itself contain what is taken out.
    for part in [*network.modules()]:
        for name, child in part.named_children():
            if isinstance(child, FusedBatchNorm):
                part.add_module(name, make(len(child.weight)))
    return network


def changed(images: Tensor, contrast: Tensor | float, brightness: float = 0.0) -> Tensor:
    r"""
    ## Another contrast

    An image $a x + b$. A plain network sees its contrast as the size of everything. Through layers
    that pad their maps with zeros, brightness is seen at the border, since an evenly grey map has
    an edge there. So a network that pads with zeros and normalizes each instance forgets the
    contrast $a$ altogether, but for $\epsilon$, and most of the brightness $b$.
    """
    return contrast * images + brightness  # (B, H, W)


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    All runs see the same number of images, at the same learning rate.
    """

    norm: Literal["instance", "batch"] = "instance"
    "what normalizes"
    tracked: bool = False
    "normalize by running averages in use, and not by the statistics of the image"
    vary: bool = False
    "train on images of all contrasts down to a fifth"
    once: bool = False
    "normalize each image before the network sees it"
    layers: int = 4
    "convolutions; the second and fourth halve the maps"
    width: int = 32
    "channels"
    lr: float = 0.1
    "learning rate"
    batch: int = 32
    "images in a minibatch"
    epochs: int = 8
    "passes over the training digits"


# The least contrast that `vary` trains at, and the one that all runs are judged at.
FAINT = 0.2


def network(config: Config) -> nn.Module:
    r"""
    ## The network

    With four convolutions, the last maps have 2 by 2 pixels. With a single pixel, instance
    normalization would leave nothing, as [group normalization](group_norm.py#training) shows.
    """
    made = Network(NetworkConfig(norm="batch", layers=config.layers, width=config.width))
    if config.norm == "batch":
        return made
    tracked = config.tracked
    return exchanged(made, lambda C: FusedInstanceNorm(C, affine=True, tracked=tracked))


def seen(images: Tensor, once: bool) -> Tensor:
    """What the network gets to see: the images, or each normalized by its own statistics."""
    if not once:
        return images
    one = images[:, None]  # (B, 1, H, W)
    return normalized(one, *statistics(one), 1e-5)[:, 0]  # (B, H, W)


@torch.no_grad()
def errors(model: nn.Module, images: Tensor, labels: Tensor, once: bool) -> dict[str, float]:
    r"""
    ## What we measure

    The error on digits as they are, on faint ones, and on ones whose black has become grey.
    """
    model.eval()
    found = {}
    for name, contrast, brightness in (
        ("error", 1.0, 0.0),
        ("faint_error", FAINT, 0.0),
        ("bright_error", 0.5, 0.5),
    ):
        logits = model(seen(changed(images, contrast, brightness), once))  # (U, 10)
        found[name] = (logits.argmax(1) != labels).float().mean().item()
    return found


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    SGD with momentum, at one rate for all. With digits as they are, both layers err about as often.
    With a fifth of the contrast, batch normalization still subtracts the averages of strong images,
    and the network errs on most digits. Instance normalization errs as often as it did before.

    It must use each image's own statistics after the training, too. While it learned, every image
    was normalized by its own, and no image is like the average of all: with running averages the
    network errs on many digits that it would otherwise know.

    Can all this be had for less? Batch normalization that was trained at all contrasts copes with
    faint images, though not as well, and not with brightness, which it was never shown. But
    normalizing each image once, before the network sees it, does as much on digits. An image of one
    grey channel has one contrast, and that is gone at the entrance. Brightness goes with it, and
    altogether, since no zeros have been put around the image yet. So digits do not need this layer.
    What it does beyond that, it does to every channel of every map: it removes how strongly each of
    an image's many textures shows. Such strengths are what the style of a painting is made of.
    """
    run = Run(config, options)
    data, unseen = digits("train"), digits("test")
    batches = run.batches(data.images, data.labels, size=config.batch)
    model = run.prepare(network(config))
    optimizer = torch.optim.SGD(model.parameters(), config.lr, 0.9, weight_decay=1e-4)

    for step in run.steps(config.epochs * len(batches), model=model, optimizer=optimizer):
        images, labels = batches[step]  # (B, 8, 8), (B,)
        if config.vary:
            share = torch.rand(len(images), 1, 1, device=images.device)  # (B, 1, 1)
            images = changed(images, FAINT + (1 - FAINT) * share)  # (B, 8, 8)
        with run.autocast():
            loss = F.cross_entropy(model(seen(images, config.once)), labels)
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer)
        run.log(loss=loss)

    judged = unseen.images.to(run.device), unseen.labels.to(run.device)
    numbers = errors(model, *judged, config.once)
    if config.norm == "instance":
        theirs, maps = nn.InstanceNorm2d(64, affine=True), torch.randn(16, 64, 16, 16)
        maps.requires_grad_()
        numbers["times_torch"] = pace(InstanceNorm(64, affine=True), theirs, maps)
        numbers["fused_times_torch"] = pace(FusedInstanceNorm(64, affine=True), theirs, maps)
    return run.finish(**numbers)


# ## What changed since
#
# - **A style in two vectors.** All styles can share one network if each has its own scales and
#   shifts behind this layer (Dumoulin 2016, [arXiv](https://arxiv.org/abs/1610.07629)). Taken from
#   the statistics of another image, they transfer styles never seen in training (Huang 2017,
#   [arXiv](https://arxiv.org/abs/1703.06868)).
# - **Images from noise.** StyleGAN sets the style of every layer in this way (Karras 2018,
#   [arXiv](https://arxiv.org/abs/1812.04948)).
# - **From image to image.** [CycleGAN](../adversarial/cycle_gan.py) has it in all of its
#   translators and judges.
# - **Several channels at a time.** To recognize things one keeps some of what this layer throws
#   away, and normalizes [groups](group_norm.py) of channels.

if __name__ == "__main__":
    main(train)
