r"""
---
title: Latent diffusion
summary: An autoencoder makes images small, diffusion learns the small ones, and a text leads it.
paper: High-Resolution Image Synthesis with Latent Diffusion Models
authors: [Robin Rombach, Andreas Blattmann, Dominik Lorenz, Patrick Esser, Björn Ommer]
year: 2021
arxiv: "2112.10752"
acronyms: [LDM, text to image, Stable Diffusion, first stage]
needs:
  - diffusion/latent/autoencoder
  - diffusion/latent/text_unet
  - diffusion/latent/stable_diffusion
  - diffusion/guidance
equals:
  what: diffusers.StableDiffusionPipeline
  within: 1e-3
  test: test_what_was_trained_is_a_pipeline_of_diffusers
notation:
  'x': x
  'z': z
  '\hat\sigma': deviation
  '\epsilon': noise
  '\epsilon_\theta': model
  '\tau_\theta': reader
  'y': text
  'f': factor
figure:
  file: figures/latent_diffusion.svg
  alt: >-
    An image x of a square goes through the encoder and becomes latents z, with a fourth of the
    pixels on a side, then noisy ones. The U-Net, which a text tells what is to be seen, takes the
    noise out. What remains goes through the decoder. Encoder and decoder are marked as stage one,
    U-Net and text encoder as stage two.
  caption: >-
    Stage one learns to make images small and large again, stage two to take noise out of small
    ones. Drawing begins at the noise.
metrics:
  obeyed: {name: words of captions that samples obey, unit: "%", better: higher}
  unseen: {name: the same of captions that were never seen, unit: "%", better: higher}
  whole: {name: samples that obey all four words, unit: "%", better: higher}
  unguided: {name: the same without guidance, unit: "%", better: higher}
  size: {name: samples of the size that was asked for, unit: "%", better: higher}
  colour: {name: samples of the colour that was asked for, unit: "%", better: higher}
  kind: {name: samples of the kind that was asked for, unit: "%", better: higher}
  place: {name: samples at the place that was asked for, unit: "%", better: higher}
  floor: {name: words that the judge reads right from real drawings, unit: "%", better: higher}
  decoded: {name: the same behind the autoencoder, unit: "%", better: higher}
  chance: {name: words obeyed by guessing, unit: "%"}
  edited: {name: drawings that take the new colour, unit: "%", better: higher}
  kept: {name: likeness of the light of such a drawing to what it was, better: higher}
  redrawn: {name: likeness of a sample from the same caption, better: higher}
  filled: {name: cut drawings that are whole again, unit: "%", better: higher}
  cut: {name: cut drawings that the judge reads right as they are, unit: "%"}
  spread: {name: deviation of the latents as they come}
  spent: {name: processor time of both trainings, unit: s, better: lower}
  loss: {name: training loss, unit: squared error, better: lower, scale: log}
  first: {name: training loss of the autoencoder, better: lower, scale: log}
runs:
  latents: ""
  pixels: --factor 1 --steps 400
  latents as they come: --no-rescaled
shows:
  samples: >-
    two rows from captions that were never seen, above two rows from others, none picked by hand
  captions: what the first two rows should show
  uses: >-
    drawings, and the same in another colour; drawings with their right half cut off, and filled
claims:
  - what: in equal time, diffusion on latents learns to obey captions better than on pixels
    paper: "section 4.1 and figure 6: by FID and Inception score on ImageNet, after equal steps"
    run: latents
    control: pixels
    metric: obeyed
    margin: 0.05
  - what: guidance makes samples obey their captions
    paper: "section 4.3.1 and table 2: by FID and Inception score on MS-COCO"
    run: latents
    metric: obeyed
    against: unguided
    margin: 0.05
  - what: latents want to be rescaled
    paper: "section 4.3.2 and appendix G, of samples larger than the images in training"
    run: latents
    control: latents as they come
    metric: obeyed
    margin: 0.05
  - what: combinations of words that were never seen together are drawn
    paper: "section 4.3.1, in words: complex, user-defined text prompts"
    run: latents
    metric: unseen
    against: chance
    margin: 0.1
  - what: half a shape is made whole as its caption says
    paper: "section 4.5 fills holes in photographs, with a network that is told the mask"
    run: latents
    metric: filled
    against: cut
    margin: 0.2
    note: "more than before, but the decoder blurs corners, and the kind must be read, too"
  - what: a FID of 12.63 on MS-COCO, from texts alone
    paper: "table 2: 1.45 billion parameters, learned from 400 million pairs, with guidance"
    note: "not run here; the weights of Stable Diffusion load"
deviations:
  - what: what the autoencoder minimises
    paper: a perceptual loss and a discriminator besides
    ours: the squared error, as on its page
    matters: "for photographs, which the squared error blurs; not compared"
    test: test_training_is_two_loops
  - what: the deviation of the latents
    paper: "of the first batch (appendix G)"
    ours: of all images of the training
    others: "diffusers: a number in the folder, `scaling_factor`"
    matters: "hardly: the two are estimates of one number; not measured"
    test: test_training_is_two_loops
  - what: latents that diffusion learns from
    paper: "not given; the authors' code: a draw from what the encoder says"
    ours: the mean, computed once
    matters: "hardly: the deviation of a latent is small with a slight penalty; not measured"
    test: test_training_is_two_loops
  - what: the network that reads texts
    paper: a Transformer without a mask
    ours: CLIP's, with its mask, but new
    others: "Stable Diffusion: CLIP's, as it was trained"
    matters: "for the folder, which others read as CLIP; not compared"
    test: test_what_was_trained_is_a_pipeline_of_diffusers
  - what: steps of noise, and of sampling
    paper: "1000; 250 of DDIM for texts (table 2)"
    ours: 100; 15 of DDIM
    matters: "not compared"
mistakes:
  - what: multiplying by the deviation in place of dividing
    mutant: multiplied by the deviation
    caught: test_training_is_two_loops
  - what: dropping captions, but with one of them in place of the empty text
    mutant: a caption takes the place of the empty text
    caught: test_training_is_two_loops
worked:
  - at: deviation
    told: >-
      Latents of two channels, one around 0 and one around 6. One mean, 3, serves both, so half of
      their distance counts as deviation.
    code: |-
      z = torch.tensor([[[[-1.0, 1.0]], [[5.0, 7.0]]]])
      deviation(z)
      deviation(z / deviation(z))
exercises: [vocabulary, deviation, obey]
---

# Latent diffusion

A [diffusion model](../ddpm.py) on pixels asks a large network about all pixels, at each of many
steps, and most of what it is asked about nobody looks at. This paper splits the work. An
[autoencoder](autoencoder.py) learns what an image looks like from nearby, once, and makes images
small. Diffusion learns what the small images show. It has fewer numbers to think about at each step
and can take more steps in the same time.

Its parts have pages of their own, each with a training that needs none of the others. Here they are
trained one after the other, as in the paper, on [drawn shapes](../../common/data/shapes.py) with
captions: `a large red circle on the left`. A quarter of all combinations of words is kept from both
stages. What comes out is a small [Stable Diffusion](stable_diffusion.py), and the functions of that
page draw with it: from a caption, from a drawing, and into a drawing. Whether a sample obeys its
caption is [read](../../common/data/shapes.py#reading-an-image) by drawing each shape again, which
no network has to be trusted for.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | images | `N` | captions |
| `K` | channels of an image | `H` | side of an image |
| `L` | channels of latents | `P` | side of latents |
| `T` | tokens of a text | `F` | words that a caption varies |
| `M` | pixels of an image | | |
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from papers.common import Options, Run, Share, main
from papers.common.data import reading, shapes
from papers.common.data.grids import enlarged, grid
from papers.common.data.shapes import FACTORS, WORDS, captions
from papers.common.judging import in_batches
from papers.diffusion.ddpm import Diffusion, follow
from papers.diffusion.guidance import dropped
from papers.diffusion.latent import autoencoder, text_encoder, text_unet
from papers.diffusion.latent.autoencoder import Autoencoder, divergence
from papers.diffusion.latent.stable_diffusion import (
    Guided,
    LatentDiffusion,
    Schedule,
    denoised,
    edited,
    filled,
    generate,
    save_pretrained,
    texts,
)
from papers.diffusion.latent.text_encoder import TextEncoder, classes, every_caption
from papers.diffusion.latent.text_unet import UNet

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def vocabulary() -> Tokenizer:
    r"""
    ## Words

    Each word of a caption is a token. As in CLIP, a start comes first and an end last, and the text
    is filled up with ends; the empty one has nothing else. It is a tokenizer of the usual kind, so
    that it can be saved beside the weights, and others find it there.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    numbers = {word: i for i, word in enumerate(WORDS)}
    words = Tokenizer(models.WordLevel(numbers))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    start, end = WORDS[0], WORDS[-1]
    words.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", special_tokens=[(each, numbers[each]) for each in (start, end)]
    )
    return words


