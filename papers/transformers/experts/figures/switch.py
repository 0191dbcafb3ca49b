"""A token on its way to one of four experts, and eight tokens in line for the places of three."""

from __future__ import annotations

import torch

from papers.tools.drawing.parts import Kind, block, even, sign, tensor
from papers.tools.drawing.sheet import Sheet
from papers.tools.drawing.wires import Look, arrow
from papers.transformers.experts.switch import places, room

TOP = 60.0
CHOSEN, E, CELL = (0, 1, 0, 2, 0, 2, 0, 1), 3, 26.0


def layer(sheet: Sheet) -> None:
    middle = TOP + 54
    sheet.text("x", (10, middle))
    router = block(sheet, "softmax", "router", (66, middle), 72, link="the-layer")
    arrow(sheet, (17, middle), router.left)
    ys = [TOP + 36 * number for number in range(4)]
    for number, y in enumerate(ys):
        used = number == 1
        kind: Kind = "feed-forward" if used else "plain"
        expert = block(sheet, kind, f"experts[{number}]", (200, y), 110, 28, link="the-layer")
        bend = (126, y)
        look: Look = "" if used else "faint"
        arrow(sheet, router.right, (116, middle), bend, expert.left, look=look)
        if used:
            times = sign(sheet, "*", (292, y))
            arrow(sheet, expert.right, times.left)
            sheet.text("y", (346, y))
            arrow(sheet, times.right, (340, y))
            sheet.text("p", (292, 20))
            arrow(sheet, router.top, (66, 20), (284, 20), head=False, look="past")
            arrow(sheet, (292, 29), times.top)


def line(sheet: Sheet) -> None:
    top, left = TOP + 184, 96.0
    chosen = torch.tensor(CHOSEN)
    fits = room(len(CHOSEN), E, 1.0)
    with sheet.link("limited-room"):
        sheet.text(f"room({len(CHOSEN)}, {E}, 1.0) = {fits}", (left, top - 16), "name", "start")
    taken = places(chosen, E).tolist()
    for expert in range(E):
        y = top + expert * (CELL + 10)
        mine = [place for place, e in zip(taken, CHOSEN, strict=True) if e == expert]
        shades = [[0.35 if place < len(mine) else 0.0 for place in range(fits)]]
        box = tensor(sheet, "feed-forward", (left, y), shades, CELL)
        sheet.text(f"expert {expert}", (left - 10, box.centre[1]), "name", "end")
        names = [n for n, e in enumerate(CHOSEN) if e == expert]
        for number, place in zip(names, mine, strict=True):
            x = left + (place + 0.5) * CELL + (12 if place >= fits else 0)
            if place >= fits:
                out = tensor(sheet, "plain", (x - CELL / 2, y), even(1, 1), CELL)
                sheet.text("dropped", (out.x + CELL + 8, box.centre[1]), "note", "start")
            sheet.text(str(number), (x, box.centre[1]), "size")


def draw() -> Sheet:
    sheet = Sheet(TOP + 292)
    layer(sheet)
    line(sheet)
    return sheet
