"""The cell with its gates, and how far the error reaches back in it, by the page's own flow."""

from __future__ import annotations

import torch

from papers.recurrent.lstm import LSTM, Recurrent, flow, sequences
from papers.tools.drawing.axes import Axes
from papers.tools.drawing.parts import Kind, block, sign
from papers.tools.drawing.sheet import Box, Point, Sheet
from papers.tools.drawing.wires import arrow, down

C, STEPS = 32, 100
# Heights of the carousel, of what is multiplied into it, of the gates and of what feeds them.
STATE, INNER, GATES, FEED = 30.0, 92.0, 152.0, 204.0


def cell(sheet: Sheet) -> None:
    keep, add = sign(sheet, "*", (88, STATE)), sign(sheet, "+", (176, STATE))
    sheet.text("c", (344, STATE))
    with sheet.link("the-carousel"):
        sheet.text("c", (20, STATE))
        arrow(sheet, (30, STATE), keep.left, look="past")
        arrow(sheet, keep.right, add.left, look="past")
        arrow(sheet, add.right, (334, STATE), look="past")
    places = {"f": 88.0, "i": 146.0, "g": 206.0, "o": 256.0}
    kinds: dict[str, Kind] = {"f": "softmax", "i": "softmax", "g": "plain", "o": "softmax"}
    gates = {
        name: block(sheet, kinds[name], name, (x, GATES), 40, link="gates")
        for name, x in places.items()
    }
    for gate in gates.values():
        arrow(sheet, (40, FEED), (gate.centre[0], FEED), gate.bottom)
    sheet.text("x, h", (20, FEED))
    arrow(sheet, gates["f"].top, keep.bottom)
    write = sign(sheet, "*", (176, INNER))
    arrow(sheet, gates["i"].top, (146, INNER), write.left)
    arrow(sheet, gates["g"].top, (206, INNER), write.right)
    arrow(sheet, write.top, add.bottom)
    squash = block(sheet, "plain", "tanh", (316, INNER), 56, link="one-step")
    down(sheet, (316, STATE), squash)
    read = sign(sheet, "*", (316, GATES))
    down(sheet, squash, read)
    arrow(sheet, gates["o"].right, read.left)
    arrow(sheet, read.bottom, (316, FEED - 10))
    sheet.text("h", (316, FEED))


def reach(layer: torch.nn.Module, x: torch.Tensor) -> list[Point]:
    """By the number of steps back; the last step's is a power of zero."""
    powers = flow(layer, x)  # (T,)
    return [(lag, powers[-1 - lag].item() - powers[-1].item()) for lag in range(STEPS)]


def draw() -> Sheet:
    sheet = Sheet(440)
    cell(sheet)
    torch.manual_seed(0)
    x, _ = sequences(50, 1, STEPS)
    axes = Axes(Box(50, 244, 298, 168), (0, STEPS), (-36, 3))
    with sheet.link("how-far-the-error-reaches"):
        sheet.text("flow", (50, 234), "name")
    axes.draw(sheet, "steps back")
    for power in (0, -10, -20, -30):
        _, y = axes.place(0, power)
        sheet.text(f"1e{power}" if power else "1", (44, y), "size", "end")
    layers: dict[str, tuple[torch.nn.Module, Kind, Point]] = {
        "forget=False": (LSTM(2, C, forget=False), "idea", (62, 3)),
        "forget_bias=1": (LSTM(2, C), "embedding", (50, -10.5)),
        "Recurrent": (Recurrent(2, C), "plain", (9, -20)),
    }
    for name, (layer, kind, place) in layers.items():
        axes.curve(sheet, reach(layer, x), kind, dashed=kind == "plain")
        sheet.text(name, axes.place(*place), "name", "start")
    return sheet
