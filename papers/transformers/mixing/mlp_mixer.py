r"""
---
title: MLP-Mixer
summary: Two small networks in turn, one along the features of a patch, one along the patches.
paper: "MLP-Mixer: An all-MLP Architecture for Vision"
authors: [Ilya Tolstikhin, Neil Houlsby, Alexander Kolesnikov, Lucas Beyer, Xiaohua Zhai,
  Thomas Unterthiner, Jessica Yung, Andreas Steiner, Daniel Keysers, Jakob Uszkoreit, Mario Lucic,
  Alexey Dosovitskiy]
year: 2021
arxiv: "2105.01601"
acronyms: [Mixer, token mixing, channel mixing]
needs: [vision/vit]
equals:
  what: two torch.nn.Conv1d of width 1, along features and along patches
  within: 1e-12
  test: test_a_layer_is_two_convolutions_of_width_one
notation:
  'X': x
  'D_S': among_patches
  'D_C': hidden
figure:
  file: figures/mlp_mixer.svg
  alt: >-
    A table with a row for each of four patches and a column for each of six features. From a
    column an arrow leads to a network called tokens, which works on every column. From a row an
    arrow leads to a network called features, which works on every row.
  caption: >-
    The same network reads every column, and another one every row. Neither alone sees all of the
    table; the two in turn do.
metrics:
  accuracy: {name: test images that are right, unit: "%", better: higher}
  loss: {name: training loss, unit: nats, better: lower, scale: log}
runs:
  Mixer: ""
  ViT: --model vit
  no mixing of patches: --no-mix
  patches and pixels shuffled: --shuffle patches
  all pixels shuffled: --shuffle pixels
shows:
  mixing: >-
    of the first layer, what each of the first 32 hidden units of the network along patches takes
    from which place of the image: white for the largest weight, black for the smallest
claims:
  - what: it keeps up with a Vision Transformer of the same size
    paper: "87.94 % against 88.55 % on ImageNet, after JFT-300M; our claim: not behind"
    run: Mixer
    control: ViT
    metric: accuracy
    margin: 0
  - what: it reads more than 95 % of the digits
    paper: "not in the paper"
    run: Mixer
    metric: accuracy
    than: 0.95
    margin: 0
    note: "93 to 94 %: all training images are right long before, so more steps would not help"
  - what: patches have to be mixed
    paper: "not in the paper: our control"
    run: Mixer
    control: no mixing of patches
    metric: accuracy
    margin: 0.1
  - what: patches in another order, with their pixels in another order, are as good
    paper: "the paper shuffles so too, and finds it invariant"
    run: patches and pixels shuffled
    control: Mixer
    metric: accuracy
    within: 0.03
  - what: shuffling pixels over the whole image does harm
    paper: "and finds a large loss for this, larger still for a ResNet"
    run: Mixer
    control: all pixels shuffled
    metric: accuracy
    margin: 0.02
    note: "it does hardly any: a patch of 2 by 2 pixels holds little that belongs together"
deviations:
  - what: dropout
    paper: in some of its trainings
    ours: none
    matters: "in training alone"
    test: test_nothing_is_dropped
  - what: initial weights of the head
    paper: not checked
    ours: zero, so that all classes start equal
    others: "timm: zero by default, to match the authors' framework"
    matters: "at the first step: the loss starts at the logarithm of the number of classes"
    test: test_all_classes_start_equal
  - what: what is equal in the comparison
    paper: depth, width and data
    ours: "depth, width, data and the number of weights: a layer is given what ViT has in attention"
    matters: "for comparing: the paper's Mixer-B/16 has 59.9 million weights, and ViT-B/16 86.6"
    test: test_equal_weights
mistakes:
  - what: the network along patches without the transposition, so it runs along features
    mutant: features twice
    caught: test_a_layer_is_two_convolutions_of_width_one
  - what: a norm of the mean in place of a mean of norms, which learns as well and is another model
    mutant: a norm of the sum instead of the sum of norms
    caught: test_the_whole_model
worked:
  - at: Layer
    told: >-
      Three patches with two features each. What the network along patches adds to the first feature
      depends on that feature of all patches, and on no other.
    code: |-
      layer = Layer(3, 4, 2, 8)
      x = torch.tensor([[[0.0, 1.0], [2.0, 1.0], [4.0, 3.0]]])
      moved = x + torch.tensor([0.0, 5.0])
      added, then = layer.tokens(x.mT).mT, layer.tokens(moved.mT).mT
      then - added
exercises: [Layer.forward, Mixer.forward, shuffled]
changes: {from: vision/vit}
---

# MLP-Mixer

An image in patches is a table: a row for each patch, a column for each feature. The [Vision
Transformer](../../vision/vit.py) works on it in two ways. Attention moves information between rows,
and a network works on each row. This paper asks whether the first could not be the second, turned
by 90 degrees. Its network along the columns mixes patches, with weights that are the same for every
feature and for every image.

A convolution also mixes places by fixed weights, but only near ones, and not by the same weights
for every feature. Attention mixes all places, by weights that it computes anew for each image.
Mixer mixes all places by fixed weights, and nothing tells it which are near each other.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | images in a batch | `C` | width, the paper's hidden size |
| `S` | patches | `M` | hidden units of a network |
| `V` | classes | `P` | side of a patch |
| `H` | side of an image | | |
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, UserError, main
from papers.common.data.grids import enlarged, grid
from papers.transformers.bert import FeedForward, rate
from papers.vision.resnet import evaluate, images_of
from papers.vision.vit import Config as ViTConfig
from papers.vision.vit import ViT, patchify

Shuffle = Literal["nothing", "patches", "pixels"]


class Layer(nn.Module):
    r"""
    ## A layer

    Two networks of two linear maps with a [GELU](../../activations/gelu.py) between them, each with
    a norm before it and a residual connection around it (eq. 1):

    $$
    \begin{aligned}
    U_{*,i} &= X_{*,i} + W_2 \, \sigma \bigl( W_1 \operatorname{LN}(X)_{*,i} \bigr),
    & i &= 1 \dots C \\
    Y_{j,*} &= U_{j,*} + W_4 \, \sigma \bigl( W_3 \operatorname{LN}(U)_{j,*} \bigr),
    & j &= 1 \dots S
    \end{aligned}
    $$

    The first reads a column of the table, one feature of all patches, and has $D_S$ hidden units.
    The second reads a row, all features of one patch, and has $D_C$. Both norms are along the
    features.

    All columns share $W_1$ and $W_2$. A pair of matrices for each column would take $C$ times as
    many weights. The cost of a layer grows with $S$, not with its square as that of attention, as
    long as $D_S$ does not depend on $S$. But the number of patches is built into the weights: an
    image of another size has no meaning for this network.
    """

    def __init__(self, patches: int, among_patches: int, width: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.tokens = FeedForward(patches, among_patches) if among_patches else None
        self.features = FeedForward(width, hidden)

    def forward(self, x: Tensor) -> Tensor:
        if self.tokens is not None:
            x = x + self.tokens(self.norm1(x).mT).mT  # (B, S, C)
        y: Tensor = x + self.features(self.norm2(x))  # (B, S, C)
        return y


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    Digits of 8 by 8 pixels, in 16 patches of 2 by 2. In place of the $4 C^2$ weights of attention,
    a layer has $2 S D_S$ for mixing patches. They are fewer, and the rest goes to the other
    network.
    """

    model: Literal["mixer", "vit"] = "mixer"
    "our network, or a Vision Transformer with as many weights"
    shuffle: Shuffle = "nothing"
    "what is put into another order, the same for all images"
    mix: bool = True
    "whether patches are mixed at all"
    layers: int = 2
    "layers"
    width: int = 64
    "features of a patch"
    among_patches: int = 32
    "hidden units of the network along patches"
    hidden: int = 380
    "hidden units of the network along features"
    patch: int = 2
    "pixels on a side of a patch"
    batch: int = 64
    "images in a batch"
    steps: int = 400
    "training steps"
    lr: float = 3e-3
    "highest learning rate"


