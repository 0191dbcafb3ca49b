"""The chain of steps, the stick that each breaks, and when the recorded network stops."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from papers.recurrent.ponder_net import Config, halting
from papers.tools.drawing.axes import Axes
from papers.tools.drawing.bars import ROW, bars
from papers.tools.drawing.parts import Values, block, tensor
from papers.tools.drawing.sheet import Box, Point, Sheet
from papers.tools.drawing.wires import arrow, down

RECORDS = Path(__file__).parents[1] / "records"
CHANCES = (0.2, 0.5, 0.5, 0.9)
STEPS = (66.0, 180.0, 294.0)
# Heights of the cells, of what they make, of the stick, of the grid and of the curve.
INPUT, CELL, MADE, STICK, GRID = 12.0, 64.0, 124.0, 178.0, 304.0
SQUARE = 22.0


def counted() -> list[list[float]]:
    """For each number of elements, the share of right answers and the steps, as recorded."""
    record: Any = json.loads((RECORDS / "ponder_net.json").read_text(encoding="utf-8"))
    (run,) = (run for run in record["runs"] if run["label"] == "PonderNet")
    lines: list[str] = run["said"]["by_count"].split("\n")
    return [[float(word) for word in line.split()[1:]] for line in lines]


def stops() -> Values:
    """The recorded picture, in which a number is a square of 16 pixels inside a frame."""
    levels = Image.open(RECORDS / "ponder_net.pondernet.halting.png").convert("L")
    columns, rows = (size // 16 for size in levels.size)

    def level(row: int, column: int) -> float:
        found = levels.getpixel((16 * column + 9, 16 * row + 9))
        assert isinstance(found, int)
        return found / 255

    return [[level(row, column) for column in range(columns)] for row in range(rows)]


def chain(sheet: Sheet) -> None:
    before: Point = (12, CELL)
    for x in STEPS:
        cell = block(sheet, "linear", "cell", (x, CELL), 58, link="the-step")
        sheet.text("x", (x, INPUT))
        down(sheet, (x, INPUT + 9), cell)
        arrow(sheet, before, cell.left, look="past")
        before = cell.right
        sheet.text("answer", (x - 27, MADE + 12))
        sheet.text("stop", (x + 30, MADE + 12))
        arrow(sheet, (x - 12, cell.bottom[1]), (x - 12, MADE))
        arrow(sheet, (x + 14, cell.bottom[1]), (x + 14, MADE))
    arrow(sheet, before, (350, CELL), look="past")
    sheet.text("h", (237, CELL - 14))


def draw() -> Sheet:
    rows, values = counted(), stops()
    high = len(values) * SQUARE
    sheet = Sheet(GRID + high + 190)
    chain(sheet)
    with sheet.link("when-it-stops"):
        sheet.text("halting", (66, STICK - 12))
    p = halting(torch.tensor([CHANCES]).logit())[0].exp().tolist()
    left = [1 - sum(p[:n]) for n in range(len(p))]
    bars(sheet, (66, STICK + 2), [f"p_{n}" for n in range(1, len(p) + 1)], left, p, 200)
    assert STICK + len(p) * ROW < GRID - 40

    with sheet.link("what-we-measure"):
        sheet.text("picture", (50, GRID - 26), "name", "start")
    grid = tensor(sheet, "softmax", (50, GRID), values, SQUARE)
    for number in (1, len(values)):
        sheet.text(str(number), (40, GRID + (number - 0.5) * SQUARE), "size", "end")
    for number in (1, len(values[0])):
        sheet.text(str(number), (50 + (number - 0.5) * SQUARE, GRID - 9), "size")
    sheet.text("steps", (grid.x + grid.width + 36, GRID - 9), "size", "end")

    top = GRID + high + 44
    axes = Axes(Box(50, top, 298, 110), (1, len(rows)), (0, Config().thoughts))
    with sheet.link("use-until-it-stops"):
        sheet.text("decide", (50, top - 16), "name", "start")
    axes.draw(sheet, "elements that are not zero", "steps")
    for mark in (0, Config().thoughts):
        sheet.text(str(mark), (44, axes.place(1, mark)[1]), "size", "end")
    axes.curve(sheet, [(n, used) for n, (_, used) in enumerate(rows, 1)], "idea")
    return sheet
