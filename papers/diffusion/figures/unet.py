"""Down to small maps of many channels and up again, and past it what was put aside."""

from __future__ import annotations

from papers.tools.drawing.parts import block, sign
from papers.tools.drawing.sheet import Sheet
from papers.tools.drawing.wires import arrow, down

LEFT, RIGHT, MIDDLE = 78.0, 282.0, 180.0
# Of each resolution: its height on the sheet, and how wide and high a block is drawn.
LEVELS = [(112, 118, 32, "H, W"), (202, 98, 42, "H/2, W/2"), (302, 82, 52, "H/4, W/4")]


def the_u(sheet: Sheet) -> None:
    enter = block(sheet, "convolution", "enter", (LEFT, 52), 90, link="the-network")
    leave = block(sheet, "convolution", "leave", (RIGHT, 52), 90, link="the-network")
    sheet.text("x  (B, C, H, W)", (LEFT, 10), "size")
    sheet.text("(B, C, H, W)", (RIGHT, 10), "size")
    down(sheet, (LEFT, 20), enter)
    arrow(sheet, leave.top, (RIGHT, 20))
    above, over = enter, leave
    for number, (y, width, height, size) in enumerate(LEVELS):
        link = "a-level-on-the-way-down"
        left = block(sheet, "convolution", "down", (LEFT, y), width, height, link)
        link = "a-level-on-the-way-up"
        right = block(sheet, "convolution", "up", (RIGHT, y), width, height, link)
        down(sheet, above, left)
        arrow(sheet, right.top, over.bottom)
        arrow(sheet, left.right, right.left, look="past")
        sheet.text(size, (MIDDLE, y + 15), "size")
        if number:
            between = (above.bottom[1] + left.top[1]) / 2
            with sheet.link("between-resolutions"):
                sheet.text("Halve", (LEFT - 10, between), "name", "end")
            with sheet.link("Double"):
                sheet.text("Double", (RIGHT + 10, between), "name", "start")
        above, over = left, right
    sheet.text("aside", (MIDDLE, LEVELS[0][0] - 12))
    attend = block(
        sheet, "attention", "attention", (MIDDLE, 390), 96, 30, "attention-between-pixels"
    )
    ends = [block(sheet, "convolution", "", (MIDDLE + aside, 390), 30) for aside in (-76, 76)]
    arrow(sheet, above.bottom, (LEFT, 390), ends[0].left)
    arrow(sheet, ends[0].right, attend.left)
    arrow(sheet, attend.right, ends[1].left)
    arrow(sheet, ends[1].right, (RIGHT, 390), over.bottom)
    sheet.text("middle", (MIDDLE, 418))


def inside(sheet: Sheet, top: float) -> None:
    """One block, across the sheet and back."""
    with sheet.link("a-residual-block"):
        sheet.text("Block", (12, top), "name", "start")
    sheet.text("x", (12, top + 40))
    first = block(sheet, "norm", "norm1", (84, top + 40), 70, 24)
    conv = block(sheet, "convolution", "conv1", (178, top + 40), 84)
    second = block(sheet, "norm", "norm2", (314, top + 40), 70, 24)
    plus = sign(sheet, "+", (246, top + 40))
    arrow(sheet, (20, top + 40), first.left)
    arrow(sheet, first.right, conv.left)
    arrow(sheet, conv.right, plus.left)
    arrow(sheet, plus.right, second.left)
    time = block(sheet, "embedding", "time", (246, top + 2), 60, 26, "the-time")
    down(sheet, time, plus)
    again = block(sheet, "convolution", "conv2", (246, top + 92), 84)
    total = sign(sheet, "+", (140, top + 92))
    arrow(sheet, second.bottom, (314, top + 92), again.right)
    arrow(sheet, again.left, total.right)
    arrow(sheet, (30, top + 40), (30, top + 92), total.left, look="past")
    sheet.text("shortcut", (86, top + 106))
    arrow(sheet, total.bottom, (140, top + 122))


def draw() -> Sheet:
    sheet = Sheet(592)
    the_u(sheet)
    inside(sheet, 462)
    return sheet
