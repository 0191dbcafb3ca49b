"""What a program of each of the three kernels goes through, and what it writes."""

from __future__ import annotations

from papers.tools.drawing.parts import Values, block, tensor
from papers.tools.drawing.sheet import Sheet
from papers.tools.drawing.wires import down

COUNT, CELL, TOP = 4, 21.0, 34.0
# Of each kernel its name, the section, the tile whose program it is, and what is written.
KERNELS = (
    ("forward_kernel", "forward", 2, True, "OUT, L"),
    ("keys_kernel", "backward-keys-and-values", 1, False, "DK, DV"),
    ("queries_kernel", "backward-queries", 2, True, "DQ"),
)


def visited(own: int, row: bool) -> Values:
    """The tiles of a row or a column that hold anything to be seen."""
    return [
        [
            None if column > line else 0.75 if (line if row else column) == own else 0.0
            for column in range(COUNT)
        ]
        for line in range(COUNT)
    ]


def draw() -> Sheet:
    sheet = Sheet(190)
    for index, (name, link, own, row, written) in enumerate(KERNELS):
        x = 62 + 118 * index
        with sheet.link(link):
            sheet.text(name, (x, 14))
        half = COUNT * CELL / 2
        grid = tensor(sheet, "attention", (x - half, TOP), visited(own, row), CELL)
        made = block(sheet, "idea", written, (x, 168), 70)
        down(sheet, grid, made)
    return sheet
