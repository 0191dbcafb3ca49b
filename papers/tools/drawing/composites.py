r"""
---
title: Composites
summary: What several papers are built of, out of parts and wires.
---

# Composites
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from papers.tools.drawing.parts import Kind, block, sign
from papers.tools.drawing.sheet import Box, Point, Sheet, path
from papers.tools.drawing.wires import down, skip

# How many shades a picture has.
SHADES = 8


@dataclass(frozen=True, slots=True)
class Sublayer:
    """What stands in it, where each of its parts leads, and whether the norm comes first."""

    kind: Kind
    name: str
    norm: str
    link: str = ""
    norm_link: str = ""
    before: bool = True
    depth: int = 1


def residual(
    sheet: Sheet, start: Point, part: Sublayer, side: float = 84, width: float = 124
) -> tuple[Point, Box]:
    r"""
    ## A residual sublayer

    From its start down, with the norm before the part or after the sum, and past both what comes
    in. Returns where it ends and where the part is.
    """
    x, y = start

    def norm(height: float) -> Box:
        return block(sheet, "norm", part.norm, (x, height), width, 24, part.norm_link)

    def inner(height: float) -> Box:
        at = x, height
        return block(sheet, part.kind, part.name, at, width, link=part.link, depth=part.depth)

    if part.before:
        first, second, plus = norm(y + 34), inner(y + 78), sign(sheet, "+", (x, y + 120))
        down(sheet, start, first)
        down(sheet, first, second)
        end, made = plus, second
    else:
        made, plus = inner(y + 38), sign(sheet, "+", (x, y + 82))
        down(sheet, start, made)
        end, second = norm(y + 122), made
        down(sheet, plus, end)
    down(sheet, second, plus)
    skip(sheet, (x, y + 10), plus.right if side > 0 else plus.left, side)
    return end.bottom, made


def picture(sheet: Sheet, corner: Point, pixels: Sequence[Sequence[float]], pixel: float) -> Box:
    r"""
    ## Pictures

    Pixels from 0 to 1, as a path for each shade.
    """
    shades: dict[int, list[str | float]] = {}
    for row, line in enumerate(pixels):
        for column, value in enumerate(line):
            place = "M", corner[0] + column * pixel, corner[1] + row * pixel
            steps = *place, "h", pixel, "v", pixel, "h", -pixel, "z"
            shades.setdefault(round(value * (SHADES - 1)), []).extend(steps)
    box = Box(*corner, len(pixels[0]) * pixel, len(pixels) * pixel)
    with sheet.group("plain tensor"):
        sheet.add("rect", class_="face", x=box.x, y=box.y, width=box.width, height=box.height)
        for shade in sorted(shades.keys() - {0}):
            dark = shade / (SHADES - 1)
            sheet.add("path", class_="cell", fill_opacity=dark, d=path(*shades[shade]))
    return box
