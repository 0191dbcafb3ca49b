r"""
---
title: The U-Net of latent diffusion
summary: Between its convolutions, every pixel reads a text by cross-attention.
paper: High-Resolution Image Synthesis with Latent Diffusion Models
authors: [Robin Rombach, Andreas Blattmann, Dominik Lorenz, Patrick Esser, Björn Ommer]
year: 2021
arxiv: "2112.10752"
acronyms: [LDM, cross-attention, Stable Diffusion]
needs: [diffusion/unet, diffusion/latent/text_encoder]
equals:
  what: diffusers.UNet2DConditionModel
  within: 1e-6
  test: test_outputs_and_gradients_are_those_of_diffusers
notation:
  '\epsilon_\theta': UNet
  '\tau_\theta': reader
  'y': text
  'z_t': x
  't': t
figure:
  file: figures/text_unet.svg
  alt: >-
    Inside a reader. Pixels run down past three branches. The first is attention between pixels, the
    second is cross, whose keys and values come from the text at its right, the third is
    feed_forward. A norm stands before each.
  caption: >-
    What follows each residual block. The text is the same for all pixels, and each asks it
    something else.
metrics:
  frechet: {name: Fréchet distance of samples to training images, better: lower}
  floor: {name: the same of held-out images, better: lower}
  accuracy: {name: samples that are the digit that was spelled, unit: "%", better: higher}
  accuracy_floor: {name: held-out images that the judge names right, unit: "%", better: higher}
  loss: {name: training loss, unit: squared error, better: lower, scale: log}
runs:
  all letters: ""
  their last state: --told time
shows:
  samples: >-
    a column for each word from zero to nine, none picked by hand
claims:
  - what: pixels that read the letters draw the right digit as often as with one vector for all
    paper: "not there: section 3.3 tells texts by cross-attention alone"
    run: all letters
    control: their last state
    metric: accuracy
    within: 0.1
    note: "0.18 better, with each seed; but seeds scatter too much to say that 0.1 is exceeded"
  - what: most samples are the digit that was spelled
    paper: "section 4.3.1, in words: of sentences, on photographs"
    run: all letters
    metric: accuracy
    than: 0.1
    margin: 0.4
  - what: photographs follow a text, learned from 400 million pairs
    paper: "section 4.3.1 and table 2"
    note: "not run here; the weights of Stable Diffusion load"
deviations:
  - what: where it works
    paper: on latents
    ours: here on pixels of digits
    matters: "not for the network, which takes any channels; for the images, not compared"
    test: test_outputs_and_gradients_are_those_of_diffusers
  - what: the waves of the time
    paper: not given
    ours: cosines first, and the slowest is 10000 to the power of -(1 - 2 / width)
    others: "the authors' code and diffusers, as Stable Diffusion is configured: the same"
    matters: "yes, for published weights"
    test: test_waves_are_those_of_diffusers
  - what: the border of a convolution that halves
    paper: not given
    ours: one pixel on every side
    others: "the authors' code and diffusers: the same; the U-Net of DDPM: right and bottom"
    matters: "yes, for weights trained with one or the other: pixels shift by one"
    test: test_outputs_and_gradients_are_those_of_diffusers
  - what: the number of heads
    paper: "table 15: eight for texts, one in the other models with cross-attention"
    ours: "two in our runs; eight at every resolution with the sizes of Stable Diffusion 1"
    others: "diffusers: the same, where `attention_head_dim` counts heads"
    matters: "yes, for published weights"
    test: test_a_folder_is_read_and_written_in_the_layout_of_the_hub
mistakes:
  - what: padding at the right and the bottom, as the U-Net of DDPM does
    mutant: padded on two sides
    caught: test_outputs_and_gradients_are_those_of_diffusers
  - what: halves of the gate exchanged
    mutant: gate and value exchanged
    caught: test_outputs_and_gradients_are_those_of_diffusers
worked:
  - at: waves
    told: >-
      Six waves at time 1, of which weights count as 0, and at time 101. The cosines come first.
    code: |-
      waves(torch.tensor([1, 101]), 6)
exercises: [waves, GatedFeedForward.forward, TextBlock.forward]
changes: {from: diffusion/unet}
---

# The U-Net of latent diffusion

The [U-Net](../unet.py) of DDPM knows an image and a time. To draw what a text says, it has to read
the text, and what it needs from it differs from place to place: where a circle's edge runs, how
large it is; in its middle, which colour. *Cross-attention* is made for that. Each pixel asks, and
the tokens of the text answer, as words of a translation ask the sentence that they translate.

So the attention between pixels becomes a small [Transformer](../../transformers/transformer.py)
block. Its first sublayer is that attention, its second attends to the text, its third is a network
for each pixel. (The paper, in appendix E.2.1, has the network second; its code has this order.) It
follows every residual block at some resolutions, in Stable Diffusion all but the lowest, and
between the two blocks of the middle.

The text's states come from a Transformer $\tau_\theta$ without a mask, which learns along with the
U-Net (section 3.3). Stable Diffusion takes [CLIP's](text_encoder.py) instead, as it is, with its
mask. Here $\tau_\theta$ learns along, but has CLIP's mask: a letter's state knows only the letters
before it. The U-Net learns to draw digits, and the texts are their names, letter by letter.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | images in a batch | `T` | tokens of a text |
| `K` | channels of an image | `D` | features of a text's token |
| `H`, `W` | height and width | `N` | pixels at a resolution |
| `A` | channels of a block's input | `Z` | channels of its output |
| `E` | features of the time | `M` | inner width of a network |
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, Share, UserError, main
from papers.common.data.grids import enlarged, grid
from papers.common.judging import in_batches
from papers.common.names import Names
from papers.common.published import Settings, fill, save, settings, tensors
from papers.diffusion import ddim, unet
from papers.diffusion.ddpm import Diffusion, denoising_loss, follow, loss_weights, pictures
from papers.diffusion.frechet import classifier, frechet
from papers.diffusion.latent import text_encoder
from papers.diffusion.latent.text_encoder import TextEncoder
from papers.diffusion.unet import FILE, Double, Down, Up, silent
from papers.transformers.attention import MultiHeadAttention


def waves(t: Tensor, width: int) -> Tensor:
    r"""
    ## The time

    [Waves](../unet.py#the-time) of geometric rates, as before, with two differences that published
    weights insist on: cosines come first, and the rates would reach $1/10000$ only with the next.
    Times count from 0 within, as there.
    """
    rates = torch.exp(-math.log(10_000) * torch.arange(width // 2, device=t.device) / (width // 2))
    angles = (t - 1).float()[:, None] * rates
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class CrossAttention(MultiHeadAttention):
    r"""
    ## Asking the text

    [Attention](../../transformers/attention.py) in which queries come from pixels, and keys and
    values from the tokens of the text. Its states have a width of their own, so the projections of
    keys and values are not square:

    $$
    \begin{aligned}
    Q &= \varphi_i(z_t)\, W_Q, \qquad K = \tau_\theta(y)\, W_K, \qquad V = \tau_\theta(y)\, W_V \\
    &\operatorname{Attention}(Q, K, V) = \operatorname{softmax}\big(Q K^\top / \sqrt{d}\big)\, V.
    \end{aligned}
    $$

    Here $\varphi_i(z_t)$ are the pixels as the $i$-th such layer gets them, a row for each, and $d$
    is the width of a head. Where keys and values come from the pixels, too, the same class is the
    attention between them. Only the last projection has a bias.
    """

    def __init__(self, width: int, heads: int, told: int) -> None:
        super().__init__(width, heads)
        self.key, self.value = (
            nn.Linear(told, width, bias=False),
            nn.Linear(told, width, bias=False),
        )
        self.out = nn.Linear(width, width)


class GatedFeedForward(nn.Module):
    r"""
    ## A gated network

    [GEGLU](../../activations/glu_variants.py): half of the first layer's outputs decides how much
    of the other half passes. In published weights both halves are one matrix, the gate last.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(width, 8 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.up(x).chunk(2, dim=-1)  # (B, N, M), (B, N, M)
        return self.down(value * F.gelu(gate))  # (B, N, Z)


class TextBlock(nn.Module):
    r"""
    ## Three sublayers

    Those of a [decoder's layer](../../transformers/transformer.py#a-layer-of-the-decoder), without
    its mask and with the norms at their inputs.
    """

    def __init__(self, width: int, heads: int, told: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), CrossAttention(width, heads, width)
        self.norm2, self.cross = nn.LayerNorm(width), CrossAttention(width, heads, told)
        self.norm3, self.feed_forward = nn.LayerNorm(width), GatedFeedForward(width)

    def forward(
        self,
        x: Tensor,  # (B, N, Z)
        text: Tensor,  # (B, T, D)
    ) -> Tensor:
        x = x + self.attention(self.norm1(x))  # (B, N, Z)
        x = x + self.cross(self.norm2(x), text)  # (B, N, Z)
        return x + self.feed_forward(self.norm3(x))  # (B, N, Z)


class Reader(nn.Module):
    r"""
    ## From pixels to a sequence

    A norm and a linear layer for each pixel before, another behind, and all of it beside a
    shortcut.
    """

    def __init__(self, width: int, heads: int, told: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, width, eps=1e-6)
        self.enter, self.leave = nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1)
        self.blocks = nn.ModuleList([TextBlock(width, heads, told)])
        silent(self.leave)

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        pixels = self.enter(self.norm(x)).flatten(2).transpose(1, 2)  # (B, N, Z)
        for block in self.blocks:
            pixels = block(pixels, text)  # (B, N, Z)
        return x + self.leave(pixels.transpose(1, 2).reshape(x.shape))  # (B, Z, H, W)


class Block(unet.Block):
    r"""
    ## A residual block

    The [U-Net's](../unet.py#a-residual-block), with a reader behind it in place of attention
    between pixels, and another epsilon.
    """

    def __init__(
        self, inputs: int, width: int, sizes: Sizes, time: int, groups: int, read: bool
    ) -> None:
        super().__init__(inputs, width, time, groups, 0.0, attend=False)
        self.norm1.eps = self.norm2.eps = 1e-5
        self.reader = Reader(width, sizes.heads, sizes.text, groups) if read else None

    def forward(  # type: ignore[override]
        self,
        x: Tensor,  # (B, A, H, W)
        told: tuple[Tensor, Tensor],
    ) -> Tensor:
        # The text comes with the time, past the levels of the U-Net, which need not know of it.
        time, text = told  # (B, E), (B, T, D)
        h = super().forward(x, time)  # (B, Z, H, W)
        return h if self.reader is None else self.reader(h, text)  # (B, Z, H, W)


class Halve(unet.Halve):
    r"""
    ## Between resolutions

    Here the convolution that [halves](../unet.py#between-resolutions) sees a border on every side.
    """

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (1, 1, 1, 1)))


