"""One tile of scores among all, and what is kept of it for its rows."""

from __future__ import annotations

import torch

from papers.tools.drawing.parts import Values, block, even, tensor
from papers.tools.drawing.sheet import Box, Point, Sheet
from papers.tools.drawing.wires import arrow
from papers.transformers.flash_attention import empty, fold, tile_scores

# Tiles in each direction, tokens of a tile, and the tile that is being made.
COUNT, SIZE, ROW, COLUMN = 4, 4, 2, 1
CELL, GAP = 8.0, 5.0
STEP = SIZE * CELL + GAP
LEFT, TOP = 72.0, 108.0
FAINT = 0.12


def place(row: float, column: float) -> Point:
    return LEFT + column * STEP, TOP + row * STEP


def tokens(sheet: Sheet, name: str, across: bool, at: float) -> list[Box]:
    """Queries down the left side, or keys and values along the top: dark where they are read."""
    chosen = COLUMN if across else ROW
    boxes = []
    for index in range(COUNT):
        x, y = place(0, index) if across else place(index, 0)
        corner = (x, at) if across else (at, y)
        values = even(SIZE, SIZE, 0.7 if index == chosen else 0.0)
        boxes.append(tensor(sheet, "attention", corner, values, CELL))
    if across:
        sheet.text(name, (LEFT - 14, boxes[0].centre[1]))
    else:
        sheet.text(name, (boxes[0].centre[0], TOP - 12))
    return boxes


def weights() -> tuple[Values, Values]:
    """Those of the tile, after the first tile of the row, and the means so far."""
    torch.manual_seed(4)
    q, k = torch.randn(SIZE, 2 * SIZE), torch.randn(2 * SIZE, 2 * SIZE)
    state = fold(empty(torch.zeros(SIZE, SIZE)), tile_scores(q, k[:SIZE], None), torch.rand(4, 4))
    s = tile_scores(q, k[SIZE:], None)
    o, top, total = fold(state, s, torch.rand(4, 4))
    return ((s - top).exp() / total).tolist(), (o / total).tolist()


def draw() -> Sheet:
    sheet = Sheet(266)
    tokens(sheet, "v", True, 14)
    keys = tokens(sheet, "k", True, 60)
    queries = tokens(sheet, "q", False, 16)
    p, means = weights()
    for row in range(COUNT):
        for column in range(COUNT):
            current = (row, column) == (ROW, COLUMN)
            done = row < ROW or (row == ROW and column < COLUMN)
            values: Values = p if current else even(SIZE, SIZE, FAINT if done else 0.0)
            if column > row:
                values = [[None] * SIZE for _ in range(SIZE)]
            elif column == row:
                shade = FAINT if done else 0.0
                values = [[shade if c <= r else None for c in range(SIZE)] for r in range(SIZE)]
            tile = tensor(
                sheet, "idea" if current else "attention", place(row, column), values, CELL
            )
            if current:
                chosen = tile
    arrow(sheet, queries[ROW].right, (place(ROW, 0)[0] - 3, queries[ROW].right[1]), look="faint")
    arrow(sheet, keys[COLUMN].bottom, (keys[COLUMN].bottom[0], TOP - 3), look="faint")
    middle = chosen.centre[1]
    folded = block(sheet, "idea", "fold", (286, 156), 58, link="fold")
    edge = place(0, COUNT)[0] + 2
    arrow(sheet, (chosen.right[0] + 2, middle - 14), (edge, middle - 14), (edge, 156), folded.left)
    o = tensor(sheet, "attention", (246, 206), means, CELL)
    top = tensor(sheet, "idea", (292, 206), even(SIZE, 1, 0.5), CELL)
    total = tensor(sheet, "idea", (326, 206), even(SIZE, 1, 0.5), CELL)
    arrow(sheet, folded.bottom, (folded.bottom[0], 200))
    for box, name in ((o, "o"), (top, "top"), (total, "total")):
        sheet.text(name, (box.centre[0], box.bottom[1] + 13))
    return sheet
