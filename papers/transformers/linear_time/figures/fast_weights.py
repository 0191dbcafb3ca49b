"""One step of the delta rule, and how much fits into a memory with so many features."""

from __future__ import annotations

from papers.tools.drawing.axes import Axes
from papers.tools.drawing.parts import Kind, block, sign, tensor
from papers.tools.drawing.sheet import Box, Point, Sheet
from papers.tools.drawing.wires import arrow
from papers.transformers.linear_time.fast_weights import least_error

# Of each number of features its look and where it is written.
CURVES: tuple[tuple[int, Kind, bool, Point], ...] = (
    (16, "idea", False, (30, 0.66)),
    (32, "attention", False, (42, 0.46)),
    (64, "feed-forward", True, (52, 0.07)),
)
WEIGHTS = [[0.1, 0.6, 0.2, 0.4, 0.1], [0.5, 0.2, 0.7, 0.1, 0.3], [0.2, 0.3, 0.1, 0.8, 0.4]]


def step(sheet: Sheet) -> None:
    matrix = tensor(sheet, "attention", (66, 40), WEIGHTS, 18)
    with sheet.link("a-sum-as-memory"):
        sheet.text("W", (matrix.centre[0], 28))
    key = block(sheet, "linear", "k", (24, matrix.centre[1]), 34)
    minus = sign(sheet, "-", (206, matrix.centre[1]))
    value = block(sheet, "linear", "v", (206, 24), 34)
    rate = sign(sheet, "*", (264, matrix.centre[1]))
    beta = block(sheet, "idea", "beta", (264, 24), 52, link="the-delta-rule")
    outer = block(sheet, "idea", "⊗ k", (320, matrix.centre[1]), 56, link="token-by-token")
    arrow(sheet, key.right, matrix.left)
    arrow(sheet, matrix.right, minus.left)
    sheet.text("old", (176, matrix.centre[1] - 10))
    arrow(sheet, value.bottom, minus.top)
    arrow(sheet, beta.bottom, rate.top)
    arrow(sheet, minus.right, rate.left)
    arrow(sheet, rate.right, outer.left)
    below = matrix.bottom[1] + 24
    arrow(sheet, outer.bottom, (outer.bottom[0], below), (matrix.bottom[0], below), matrix.bottom)
    sheet.text("is added", (220, below + 12), "note")


def draw() -> Sheet:
    sheet = Sheet(352)
    step(sheet)
    with sheet.link("how-much-fits-in"):
        sheet.text("least_error(M, S)", (44, 166), "name", "start")
    axes = Axes(Box(44, 184, 300, 136), (1, 64), (0, 0.8))
    axes.draw(sheet, "keys S")
    for level in (0, 0.25, 0.5, 0.75):
        sheet.text(f"{level:g}", (38, axes.place(1, level)[1]), "size", "end")
    for S in (16, 32, 48):
        sheet.text(f"{S}", (axes.place(S, 0)[0], 334), "size")
    for M, kind, dashed, place in CURVES:
        points = [(float(S), least_error(M, S)) for S in range(1, 65)]
        axes.curve(sheet, points, kind, dashed)
        sheet.text(f"M = {M}", axes.place(*place), "name", "start")
    return sheet
