"""The same layers without and with what goes past them, and how blocks make a network."""

from __future__ import annotations

from papers.tools.drawing.parts import block, even, sign, tensor
from papers.tools.drawing.sheet import Sheet
from papers.tools.drawing.wires import arrow, down, skip

PLAIN, RESIDUAL = 84.0, 252.0


def layers(sheet: Sheet, x: float, past: bool) -> None:
    sheet.text("plain" if not past else "residual", (x, 9), "note")
    sheet.text("x", (x, 30))
    first = block(sheet, "convolution", "convolution", (x, 74), 128, link="a-weight-layer")
    between = block(sheet, "plain", "ReLU", (x, 117), 64, 24)
    second = block(sheet, "convolution", "convolution", (x, 160), 128, link="a-weight-layer")
    last = block(sheet, "plain", "relu", (x, 248), 64, 24)
    down(sheet, (x, 40), first)
    down(sheet, first, between)
    down(sheet, between, second)
    if past:
        plus = sign(sheet, "+", (x, 204))
        down(sheet, second, plus)
        down(sheet, plus, last)
        skip(sheet, (x, 49), plus.right, 88)
        with sheet.link("shortcuts-between-different-sizes"):
            sheet.text("shortcut", (x + 102, 226), "name", "end")
    else:
        down(sheet, second, last)
    down(sheet, last, (x, 280))
    sheet.text("y", (x, 290))


def network(sheet: Sheet, top: float) -> None:
    """A stage has half the side and twice the channels of the one before."""
    stem = block(sheet, "convolution", "", (22, top + 40), 30)
    sheet.text("stem", (22, top + 68))
    before = stem.right
    for number, (x, cell, depth) in enumerate([(66, 14, 2), (164, 7, 4), (236, 3.5, 8)]):
        map_ = tensor(sheet, "convolution", (x, top + 40 - 2 * cell), even(4, 4), cell, depth)
        arrow(sheet, before, (x - 4, top + 40))
        before = map_.right[0] + depth * 4 - 2, top + 40
        words = "width" if not number else f"{2**number}*width"
        sheet.text(words, (map_.centre[0] + 4, top + 84), "size")
    head = block(sheet, "linear", "head", (334, top + 40), 48, link="the-network")
    arrow(sheet, before, head.left)


def draw() -> Sheet:
    sheet = Sheet(404)
    layers(sheet, PLAIN, past=False)
    layers(sheet, RESIDUAL, past=True)
    network(sheet, 310)
    return sheet
