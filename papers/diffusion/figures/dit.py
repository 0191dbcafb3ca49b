"""A block: two branches beside the stream, and one layer that tells both what to do."""

from __future__ import annotations

from papers.tools.drawing.parts import Kind, block, sign
from papers.tools.drawing.sheet import Point, Sheet
from papers.tools.drawing.wires import arrow, down, skip

STREAM = 126.0
TOLD = 236.0


def condition(sheet: Sheet) -> None:
    time = block(sheet, "embedding", "time", (258, 34), 62, link="the-network")
    label = block(sheet, "embedding", "label", (326, 34), 62, link="the-network")
    sheet.text("t", (258, 10))
    sheet.text("labels", (326, 10))
    plus = sign(sheet, "+", (292, 76))
    arrow(sheet, time.bottom, (258, 76), plus.left)
    arrow(sheet, label.bottom, (326, 76), plus.right)
    all_told = block(
        sheet, "idea", "modulation", (295, 236), 118, 260, "a-block", note="starts at 0"
    )
    down(sheet, plus, (292, all_told.y))


def branch(sheet: Sheet, start: Point, kind: Kind, label: str) -> Point:
    x, y = start
    norm = block(
        sheet, "norm", "modulated", (x, y + 44), 104, link="a-norm-that-is-told-what-to-do"
    )
    part = block(sheet, kind, label, (x, y + 88), 124)
    gate = sign(sheet, "*", (x, y + 128))
    plus = sign(sheet, "+", (x, y + 164))
    down(sheet, start, norm)
    down(sheet, norm, part)
    down(sheet, part, gate)
    down(sheet, gate, plus)
    skip(sheet, (x, y + 14), plus.left, -92)
    arrow(sheet, (TOLD, norm.centre[1]), norm.right)
    sheet.text("shift", (207, norm.centre[1] - 10), "size")
    sheet.text("scale", (207, norm.centre[1] + 13), "size")
    arrow(sheet, (TOLD, gate.centre[1]), gate.right)
    sheet.text("gate", (207, gate.centre[1] - 10), "size")
    return plus.bottom


def draw() -> Sheet:
    sheet = Sheet(412)
    condition(sheet)
    sheet.text("z", (STREAM, 18))
    first = branch(sheet, (STREAM, 28), "attention", "attention")
    second = branch(sheet, first, "feed-forward", "feed_forward")
    arrow(sheet, second, (STREAM, 406))
    sheet.text("z", (STREAM + 16, 398))
    sheet.text("(B, N, C)", (STREAM - 80, 18), "size")
    return sheet
