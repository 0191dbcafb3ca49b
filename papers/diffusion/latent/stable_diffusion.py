r"""
---
title: Stable Diffusion
summary: Three networks work as one, to draw from a text, from a drawing, or into an image.
paper: High-Resolution Image Synthesis with Latent Diffusion Models
authors: [Robin Rombach, Andreas Blattmann, Dominik Lorenz, Patrick Esser, Björn Ommer]
year: 2021
arxiv: "2112.10752"
acronyms: [LDM, text to image, img2img, SDEdit, inpainting, RePaint]
needs:
  - diffusion/latent/autoencoder
  - diffusion/latent/text_unet
  - diffusion/guidance
  - diffusion/ddim
equals:
  what: diffusers.StableDiffusionPipeline
  within: 1e-6
  test: test_latents_of_a_text_are_those_of_diffusers
notation:
  '\tau_\theta': reader
  '\epsilon_\theta': unet
  'z_t': z
  't': t
  'y': text
  'm': fresh
  's': strength
figure:
  file: figures/stable_diffusion.svg
  alt: >-
    Three ways from noise to latents, each a row of six stops. From a text, all steps are taken from
    pure noise. From a drawing, the first steps are left out, and the drawing enters with noise.
    Into an image, all steps are taken, and after each of them one half is that of the image.
  caption: >-
    The `stops` of five steps out of a hundred, and below each how much of a triangle the noise of
    its time leaves. To draw it, a network would have to know it.
deviations:
  - what: which sampler
    paper: "DDIM, for texts in 200 steps with all of its noise (eta 1, figure 5)"
    ours: DDIM without noise
    others: "diffusers: the one that the folder names, for Stable Diffusion 1 PNDM"
    matters: "yes, for the image that a seed gives; the schedule of noise is the same"
    test: test_times_are_those_of_diffusers
  - what: the latents of a given image
    paper: "2108.01073: pixels"
    ours: the mean that the encoder gives
    others: "diffusers: a draw around it"
    matters: "hardly: in Stable Diffusion the deviation of a latent is small; not measured"
    test: test_latents_of_an_edit_are_those_of_diffusers
  - what: times where the steps do not divide those of training
    paper: not given
    ours: rounded down
    others: "diffusers, `trailing`: rounded to the nearest; `leading`: as ours"
    matters: "hardly: by one step of training; not measured"
  - what: noise on the way from a drawing
    paper: "2108.01073: fresh noise in each step"
    ours: none, as in all that is drawn here
    matters: "not compared"
  - what: what is known while a part is drawn anew
    paper: "2201.09865: it gets fresh noise at each step, and steps are taken back and repeated"
    ours: it keeps the noise of the start, and nothing is repeated
    others: "diffusers, for a U-Net of four channels: the same as ours; the release has a U-Net that
      is told the mask besides"
    matters: "not compared"
    test: test_latents_of_a_filling_are_those_of_diffusers
mistakes:
  - what: "latents that are decoded without dividing by the scale"
    mutant: decoded without the scale
    caught: test_latents_go_out_as_they_came_in
  - what: a part that is kept without the noise of its time
    mutant: kept without its noise
    caught: test_latents_of_a_filling_are_those_of_diffusers
worked:
  - at: Schedule.stops
    told: >-
      Four steps of a hundred, as our own models take them, and as Stable Diffusion 1 does.
    code: |-
      torch.tensor(Schedule(Diffusion(100)).stops(4))
      torch.tensor(Schedule(Diffusion(100), offset=1, last=1).stops(4))
exercises: [denoised, edited, filled]
---

# Stable Diffusion

The parts have pages of their own. An [autoencoder](autoencoder.py) makes an image small and large
again, a [text encoder](text_encoder.py) makes a state of each word, and a [U-Net](text_unet.py)
takes noise out of small images while it reads these states. Here they are one model, which reads
and writes the folder of a Stable Diffusion 1. What the page shows is how a trained model is used;
on the page of [latent diffusion](latent_diffusion.py) the three are trained together.

Such a model was trained to do one thing: to take a little noise out of latents. Three
uses follow from where one begins. From nothing but noise, it draws what the text says. From a
drawing with some noise, it finishes the drawing. And where it is held to an image in one part,
it makes the rest fit.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | images in a batch | `T` | tokens of a text |
| `K` | channels of an image | `H` | side of an image |
| `L` | channels of latents | `P` | side of latents |
| `S` | steps | | |
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, Share, UserError
from papers.common.data.grids import enlarged, grid
from papers.common.prompts import tokenizer
from papers.common.published import settings, write_settings
from papers.common.settings import parsed
from papers.diffusion import ddim
from papers.diffusion.ddpm import Diffusion, part, published_betas
from papers.diffusion.guidance import guided
from papers.diffusion.latent import autoencoder, text_encoder, text_unet
from papers.diffusion.latent.autoencoder import Autoencoder
from papers.diffusion.latent.text_encoder import TextEncoder
from papers.diffusion.latent.text_unet import UNet

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class LatentDiffusion(nn.Module):
    r"""
    ## Three networks as one

    Latents are multiplied by the autoencoder's `scale` on the way in and divided by it on the way
    out. Between, they have a deviation of about one, as the [schedule of
    noise](../ddpm.py#the-forward-process) wants it. `side` is that of the latents in training.

    What the paper calls $\epsilon_\theta(z_t, t, \tau_\theta(y))$ is the U-Net's answer to latents,
    their time and what the text encoder made of the text $y$.
    """

    def __init__(self, first: Autoencoder, reader: TextEncoder, unet: UNet, side: int) -> None:
        super().__init__()
        self.first, self.reader, self.unet, self.side = first, reader, unet, side

    def encode(self, x: Tensor) -> Tensor:
        """The mean, without its deviation."""
        return self.first.encode(x)[0] * self.first.scale  # (B, L, P, P)

    def image(self, z: Tensor) -> Tensor:
        return self.first.decode(z / self.first.scale).clamp(-1, 1)  # (B, K, H, H)

    def forward(self, z: Tensor, t: Tensor, text: Tensor) -> Tensor:
        noise: Tensor = self.unet(z, t, self.reader(text))  # (B, L, P, P)
        return noise


class Guided(nn.Module):
    r"""
    ## With the caption, and without

    [Guidance](../guidance.py#guidance) for texts: the empty text, a start and nothing but ends,
    stands for no caption. Both are read once, and not at each step.
    """

    def __init__(self, model: LatentDiffusion, text: Tensor, empty: Tensor, weight: float) -> None:
        super().__init__()
        self.unet, self.weight = model.unet, weight
        self.given, self.without = model.reader(text), model.reader(empty.expand_as(text))

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        given: Tensor = self.unet(z, t, self.given)  # (B, L, P, P)
        if not self.weight:
            return given
        return guided(given, self.unet(z, t, self.without), self.weight)  # (B, L, P, P)


@dataclass(frozen=True)
class Schedule:
    r"""
    ## The times of sampling

    From the noisiest down, and after the last one the time where its step leads. Our own models
    begin at $T$ and end at 0. Most published ones begin at the next multiple of $T/S$ below, moved
    by an `offset` (and by one, as they count times from 0). Stable Diffusion 1 ends at 1.
    """

    diffusion: Diffusion
    offset: int | None = None
    last: int = 0

    def stops(self, S: int) -> list[int]:
        T = self.diffusion.timesteps
        times = ddim.spaced(T, S)
        if self.offset is not None:
            times = [min(T, i * (T // S) + self.offset + 1) for i in range(S)]
        return [*reversed(times), self.last]


Merge = Callable[[Tensor, int], Tensor]


@torch.no_grad()
def denoised(
    model: nn.Module,
    diffusion: Diffusion,
    z: Tensor,
    stops: Sequence[int],
    clip: bool = False,
    merge: Merge | None = None,
) -> Tensor:
    r"""
    ## From noise to latents

    [DDIM's steps](../ddim.py#one-step) without noise. Latents have no range to be clipped to, as
    pixels have. After each step `merge` may put something in place of what came out.
    """
    for t, to in itertools.pairwise(stops):
        noise = model(z, torch.full((len(z),), t, device=z.device))  # (B, L, P, P)
        z = ddim.move(diffusion, z, noise, t, to, clip=clip)  # (B, L, P, P)
        z = merge(z, to) if merge else z
    return z


def noised(diffusion: Diffusion, z0: Tensor, t: int, noise: Tensor) -> Tensor:
    return diffusion.noisy(z0, torch.full((len(z0),), t), noise)  # (B, L, P, P)


def edited(
    model: nn.Module,
    diffusion: Diffusion,
    z0: Tensor,
    noise: Tensor,
    stops: Sequence[int],
    strength: float,
) -> Tensor:
    r"""
    ## From a drawing

    SDEdit (Meng 2021, [arXiv](https://arxiv.org/abs/2108.01073)): give the latents of an image the
    noise of a time on the way, and sample from there. What is larger than the noise survives, the
    rest is drawn anew. With a `strength` $s$ the last share $s$ of the steps is taken. At 0 nothing
    happens. At 1 little of the image is left: 8 % in Stable Diffusion 1, where its times begin.
    """
    steps = len(stops) - 1
    left = stops[steps - min(int(steps * strength), steps) :]
    if len(left) == 1:
        return z0
    return denoised(model, diffusion, noised(diffusion, z0, left[0], noise), left)


def filled(
    model: nn.Module,
    diffusion: Diffusion,
    z0: Tensor,
    fresh: Tensor,
    noise: Tensor,
    stops: Sequence[int],
) -> Tensor:
    r"""
    ## Into an image

    After each step, whatever is not `fresh` is replaced by the image with the noise of that time
    (RePaint, Lugmayr 2022, [arXiv](https://arxiv.org/abs/2201.09865)):

    $$
    z_{t-1} = m \odot z_{t-1}^\text{drawn} + (1 - m) \odot z_{t-1}^\text{known}.
    $$

    Here $m$ is 1 where the image is drawn anew. In RePaint it is 1 where the image is known (eq.
    8). The network sees both at once at its next step, and makes the part that it draws fit.
    RePaint also goes back a few steps, again and again, so that the two have more time to agree. We
    take each step once, with one noise for all times.
    """

    def merge(z: Tensor, to: int) -> Tensor:
        known = z0 if to == stops[-1] else noised(diffusion, z0, to, noise)  # (B, L, P, P)
        return torch.where(fresh, z, known)  # (B, L, P, P)

    return denoised(model, diffusion, noise, stops, merge=merge)


def texts(words: Tokenizer, said: Sequence[str], reader: TextEncoder) -> Tensor:
    r"""
    Each is filled up with ends to the length that the encoder reads. Raises `UserError` for a text
    with a word that it doesn't know.
    """
    T, end = reader.sizes.context, reader.tokens.num_embeddings - 1
    rows = []
    for text in said:
        try:
            ids = words.encode(text).ids
        # The library has no class for it.
        except Exception as error:
            raise UserError(f"{text!r} has a word that the model never read: {error}") from None
        rows.append([*ids[: T - 1], *[end] * max(1, T - len(ids))])
    return torch.tensor(rows)  # (B, T)


# ## Published weights
#
# A folder for each part, and one file that names them.
PARTS = {
    "vae": ["diffusers", "AutoencoderKL"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
    "scheduler": ["diffusers", "DDIMScheduler"],
}
SCHEDULER = "scheduler_config.json"
PIPELINES = tuple(f"StableDiffusion{kind}Pipeline" for kind in ("", "Img2Img", "Inpaint"))


def load_pretrained(folder: str | Path) -> tuple[LatentDiffusion, Schedule, Tokenizer]:
    r"""
    Reads the folder of a Stable Diffusion 1. Whether it names DDIM or PNDM, we take DDIM's steps at
    the times that it says. Raises `UserError` for another sampler, for a folder that holds no such
    model, and for one that predicts something other than the noise.
    """
    settings(folder, PIPELINES[0], "model_index.json", also=PIPELINES[1:])
    first = autoencoder.load_pretrained(part(folder, "vae"))
    reader = text_encoder.load_pretrained(part(folder, "text_encoder"))
    unet = text_unet.load_pretrained(part(folder, "unet"))
    if (first.sizes.latents, reader.sizes.width) != (unet.enter.in_channels, unet.sizes.text):
        raise UserError(f"{folder}: its parts do not fit each other: choose other weights")
    told = settings(part(folder, "scheduler"), "DDIMScheduler", SCHEDULER, ("PNDMScheduler",))
    told.presumes(prediction_type="epsilon", clip_sample=False, thresholding=False)
    told.presumes(rescale_betas_zero_snr=False)
    beta = published_betas(told)
    spacing = told.get("timestep_spacing", "leading")
    if spacing not in ("leading", "trailing"):
        told.differs("timestep_spacing")
    offset = int(told.get("steps_offset", 0)) if spacing == "leading" else None
    last = 0 if told.get("set_alpha_to_one", told.kind == "DDIMScheduler") else 1
    schedule = Schedule(Diffusion(len(beta), beta=beta), offset, last)
    side = parsed(part(folder, "unet") / "config.json").get("sample_size") or 64
    return LatentDiffusion(first, reader, unet, side), schedule, words_of(part(folder, "tokenizer"))


def words_of(folder: Path) -> Tokenizer:
    r"""
    Older folders have the vocabulary of CLIP's tokenizer and its merges, without the rest, which is
    the same for all: lower case, and words cut at apostrophes, digits and signs.
    """
    if (folder / "tokenizer.json").exists() or not (folder / "merges.txt").exists():
        return tokenizer(folder)
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    start, end = "<|startoftext|>", "<|endoftext|>"
    pieces = models.BPE.from_file(
        *(str(folder / name) for name in ("vocab.json", "merges.txt")),
        unk_token=end,
        continuing_subword_prefix="",
        end_of_word_suffix="</w>",
    )
    words = Tokenizer(pieces)
    spaces = normalizers.Replace(Regex(r"\s+"), " ")
    words.normalizer = normalizers.Sequence([normalizers.NFC(), spaces, normalizers.Lowercase()])
    cut = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    words.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(cut, "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    places = [(each, words.token_to_id(each)) for each in (start, end)]
    words.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", special_tokens=places
    )
    return words


def save_pretrained(
    model: LatentDiffusion, schedule: Schedule, words: Tokenizer, folder: str | Path
) -> None:
    r"""
    ### Writing them

    Writes such a folder, from which diffusers makes a `StableDiffusionPipeline`.
    """
    folder = Path(folder)
    autoencoder.save_pretrained(model.first, folder / "vae")
    text_encoder.save_pretrained(model.reader, folder / "text_encoder")
    text_unet.save_pretrained(model.unet, folder / "unet")
    path = folder / "unet" / "config.json"
    write_settings(path, parsed(path) | {"sample_size": model.side})
    end = words.id_to_token(model.reader.tokens.num_embeddings - 1)
    named = {
        "tokenizer_class": PARTS["tokenizer"][1],
        "model_max_length": model.reader.sizes.context,
        "pad_token": end,
        "eos_token": end,
    }
    write_settings(folder / "tokenizer" / "tokenizer_config.json", named)
    words.save(str(folder / "tokenizer" / "tokenizer.json"))
    told = {
        "_class_name": PARTS["scheduler"][1],
        "num_train_timesteps": schedule.diffusion.timesteps,
        "trained_betas": schedule.diffusion.beta[1:].tolist(),
        "timestep_spacing": "trailing" if schedule.offset is None else "leading",
        "steps_offset": 1 if schedule.offset is None else schedule.offset,
        "set_alpha_to_one": schedule.last == 0,
        "clip_sample": False,
        "prediction_type": "epsilon",
    }
    write_settings(folder / "scheduler" / SCHEDULER, told)
    absent = {"safety_checker": [None, None], "feature_extractor": [None, None]}
    index = {"_class_name": PIPELINES[0], "requires_safety_checker": False}
    write_settings(folder / "model_index.json", index | PARTS | absent)


def opened(path: Path, mode: str, side: int) -> Tensor:
    from PIL import Image

    try:
        with Image.open(path) as image:
            levels = np.asarray(image.convert(mode).resize((side, side)))
    except OSError as error:
        raise UserError(f"{path} cannot be read as an image: {error}") from None
    return torch.from_numpy(levels.copy()).float().view(side, side, -1).permute(2, 0, 1)[None] / 255


@dataclass(frozen=True)
class Drawing:
    r"""
    ## What to draw
    """

    prompt: str = ""
    "what the image shows"
    image: Path | None = None
    "where to begin, in place of noise"
    mask: Path | None = None
    "white where that image is to be drawn anew"
    strength: Share = 0.6
    "with an image and no mask: the share of the steps that is taken"
    guidance: float = 6.5
    "weight of guidance; 0: none"
    steps: int = 50
    "of sampling"
    images: int = 4
    "to draw"


ANY = Drawing()


def generate(weights: Path, drawing: Drawing = ANY, seed: int = 0, out: Path | None = None) -> None:
    r"""
    ## Drawing it

    `generate(folder, Drawing(prompt="a cat"))` draws what the text says. With an `image` it begins
    there. With a `mask` too, it draws what is white in the mask anew and keeps the rest. The
    picture goes to `out`, as `generated.png`.
    """
    if drawing.mask and not drawing.image:
        raise UserError(f"a mask, {drawing.mask}, is of an image: give that as well")
    run = Run(drawing, Options(seed=seed, out=out))
    model, schedule, words = load_pretrained(weights)
    model, stops = model.to(run.device), schedule.stops(drawing.steps)
    said = texts(words, ["", *[drawing.prompt] * drawing.images], model.reader).to(run.device)
    shape = (drawing.images, model.unet.enter.in_channels, model.side, model.side)
    noise = torch.randn(shape, generator=run.generator).to(run.device)  # (B, L, P, P)
    with torch.no_grad():
        led = Guided(model, said[1:], said[:1], drawing.guidance)
        if drawing.image is None:
            z = denoised(led, schedule.diffusion, noise, stops)  # (B, L, P, P)
        else:
            side = model.side * 2 ** (len(model.first.sizes.widths) - 1)
            x = 2 * opened(drawing.image, "RGB", side).to(run.device) - 1  # (1, K, H, H)
            z0 = model.encode(x).expand_as(noise)  # (B, L, P, P)
            if drawing.mask is None:
                z = edited(led, schedule.diffusion, z0, noise, stops, drawing.strength)
            else:
                white = opened(drawing.mask, "L", side).to(run.device)  # (1, 1, H, H)
                fresh = F.interpolate(white, model.side) >= 0.5  # (1, 1, P, P)
                z = filled(led, schedule.diffusion, z0, fresh, noise, stops)
        x = model.image(z)  # (B, K, H, H)
    run.show("generated", grid(enlarged((x + 1) / 2)))
    print(run.out / "generated.png")


# ## What changed since
#
# - **A U-Net that is told the mask.** The inpainting model of Stable Diffusion has five more input
#   channels, for the mask and the latents of what is kept, and was trained further with them.
# - **Instructions.** InstructPix2Pix (Brooks 2022, [arXiv](https://arxiv.org/abs/2211.09800)) is
#   told what to change in place of what to show. ControlNet (Zhang 2023,
#   [arXiv](https://arxiv.org/abs/2302.05543)) is led by edges, depths or poses besides a text.
# - **Transformers, straighter paths.** A [Transformer](../dit.py) in place of the U-Net, and
#   [flow matching](../../flows/flow_matching.py) in place of noise prediction (Esser 2024,
#   [arXiv](https://arxiv.org/abs/2403.03206)).
