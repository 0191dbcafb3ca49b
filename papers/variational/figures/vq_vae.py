"""The way through the book and the gradient's way past it, and which entry is the closest where."""

from __future__ import annotations

import torch

from papers.tools.drawing.composites import picture
from papers.tools.drawing.parts import block
from papers.tools.drawing.sheet import Point, Sheet
from papers.tools.drawing.wires import arrow
from papers.variational.vq_vae import closest

BOOK = torch.tensor([[0.9, 1.5], [2.6, 0.7], [4.9, 1.2], [1.5, 3.3], [3.6, 2.9], [5.6, 3.5]])
POINT = torch.tensor([4.05, 2.15])
# How dark the places of each entry are.
SHADES = torch.tensor([1, 3, 2, 2, 0, 1]) / 7
LEFT, TOP, UNIT, PIXEL = 12.0, 194.0, 52.0, 4.0
SIZE = (6.46, 4.24)


def model(sheet: Sheet) -> None:
    sheet.text("x", (14, 60))
    encoder = block(sheet, "feed-forward", "encoder", (66, 60), 78, 40, "the-autoencoder")
    book = block(sheet, "embedding", "book", (180, 60), 62, 40, "the-book")
    decoder = block(sheet, "feed-forward", "decoder", (300, 60), 80, 40, "the-autoencoder")
    arrow(sheet, (20, 60), encoder.left)
    arrow(sheet, encoder.right, book.left)
    arrow(sheet, book.right, decoder.left)
    sheet.text("z", (126, 46))
    sheet.text("quantized", (226, 26))
    arrow(sheet, (240, 66), (240, 112), (118, 112), (118, 68), look="dashed")
    with sheet.link("straight-through"):
        sheet.text("the gradient goes around", (60, 130), "note", "start")
    worth = block(sheet, "idea", "likelihood", (300, 134), 104, 30, "the-autoencoder")
    arrow(sheet, decoder.bottom, worth.top)


def place(point: torch.Tensor) -> Point:
    x, y = point.tolist()
    return LEFT + UNIT * x, TOP + UNIT * y


def plane(sheet: Sheet) -> None:
    across, down = (int(side * UNIT / PIXEL) for side in SIZE)
    # Not quite the middles: no place is as far from one entry as from another, to the last bit.
    x, y = ((torch.arange(count) + 0.49) * PIXEL / UNIT for count in (across, down))
    grid = torch.stack([x.expand(down, -1), y[:, None].expand(-1, across)], -1)
    codes = closest(grid, BOOK)
    picture(sheet, (LEFT, TOP), SHADES[codes].tolist(), PIXEL)
    for entry in BOOK:
        at = place(entry)
        with sheet.group("embedding"):
            sheet.add("circle", class_="dot", cx=at[0], cy=at[1], r=5.0)
    start, end = place(POINT), place(BOOK[closest(POINT[None], BOOK)[0]])
    arrow(sheet, start, end)
    for at in (start, end):
        arrow(sheet, at, (at[0] - 56, at[1] - 22), look="dashed")
    with sheet.group("idea"):
        sheet.add("circle", class_="dot", cx=start[0], cy=start[1], r=5.0)
    sheet.text("z", (start[0] + 12, start[1] - 4), "name", "start")
    sheet.text("e", (end[0] + 12, end[1] + 6), "name", "start")
    with sheet.link("the-closest-entry"):
        sheet.text("closest(z, book)", (LEFT, TOP - 14), "name", "start")


def draw() -> Sheet:
    sheet = Sheet(426)
    model(sheet)
    plane(sheet)
    return sheet