@dataclass(frozen=True)
class Sizes:
    r"""
    ## Sizes

    What the command line can set, and what a published `config.json` says.
    """

    width: int = 16
    "channels at the highest resolution"
    multipliers: tuple[int, ...] = (1, 2)
    "of the width, one for each resolution"
    reads: tuple[int, ...] = (1,)
    "resolutions at which pixels read, counted from 0, the highest"
    blocks: int = 1
    "residual blocks at each resolution on the way down; one more on the way up"
    heads: int = 2
    "heads of each attention"
    text: int = 32
    "features of a text's token"


# As in Stable Diffusion 1: 860 million parameters.
STABLE = Sizes(320, (1, 2, 4, 4), (0, 1, 2), 2, 8, 768)


class UNet(nn.Module):
    r"""
    ## The network

    The [U-Net's](../unet.py#the-network), which hands the text to every block.
    """

    def __init__(self, sizes: Sizes, channels: int = 4) -> None:
        super().__init__()
        first, E = sizes.width, 4 * sizes.width
        self.sizes, self.groups = sizes, max(1, min(32, first // 4))
        if first % (4 * sizes.heads) or first % self.groups:
            raise UserError(f"--width {first}: give a multiple of 4 times --heads {sizes.heads}")
        widths = [first * multiplier for multiplier in sizes.multipliers]

        def block(inputs: int, width: int, read: bool) -> Block:
            return Block(inputs, width, sizes, E, self.groups, read)

        self.time = nn.Sequential(nn.Linear(first, E), nn.SiLU(), nn.Linear(E, E))
        self.enter = nn.Conv2d(channels, first, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        aside, inputs, lowest = [first], first, len(widths) - 1
        for level, width in enumerate(widths):
            wide = [inputs] + [width] * (sizes.blocks - 1)
            blocks = [block(each, width, level in sizes.reads) for each in wide]
            self.down.append(Down(list(blocks), None if level == lowest else Halve(width)))
            aside += [width] * (sizes.blocks if level == lowest else sizes.blocks + 1)
            inputs = width
        self.middle = nn.ModuleList([block(inputs, inputs, True), block(inputs, inputs, False)])
        for level, width in reversed(list(enumerate(widths))):
            blocks = []
            for _ in range(sizes.blocks + 1):
                blocks.append(block(inputs + aside.pop(), width, level in sizes.reads))
                inputs = width
            self.up.append(Up(list(blocks), Double(width) if level else None))
        self.norm = nn.GroupNorm(self.groups, inputs, eps=1e-5)
        self.leave = nn.Conv2d(inputs, channels, 3, padding=1)
        silent(self.leave)

    def forward(self, x: Tensor, t: Tensor, text: Tensor, told: Tensor | None = None) -> Tensor:
        H, W, halvings = *x.shape[2:], len(self.down) - 1
        if H % 2**halvings or W % 2**halvings:
            raise UserError(f"{H} by {W} pixels cannot be halved {halvings} times: give others")
        time = self.time(waves(t, self.sizes.width).to(x.dtype))  # (B, E)
        time = time if told is None else time + told  # (B, E)
        aside = [self.enter(x)]
        for level in self.down:
            aside += level(aside[-1], (time, text))
        h = aside[-1]
        for block in self.middle:
            h = block(h, (time, text))
        for level in self.up:
            h = level(h, (time, text), aside)
        return self.leave(F.silu(self.norm(h)))  # (B, K, H, W)


Told = Literal["letters", "time"]


class Speller(nn.Module):
    r"""
    ## A text that leads

    The two networks as one, which are trained together on what the U-Net gets wrong (section 3.3,
    eq. 3):

    $$
    L = \mathbb{E}\big[\lVert \epsilon - \epsilon_\theta(z_t, t, \tau_\theta(y)) \rVert_2^2\big].
    $$

    By `letters`, pixels read the states of all tokens. To compare, the state at the end alone is
    added to the `time`, as classes were told to U-Nets before, and pixels read a text of zeros.
    """

    def __init__(self, sizes: Sizes, channels: int, told: Told) -> None:
        super().__init__()
        self.told, D = told, sizes.text
        encoder = text_encoder.Sizes(layers=1, width=D, heads=2, context=7)
        self.reader = TextEncoder(encoder, len(LETTERS))
        self.project = nn.Linear(D, 4 * sizes.width)
        self.unet = UNet(sizes, channels)

    def forward(self, x: Tensor, t: Tensor, text: Tensor) -> Tensor:
        states = self.reader(text)  # (B, T, D)
        if self.told == "letters":
            noise: Tensor = self.unet(x, t, states)  # (B, K, H, W)
            return noise
        read = self.project(self.reader.read(states, text))  # (B, E)
        aside: Tensor = self.unet(x, t, torch.zeros_like(states), read)  # (B, K, H, W)
        return aside


class Led(nn.Module):
    r"""
    With its texts given, it predicts from an image and a time alone, as diffusion wants it.
    """

    def __init__(self, model: nn.Module, text: Tensor) -> None:
        super().__init__()
        self.model, self.text = model, text

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        noise: Tensor = self.model(x, t, self.text)
        return noise


WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LETTERS = ("<start>", *sorted(set("".join(WORDS))), "<end>")


def spelled(labels: Tensor) -> Tensor:
    r"""
    ## Words, letter by letter

    With a start before, and as many ends behind as make all of them equally long.
    """
    end = len(LETTERS) - 1
    rows = [[0, *map(LETTERS.index, word), *[end] * (6 - len(word))] for word in WORDS]
    return torch.tensor(rows, device=labels.device)[labels]  # (B, T)


@dataclass(frozen=True)
class Config(Sizes):
    r"""
    ## Configuration

    The fields before `told` are the network's [sizes](#sizes).
    """

    told: Told = "letters"
    "how the text is told: by its letters, or by its last state beside the time"
    batch: int = 64
    "images in a batch"
    steps: int = 350
    "training steps"
    lr: float = 2e-3
    "learning rate of Adam"
    ema: Share = 0.98
    "decay of the average of the weights, with which samples are drawn"


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    The loop of [DDPM](../ddpm.py#training), with a text beside each image. The optimizer has the
    weights of both networks.
    """
    run = Run(config, options)
    images, labels = pictures("digits")
    split = len(images) * 4 // 5
    batches = run.batches(images[:split], spelled(labels[:split]), size=config.batch)
    diffusion = Diffusion(100)
    weight = loss_weights(diffusion, "simple").to(run.device)
    average = Speller(config, images.shape[1], config.told).to(run.device)
    model = run.prepare(copy.deepcopy(average))
    optimizer = torch.optim.Adam(model.parameters(), config.lr, fused=True)

    for step in run.steps(config.steps, model=model, average=average, optimizer=optimizer):
        x0, text = batches[step]  # (B, K, H, W), (B, T)
        t = torch.randint(1, 101, (config.batch,), generator=run.generator)
        noise = torch.randn(config.batch, *images.shape[1:], generator=run.generator)
        t, noise = (run.share(drawn).to(run.device) for drawn in (t, noise))
        with run.autocast():
            loss = denoising_loss(Led(model, text), diffusion, weight, x0, t, noise)
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer)
        follow(average, model, config.ema)
        run.log(loss=loss)

    return run.finish(**judge(run, diffusion, average.eval(), images, labels, split))


def judge(
    run: Run, diffusion: Diffusion, model: nn.Module, images: Tensor, labels: Tensor, split: int
) -> dict[str, float]:
    r"""
    ## Are they what was spelled?

    As on the page of [DiT](../dit.py#are-they-digits-and-the-right-ones), for 300 words without
    guidance: the Fréchet distance to the training images, and how many samples have the nearest
    mean of features with the digit that was spelled. After these few steps the letters are ahead of
    one vector beside the time, with each of three seeds and in both numbers.
    """
    held_out, asked = images[split:][:300], labels[split:][:300]
    features = classifier(images[:split], labels[:split])
    with torch.no_grad():
        seen, new = features(images[:split]), features(held_out)
    means = torch.stack([seen[labels[:split] == k].mean(0) for k in range(10)])
    times = ddim.spaced(diffusion.timesteps, 20)

    def sample(start: Tensor, text: Tensor) -> Tensor:
        drawn = ddim.sample(Led(model, text), diffusion, start, times, 0.0, run.generator)
        return drawn.clamp(-1, 1)

    def right(found: Tensor) -> float:
        return (torch.cdist(found, means).argmin(1) == asked).float().mean().item()

    start = torch.randn(held_out.shape, generator=run.generator)
    drawn = in_batches(run, "sample", sample, start, spelled(asked))
    with torch.no_grad():
        found = features(drawn)
    rows = [(asked == k).nonzero()[:4, 0] for k in range(10)]
    shown = torch.stack([row[i % len(row)] for i in range(4) for row in rows if len(row)])
    run.show("samples", grid(enlarged((drawn[shown] + 1) / 2), columns=len(shown) // 4))
    return {
        "frechet": frechet(found, seen).item(),
        "floor": frechet(new, seen).item(),
        "accuracy": right(found),
        "accuracy_floor": right(new),
    }


# ## Published weights
#
# The hub's names and ours. There a level has residual blocks and readers side by side, here the
# reader is within the block.
SUBLAYERS = {
    "norm1": "norm1",
    "norm2": "norm2",
    "norm3": "norm3",
    "attn1.to_q": "attention.query",
    "attn1.to_k": "attention.key",
    "attn1.to_v": "attention.value",
    "attn1.to_out.0": "attention.out",
    "attn2.to_q": "cross.query",
    "attn2.to_k": "cross.key",
    "attn2.to_v": "cross.value",
    "attn2.to_out.0": "cross.out",
    "ff.net.0.proj": "feed_forward.up",
    "ff.net.2": "feed_forward.down",
}
BLOCK = {
    "resnets.*.norm1": "norm1",
    "resnets.*.conv1": "conv1",
    "resnets.*.time_emb_proj": "time",
    "resnets.*.norm2": "norm2",
    "resnets.*.conv2": "conv2",
    "resnets.*.conv_shortcut": "shortcut",
    "attentions.*.norm": "reader.norm",
    "attentions.*.proj_in": "reader.enter",
    "attentions.*.proj_out": "reader.leave",
} | {
    f"attentions.*.transformer_blocks.0.{theirs}": f"reader.blocks.0.{ours}"
    for theirs, ours in SUBLAYERS.items()
}
NAMES = Names(
    {
        f"{a}.{theirs}": f"{b}.*.{ours}"
        for a, b in unet.LEVELS.items()
        for theirs, ours in BLOCK.items()
    }
    | {
        "down_blocks.*.downsamplers.0": "down.*.resize",
        "up_blocks.*.upsamplers.0": "up.*.resize",
        "time_embedding.linear_1": "time.0",
        "time_embedding.linear_2": "time.2",
        "conv_in": "enter",
        "conv_norm_out": "norm",
        "conv_out": "leave",
    }
)


def refuse_others(told: Settings) -> None:
    r"""
    What else a `config.json` says must be what this network does.
    """
    kinds = told["down_block_types"]
    if {*kinds} - {"DownBlock2D", "CrossAttnDownBlock2D"}:
        told.differs("down_block_types")
    told.requires(
        act_fn="silu",
        center_input_sample=False,
        downsample_padding=1,
        flip_sin_to_cos=True,
        freq_shift=0,
        mid_block_scale_factor=1,
        norm_eps=1e-5,
        out_channels=told["in_channels"],
        up_block_types=[kind.replace("Down", "Up") for kind in reversed(kinds)],
    )
    told.presumes(
        mid_block_type="UNetMidBlock2DCrossAttn",
        transformer_layers_per_block=1,
        resnet_time_scale_shift="default",
        resnet_out_scale_factor=1.0,
        time_embedding_type="positional",
        attention_type="default",
        conv_in_kernel=3,
        conv_out_kernel=3,
        dropout=0.0,
    )
    no = ("use_linear_projection", "only_cross_attention", "dual_cross_attention")
    told.presumes(**dict.fromkeys((*no, "class_embeddings_concat", "resnet_skip_time_act"), False))


def load_pretrained(folder: str | Path) -> UNet:
    r"""
    Reads the folder `unet` of a Stable Diffusion 1. Raises `UserError` when it holds no such model.
    """
    told = settings(folder, "UNet2DConditionModel")
    refuse_others(told)
    widths, kinds = told.counts("block_out_channels"), told["down_block_types"]
    if any(width % widths[0] for width in widths):
        told.differs("block_out_channels")
    told.requires(norm_num_groups=max(1, min(32, widths[0] // 4)))
    # It counts heads, in spite of its name.
    sizes = Sizes(
        width=widths[0],
        multipliers=tuple(width // widths[0] for width in widths),
        reads=tuple(i for i, kind in enumerate(kinds) if kind.startswith("Cross")),
        blocks=told.count("layers_per_block"),
        heads=told.count("attention_head_dim"),
        text=told.count("cross_attention_dim"),
    )
    channels = told.count("in_channels")
    # How large latents were in training, where to compute in 32 bits, and a part that is not there.
    told.ignores("sample_size", "upcast_attention", "addition_embed_type_num_heads")
    with told.blueprint():
        model = UNet(sizes, channels)
    return fill(model, tensors(folder, NAMES.ours, FILE), folder, NAMES.theirs)


def save_pretrained(model: UNet, folder: str | Path) -> None:
    r"""
    ### Writing them

    Writes such a folder, which diffusers reads.
    """
    sizes = model.sizes
    reads = [level in sizes.reads for level in range(len(sizes.multipliers))]
    down = ["CrossAttnDownBlock2D" if each else "DownBlock2D" for each in reads]
    told = {
        "_class_name": "UNet2DConditionModel",
        "in_channels": model.enter.in_channels,
        "out_channels": model.enter.in_channels,
        "block_out_channels": [sizes.width * multiplier for multiplier in sizes.multipliers],
        "layers_per_block": sizes.blocks,
        "down_block_types": down,
        "up_block_types": [kind.replace("Down", "Up") for kind in reversed(down)],
        "attention_head_dim": sizes.heads,
        "cross_attention_dim": sizes.text,
        "norm_num_groups": model.groups,
        "norm_eps": 1e-5,
        "act_fn": "silu",
        "center_input_sample": False,
        "downsample_padding": 1,
        "flip_sin_to_cos": True,
        "freq_shift": 0,
        "mid_block_scale_factor": 1,
    }
    weights = {NAMES.theirs(name): weight for name, weight in model.state_dict().items()}
    save(folder, told, weights, FILE)


# ## What changed since
#
# - **More blocks to read.** Stable Diffusion XL (Podell 2023,
#   [arXiv](https://arxiv.org/abs/2307.01952)) has up to ten of them in a row at low resolutions,
#   and two text encoders.
# - **No convolutions.** A [Transformer](../dit.py) on patches took the U-Net's place, and with text
#   it attends to image and text at once.
# - **Editing by attention.** Which word a pixel reads is to be seen in the weights. Holding them
#   still while a word changes edits an image (Hertz 2022,
#   [arXiv](https://arxiv.org/abs/2208.01626)).

if __name__ == "__main__":
    main(train)
