"""A network, three thinned by the page's own masks, and what a sum comes to in many passes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from papers.regularization.dropout import dropout, gaussian
from papers.tools.drawing.axes import Axes
from papers.tools.drawing.parts import Kind
from papers.tools.drawing.sheet import Box, Point, Sheet, path

# Units of each layer, and the distance between two of them and between two layers.
UNITS, APART, LAYERS = (3, 4, 2), 26.0, 34.0
RADIUS, TOP = 7.0, 74.0
DROP, PASSES, SUMMED, BINS, SEED = 0.5, 20_000, 32, 25, 4


def places(left: float) -> list[list[Point]]:
    return [
        [(left + k * LAYERS, TOP + (i - (n - 1) / 2) * APART) for i in range(n)]
        for k, n in enumerate(UNITS)
    ]


def net(sheet: Sheet, left: float, kept: list[bool]) -> None:
    """Its hidden units as far as they are kept; those that are not have no wires."""
    layers = places(left)
    there = [[True] * UNITS[0], kept, [True] * UNITS[2]]
    with sheet.group("wire"):
        for k in range(2):
            for start, here in zip(layers[k], there[k], strict=True):
                for end, next_one in zip(layers[k + 1], there[k + 1], strict=True):
                    if here and next_one:
                        way = "M", start[0] + RADIUS, start[1], "L", end[0] - RADIUS, end[1]
                        sheet.add("path", class_="line", d=path(*way))
    for k, layer in enumerate(layers):
        kind: Kind = "idea" if k == 1 else "plain"
        for (x, y), here in zip(layer, there[k], strict=True):
            with sheet.group(kind if here else "plain tensor"):
                sheet.add("circle", class_="face", cx=x, cy=y, r=RADIUS)
                if not here:
                    s = RADIUS * 0.6
                    cross = "M", x - s, y - s, "l", 2 * s, 2 * s, "m", 0, -2 * s, "l", -2 * s, 2 * s
                    sheet.add("path", class_="hidden", d=path(*cross))


def histogram(noisy: Callable[[Tensor, float], Tensor], ends: tuple[float, float]) -> list[Point]:
    """Of a sum over 32 units; the outline of its bars."""
    torch.manual_seed(SEED)
    x, w = torch.rand(SUMMED), torch.randn(SUMMED)
    sums = noisy(x.expand(PASSES, SUMMED), DROP) @ w - x @ w
    counts = sums.histc(BINS, *ends) / PASSES
    width = (ends[1] - ends[0]) / BINS
    return [
        (ends[0] + (j + side) * width, count)
        for j, count in enumerate(counts.tolist())
        for side in (0, 1)
    ]


def draw() -> Sheet:
    sheet = Sheet(310)
    torch.manual_seed(SEED)
    with sheet.link("a-mask"):
        sheet.text("whole", (46, 12), "note")
        net(sheet, 12, [True] * UNITS[1])
        sheet.text("thinned", (232, 12), "note")
        for left in (112, 198, 284):
            net(sheet, left, (dropout(torch.ones(UNITS[1]), DROP) > 0).tolist())
    ends = (-10.0, 10.0)
    axes = Axes(Box(12, 152, 336, 126), ends, (0, 0.13))
    axes.draw(sheet, "sum - whole network's", "share of passes")
    kinds: tuple[tuple[Callable[[Tensor, float], Tensor], Kind, Point], ...] = (
        (gaussian, "plain", (4.8, 0.056)),
        (dropout, "idea", (2.4, 0.09)),
    )
    for noisy, kind, place in kinds:
        axes.curve(sheet, histogram(noisy, ends), kind, dashed=noisy is gaussian)
        link = "a-mask" if noisy is dropout else "noise-of-the-same-size"
        with sheet.link(link):
            sheet.text(noisy.__name__, axes.place(*place), "name", "start")
    (x, low), (_, high) = axes.place(0, 0), axes.place(0, 0.13)
    with sheet.group("wire faint"):
        sheet.add("path", class_="line", d=path("M", x, low, "V", high))
    return sheet
