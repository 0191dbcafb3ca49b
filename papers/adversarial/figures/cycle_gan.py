"""Both ways around, with shapes that the page draws."""

from __future__ import annotations

from papers.adversarial.cycle_gan import shapes
from papers.tools.drawing.composites import picture
from papers.tools.drawing.sheet import Box, Point, Sheet
from papers.tools.drawing.wires import arrow

SIDE, LEFT, STEP = 64.0, 12.0, 126.0


def boxes(sheet: Sheet, top: float, rows: list[list[list[float]]]) -> list[Box]:
    corners: list[Point] = [(LEFT + STEP * place, top) for place in range(3)]
    return [
        picture(sheet, corner, pixels, SIDE / 16)
        for corner, pixels in zip(corners, rows, strict=True)
    ]


def way(sheet: Sheet, top: float, rows: list[list[list[float]]], words: list[str]) -> None:
    """From left to right: a picture, its translation, and what comes back."""
    start, made, back = boxes(sheet, top, rows)
    for (one, other), name in zip(((start, made), (made, back)), words[:2], strict=True):
        arrow(sheet, one.right, other.left)
        middle = ((one.right[0] + other.left[0]) / 2, one.right[1] - 14)
        with sheet.link("a-translator"):
            sheet.text(name, middle, "name")
    with sheet.link("a-judge-of-patches"):
        sheet.text(words[2], (made.centre[0], top + SIDE + 26), "name")
    arrow(sheet, made.bottom, (made.centre[0], top + SIDE + 16))
    low = top + SIDE + 42
    under = (start.centre[0], low), (back.centre[0], low)
    arrow(sheet, start.bottom, *under, back.bottom, look="dashed", head=False)
    with sheet.link("there-and-back"):
        sheet.text("distance", (made.centre[0], low + 12), "size")
    for box, name in zip((start, made, back), words[3:], strict=True):
        sheet.text(name, (box.centre[0], top - 12), "name")


def draw() -> Sheet:
    sheet = Sheet(316)
    x, y = (each.abs().amax(1).tolist() for each in shapes(2, 5))
    way(sheet, 28, [x[0], y[0], x[0]], ["G", "F", "D_Y", "x", "y_hat", "F(G(x))"])
    way(sheet, 190, [y[1], x[1], y[1]], ["F", "G", "D_X", "y", "x_hat", "G(F(y))"])
    return sheet
