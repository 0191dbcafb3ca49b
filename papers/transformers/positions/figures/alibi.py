"""Scores and what is added to them, and how heads with different slopes weigh the past."""

from __future__ import annotations

import torch

from papers.tools.drawing.axes import Axes
from papers.tools.drawing.parts import Kind, Values, block, sign, tensor
from papers.tools.drawing.sheet import Box, Point, Sheet
from papers.tools.drawing.wires import arrow
from papers.transformers.positions.alibi import linear_bias, slopes

T, CELL, TOP = 6, 17.0, 30.0
HEADS, PAST = 4, 40
# Of each head its look, what it is called and where.
CURVES: tuple[tuple[Kind, bool, str, Point], ...] = (
    ("idea", False, "m = 1/4", (4, 0.13)),
    ("attention", False, "m = 1/16", (9, 0.062)),
    ("feed-forward", False, "m = 1/64", (27, 0.044)),
    ("plain", True, "m = 1/256 (dashed)", (20, 0.075)),
)


def scores(sheet: Sheet) -> None:
    torch.manual_seed(2)
    bias = linear_bias(torch.tensor([0.17]), T, T)[0]
    hidden = bias.isinf()
    drawn: list[Values] = []
    for shades in (0.2 + 0.6 * torch.rand(T, T), -bias):
        rows = zip(shades.tolist(), hidden.tolist(), strict=True)
        drawn.append([[None if h else x for x, h in zip(*row, strict=True)] for row in rows])
    left = tensor(sheet, "attention", (10, TOP), drawn[0], CELL)
    right = tensor(sheet, "idea", (154, TOP), drawn[1], CELL)
    sheet.text("q @ k.T", (left.centre[0], 14))
    with sheet.link("the-bias"):
        sheet.text("linear_bias", (right.centre[0], 14))
    plus = sign(sheet, "+", (133, left.centre[1]))
    arrow(sheet, left.right, plus.left, head=False)
    arrow(sheet, plus.right, right.left, head=False)
    softmax = block(sheet, "softmax", "softmax", (310, left.centre[1]), 84, link="attention")
    arrow(sheet, right.right, softmax.left)


def draw() -> Sheet:
    sheet = Sheet(346)
    scores(sheet)
    weights = linear_bias(slopes(HEADS), 1, PAST)[:, 0].softmax(-1).flip(-1)
    with sheet.link("a-slope-for-each-head"):
        sheet.text("slopes(4)", (44, 166), "name", "start")
    axes = Axes(Box(44, 180, 304, 130), (0, PAST - 1), (0, 0.24))
    axes.draw(sheet, "tokens back")
    for level in (0, 0.1, 0.2):
        sheet.text(f"{level:g}", (38, axes.place(0, level)[1]), "size", "end")
    for row, (kind, dashed, words, place) in zip(weights.tolist(), CURVES, strict=True):
        axes.curve(sheet, [(float(back), w) for back, w in enumerate(row)], kind, dashed)
        sheet.text(words, axes.place(*place), "name", "start")
    return sheet
