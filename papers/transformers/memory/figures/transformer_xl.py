"""Segments that read the states of the one before, and rows of distances that are shifted."""

from __future__ import annotations

from itertools import pairwise

import torch

from papers.tools.drawing.parts import Values, even, tensor
from papers.tools.drawing.sheet import Box, Sheet
from papers.tools.drawing.wires import arrow
from papers.transformers.memory.transformer_xl import relative_shift

# Tokens of a segment in the picture, and those that three queries see.
STATES, T, S = 4, 3, 6
CELL, WIDE = 15.0, 20.0


def segments(sheet: Sheet) -> None:
    """Two layers of states for each segment, and who reads what."""
    before: list[Box] = []
    for number in range(3):
        left = 20 + 118 * number
        rows = [
            tensor(sheet, "attention", (left, top), even(1, STATES, 0.35), CELL)
            for top in (118.0, 70.0, 22.0)
        ]
        for below, above in pairwise(rows):
            arrow(sheet, below.top, above.bottom)
        for below, above in zip(before, rows[1:], strict=False):
            arrow(sheet, below.at(0.9, 0), above.at(0.1, 1), look="dashed")
        before = rows
    with sheet.link("what-is-remembered"):
        sheet.text("memory", (50, 148))
    sheet.text("segment", (168, 148))
    sheet.text("next", (286, 148))


def distances(values: torch.Tensor, hidden: torch.Tensor) -> Values:
    shades = 0.05 + 0.4 * values / (S - 1)
    return [
        [None if gone else float(shade) for shade, gone in zip(row, away, strict=True)]
        for row, away in zip(shades, hidden, strict=True)
    ]


def shift(sheet: Sheet) -> None:
    """The distances themselves, before and after."""
    rows = torch.arange(S - 1.0, -1, -1).expand(T, S)
    ahead = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    grids = rows, relative_shift(rows)
    masks = torch.zeros_like(ahead), ahead
    for number, (grid, mask) in enumerate(zip(grids, masks, strict=True)):
        left, top = 20 + 196.0 * number, 196.0
        box = tensor(sheet, "idea", (left, top), distances(grid, mask), WIDE)
        for down in range(T):
            for across in range(S):
                if not mask[down, across]:
                    at = box.x + (across + 0.5) * WIDE, box.y + (down + 0.5) * WIDE
                    sheet.text(f"{grid[down, across]:.0f}", at, "size")
        if not number:
            arrow(sheet, (box.right[0] + 14, box.centre[1]), (box.right[0] + 62, box.centre[1]))
    with sheet.link("relative-shift"):
        sheet.text("relative_shift", (20, 180), "name", "start")
    sheet.text("by distance", (80, 270), "note")
    sheet.text("by key", (276, 270), "note")


def draw() -> Sheet:
    sheet = Sheet(284)
    segments(sheet)
    shift(sheet)
    return sheet
