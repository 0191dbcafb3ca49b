"""A block, the real part of the matrix over eight tokens, and what one token becomes."""

from __future__ import annotations

import torch

from papers.tools.drawing.axes import Axes
from papers.tools.drawing.parts import Values, block, sign, tensor
from papers.tools.drawing.sheet import Box, Sheet
from papers.tools.drawing.wires import down, skip
from papers.transformers.mixing.fnet import dft, fourier

LEFT, TOKENS, AT = 90.0, 64, 3


def halves(sheet: Sheet) -> None:
    """The block: a sum and a norm after each of its halves."""
    sheet.text("x", (LEFT, 10))
    mixing = block(sheet, "idea", "fourier", (LEFT, 48), 104, 26, link="mixing")
    first = sign(sheet, "+", (LEFT, 86))
    norm1 = block(sheet, "norm", "norm", (LEFT, 118), 84, 22, link="a-block")
    network = block(sheet, "feed-forward", "feed_forward", (LEFT, 164), 124, 26, link="a-block")
    second = sign(sheet, "+", (LEFT, 202))
    norm2 = block(sheet, "norm", "norm", (LEFT, 234), 84, 22, link="a-block")
    for above, below in (
        ((LEFT, 18), mixing), (mixing, first), (first, norm1), (norm1, network),
        (network, second), (second, norm2), (norm2, (LEFT, 262)),
    ):  # fmt: skip
        down(sheet, above, below)
    skip(sheet, (LEFT, 24), first.left, -74)
    skip(sheet, (LEFT, 136), second.left, -74)


def weights(sheet: Sheet) -> None:
    """Cosines as shades, from -1, which is white, to 1."""
    shades = ((dft(8)[0] + 1) / 2.2).tolist()
    values: Values = shades
    grid = tensor(sheet, "idea", (192, 70), values, 18)
    with sheet.link("as-matrices"):
        sheet.text("dft(8)[0]", (grid.centre[0], 56), "name")
    sheet.text("tokens in", (grid.centre[0], 228), "size")


def draw() -> Sheet:
    sheet = Sheet(400)
    halves(sheet)
    weights(sheet)
    x = torch.zeros(TOKENS, 1)
    x[AT] = 1
    with sheet.link("mixing"):
        sheet.text("fourier(x) of one token", (44, 288), "name", "start")
    axes = Axes(Box(44, 302, 300, 76), (0, TOKENS - 1), (-1.1, 1.1))
    axes.draw(sheet, "position")
    for level in (-1, 0, 1):
        sheet.text(f"{level}", (38, axes.place(0, level)[1]), "size", "end")
    points = [(float(t), y) for t, y in enumerate(fourier(x).flatten().tolist())]
    axes.curve(sheet, points, "idea")
    return sheet
