"""The unit with its two gates, and how far the error reaches back in it beside an LSTM."""

from __future__ import annotations

import torch
from torch import nn

from papers.recurrent.gru import GRU
from papers.recurrent.lstm import LSTM, Recurrent, flow, sequences
from papers.tools.drawing.axes import Axes
from papers.tools.drawing.parts import Kind, block, sign
from papers.tools.drawing.sheet import Box, Point, Sheet
from papers.tools.drawing.wires import arrow

STEPS = 100
# Heights of the state, of the update gate, of what is proposed and of what it hears.
STATE, UPDATE, NEW, RESET = 30.0, 88.0, 144.0, 200.0


def cell(sheet: Sheet) -> None:
    keep, add = sign(sheet, "*", (110, STATE)), sign(sheet, "+", (232, STATE))
    with sheet.link("one-step"):
        sheet.text("h", (20, STATE))
        sheet.text("h", (344, STATE))
        arrow(sheet, (30, STATE), keep.left, look="past")
        arrow(sheet, keep.right, add.left, look="past")
        arrow(sheet, add.right, (334, STATE), look="past")
    update = block(sheet, "softmax", "z", (110, UPDATE), 44, link="gates")
    reset = block(sheet, "softmax", "r", (110, RESET), 44, link="gates")
    new = block(sheet, "plain", "n", (232, NEW), 44, link="one-step")
    write, hear = sign(sheet, "*", (232, UPDATE)), sign(sheet, "*", (232, RESET))
    sheet.text("x, h", (24, NEW))
    arrow(sheet, (24, NEW - 12), (24, UPDATE), update.left)
    arrow(sheet, (24, NEW + 12), (24, RESET), reset.left)
    arrow(sheet, update.top, keep.bottom)
    arrow(sheet, update.right, write.left)
    sheet.text("1 - z", (174, UPDATE - 12), "size")
    arrow(sheet, reset.right, hear.left)
    arrow(sheet, hear.top, new.bottom)
    arrow(sheet, new.top, write.bottom)
    arrow(sheet, write.top, add.bottom)
    sheet.text("x", (336, NEW))
    arrow(sheet, (326, NEW), new.right)
    sheet.text("h", (336, RESET))
    arrow(sheet, (326, RESET), hear.right)


def reach(layer: nn.Module, x: torch.Tensor) -> list[Point]:
    """By the number of steps back; the last step's is a power of zero."""
    powers = flow(layer, x)  # (T,)
    return [(lag, powers[-1 - lag].item() - powers[-1].item()) for lag in range(STEPS)]


def draw() -> Sheet:
    sheet = Sheet(430)
    cell(sheet)
    torch.manual_seed(0)
    x, _ = sequences(50, 1, STEPS)
    axes = Axes(Box(50, 246, 298, 156), (0, STEPS), (-36, 3))
    sheet.text("flow", (50, 236), "name")
    axes.draw(sheet, "steps back")
    for power in (0, -10, -20, -30):
        _, y = axes.place(0, power)
        sheet.text(f"1e{power}" if power else "1", (44, y), "size", "end")
    layers: dict[str, tuple[nn.Module, Kind, Point]] = {
        "GRU": (GRU(2, 32), "idea", (86, -2)),
        "LSTM": (LSTM(2, 28), "embedding", (85, -12)),
        "Recurrent": (Recurrent(2, 57), "plain", (14, -19)),
    }
    for name, (layer, kind, place) in layers.items():
        axes.curve(sheet, reach(layer, x), kind, dashed=kind == "plain")
        sheet.text(name, axes.place(*place), "name", "start")
    return sheet
