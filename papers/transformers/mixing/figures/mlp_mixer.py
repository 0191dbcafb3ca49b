"""A table of patches and features, with the network along its columns and that along its rows."""

from __future__ import annotations

from papers.tools.drawing.parts import Values, block, tensor
from papers.tools.drawing.sheet import Sheet
from papers.tools.drawing.wires import arrow

ROWS, COLUMNS, CELL, LEFT, TOP = 4, 6, 24.0, 36.0, 60.0
ROW, COLUMN = 2, 1


def draw() -> Sheet:
    sheet = Sheet(256)
    values: Values = [
        [
            0.75 if across == COLUMN and down != ROW else 0.45 if down == ROW else 0.08
            for across in range(COLUMNS)
        ]
        for down in range(ROWS)
    ]
    table = tensor(sheet, "embedding", (LEFT, TOP), values, CELL)
    sheet.text("x", (LEFT, 14), "name", "start")
    sheet.text("a row for each patch,", (LEFT, 30), "note", "start")
    sheet.text("a column for each feature", (LEFT, 46), "note", "start")
    columns = block(sheet, "idea", "tokens", (88, 222), 100, 30, link="a-layer")
    x = LEFT + (COLUMN + 0.5) * CELL
    arrow(sheet, (x, table.bottom[1]), (x, columns.top[1]))
    rows = block(
        sheet, "feed-forward", "features", (284, TOP + (ROW + 0.5) * CELL), 110, 30, link="a-layer"
    )
    arrow(sheet, (table.right[0], rows.left[1]), rows.left)
    sheet.text("reads every column", (150, 222), "note", "start")
    sheet.text("reads every row", (284, rows.bottom[1] + 16), "note")
    return sheet
