r"""
---
title: The autoencoder of latent diffusion
summary: Make an image small enough for diffusion, and large again, without losing what one sees.
paper: High-Resolution Image Synthesis with Latent Diffusion Models
authors: [Robin Rombach, Andreas Blattmann, Dominik Lorenz, Patrick Esser, Björn Ommer]
year: 2021
arxiv: "2112.10752"
acronyms: [LDM, VAE, KL-reg, Stable Diffusion]
needs: [diffusion/unet]
equals:
  what: diffusers.AutoencoderKL
  within: 1e-9
  test: test_outputs_and_gradients_are_those_of_diffusers
notation:
  'x': x
  'z': z
  '\mathcal{E}': encode
  '\mathcal{D}': decode
  '\mu': mean
  '\log \sigma^2': log_variance
figure:
  file: figures/autoencoder.svg
  alt: >-
    An image x of a square leads down into the encoder, and a blurred one, y, comes up out of the
    decoder. The encoder gives a mean and a log_variance, from which z is drawn with noise. The
    decoder makes y of it. A penalty holds mean and log_variance near a standard normal.
  caption: >-
    Latent diffusion works on `z`, with a sixteenth of the pixels. The `y` of this drawing is what
    the decoder has to beat, an image of four by four pixels made large.
metrics:
  error: {name: error of a held-out image, better: lower}
  pooled: {name: "error of an image of 4 by 4 pixels, made large again", better: lower}
  read: {name: images that still show all that their caption says, unit: "%", better: higher}
  divergence: {name: divergence of the latents from a standard normal, unit: nats an image}
  spread: {name: deviation of the latents}
  loss: {name: training loss, better: lower, scale: log}
runs:
  slight penalty: ""
  that of a VAE: --penalty 1
shows:
  images: >-
    held-out images in the first row, and below each what became of it
claims:
  - what: latents keep more than an image of their size does
    paper: "not there: it compares autoencoders with each other"
    run: slight penalty
    metric: error
    against: pooled
    margin: 0.003
  - what: a slight penalty keeps details that the whole one of a VAE costs
    paper: "section 3.1, in words: a slight penalty"
    run: slight penalty
    control: that of a VAE
    metric: error
    margin: 0.002
  - what: photographs of 256 by 256 pixels survive a factor of eight on each side
    paper: "table 8: trained on OpenImages, measured on ImageNet"
    note: "not run here: days on a GPU, and two more networks to judge by; the weights load"
deviations:
  - what: what is minimised
    paper: a perceptual loss and a discriminator, which judges patches
    ours: the squared error
    others: "the authors' code: the absolute error, beside the two"
    matters: "for photographs, which the squared error blurs; not compared"
    test: test_the_loss_by_hand
  - what: the weight of the penalty
    paper: "slight (section 3.1), about 1e-6 (appendix G)"
    ours: 1e-6, of sums over an image
    others: "the authors' configurations: the same"
    matters: "yes: with 1 it is a VAE"
    test: test_the_loss_by_hand
  - what: the first weights
    paper: not given
    ours: PyTorch's, zeros at the end of each branch
    others: "diffusers: PyTorch's"
    matters: "not for weights that are loaded; for training, not compared"
    test: test_blocks_start_as_their_shortcut
  - what: the border of a convolution that halves
    paper: not given
    ours: one pixel at the right and the bottom, as in the U-Net
    others: "the authors' code and diffusers: the same"
    matters: "yes: with one on every side pixels shift"
    test: test_outputs_and_gradients_are_those_of_diffusers
mistakes:
  - what: taking the log of the variance for that of the deviation
    mutant: deviation is the variance
    caught: test_draws_have_the_mean_and_the_variance
  - what: the mean and the variance exchanged
    mutant: variance before mean
    caught: test_outputs_and_gradients_are_those_of_diffusers
worked:
  - at: divergence
    told: >-
      A latent image of one number. A standard normal costs nothing, a mean of 2 costs 2 nats, and
      a variance of a tenth costs about 0.7.
    code: |-
      zero = torch.zeros(1, 1, 1, 1)
      divergence(zero, zero)
      divergence(zero + 2, zero)
      divergence(zero, zero + torch.tensor(0.1).log())
exercises: [draw, divergence, Block.forward]
---

# The autoencoder of latent diffusion

Most bits of an image are in details that nobody looks at, and a [diffusion model](../ddpm.py) on
pixels spends most of its time on them, at each of its steps. *Latent* diffusion has two stages. An
autoencoder first makes the image small: an encoder $\mathcal{E}$ with a few channels as its output,
a decoder $\mathcal{D}$ that makes an image of them. It is trained once. Diffusion then learns the
small images, which cost a fraction.

Any autoencoder would do if diffusion could learn every latent space. It learns best what is roughly
normal and smooth. So the encoder answers with a mean and a variance, as in a VAE, and a *slight*
penalty keeps them from running away. A VAE's penalty is a million times as strong, since its
latents have to be a standard normal. Here they need not be, because diffusion finds out what they
are.

This is the autoencoder of Stable Diffusion (section 3.1, KL-reg), with half the pixels on a side
after each level but the last. What the paper minimises is written out in its appendix G.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | images in a batch | `H`, `W` | height and width |
| `K` | channels of an image | `A` | channels of a block's input |
| `L` | channels of a latent image | `Z` | channels of its output |
| `P`, `Q` | height and width of latents | | |
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, UserError, main
from papers.common.data import reading, shapes
from papers.common.data.grids import enlarged, grid
from papers.common.names import Names
from papers.common.published import fill, save, settings, tensors
from papers.diffusion.unet import FILE, Double, Halve, PixelAttention, silent


class Block(nn.Module):
    r"""
    ## A residual block

    The [U-Net's](../unet.py#a-residual-block) without a time: two convolutions, each behind a norm,
    beside a shortcut. It starts as its shortcut.
    """

    def __init__(self, inputs: int, width: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, inputs, eps=1e-6)
        self.conv1 = nn.Conv2d(inputs, width, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, width, eps=1e-6)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        silent(self.conv2)
        self.shortcut = nn.Conv2d(inputs, width, 1) if inputs != width else nn.Identity()

    def forward(
        self,
        x: Tensor,  # (B, A, H, W)
    ) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))  # (B, Z, H, W)
        h = self.conv2(F.silu(self.norm2(h)))  # (B, Z, H, W)
        return self.shortcut(x) + h  # (B, Z, H, W)


class Level(nn.Module):
    r"""
    ## A level

    Blocks at one resolution, then the way to the next, [half](../unet.py#between-resolutions) or
    double. Nothing goes past the middle as in a U-Net, or the decoder would copy from the encoder,
    and an image could not be made from latents alone.
    """

    def __init__(
        self, inputs: int, width: int, blocks: int, groups: int, resize: nn.Module
    ) -> None:
        super().__init__()
        wide = [inputs] + [width] * (blocks - 1)
        self.blocks = nn.Sequential(*(Block(each, width, groups) for each in wide))
        self.resize = resize

    def forward(self, h: Tensor) -> Tensor:
        resized: Tensor = self.resize(self.blocks(h))
        return resized


def middle(width: int, groups: int) -> nn.Sequential:
    r"""
    At the lowest resolution every pixel also [attends](../unet.py#attention-between-pixels) to all
    others.
    """
    attention = PixelAttention(width, groups)
    return nn.Sequential(Block(width, width, groups), attention, Block(width, width, groups))


@dataclass(frozen=True)
class Sizes:
    r"""
    ## Sizes

    What the command line can set, and what a published `config.json` says. Stable Diffusion has
    four levels, so that a pixel of its latents stands for eight by eight.
    """

    widths: tuple[int, ...] = (16, 16, 32)
    "channels at each resolution, from the highest"
    blocks: int = 1
    "residual blocks at each resolution of the encoder; one more in the decoder"
    latents: int = 4
    "channels of a latent image"


# As in Stable Diffusion 1: 83.7 million parameters, for a factor of 8.
STABLE = Sizes(widths=(128, 256, 512, 512), blocks=2)


class Encoder(nn.Module):
    r"""
    ## The encoder

    Down to the latent resolution, with two numbers for each of them at the end.
    """

    def __init__(self, sizes: Sizes, channels: int, groups: int) -> None:
        super().__init__()
        inputs, last = sizes.widths[0], len(sizes.widths) - 1
        self.enter = nn.Conv2d(channels, inputs, 3, padding=1)
        self.levels = nn.Sequential()
        for level, width in enumerate(sizes.widths):
            resize = Halve(width) if level < last else nn.Identity()
            self.levels.append(Level(inputs, width, sizes.blocks, groups, resize))
            inputs = width
        self.middle = middle(inputs, groups)
        self.norm = nn.GroupNorm(groups, inputs, eps=1e-6)
        self.leave = nn.Conv2d(inputs, 2 * sizes.latents, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.middle(self.levels(self.enter(x)))
        return self.leave(F.silu(self.norm(h)))  # (B, 2*L, P, Q)


class Decoder(nn.Module):
    r"""
    ## The decoder

    The same way back, with one more block at each resolution.
    """

    def __init__(self, sizes: Sizes, channels: int, groups: int) -> None:
        super().__init__()
        inputs = sizes.widths[-1]
        self.enter = nn.Conv2d(sizes.latents, inputs, 3, padding=1)
        self.middle = middle(inputs, groups)
        self.levels = nn.Sequential()
        for level, width in reversed(list(enumerate(sizes.widths))):
            resize = Double(width) if level else nn.Identity()
            self.levels.append(Level(inputs, width, sizes.blocks + 1, groups, resize))
            inputs = width
        self.norm = nn.GroupNorm(groups, inputs, eps=1e-6)
        self.leave = nn.Conv2d(inputs, channels, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        h = self.levels(self.middle(self.enter(z)))
        return self.leave(F.silu(self.norm(h)))  # (B, K, H, W)


class Autoencoder(nn.Module):
    r"""
    ## The autoencoder

    $\mathcal{E}(x)$ is a normal distribution for each number of $z$. We let the encoder answer with
    the logarithm of its variance, which may be any number. On each side of $z$ there is one more
    convolution, of a single pixel.

    Nothing makes latents as large as the noise that diffusion adds. So they are divided by their
    deviation before, or the schedule of noise would not fit (section 4.3.2, appendix G). One over
    it is kept with the weights, as `scale`; in Stable Diffusion it is 0.18215.
    """

    def __init__(self, sizes: Sizes, channels: int = 3, scale: float = 1.0) -> None:
        super().__init__()
        first, Z = sizes.widths[0], sizes.latents
        groups = max(1, min(32, first // 4))
        if any(width % groups for width in sizes.widths):
            raise UserError(f"--widths {sizes.widths}: give multiples of {groups}, the groups")
        self.sizes, self.channels, self.scale, self.groups = sizes, channels, scale, groups
        self.encoder = Encoder(sizes, channels, groups)
        self.decoder = Decoder(sizes, channels, groups)
        self.leave, self.enter = nn.Conv2d(2 * Z, 2 * Z, 1), nn.Conv2d(Z, Z, 1)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        H, W, halvings = *x.shape[2:], len(self.sizes.widths) - 1
        if H % 2**halvings or W % 2**halvings:
            raise UserError(f"{H} by {W} pixels cannot be halved {halvings} times: give others")
        mean, log_variance = self.leave(self.encoder(x)).chunk(2, dim=1)
        # A variance can't overflow then, whatever an image looks like.
        log_variance = log_variance.clamp(-30, 20)
        return mean, log_variance  # (B, L, P, Q), (B, L, P, Q)

    def decode(self, z: Tensor) -> Tensor:
        image: Tensor = self.decoder(self.enter(z))  # (B, K, H, W)
        return image

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_variance = self.encode(x)
        y = self.decode(draw(mean, log_variance, noise))  # (B, K, H, W)
        return y, mean, log_variance


def draw(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    r"""
    ## A draw from it

    With noise $\epsilon$ that was drawn elsewhere, a draw is a function of mean and variance, which
    has a gradient:

    $$
    z = \mu + \sigma\, \epsilon, \qquad \epsilon \sim \mathcal{N}(0, I).
    $$
    """
    return mean + (log_variance / 2).exp() * noise  # (B, L, P, Q)


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    r"""
    ## The penalty

    How far the normal distribution of each latent is from the standard one, in closed form, summed
    over an image:

    $$
    D_{\text{KL}} = \tfrac{1}{2} \sum \big(\mu^2 + \sigma^2 - 1 - \log \sigma^2\big).
    $$
    """
    terms = mean**2 + log_variance.exp() - 1 - log_variance  # (B, L, P, Q)
    return terms.sum(dim=(1, 2, 3)) / 2  # (B,)


@dataclass(frozen=True)
class Config(Sizes):
    r"""
    ## Configuration

    The default makes [drawn shapes](../../common/data/shapes.py) of 16 by 16 pixels to latents of 4
    by 4, from 768 numbers to 64. The fields before `penalty` are the network's [sizes](#sizes).
    """

    penalty: float = 1e-6
    "weight of the divergence; 1 makes it a VAE"
    batch: int = 16
    "images in a batch"
    steps: int = 500
    "training steps"
    lr: float = 2e-3
    "learning rate of Adam, which falls to a twentieth"


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    The squared error, summed over an image, and the penalty. Of all images that an encoding could
    be, the squared error chooses their mean, which is blurred, and our shapes lose their corners,
    too. The paper compares features of a classifier instead (a perceptual loss), and has a
    discriminator tell patches of real images from decoded ones.
    """
    run = Run(config, options)
    batches = run.batches(2 * shapes().images - 1, size=config.batch)
    network = Autoencoder(config)
    model = run.prepare(network)
    optimizer = torch.optim.Adam(model.parameters(), config.lr, fused=True)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, config.steps)

    for step in run.steps(config.steps, model=model, optimizer=optimizer, schedule=schedule):
        (x,) = batches[step]  # (B, K, H, H)
        side = x.shape[-1] // 2 ** (len(config.widths) - 1)
        noise = torch.randn(config.batch, config.latents, side, side, generator=run.generator)
        with run.autocast():
            y, mean, log_variance = model(x, run.share(noise).to(run.device))
            error = (y - x).square().sum(dim=(1, 2, 3))  # (B,)
            loss = (error + config.penalty * divergence(mean, log_variance)).mean()
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer)
        schedule.step()
        run.log(loss=loss)

    return run.finish(**judge(run, network.eval()))


@torch.no_grad()
def judge(run: Run, model: Autoencoder) -> dict[str, float]:
    r"""
    ## What is left of an image?

    On held-out images, with the mean as their latents: the squared error of pixels from 0 to 1; the
    same of a smaller image with as many pixels as the latents, made large again, which is the
    obvious way to compress, although it has three numbers a pixel where latents have four; and
    whether the image can still be [read](../../common/data/shapes.py#reading-an-image), in size,
    colour, kind and place. About a third can, and a tenth with the penalty of a VAE. That is hard
    to pass, since a circle and a square of so few pixels differ by some shades at the corners.
    """
    held_out = shapes(256, seed=1)
    x = (2 * held_out.images - 1).to(run.device)
    mean, log_variance = model.encode(x)
    y = model.decode(mean)
    factor = x.shape[-1] // mean.shape[-1]
    small = F.avg_pool2d(x, factor)
    large = F.interpolate(small, scale_factor=factor, mode="bilinear")
    labels, _ = reading((y + 1) / 2)
    first = torch.cat([x[:12], y[:12]])
    run.show("images", grid(enlarged((first + 1) / 2), columns=12))
    return {
        "error": (y / 2 - x / 2).square().mean().item(),
        "pooled": (large / 2 - x / 2).square().mean().item(),
        "read": (labels == held_out.labels).all(1).float().mean().item(),
        "divergence": divergence(mean, log_variance).mean().item(),
        "spread": mean.std().item(),
    }


# ## Published weights
#
# The hub's names and ours. Older files have other names for the projections of the attention.
PARTS = {
    "down_blocks.*.resnets.*.conv_shortcut": "levels.*.blocks.*.shortcut",
    "down_blocks.*.resnets.*": "levels.*.blocks.*",
    "down_blocks.*.downsamplers.0": "levels.*.resize",
    "mid_block.resnets.0": "middle.0",
    "mid_block.resnets.1": "middle.2",
    "mid_block.attentions.0.group_norm": "middle.1.norm",
    "mid_block.attentions.0.query": "middle.1.mix.query",
    "mid_block.attentions.0.key": "middle.1.mix.key",
    "mid_block.attentions.0.value": "middle.1.mix.value",
    "mid_block.attentions.0.proj_attn": "middle.1.mix.out",
    "mid_block.attentions.0.to_q": "middle.1.mix.query",
    "mid_block.attentions.0.to_k": "middle.1.mix.key",
    "mid_block.attentions.0.to_v": "middle.1.mix.value",
    "mid_block.attentions.0.to_out.0": "middle.1.mix.out",
    "conv_in": "enter",
    "conv_norm_out": "norm",
    "conv_out": "leave",
}
NAMES = Names(
    {f"encoder.{theirs}": f"encoder.{ours}" for theirs, ours in PARTS.items()}
    | {
        f"decoder.{theirs.replace('down', 'up', 2)}": f"decoder.{ours}"
        for theirs, ours in PARTS.items()
    }
    | {"quant_conv": "leave", "post_quant_conv": "enter"}
)


def load_pretrained(folder: str | Path) -> Autoencoder:
    r"""
    Reads the folder `vae` of a Stable Diffusion, or one of an autoencoder alone. Raises `UserError`
    when it holds no such model.
    """
    told = settings(folder, "AutoencoderKL")
    widths, channels = told.counts("block_out_channels"), told.count("in_channels")
    told.requires(
        act_fn="silu",
        out_channels=channels,
        norm_num_groups=max(1, min(32, widths[0] // 4)),
        down_block_types=["DownEncoderBlock2D"] * len(widths),
        up_block_types=["UpDecoderBlock2D"] * len(widths),
    )
    told.presumes(use_quant_conv=True, use_post_quant_conv=True, mid_block_add_attention=True)
    scale = told.number("scaling_factor") if "scaling_factor" in told else 0.18215
    sizes = Sizes(widths, told.count("layers_per_block"), told.count("latent_channels"))
    # How large images were in training, and where to compute in 32 bits.
    told.ignores("sample_size", "force_upcast")
    with told.blueprint():
        model = Autoencoder(sizes, channels, scale)
    weights = tensors(folder, NAMES.ours, FILE)
    for name, weight in weights.items():
        # The oldest files have the projections of the attention as convolutions of one pixel.
        if ".mix." in name and weight.dim() == 4:
            weights[name] = weight[:, :, 0, 0]
    return fill(model, weights, folder, NAMES.theirs)


def save_pretrained(model: Autoencoder, folder: str | Path) -> None:
    r"""
    ### Writing them

    Writes such a folder, which diffusers reads.
    """
    sizes = model.sizes
    told = {
        "_class_name": "AutoencoderKL",
        "in_channels": model.channels,
        "out_channels": model.channels,
        "block_out_channels": list(sizes.widths),
        "layers_per_block": sizes.blocks,
        "latent_channels": sizes.latents,
        "down_block_types": ["DownEncoderBlock2D"] * len(sizes.widths),
        "up_block_types": ["UpDecoderBlock2D"] * len(sizes.widths),
        "norm_num_groups": model.groups,
        "act_fn": "silu",
        "scaling_factor": model.scale,
    }
    weights = {NAMES.theirs(name): weight for name, weight in model.state_dict().items()}
    save(folder, told, weights, FILE)


def reconstruct(weights: Path, image: Path, out: Path | None = None) -> None:
    r"""
    ### An image through them

    `python papers/diffusion/latent/autoencoder.py reconstruct --weights FOLDER --image FILE` writes
    what becomes of an image.
    """
    from PIL import Image

    model = load_pretrained(weights)
    run = Run(Config(), Options(out=out))
    with Image.open(image) as opened:
        levels = np.asarray(opened.convert("RGB" if model.channels == 3 else "L"))
    x = torch.from_numpy(levels.copy()).float().div(127.5).sub(1).view(*levels.shape[:2], -1)
    # What does not divide is cut off at the right and the bottom.
    factor = 2 ** (len(model.sizes.widths) - 1)
    H, W = (side // factor * factor for side in x.shape[:2])
    pixels = x[:H, :W].permute(2, 0, 1)[None].to(run.device)  # (1, K, H, W)
    with torch.no_grad():
        y = model.to(run.device).decode(model.encode(pixels)[0])  # (1, K, H, W)
    run.show("reconstructed", (y[0] + 1) / 2)
    print(run.out / "reconstructed.png")


# ## What changed since
#
# - **More channels.** Four numbers for each 64 pixels lose small faces and letters. Stable
#   Diffusion 3 (Esser 2024, [arXiv](https://arxiv.org/abs/2403.03206)) has sixteen.
# - **Other compressors.** A vector from a codebook for each latent (VQ-reg) is the paper's other
#   way. Latents can also be the features of a network that was trained to recognise images, for
#   which a decoder is learned (RAE, Zheng 2025, [arXiv](https://arxiv.org/abs/2510.11690)).
# - **Smaller still.** A factor of 32 with 32 channels, or of 64 with 128, lets diffusion work on
#   far fewer tokens (DC-AE, Chen 2024, [arXiv](https://arxiv.org/abs/2410.10733)).

if __name__ == "__main__":
    main(train, reconstruct=reconstruct)
