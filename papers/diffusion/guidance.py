r"""
---
title: Classifier-free guidance
summary: Predict noise with the label and without, go on in that direction, and samples get surer.
paper: Classifier-Free Diffusion Guidance
authors: [Jonathan Ho, Tim Salimans]
year: 2022
arxiv: "2207.12598"
acronyms: [CFG, guidance scale]
needs: [diffusion/ddim, diffusion/score_sde]
equals:
  what: diffusers.guiders.ClassifierFreeGuidance
  within: 1e-12
  test: test_guidance_is_that_of_diffusers
notation:
  'w': weight
  'c': labels
  '\epsilon_\theta': model
  'p_\mathrm{uncond}': drop
figure:
  file: figures/guidance.svg
  alt: >-
    Three fields with a triangle of three clouds, for weights 0, 1 and 4. The clouds overlap in the
    first, are apart in the second, and in the third they are small and far from the middle. Below,
    a point with two arrows, noise without the label and noise with it, and a third arrow that goes
    on in the direction from the first to the second.
  caption: >-
    Above, the densities that guidance aims at, by `tilted`: of three Gaussians, each a class, for
    `weight` 0, 1 and 4. Below, the one line of `guided`, at weight 1.
metrics:
  accuracy_0: {name: samples like their label at weight 0, unit: "%", better: higher}
  accuracy_1: {name: samples like their label at weight 1, unit: "%", better: higher}
  accuracy_4: {name: samples like their label at weight 4, unit: "%", better: higher}
  accuracy_floor: {name: held-out images that look like their label, unit: "%", better: higher}
  diversity_0: {name: distance within a class over that of real images, better: higher}
  diversity_1: {name: distance within a class at weight 1, better: higher}
  diversity_4: {name: distance within a class at weight 4, better: higher}
  frechet_0: {name: Fréchet distance to training images at weight 0, better: lower}
  frechet_1: {name: Fréchet distance at weight 1, better: lower}
  frechet_4: {name: Fréchet distance at weight 4, better: lower}
  floor: {name: Fréchet distance of held-out images, better: lower}
  toy_0: {name: energy distance of points to the density aimed at, better: lower}
  toy_1: {name: that distance at weight 1, better: lower}
  toy_4: {name: that distance at weight 4, better: lower}
  toy_floor: {name: energy distance of two sets from that density at weight 4, better: lower}
  loss: {name: training loss, better: lower}
runs:
  a tenth without: ""
  half without: --drop 0.5
  none without: --drop 0
shows:
  samples: >-
    a row for each weight, 0, 1 and 4 from top to bottom; two columns for each digit from 0 to 9,
    and a column starts from the same noise
  densities: >-
    three Gaussians at weights 0, 1 and 4. Above, the density that guidance aims at; below, where
    points fall that follow the guided score, which is exact here
claims:
  - what: guidance makes samples look more like their label
    paper: "section 4.1, by the Inception score on ImageNet"
    run: a tenth without
    metric: accuracy_4
    against: accuracy_0
    margin: 0.02
  - what: and less like each other
    paper: "section 4.1, in words"
    run: a tenth without
    metric: diversity_0
    against: diversity_4
    margin: 0.05
  - what: a little guidance brings samples as a set closer to the data
    paper: "section 4.1, by the FID on ImageNet, with weights of 0.1 and 0.3; 1 is too much there"
    run: a tenth without
    metric: frechet_1
    against: frechet_0
    margin: 2
  - what: and much of it moves them away again
    paper: "section 4.1, by the FID on ImageNet"
    run: a tenth without
    metric: frechet_1
    against: frechet_4
    margin: 2
  - what: a network that is trained without the label half of the time is worse
    paper: "section 4.2"
    run: a tenth without
    control: half without
    metric: frechet_0
    margin: 1
  - what: a network that never was trained without the label can't be guided
    paper: "algorithm 1, which trains both at once"
    run: a tenth without
    control: none without
    metric: accuracy_4
    margin: 0.05
    note: "it can: guided samples look more like their label than others. But by the Fréchet
      distance the set is three to eight times as far from the data, at either weight"
  - what: points that follow the guided score have the density that guidance aims at
    paper: "section 3.1, of guidance by a classifier: approximate samples"
    run: a tenth without
    metric: toy_4
    against: toy_floor
    within: 0.01
    note: "only at weight 0; the picture below the densities shows where they go"
deviations:
  - what: how the weight is counted
    paper: "from 0: with the label, without extrapolation"
    ours: as in the paper
    others: "diffusers by default and most programs: from 1, so that their scale is 1 + w"
    matters: "yes: a scale of 1 is no guidance"
    test: test_guidance_is_that_of_diffusers
  - what: noise on the way back
    paper: some, between the two variances of DDPM
    ours: none, as in DDIM
    matters: "not tried; samples of different weights can be compared, since they start alike"
  - what: the network
    paper: a U-Net with attention
    ours: a residual network of dense layers
    matters: "for images larger than 8 by 8; the label comes in where the time does, as there"
mistakes:
  - what: the label dropped for a whole batch, or for none
    mutant: one draw for the whole batch
    caught: test_each_label_is_dropped_by_itself
  - what: extrapolating in the wrong direction
    mutant: away from the label
    caught: test_guidance_is_that_of_diffusers
worked:
  - at: guided
    told: >-
      Two networks' guesses of the noise in two pixels, without the label and with it. At weight 0
      it is the latter, and at 1 it is as far beyond.
    code: |-
      without, given = torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.2])
      guided(given, without, 0.0)
      guided(given, without, 1.0)
exercises: [dropped, guided]
---

# Classifier-free guidance

A diffusion model can be told what to draw: the label is one more input. Yet its samples are no more
typical of their label than the images in the data are, and the odd ones catch the eye first.
Other generative models have a knob that gives up variety for samples that are more typical, such as
a low [temperature](../transformers/sampling/temperature.py). In a diffusion model, less noise on
the way back does not do it: samples get blurred.

A classifier could help. Add its gradient in each step, and samples become what it is sure about.
But it has to be trained on noisy images, and its gradients are those that adversarial examples are
made of. This paper does without it. A network that knows how to draw with the label and without it
holds a classifier already, by Bayes' rule, and its gradient is the difference of the two
predictions. So we go from one to the other, and beyond.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `B` | images in a batch | `K` | classes |
| `C` | channels | `E` | features of the time |
| `H`, `W` | height and width | `D` | width of the network |
| `N` | points, or images of a class | `M` | images of another set |
| `S` | pixels along a side of a picture | | |
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from papers.common import Options, Run, Share, main
from papers.common.data import IMAGE_SETS
from papers.common.data.grids import enlarged, grid
from papers.diffusion.ddim import sample, spaced
from papers.diffusion.ddpm import Diffusion, follow, pictures
from papers.diffusion.frechet import classifier, frechet
from papers.diffusion.score_sde import (
    EARLIEST,
    VP,
    Mixture,
    Process,
    Score,
    counted,
    energy_distance,
    solved,
)
from papers.diffusion.unet import embedding


def dropped(labels: Tensor, drop: float, K: int, chance: torch.Generator) -> Tensor:
    r"""
    ## One network for both

    Algorithm 1: with the probability $p_\mathrm{uncond}$ an image loses its label for this step,
    and the network learns the noise of an image of any kind. The missing label is one more class,
    `K`.
    """
    lost = torch.rand(len(labels), generator=chance) < drop  # (B,)
    return labels.masked_fill(lost, K)  # (B,)


def guided(given: Tensor, without: Tensor, weight: float) -> Tensor:
    r"""
    ## Guidance

    In each step of sampling the network is asked twice, and we take (eq. 6)

    $$
    \tilde\epsilon_\theta(z, c) = (1 + w)\, \epsilon_\theta(z, c) - w\, \epsilon_\theta(z).
    $$

    Up to a factor, predicted noise is a [score](score_sde.py), the gradient of a log-density. By
    Bayes' rule $p(c \mid z) \propto p(z \mid c) / p(z)$, so that this is the gradient of

    $$
    \log p(z \mid c) + w \log p(c \mid z):
    $$

    the density of the class, times a classifier's trust in it to the power of $w$. Nobody trained
    that classifier, and since two predictions of a network need not be gradients of anything, it
    need not even exist.
    """
    return (1 + weight) * given - weight * without


class Block(nn.Module):
    r"""
    ## The network

    Images of 8 by 8 pixels are small enough for dense layers. What time and label say is added
    within each block, as in [DDPM's network](unet.py#a-residual-block).
    """

    def __init__(self, D: int) -> None:
        super().__init__()
        self.norm, self.enter, self.leave = nn.LayerNorm(D), nn.Linear(D, D), nn.Linear(D, D)

    def forward(self, h: Tensor, told: Tensor) -> Tensor:
        added: Tensor = self.leave(F.silu(self.enter(self.norm(h)) + told))  # (B, D)
        return h + added  # (B, D)


class Network(nn.Module):
    def __init__(self, shape: torch.Size, K: int, D: int, layers: int, E: int = 32) -> None:
        super().__init__()
        self.shape, self.features = shape, E
        self.time, self.label = nn.Linear(E, D), nn.Embedding(K + 1, D)
        self.enter = nn.Linear(shape.numel(), D)
        self.blocks = nn.ModuleList([Block(D) for _ in range(layers)])
        self.norm, self.leave = nn.LayerNorm(D), nn.Linear(D, shape.numel())
        nn.init.zeros_(self.leave.weight)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        waves = embedding(t, self.features).to(x.dtype)  # (B, E)
        told = F.silu(self.time(waves)) + self.label(labels)  # (B, D)
        h = self.enter(x.flatten(1))  # (B, D)
        for block in self.blocks:
            h = block(h, told)  # (B, D)
        return self.leave(self.norm(h)).view(x.shape)  # (B, C, H, W)


class Guided(nn.Module):
    r"""
    ## Sampling

    Algorithm 2 changes nothing in a sampler but the noise that it is given. So this has the form of
    a network without labels, and any sampler takes it. We use [DDIM's](ddim.py#sampling).
    """

    def __init__(self, model: nn.Module, labels: Tensor, weight: float, K: int) -> None:
        super().__init__()
        self.model, self.labels, self.weight, self.missing = model, labels, weight, K

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        given = self.model(x, t, self.labels)  # (B, C, H, W)
        without = self.model(x, t, torch.full_like(self.labels, self.missing))  # (B, C, H, W)
        return guided(given, without, self.weight)  # (B, C, H, W)


def three() -> Mixture:
    r"""
    ## Where all is known

    The paper's figure 2 has three Gaussians, each a class. Their [scores](score_sde.py#its-score)
    have a closed form, with the label and without it, and so has the guided one.
    """
    angles = 2 * torch.pi * (torch.arange(3) / 3 + 0.25)  # (3,)
    means = torch.stack([angles.cos(), angles.sin()], -1)  # (3, 2)
    return Mixture(torch.full((3,), 1 / 3), means, torch.full((3,), 0.5))


def only(data: Mixture, label: int) -> Mixture:
    here = slice(label, label + 1)
    return Mixture(torch.ones(1), data.means[here], data.deviations[here])


def guided_score(data: Mixture, process: Process, label: int, weight: float) -> Score:
    def score(x: Tensor, t: Tensor) -> Tensor:
        given, without = (each.score(process, x, t) for each in (only(data, label), data))
        return guided(given, without, weight)  # (N, 2)

    return score


def tilted(data: Mixture, process: Process, label: int, weight: float, x: Tensor) -> Tensor:
    r"""
    ### What guidance aims at

    The density whose score the guided one is where there is no noise,

    $$
    \tilde p(x \mid c) \propto p(x \mid c)\, p(c \mid x)^w,
    $$

    as a share of each of the points `x`, which lie on a grid. With more weight it retreats from the
    other classes.
    """
    t = torch.full((len(x),), EARLIEST)  # (N,)
    given = only(data, label).log_density(process, x, t)  # (N,)
    trust = data.weights[label].log() + given - data.log_density(process, x, t)  # (N,)
    return (given + weight * trust).softmax(0)  # (N,)


def toy(
    weights: tuple[float, ...], N: int, chance: torch.Generator
) -> tuple[dict[str, float], Tensor]:
    r"""
    ### And what it gives

    Points follow the [flow](score_sde.py#without-chance) of the guided score, `N` of each class. At
    weight 0 they come out as they should. With guidance they don't: the score of noisy points is
    that of the class times the *noisy* classifier's trust, and no process that adds noise to
    $\tilde p$ leads there. They end further out, and closer together.
    """
    data, process, side, reach = three(), VP(), 96, 3.2
    along = reach * ((torch.arange(side) + 0.5) / side * 2 - 1)  # (S,)
    x = torch.cartesian_prod(along.flip(0), along).flip(-1)  # (S**2, 2)
    start = torch.randn(N, 2, generator=chance)  # (N, 2)
    measured, above, below = dict[str, float](), [], []

    def drawn(share: Tensor) -> Tensor:
        cells = torch.multinomial(share, N, replacement=True, generator=chance)  # (N,)
        # Anywhere in its cell.
        within = (torch.rand(N, 2, generator=chance) - 0.5) * 2 * reach / side  # (N, 2)
        return x[cells] + within  # (N, 2)

    for weight in weights:
        shares = [tilted(data, process, label, weight, x) for label in range(3)]
        scores = [guided_score(data, process, label, weight) for label in range(3)]
        times = torch.linspace(1, EARLIEST, 101)
        ends = torch.cat([solved(process, score, start, times) for score in scores])  # (3*N, 2)
        wanted, again = (torch.cat([drawn(share) for share in shares]) for _ in range(2))
        measured[f"toy_{weight:g}"] = energy_distance(ends, wanted).item()
        measured["toy_floor"] = energy_distance(again, wanted).item()
        density = torch.stack(shares).sum(0).view(1, side, side)  # (1, S, S)
        above.append(density / density.max())
        below.append(counted(ends, side, reach))
    return measured, grid(enlarged(torch.stack(above + below), 192), len(weights), 4)


@dataclass(frozen=True)
class Config:
    r"""
    ## Configuration

    The paper tries a tenth, a fifth and half of the labels, and finds half worse.
    """

    drop: Share = 0.1
    "share of images that lose their label"
    width: int = 256
    "features of the network"
    layers: int = 3
    "blocks of the network"
    batch: int = 128
    "images in a batch"
    steps: int = 1000
    "training steps"
    lr: float = 1e-3
    "learning rate of Adam"
    number: int = 40
    "samples of each class and weight"
    taken: int = 20
    "steps of sampling"


# None, some and much. On ImageNet, 1 is too much already: the best are 0.1 and 0.3.
WEIGHTS = (0.0, 1.0, 4.0)
TIMESTEPS = 100


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    r"""
    ## Training

    That of [DDPM](ddpm.py#training), and one line more.
    """
    run = Run(config, options)
    images, labels = pictures(run.options.data or "digits")
    split, K = len(images) * 4 // 5, int(labels.max()) + 1
    batches = run.batches(images[:split], labels[:split], size=config.batch)
    diffusion = Diffusion(TIMESTEPS)
    average = Network(images.shape[1:], K, config.width, config.layers).to(run.device)
    model = run.prepare(copy.deepcopy(average))
    optimizer = torch.optim.Adam(model.parameters(), config.lr, fused=True)

    for step in run.steps(config.steps, model=model, average=average, optimizer=optimizer):
        x0, kinds = batches[step]  # (B, C, H, W), (B,)
        kinds = dropped(kinds.cpu(), config.drop, K, run.generator).to(run.device)  # (B,)
        t = torch.randint(1, TIMESTEPS + 1, (len(x0),), generator=run.generator).to(run.device)
        noise = torch.randn(x0.shape, generator=run.generator).to(run.device)  # (B, C, H, W)
        with run.autocast():
            predicted = model(diffusion.noisy(x0, t, noise), t, kinds)  # (B, C, H, W)
            loss = F.mse_loss(predicted, noise)
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer)
        follow(average, model, 0.99)
        run.log(loss=loss)

    measured = judge(run, diffusion, average.eval(), images, labels, split)
    points, densities = toy(WEIGHTS, 20 * config.number, run.generator)
    run.show("densities", densities)
    return run.finish(**measured, **points)


def spread(x: Tensor, labels: Tensor, K: int) -> Tensor:
    r"""
    ## How alike samples are

    The mean distance of two images of a class, for each class.
    """
    distances = [F.pdist(x[labels == label].flatten(1)).mean() for label in range(K)]
    return torch.stack(distances)  # (K,)


def looks_like(x: Tensor, images: Tensor, labels: Tensor) -> Tensor:
    r"""
    ## What a sample looks like

    The label of the training image that is nearest. That needs no training. For held-out digits it
    is right 99 times in 100, and this number stands beside those of the samples.
    """
    nearest = torch.cdist(x.flatten(1), images.flatten(1)).argmin(-1)  # (N,)
    return labels[nearest]  # (N,)


@torch.no_grad()
def judge(
    run: Run, diffusion: Diffusion, model: nn.Module, images: Tensor, labels: Tensor, split: int
) -> dict[str, float]:
    r"""
    ## Sure against varied

    All weights start from the same noise, with as many samples of each class. Accuracy and
    diversity are of single samples and of pairs, the [Fréchet distance](frechet.py) of the set.

    A weight of 1 makes nearly every sample look like its label and brings the set closer to the
    data, a weight of 4 takes it further away than no guidance does. A network that never learned
    what the missing label means still answers, with something less typical of the label. So the
    difference makes samples look like it, too. But it doesn't come from the data, and even a weight
    of 1 takes the set far away from them.
    """
    config: Config = run.config
    known, kinds, K = images[:split], labels[:split], int(labels.max()) + 1
    held_out, theirs = images[split:], labels[split:]
    features = classifier(known, kinds)
    real, apart = features(known), spread(held_out, theirs, K)  # (M, 32), (K,)
    measured = {
        "floor": frechet(features(held_out), real).item(),
        "accuracy_floor": (looks_like(held_out, known, kinds) == theirs).float().mean().item(),
    }
    wanted = torch.arange(K).repeat_interleave(config.number)  # (K*N,)
    start = torch.randn(len(wanted), *images.shape[1:], generator=run.generator)
    times, rows = spaced(diffusion.timesteps, config.taken), []
    for weight in WEIGHTS:
        guide = Guided(model, wanted.to(run.device), weight, K)
        x = sample(guide, diffusion, start.to(run.device), times, 0.0, run.generator)
        x = x.clamp(-1, 1).cpu()  # (K*N, C, H, W)
        right = looks_like(x, known, kinds) == wanted  # (K*N,)
        measured |= {
            f"accuracy_{weight:g}": right.float().mean().item(),
            f"diversity_{weight:g}": (spread(x, wanted, K) / apart).mean().item(),
            f"frechet_{weight:g}": frechet(features(x), real).item(),
        }
        rows.append(x.unflatten(0, (K, -1))[:, :2].flatten(0, 1))
    run.show("samples", grid(enlarged((torch.cat(rows) + 1) / 2), columns=2 * K))
    return measured


# ## What changed since
#
# - **Everywhere.** Nearly every model that draws from a text is guided, and so are those that draw
#   by class, as [DiT](dit.py). Where there is a text, the missing label is the empty one, and what
#   one does not want to see can stand in its place.
# - **Not all the time.** Guidance harms where there is much noise and is not needed where there is
#   little. Limited to an interval between, it gives better images (Kynkäänniemi 2024,
#   [arXiv](https://arxiv.org/abs/2404.07724)).
# - **What it samples.** Not the density that it aims at, as seen [above](#and-what-it-gives),
#   neither with DDPM's sampler nor with DDIM's (Bradley and Nakkiran 2024,
#   [arXiv](https://arxiv.org/abs/2408.09000)). For mixtures of Gaussians it was shown that samples
#   get surer and less varied (Wu 2024,
#   [proceedings](https://proceedings.mlr.press/v235/wu24b.html)).

if __name__ == "__main__":
    main(train, data=IMAGE_SETS)
