r"""
---
title: Vision Transformer
summary: Cut an image into patches, call them words, and read it with a Transformer.
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
acronyms: [ViT]
needs: [transformers/transformer]
equals:
  what: transformers.ViTForImageClassification
  within: 1e-5
  test: test_outputs_and_gradients_are_those_of_transformers
notation:
  'x_p': patches
  'E': project
  'E_{pos}': positions
  'x_{class}': first
  'z_\ell': z
  'P': P
  'D': C
figure:
  file: figures/vit.svg
  alt: >-
    A digit is cut into four pieces, and a linear layer makes a vector of each. Before them
    stands one more vector, first. Positions are added; then come blocks of attention and
    feed_forward, each with a norm before and the stream past it. The first vector alone goes to
    the head.
  caption: >-
    An image becomes a sentence of `N` patches. The vector called `first` starts without any pixel;
    what it holds at the end was gathered by the blocks.
metrics:
  train_accuracy: {name: accuracy on training images, unit: "%", better: higher}
  test_accuracy: {name: accuracy on test images, unit: "%", better: higher}
  test_loss: {name: loss on test images, unit: nats, better: lower}
  nearness: {name: how much more alike neighbouring places are than others, better: higher}
runs:
  patches with positions: ""
  a bag of patches: --no-positions
  photographs: --data cifar-10
shows:
  positions: >-
    a small map for each patch, at its place: the cosine of its position's vector with every
    other's, white for 1, black for -1
claims:
  - what: without positions the image is a bag of patches, and accuracy falls
    paper: "table 8, on ImageNet from five images of a class: 61.4 % without, 64.2 % with"
    run: patches with positions
    control: a bag of patches
    metric: test_accuracy
    margin: 0.1
  - what: the vectors of neighbouring places become more alike than those of other places
    paper: "section 4.5 and figure 7 (centre), of ViT-L/32"
    run: photographs
    metric: nearness
    than: 0
    margin: 0.1
  - what: and so they do on digits, whose edges are blank
    paper: "as above; figure 7 is of photographs"
    run: patches with positions
    metric: nearness
    than: 0
    margin: 0.1
    note: "of a digit in 4 by 4 patches, the corners are mostly blank and come out alike instead"
  - what: a plain Transformer reaches 88.55 % on ImageNet
    paper: "table 2, ViT-H/14"
    note: "not run here: needs the 303 million images of JFT and 2,500 TPUv3-core-days"
deviations:
  - what: the layers behind the class vector
    paper: one hidden layer while pre-training, none while fine-tuning (section 3.1)
    ours: a single linear layer
    others: "transformers: a single linear layer"
    matters: "not tried: we train once and do not fine-tune"
    test: test_outputs_and_gradients_are_those_of_transformers
  - what: how patches are cut and mapped
    paper: flattened, then a linear map (eq. 1)
    ours: the same
    others: "transformers: a convolution whose kernel and stride are the side of a patch"
    matters: "no: the same weights in another shape"
    test: test_patches_are_what_a_convolution_sees
  - what: epsilon of the norms
    paper: not given
    ours: 1e-5, PyTorch's; that of the folder for published weights
    others: "transformers: 1e-12"
    matters: "hardly: the outputs of the same weights differ by less than a thousandth"
    test: test_the_epsilon_of_a_folder_is_used
  - what: initial weights
    paper: not given
    ours: "PyTorch's; positions with a deviation of 0.02, the class vector zero"
    others: "transformers: all with a deviation of 0.02, the class vector too"
    matters: "at the start of training"
    test: test_positions_alone_start_as_in_transformers
  - what: dropout
    paper: "0.1 on ImageNet and ImageNet-21k, none on JFT (table 3)"
    ours: none
    others: "transformers: none by default"
    matters: "in training alone"
    test: test_nothing_is_dropped
  - what: weight decay
    paper: "0.1, with Adam (section 4.1)"
    ours: "0.1, beside the gradient (AdamW)"
    matters: "yes: through the gradient, Adam would normalise it as well"
    test: test_decay_through_the_gradient_would_be_another
mistakes:
  - what: "norms after the sum, as in BERT: so small a model learns even faster, and weights from
      the hub mean something else"
    mutant: post-norm
    caught: test_outputs_and_gradients_are_those_of_transformers
  - what: a class vector without a position of its own
    mutant: the class vector has no place
    caught: test_outputs_and_gradients_are_those_of_transformers
  - what: gradients that are not set to zero
    mutant: zero_grad left out
    caught: test_training_is_this_loop
exercises: [patchify, ViT.forward]
changes: {from: transformers/bert}
---

# Vision Transformer

A [convolution](resnet.py) has assumptions about images built in: what is near belongs together,
and what is true in one place is true in another. The Vision Transformer has almost none. It cuts
the image into square patches, maps each to a vector, and passes the sequence of vectors to the
encoder of a [Transformer](../transformers/transformer.py), as if they were words. Which patches
belong together it has to find out by itself, and with enough images it does. Numbers are those of
version 2 on arXiv.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | images in a batch | `N` | patches, $H^2 / P^2$ |
| `K` | colours | `P` | side of a patch |
| `H` | side of an image | `C` | width, the paper's $D$ |
| `V` | classes | | |
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, UserError, main
from papers.common.data import IMAGE_SETS
from papers.common.data.grids import enlarged, grid
from papers.common.names import Names
from papers.common.published import fill, save, settings, tensors
from papers.transformers.attention import MultiHeadAttention
from papers.transformers.bert import FeedForward, rate
from papers.transformers.transformer import EncoderLayer
from papers.vision.resnet import evaluate, images_of


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    The default reads 8×8 digits in 16 patches. `--data cifar-10` reads photographs in 64.
    """

    layers: int = 4
    "blocks"
    heads: int = 4
    "heads of a block"
    width: int = 64
    "features of a patch"
    hidden: int = 0
    "features within a feed-forward network; 0: four times the width"
    patch: int = 0
    "pixels on a side of a patch; 0: 4, or 2 if images have fewer than 16"
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
    to right and from top to bottom. Within a row the numbers of one colour are together,
    which is the order of a convolution's weights: a convolution with kernel and stride $P$
    does the same as this function and the linear map that follows it.

    Raises `UserError` when the patches do not fill the image.
    """
    H, W = images.shape[-2:]
    if H % P or W % P:
        raise UserError(f"an image of {H} by {W} pixels does not divide into patches of {P} by {P}")
    return F.unfold(images, kernel_size=P, stride=P).transpose(1, 2)  # (B, N, K*P*P)


def block(config: Config) -> EncoderLayer:
    r"""
    ## A block

    The [Transformer encoder's](../transformers/transformer.py#a-layer-of-the-encoder), with the
    norms at the inputs of the sublayers (eq. 2 and 3) and a [GELU](../activations/gelu.py) between
    the two linear maps:

    $$
    \begin{aligned}
    z'_\ell &= \operatorname{MSA}(\operatorname{LN}(z_{\ell-1})) + z_{\ell-1} \\
    z_\ell &= \operatorname{MLP}(\operatorname{LN}(z'_\ell)) + z'_\ell.
    \end{aligned}
    $$

    The parts are [BERT](../transformers/bert.py)'s: [attention](../transformers/attention.py) with
    biases, and a feed-forward network four times as wide inside. There is no mask, since every
    patch sees all others. The paper has a dropout of 0.1 on ImageNet and ImageNet-21k, and none on
    its largest data set (table 3); we have none.
    """
    C = config.width
    attention = MultiHeadAttention(C, config.heads, bias=True)
    feed_forward = FeedForward(C, config.hidden or 4 * C)
    return EncoderLayer(C, attention, feed_forward, dropout=0.0, pre_norm=True)


class ViT(nn.Module):
    r"""
    ## The model

    One more vector comes before the patches, $x_{class}$, which is learned and the same for
    every image. It knows nothing of the image at first, so whatever it holds at the end was
    gathered by the blocks (eq. 1):

    $$
    z_0 = [x_{class};\; x_p^1 E;\; x_p^2 E;\; \dots;\; x_p^N E] + E_{pos}.
    $$

    After the last block it is normalised (eq. 4), and a linear layer maps it to classes. In
    pre-training the paper has one hidden layer between the two; we train once and leave it out.
    $E_{pos}$ is a learned vector for each place. Nothing in the model knows that a place has two
    coordinates and four neighbours. With zero `classes` the vector itself is returned.
    """

    def __init__(self, config: Config, size: int, colours: int, classes: int) -> None:
        super().__init__()
        self.config, self.image = config, (colours, size, size)
        self.patch = config.patch or (4 if size >= 16 else 2)
        C, P = config.width, self.patch
        places = (size // P) ** 2 + 1
        self.project = nn.Linear(colours * P * P, C)
        self.first = nn.Parameter(torch.zeros(1, 1, C))
        self.positions = nn.Parameter(torch.zeros(1, places, C), config.positions)
        self.blocks = nn.ModuleList(block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(C)
        self.head = nn.Linear(C, classes) if classes else nn.Identity()
        if config.positions:
            nn.init.normal_(self.positions, std=0.02)

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[1:] != self.image:
            given, wanted = ("×".join(map(str, s)) for s in (images.shape[1:], self.image))
            raise UserError(f"an image of {given} numbers: this model was made for {wanted}")
        patches: Tensor = self.project(patchify(images, self.patch))  # (B, N, C)
        first = self.first.expand(len(images), -1, -1)  # (B, 1, C)
        z = torch.cat([first, patches], dim=1) + self.positions  # (B, N+1, C)
        for layer in self.blocks:
            z = layer(z)  # (B, N+1, C)
        logits: Tensor = self.head(self.norm(z[:, 0]))  # (B, V)
        return logits


def similarity(model: ViT) -> Tensor:
    r"""
    ## What it found out about space

    The cosine between the vectors of any two places. Drawn as a small picture for each place, and
    these laid out as the image is, they show which places resemble it (figure 7, centre).
    """
    vectors = F.normalize(model.positions.detach()[0, 1:], dim=-1)  # (N, C)
    return vectors @ vectors.T  # (N, N)


def nearness(cosines: Tensor) -> float:
    r"""
    As a number: the mean cosine of adjacent places, less that of all others. On photographs,
    the model discovers that what is near belongs together. On our digits it has no need to. There
    the corners come out alike, however far apart they are: they are mostly blank.
    """
    N, side = len(cosines), math.isqrt(len(cosines))
    row, column = torch.arange(N) // side, torch.arange(N) % side
    apart = (row[:, None] - row).abs() + (column[:, None] - column).abs()  # (N, N)
    return (cosines[apart == 1].mean() - cosines[apart > 1].mean()).item()


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    Adam with a high weight decay, 0.1 (section 4.1), here decoupled from the gradient as is
    usual today. The learning rate rises and falls along straight lines, as in section 4.1 and on
    [BERT's page](../transformers/bert.py#the-learning-rate).
    """
    run = Run(config, options)
    images, labels = images_of(run.options.data, "train")
    test_images, test_labels = images_of(run.options.data, "test")
    batches = run.batches(images, labels, size=config.batch)
    model = ViT(config, images.shape[-1], images.shape[1], int(labels.max()) + 1)
    ready = run.prepare(model)
    optimizer = torch.optim.AdamW(ready.parameters(), config.lr, weight_decay=0.1, fused=True)
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

    train_error, _ = evaluate(run, model, images[:5000], labels[:5000])
    test_error, test_loss = evaluate(run, model, test_images, test_labels)
    numbers = {"train_accuracy": 1 - train_error, "test_accuracy": 1 - test_error}
    if config.positions:
        cosines = similarity(model).cpu()  # (N, N)
        side = math.isqrt(len(cosines))
        places = (cosines.view(-1, 1, side, side) + 1) / 2
        run.show("positions", grid(enlarged(places, 96), gap=4))
        numbers["nearness"] = nearness(cosines)
    return run.finish(**numbers, test_loss=test_loss)


# ## Published weights
#
# The hub's names and ours.
NAMES = Names(
    {
        "embeddings.cls_token": "first",
        "embeddings.position_embeddings": "positions",
        "embeddings.patch_embeddings.projection": "project",
        "encoder.layer.*.layernorm_before": "blocks.*.around_attention.norm",
        "encoder.layer.*.attention.output.dense": "blocks.*.attention.out",
        "encoder.layer.*.attention.attention": "blocks.*.attention",
        "encoder.layer.*.layernorm_after": "blocks.*.around_feed_forward.norm",
        "encoder.layer.*.intermediate.dense": "blocks.*.feed_forward.up",
        "encoder.layer.*.output.dense": "blocks.*.feed_forward.down",
        "layernorm": "norm",
        "classifier": "head",
    },
    prefix="vit.",
    unused=r"^pooler\.",
)


def load_pretrained(folder: str | Path) -> ViT:
    r"""
    Reads a folder with the `config.json` and `model.safetensors` of
    [google/vit-base-patch16-224](https://huggingface.co/google/vit-base-patch16-224) or its
    sisters. There a convolution cuts the patches, and its kernels, flattened, are our rows. Weights
    without a classifier give a model that returns features. Raises `UserError` when the folder
    holds no such model.
    """
    told = settings(folder, "vit")
    told.requires(hidden_act="gelu")
    told.presumes(qkv_bias=True)
    weights = tensors(folder, NAMES.ours)
    with told.blueprint():
        config = Config(
            layers=told.count("num_hidden_layers"),
            heads=told.count("num_attention_heads"),
            width=told.count("hidden_size"),
            hidden=told.count("intermediate_size"),
            patch=told.count("patch_size"),
        )
        classes = len(weights["head.bias"]) if "head.bias" in weights else 0
        model = ViT(config, told.count("image_size"), told.count("num_channels"), classes)
    for part in model.modules():
        if isinstance(part, nn.LayerNorm):
            part.eps = told.number("layer_norm_eps")
    # Dropout is for training; the stride and the pooler belong to heads that we do not have.
    told.ignores(
        *("hidden_dropout_prob", "attention_probs_dropout_prob", "encoder_stride"),
        *("pooler_output_size", "pooler_act"),
    )
    weights["project.weight"] = weights["project.weight"].flatten(1)
    return fill(model, weights, folder, NAMES.theirs)


def save_pretrained(model: ViT, folder: str | Path) -> None:
    r"""
    ### Writing them

    Writes such a folder, which transformers reads.
    """
    config, (colours, size, _) = model.config, model.image
    P, weights = model.patch, {}
    for name, weight in model.state_dict().items():
        theirs = NAMES.theirs(name)
        weights[theirs if name.startswith("head.") else NAMES.prefix + theirs] = weight
    kernel = weights["vit.embeddings.patch_embeddings.projection.weight"]
    weights["vit.embeddings.patch_embeddings.projection.weight"] = kernel.view(-1, colours, P, P)
    classes = model.head.out_features if isinstance(model.head, nn.Linear) else 0
    told = {
        "architectures": ["ViTForImageClassification" if classes else "ViTModel"],
        "model_type": "vit",
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "hidden_size": config.width,
        "intermediate_size": config.hidden or 4 * config.width,
        "patch_size": P,
        "image_size": size,
        "num_channels": colours,
        "hidden_act": "gelu",
        "qkv_bias": True,
        "layer_norm_eps": model.norm.eps,
        "id2label": {str(label): f"LABEL_{label}" for label in range(classes)},
        "label2id": {f"LABEL_{label}": label for label in range(classes)},
    }
    save(folder, told, weights)


# ## What changed since
#
# - **Data.** DeiT (Touvron 2020, [arXiv](https://arxiv.org/abs/2012.12877)) trains it on ImageNet
#   alone, with strong augmentation and a convolutional teacher, to an accuracy of 85.2 %. On
#   ImageNet alone the paper's best is 77.9 % (table 5), and with 303 million images 88.55 %.
# - **Locality, back again.** Swin (Liu 2021, [arXiv](https://arxiv.org/abs/2103.14030)) attends
#   within windows that shift, which makes the cost linear in the number of pixels.
# - **No labels.** MAE (He 2021, [arXiv](https://arxiv.org/abs/2111.06377)) hides three quarters of
#   the patches and learns to fill them in, and CLIP (Radford 2021,
#   [arXiv](https://arxiv.org/abs/2103.00020)) learns from captions, with a
#   [second encoder](../diffusion/latent/text_encoder.py) for these. That of images is this one.
# - **Generation.** [DiT](../diffusion/dit.py) replaces the U-Net of [DDPM](../diffusion/ddpm.py)
#   with it.
# - **No attention.** [MLP-Mixer](../transformers/mixing/mlp_mixer.py) moves information between
#   patches by a second network, which runs along them.
# - **Convolutions caught up**, with its recipes and design: [ResNet's page](resnet.py) ends with
#   ConvNeXt.
# - **The class vector** is often left out today. The mean over all patches does as well; the paper
#   found that too, with another learning rate (appendix D.3).

if __name__ == "__main__":
    main(train, data=IMAGE_SETS)
