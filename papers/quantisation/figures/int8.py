"""An input with two outlier features times weights, in two products, and three errors."""

from __future__ import annotations

import math

import torch
from torch import nn

from papers.quantisation.int8 import Int8Linear, Scheme
from papers.tools.drawing.parts import Values, sign, tensor
from papers.tools.drawing.sheet import Sheet
from papers.tools.drawing.wires import arrow

CELL, WIDE = 13.0, (2, 5)
# How dark the cells of the input are: the outliers of all rows are as large, the rest is not.
INPUT = [
    [0.2, 0.1, 0.9, 0.2, 0.1, 0.9, 0.2],
    [0.1, 0.2, 0.9, 0.1, 0.2, 0.9, 0.1],
    [0.2, 0.2, 0.9, 0.1, 0.1, 0.9, 0.2],
    [0.1, 0.1, 0.9, 0.2, 0.2, 0.9, 0.1],
    [0.2, 0.1, 0.9, 0.1, 0.2, 0.9, 0.2],
]


def only(chosen: bool) -> Values:
    """The columns that are outliers, or those that are not."""
    return [[value for c, value in enumerate(row) if (c in WIDE) == chosen] for row in INPUT]


def two_products(sheet: Sheet) -> None:
    whole = tensor(sheet, "plain", (20, 70), INPUT, CELL)
    sheet.text("x", (whole.centre[0], 58))
    sheet.text("(B, C)", (whole.centre[0], 148), "size")
    few = tensor(sheet, "idea", (164, 24), only(True), CELL)
    with sheet.link("the-layer"):
        sheet.text("wide", (few.centre[0], 12))
    weights = tensor(sheet, "idea", (226, 43), [[0.4] * 4] * 2, CELL)
    sheet.text("@", (208, few.centre[1]))
    sheet.text("16 bits", (252, 84), "size")
    rest = tensor(sheet, "plain", (151, 128), only(False), CELL)
    steps = tensor(sheet, "softmax", (221, 128), [[0.5]] * 5, CELL)
    sheet.text("*", (244, rest.centre[1]))
    with sheet.link("a-product-in-8-bits"):
        sheet.text("step", (steps.centre[0], 118))
    tensor(sheet, "plain", (256, 134), [[0.4] * 4] * 5, CELL)
    tensor(sheet, "softmax", (256, 115), [[0.5] * 4], CELL)
    sheet.text("8 bits", (183, 206), "size")
    sheet.text("8 bits", (282, 210), "size")
    arrow(sheet, (116, 90), (134, 90), (134, few.centre[1]), (158, few.centre[1]))
    arrow(sheet, (116, 116), (134, 116), (134, rest.centre[1]), (146, rest.centre[1]))
    plus = sign(sheet, "+", (334, 104))
    arrow(sheet, (weights.x + 58, few.centre[1]), (334, few.centre[1]), plus.top)
    arrow(sheet, (314, 166), (334, 166), plus.bottom)


def errors() -> dict[str, float]:
    """Of a product of 64 features with 64 outputs, in its deviation."""
    torch.manual_seed(0)
    base, x = nn.Linear(64, 64, bias=False), torch.randn(256, 64)
    x[:, :2] = 40.0
    exact = base(x).detach()
    ways = {
        "tensor": Scheme(rows=False, columns=False, threshold=math.inf),
        "vectors": Scheme(threshold=math.inf),
        "LLM.int8()": Scheme(keep=True),
    }
    off = {name: Int8Linear(base, way)(x).detach() - exact for name, way in ways.items()}
    return {
        name: (one.square().mean().sqrt() / exact.std(0).mean()).item() for name, one in off.items()
    }


def draw() -> Sheet:
    sheet = Sheet(316)
    two_products(sheet)
    told = errors()
    most = max(told.values())
    for number, (name, error) in enumerate(told.items()):
        y = 244 + 24.0 * number
        long = 170 * error / most
        sheet.text(name, (92, y), "size", "end")
        with sheet.group("idea tensor" if name == "LLM.int8()" else "plain tensor"):
            sheet.add("rect", class_="face", x=100, y=y - 8, width=max(1.5, long), height=16)
        sheet.text(f"{100 * error:.1f} %", (108 + long, y), "size", "start")
    return sheet
