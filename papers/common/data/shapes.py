r"""
---
title: Captioned shapes
summary: Small drawings of coloured shapes, each with a sentence that says what it shows.
---

# Captioned shapes

A model that turns text into images has to be judged by whether an image shows what the text says.
Photographs need another model for that. Here each image is one shape on black, drawn from a size, a
colour, a kind and a place, and its caption names the four, as in `a large red circle on the left`.
Where exactly, how large and how bright is chance, so a caption has many images.
And since we know how they are drawn, we can [read an image](#reading-an-image) that a model made.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `N` | images | `S` | side of an image |
| `K` | kinds of shapes | `L` | words of a caption, with start and end |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# What a caption says, in its order. The columns of `labels` are these, in this order, too.
FACTORS: dict[str, tuple[str, ...]] = {
    "size": ("small", "large"),
    "colour": ("red", "green", "blue", "yellow"),
    "kind": ("circle", "square", "triangle"),
    "place": ("on the left", "on the right", "at the top", "at the bottom"),
}
COLOURS = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 1.0, 0.0))

# Of a side of one: the radius of a circle of each size, and the middles of the places.
RADII = (0.135, 0.19)
MIDDLES = ((0.35, 0.5), (0.65, 0.5), (0.5, 0.35), (0.5, 0.65))

# The start comes first and the end last, with the highest number, by which CLIP finds it.
WORDS = ("<start>", *sorted({"a", *" ".join(sum(FACTORS.values(), ())).split()}), "<end>")


@dataclass(frozen=True)
class Captioned:
    r"""
    ## Images and what is said of them

    `images` are `(N, 3, S, S)` in $[0, 1]$; `images.amax(1)` is the same in grey. `labels` are
    `(N, 4)`, and say of each factor which of its words the caption has.
    """

    images: Tensor
    labels: Tensor
    captions: tuple[str, ...]


def shapes(number: int = 4096, side: int = 16, seed: int = 0) -> Captioned:
    r"""
    ## Drawing them

    All combinations are equally likely. Numpy's generator gives the same numbers everywhere, so a
    seed is a data set. For one to test on, take another seed. With fewer than 16 pixels to a side,
    kinds can no longer be told apart.
    """
    chance = np.random.default_rng(seed)
    labels = np.stack([chance.integers(len(words), size=number) for words in FACTORS.values()], 1)
    size, colour, kind, place = labels.T
    radius = np.array(RADII)[size] * chance.uniform(0.95, 1.05, number)
    middle = np.array(MIDDLES)[place] + chance.uniform(-0.04, 0.04, (number, 2))
    bright = chance.uniform(0.7, 1, number)
    inks = bright[:, None] * np.array(COLOURS)[colour]  # (N, 3)
    shape = covered(kind, middle, radius, side)  # (N, S, S)
    images = torch.from_numpy(inks[:, :, None, None] * shape[:, None]).float()  # (N, 3, S, S)
    told = torch.from_numpy(labels)  # (N, 4)
    return Captioned(images, told, captions(told))


def covered(kind: np.ndarray, middle: np.ndarray, radius: np.ndarray, side: int) -> np.ndarray:
    r"""
    ## What a shape covers

    The share of each pixel that lies within the shape, counted on four by four points. All kinds
    cover the area of a circle of the radius, so that the size says nothing about the kind, and have
    their centre of mass in the middle.
    """
    points = (np.arange(4 * side) + 0.5) / (4 * side)
    x = (points[None, None, :] - middle[:, 0, None, None]) / radius[:, None, None]
    y = (points[None, :, None] - middle[:, 1, None, None]) / radius[:, None, None]
    # A triangle of height 3r stands on the line y = r; its equal sides are sqrt(3) steep.
    r = np.sqrt(np.pi / 27**0.5)
    inside = (
        x**2 + y**2 <= 1,
        np.maximum(abs(x), abs(y)) <= np.sqrt(np.pi) / 2,
        (y <= r) & (3**0.5 * abs(x) - y <= 2 * r),
    )
    within = np.choose(kind[:, None, None], inside)  # (N, 4*S, 4*S)
    return within.reshape(-1, side, 4, side, 4).mean((2, 4))  # (N, S, S)


def captions(labels: Tensor) -> tuple[str, ...]:
    r"""
    ## Captions

    One sentence of seven words for each row of labels.
    """
    rows = (
        [words[i] for words, i in zip(FACTORS.values(), row, strict=True)]
        for row in labels.tolist()
    )
    return tuple(" ".join(["a", *said]) for said in rows)


def tokens(said: Sequence[str]) -> Tensor:
    r"""
    ## Words as numbers

    A start, the places of the words in `WORDS`, an end, and more ends where a caption is shorter
    than the longest. Raises `KeyError` for a word that no caption has.
    """
    known = {word: i for i, word in enumerate(WORDS)}
    rows = [[0, *(known[word] for word in text.split()), len(WORDS) - 1] for text in said]
    longest = max(map(len, rows), default=0)
    return torch.tensor([row + row[-1:] * (longest - len(row)) for row in rows])  # (N, L)


def reading(images: Tensor) -> tuple[Tensor, Tensor]:
    r"""
    ## Reading an image

    The labels of an image, whoever drew it, and how like it is to such a shape: one minus the share
    of its light that drawing the shape again leaves unexplained. Of our own images it is above 0.9,
    of one without light it is zero. At 16 pixels a side, one in a thousand of them is misread.

    How much light there is, divided by the brightest, is the area, and its centre of mass is the
    middle. With both known we draw each kind, and take the one in whose direction the light is.
    """
    pixels = images.detach().double().cpu().clamp(0, 1).numpy()
    N, side = len(pixels), pixels.shape[-1]
    light = pixels.max(1)  # (N, S, S)
    # A few pixels may be too bright, and faint light all over is no shape. What is cut from below
    # is cut from above, which leaves the area what it was.
    top = np.quantile(light.reshape(N, -1), 1 - 6 / side**2, axis=1).clip(1e-3)
    mask = ((light / top[:, None, None] - 0.2) / 0.6).clip(0, 1)  # (N, S, S)
    area = mask.sum((1, 2)).clip(1e-9)
    at = (np.arange(side) + 0.5) / side
    moments = np.stack([(mask * at).sum((1, 2)), (mask * at[:, None]).sum((1, 2))], 1)
    middle = moments / area[:, None]
    radius = np.sqrt(area / np.pi) / side
    kinds = [np.full(N, kind) for kind in range(len(FACTORS["kind"]))]
    drawn = np.stack([covered(each, middle, radius, side) for each in kinds], 1)  # (N, K, S, S)
    lengths = (drawn**2).sum((2, 3)).clip(1e-9) ** 0.5
    kind = ((drawn * light[:, None]).sum((2, 3)) / lengths).argmax(1)
    lit = (pixels * mask[:, None]).sum((2, 3))
    inks = lit / (mask**2).sum((1, 2)).clip(1e-9)[:, None]  # (N, 3)
    again = inks[:, :, None, None] * drawn[np.arange(N), kind][:, None]  # (N, 3, S, S)
    left = ((pixels - again) ** 2).sum((1, 2, 3)) / (pixels**2).sum((1, 2, 3)).clip(1e-9)
    like = np.where(light.max((1, 2)) < 0.1, 0, (1 - left).clip(0))

    hue = inks / np.linalg.norm(inks, axis=1, keepdims=True).clip(1e-9)
    palette = np.array(COLOURS) / np.linalg.norm(COLOURS, axis=1, keepdims=True)
    colour = (hue @ palette.T).argmax(1)
    size = abs(radius[:, None] - np.array(RADII)).argmin(1)
    place = ((middle[:, None] - np.array(MIDDLES)) ** 2).sum(2).argmin(1)
    labels = torch.from_numpy(np.stack([size, colour, kind, place], 1))  # (N, 4)
    return labels, torch.from_numpy(like).float()  # (N, 4), (N,)
