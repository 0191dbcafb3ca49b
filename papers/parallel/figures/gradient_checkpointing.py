"""What is kept of sixteen layers, row by row, and the most of it, by the page's formulas."""

from __future__ import annotations

import torch

from papers.parallel.gradient_checkpointing import best, expected
from papers.tools.drawing.parts import Kind, tensor
from papers.tools.drawing.sheet import Sheet
from papers.tools.drawing.wires import brace

N, CELL, LEFT = 16, 15.0, 14.0
K = best(N, 1, 1)


def row(sheet: Sheet, kind: Kind, top: float, kept: set[int], label: str) -> None:
    dark: list[list[float | None]] = [[0.6 if layer in kept else 0.0 for layer in range(N)]]
    tensor(sheet, kind, (LEFT, top), dark, CELL)
    sheet.text(label, (LEFT + N * CELL + 10, top + CELL / 2), "note", "start")


def draw() -> Sheet:
    sheet = Sheet(330)
    parts = [part.tolist() for part in torch.arange(N).tensor_split(K)]
    starts = {part[0] for part in parts}
    row(sheet, "plain", 10, set(range(N)), "as usual")
    with sheet.link("segments"):
        row(sheet, "idea", 48, starts, "forward")
    for number, part in enumerate(reversed(parts)):
        before = {start for start in starts if start <= part[0]}
        row(sheet, "idea", 86 + 26.0 * number, before | set(part), "")
    end = LEFT + N * CELL + 4
    brace(sheet, (end, 86), (end, 86 + 26.0 * (K - 1) + CELL))
    sheet.text("back", (end + 16, 86 + 13.0 * (K - 1) + CELL / 2), "note", "start")
    most = {
        "as usual": float(N),
        f"{K} segments": expected(N, K, 1, 1),
        "halves": float(N.bit_length()),
    }
    for number, (name, count) in enumerate(most.items()):
        y = 232 + 32.0 * number
        with sheet.group("idea tensor" if number else "plain tensor"):
            sheet.add("rect", class_="face", x=96, y=y - 9, width=13 * count, height=18)
        sheet.text(name, (88, y), "note", "end")
        sheet.text(f"{count:.0f}", (104 + 13 * count, y), "size", "start")
    return sheet
