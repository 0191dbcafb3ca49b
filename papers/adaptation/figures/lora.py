"""The way through few numbers, beside the frozen matrix, and how many numbers that is."""

from __future__ import annotations

from torch import nn

from papers.adaptation.lora import Adapter, LowRank
from papers.tools.drawing.parts import block, even, sign, tensor
from papers.tools.drawing.sheet import Sheet
from papers.tools.drawing.wires import arrow

CELL, WIDTH, RANKS = 11.0, 768, (1, 4, 32)


def two_ways(sheet: Sheet) -> None:
    sheet.text("x", (180, 16))
    arrow(sheet, (180, 24), (180, 36), (90, 36), (90, 58))
    arrow(sheet, (180, 24), (180, 36), (266, 36), (266, 58))
    matrix = tensor(sheet, "plain", (46, 58), even(8, 8, 0.25), CELL)
    sheet.text("base", (34, matrix.centre[1]), "name", "end")
    sheet.text("frozen", (90, 160), "size")
    down = tensor(sheet, "idea", (222, 58), even(2, 8, 0.5), CELL)
    with sheet.link("two-thin-matrices"):
        sheet.text("down", (318, down.centre[1]), "name", "start")
    arrow(sheet, down.bottom, (266, 104))
    sheet.text("R numbers", (276, 93), "size", "start")
    up = tensor(sheet, "idea", (255, 104), even(8, 2, 0.5), CELL)
    with sheet.link("two-thin-matrices"):
        sheet.text("up", (284, up.centre[1]), "name", "start")
    plus = sign(sheet, "+", (180, 228))
    arrow(sheet, (90, 168), (90, 228), plus.left)
    times = block(sheet, "plain", "scale", (266, 228), 60, 24, link="how-much-it-changes")
    arrow(sheet, up.bottom, times.top)
    arrow(sheet, times.left, plus.right)
    arrow(sheet, plus.bottom, (180, 254))


def counts(sheet: Sheet) -> None:
    base = nn.Linear(WIDTH, WIDTH, bias=False)
    rows = [("base", base.weight.numel())]
    for rank in RANKS:
        layer = LowRank(base, Adapter(rank=rank))
        rows.append((f"R = {rank}", layer.down.numel() + layer.up.numel()))
    for number, (name, count) in enumerate(rows):
        y = 286 + 24.0 * number
        long = 190 * count / rows[0][1]
        sheet.text(name, (62, y), "size", "end")
        with sheet.group("idea tensor" if number else "plain tensor"):
            sheet.add("rect", class_="face", x=70, y=y - 8, width=max(1.5, long), height=16)
        sheet.text(f"{count:,}", (78 + long, y), "size", "start")


def draw() -> Sheet:
    sheet = Sheet(374)
    two_ways(sheet)
    counts(sheet)
    return sheet
