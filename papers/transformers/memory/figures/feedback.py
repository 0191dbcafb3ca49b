"""What a state can depend on, without feedback and with it."""

from __future__ import annotations

from itertools import pairwise

from papers.tools.drawing.parts import block, even, tensor
from papers.tools.drawing.sheet import Box, Sheet
from papers.tools.drawing.wires import arrow

CELL, COLUMN, ROW = 18.0, 48.0, 46.0


def column(sheet: Sheet, left: float, bottom: float) -> list[Box]:
    """The token and the states of two layers."""
    states = [
        tensor(sheet, "attention", (left, bottom - ROW * n), even(1, 1, 0.15 + 0.3 * n), CELL)
        for n in range(3)
    ]
    for below, above in pairwise(states):
        arrow(sheet, below.top, above.bottom)
    return states


def transformer(sheet: Sheet) -> None:
    columns = [column(sheet, 20 + COLUMN * n, 130) for n in range(3)]
    for before, after in pairwise(columns):
        for below, above in zip(before[:-1], after[1:], strict=True):
            arrow(sheet, below.at(1, 0.1), above.at(0, 0.9), look="dashed")
    sheet.text("Transformer", (76, 166))


def feedback(sheet: Sheet) -> None:
    left, right = 210.0, 310.0
    states = column(sheet, left, 130)
    later = column(sheet, right, 130)
    m = block(sheet, "idea", "m", (268, 74), 30, 30, link="the-memory-vector")
    for state in states:
        arrow(sheet, state.right, (m.left[0], m.centre[1]), look="dashed")
    for state in later[1:]:
        arrow(sheet, m.right, state.left)
    with sheet.link("the-model"):
        sheet.text("FeedbackTransformer", (268, 166))


def draw() -> Sheet:
    sheet = Sheet(184)
    transformer(sheet)
    feedback(sheet)
    return sheet
