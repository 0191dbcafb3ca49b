"""A block, with the triangle of weights in the middle of its one network."""

from __future__ import annotations

import torch

from papers.tools.drawing.parts import Values, block, sign, tensor
from papers.tools.drawing.sheet import Sheet
from papers.tools.drawing.wires import arrow, down

MIDDLE, LEFT, RIGHT, SIDE, CELL = 180.0, 110.0, 250.0, 5, 15.0


def triangle(sheet: Sheet, corner: tuple[float, float]) -> tuple[float, float]:
    torch.manual_seed(2)
    shades = (0.2 + 0.6 * torch.rand(SIDE, SIDE)).tolist()
    values: Values = [
        [x if across <= below else None for across, x in enumerate(row)]
        for below, row in enumerate(shades)
    ]
    box = tensor(sheet, "idea", corner, values, CELL)
    with sheet.link("the-spatial-gating-unit"):
        sheet.text("weight", (box.right[0] + 8, box.centre[1]), "name", "start")
    return box.bottom


def draw() -> Sheet:
    sheet = Sheet(420)
    sheet.text("x", (MIDDLE, 10))
    norm = block(sheet, "norm", "norm", (MIDDLE, 46), 84, 22, link="a-block")
    up = block(sheet, "linear", "up", (MIDDLE, 86), 96, 26, link="a-block")
    down(sheet, (MIDDLE, 18), norm)
    down(sheet, norm, up)
    inner = block(sheet, "norm", "norm", (RIGHT, 144), 84, 22, link="the-spatial-gating-unit")
    arrow(sheet, up.bottom, (MIDDLE, 114), (RIGHT, 114), inner.top)
    sheet.text("z2", (RIGHT + 12, 122), "size", "start")
    top = (RIGHT - SIDE * CELL / 2, 176.0)
    down(sheet, inner, (RIGHT, top[1]))
    bottom = triangle(sheet, top)
    product = sign(sheet, "*", (LEFT, 286))
    arrow(sheet, up.bottom, (MIDDLE, 114), (LEFT, 114), product.top)
    sheet.text("z1", (LEFT - 12, 122), "size", "end")
    arrow(sheet, bottom, (RIGHT, 286), product.right)
    sheet.text("+ bias", (RIGHT - 50, 276), "size")
    out = block(sheet, "linear", "down", (LEFT, 330), 96, 26, link="a-block")
    total = sign(sheet, "+", (LEFT, 374))
    down(sheet, product, out)
    down(sheet, out, total)
    down(sheet, total, (LEFT, 412))
    arrow(sheet, (MIDDLE, 26), (28, 26), (28, 374), total.left, look="past")
    return sheet
