"""A block in sequence and one side by side; which features of a head turn, and how far."""

from __future__ import annotations

import torch

from papers.tools.drawing.parts import block, sign, tensor
from papers.tools.drawing.sheet import Box, Point, Sheet
from papers.tools.drawing.wires import arrow, down, skip
from papers.transformers.neox import rotate_first
from papers.transformers.positions.rope import angles

LEFT, RIGHT = 80.0, 246.0
# Features of a head, those that turn, and the positions of the rows.
D, R, POSITIONS = 32, 8, (1, 10, 100, 1000)
CELL = 9.5


def half(sheet: Sheet, kind: str, norm: str, name: str, at: Point, link: str) -> tuple[Box, Box]:
    x, y = at
    above = block(sheet, "norm", norm, (x, y), 70, 24, link="a-block")
    if kind == "attention":
        below = block(sheet, "attention", name, (x, y + 44), 82, link=link)
    else:
        below = block(sheet, "feed-forward", name, (x, y + 44), 108, link=link)
    down(sheet, above, below)
    return above, below


def in_sequence(sheet: Sheet) -> None:
    sheet.text("in sequence", (LEFT, 10), "note")
    start = (LEFT, 22.0)
    halves = (("attention", "norm1", "attention"), ("feed-forward", "norm2", "feed_forward"))
    for number, (kind, norm, name) in enumerate(halves):
        link = "attention" if kind == "attention" else "the-mlp"
        above, below = half(sheet, kind, norm, name, (LEFT, 62 + 142.0 * number), link)
        down(sheet, start, above)
        plus = sign(sheet, "+", (LEFT, below.bottom[1] + 28))
        down(sheet, below, plus)
        skip(sheet, (LEFT, start[1] + 8), plus.left, -66)
        start = plus.bottom
    down(sheet, start, (LEFT, 322))


def side_by_side(sheet: Sheet) -> None:
    sheet.text("side by side", (RIGHT, 10), "note")
    left, right = RIGHT - 50, RIGHT + 52
    plus = sign(sheet, "+", (RIGHT, 276))
    for kind, norm, name, x in (
        ("attention", "norm1", "attention", left),
        ("feed-forward", "norm2", "feed_forward", right),
    ):
        link = "attention" if kind == "attention" else "the-mlp"
        above, below = half(sheet, kind, norm, name, (x, 134), link)
        arrow(sheet, (RIGHT, 22), (RIGHT, 88), (x, 88), above.top)
        arrow(sheet, below.bottom, (x, 230), (RIGHT, 230), plus.top)
    skip(sheet, (RIGHT, 48), plus.left, -100)
    down(sheet, plus, (RIGHT, 322))


def moved() -> list[list[float]]:
    """How far each pair of features is from where it was, as a share of the farthest."""
    x = torch.ones(len(POSITIONS), D)
    apart = rotate_first(x, angles(torch.tensor([float(m) for m in POSITIONS]), R)) - x
    first, second = apart[:, : R // 2], apart[:, R // 2 : R]
    pairs = (first.square() + second.square()).sqrt() / 8**0.5
    rows: list[list[float]] = torch.cat([pairs, pairs, apart[:, R:]], 1).tolist()
    return rows


def draw() -> Sheet:
    sheet = Sheet(454)
    in_sequence(sheet)
    side_by_side(sheet)
    left, top = 46.0, 368.0
    for row, (m, values) in enumerate(zip(POSITIONS, moved(), strict=True)):
        y = top + row * 17
        tensor(sheet, "attention", (left, y), [values], CELL)
        sheet.text(f"{m}", (38, y + CELL / 2), "size", "end")
    sheet.text("m", (38, 353), "name", "end")
    with sheet.link("a-quarter-turns"):
        sheet.text("R turn", (left, 353), "size", "start")
    sheet.text("D - R stay", (left + (R + D) / 2 * CELL, 353), "size")
    sheet.text("features of a head", (left + D * CELL, top + 76), "note", "end")
    return sheet
