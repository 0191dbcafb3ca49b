"""Numbers as angles that add up, and cosines whose mean stands out in one place."""

from __future__ import annotations

import math

from papers.language.grokking import waves
from papers.tools.drawing.axes import Axes
from papers.tools.drawing.parts import Kind
from papers.tools.drawing.sheet import Box, Point, Sheet, path
from papers.tools.drawing.wires import arrow

P, A, B = 13, 3, 6
# Of each cosine its frequency and its look.
CHOSEN: tuple[tuple[int, Kind], ...] = ((1, "attention"), (3, "feed-forward"), (4, "plain"))
CENTRE, RADIUS = (180.0, 112.0), 76.0


def at(number: float, radius: float) -> Point:
    angle = 2 * math.pi * number / P
    return CENTRE[0] + radius * math.sin(angle), CENTRE[1] - radius * math.cos(angle)


def circle(sheet: Sheet) -> None:
    with sheet.group("wire faint"):
        way: list[str | float] = ["M", *at(0, RADIUS)]
        for step in range(1, 8 * P + 1):
            way += ["L", *at(step / 8, RADIUS)]
        sheet.add("path", class_="line", d=path(*way))
    for number in range(P):
        kind = "idea" if number in (A, B, A + B) else "plain"
        x, y = at(number, RADIUS)
        with sheet.group(kind):
            sheet.add("circle", class_="dot", cx=x, cy=y, r=4)
        sheet.text(str(number), at(number, RADIUS + 16), "size")
    for number in (A, B, A + B):
        arrow(sheet, CENTRE, at(number, RADIUS - 7))
    with sheet.link("a-rule-made-of-angles"):
        sheet.text(f"{A} + {B} = {A + B}", (14, 20), "name", "start")
    sheet.text(f"modulo {P}", (14, 38), "size", "start")


def draw() -> Sheet:
    sheet = Sheet(400)
    circle(sheet)
    axes = Axes(Box(36, 240, 312, 126), (-6, 6), (-1, 1.1))
    axes.draw(sheet, "a + b - c")
    with sheet.link("a-rule-made-of-angles"):
        sheet.text("waves(13)", (36, 228), "name", "start")
    for level in (-1, 0, 1):
        sheet.text(f"{level}", (30, axes.place(0, level)[1]), "size", "end")
    made, places = waves(P), range(-6, 7)
    for k, kind in CHOSEN:
        axes.curve(sheet, [(float(d), made[k - 1, d % P].item()) for d in places], kind, True)
    mean = made[[k - 1 for k, _ in CHOSEN]].mean(0)
    axes.curve(sheet, [(float(d), mean[d % P].item()) for d in places], "idea")
    with sheet.link("what-the-network-has-found"):
        sheet.text("their mean", axes.place(0.5, 1.2), "name", "start")
    return sheet
