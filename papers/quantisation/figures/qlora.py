"""The values of three data types below a bell curve, and the bits of a weight."""

from __future__ import annotations

import math

from torch import nn

from papers.quantisation.qlora import FourBits, normal_float, small_float, whole_numbers
from papers.tools.drawing.axes import Axes
from papers.tools.drawing.parts import Kind
from papers.tools.drawing.sheet import Box, Sheet, path

LEFT, WIDTH = 58.0, 282.0
# The largest of 64 normal numbers is 2.4 deviations from zero, give or take.
REACH = 2.4


def rulers(sheet: Sheet) -> None:
    axes = Axes(Box(LEFT, 12, WIDTH, 72), (-1, 1), (0, 1))
    bell = [(x / 50, math.exp(-0.5 * (REACH * x / 50) ** 2)) for x in range(-50, 51)]
    axes.curve(sheet, bell, "softmax")
    with sheet.group("wire"):
        sheet.add("path", class_="line", d=path("M", LEFT, 84.0, "h", WIDTH))
    for x, told in ((-1, "−1"), (0, "0"), (1, "1")):
        sheet.text(told, (axes.place(x, 0)[0], 94), "size")
    books = {"nf4": normal_float(), "fp4": small_float(2, 1), "int4": whole_numbers()}
    links = {"nf4": "normalfloat", "fp4": "floating-point-in-four-bits", "int4": ""}
    for row, (name, book) in enumerate(books.items()):
        y = 116 + 26.0 * row
        kind: Kind = "idea" if name == "nf4" else "plain"
        with sheet.link(links[name]):
            sheet.text(name, (LEFT - 14, y), "name", "end")
        with sheet.group("wire"):
            sheet.add("path", class_="line", d=path("M", LEFT, y, "h", WIDTH))
        for value in book.tolist():
            with sheet.group(kind):
                sheet.add("circle", class_="face", cx=axes.place(value, 0)[0], cy=y, r=4.5)


def stored(sheet: Sheet) -> None:
    base = nn.Linear(768, 768, bias=False)
    sheet.text("bits of a weight", (LEFT, 204), "note", "start")
    for row, double in enumerate((False, True)):
        layer = FourBits(base, normal_float(), double)
        y, scale = 226 + 26.0 * row, WIDTH / 5.2
        codes = 8 * layer.packed.numel() / base.weight.numel()
        places: list[tuple[Kind, float, float]] = [
            ("plain", 0, codes),
            ("idea", codes, layer.bits() - codes),
        ]
        with sheet.link("double-quantisation"):
            sheet.text("double" if double else "single", (LEFT - 6, y), "size", "end")
        for kind, start, long in places:
            with sheet.group(f"{kind} tensor"):
                place = {"x": LEFT + scale * start, "y": y - 8, "width": scale * long}
                sheet.add("rect", class_="face", height=16, **place)
        end = LEFT + scale * layer.bits() + 8
        sheet.text(f"{layer.bits():.3f}", (end, y), "size", "start")


def draw() -> Sheet:
    sheet = Sheet(272)
    rulers(sheet)
    stored(sheet)
    return sheet
