"""A shortcut that is multiplied, and how far one step moves networks of many depths."""

from __future__ import annotations

import math

import torch

from papers.normalization.deep_norm import Config, Network, task, update
from papers.tools.drawing.axes import Axes
from papers.tools.drawing.parts import Kind, block, sign
from papers.tools.drawing.sheet import Box, Point, Sheet
from papers.tools.drawing.wires import arrow, down

TRUNK, PAST = 186.0, 62.0
DEPTHS = (6, 12, 25, 50, 100, 200)


def layer(sheet: Sheet) -> None:
    sheet.text("x", (TRUNK, 10))
    part = block(sheet, "attention", "sublayer", (TRUNK, 68), 104, link="the-smaller-weights")
    product, plus = sign(sheet, "*", (PAST, 68)), sign(sheet, "+", (TRUNK, 116))
    norm = block(sheet, "norm", "norm", (TRUNK, 156), 104, 24, link="the-larger-shortcut")
    down(sheet, (TRUNK, 19), part)
    down(sheet, part, plus)
    down(sheet, plus, norm)
    down(sheet, norm, (TRUNK, 190))
    arrow(sheet, (TRUNK, 32), (PAST, 32), product.top, look="past")
    arrow(sheet, product.bottom, (PAST, 116), plus.left, look="past")
    with sheet.link("two-numbers"):
        sheet.text("alpha", (PAST - 18, 68), "name", "end")
        sheet.text("beta", (300, 68), "name", "start")
    arrow(sheet, (294, 68), part.right, look="dashed")


def moved(norm: str) -> list[Point]:
    """The power of ten of the update, for each depth."""
    found = []
    for layers in DEPTHS:
        torch.manual_seed(0)
        config = Config(norm=norm, layers=layers)  # type: ignore[arg-type]
        letters, answers = task(config, 8)
        network = Network(config).double()
        found.append((float(layers), math.log10(update(network, letters, answers))))
    return found


def draw() -> Sheet:
    sheet = Sheet(396)
    layer(sheet)
    with sheet.link("how-far-a-step-moves-the-output"):
        sheet.text("update", (50, 216), "name", "start")
    axes = Axes(Box(50, 230, 294, 136), (0, DEPTHS[-1]), (-1, 3))
    axes.draw(sheet, "layers")
    for power, told in enumerate(("0.1", "1", "10", "100", "1000"), -1):
        sheet.text(told, (44, axes.place(0, power)[1]), "size", "end")
    curves: list[tuple[str, Kind, str, Point]] = [
        ("deep", "idea", "norm=deep", (110, -0.05)),
        ("post", "plain", "norm=post", (110, 1.5)),
    ]
    for norm, kind, words, place in curves:
        axes.curve(sheet, moved(norm), kind)
        sheet.text(words, axes.place(*place), "name", "start")
    return sheet
