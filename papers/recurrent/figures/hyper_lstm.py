"""A small LSTM above a large one, whose sums it scales."""

from __future__ import annotations

from papers.tools.drawing.parts import block, sign
from papers.tools.drawing.sheet import Sheet
from papers.tools.drawing.wires import arrow, down

# Heights of the small network, its signals, the scales, the large network's sums and its state.
SMALL, SIGNALS, SCALES, SUMS, PLUS, LARGE = 36.0, 92.0, 146.0, 200.0, 254.0, 308.0


def draw() -> Sheet:
    sheet = Sheet(352)
    small = block(sheet, "idea", "small", (180, SMALL), 92, link="one-step")
    sheet.text("small_h", (330, SMALL), "size", "middle")
    arrow(sheet, (24, SMALL), small.left, look="past")
    arrow(sheet, small.right, (300, SMALL), look="past")
    z = block(sheet, "linear", "z", (180, SIGNALS), 60, link="weights-that-are-scaled")
    down(sheet, small, z)
    places = {"d_h": 96.0, "d_x": 180.0, "b": 264.0}
    for name, x in places.items():
        scale = block(sheet, "norm", name, (x, SCALES), 56, 26, link="the-scales-of-a-step")
        arrow(sheet, z.bottom, (180, SIGNALS + 28), (x, SIGNALS + 28), scale.top)
        if name != "b":
            times = sign(sheet, "*", (x, SUMS))
            down(sheet, scale, times)
            arrow(sheet, times.bottom, (x, PLUS - 11) if name == "d_x" else (x, PLUS), head=False)
        else:
            arrow(sheet, scale.bottom, (x, PLUS), (191, PLUS))
    plus = sign(sheet, "+", (180, PLUS))
    arrow(sheet, (96, PLUS), plus.left)
    arrow(sheet, (180, PLUS - 20), plus.top)
    sheet.text("W_h h", (30, SUMS), "size")
    arrow(sheet, (54, SUMS), (85, SUMS))
    sheet.text("W_x x", (238, SUMS), "size")
    arrow(sheet, (214, SUMS), (191, SUMS))
    large = block(sheet, "plain", "large", (180, LARGE), 92, link="from-the-sums-to-the-state")
    down(sheet, plus, large)
    arrow(sheet, (24, LARGE), large.left, look="past")
    arrow(sheet, large.right, (300, LARGE), look="past")
    sheet.text("h, c", (326, LARGE))
    sheet.text("x, h", (40, (SMALL + SIGNALS) / 2 + 8), "size")
    arrow(
        sheet, (64, (SMALL + SIGNALS) / 2 + 8), (150, (SMALL + SIGNALS) / 2 + 8), (150, SMALL + 15)
    )
    return sheet
