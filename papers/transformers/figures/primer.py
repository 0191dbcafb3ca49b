"""Where the two changes stand, the activations, and what the convolution makes of a single 1."""

from __future__ import annotations

import torch

from papers.tools.drawing.axes import Axes
from papers.tools.drawing.parts import block, tensor
from papers.tools.drawing.sheet import Box, Sheet
from papers.tools.drawing.wires import arrow, down
from papers.transformers.primer import ACTIVATIONS, Convolution

# The centres of what is made for queries, keys and values.
COLUMNS = (36.0, 88.0, 140.0)
T, CELL = 8, 31.0


def attention(sheet: Sheet) -> None:
    sheet.text("x", (COLUMNS[1], 10))
    qkv = block(
        sheet, "linear", "qkv", (COLUMNS[1], 50), 150, 26, link="multi-dconv-head-attention"
    )
    down(sheet, (COLUMNS[1], 18), qkv)
    attend = Box(13, 178, 150, 30)
    for name, x in zip("qkv", COLUMNS, strict=True):
        box = block(sheet, "idea", "3x1", (x, 108), 44, 30, link="a-short-convolution")
        down(sheet, (x, qkv.bottom[1]), box)
        down(sheet, box, (x, attend.y))
        sheet.text(name, (x + 14, 154))
    block(sheet, "attention", "attend", attend.centre, 150, 30)
    out = block(sheet, "linear", "out", (COLUMNS[1], 242), 80, 26)
    down(sheet, attend, out)
    down(sheet, out, (COLUMNS[1], 280))


def curves(sheet: Sheet) -> None:
    axes = Axes(Box(206, 30, 136, 232), (-2, 2), (-0.4, 4))
    axes.draw(sheet, "x")
    z = torch.linspace(-2, 2, 81)
    for name, activation in ACTIVATIONS.items():
        points = list(zip(z.tolist(), activation(z).tolist(), strict=True))
        axes.curve(sheet, points, "idea" if name == "squared" else "plain", dashed=name == "gelu")
    for level in (0, 1, 2, 3, 4):
        sheet.text(f"{level}", (200, axes.place(0, level)[1]), "size", "end")
    with sheet.link("squares"):
        sheet.text("squared_relu", (206, 12), "name", "start")
    sheet.text("relu", axes.place(1.55, 1.15), "note", "start")
    sheet.text("gelu", axes.place(-1.7, 0.35), "note", "start")


def kernel(sheet: Sheet) -> None:
    x = torch.zeros(1, T, 1)
    x[0, 2] = 1.0
    after: list[float] = Convolution(1)(x).flatten().tolist()
    left = 92.0
    for row, (name, values) in enumerate((("x", x.flatten().tolist()), ("after", after))):
        y = 306 + row * 74.0
        tensor(sheet, "attention", (left, y), [values], CELL)
        sheet.text(name, (left - 12, y + CELL / 2), "name", "end")
        for t, value in enumerate(values):
            if value:
                sheet.text(f"{value:.2g}", (left + (t + 0.5) * CELL, y + CELL + 10), "size")
    start = left + 2.5 * CELL
    for t in range(2, 5):
        x_end = left + (t + 0.5) * CELL
        arrow(sheet, (start, 306 + CELL + 18), (x_end, 306 + 72.0))


def draw() -> Sheet:
    sheet = Sheet(436)
    attention(sheet)
    curves(sheet)
    kernel(sheet)
    return sheet
