"""A layer that doubles, with the page's own function, and the generator of three sizes."""

from __future__ import annotations

import torch

from papers.adversarial.dcgan import Config, fractional
from papers.tools.drawing.parts import Values, tensor
from papers.tools.drawing.sheet import Sheet
from papers.tools.drawing.wires import arrow


def shades(pixels: torch.Tensor) -> Values:
    return (pixels / pixels.max()).tolist()


def layer(sheet: Sheet) -> None:
    """Four pixels, spread out, and what a smooth kernel makes of them."""
    x = torch.tensor([[[[1.0, 0.3], [0.15, 0.6]]]])
    side = torch.tensor([0.25, 0.75, 0.75, 0.25])
    kernel = (side[:, None] * side)[None, None]
    spread = torch.zeros(7, 7)
    spread[2:5:2, 2:5:2] = x[0, 0]
    small = tensor(sheet, "plain", (20, 60), shades(x[0, 0]), 18)
    wide = tensor(sheet, "plain", (96, 24), shades(spread), 16)
    with sheet.group("attention frame"):
        sheet.add("rect", class_="face", x=96, y=24, width=64, height=64, fill_opacity=0.0)
    large = tensor(sheet, "convolution", (268, 44), shades(fractional(x, kernel)[0, 0]), 18)
    arrow(sheet, small.right, (wide.left[0], small.right[1]))
    arrow(sheet, (wide.right[0], large.left[1]), large.left)
    with sheet.link("fractional-strides"):
        sheet.text("fractional", (large.centre[0], 26), "name")
    sheet.text("x", (small.centre[0], 110), "name")
    sheet.text("spread", (wide.centre[0], 150), "name")
    sheet.text("kernel", (128, 12), "size")


def generator(sheet: Sheet, top: float) -> None:
    W, y = Config().width, top + 50
    sheet.text("z", (16, y), "name")
    left, before = 64.0, (24.0, y)
    for size, maps in ((2, 2 * W), (4, W), (8, 1)):
        cell = 8.0
        width = size * cell
        values: Values = [[0.0] * size for _ in range(size)]
        depth = 4 if maps > W else 2 if maps == W else 1
        box = tensor(sheet, "convolution", (left, y - width / 2), values, cell, depth=depth)
        arrow(sheet, before, box.left)
        sheet.text(f"{maps}, {size}, {size}", (box.centre[0], top + 100), "size")
        before, left = (box.right[0] + 6 * (depth > 1) + 6, y), box.x + width + 78
    with sheet.link("the-generator"):
        sheet.text("Generator", (16, top - 4), "name", "start")


def draw() -> Sheet:
    sheet = Sheet(296)
    layer(sheet)
    generator(sheet, 182)
    return sheet
