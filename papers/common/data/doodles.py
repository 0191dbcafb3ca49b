r"""
---
title: Doodles
summary: Eight kinds of line drawings as strokes of a pen, no two alike.
---

# Doodles

Papers on drawing learn from what people drew in games, which are large downloads. These drawings
come with the install: each is a recipe of lines, bent and turned by chance, in the format of
[real strokes](drawings.py#strokes). A line goes on where it can be anything, as the pen of a person
does: a circle may begin anywhere and go either way round, a face may smile or not.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `T` | movements of the pen | `P` | points of a line |
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

Line = NDArray[np.float64]


def line(*points: tuple[float, float]) -> Line:
    return np.array(points)


def arc(start: float, end: float, points: int, radius: float | Line = 1.0) -> Line:
    angles = np.linspace(start, end, points)
    return np.stack([np.cos(angles), np.sin(angles)], 1) * np.reshape(radius, (-1, 1))


def circle(chance: Generator) -> list[Line]:
    start, way = chance.uniform(0, 2 * np.pi), chance.choice([-1, 1])
    return [arc(start, start + 2 * np.pi * way, 11) * (1, chance.uniform(0.5, 1))]


def spiral(chance: Generator) -> list[Line]:
    start, way = chance.uniform(0, 2 * np.pi), chance.choice([-1, 1])
    end = start + way * chance.uniform(3, 4.5) * np.pi
    return [arc(start, end, 16, np.linspace(0.1, 1, 16))]


def star(chance: Generator) -> list[Line]:
    start, way = chance.integers(5) * 0.4 * np.pi - np.pi / 2, chance.choice([-1, 1])
    return [arc(start, start + way * 4 * np.pi, 6)]


def house(chance: Generator) -> list[Line]:
    top = chance.uniform(-1.2, -0.6)
    walls = line((-0.8, -0.2), (-0.8, 1), (0.8, 1), (0.8, -0.2))
    roof = line((-1, -0.2), (0, top), (1, -0.2), (-1, -0.2))
    at = chance.uniform(-0.5, 0.3)
    door = line((at, 1), (at, 0.4), (at + 0.3, 0.4), (at + 0.3, 1))
    return [walls, roof, door] if chance.random() < 0.5 else [walls, roof]


def boat(chance: Generator) -> list[Line]:
    hull = line((-1, 0.4), (-0.6, 1), (0.6, 1), (1, 0.4), (-1, 0.4))
    side, top = chance.choice([-1, 1]), chance.uniform(-1.2, -0.6)
    return [hull, line((0, 0.4), (0, top), (0.8 * side, 0.2), (0, 0.2))]


def fish(chance: Generator) -> list[Line]:
    side, high = chance.choice([-1, 1]), chance.uniform(0.35, 0.7)
    body = arc(0.15 * np.pi, 1.85 * np.pi, 9) * (0.8, high)
    return [np.concatenate([body, line((1.2, 0.45), (1.2, -0.45)), body[:1]]) * (-side, 1)]


def face(chance: Generator) -> list[Line]:
    mouth, eyes = chance.uniform(-0.3, 0.3), chance.uniform(-0.45, -0.15)
    pair = [line((x, eyes), (x, eyes + 0.2)) for x in (-0.35, 0.35)]
    smile = line((-0.45, 0.45), (-0.15, 0.45 + mouth), (0.15, 0.45 + mouth), (0.45, 0.45))
    return [arc(-np.pi / 2, 1.5 * np.pi, 9), *pair, smile]


def letter(chance: Generator) -> list[Line]:
    """An A."""
    wide, bar = chance.uniform(0.5, 0.9), chance.uniform(0, 0.5)
    half = wide * (bar + 1) / 2
    return [line((-wide, 1), (0, -1), (wide, 1)), line((-half, bar), (half, bar))]


KINDS: dict[str, Callable[[Generator], list[Line]]] = {
    each.__name__: each for each in (circle, spiral, star, house, boat, fish, face, letter)
}


def moved(lines: list[Line], chance: Generator) -> Tensor:
    r"""
    ## By an unsteady hand

    The whole is stretched and leans a little, and each point is a little off. The drawing begins
    at its first point, with the pen on the paper, so what is left are the movements from there.
    """
    lean, high = chance.normal(0, 0.12), chance.uniform(0.8, 1.25)
    turn = np.array([[np.cos(lean), np.sin(lean)], [-np.sin(lean), np.cos(lean)]])
    points = np.concatenate(lines) * (1, high) @ turn * chance.uniform(0.7, 1.3)  # (P, 2)
    points += chance.normal(0, 0.04, points.shape)
    lifted = np.zeros((len(points), 1))
    lifted[np.cumsum([len(each) for each in lines]) - 1] = 1
    rows = np.concatenate([np.diff(points, axis=0), lifted[1:]], 1)  # (T, 3)
    return torch.from_numpy(rows).float()


def doodles(number: int, seed: int = 0) -> list[Tensor]:
    r"""
    ## Drawing them

    All kinds are equally likely. A seed is a data set, the same everywhere; to test, take another.
    """
    chance = np.random.default_rng(seed)
    kinds = list(KINDS.values())
    return [moved(kinds[chance.integers(len(kinds))](chance), chance) for _ in range(number)]
