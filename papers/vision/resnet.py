r"""
---
title: Deep residual learning
summary: Let layers learn what to add to their input, and depth no longer hurts.
paper: Deep Residual Learning for Image Recognition
authors: [Kaiming He, Xiangyu Zhang, Shaoqing Ren, Jian Sun]
year: 2015
arxiv: "1512.03385"
acronyms: [ResNet]
needs: [training/loop, normalization/batch_norm]
equals:
  what: transformers.ResNetForImageClassification
  within: 1e-8
  test: test_outputs_and_gradients_are_those_of_transformers
notation:
  '\mathcal{F}': layers
  'W_s': shortcut
  'x': x
  'y': y
  'n': n
figure:
  file: figures/resnet.svg
  alt: >-
    Left, a plain block: two convolutions with a rectifier between them and one after. Right,
    the same with a thick line that leads from x past both convolutions to a plus before the
    last rectifier. Below, the network: a stem, three stages of maps, each of half the side and
    twice the channels, and a head.
  caption: >-
    The layers are the same. Only the line past them is new: they learn what to add to `x`, and a
    block whose layers give zero is the identity.
metrics:
  train_error: {name: error on training images, unit: "%", better: lower}
  test_error: {name: error on test images, unit: "%", better: lower}
  train_loss: {name: loss on training images, unit: nats, better: lower}
  gradient_growth: {name: gradient before the first block over that behind the last, better: lower}
runs:
  residual, 56 layers: ""
  plain, 56 layers: --no-residual
  plain, 56 layers, warmed up: --no-residual --warmup 100
  residual, 20 layers: --n 3
  plain, 20 layers: --n 3 --no-residual
  photographs: --data cifar-10 --n 3 --width 16 --batch 128 --lr 0.1 --steps 1800
claims:
  - what: a deeper plain network has a higher training error than a shallower one
    paper: "figures 1 and 6 (left), on CIFAR-10: plain-20 below plain-56"
    run: plain, 20 layers
    control: plain, 56 layers
    metric: train_error
    margin: 0.1
  - what: with shortcuts, the same depth trains
    paper: "section 4.2 and figure 6, on CIFAR-10: ResNet-56 below plain-56"
    run: residual, 56 layers
    control: plain, 56 layers
    metric: train_error
    margin: 0.1
  - what: and a warm-up of the learning rate does not make up for missing shortcuts
    paper: "not there: plain networks are not warmed up"
    run: residual, 56 layers
    control: plain, 56 layers, warmed up
    metric: train_error
    margin: 0.1
  - what: with shortcuts, more layers have a lower training error
    paper: "figure 6 (middle), on CIFAR-10: ResNet-56 below ResNet-20"
    run: residual, 56 layers
    control: residual, 20 layers
    metric: train_error
    margin: 0.005
    note: "both depths learn nearly all 1,437 digits by heart, which leaves no room below"
  - what: before the first step, gradients explode in a plain network, and not with shortcuts
    paper: "not there, section 4.1 finds healthy norms; Yang 2019, 1902.08129"
    run: residual, 56 layers
    control: plain, 56 layers
    metric: gradient_growth
    margin: 100
  - what: ResNet-20 has a test error of 8.75 % on CIFAR-10
    paper: "table 6; section 4.2 gives the recipe"
    note: "not run here: --data cifar-10 --n 3 --width 16 --batch 128 --lr 0.1 --steps 64000"
deviations:
  - what: the stride of a bottleneck
    paper: in the first layer, a 1 × 1 convolution
    ours: in the second, a 3 × 3 convolution
    others: "transformers and torchvision: in the second, known as v1.5"
    matters: "yes: the same weights compute something else"
    test: test_the_papers_stride_is_another_network
  - what: where channels of zeros are added
    paper: not said (option A, section 3.3)
    ours: behind the old ones
    others: "transformers: option B alone"
    matters: "no: another order of the channels"
    test: test_padding_keeps_every_second_pixel_and_appends_zeros
  - what: variance of the initial weights
    paper: "as in He 2015 (section 3.4): 2 over the number of inputs, or of outputs"
    ours: 2 over the number of inputs
    others: "transformers and torchvision: 2 over the number of outputs"
    matters: "at the start, where the number of channels changes"
    test: test_the_library_counts_outputs_where_we_count_inputs
  - what: how long the learning rate is low at first
    paper: until the training error is below 80 %, for 110 layers (section 4.2)
    ours: a number of steps, by default none
    matters: "not tried: our 56 residual layers train without"
    test: test_learning_rate_is_that_of_section_4_2
mistakes:
  - what: "judging without `eval`, by the statistics of a batch"
    mutant: judged without eval
    caught: test_error_and_loss_over_a_set_are_those_of_a_network_that_is_not_training
  - what: a rectifier before the addition
    mutant: rectified before the sum
    caught: test_outputs_and_gradients_are_those_of_transformers
  - what: subtracting the mean of the test images from the test images
    mutant: each set loses its own mean
    caught: test_both_sets_lose_the_mean_of_the_training_set
exercises: [Block.forward, Pad.forward, augment]
---

# Deep residual learning

Take a network that works and put more layers on top. The new network contains the old one: the
added layers only have to copy their input. So its training error should not be higher. In practice
it is: plain networks of 56 layers train worse than those of 20. This
*degradation* is not overfitting, since the training error itself rises. The optimizer does
not find the copy.

The remedy is to make copying the default. A block adds its input $x$ to what its layers
compute,

$$
y = \mathcal{F}(x) + x,
$$

so that layers whose weights go to zero leave $x$ alone, and the *residual* $\mathcal{F}$ is
all there is to learn. The shortcut has no parameters and costs one addition.

Below are the paper's networks for ImageNet, into which published weights load, and those
for CIFAR-10, which we train with and without shortcuts.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | images in a batch | `V` | classes |
| `C` | channels that come in | `D` | channels that go out |
| `H, W` | height and width that come in | `P, Q` | height and width that go out |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, UserError, main
from papers.common.data import IMAGE_SETS, image_set
from papers.common.judging import in_batches
from papers.common.names import Names
from papers.common.published import fill, save, settings, tensors

Option = Literal["A", "B", "none"]
Layers = Callable[[int, int, int], nn.Sequential]


def convolution(C: int, D: int, size: int, stride: int = 1) -> nn.Sequential:
    r"""
    ## A weight layer

    [Batch normalization](../normalization/batch_norm.py) comes right after each convolution and
    before the rectifier (section 3.4). It subtracts the mean, which makes a bias useless.

    Weights start as $\mathcal{N}(0, 2 / (k^2 C))$ for a $k \times k$ filter on $C$ channels
    ([He 2015](https://arxiv.org/abs/1502.01852)): a rectifier cuts off half of the inputs, and the
    2 makes up for them.
    """
    layer = nn.Conv2d(C, D, size, stride, padding=size // 2, bias=False)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return nn.Sequential(layer, nn.BatchNorm2d(D))


class Block(nn.Module):
    r"""
    ## Residual learning

    Let $\mathcal{H}(x)$ be the mapping that a few layers should compute. We let them fit
    $\mathcal{F}(x) := \mathcal{H}(x) - x$ and add $x$ back (eq. 1):

    $$
    y = \mathcal{F}(x, \{W_i\}) + x.
    $$

    The next block gets $\sigma(y)$ with a rectifier $\sigma$, so what comes in is never
    negative. If $\mathcal{F} = 0$ then $\sigma(x + 0) = x$ *exactly*: a block can be the
    identity. A 56-layer residual network whose added blocks are zero gives the outputs of
    the 20-layer one inside it, and the tests build that. In a plain network zero weights
    give zero, and two layers with a rectifier between them would have to find the identity.

    Where the sizes change, the shortcut has to change them too, by a projection $W_s$
    (eq. 2):

    $$
    y = \mathcal{F}(x, \{W_i\}) + W_s x.
    $$

    The same layers without a shortcut make a plain network, our control.
    """

    def __init__(self, layers: nn.Sequential, shortcut: nn.Module | None) -> None:
        super().__init__()
        self.layers, self.shortcut = layers, shortcut

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)  # (B, D, P, Q)
        if self.shortcut is not None:
            y = y + self.shortcut(x)  # (B, D, P, Q)
        return F.relu(y)  # (B, D, P, Q)


class Pad(nn.Module):
    r"""
    ## Shortcuts between different sizes

    Option A of section 3.3 keeps the identity: it takes every second row and column and adds
    channels of zeros. The paper does not say where; we append them. There is nothing to
    learn, so such a network has exactly the parameters of the plain one.
    """

    def __init__(self, C: int, D: int, stride: int) -> None:
        super().__init__()
        self.more, self.stride = D - C, stride

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, :, :: self.stride, :: self.stride]  # (B, C, P, Q)
        return F.pad(x, (0, 0, 0, 0, 0, self.more))  # (B, D, P, Q)


def shortcut(C: int, D: int, stride: int, option: Option) -> nn.Module | None:
    r"""
    Option B projects with a $1 \times 1$ convolution. On ImageNet it is slightly better than
    A (24.52 % against 25.03 % error for 34 layers, table 3). Projecting *every* shortcut,
    option C, gains little (24.19 %) for many more weights.
    """
    if option == "none":
        return None
    if C == D and stride == 1:
        return nn.Identity()
    return Pad(C, D, stride) if option == "A" else convolution(C, D, 1, stride)


def basic(C: int, D: int, stride: int) -> nn.Sequential:
    r"""
    ## Two layers

    The block of figures 2 and 5 (left): $\mathcal{F} = W_2 \, \sigma(W_1 x)$. With a single
    layer, $W_1 x + x = (W_1 + I) x$ would be a linear layer again.
    """
    return nn.Sequential(
        convolution(C, D, 3, stride),
        nn.ReLU(),
        convolution(D, D, 3),
    )


def bottleneck(C: int, D: int, stride: int) -> nn.Sequential:
    r"""
    ## Three layers: the bottleneck

    Figure 5 (right). A $1 \times 1$ convolution reduces the channels to a quarter, the
    $3 \times 3$ works there, and another $1 \times 1$ restores them. At 256 channels this
    takes $256 \cdot 64 + 9 \cdot 64^2 + 64 \cdot 256 = 69{,}632$ weights; two $3 \times 3$
    layers at 64 channels take $73{,}728$: the block is four times as wide at the same price. A
    projection as its shortcut would add $256^2 = 65{,}536$ and nearly double it.

    The stride is in the $3 \times 3$ layer, as in the weights that people publish today
    ("v1.5"). In the paper it is in the first $1 \times 1$, which looks at one position in
    four and never sees the rest. That way 50 layers take the $3.8 \cdot 10^9$
    multiplications of table 1; our way they take $4.1 \cdot 10^9$.
    """
    return nn.Sequential(
        convolution(C, D // 4, 1),
        nn.ReLU(),
        convolution(D // 4, D // 4, 3, stride),
        nn.ReLU(),
        convolution(D // 4, D, 1),
    )


class ResNet(nn.Module):
    r"""
    ## The network

    Section 3.3 has two rules. Maps of one size have the same number of channels, and where
    the size is halved the channels double, so that each layer costs the same. Strides do the
    halving. At the end each channel is averaged over its map, and one linear layer follows.
    """

    def __init__(
        self,
        stem: nn.Sequential,
        layers: Layers,
        channels: tuple[int, ...],
        depths: tuple[int, ...],
        classes: int,
        option: Option,
    ) -> None:
        super().__init__()
        self.stem, self.stages = stem, nn.Sequential()
        self.channels, self.depths, self.option = channels, depths, option
        self.kind = layers.__name__
        C = channels[0]
        for D, depth in zip(channels[1:], depths, strict=True):
            stage = nn.Sequential()
            for number in range(depth):
                stride = 2 if number == 0 and len(self.stages) > 0 else 1
                block = Block(layers(C, D, stride), shortcut(C, D, stride, option))
                stage.append(block)
                C = D
            self.stages.append(stage)
        self.head = nn.Linear(C, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)  # (B, C, H, W)
        x = self.stages(x)  # (B, D, P, Q)
        x = x.mean(dim=(2, 3))  # (B, D)
        logits: Tensor = self.head(x)  # (B, V)
        return logits


def imagenet(
    layers: Layers,
    channels: tuple[int, ...],
    depths: tuple[int, ...],
    classes: int = 1000,
    option: Option = "B",
    colours: int = 3,
) -> ResNet:
    r"""
    ## For ImageNet

    Images of 224 by 224 pixels are too large to work on: a $7 \times 7$ convolution and a
    max-pooling, both with stride 2, leave 56 by 56.
    """
    stem = nn.Sequential(
        *convolution(colours, channels[0], 7, stride=2),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, padding=1),
    )
    return ResNet(stem, layers, channels, depths, classes, option)


TABLE_1: dict[int, tuple[Layers, tuple[int, ...]]] = {
    18: (basic, (2, 2, 2, 2)),
    34: (basic, (3, 4, 6, 3)),
    50: (bottleneck, (3, 4, 6, 3)),
    101: (bottleneck, (3, 4, 23, 3)),
    152: (bottleneck, (3, 8, 36, 3)),
}


def resnet(number: int, classes: int = 1000, option: Option = "B") -> ResNet:
    r"""
    ### Table 1

    The number of a network counts its layers with weights: the first, two or three
    in each block, and the last. Projections do not count. With 18 and 34 layers the paper
    has option A as well; published weights have option B.

    | layers | parameters |
    |--------|------------|
    | 18 | 11,689,512 |
    | 34 | 21,797,672 |
    | 50 | 25,557,032 |
    | 101 | 44,549,160 |
    | 152 | 60,192,808 |
    """
    if number not in TABLE_1:
        raise ValueError(f"{number} layers are not in table 1: give {[*TABLE_1]}")
    layers, depths = TABLE_1[number]
    widths = (64, 128, 256, 512) if layers is basic else (256, 512, 1024, 2048)
    return imagenet(layers, (64, *widths), depths, classes, option)


def cifar(
    n: int, width: int = 16, colours: int = 3, classes: int = 10, residual: bool = True
) -> ResNet:
    r"""
    ## For CIFAR-10

    Section 4.2, designed to study depth: one $3 \times 3$ convolution, three stages of
    $n$ blocks on maps of 32, 16 and 8 pixels with 16, 32 and 64 channels, and the linear
    layer. That is $6n + 2$ layers, and all shortcuts are of option A. Plain or residual, the
    parameters are the same.

    | each $n$ | layers | parameters | test error (table 6) |
    |----------|--------|------------|----------------------|
    | 3 | 20 | 0.27 M | 8.75 % |
    | 5 | 32 | 0.46 M | 7.51 % |
    | 7 | 44 | 0.66 M | 7.17 % |
    | 9 | 56 | 0.85 M | 6.97 % |
    | 18 | 110 | 1.7 M | 6.43 % (6.61 ± 0.16 over five runs) |
    | 200 | 1202 | 19.4 M | 7.93 % |
    """
    stem = nn.Sequential(*convolution(colours, width, 3), nn.ReLU())
    channels = (width, width, 2 * width, 4 * width)
    option: Option = "A" if residual else "none"
    return ResNet(stem, basic, channels, (n, n, n), classes, option)


def gradient_growth(model: ResNet, x: Tensor, labels: Tensor) -> float:
    r"""
    ## What the gradients say

    Why do plain networks degrade? Section 4.1 finds gradients of healthy norm, thanks to
    batch normalization, and leaves the reason to future work. We look at a network that has
    not taken a step yet, and divide the gradient's norm before the first block by the norm
    behind the last. Backwards through a plain network the gradient *grows*, by about the
    same factor in each block: twice the depth squares the ratio.

    The cause is the normalization itself (Yang 2019,
    [arXiv](https://arxiv.org/abs/1902.08129)). With shortcuts the variance of $x$ adds up
    from block to block while $\mathcal{F}(x)$ stays normalized. So block $l$ changes its
    input by one part in about $l$, and deeper blocks change it less (De and Smith 2020,
    [arXiv](https://arxiv.org/abs/2002.10444)): twice the depth only doubles the ratio.

    Before a normalization only the direction of the weights counts. Weights that are $c$
    times as long get $1/c$ of the gradient, and a step turns them by $1/c^2$ of the angle.
    In a plain network of 56 layers the first few steps throw the first layers far away from
    where they began. Ten steps later these weights are many times as long and hardly turn again,
    and the ratio is near one: healthy norms, as the paper says, but first layers that are stuck
    with random weights. A test follows this. With shortcuts nothing of the kind happens.

    This is what goes wrong first, and not all that does. One of the runs warms up, to see what is
    left. In deep plain networks the gradients of two similar images are hardly
    related and resemble noise (Balduzzi 2017, [arXiv](https://arxiv.org/abs/1702.08591)).
    """
    first = model.stem(x)  # (B, C, H, W)
    last = model.stages(first)  # (B, D, P, Q)
    loss = F.cross_entropy(model.head(last.mean(dim=(2, 3))), labels)
    g_first, g_last = torch.autograd.grad(loss, [first, last])  # (B, C, H, W), (B, D, P, Q)
    return float(g_first.norm() / g_last.norm())


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    The paper trains on CIFAR-10 with `--width 16 --batch 128 --lr 0.1 --steps 64000`. Digits
    of 8 by 8 pixels need less of everything except depth, which is our subject: 56
    layers, or 20 with `--n 3`. The control is `--no-residual`. With half the batch we
    take half the learning rate.
    """

    n: int = 9
    "blocks of a stage, which makes 6n + 2 layers"
    residual: bool = True
    "shortcuts; without them the network is plain"
    width: int = 8
    "channels of the first stage"
    batch: int = 64
    "images in a batch"
    steps: int = 500
    "training steps"
    lr: float = 0.05
    "learning rate, divided by ten at half and at three quarters of the steps"
    warmup: int = 0
    "steps at a tenth of the learning rate before; 110 layers on CIFAR-10 take 400"


def rate(config: Config, step: int) -> float:
    r"""
    ## The learning rate

    A factor on it: the paper divides by ten after 32,000 and 48,000 of 64,000 steps, at half
    and at three quarters. Its 110 layers do not start at 0.1, and train with 0.01 until the
    training error is below 80 %, which takes about 400 steps.
    """
    if step < config.warmup:
        return 0.1
    drops = (2 * step >= config.steps) + (4 * step >= 3 * config.steps)
    return 0.1**drops


def images_of(name: str, part: str) -> tuple[Tensor, Tensor]:
    r"""
    ## Data

    The paper's is `--data cifar-10`. Grey images get the channel axis that they lack.
    """
    data = image_set(name or "digits", part)
    return data.images.view(len(data.images), -1, *data.images.shape[-2:]), data.labels


def augment(x: Tensor, chance: Tensor, mirror: bool) -> Tensor:
    r"""
    ### Crops and mirror images

    Pad with zeros, 4 pixels for images of 32 and in proportion for others, crop to
    the old size at random, and mirror an image with probability one half (section 4.2). `chance`
    holds three uniform numbers for each image: for the row and the column of the crop, and for the
    mirror.
    """
    B, _, H, W = x.shape
    P = H // 8
    padded = F.pad(x, (P, P, P, P))  # (B, C, H+2*P, W+2*P)
    top, left = (chance[:, :2] * (2 * P + 1)).long().unbind(1)  # (B,)
    rows = top[:, None] + torch.arange(H, device=x.device)  # (B, H)
    columns = left[:, None] + torch.arange(W, device=x.device)  # (B, W)
    if mirror:
        columns = torch.where(chance[:, 2:] < 0.5, columns.flip(1), columns)  # (B, W)
    image = torch.arange(B, device=x.device)[:, None, None]  # (B, 1, 1)
    # Indexing on both sides of the channels moves them to the end.
    cut = padded[image, :, rows[:, :, None], columns[:, None, :]]  # (B, H, W, C)
    return cut.permute(0, 3, 1, 2)  # (B, C, H, W)


def evaluate(run: Run, model: nn.Module, x: Tensor, labels: Tensor) -> tuple[float, float]:
    r"""
    ### Error and loss over a set

    The images as they are, from a single view. Of a training set 5,000 images are enough.
    """
    logits = in_batches(run, "image", model.eval(), x).float()
    wrong = logits.argmax(-1) != labels
    return wrong.float().mean().item(), F.cross_entropy(logits, labels).item()


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    SGD with momentum 0.9 and weight decay 0.0001. The mean image of the training set is
    subtracted from all images. A mirrored digit is no digit, so only colour photographs
    are mirrored.
    """
    run = Run(config, options)
    images, labels = images_of(run.options.data, "train")
    test_images, test_labels = images_of(run.options.data, "test")
    mean = images.mean(0)  # (C, H, W)
    images, test_images = images - mean, test_images - mean
    batches = run.batches(images, labels, size=config.batch)
    colours, photographs = images.shape[1], images.shape[1] == 3
    network = cifar(config.n, config.width, colours, residual=config.residual)
    growth = gradient_growth(network, images[:128], labels[:128])
    # With the channels of a pixel side by side in memory, convolutions are faster.
    model = run.prepare(network.to(memory_format=torch.channels_last))  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(model.parameters(), config.lr, 0.9, weight_decay=1e-4, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(config, step))

    for step in run.steps(config.steps, model=model, optimizer=optimizer, schedule=schedule):
        x, targets = batches[step]  # (B, C, H, W), (B,)
        chance = run.share(torch.rand(config.batch, 3, generator=run.generator))  # (B, 3)
        x = augment(x, chance.to(run.device), photographs)  # (B, C, H, W)
        with run.autocast():
            loss = F.cross_entropy(model(x), targets)
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer)
        schedule.step()
        run.log(loss=loss)

    train_error, train_loss = evaluate(run, model, images[:5000], labels[:5000])
    test_error, _ = evaluate(run, model, test_images, test_labels)
    numbers = {"train_error": train_error, "test_error": test_error, "train_loss": train_loss}
    return run.finish(**numbers, gradient_growth=growth)


# ## Published weights
#
# The hub's names and ours, which also count the rectifiers between the convolutions.
BLOCK = {
    "shortcut.convolution": "shortcut.0",
    "shortcut.normalization": "shortcut.1",
    **{f"layer.{i}.convolution": f"layers.{2 * i}.0" for i in range(3)},
    **{f"layer.{i}.normalization": f"layers.{2 * i}.1" for i in range(3)},
}
NAMES = Names(
    {
        "embedder.embedder.convolution": "stem.0",
        "embedder.embedder.normalization": "stem.1",
        "classifier.1": "head",
        **{f"encoder.stages.*.layers.*.{a}": f"stages.*.*.{b}" for a, b in BLOCK.items()},
    },
    prefix="resnet.",
)


def load_pretrained(folder: str | Path) -> ResNet:
    r"""
    Reads a folder with the `config.json` and `model.safetensors` of
    [microsoft/resnet-50](https://huggingface.co/microsoft/resnet-50) or its sisters of 18,
    34, 101 and 152 layers. Raises `UserError` when it holds no such model, or one whose strides
    are not those of [v1.5](#three-layers-the-bottleneck).
    """
    told = settings(folder, "resnet")
    told.requires(hidden_act="relu")
    told.presumes(downsample_in_first_stage=False, downsample_in_bottleneck=False)
    weights = tensors(folder, NAMES.ours)
    with told.blueprint():
        channels = (told.count("embedding_size"), *told.counts("hidden_sizes"))
        layers = {"basic": basic, "bottleneck": bottleneck}[told["layer_type"]]
        classes = len(weights["head.bias"]) if "head.bias" in weights else 1
        colours = told.count("num_channels")
        model = imagenet(layers, channels, told.counts("depths"), classes, "B", colours)
    # Which maps a detector would take from it.
    told.ignores("stage_names", "out_features", "out_indices")
    return fill(model, weights, folder, NAMES.theirs)


def save_pretrained(model: ResNet, folder: str | Path) -> None:
    r"""
    ### Writing them

    Writes such a folder, which transformers reads. It has no layout for the networks for CIFAR-10.
    """
    stem, classes = model.stem[0], model.head.out_features
    assert isinstance(stem, nn.Conv2d)
    if model.option != "B" or stem.kernel_size != (7, 7):
        raise UserError("the hub's layout is that of ImageNet's networks with option B")
    told = {
        "architectures": ["ResNetForImageClassification"],
        "model_type": "resnet",
        "layer_type": model.kind,
        "num_channels": stem.in_channels,
        "embedding_size": model.channels[0],
        "hidden_sizes": model.channels[1:],
        "depths": model.depths,
        "hidden_act": "relu",
        "id2label": {str(label): f"LABEL_{label}" for label in range(classes)},
        "label2id": {f"LABEL_{label}": label for label in range(classes)},
    }
    weights = {}
    for name, weight in model.state_dict().items():
        theirs = NAMES.theirs(name)
        weights[theirs if name.startswith("head.") else NAMES.prefix + theirs] = weight
    save(folder, told, weights)


def view(file: Path) -> Tensor:
    r"""
    ### One image, as those weights expect it

    The shorter side becomes 256 pixels, the middle 224 by 224 are cropped, and each colour is
    normalised by its mean and standard deviation on ImageNet.
    """
    from PIL import Image

    try:
        image = Image.open(file).convert("RGB")
    except OSError as error:
        why = error.strerror or "no known format"
        raise UserError(f"{file} cannot be read as an image: {why}") from None
    width, height = (side * 256 // min(image.size) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - 224) // 2, (height - 224) // 2
    pixels = image.crop((left, top, left + 224, top + 224)).tobytes()
    x = torch.frombuffer(bytearray(pixels), dtype=torch.uint8).view(1, 224, 224, 3) / 255
    x = (x - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    return x.permute(0, 3, 1, 2)


def classify(*, weights: Path, image: Path) -> None:
    r"""
    ### What is in this picture?

    `python papers/vision/resnet.py classify --weights FOLDER --image FILE` prints the five
    likeliest classes.
    """
    model = load_pretrained(weights)
    names = settings(weights, "resnet")["id2label"]
    with torch.no_grad():
        chances = model(view(image)).softmax(-1)[0]
    for chance, index in zip(*chances.topk(min(5, len(chances))), strict=True):
        print(f"{chance:6.1%}  {names[str(index.item())]}")


# ## What changed since
#
# - **A cleaner identity.** The rectifier behind the addition still changes every signal that
#   passes. He (2016, [arXiv](https://arxiv.org/abs/1603.05027)) moves it and the
#   normalization in front of the convolutions, so that nothing but additions lies between
#   the first block and the last, and trains 1,001 layers.
#   [Transformers](../transformers/transformer.py) made the same move, from post-norm to
#   pre-norm.
# - **Start at the identity.** Goyal (2017,
#   [arXiv](https://arxiv.org/abs/1706.02677)) sets the last scale $\gamma$ of each block to
#   zero, so that every block begins as the identity.
# - **Wider and denser.** ResNeXt (2016, [arXiv](https://arxiv.org/abs/1611.05431)) splits
#   the $3 \times 3$ layer of the bottleneck into groups; DenseNet (2016,
#   [arXiv](https://arxiv.org/abs/1608.06993)) concatenates where we add.
# - **Better recipes.** ResNet-50 had 77.15 % accuracy from ten crops in the paper (table 3).
#   With the augmentation and the schedules of 2021 the same network reaches 80.4 % from one
#   (Wightman 2021, [arXiv](https://arxiv.org/abs/2110.00476)).
# - **Borrowed back.** ConvNeXt (2022, [arXiv](https://arxiv.org/abs/2201.03545)) takes
#   ResNet-50 towards a [vision transformer](vit.py) one decision at a time, and stays
#   convolutional. Both kept the addition around every block.

if __name__ == "__main__":
    main(train, data=IMAGE_SETS, classify=classify)
