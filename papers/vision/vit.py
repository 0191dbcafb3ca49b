r"""
---
title: Vision Transformer
summary: Cut an image into patches, call them words, and read it with a Transformer.
topic: vision
paper: "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale"
authors:
  - Alexey Dosovitskiy
  - Lucas Beyer
  - Alexander Kolesnikov
  - Dirk Weissenborn
  - Xiaohua Zhai
  - Thomas Unterthiner
  - Mostafa Dehghani
  - Matthias Minderer
  - Georg Heigold
  - Sylvain Gelly
  - Jakob Uszkoreit
  - Neil Houlsby
year: 2020
arxiv: "2010.11929"
notation:
  'x_p': patches
  'E': project
  'E_{pos}': positions
  'x_{class}': first
  'z_\ell': z
  'P': P
  'D': C
runs:
  patches with positions: ""
  a bag of patches: --no-positions
claims:
  - what: patches and a plain Transformer are enough to classify images
    paper: "88.55 % on ImageNet for ViT-H/14 after 300 million images (table 2)"
    run: patches with positions
    metric: test_accuracy
  - what: without positions the image is a bag of patches, and accuracy falls
    paper: "a large gap to the model without them, and hardly any between kinds (appendix D.4)"
    run: a bag of patches
    metric: test_accuracy
---

# Vision Transformer

A [convolution](resnet.py) has opinions on images built in: what is near belongs together, and
what holds at one place holds at another. The Vision Transformer has almost none. It cuts the
image into square patches, maps each to a vector, and hands the row of vectors to the encoder of
a [Transformer](../transformers/transformer.py), as if they were words. Which patches belong
together it must find out by itself, and given enough images it does.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | images in a batch | `N` | patches, $H^2 / P^2$ |
| `K` | colours | `P` | side of a patch |
| `H` | side of an image | `C` | width, the paper's $D$ |
| `V` | classes | | |
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, UserError, main
from papers.common.data.grids import grid
from papers.common.published import fill, renamed, settings, tensors
from papers.transformers.attention import MultiHeadAttention
from papers.transformers.bert import FeedForward, rate
from papers.transformers.transformer import EncoderLayer
from papers.vision.resnet import evaluate, images_of


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    """

    layers: int = 4
    "blocks"
    heads: int = 4
    "heads of a block"
    width: int = 64
    "features of a patch"
    patch: int = 2
    "pixels on a side of a patch"
    positions: bool = True
    "whether a patch knows where it is"
    batch: int = 64
    "images in a batch"
    steps: int = 600
    "training steps"
    lr: float = 2e-3
    "highest learning rate"


# Table 1, for images of 224 by 224. The number behind the slash is the side of a patch.
SIZES = {
    "B/16": Config(layers=12, heads=12, width=768, patch=16),
    "L/16": Config(layers=24, heads=16, width=1024, patch=16),
    "H/14": Config(layers=32, heads=16, width=1280, patch=14),
}


def patchify(images: Tensor, P: int) -> Tensor:
    r"""
    ## Patches

    An image of $H \times H$ pixels becomes $N = H^2 / P^2$ rows of $P^2 K$ numbers, from left
    to right and from top to bottom. Within a row the numbers of one colour stand together,
    which is the order of a convolution's weights: a convolution with kernel and stride $P$
    does the same as this and the linear map that follows.

    Raises `UserError` when the patches do not fill the image.
    """
    H, W = images.shape[-2:]
    if H % P or W % P:
        raise UserError(f"an image of {H} by {W} pixels does not divide into patches of {P} by {P}")
    return F.unfold(images, kernel_size=P, stride=P).transpose(1, 2)  # (B, N, K*P*P)


def block(config: Config) -> EncoderLayer:
    r"""
    ## A block

    The encoder's, with the norm in the branch (eq. 2 and 3) and a GELU between the two linear
    maps:

    $$
    \begin{aligned}
    z'_\ell &= \operatorname{MSA}(\operatorname{LN}(z_{\ell-1})) + z_{\ell-1} \\
    z_\ell &= \operatorname{MLP}(\operatorname{LN}(z'_\ell)) + z'_\ell.
    \end{aligned}
    $$

    The parts are [BERT](../transformers/bert.py)'s: [attention](../transformers/attention.py) with
    biases, a feed-forward network four times as wide. No mask: every patch sees all others. We
    leave dropout out, which the paper needs for ImageNet alone and not for its large data sets.
    """
    C = config.width
    attention = MultiHeadAttention(C, config.heads, bias=True)
    return EncoderLayer(C, attention, FeedForward(C, 4 * C), dropout=0.0, pre_norm=True)


