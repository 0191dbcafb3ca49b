"""One step, and what is in the gradients meanwhile."""

from __future__ import annotations

from papers.tools.drawing.parts import Kind, block, even, tensor
from papers.tools.drawing.sheet import Sheet
from papers.tools.drawing.wires import arrow, down

# Each call, where it leads, and how full the gradients are after it.
CALLS: list[tuple[Kind, str, str, float]] = [
    ("plain", "model(x)", "a-model-with-two-modes", 0.8),
    ("plain", "F.cross_entropy", "", 0.8),
    ("plain", "zero_grad()", "", 0.0),
    ("idea", "backward()", "", 0.8),
    ("plain", "clip_grad_norm_", "", 0.4),
    ("idea", "optimizer.step()", "", 0.4),
    ("plain", "schedule.step()", "", 0.4),
]
MIDDLE, STEP = 138.0, 62.0


def draw() -> Sheet:
    sheet = Sheet(482)
    sheet.text("x, y", (MIDDLE, 12))
    sheet.text(".grad", (300, 12))
    above = (MIDDLE, 22.0)
    made = []
    for number, (kind, name, link, full) in enumerate(CALLS):
        part = block(sheet, kind, name, (MIDDLE, 62 + number * STEP), 160, link=link)
        down(sheet, above, part)
        tensor(sheet, "attention", (272, part.y + 1), even(2, 4, full), 14)
        made.append(part)
        above = part.bottom
    with sheet.link("one-step"):
        sheet.text("take_step", (MIDDLE, 473))
    arrow(sheet, made[-1].left, (24, made[-1].left[1]), (24, made[0].left[1]), made[0].left,
          look="past")  # fmt: skip
    return sheet
