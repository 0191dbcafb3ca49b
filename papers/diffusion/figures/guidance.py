"""The densities that guidance aims at, by the page's own function, and the line that does it."""

from __future__ import annotations

import torch

from papers.diffusion.guidance import guided, three, tilted
from papers.diffusion.score_sde import VP
from papers.tools.drawing.parts import Values, tensor
from papers.tools.drawing.sheet import Point, Sheet
from papers.tools.drawing.wires import arrow

SIDE, CELL, REACH = 20, 5.3, 2.3
ORIGIN, UNIT = (60.0, 318.0), 90.0


def shades(weight: float) -> Values:
    along = REACH * ((torch.arange(SIDE) + 0.5) / SIDE * 2 - 1)
    x = torch.cartesian_prod(along.flip(0), along).flip(-1)
    density = sum(tilted(three(), VP(), label, weight, x) for label in range(3))
    assert isinstance(density, torch.Tensor)
    rows: list[list[float]] = (density / density.max()).view(SIDE, SIDE).tolist()
    # What nobody sees is left out.
    return [[round(value, 2) if value > 0.03 else 0.0 for value in row] for row in rows]


def place(x: float, y: float) -> Point:
    return ORIGIN[0] + UNIT * x, ORIGIN[1] - UNIT * y


def line(sheet: Sheet) -> None:
    """Guesses of the noise as arrows from a point."""
    without, given = torch.tensor([1.3, 0.35]), torch.tensor([1.55, 0.95])
    beyond = guided(given, without, 1.0)
    ends = [place(*each.tolist()) for each in (without, given, beyond)]
    for end in ends[:2]:
        arrow(sheet, ORIGIN, end)
    arrow(sheet, ends[0], ends[2], look="dashed")
    with sheet.group("idea"):
        for at, radius in ((ORIGIN, 5.0), (ends[2], 5.0)):
            sheet.add("circle", class_="dot", cx=at[0], cy=at[1], r=radius)
    sheet.text("x", (ORIGIN[0] - 14, ORIGIN[1]))
    sheet.text("without", (ends[0][0] + 8, ends[0][1] + 4), "name", "start")
    sheet.text("given", (ends[1][0] + 10, ends[1][1] + 4), "name", "start")
    with sheet.link("guidance"):
        sheet.text("guided", (ends[2][0] + 12, ends[2][1]), "name", "start")


def draw() -> Sheet:
    sheet = Sheet(340)
    with sheet.link("what-guidance-aims-at"):
        sheet.text("tilted", (16, 12), "name", "start")
    for number, weight in enumerate((0.0, 1.0, 4.0)):
        left = 14 + 113 * number
        box = tensor(sheet, "idea", (left, 24), shades(weight), CELL)
        sheet.text(f"weight {weight:g}", (box.centre[0], 144), "size")
    line(sheet)
    return sheet