def deviation(z: Tensor) -> Tensor:
    r"""
    ## Latents of deviation one

    An autoencoder is free to make latents of any size, and with a slight penalty it does. The
    schedule of noise is not: it was made for pixels, which are about as large as one. Noise
    that drowns those leaves much to see of larger latents. So they are divided by their deviation
    (appendix G),

    $$
    z \leftarrow \frac{z}{\hat\sigma}, \qquad
    \hat\sigma^2 = \frac{1}{b c h w} \sum_{b, c, h, w} \big(z^{b, c, h, w} - \hat\mu\big)^2,
    $$

    with one $\hat\mu$ and one $\hat\sigma$ for all channels. The paper takes them from the first
    batch, we from all images of the training, which are encoded once. For Stable Diffusion
    $1 / \hat\sigma$ is 0.18215.
    """
    return (z - z.mean()).square().mean().sqrt()  # ()


class Pixels(Autoencoder):
    r"""
    ## Without an autoencoder

    To compare, an image can be its own latents. The paper calls this LDM-1, since the factor $f$ by
    which a side gets shorter is 1.
    """

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, torch.zeros_like(x)  # (B, K, H, H), (B, K, H, H)

    def decode(self, z: Tensor) -> Tensor:
        return z


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    The default is what the paper calls LDM-4, in small: an image of 16 by 16 pixels with three
    channels becomes latents of 4 by 4 with four.
    """

    factor: Literal[1, 4] = 4
    "how much shorter a side of the latents is; 1: pixels, without an autoencoder"
    rescaled: bool = True
    "whether latents are divided by their deviation"
    first_steps: int = 500
    "training steps of the autoencoder"
    steps: int = 750
    "training steps of the diffusion model"
    width: int = 24
    "half the channels of the U-Net at its lowest resolution"
    text: int = 32
    "features of a text's token"
    dropped: Share = 0.1
    "share of the captions that are withheld in training"
    guidance: float = 2.0
    "weight of guidance; 0: none"
    strength: Share = 0.6
    "share of the steps that are taken from a drawing"
    batch: int = 64
    "images in a batch of the diffusion model"
    lr: float = 2e-3
    "learning rate of Adam, which falls to a twentieth"
    ema: Share = 0.99
    "decay of the average of the weights, with which samples are drawn"


# As on the page of the autoencoder.
SIDE, PENALTY, FIRST_BATCH, FIRST_LR = 16, 1e-6, 16, 2e-3
SIZES = {1: autoencoder.Sizes((4,), latents=3), 4: autoencoder.Sizes((16, 16, 32), latents=4)}


def compress(run: Run, x: Tensor) -> Autoencoder:
    r"""
    ## Stage one

    The training of the [autoencoder](autoencoder.py#training), by the squared error and a slight
    penalty. Afterwards it stays as it is: the latents $z = \mathcal{E}(x)$ that diffusion learns
    must not move.
    """
    steps, sizes = run.config.first_steps, SIZES[run.config.factor]
    batches = run.batches(x, size=FIRST_BATCH)
    network, side = Autoencoder(sizes), x.shape[-1] // run.config.factor
    model = run.prepare(network)
    optimizer = torch.optim.Adam(model.parameters(), FIRST_LR, fused=True)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, steps)

    for step in run.steps(steps, model=model, optimizer=optimizer, schedule=schedule):
        (seen,) = batches[step]  # (B, K, H, H)
        noise = torch.randn(FIRST_BATCH, sizes.latents, side, side, generator=run.generator)
        with run.autocast():
            y, mean, log_variance = model(seen, run.share(noise).to(run.device))
            error = (y - seen).square().sum(dim=(1, 2, 3))  # (B,)
            loss = (error + PENALTY * divergence(mean, log_variance)).mean()
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer)
        schedule.step()
        run.log(first=loss)
    return network.eval().requires_grad_(False)


def untrained(config: Config, first: Autoencoder) -> LatentDiffusion:
    r"""
    ## The networks of stage two

    A U-Net whose pixels read the caption, and the [encoder](text_encoder.py) of captions
    $\tau_\theta$. Both are new and learn together. What reads are the 4 by 4 places of the lowest
    resolution, which is the only one for latents. On pixels the U-Net has two more levels above;
    the paper's grow in the same way with the images that they get (appendix E).
    """
    if config.factor > 1:
        sizes = text_unet.Sizes(2 * config.width, (1,), (0,), text=config.text)
    else:
        sizes = text_unet.Sizes(config.width, (1, 1, 2), (2,), text=config.text)
    encoder = text_encoder.Sizes(layers=1, width=config.text, heads=2, context=9)
    unet = UNet(sizes, first.sizes.latents)
    return LatentDiffusion(first, TextEncoder(encoder, len(WORDS)), unet, SIDE // config.factor)


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Stage two

    Diffusion as on [pixels](../ddpm.py#training), on latents that the encoder made before (eq. 2
    and 3):

    $$
    L = \mathbb{E}\big[\lVert \epsilon - \epsilon_\theta(z_t, t, \tau_\theta(y)) \rVert_2^2\big].
    $$

    Now and then a caption is [dropped](../guidance.py#one-network-for-both), and the empty text
    stands in its place, so that there is something to be guided away from. At the end the whole is
    written as the folder of a Stable Diffusion.
    """
    run, began = Run(config, options), time.process_time()
    labels, withheld = every_caption()
    data = shapes(side=SIDE)
    occurs = ~withheld[classes(data.labels)]
    x, kinds = 2 * data.images[occurs] - 1, classes(data.labels[occurs])
    first = compress(run, x) if config.factor > 1 else Pixels(SIZES[1]).requires_grad_(False)
    average = untrained(config, first).to(run.device)
    z = in_batches(run, "encode", average.encode, x)
    spread = deviation(z).item()
    first.scale = 1 / spread if config.rescaled else 1.0
    words, diffusion = vocabulary(), Diffusion(100)
    told = texts(words, [*captions(labels), ""], average.reader).to(run.device)  # (N+1, T)
    batches = run.batches(z * first.scale, kinds, size=config.batch)
    model = run.prepare(copy.deepcopy(average))
    learns = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.Adam(learns, config.lr, fused=True)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, config.steps)

    for step in run.steps(
        config.steps, model=model, average=average, optimizer=optimizer, schedule=schedule
    ):
        z0, kinds = batches[step]  # (B, L, P, P), (B,)
        kinds = dropped(kinds.cpu(), config.dropped, len(labels), run.generator)  # (B,)
        t = torch.randint(1, 101, kinds.shape, generator=run.generator).to(run.device)
        noise = torch.randn(z0.shape, generator=run.generator).to(run.device)  # (B, L, P, P)
        with run.autocast():
            noisy = diffusion.noisy(z0, t, noise)  # (B, L, P, P)
            loss = F.mse_loss(model(noisy, t, told[kinds.to(run.device)]), noise)
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer)
        schedule.step()
        follow(average, model, config.ema)
        run.log(loss=loss)

    spent = time.process_time() - began
    if config.factor > 1 and run.rank == 0:
        save_pretrained(average.eval(), Schedule(diffusion), words, run.out / "weights")
    measured = judge(run, diffusion, average.eval(), told) | {"spread": spread, "spent": spent}
    # What pixels are good for is judged by captions alone.
    measured |= use(run, diffusion, average, told) if config.factor > 1 else {}
    return run.finish(**measured)