# The number behind the slash is the side of a patch in pixels. Images are 224 pixels wide.
SIZES = {
    "S/16": Config(layers=8, width=512, among_patches=256, hidden=2048, patch=16),
    "B/16": Config(layers=12, width=768, among_patches=384, hidden=3072, patch=16),
    "L/16": Config(layers=24, width=1024, among_patches=512, hidden=4096, patch=16),
}


class Mixer(nn.Module):
    r"""
    ## The model

    Patches are mapped to vectors as in [ViT](../../vision/vit.py#patches). There are no positions,
    since the network along patches has a weight for each place anyway. Nor does a class token stand
    before the patches: after a last norm, the classes are read from their mean.
    """

    def __init__(self, config: Config, size: int, colours: int, classes: int) -> None:
        super().__init__()
        self.patch, C = config.patch, config.width
        S = (size // config.patch) ** 2
        self.project = nn.Linear(colours * config.patch**2, C)
        sizes = S, config.among_patches * config.mix, C, config.hidden
        self.layers = nn.ModuleList(Layer(*sizes) for _ in range(config.layers))
        self.norm, self.head = nn.LayerNorm(C), nn.Linear(C, classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor) -> Tensor:
        x = self.project(patchify(images, self.patch))  # (B, S, C)
        for layer in self.layers:
            x = layer(x)  # (B, S, C)
        logits: Tensor = self.head(self.norm(x).mean(1))  # (B, V)
        return logits


def shuffled(images: Tensor, what: Shuffle, P: int) -> Tensor:
    r"""
    ## Does it matter what is near?

    A network that treats all places alike at the start does not care in which order they come. We
    put the patches of all images into one random order, and the pixels of all patches into one
    other. A Mixer that has its weights in the same order computes the same. Since initial weights
    are as likely in one order as in any other, training should do no worse. A convolution would
    lose its neighbours.

    If *all pixels* are put into one order, a patch no longer holds pixels that belong together.
    """
    if what == "nothing":
        return images
    generator = torch.Generator().manual_seed(1)
    if what == "pixels":
        order = torch.randperm(images[0, 0].numel(), generator=generator)
        return images.flatten(2)[..., order].view_as(images)
    rows = patchify(images, P)  # (B, S, P*P)
    order, inside = (torch.randperm(n, generator=generator) for n in rows.shape[1:])
    columns = rows[:, order][..., inside].mT
    return F.fold(columns, images.shape[-2:], kernel_size=P, stride=P)


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    As the page on [ViT](../../vision/vit.py#training) does it, with the same loss, decay and course
    of the learning rate, and on the same digits.

    With as many weights, Mixer reads a few more of them than ViT. Both have learned the 1,437
    images by heart, and neither was told what is near. Why Mixer then does better on others, we
    have not tried. If patches are not mixed, half of the digits are still right: the mean over all
    patches tells how many there are of each kind. And the order of pixels hardly matters here, even
    over the whole image. The paper's patches are 16 by 16 pixels of photographs, in which
    neighbours tell much about each other.
    """
    run = Run(config, options)
    if config.width % 4:
        raise UserError(f"width {config.width} does not divide into the four heads of a ViT")
    (images, labels), (test_images, test_labels) = images_of("", "train"), images_of("", "test")
    images, test_images = (shuffled(x, config.shuffle, config.patch) for x in (images, test_images))
    batches = run.batches(images, labels, size=config.batch)
    learner: Mixer | ViT = Mixer(config, 8, 1, 10)
    if config.model == "vit":
        same = ViTConfig(layers=config.layers, width=config.width, patch=config.patch)
        learner = ViT(same, 8, 1, 10)
    model = run.prepare(learner)
    optimizer = torch.optim.AdamW(model.parameters(), config.lr, weight_decay=0.1, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, config.steps))

    for step in run.steps(config.steps, model=model, optimizer=optimizer, schedule=schedule):
        x, y = batches[step]  # (B, 1, H, H), (B,)
        with run.autocast():
            loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer, clip=1.0)
        schedule.step()
        run.log(loss=loss)

    if isinstance(learner, Mixer) and config.mix:
        run.show("mixing", units(learner))
    error, _ = evaluate(run, learner, test_images, test_labels)
    return run.finish(accuracy=1 - error)


def units(model: Mixer) -> Tensor:
    r"""
    ### What it looks for

    Each hidden unit of the network along patches has a weight for each place. In their order in the
    image, these are a small picture.
    """
    weight = model.get_parameter("layers.0.tokens.up.weight").detach().cpu()[:32]  # (M, S)
    low, high = weight.min(), weight.max()
    side = math.isqrt(weight.shape[1])
    return grid(enlarged(((weight - low) / (high - low)).view(-1, 1, side, side), 40), gap=4)


# ## What changed since
#
# - **One linear map along patches.** That is enough for ResMLP, which has no norms either (Touvron
#   2021, [arXiv](https://arxiv.org/abs/2105.03404)). In [gMLP](gmlp.py) the map makes a gate.
# - **Convolutions instead.** ConvMixer keeps the two steps and mixes places by large kernels
#   (Trockman and Kolter 2022, [arXiv](https://arxiv.org/abs/2201.09792)).
# - **What the success is due to.** MetaFormer mixes by nothing more than a mean over neighbours and
#   still does well (Yu 2021, [arXiv](https://arxiv.org/abs/2111.11418)): the two alternating steps
#   seem to matter more than how the first one is done.

if __name__ == "__main__":
    main(train)
