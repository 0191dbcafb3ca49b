"""The first steps of Adam and of AdaBelief towards a corner, by the page's own race."""

from __future__ import annotations

import torch

from papers.optimizers.adabelief import RUNNERS, corner, race
from papers.tools.drawing.axes import Axes
from papers.tools.drawing.parts import Kind
from papers.tools.drawing.sheet import Box, Point, Sheet, path

START, LR, STEPS = (-1.5, 0.13), 0.02, 36
LEVELS, TOP, RIGHT = (0.2, 0.5, 0.8, 1.1, 1.4, 1.7), 0.45, 0.5


def way(runner: str) -> list[Point]:
    starts = torch.tensor([START], dtype=torch.float64)
    noise = torch.zeros(STEPS, 1, 2, dtype=torch.float64)
    return [(x, y) for x, y in race(corner, RUNNERS[runner], starts, noise, LR)[:, 0].tolist()]


def level(sheet: Sheet, axes: Axes, height: float) -> None:
    """A line of one height is a square on its tip, of which we see what fits."""
    reach = min(height, TOP)
    tips = [-height, height] if height <= RIGHT else [-height]
    with sheet.group("wire faint"):
        for tip in tips:
            inner = tip + reach if tip < 0 else tip - reach
            ends = (inner, reach), (tip, 0.0), (inner, -reach)
            steps = [step for end in ends for step in ("L", *axes.place(*end))]
            sheet.add("path", class_="line", d=path("M", *steps[1:]))


def draw() -> Sheet:
    sheet = Sheet(170)
    axes = Axes(Box(12, 16, 336, 138), (-1.7, RIGHT), (-TOP, TOP))
    for height in LEVELS:
        level(sheet, axes, height)
    drawn: list[tuple[str, str, Kind]] = [
        ("adabelief", "AdaBelief", "idea"),
        ("adam", "Adam", "attention"),
    ]
    for runner, name, kind in drawn:
        points = way(runner)
        x, y = axes.curve(sheet, points, kind)
        with sheet.group(kind):
            for point in points[::6]:
                across, up = axes.place(*point)
                sheet.add("circle", class_="dot", cx=across, cy=up, r=2.2)
        with sheet.link("the-update" if kind == "idea" else ""):
            sheet.text(name, (x, y + 24), "size")
    x, y = axes.place(0, 0)
    sheet.add("circle", class_="dot", cx=x, cy=y, r=3.0)
    x, y = axes.place(*START)
    sheet.text("start", (x, y - 10), "size")
    return sheet