class ViT(nn.Module):
    r"""
    ## The model

    Before the patches stands one more vector, $x_{class}$, which is learned and the same for
    every image. It holds nothing of the image at first, so what it holds at the end the blocks
    have gathered in it (eq. 1):

    $$
    z_0 = [x_{class};\; x_p^1 E;\; x_p^2 E;\; \dots;\; x_p^N E] + E_{pos}.
    $$

    After the last block it is normalised (eq. 4), and a linear layer makes the classes of it.
    $E_{pos}$ is a learned vector for each place. That a place has two coordinates and four
    neighbours the model is not told.
    """

    def __init__(self, config: Config, size: int, colours: int, classes: int) -> None:
        super().__init__()
        self.config = config
        C, P = config.width, config.patch
        places = (size // P) ** 2 + 1
        self.project = nn.Linear(colours * P * P, C)
        self.first = nn.Parameter(torch.zeros(1, 1, C))
        self.positions = nn.Parameter(torch.zeros(1, places, C), config.positions)
        self.blocks = nn.ModuleList(block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(C)
        self.head = nn.Linear(C, classes)
        if config.positions:
            nn.init.normal_(self.positions, std=0.02)

    def forward(self, images: Tensor) -> Tensor:
        patches: Tensor = self.project(patchify(images, self.config.patch))  # (B, N, C)
        first = self.first.expand(len(images), -1, -1)  # (B, 1, C)
        z = torch.cat([first, patches], dim=1) + self.positions  # (B, N+1, C)
        for layer in self.blocks:
            z = layer(z)  # (B, N+1, C)
        logits: Tensor = self.head(self.norm(z[:, 0]))  # (B, V)
        return logits


def similarity(model: ViT) -> Tensor:
    r"""
    ## What it found out about space

    For each patch a small picture: the cosine between the vector of its place and those of all
    places, laid out as the image is (figure 7, centre). A model that was told nothing of rows
    and columns should have found that near places are alike.
    """
    vectors = F.normalize(model.positions.detach()[0, 1:], dim=-1)  # (N, C)
    cosines = vectors @ vectors.T  # (N, N)
    side = round(len(cosines) ** 0.5)
    return (cosines.view(-1, 1, side, side) + 1) / 2  # (N, 1, N^.5, N^.5)


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    Adam with a high weight decay, 0.1 (section 4.1), here decoupled from the gradient as is
    usual today. The learning rate rises and falls along straight lines, as in section 4.1 and as
    [BERT's](../transformers/bert.py#the-learning-rate) does. `--data cifar-10 --patch 4` trains
    on photographs.
    """
    run = Run(config, options)
    images, labels = images_of(run.options.data, "train")
    test_images, test_labels = images_of(run.options.data, "test")
    batches = run.batches(images, labels, size=config.batch)
    model = ViT(config, images.shape[-1], images.shape[1], int(labels.max()) + 1)
    ready = run.prepare(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, config.steps))

    for step in run.steps(config.steps, model=ready, optimizer=optimizer, schedule=schedule):
        x, y = batches[step]  # (B, K, H, H), (B,)
        with run.autocast():
            loss = F.cross_entropy(ready(x), y)
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer, clip=1.0)
        schedule.step()
        run.log(loss=loss)

    train_error, _ = evaluate(model, images, labels)
    test_error, test_loss = evaluate(model, test_images, test_labels)
    if config.positions:
        run.image("positions", grid(similarity(model)))
    return run.finish(
        train_accuracy=1 - train_error, test_accuracy=1 - test_error, test_loss=test_loss
    )


# ## Published weights
#
# The hub's names, as regular expressions, and ours.
NAMES = {
    r"^vit\.embeddings\.cls_token$": "first",
    r"^vit\.embeddings\.position_embeddings$": "positions",
    r"^vit\.embeddings\.patch_embeddings\.projection\.": "project.",
    r"^vit\.layernorm\.": "norm.",
    r"^classifier\.": "head.",
    r"^vit\.encoder\.layer\.": "blocks.",
    r"\.layernorm_before\.": ".around_attention.norm.",
    r"\.attention\.attention\.": ".attention.",
    r"\.attention\.output\.dense\.": ".attention.out.",
    r"\.layernorm_after\.": ".around_feed_forward.norm.",
    r"\.intermediate\.dense\.": ".feed_forward.expand.",
    r"\.output\.dense\.": ".feed_forward.contract.",
}


def our_name(theirs: str) -> str:
    return renamed(theirs, NAMES)


def load_pretrained(folder: Path) -> ViT:
    r"""
    Reads a folder with the `config.json` and `model.safetensors` of
    [google/vit-base-patch16-224](https://huggingface.co/google/vit-base-patch16-224) or its
    sisters. There the patches are cut by a convolution, whose weights are ours in rows. Raises
    `UserError` when it holds no such model.
    """
    told = settings(folder, "vit")
    told.requires(hidden_act="gelu")
    config = Config(
        layers=told.count("num_hidden_layers"),
        heads=told.count("num_attention_heads"),
        width=told.count("hidden_size"),
        patch=told.count("patch_size"),
    )
    weights = tensors(folder, our_name)
    weights["project.weight"] = weights["project.weight"].flatten(1)
    sizes = told.count("image_size"), told.count("num_channels"), len(weights["head.bias"])
    with told.blueprint():
        model = ViT(config, *sizes)
    for part in model.modules():
        if isinstance(part, nn.LayerNorm):
            part.eps = told.number("layer_norm_eps")
    return fill(model, weights, folder)


# ## What changed since
#
# - **Data.** DeiT (2020, [arXiv](https://arxiv.org/abs/2012.12877)) trains it on ImageNet alone,
#   with strong augmentation and a convolutional teacher, to the accuracy that the paper needed
#   300 million images for.
# - **Locality, back again.** Swin (2021, [arXiv](https://arxiv.org/abs/2103.14030)) attends within
#   windows that shift, which makes the cost linear in the number of pixels.
# - **No labels.** MAE (2021, [arXiv](https://arxiv.org/abs/2111.06377)) hides three quarters of the
#   patches and learns by painting them in, and CLIP learns from captions. The encoder is this one.
# - **Drawing.** DiT puts it in the place of the U-Net of [DDPM](../diffusion/ddpm.py) (2022,
#   [arXiv](https://arxiv.org/abs/2212.09748)).
# - **Convolutions answered**, with its recipes and decisions: [ResNet's page](resnet.py) ends with
#   ConvNeXt.
# - **The class vector** is often left out today: the mean over all patches does as well.

if __name__ == "__main__":
    main(train)
