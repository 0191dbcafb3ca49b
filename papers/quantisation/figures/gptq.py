"""Two weights, what can be kept, and where the outputs are equally far off, by the page's code."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from papers.quantisation.gptq import Grid, error, factor, gptq
from papers.tools.drawing.axes import Axes
from papers.tools.drawing.parts import Kind
from papers.tools.drawing.sheet import Box, Point, Sheet
from papers.tools.drawing.wires import arrow

# The last two weights give the row its grid: whole numbers from -1 to 2.
WEIGHT = torch.tensor([[0.4, 0.4, -1.0, 2.0]], dtype=torch.float64)
TOGETHER = torch.tensor([[1.0, 0.8], [0.8, 1.0]], dtype=torch.float64)
HESSIAN = torch.block_diag(TOGETHER, torch.eye(2, dtype=torch.float64))
VIEW = (-1.15, 1.75)


def point(row: Tensor) -> Point:
    return row[0, 0].item(), row[0, 1].item()


def level(sheet: Sheet, axes: Axes, at: Tensor, kind: Kind) -> None:
    """Where the outputs are as far off as they are at a point."""
    height = error(WEIGHT, at, HESSIAN).item()
    sizes, ways = torch.linalg.eigh(TOGETHER)
    angles = torch.linspace(0, 2 * math.pi, 73, dtype=torch.float64)
    circle = torch.stack([angles.cos(), angles.sin()]) * math.sqrt(2 * height)
    around = (ways @ (circle / sizes.sqrt()[:, None])).T + WEIGHT[0, :2]
    axes.curve(sheet, [(x, y) for x, y in around.tolist()], kind)


def draw() -> Sheet:
    sheet = Sheet(350)
    axes = Axes(Box(24, 24, 312, 312), VIEW, VIEW)
    grid = Grid.of(WEIGHT, 2)
    rounded = grid.values(grid.codes(WEIGHT))
    codes, kept = gptq(WEIGHT, HESSIAN, 2, damping=0.0)
    ours, upper = kept.values(codes), factor(HESSIAN)
    moved = WEIGHT - (WEIGHT[0, 0] - ours[0, 0]) / upper[0, 0] * upper[0]
    for value in range(-1, 2):
        with sheet.group("wire faint"):
            ends = axes.place(value, VIEW[0]), axes.place(value, VIEW[1])
            sheet.add(
                "line", class_="line", x1=ends[0][0], y1=ends[0][1], x2=ends[1][0], y2=ends[1][1]
            )
        for other in range(-1, 2):
            x, y = axes.place(value, other)
            sheet.add("circle", class_="dot", cx=x, cy=y, r=2.6)
    level(sheet, axes, rounded, "attention")
    level(sheet, axes, ours, "idea")
    level(sheet, axes, moved, "plain")
    start, half, end = (axes.place(*point(row)) for row in (WEIGHT, moved, ours))
    nearest = axes.place(*point(rounded))
    arrow(sheet, start, nearest, look="dashed")
    arrow(sheet, start, half)
    arrow(sheet, half, end)
    sheet.add("circle", class_="dot", cx=start[0], cy=start[1], r=3.4)
    sheet.text("rounded", (nearest[0] - 8, nearest[1] + 14), "note", "end")
    with sheet.link("gptq"):
        sheet.text("GPTQ", (end[0] - 8, end[1] - 12), "note", "end")
    sheet.text("first weight", (336, 342), "note", "end")
    sheet.text("second weight", (24, 12), "note", "start")
    return sheet
