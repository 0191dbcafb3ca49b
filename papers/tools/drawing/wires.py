r"""
---
title: Wires
summary: What leads from part to part, and what goes around one.
---

# Wires
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from papers.tools.drawing.sheet import Box, Point, Sheet, path

Look = Literal["", "past", "faint", "dashed"]
# How round a corner is, and how large an arrow's head.
ROUND, HEAD = 8.0, 7.0


def arrow(sheet: Sheet, *points: Point, look: Look = "", head: bool = True) -> None:
    r"""
    ## Arrows

    Along the points, with round corners, and with a head at the last.
    """
    ends = list(points)
    if head:
        # The line ends inside the head, and not before it.
        ends[-1] = toward(points[-1], points[-2], HEAD - 1)
    with sheet.group(f"wire {look}".strip()):
        sheet.add("path", class_="line", d=route(ends))
        if head:
            sheet.add("path", class_="tip", d=_head(points[-2], points[-1]))


def toward(start: Point, end: Point, distance: float) -> Point:
    """The point at a distance from `start` on the way to `end`."""
    length = math.dist(start, end) or 1
    share = distance / length
    return start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share


def route(points: Sequence[Point]) -> str:
    """A path along the points, round at its corners."""
    steps: list[str | float] = ["M", *points[0]]
    for before, here, after in zip(points, points[1:], points[2:], strict=False):
        reach = min(ROUND, math.dist(before, here) / 2, math.dist(here, after) / 2)
        steps += ["L", *toward(here, before, reach), "Q", *here, *toward(here, after, reach)]
    return path(*steps, "L", *points[-1])


def _head(start: Point, end: Point) -> str:
    (x, y), (back_x, back_y) = end, toward(end, start, HEAD)
    across, along = (y - back_y) / 2, (back_x - x) / 2
    left, right = (back_x + across, back_y + along), (back_x - across, back_y - along)
    return path("M", *left, "L", x, y, "L", *right, "z")


def down(sheet: Sheet, above: Box | Point, below: Box | Point, look: Look = "") -> None:
    """From the bottom of a part straight to the top of the next."""
    start = above.bottom if isinstance(above, Box) else above
    end = below.top if isinstance(below, Box) else below
    arrow(sheet, start, end, look=look)


def skip(sheet: Sheet, start: Point, end: Point, side: float) -> None:
    r"""
    ## Skips

    What goes past some parts, at the distance `side` to the right, or, below zero, to the left, and
    joins what comes out of them.
    """
    x = start[0] + side
    arrow(sheet, start, (x, start[1]), (x, end[1]), end, look="past")


def brace(sheet: Sheet, top: Point, bottom: Point, label: str = "", depth: float = 8) -> None:
    r"""
    ## Braces

    Along what is meant, to its right; to its left, where `depth` is below zero.
    """
    (x, y), (_, end), half = top, bottom, depth / 2
    turn, middle = abs(half), (y + end) / 2
    out, back = ("q", half, 0, half, turn), ("q", 0, turn, half, turn)
    home = ("q", -half, 0, -half, turn), ("q", 0, turn, -half, turn)
    line = path("M", x, y, *out, "V", middle - turn, *back, *home[0], "V", end - turn, *home[1])
    with sheet.group("wire"):
        sheet.add("path", class_="line", d=line)
    if label:
        anchor = "start" if depth > 0 else "end"
        sheet.text(label, (x + depth * 1.8, middle), "note", anchor)
