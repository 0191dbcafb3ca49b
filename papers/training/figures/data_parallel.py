"""A ring of four processes: how full each chunk of each is after every step."""

from __future__ import annotations

from itertools import pairwise

from papers.tools.drawing.parts import Kind, block, tensor
from papers.tools.drawing.sheet import Sheet
from papers.tools.drawing.wires import arrow, brace

P, CELL = 4, 15.0
LEFT, APART, ROW = 14.0, 76.0, 38.0


def states() -> list[list[list[int]]]:
    """Of each process, how many summands each chunk holds: at the start, and after every step."""
    held = [[1] * P for _ in range(P)]
    seen = [[list(row) for row in held]]
    for phase in (0, 1):
        for step in range(P - 1):
            sent = [(rank, (rank - step + phase) % P) for rank in range(P)]
            counts = [held[rank][chunk] for rank, chunk in sent]
            for (rank, chunk), count in zip(sent, counts, strict=True):
                right = (rank + 1) % P
                held[right][chunk] = count if phase else held[right][chunk] + count
            seen.append([list(row) for row in held])
    return seen


def draw() -> Sheet:
    sheet = Sheet(388)
    made = [
        block(sheet, "attention", f"rank {rank}", (LEFT + 30 + rank * APART, 44), 62, 28)
        for rank in range(P)
    ]
    for one, other in pairwise(made):
        arrow(sheet, one.right, other.left)
    (first, _), (last, _) = made[0].top, made[-1].top
    arrow(sheet, (last, 30), (last, 12), (first, 12), (first, 30))
    tops = []
    for number, state in enumerate(states()):
        top = 84.0 + number * ROW
        tops.append(top)
        for rank, row in enumerate(state):
            values: list[list[float | None]] = [[count / P for count in row]]
            done: Kind = "idea" if max(row) == P else "attention"
            tensor(sheet, done, (LEFT + rank * APART, top), values, CELL)
    right = LEFT + (P - 1) * APART + P * CELL + 6
    with sheet.link("how-the-sum-is-made"):
        sheet.text("ring_all_reduce", (LEFT, 368), "name", "start")
    brace(sheet, (right, tops[1]), (right, tops[P - 1] + CELL))
    brace(sheet, (right, tops[P]), (right, tops[-1] + CELL))
    sheet.text("add", (right + 12, (tops[1] + tops[P - 1] + CELL) / 2), "note", "start")
    sheet.text("share", (right + 12, (tops[P] + tops[-1] + CELL) / 2), "note", "start")
    return sheet
