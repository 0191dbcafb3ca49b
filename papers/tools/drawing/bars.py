r"""
---
title: Bars
summary: A distribution, and what a change makes of it.
---

# Bars
"""

from __future__ import annotations

from collections.abc import Sequence

from papers.tools.drawing.parts import Kind
from papers.tools.drawing.sheet import Point, Sheet

ROW, BAR = 19.0, 13.0


def bars(
    sheet: Sheet,
    corner: Point,
    names: Sequence[str],
    before: Sequence[float],
    after: Sequence[float],
    scale: float = 210,
    kind: Kind = "softmax",
) -> float:
    r"""
    ## Bars

    A row for each name: filled what its share is now, with its number, and in outline what it was.
    `scale` is the length of a whole. Returns the height at which the next may begin.
    """
    x, y = corner
    for number, (name, was, now) in enumerate(zip(names, before, after, strict=True)):
        top = y + number * ROW
        sheet.text(name, (x - 8, top + BAR / 2), "name" if now else "size", "end")
        with sheet.group(kind):
            if now:
                place = {"x": x, "y": top, "width": now * scale, "height": BAR}
                sheet.add("rect", class_="cell", fill_opacity=0.5, **place)
            sheet.add("rect", class_="rule", x=x, y=top, width=was * scale, height=BAR)
        longest = max(was, now) * scale
        sheet.text(f"{now:.2f}" if now else "0", (x + longest + 7, top + BAR / 2), "size", "start")
    return y + len(names) * ROW
