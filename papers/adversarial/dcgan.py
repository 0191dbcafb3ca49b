r"""
---
title: DCGAN
summary: Five rules for convolutional networks that play the game, on digits.
paper: Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks
authors: [Alec Radford, Luke Metz, Soumith Chintala]
year: 2015
arxiv: "1511.06434"
acronyms: [DCGAN, transposed convolution, fractionally-strided convolution, deconvolution,
  latent walk]
needs: [adversarial/gan, normalization/batch_norm, diffusion/frechet]
equals:
  what: torch.nn.functional.conv_transpose2d
  within: 1e-10
  test: test_the_convolution_and_its_gradients_are_those_of_torch
figure:
  file: figures/dcgan.svg
  alt: >-
    A small image of four pixels is spread out, with zeros between its pixels and around them. A
    kernel of four by four slides over it, and each of the positions gives a pixel of an image
    that is twice as high and twice as wide. Below, the generator, from noise to maps of 2, 4 and 8
    pixels.
  caption: >-
    One layer of the generator, with numbers of `fractional`. Whether a kernel's weight meets a
    pixel or a zero depends on where it is, so it learns to draw between pixels.
metrics:
  frechet: {name: Fréchet distance of samples to training images, better: lower}
  floor: {name: Fréchet distance of held-out images to training images, better: lower}
  near: {name: distance of a sample to the nearest training image, better: higher}
  near_floor: {name: the same of held-out images, better: higher}
  loss: {name: loss of the generator, unit: nats, better: lower}
  value: {name: value of the game, unit: nats, better: higher}
runs:
  all rules: ""
  no batch norm: --without norm
  no strides: --without strides
  no leak: --without leak
shows:
  samples: what the generator draws from sixty noises, after its training
  walk: each row leads from one noise to another in equal steps
claims:
  - what: batch normalisation is needed to learn
    paper: "section 3: critical to get deep generators to begin learning"
    run: all rules
    control: no batch norm
    metric: frechet
    margin: 5
  - what: strides are better than pooling and repeated pixels
    paper: "section 3: the networks learn their own sampling"
    run: all rules
    control: no strides
    metric: frechet
    margin: 5
    note: "with each seed it is better without strides: at 8 by 8 pixels a network has two of them,
      and keeping the largest of four pixels twice may lose little"
  - what: a leak in the rectifiers of the discriminator helps
    paper: "section 3: works well, especially at higher resolution"
    run: all rules
    control: no leak
    metric: frechet
    margin: 5
    note: "with each seed it is better without a leak; the paper speaks of higher resolutions"
  - what: samples are not copies of training images
    paper: "section 4.1, of bedrooms, where near duplicates had been removed"
    run: all rules
    metric: near
    against: near_floor
    margin: 0
    note: "a weak test: they are further away than held-out digits because many are not digits yet,
      and the blots of the run without batch normalisation pass it, too; the paper asks the same of
      a model that has learned its data well"
deviations:
  - what: kernels
    paper: "5 by 5 (figure 1)"
    ours: "4 by 4"
    others: "PyTorch's example: 4 by 4"
    matters: "yes, for pictures: with a stride of 2, an even kernel meets the same number of pixels
      at every place"
    test: test_an_even_kernel_meets_as_many_pixels_everywhere
  - what: size
    paper: "from 4 by 4 to 64 by 64, with 1024 to 128 maps"
    ours: "from 2 by 2 to 8 by 8, with 48 and 24 maps"
    matters: "for time"
    test: test_at_full_size_it_draws_images_of_64_by_64
  - what: noise and batches
    paper: "100 uniform numbers; 128 images in a batch"
    ours: "16 normal numbers; 64 images"
    others: "PyTorch's example: 100 normal numbers"
    matters: "not tried"
  - what: learning rate
    paper: "0.0002"
    ours: "0.001"
    matters: "for time; the momentum of 0.5 is the paper's"
    test: test_training_is_algorithm_1_with_images
  - what: first weights
    paper: "normal, with a deviation of 0.02"
    ours: "the same, and 1 for the gains of batch normalisation"
    others: "PyTorch's example: gains with a deviation of 0.02 around 1"
    matters: "not tried"
    test: test_first_weights
mistakes:
  - what: a kernel that is not turned around, so that each pixel paints its mirror image
    mutant: the kernel is not turned
    caught: test_the_convolution_and_its_gradients_are_those_of_torch
  - what: samples that are normalised by the batch that they come with
    mutant: samples drawn as in training
    caught: test_samples_do_not_depend_on_each_other
worked:
  - at: fractional
    told: >-
      A single pixel of 1 paints the kernel. Two pixels in a row paint it twice, two columns apart,
      and where they overlap the values add up.
    code: |-
      kernel = torch.tensor([[[[1.0, 2.0, 3.0, 4.0]]]]).expand(1, 1, 4, 4)
      fractional(torch.tensor([[[[1.0]]]]), kernel, padding=0)[0, 0, 0]
      fractional(torch.tensor([[[[1.0, 1.0]]]]), kernel, padding=0)[0, 0, 0]
exercises: [fractional, walk]
---

# DCGAN

[The game](gan.py) is stated for any two networks. Those that draw images should be convolutional,
but attempts to train such a pair had failed. This paper tried many architectures and found a
family that learns. What it hands on are rules:

1. Strides in place of pooling in the discriminator, and fractional strides in the generator.
2. Batch normalisation in both.
3. No hidden layers that are fully connected.
4. Rectifiers in the generator, and tanh at its end.
5. Leaky rectifiers in the discriminator.

There is no theory to it. So we take one rule away at a time, and look at what becomes of digits.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | images in a batch | `Z` | numbers of noise |
| `C` | maps | `H`, `W` | height and width |
| `E` | maps of the next layer | `K` | side of a kernel |
| `N` | images drawn | `S` | steps of a walk |
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.adversarial.gan import generator_loss, value
from papers.common import Options, Run, main
from papers.common.data.grids import enlarged, grid
from papers.diffusion.ddpm import pictures
from papers.diffusion.frechet import classifier, frechet, nearest
from papers.normalization.batch_norm import BatchNorm

Rule = Literal["nothing", "norm", "strides", "leak"]


def fractional(x: Tensor, weight: Tensor, stride: int = 2, padding: int = 1) -> Tensor:
    r"""
    ## Fractional strides

    A convolution with a stride of 2 halves an image. We want the way back, for which a kernel
    has to advance by half a pixel at each step. So we spread the pixels out, with zeros between
    them, and convolve as usual.

    Seen from the other side, each pixel paints the kernel onto the larger image, scaled by
    the pixel's value. A convolution *reads* with its kernel: the pixel to the left of a place meets
    the kernel's left side, but should paint there with its right. So the kernel is turned by half a
    turn. What is cut off at the edges, `padding`, is what the kernel paints beyond the image.

    It is also what carries a gradient back through a convolution with a stride, from its output to
    its input. That is a product with the transposed matrix, hence the other name, *transposed*.
    Libraries don't multiply the zeros: PyTorch's `conv_transpose2d` computes the same, and our
    networks use that.
    """
    B, C, H, W = x.shape
    K = weight.shape[-1]
    spread = x.new_zeros(B, C, (H - 1) * stride + 1, (W - 1) * stride + 1)
    spread[..., ::stride, ::stride] = x  # (B, C, H, W)
    around = [K - 1 - padding] * 4
    kernel = weight.flip(-2, -1).transpose(0, 1)  # (E, C, K, K)
    return F.conv2d(F.pad(spread, around), kernel)


def larger(inputs: int, outputs: int, without: Rule) -> nn.Sequential:
    r"""
    ## Rule 1: strides

    A layer that doubles, and one that halves, with a learned kernel. Without the rule each
    pixel is repeated, or the largest of four is kept, and a convolution that changes no size
    does the rest.
    """
    if without == "strides":
        return nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(inputs, outputs, 3, padding=1))
    return nn.Sequential(nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1))


def smaller(inputs: int, outputs: int, without: Rule) -> nn.Sequential:
    if without == "strides":
        return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.MaxPool2d(2))
    return nn.Sequential(nn.Conv2d(inputs, outputs, 4, stride=2, padding=1))


def norm(C: int, without: Rule) -> nn.Module:
    r"""
    ## Rule 2: batch normalisation

    It keeps the generator from drawing the same image for all noises, says section 3: what all
    images of a batch have in common is subtracted. It is left out at the generator's end and at the
    discriminator's beginning, where it made images oscillate.
    """
    return nn.Identity() if without == "norm" else BatchNorm(C)


class Generator(nn.Module):
    r"""
    ## The generator

    A matrix turns noise into a small image of many maps. That is the only one: rule 3 wants no
    fully connected layer in between. Each layer after it doubles the image. At the end, tanh brings
    pixels into the range of the data, from -1 to 1 (rule 4).
    """

    def __init__(
        self,
        Z: int,
        widths: tuple[int, ...],
        channels: int = 1,
        start: int = 2,
        without: Rule = "nothing",
    ) -> None:
        super().__init__()
        self.start, self.first = start, nn.Linear(Z, widths[0] * start**2)
        layers: list[nn.Module] = [norm(widths[0], without), nn.ReLU()]
        for C, E in itertools.pairwise(widths):
            layers += [larger(C, E, without), norm(E, without), nn.ReLU()]
        self.layers = nn.Sequential(*layers, larger(widths[-1], channels, without), nn.Tanh())
        self.apply(start_small)

    def forward(self, z: Tensor) -> Tensor:
        x = self.first(z).view(len(z), -1, self.start, self.start)
        images: Tensor = self.layers(x)  # (B, C, H, H)
        return images


class Discriminator(nn.Module):
    r"""
    ## The discriminator

    The same, backwards. Its rectifiers let a fifth of what is negative through (rule 5), so
    that wherever an image is, a gradient comes back from it. What is left of the maps in the end is
    the input of a single unit, our logit.
    """

    def __init__(
        self,
        widths: tuple[int, ...],
        channels: int = 1,
        end: int = 2,
        without: Rule = "nothing",
    ) -> None:
        super().__init__()
        leak = 0.0 if without == "leak" else 0.2
        layers: list[nn.Module] = [smaller(channels, widths[0], without), nn.LeakyReLU(leak)]
        for C, E in itertools.pairwise(widths):
            layers += [smaller(C, E, without), norm(E, without), nn.LeakyReLU(leak)]
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * end**2, 1))
        self.apply(start_small)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layers(images)  # (B, 1)
        return logits


@torch.no_grad()
def start_small(layer: nn.Module) -> None:
    r"""
    ## First weights

    Normal, with a deviation of 0.02 (section 4), and biases of zero.
    """
    if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
        layer.weight.normal_(0, 0.02)
        if layer.bias is not None:
            layer.bias.zero_()


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    Two layers each, for images of 8 by 8 pixels.
    """

    without: Rule = "nothing"
    "the rule that is left out: norm, strides, leak or nothing"
    noise: int = 16
    "numbers that an image is made of; the paper has 100"
    width: int = 24
    "maps at the larger size; at the smaller one there are twice as many"
    batch: int = 64
    "images in a batch"
    steps: int = 500
    "steps of either player"
    lr: float = 0.001
    "learning rate of Adam"
    number: int = 360
    "images to draw and judge"


