r"""
---
title: Parts
summary: Blocks, tensors and sums, each drawn in one way.
---

# Parts
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from papers.tools.drawing.sheet import Box, Point, Sheet, path, words_width

# What a part does. Its colour is in the style sheet.
Kind = Literal[
    "attention", "feed-forward", "norm", "embedding", "linear", "softmax", "convolution", "noise",
    "plain", "idea",
]  # fmt: skip
HEIGHT = 30
# How far the cards of a stack lie apart.
STEP = 4
# A row of a tensor: of each cell how full it is, from 0 to 1, or None where a mask hides it.
Values = Sequence[Sequence[float | None]]


def block(
    sheet: Sheet,
    kind: Kind,
    label: str,
    at: Point,
    width: float = 0,
    height: float = HEIGHT,
    link: str = "",
    depth: int = 1,
    note: str = "",
) -> Box:
    r"""
    ## Blocks

    A part with a name, centred at a point, as a stack of `depth` where there are several. Its form
    says what it is, also to those who do not see the colour: what attends is rounded, a norm and a
    softmax are pills, and a feed-forward network is wider inside than at its ends.
    """
    width = width or words_width(label) + 30
    box = Box(at[0] - width / 2, at[1] - height / 2, width, height)
    with sheet.link(link), sheet.group(kind):
        for card in reversed(range(depth)):
            aside = Box(box.x + card * STEP, box.y - card * STEP, width, height)
            sheet.add("path", class_="face", d=outline(kind, aside))
        if kind == "convolution":
            kernel(sheet, (box.x + 15, box.centre[1]))
        middle = box.centre[0] + (8 if kind == "convolution" else 0)
        sheet.text(label, (middle, box.centre[1] - (8 if note else 0)))
        if note:
            sheet.text(note, (middle, box.centre[1] + 9), "size")
    return box


def outline(kind: str, box: Box) -> str:
    """The form of a block, as a path."""
    x, y, w, h = box.x, box.y, box.width, box.height
    if kind == "feed-forward":
        c = min(10, w / 4)
        right = "H", x + w - c, "L", x + w, y + h / 2, "L", x + w - c, y + h
        return path("M", x + c, y, *right, "H", x + c, "L", x, y + h / 2, "Z")
    r = min({"norm": h, "softmax": h, "attention": 9, "idea": 9}.get(kind, 3), h / 2)
    turn = "a", r, r, 0, 0, 1
    return path(
        "M", x + r, y, "H", x + w - r, *turn, r, r, "V", y + h - r, *turn, -r, r,
        "H", x + r, *turn, -r, -r, "V", y + r, *turn, r, -r, "Z",
    )  # fmt: skip


def kernel(sheet: Sheet, at: Point) -> None:
    """The nine weights that a convolution moves over its input."""
    lines(sheet, Box(at[0] - 6, at[1] - 6, 12, 12), 3, 3)
    sheet.add("path", class_="rule", d=square(Box(at[0] - 6, at[1] - 6, 12, 12)))


def lines(sheet: Sheet, box: Box, rows: int, columns: int) -> None:
    """Those between rows and columns."""
    steps: list[str | float] = []
    for column in range(1, columns):
        steps += ["M", box.x + column * box.width / columns, box.y, "v", box.height]
    for row in range(1, rows):
        steps += ["M", box.x, box.y + row * box.height / rows, "h", box.width]
    if steps:
        sheet.add("path", class_="rule", d=path(*steps))


def square(box: Box) -> str:
    return path("M", box.x, box.y, "h", box.width, "v", box.height, "h", -box.width, "z")


def tensor(
    sheet: Sheet,
    kind: Kind,
    corner: Point,
    values: Values,
    cell: float = 14,
    depth: int = 1,
    link: str = "",
) -> Box:
    r"""
    ## Tensors

    A grid, with its upper left corner at a point. A cell is as dark as its value, and a cell that a
    mask hides is crossed out.
    """
    rows, columns = len(values), len(values[0])
    box = Box(*corner, columns * cell, rows * cell)
    with sheet.link(link), sheet.group(f"{kind} tensor"):
        for card in reversed(range(1, depth)):
            aside = Box(box.x + card * STEP, box.y - card * STEP, box.width, box.height)
            sheet.add("path", class_="face", d=outline("plain", aside))
        sheet.add("path", class_="face", d=square(box))
        for down, row in enumerate(values):
            for across, value in enumerate(row):
                fill(sheet, Box(box.x + across * cell, box.y + down * cell, cell, cell), value)
        lines(sheet, box, rows, columns)
    return box


def fill(sheet: Sheet, cell: Box, value: float | None) -> None:
    if value is None:
        (left, bottom), (right, top) = cell.at(0.28, 0.72), cell.at(0.72, 0.28)
        sheet.add("path", class_="hidden", d=path("M", left, bottom, "L", right, top))
    elif value:
        place = {"x": cell.x, "y": cell.y, "width": cell.width, "height": cell.height}
        sheet.add("rect", class_="cell", fill_opacity=float(value), **place)


def even(rows: int, columns: int, value: float = 0) -> list[list[float | None]]:
    """A tensor of which only the size is told."""
    return [[value] * columns for _ in range(rows)]


def sign(sheet: Sheet, sign: str, at: Point, radius: float = 11) -> Box:
    r"""
    ## Signs

    Where two things become one, by the operator that stands in the code: `+`, `*` or `@`.
    """
    (x, y), half = at, radius / 2
    slant = half * 0.75
    strokes: dict[str, tuple[str | float, ...]] = {
        "+": ("M", x - half, y, "h", radius, "M", x, y - half, "v", radius),
        "-": ("M", x - half, y, "h", radius),
        "*": ("M", x - slant, y - slant, "l", 2 * slant, 2 * slant,
              "m", 0, -2 * slant, "l", -2 * slant, 2 * slant),
    }  # fmt: skip
    with sheet.group("sign"):
        sheet.add("circle", class_="face", cx=x, cy=y, r=radius)
        if sign in strokes:
            sheet.add("path", class_="glyph", d=path(*strokes[sign]))
        else:
            sheet.text(sign, at)
    return Box(x - radius, y - radius, 2 * radius, 2 * radius)


def frame(sheet: Sheet, box: Box, label: str = "", link: str = "", kind: Kind = "plain") -> Box:
    r"""
    ## Frames

    What belongs together, with its name at the upper left.
    """
    with sheet.link(link), sheet.group(f"{kind} frame"):
        sheet.add("path", class_="face", d=outline("idea", box))
        if label:
            sheet.text(label, (box.x + 12, box.y + 15), "name", "start")
    return box
