"""Four ways down the toy of figure 2, by the page's own functions."""

from __future__ import annotations

import torch

from papers.optimizers.sophia import toy, walk
from papers.tools.drawing.axes import Axes
from papers.tools.drawing.parts import Kind
from papers.tools.drawing.sheet import Box, Point, Sheet

STEPS = 25
LEVELS = (0.5, 2.0, 5.0, 9.0, 14.0)
WAYS: tuple[tuple[str, Kind, bool, str, Point], ...] = (
    ("descent", "plain", True, "descent", (0.5, 0.05)),
    ("sign", "attention", False, "sign", (0.52, 3.05)),
    ("newton", "noise", True, "Newton", (0.1, 2.9)),
    ("sophia", "idea", False, "Sophia", (1.14, 3.05)),
)
ACROSS, UP = (-0.7, 1.45), (-0.25, 4.6)


def level(axes: Axes, value: float, sheet: Sheet) -> None:
    """Where the loss has one value: for each place across, how far from 4 it may be."""
    x = torch.linspace(*ACROSS, 601, dtype=torch.float64)
    rest = value - torch.stack([toy(torch.stack([a, torch.full_like(a, 4.0)])) for a in x])
    off = (2 * rest.clamp(min=0)).sqrt()
    inside = [
        (a, o) for a, o, r in zip(x.tolist(), off.tolist(), rest.tolist(), strict=True) if r > 0
    ]
    runs: list[list[Point]] = [[]]
    for (a, o), before in zip(inside, [inside[0], *inside], strict=False):
        if a - before[0] > 0.01:
            runs.append([])
        y = 4 - o
        if y >= UP[0]:
            runs[-1].append((a, y))
        elif runs[-1]:
            runs.append([])
    for run in runs:
        if len(run) > 1:
            axes.curve(sheet, run, "plain")


def draw() -> Sheet:
    sheet = Sheet(380)
    axes = Axes(Box(16, 24, 328, 316), ACROSS, UP)
    axes.draw(sheet, "sharp", "flat")
    with sheet.group("faint"):
        for value in LEVELS:
            level(axes, value, sheet)
    for way, kind, dashed, name, at in WAYS:
        points = [(a, b) for a, b in walk(way, STEPS).tolist()]
        axes.curve(sheet, points, kind, dashed)
        with sheet.group(kind):
            for point in points:
                x, y = axes.place(*point)
                sheet.add("circle", class_="dot", cx=x, cy=y, r=2.0)
        with sheet.link("four-ways-down" if way != "sophia" else "the-update"):
            sheet.text(name, axes.place(*at), "name", "start")
    x, y = axes.place(1.0, 4.0)
    sheet.add("circle", class_="dot", cx=x, cy=y, r=4.0)
    sheet.text("lowest", (x + 10, y - 8), "size", "start")
    return sheet