@torch.no_grad()
def walk(model: nn.Module, z: Tensor, S: int = 12) -> Tensor:
    r"""
    ## Walking from image to image

    Section 6.1: if images changed by leaps along a straight line between two noises, that would be
    a sign that the generator knows images by heart. The first half of `z` holds the starts, the
    other the ends.
    """
    start, end = z.chunk(2)  # (N/2, Z), (N/2, Z)
    share = torch.linspace(0, 1, S, device=z.device)[:, None]  # (S, 1)
    places = start[:, None] + share * (end - start)[:, None]  # (N/2, S, Z)
    images: Tensor = model(places.flatten(0, 1))
    return images


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    [Algorithm 1](gan.py#training) again, on images. Real and made images are normalised each in
    their own batch.

    We take three rules away, one at a time, and the digits need only one of them. Without batch
    normalisation nearly all samples in the picture are the same blot, the collapse that section 3
    speaks of. Without strides or without the leak they are even somewhat closer to the data: the
    rules were found on images of 64 by 64, where each network has four layers with strides, and
    ours has two.
    """
    run = Run(config, options)
    images, labels = pictures("digits")
    split = len(images) * 4 // 5
    batches = run.batches(images[:split], size=config.batch)
    C, width, end = images.shape[1], config.width, images.shape[-1] // 4
    G = Generator(config.noise, (2 * width, width), C, end, config.without)
    D = Discriminator((width, 2 * width), C, end, config.without)
    generator, discriminator = run.prepare(G), run.prepare(D)
    up, down = (torch.optim.Adam(net.parameters(), config.lr, (0.5, 0.999)) for net in (D, G))
    shape = (2, config.batch, config.noise)

    for step in run.steps(config.steps, G=G, D=D, up=up, down=down):
        (real,) = batches[step]  # (B, C, H, H)
        drawn = torch.randn(shape, generator=run.generator)  # (2, B, Z)
        first, second = (run.share(z).to(run.device) for z in drawn)
        with run.autocast():
            now = value(discriminator(real), discriminator(generator(first).detach()))
        up.zero_grad()
        run.backward(-now)
        run.update(up)
        with run.autocast():
            loss = generator_loss(discriminator(generator(second)))
        down.zero_grad()
        run.backward(loss)
        run.update(down)
        run.log(value=now, loss=loss)

    return run.finish(**judge(run, G.eval(), images, labels, split))


@torch.no_grad()
def judge(
    run: Run, model: nn.Module, images: Tensor, labels: Tensor, split: int
) -> dict[str, float]:
    r"""
    ## What we measure

    The [Fréchet distance](../diffusion/frechet.py) of samples to the training images, beside that
    of as many held-out images. We also measure how far samples are, on average, from the nearest
    training image. If they were nearer than held-out images are, we would suspect copies.

    In use the generator normalises by what it has tracked, so that no sample depends on others.
    """
    config: Config = run.config
    z = torch.randn(config.number, config.noise, generator=run.generator).to(run.device)
    drawn = model(z).cpu()  # (N, C, H, H)
    seen, new = images[:split], images[split:][: config.number]
    features = classifier(seen, labels[:split])
    run.show("samples", grid(enlarged((drawn[:60] + 1) / 2, 32), columns=12))
    run.show("walk", grid(enlarged((walk(model, z[:10]).cpu() + 1) / 2, 32), columns=12))
    return {
        "frechet": frechet(features(drawn), features(seen)).item(),
        "floor": frechet(features(new), features(seen)).item(),
        "near": nearest(drawn, seen).item(),
        "near_floor": nearest(new, seen).item(),
    }


# ## What changed since
#
# - **Transposed convolutions.** Where the kernel's side is no multiple of the stride, they leave a
#   pattern of squares. Repeating pixels and then convolving does not (Odena 2016,
#   [Distill](https://distill.pub/2016/deconv-checkerboard/)).
# - **Both halves in one network.** Diffusion models go down by strides and up again in a
#   [U-Net](../diffusion/unet.py), whose shape is a little older than this paper.
# - **Batch normalisation.** A critic with a [penalty on its
#   gradient](gradient_penalty.py#how-steep-it-is) can't have it.

if __name__ == "__main__":
    main(train)
