"""What tiles say of a number, and one feature over all numbers, by the page's own functions."""

from __future__ import annotations

import torch

from papers.activations.fta import fta, tiling
from papers.tools.drawing.axes import Axes
from papers.tools.drawing.parts import Kind, tensor
from papers.tools.drawing.sheet import Box, Sheet
from papers.tools.drawing.wires import arrow

K, DELTA, Z = 12, 2 / 12, 0.21
LEFT, CELL = 36.0, 26.0
# The tile whose feature is drawn over all numbers.
ONE = 3


def row(sheet: Sheet, top: float, eta: float, kind: Kind) -> Box:
    said = fta(torch.tensor([Z]), tiling(-1, 1, K), DELTA, eta).tolist()
    return tensor(sheet, kind, (LEFT, top), [said], CELL)


def draw() -> Sheet:
    sheet = Sheet(420)
    at = LEFT + (Z + 1) / 2 * K * CELL
    sheet.text(f"z = {Z}", (at, 12))
    arrow(sheet, (at, 22), (at, 44))
    with sheet.link("tiles"):
        sheet.text("c", (LEFT - 16, 61), "name", "middle")
    hard = row(sheet, 48, 0.0, "plain")
    sheet.text("eta = 0", (LEFT, hard.bottom[1] + 14), "size", "start")
    soft = row(sheet, 112, DELTA, "idea")
    sheet.text("eta = delta", (LEFT, soft.bottom[1] + 14), "size", "start")
    axes = Axes(Box(LEFT, 184, K * CELL, 200), (-1, 1), (0, 3.3))
    axes.draw(sheet, "z", "")
    z = torch.linspace(-0.9995, 0.9995, 800)
    box, fuzzy = (fta(z, tiling(-1, 1, K), DELTA, eta).view(-1, K) for eta in (0.0, DELTA))
    lines: list[tuple[torch.Tensor, Kind, bool]] = [
        (fuzzy.sum(1), "feed-forward", False),
        (fuzzy[:, ONE], "idea", False),
        (box[:, ONE], "plain", True),
    ]
    for values, kind, dashed in lines:
        axes.curve(sheet, list(zip(z.tolist(), values.tolist(), strict=True)), kind, dashed)
    with sheet.link("the-activation"):
        sheet.text("fta", axes.place(-0.2, 1.15), "name", "start")
    sheet.text("one feature", axes.place(0.0, 1.15), "size", "start")
    sheet.text("sum of all", axes.place(-0.3, 2.6), "size", "start")
    return sheet
