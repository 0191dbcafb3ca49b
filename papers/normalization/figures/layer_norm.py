"""A row of the layer's sums against a column of the batch, and the error on its way back."""

from __future__ import annotations

import torch

from papers.common.data import digits
from papers.normalization.layer_norm import Config, Reader
from papers.recurrent.lstm import flow
from papers.tools.drawing.axes import Axes
from papers.tools.drawing.parts import Kind, block, tensor
from papers.tools.drawing.sheet import Box, Point, Sheet
from papers.tools.drawing.wires import arrow, down

ROWS, COLUMNS, ROW, COLUMN, CELL = 5, 7, 2, 1, 15.0
LEFT, TOP = 44.0, 28.0
STEPS = 64


def tables(sheet: Sheet) -> None:
    torch.manual_seed(3)
    shades = torch.rand(ROWS, COLUMNS).tolist()
    faint = [[0.25 * shade for shade in row] for row in shades]
    table = tensor(sheet, "plain", (LEFT, TOP), faint, CELL)
    column = [[0.2 + 0.4 * row[COLUMN]] for row in shades]
    over_batch = tensor(sheet, "convolution", (LEFT + COLUMN * CELL, TOP), column, CELL)
    row = [[0.2 + 0.7 * shade for shade in shades[ROW]]]
    over_layer = tensor(sheet, "idea", (LEFT, TOP + ROW * CELL), row, CELL)
    sheet.text("H", (table.centre[0], 16), "size")
    sheet.text("B", (32, table.centre[1]), "size")
    sheet.text("a", (LEFT - 12, 20))
    found = block(
        sheet, "idea", "mu, sigma", (230, over_layer.centre[1]), 100, link="the-statistics"
    )
    arrow(sheet, over_layer.right, found.left)
    batch = block(sheet, "plain", "batch norm", (over_batch.centre[0] + 6, 140), 104, 26)
    arrow(sheet, over_batch.bottom, (over_batch.centre[0], batch.top[1]), look="dashed")
    out = block(sheet, "linear", "weight, bias", (230, 126), 118, link="the-layer")
    down(sheet, found, out)
    down(sheet, out, (230, 160))
    sheet.text("tanh", (230, 170))


def reach(norm: str, scale: float) -> list[Point]:
    torch.manual_seed(0)
    reader = Reader(Config(norm=norm, scale=scale))  # type: ignore[arg-type]
    powers = flow(reader.layer, digits("train").images[:50].reshape(50, STEPS, 1))
    return [(back, powers[-1 - back].item() - powers[-1].item()) for back in range(STEPS)]


def draw() -> Sheet:
    sheet = Sheet(382)
    tables(sheet)
    axes = Axes(Box(58, 214, 286, 136), (0, STEPS), (-16, 7))
    with sheet.link("in-a-recurrent-network"):
        sheet.text("flow", (58, 202), "name", "start")
    axes.draw(sheet, "steps back")
    for power in (5, 0, -5, -10, -15):
        sheet.text(f"1e{power}" if power else "1", (52, axes.place(0, power)[1]), "size", "end")
    curves: list[tuple[str, float, Kind, bool, str, Point]] = [
        ("layer", 1.0, "idea", False, "norm=layer", (30, 2.2)),
        ("none", 2.0, "plain", False, "none, scale=2", (24, -4.4)),
        ("none", 1.0, "plain", True, "none", (20, -8.8)),
    ]
    for norm, scale, kind, dashed, words, place in curves:
        axes.curve(sheet, reach(norm, scale), kind, dashed)
        sheet.text(words, axes.place(*place), "name", "start")
    return sheet
