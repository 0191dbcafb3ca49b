"""What a new token asks for: with the cache one row, without it all of them again."""

from __future__ import annotations

from papers.tools.drawing.parts import Values, block, frame, tensor
from papers.tools.drawing.sheet import Box, Sheet
from papers.tools.drawing.wires import arrow, down

# Tokens that were read before, and features of a head.
PAST, D = 6, 4
CELL = 14.0
NEW, KEPT = 1.0, 0.25


def scores(known: bool) -> Values:
    """Which are computed now: the last row, or the whole triangle."""
    S = PAST + 1
    rows: list[list[float | None]] = [
        [(0.0 if known and row < PAST else NEW) if column <= row else None for column in range(S)]
        for row in range(S)
    ]
    return rows[PAST:] if known else rows


def without(sheet: Sheet, x: float) -> None:
    sheet.text("without", (x, 9), "note")
    wide = (PAST + 1) * CELL
    for name, left in (("q", x - 74), ("k", x + 18)):
        grid = tensor(sheet, "attention", (left, 40), [[NEW] * D] * (PAST + 1), CELL)
        sheet.text(name, (grid.centre[0], 28))
    down(sheet, (x, 146), (x, 172))
    grid = tensor(sheet, "attention", (x - wide / 2, 180), scores(known=False), CELL)
    sheet.text("S * S", (x, grid.bottom[1] + 14), "size")


def using(sheet: Sheet, x: float) -> None:
    sheet.text("with", (x, 9), "note")
    wide = (PAST + 1) * CELL
    tensor(sheet, "attention", (x - 74, 40 + PAST * CELL), [[NEW] * D], CELL)
    sheet.text("q", (x - 46, 28))
    rows = [[KEPT] * D] * PAST + [[NEW] * D]
    keys = tensor(sheet, "attention", (x + 18, 40), rows, CELL)
    sheet.text("k", (keys.centre[0], 28))
    down(sheet, (x, 146), (x, 256))
    last = 180 + PAST * CELL
    grid = tensor(sheet, "attention", (x - wide / 2, last), scores(known=True), CELL)
    sheet.text("S", (x, grid.bottom[1] + 14), "size")
    with sheet.link("attention-of-the-last-few"):
        sheet.text("attend", (x + 12, 200), "name", "start")


def storage(sheet: Sheet, top: float) -> None:
    """The cache itself: what came, and room for what will."""
    inside = frame(sheet, Box(8, top, 344, 122), "Cache", "the-cache", "attention")
    room: Values = [[KEPT] * PAST + [NEW] + [0.0] * 5 for _ in range(3)]
    grid = tensor(sheet, "attention", (94, inside.y + 38), room, CELL)
    sheet.text("keys", (84, grid.centre[1]), "name", "end")
    edge = grid.x + (PAST + 1) * CELL
    arrow(sheet, (edge, grid.y - 20), (edge, grid.y - 2))
    with sheet.link("Cache.update"):
        sheet.text("length", (edge + 8, grid.y - 14), "name", "start")
    new = block(sheet, "linear", "key", (252, inside.y + 103), 60, 24)
    arrow(sheet, new.left, (edge - CELL / 2, new.left[1]), (edge - CELL / 2, grid.bottom[1]))
    sheet.text("room", (grid.right[0] + 10, grid.centre[1]), "name", "start")


def draw() -> Sheet:
    sheet = Sheet(446)
    without(sheet, 92)
    using(sheet, 268)
    storage(sheet, 314)
    return sheet
