"""A coupling with its two halves, and the masks that couplings of digits have one after another."""

from __future__ import annotations

from torch import Tensor

from papers.flows.real_nvp import checkerboard, halves
from papers.tools.drawing.parts import Values, block, frame, sign, tensor
from papers.tools.drawing.sheet import Box, Point, Sheet
from papers.tools.drawing.wires import arrow


def coupling(sheet: Sheet) -> None:
    with sheet.link("the-coupling-layer"):
        frame(sheet, Box(8, 8, 344, 168))
        sheet.text("Coupling", (20, 25), "name", "start")
    kept, changed = 56.0, 146.0
    sheet.text("kept", (40, kept))
    sheet.text("changed", (46, changed))
    sheet.text("x", (20, (kept + changed) / 2), "note")
    times, plus = sign(sheet, "*", (170, changed)), sign(sheet, "+", (256, changed))
    network = block(sheet, "feed-forward", "network", (212, 98), 100, 30, link="scale-and-shift")
    arrow(sheet, (60, kept), (340, kept))
    arrow(sheet, (212, kept), network.top)
    arrow(sheet, (80, changed), times.left)
    arrow(sheet, times.right, plus.left)
    arrow(sheet, plus.right, (340, changed))
    for centre, label in ((times.centre[0], "exp(s)"), (plus.centre[0], "t")):
        arrow(sheet, (centre, network.bottom[1]), (centre, changed - 11))
        sheet.text(label, (centre + (14 if label == "t" else -32), changed - 22), "size")
    sheet.text("y", (332, (kept + changed) / 2), "note")


def rows(mask: Tensor) -> Values:
    cells: list[list[float]] = (0.8 * mask).tolist()
    return cells


def masks(sheet: Sheet, top: float) -> None:
    with sheet.link("several-scales"):
        sheet.text("MultiScale", (12, top), "name", "start")
    cell = 11.0
    fine = tensor(sheet, "idea", (12, top + 34), rows(checkerboard(1, 8, 8, odd=False)[0]), cell)
    notes: list[tuple[str, Point]] = [("3 of 1x8x8", (fine.centre[0], top + 18))]
    channels = halves(4, 4, 4, odd=False)
    middle = [
        tensor(sheet, "idea", (142 + 50 * (i % 2), top + 34 + 50 * (i // 2)), rows(channel), cell)
        for i, channel in enumerate(channels)
    ]
    notes.append(("3 of 4x4x4", (189, top + 18)))
    coarse = [
        tensor(sheet, "idea", (290, top + 34 + 50 * i), rows(channel), cell)
        for i, channel in enumerate(checkerboard(2, 4, 4, odd=False))
    ]
    notes.append(("4 of 2x4x4", (312, top + 18)))
    for words, at in notes:
        sheet.text(words, at, "size")
    arrow(sheet, (fine.right[0] + 6, top + 78), (middle[0].left[0] - 6, top + 78))
    arrow(sheet, (middle[3].right[0] + 6, top + 106), (coarse[1].left[0] - 6, top + 106))
    # The first half of the channels is done after the second stop, and becomes part of z.
    arrow(sheet, (middle[1].right[0] + 6, top + 56), (262, top + 56), (262, top + 128))
    sheet.text("z", (262, top + 138))


def draw() -> Sheet:
    sheet = Sheet(350)
    coupling(sheet)
    masks(sheet, 196)
    return sheet
