r"""
---
title: The U-Net of diffusion
summary: A network whose output is an image, made at several resolutions at once.
paper: Denoising Diffusion Probabilistic Models
authors: [Jonathan Ho, Ajay Jain, Pieter Abbeel]
year: 2020
arxiv: "2006.11239"
acronyms: [U-Net]
needs: [transformers/attention, normalization/group_norm]
equals:
  what: diffusers.UNet2DModel
  within: 1e-7
  test: test_unet_and_its_gradients_are_those_of_diffusers
notation:
  '\epsilon_\theta': UNet
  'x_t': x
  't': t
figure:
  file: figures/unet.svg
  alt: >-
    A U. On the left three blocks lead down to ever smaller maps, at the bottom stands attention
    between two blocks, and on the right three blocks lead up again. Between each pair a thick
    line goes straight across. Below, a block from inside: norm, convolution, plus the time,
    norm, convolution, and past all of them a shortcut.
  caption: >-
    What is put `aside` on the way down goes across to the level of the same resolution. So the
    way up sees the whole image from below and every detail from the side.
deviations:
  - what: the border of a convolution that halves
    paper: does not say
    ours: one pixel at the right and the bottom
    others: "the authors' code: the same; torch with padding=1: one on every side"
    matters: "yes, for weights trained with one or the other: pixels shift by one"
    test: test_halving_looks_right_and_down_as_in_tensorflow
  - what: the waves of the time
    paper: those of the Transformer
    ours: first all sines, then all cosines, down to exactly 1/10000
    others: "the authors' code: the same; diffusers: by default cosines first"
    matters: "yes, for published weights"
    test: test_embedding_is_sines_then_cosines_from_one_to_a_ten_thousandth
  - what: the first weights
    paper: does not say
    ours: PyTorch's; zeros at the end of each branch and of the network
    others: "the authors' code: uniform by fan-in and fan-out, there nearly zero; diffusers:
      PyTorch's everywhere"
    matters: "not for weights that are loaded; for training, not compared"
    test: test_network_starts_by_predicting_zero
mistakes:
  - what: counting times from 1
    mutant: times counted from 1
    caught: test_embedding_is_sines_then_cosines_from_one_to_a_ten_thousandth
  - what: padding at the left and the top
    mutant: padded on the other side
    caught: test_unet_and_its_gradients_are_those_of_diffusers
  - what: taking what was put aside first
    mutant: the oldest is taken on the way up
    caught: test_unet_and_its_gradients_are_those_of_diffusers
exercises: [embedding, Up.forward]
---

# The U-Net of diffusion

The network of a [diffusion model](ddpm.py) must answer with an image as large as its input: the
noise in each pixel. What is noise depends on what the image shows, which is seen from afar, and on
where an edge runs, which is seen from near. A U-Net looks from all distances. It works through the
image at several resolutions, each half the one before, and back up again. On the way up, each block
is also given what a block at the same resolution made on the way down, so that no detail has to
pass through the coarse middle.

The shape is from the segmentation of cells (Ronneberger and others, 2015,
[arXiv](https://arxiv.org/abs/1505.04597)). We follow appendix B of DDPM, whose network consists of
residual blocks with some attention between them and is told the time. Most diffusion models up to
2022 have one like it.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | images in a batch | `H` | height |
| `C` | channels | `W` | width |
| `A` | channels of a block's input | `Z` | channels of its output |
| `E` | features of the time embedding | | |
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Share, UserError
from papers.common.names import Names
from papers.common.published import Settings, fill, save, settings, tensors
from papers.transformers.attention import MultiHeadAttention


def embedding(t: Tensor, width: int) -> Tensor:
    r"""
    ## The time

    One network serves all $t$, so it must be told the time. That is done as a Transformer is
    told positions (appendix B): by sines and cosines of $t$ at frequencies from $1$ down to
    $1/10000$ in geometric steps. Here times count from 0, as in the authors' code and in
    published weights. The waves are always computed in 32 bits, since in bfloat16 neighbouring
    times would coincide.
    """
    half = width // 2
    places = torch.arange(half, dtype=torch.float32, device=t.device)
    angles = (t - 1).float()[:, None] * torch.exp(-math.log(10_000) * places / (half - 1))
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def silent(layer: nn.Conv2d | nn.Linear) -> None:
    r"""
    ## Starting from nothing

    The last layer of each branch starts at zero (in the authors' code, very near it). So at
    first every block adds nothing to its shortcut, and the whole network predicts zero: the
    mean of all noise.
    """
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


class PixelAttention(nn.Module):
    r"""
    ## Attention between pixels

    A convolution sees a neighbourhood. At one resolution (16×16 on CIFAR-10) and in the middle,
    every pixel also [attends](../transformers/attention.py) to all others, with a single head.
    """

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, width, eps=1e-6)
        self.mix = MultiHeadAttention(width, heads=1, bias=True)
        silent(self.mix.out)

    def forward(self, x: Tensor) -> Tensor:
        B, Z, H, W = x.shape
        pixels = self.norm(x).flatten(2).transpose(1, 2)  # (B, H*W, Z)
        return x + self.mix(pixels).transpose(1, 2).reshape(B, Z, H, W)  # (B, Z, H, W)


class Block(nn.Module):
    r"""
    ## A residual block

    Two 3×3 convolutions beside a shortcut, as in a Wide ResNet, with
    [group](../normalization/group_norm.py) instead of weight normalisation (appendix B). The time
    comes in between the two, as one number for each channel: the block can raise or lower what it
    has found, depending on how noisy the image is.
    """

    def __init__(
        self, inputs: int, width: int, time: int, groups: int, dropout: float, attend: bool
    ) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, inputs, eps=1e-6)
        self.conv1 = nn.Conv2d(inputs, width, 3, padding=1)
        self.time = nn.Linear(time, width)
        self.norm2 = nn.GroupNorm(groups, width, eps=1e-6)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        silent(self.conv2)
        self.shortcut = nn.Conv2d(inputs, width, 1) if inputs != width else nn.Identity()
        self.attention = PixelAttention(width, groups) if attend else nn.Identity()

    def forward(
        self,
        x: Tensor,  # (B, A, H, W)
        time: Tensor,  # (B, E)
    ) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))  # (B, Z, H, W)
        h = h + self.time(F.silu(time))[:, :, None, None]  # (B, Z, H, W)
        h = self.conv2(self.dropout(F.silu(self.norm2(h))))  # (B, Z, H, W)
        return self.attention(self.shortcut(x) + h)  # (B, Z, H, W)


class Halve(nn.Module):
    r"""
    ## Between resolutions

    Down by a convolution of stride two. The authors' framework pads an even size at the right
    and the bottom only, and weights trained with it need the same.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Double(nn.Module):
    r"""
    Up by repeating each pixel, then a convolution. This leaves no checkerboard pattern, as a
    transposed convolution can.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Down(nn.Module):
    r"""
    ## A level on the way down

    Blocks at one resolution, then the way to the next. We return all that they make, because
    all of it is put aside for the way up.
    """

    def __init__(self, blocks: list[Block], resize: Halve | None) -> None:
        super().__init__()
        self.blocks, self.resize = nn.ModuleList(blocks), resize

    def forward(self, h: Tensor, time: Tensor) -> list[Tensor]:
        made = []
        for block in self.blocks:
            h = block(h, time)
            made.append(h)
        return made if self.resize is None else [*made, self.resize(h)]


class Up(nn.Module):
    r"""
    ## A level on the way up

    Each block also reads what was put aside last, and takes it away.
    """

    def __init__(self, blocks: list[Block], resize: Double | None) -> None:
        super().__init__()
        self.blocks, self.resize = nn.ModuleList(blocks), resize

    def forward(self, h: Tensor, time: Tensor, aside: list[Tensor]) -> Tensor:
        for block in self.blocks:
            h = block(torch.cat([h, aside.pop()], dim=1), time)
        return h if self.resize is None else self.resize(h)


@dataclass(frozen=True)
class Sizes:
    r"""
    ## Sizes

    What the command line of [DDPM](ddpm.py) can set, and what a published `config.json` says.
    """

    width: int = 16
    "channels at the highest resolution"
    multipliers: tuple[int, ...] = (1, 2)
    "of the width, one for each resolution"
    attention: tuple[int, ...] = (1,)
    "resolutions with attention, counted from 0, the highest"
    blocks: int = 1
    "residual blocks at each resolution on the way down; one more on the way up"
    dropout: Share = 0.0
    "share of activations dropped"


class UNet(nn.Module):
    r"""
    ## The network

    $\epsilon_\theta(x_t, t)$ has the shape of $x_t$. What is put aside on the way down is a stack.
    The way up takes from it what was put there last, which has just the resolution that it needs.
    """

    def __init__(self, sizes: Sizes, channels: int = 1) -> None:
        super().__init__()
        # Published weights know how large the images were that they were trained on.
        self.sizes, self.side = sizes, 0
        first, E = sizes.width, 4 * sizes.width
        groups = max(1, min(32, first // 4))
        if first % 4 or first % groups:
            raise UserError(f"--width {first}: give a multiple of 4, and from 128 on one of 32")
        if min(sizes.multipliers, default=0) < 1:
            raise UserError("give --multipliers from 1 on, and at least one")
        widths = [first * multiplier for multiplier in sizes.multipliers]

        def block(inputs: int, width: int, attend: bool) -> Block:
            return Block(inputs, width, E, groups, sizes.dropout, attend)

        self.time = nn.Sequential(nn.Linear(first, E), nn.SiLU(), nn.Linear(E, E))
        self.enter = nn.Conv2d(channels, first, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()

        # The channels of everything that is put aside for the way up.
        aside, inputs = [first], first
        for level, width in enumerate(widths):
            wide = [inputs] + [width] * (sizes.blocks - 1)
            blocks = [block(each, width, level in sizes.attention) for each in wide]
            lowest = level == len(widths) - 1
            self.down.append(Down(blocks, None if lowest else Halve(width)))
            aside += [width] * (sizes.blocks if lowest else sizes.blocks + 1)
            inputs = width

        self.middle = nn.ModuleList([block(inputs, inputs, True), block(inputs, inputs, False)])

        for level, width in reversed(list(enumerate(widths))):
            blocks = []
            for _ in range(sizes.blocks + 1):
                blocks.append(block(inputs + aside.pop(), width, level in sizes.attention))
                inputs = width
            self.up.append(Up(blocks, Double(width) if level else None))

        self.norm = nn.GroupNorm(groups, inputs, eps=1e-6)
        self.leave = nn.Conv2d(inputs, channels, 3, padding=1)
        silent(self.leave)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        H, W, halvings = *x.shape[2:], len(self.down) - 1
        if H % 2**halvings or W % 2**halvings:
            why = f"{H} by {W} pixels cannot be halved, which this network does {halvings} times"
            raise UserError(f"{why}: give others, or fewer --multipliers")
        waves = embedding(t, self.enter.out_channels).to(self.enter.weight.dtype)
        time = self.time(waves)  # (B, E)
        aside = [self.enter(x)]
        for level in self.down:
            aside += level(aside[-1], time)
        h = aside[-1]
        for block in self.middle:
            h = block(h, time)
        for level in self.up:
            h = level(h, time, aside)
        return self.leave(F.silu(self.norm(h)))  # (B, C, H, W)


# ## Published weights
#
# The hub's names and ours. There a level has residual blocks and attention side by side, here the
# attention is within the block. Older files have other names for its four projections.
BLOCK = {
    "resnets.*.norm1": "norm1",
    "resnets.*.conv1": "conv1",
    "resnets.*.time_emb_proj": "time",
    "resnets.*.norm2": "norm2",
    "resnets.*.conv2": "conv2",
    "resnets.*.conv_shortcut": "shortcut",
    "attentions.*.group_norm": "attention.norm",
    "attentions.*.query": "attention.mix.query",
    "attentions.*.key": "attention.mix.key",
    "attentions.*.value": "attention.mix.value",
    "attentions.*.proj_attn": "attention.mix.out",
    "attentions.*.to_q": "attention.mix.query",
    "attentions.*.to_k": "attention.mix.key",
    "attentions.*.to_v": "attention.mix.value",
    "attentions.*.to_out.0": "attention.mix.out",
}
LEVELS = {"down_blocks.*": "down.*.blocks", "up_blocks.*": "up.*.blocks", "mid_block": "middle"}
NAMES = Names(
    {f"{a}.{theirs}": f"{b}.*.{ours}" for a, b in LEVELS.items() for theirs, ours in BLOCK.items()}
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
FILE = "diffusion_pytorch_model.safetensors"


def read_sizes(told: Settings) -> Sizes:
    r"""
    The sizes that a `config.json` gives. Whatever else it says must be what this network does.
    """
    widths, kinds = told.counts("block_out_channels"), told["down_block_types"]
    if {*kinds} - {"DownBlock2D", "AttnDownBlock2D"}:
        told.differs("down_block_types")
    if any(width % widths[0] for width in widths):
        told.differs("block_out_channels")
    told.requires(
        flip_sin_to_cos=False,
        freq_shift=1,
        downsample_padding=0,
        norm_eps=1e-6,
        norm_num_groups=min(32, widths[0] // 4),
        out_channels=told["in_channels"],
        up_block_types=[kind.replace("Down", "Up") for kind in reversed(kinds)],
    )
    told.presumes(
        act_fn="silu",
        center_input_sample=False,
        mid_block_scale_factor=1,
        mid_block_type="UNetMidBlock2D",
        add_attention=True,
        time_embedding_type="positional",
        time_embedding_dim=4 * widths[0],
        downsample_type="conv",
        upsample_type="conv",
        resnet_time_scale_shift="default",
    )
    # One head, as wide as the block; a number would make several.
    if told.get("attention_head_dim") is not None:
        told.differs("attention_head_dim")
    # The number of times would matter if the network had learned a vector for each.
    told.ignores("layers_per_block", "dropout", "sample_size", "num_train_timesteps")
    return Sizes(
        width=widths[0],
        multipliers=tuple(width // widths[0] for width in widths),
        attention=tuple(i for i, kind in enumerate(kinds) if kind.startswith("Attn")),
        blocks=told.count("layers_per_block"),
        dropout=told.number("dropout") if "dropout" in told else 0.0,
    )


def load_pretrained(folder: str | Path) -> UNet:
    r"""
    Reads the `config.json` and `diffusion_pytorch_model.safetensors` of a folder. The noise that
    belongs to the weights is read [elsewhere](ddpm.py#published-weights). Raises `UserError` when
    the folder holds no such model.
    """
    told = settings(folder, "UNet2DModel")
    with told.blueprint():
        model = UNet(read_sizes(told), told.count("in_channels"))
        model.side = told.count("sample_size") if told.get("sample_size") else 0
    return fill(model, tensors(folder, NAMES.ours, FILE), folder, NAMES.theirs)


def save_pretrained(model: UNet, folder: str | Path) -> None:
    r"""
    ### Writing them

    Writes such a folder, which diffusers reads.
    """
    sizes, levels = model.sizes, range(len(model.sizes.multipliers))
    down = ["AttnDownBlock2D" if i in sizes.attention else "DownBlock2D" for i in levels]
    told = {
        "_class_name": "UNet2DModel",
        "in_channels": model.enter.in_channels,
        "out_channels": model.enter.in_channels,
        "sample_size": model.side or None,
        "block_out_channels": [sizes.width * multiplier for multiplier in sizes.multipliers],
        "layers_per_block": sizes.blocks,
        "down_block_types": down,
        "up_block_types": [kind.replace("Down", "Up") for kind in reversed(down)],
        "dropout": sizes.dropout,
        "norm_num_groups": model.norm.num_groups,
        "norm_eps": 1e-6,
        "attention_head_dim": None,
        "downsample_padding": 0,
        "flip_sin_to_cos": False,
        "freq_shift": 1,
    }
    weights = {NAMES.theirs(name): weight for name, weight in model.state_dict().items()}
    save(folder, told, weights, FILE)
