r"""
---
title: Axes
summary: Curves over a number, with the few words that they need.
---

# Axes
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from papers.tools.drawing.parts import Kind
from papers.tools.drawing.sheet import Box, Point, Sheet, path


@dataclass(frozen=True, slots=True)
class Axes:
    r"""
    ## Where a curve is drawn

    A box on the sheet, and the least and the largest number that it shows of either axis.
    """

    box: Box
    across: tuple[float, float]
    up: tuple[float, float]

    def place(self, x: float, y: float) -> Point:
        (left, right), (low, high) = self.across, self.up
        return self.box.at((x - left) / (right - left), 1 - (y - low) / (high - low))

    def draw(self, sheet: Sheet, across: str = "", up: str = "") -> None:
        """The two lines, with what they count."""
        box = self.box
        corner = path("M", box.x, box.y, "v", box.height, "h", box.width)
        with sheet.group("wire"):
            sheet.add("path", class_="line", d=corner)
        sheet.text(across, (box.x + box.width, box.y + box.height + 14), "size", "end")
        sheet.text(up, (box.x + 6, box.y + 4), "size", "start")

    def curve(
        self, sheet: Sheet, points: Sequence[Point], kind: Kind, dashed: bool = False
    ) -> Point:
        """Through the points; returns the place of the last."""
        places = [self.place(*point) for point in points]
        steps = [step for place in places for step in ("L", *place)]
        with sheet.group(f"{kind} dashed" if dashed else kind):
            sheet.add("path", class_="trace", d=path("M", *steps[1:]))
        return places[-1]
