"""What follows a residual block: three branches, of which the second asks the text."""

from __future__ import annotations

import torch

from papers.diffusion.latent.text_unet import LETTERS, spelled
from papers.tools.drawing.parts import Kind, block, even, frame, sign, tensor
from papers.tools.drawing.sheet import Box, Point, Sheet
from papers.tools.drawing.wires import arrow, down, skip

STREAM, WORD = 118.0, 7


def branch(sheet: Sheet, start: Point, kind: Kind, label: str, norm: str) -> tuple[Box, Point]:
    x, y = start
    before = block(sheet, "norm", norm, (x, y + 34), 84, 24)
    part = block(sheet, kind, label, (x, y + 72), 124, link="three-sublayers")
    plus = sign(sheet, "+", (x, y + 110), 10)
    down(sheet, start, before)
    down(sheet, before, part)
    down(sheet, part, plus)
    skip(sheet, (x, y + 10), plus.left, -84)
    return part, plus.bottom


def draw() -> Sheet:
    sheet = Sheet(536)
    sheet.text("x", (STREAM, 10))
    sheet.text("(B, Z, H, W)", (STREAM + 62, 10), "size")
    enter = block(sheet, "linear", "enter", (STREAM, 44), 84, 26, "from-pixels-to-a-sequence")
    down(sheet, (STREAM, 18), enter)
    frame(sheet, Box(24, 64, 170, 372))
    _, start = branch(sheet, enter.bottom, "attention", "attention", "norm1")
    cross, start = branch(sheet, start, "attention", "cross", "norm2")
    _, start = branch(sheet, start, "feed-forward", "feed_forward", "norm3")
    leave = block(sheet, "linear", "leave", (STREAM, 462), 84, 26, "from-pixels-to-a-sequence")
    down(sheet, start, leave)
    plus = sign(sheet, "+", (STREAM, 500), 10)
    down(sheet, leave, plus)
    arrow(sheet, (STREAM, 24), (12, 24), (12, 500), plus.left, look="past")
    arrow(sheet, plus.bottom, (STREAM, 532))
    letters = [LETTERS[i] for i in spelled(torch.tensor(WORD))]
    text = tensor(sheet, "embedding", (236, cross.centre[1] - 63), even(7, 4, 0.4), 18)
    for number, letter in enumerate(letters):
        name = {"<start>": "start", "<end>": "end"}.get(letter, letter)
        sheet.text(name, (314, text.y + 9 + 18 * number), "size", "start")
    arrow(sheet, text.left, cross.right)
    sheet.text("key", (208, cross.centre[1] - 10), "size")
    sheet.text("value", (208, cross.centre[1] + 13), "size")
    sheet.text("text", (text.centre[0], text.y - 14))
    sheet.text("(B, T, D)", (text.centre[0], text.bottom[1] + 14), "size")
    return sheet