# Samples of a caption, and steps of sampling.
EACH, TAKEN = 2, 15


def light(x: Tensor) -> Tensor:
    """The brightest of the channels, from 0 to 1."""
    return (x.amax(1).flatten(1) + 1) / 2  # (B, M)


def obey(x: Tensor, labels: Tensor) -> Tensor:
    r"""
    ## Does it show what was asked for?

    Of each image, and of each of the four words that captions vary, whether it is the one that is
    [read](../../common/data/shapes.py#reading-an-image) from the image.
    """
    return reading((x + 1) / 2)[0] == labels  # (B, F)


@torch.no_grad()
def judge(run: Run, diffusion: Diffusion, model: LatentDiffusion, told: Tensor) -> dict[str, float]:
    r"""
    ## Captions, obeyed or not

    Two samples of each caption, with and without guidance, from the same noise. We count words
    that are read from the image as the caption has them, and images with all four. Beside them
    stands what the judge reads from real drawings of a new seed, and from the same behind the
    autoencoder, since samples can hardly be better than that.

    Colours and sizes come first. The kind does not come: behind the autoencoder alone it can no
    longer be read, as a circle and a square of so few pixels differ by shades at the corners. The
    place comes late, since nothing but the border tells a convolution where it is. On pixels, in
    the same time, not even the colour has come.
    """
    labels, withheld = every_caption()
    asked = torch.arange(len(labels)).repeat(EACH)
    new, stops = withheld[asked], Schedule(diffusion).stops(TAKEN)
    shape = (len(asked), model.first.sizes.latents, model.side, model.side)
    start = torch.randn(shape, generator=run.generator)  # (B, L, P, P)

    def draw(weight: float, start: Tensor, text: Tensor) -> Tensor:
        led = Guided(model, text, told[-1:], weight)
        return model.image(denoised(led, diffusion, start, stops))

    measured = {"chance": sum(1 / len(said) for said in FACTORS.values()) / len(FACTORS)}
    for name, weight in (("unguided", 0.0), ("obeyed", run.config.guidance)):
        drawn = in_batches(run, "sample", partial(draw, weight), start, told.cpu()[asked])
        right = obey(drawn, labels[asked])  # (B, F)
        measured[name] = right[~new].float().mean().item()
    measured |= dict(zip(FACTORS, right[~new].float().mean(0).tolist(), strict=True))
    measured["unseen"] = right[new].float().mean().item()
    measured["whole"] = right.all(1).float().mean().item()
    rows = [rows.nonzero()[:24, 0] for rows in (new, ~new)]
    run.show("samples", grid(enlarged((drawn[torch.cat(rows)] + 1) / 2), columns=12))
    run.show("captions", "\n".join(captions(labels[asked[rows[0]]])))
    real = shapes(256, SIDE, seed=1)
    x = 2 * real.images - 1
    y = in_batches(run, "decode", lambda x: model.image(model.encode(x)), x)
    measured["floor"] = obey(x, real.labels).float().mean().item()
    measured["decoded"] = obey(y, real.labels).float().mean().item()
    return measured


