"""One step of a matrix, and what rounds of the page's own polynomial do to a singular value."""

from __future__ import annotations

import torch

from papers.optimizers.muon import polynomial
from papers.tools.drawing.axes import Axes
from papers.tools.drawing.parts import block, sign
from papers.tools.drawing.sheet import Box, Point, Sheet
from papers.tools.drawing.wires import arrow, down

ROUNDS, LEAST = 5, -3.0


def curves() -> list[list[Point]]:
    """Over the logarithm of a singular value, its value after each round."""
    logs = torch.linspace(LEAST, 0, 241, dtype=torch.float64)
    values, drawn = 10**logs, []
    for _ in range(ROUNDS):
        values = polynomial(values)
        drawn.append(list(zip(logs.tolist(), values.tolist(), strict=True)))
    return drawn


def flow(sheet: Sheet) -> None:
    sheet.text("g", (40, 40))
    momentum = block(sheet, "embedding", "m", (108, 40), 60, link="the-update")
    rounds = block(
        sheet, "idea", "newton_schulz", (234, 40), 132, link="rounds-of-newton-and-schulz"
    )
    arrow(sheet, (50, 40), momentum.left)
    arrow(sheet, momentum.right, rounds.left)
    scaled = block(sheet, "plain", "scale", (234, 92), 76, 26, link="three-conventions-of-the-rate")
    down(sheet, rounds, scaled)
    step = sign(sheet, "-", (234, 142))
    down(sheet, scaled, step)
    sheet.text("* lr", (248, 118), "size", "start")
    sheet.text("theta", (108, 142))
    arrow(sheet, (132, 142), step.left)
    arrow(sheet, step.right, (300, 142))
    sheet.text("theta", (326, 142))


def draw() -> Sheet:
    sheet = Sheet(416)
    flow(sheet)
    axes = Axes(Box(30, 186, 290, 180), (LEAST, 0), (0, 1.3))
    axes.draw(sheet)
    sheet.text("singular value before", axes.box.at(0.5, 1.19), "size")
    sheet.text("after", (36, 180), "size", "start")
    one = axes.place(LEAST, 1.0)
    arrow(sheet, one, axes.place(0, 1.0), look="faint", head=False)
    sheet.text("1", (24, one[1]), "size", "end")
    for power in range(int(LEAST), 1):
        x, y = axes.place(power, 0)
        sheet.text(f"{10**power:g}", (x, y + 14), "size", "start" if power == LEAST else "middle")
    for number, points in enumerate(curves(), 1):
        last = number == ROUNDS
        axes.curve(sheet, points, "idea" if last else "attention", dashed=not last)
        # Beside the curve where it is half way up.
        at = next(log for log, value in points if value > 0.5)
        x, y = axes.place(at, 0.5)
        sheet.text(str(number), (x + 7, y + 4), "size", "start")
    return sheet
