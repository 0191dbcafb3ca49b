"""A column of the batch and its statistics, and what reaches the layers, by the page's spread."""

from __future__ import annotations

import math

import torch

from papers.common.data import digits
from papers.normalization.batch_norm import Config, Network, spread
from papers.tools.drawing.axes import Axes
from papers.tools.drawing.parts import block, tensor
from papers.tools.drawing.sheet import Box, Point, Sheet
from papers.tools.drawing.wires import arrow, down

LAYERS = 6
ROWS, COLUMNS, COLUMN, CELL = 5, 7, 3, 15.0


def transform(sheet: Sheet) -> None:
    """From a batch down to y, and aside to what is tracked."""
    torch.manual_seed(0)
    shades = torch.rand(ROWS, COLUMNS).tolist()
    faint = [[0.25 * shade for shade in row] for row in shades]
    table = tensor(sheet, "plain", (70, 28), faint, CELL)
    column = [[0.2 + 0.7 * row[COLUMN]] for row in shades]
    corner = 70 + COLUMN * CELL, 28.0
    values = tensor(sheet, "idea", corner, column, CELL)
    sheet.text("C", (table.centre[0], 16), "size")
    sheet.text("M", (58, table.centre[1]), "size")
    sheet.text("x", (192, 38))
    x = values.centre[0]
    found = block(sheet, "idea", "mu, variance", (x, 142), 124, link="the-transform")
    hat = block(sheet, "norm", "x_hat", (x, 194), 84, link="the-transform")
    down(sheet, values, found)
    down(sheet, found, hat)
    # What is normalized goes past the statistics to where they are used.
    arrow(sheet, (70, 90), (34, 90), (34, 194), hat.left)
    tracked = block(sheet, "plain", "running", (286, 142), 92, link="what-is-tracked")
    arrow(sheet, found.right, tracked.left, look="dashed")
    arrow(sheet, tracked.bottom, (286, 194), hat.right, look="dashed")
    sheet.text("in use", (250, 206), "note")
    out = block(sheet, "linear", "gamma, beta", (x, 246), 116, link="the-transform")
    down(sheet, hat, out)
    down(sheet, out, (x, 284))
    sheet.text("y", (x, 293))


def differences(norm: bool) -> list[Point]:
    torch.manual_seed(0)
    network = Network(Config(norm=norm, layers=LAYERS))
    found = spread(network, digits("train").images.flatten(1)[:500])
    return [(number + 1, math.log10(value)) for number, value in enumerate(found)]


def draw() -> Sheet:
    sheet = Sheet(472)
    transform(sheet)
    axes = Axes(Box(58, 330, 280, 104), (1, LAYERS), (-4, 0.5))
    with sheet.link("what-reaches-the-upper-layers"):
        sheet.text("spread", (58, 318), "name", "start")
    axes.draw(sheet, "layer")
    for power in (0, -1, -2, -3, -4):
        sheet.text(f"1e{power}" if power else "1", (52, axes.place(1, power)[1]), "size", "end")
    for layer in range(1, LAYERS):
        sheet.text(str(layer), (axes.place(layer, 0)[0], 448), "size")
    for norm, height in ((True, -0.35), (False, -2.2)):
        axes.curve(sheet, differences(norm), "idea" if norm else "plain", dashed=not norm)
        place = axes.place(4 if norm else 1.3, height)
        sheet.text(f"norm={norm}", place, "name", "start")
    return sheet
