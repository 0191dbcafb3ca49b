"""The two heads of the circuit, and the places that count as prefix matching."""

from __future__ import annotations

import torch

from papers.language.induction_heads import behind_copies
from papers.tools.drawing.parts import Values, block, tensor
from papers.tools.drawing.sheet import Sheet
from papers.tools.drawing.wires import arrow

TOKENS = ("a", "b", "c", "d", "a")
LEFT, EACH, ROW = 40.0, 62.0, 96.0
T, PERIOD, CELL = 10, 4, 17.0


def places() -> Values:
    """Where an induction head looks, and fainter what else a query sees."""
    marked = behind_copies(torch.tensor([[PERIOD]]), T)[0].tolist()
    return [[1.0 if marked[t][s] else 0.12 if s <= t else None for s in range(T)] for t in range(T)]


def draw() -> Sheet:
    sheet = Sheet(400)
    middles = [LEFT + i * EACH for i in range(len(TOKENS))]
    made = [
        block(sheet, "plain", token, (x, ROW), 36) for token, x in zip(TOKENS, middles, strict=True)
    ]
    first, second, last = made[0], made[1], made[-1]
    arrow(sheet, second.bottom, (second.centre[0], 136), (first.centre[0], 136), first.bottom)
    with sheet.link("in-context-learning"):
        sheet.text("first layer: the token before", (14, 154), "name", "start")
    arrow(sheet, last.top, (last.centre[0], 52), (second.centre[0], 52), second.top)
    with sheet.link("prefix-matching"):
        sheet.text("second layer: behind the last a", (second.centre[0] + 8, 36), "name", "start")
    arrow(sheet, last.right, (last.right[0] + 24, ROW))
    with sheet.link("copying"):
        sheet.text("b", (last.right[0] + 34, ROW))
    square = tensor(sheet, "idea", (96, 196), places(), CELL)
    with sheet.link("prefix-matching"):
        sheet.text("behind_copies", (square.centre[0], 182))
    sheet.text("query", (square.x - 30, square.centre[1]), "size")
    sheet.text("key", (square.centre[0], square.bottom[1] + 14), "size")
    return sheet
