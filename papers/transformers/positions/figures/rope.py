"""A query and a key that turn by the same amount, and the bound on scores by the distance."""

from __future__ import annotations

import math

import torch

from papers.tools.drawing.axes import Axes
from papers.tools.drawing.sheet import Box, Sheet, path
from papers.transformers.positions.rope import angles, decay, rotate

RADIUS = 56.0
# Where key and query stand, and where each circle is drawn.
PLACES = (((1, 3), 96.0), ((5, 7), 250.0))
WIDE, FAR = 128, 250


def clock(sheet: Sheet, x: float, y: float, places: tuple[int, int]) -> None:
    """One pair of features: the same vector as a key and, further on, as a query."""
    with sheet.group("plain"):
        sheet.add("circle", class_="rule", cx=x, cy=y, r=RADIUS)
    pair = torch.tensor([1.0, 0.0]).expand(2, 2)
    turned = rotate(pair, angles(torch.tensor(places).float(), 2)).tolist()
    for (across, up), name, kind in zip(turned, "kq", ("idea", "attention"), strict=True):
        tip = x + RADIUS * across, y - RADIUS * up
        with sheet.group(kind):
            sheet.add("path", class_="trace", d=path("M", x, y, "L", *tip))
            sheet.add("circle", class_="dot", cx=tip[0], cy=tip[1], r=3)
        place = places["kq".index(name)]
        sheet.text(f"{name} {place}", (x + 1.3 * RADIUS * across, y - 1.23 * RADIUS * up), "size")
    # The angle between them, which is what a product sees.
    arc = [(x + 22 * math.cos(place), y - 22 * math.sin(place)) for place in places]
    with sheet.group("wire"):
        sheet.add("path", class_="line", d=path("M", *arc[0], "A", 22, 22, 0, 0, 0, *arc[1]))


def draw() -> Sheet:
    sheet = Sheet(378)
    for places, x in PLACES:
        clock(sheet, x, 94, places)
    with sheet.link("the-rotation"):
        sheet.text("rotate", (173, 12))
    with sheet.link("further-away-smaller"):
        sheet.text("decay", (44, 202), "name", "start")
    axes = Axes(Box(44, 214, 290, 130), (0, FAR), (0, 1))
    axes.draw(sheet, "tokens between query and key")
    for level in (0, 0.5, 1):
        sheet.text(f"{level:g}", (38, axes.place(0, level)[1]), "size", "end")
    for mark in (50, 150, 250):
        sheet.text(str(mark), (axes.place(mark, 0)[0], 372), "size")
    distances = torch.arange(0, FAR + 1, dtype=torch.float64)
    axes.curve(sheet, list(enumerate(decay(distances, WIDE).tolist())), "idea")
    return sheet