@torch.no_grad()
def use(run: Run, diffusion: Diffusion, model: LatentDiffusion, told: Tensor) -> dict[str, float]:
    r"""
    ## From a drawing, and into one

    Drawings that were never seen, with a place at the top or at the bottom.
    [From each](stable_diffusion.py#from-a-drawing) we ask for the next colour, and for the rest as
    it is. Such an image should obey, and its light should be where it was, more so than in a sample
    from the same caption and the same noise. Likeness is the cosine of the light of two images.

    Then the right half is cut off, through the middle of the shape, and
    [filled](stable_diffusion.py#into-an-image) as the caption says. If that is read from the image
    as a whole, the new half fits the old one.
    """
    drawings = shapes(192, SIDE, seed=2)
    # Of the places, the last two.
    middle = drawings.labels[:, 3] >= 2  # (N,)
    x, labels = 2 * drawings.images[middle] - 1, drawings.labels[middle]  # (B, K, H, H), (B, F)
    others = labels.clone()  # (B, F)
    others[:, 1] = (labels[:, 1] + 1) % len(FACTORS["colour"])
    stops, half = Schedule(diffusion).stops(TAKEN), model.side // 2
    z0 = in_batches(run, "encode", model.encode, x).to(run.device)  # (B, L, P, P)
    noise = torch.randn(z0.shape, generator=run.generator).to(run.device)  # (B, L, P, P)
    fresh = (torch.arange(model.side, device=run.device) >= half).view(1, 1, 1, -1)
    by, same = (
        Guided(model, told[classes(each)], told[-1:], run.config.guidance)
        for each in (others, labels)
    )
    edits = model.image(edited(by, diffusion, z0, noise, stops, run.config.strength)).cpu()
    drawn = model.image(denoised(by, diffusion, noise, stops)).cpu()  # (B, K, H, H)
    whole = model.image(filled(same, diffusion, z0, fresh, noise, stops)).cpu()  # (B, K, H, H)
    halves = x.clone()  # (B, K, H, H)
    halves[..., SIDE // 2 :] = -1
    sheet = torch.cat([each[:12] for each in (x, edits, halves, whole)])
    run.show("uses", grid(enlarged((sheet + 1) / 2), columns=12))
    return {
        "edited": obey(edits, others)[:, 1].float().mean().item(),
        "kept": F.cosine_similarity(light(edits), light(x)).mean().item(),
        "redrawn": F.cosine_similarity(light(drawn), light(x)).mean().item(),
        "filled": obey(whole, labels).all(1).float().mean().item(),
        "cut": obey(halves, labels).all(1).float().mean().item(),
    }


# ## Drawing with it
#
# `python papers/diffusion/latent/latent_diffusion.py generate --weights FOLDER --prompt TEXT` draws
# what a text says, and into an image with `--image` and `--mask`, as on the page of [Stable
# Diffusion](stable_diffusion.py#drawing-it). The folder is `weights`, beside the result of a run.
#
# ## What changed since
#
# - **One stage.** Autoencoder and diffusion can learn together, if the one is not led by the loss
#   of the other alone: REPA-E (Leng 2025, [arXiv](https://arxiv.org/abs/2504.10483)) aligns the
#   features of both with those of a network that was trained to recognise images.
# - **Pixels again.** With the right schedule of noise and weights, diffusion without an autoencoder
#   comes close: simple diffusion (Hoogeboom 2023,
#   [arXiv](https://arxiv.org/abs/2301.11093)).


if __name__ == "__main__":
    main(train, generate=generate)
