"""One step, and weights that walk in noise, by the page's own optimizer and AdamW."""

from __future__ import annotations

import numpy
import torch

from papers.optimizers.adamw import AdamW
from papers.optimizers.lion import Lion
from papers.tools.drawing.axes import Axes
from papers.tools.drawing.parts import Kind, block, sign
from papers.tools.drawing.sheet import Box, Point, Sheet
from papers.tools.drawing.wires import arrow, down

STEPS, LR = 400, 0.01


def walk(make: type[AdamW], lr: float) -> list[Point]:
    """The way of one weight whose gradients are drawn around zero, in units of AdamW's rate."""
    drawn = numpy.random.default_rng(5).standard_normal(STEPS)
    theta = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = make([theta], lr=lr, weight_decay=0)
    points = [(0.0, 0.0)]
    for step, g in enumerate(drawn.tolist(), 1):
        theta.grad = torch.full_like(theta, g)
        optimizer.step()
        points.append((float(step), theta.item() / LR))
    return points


def flow(sheet: Sheet) -> None:
    sheet.text("g", (86, 16))
    sheet.text("m", (274, 16))
    first = block(sheet, "idea", "c", (86, 74), 88, link="the-update", height=32)
    second = block(sheet, "embedding", "m", (274, 74), 88, link="the-update", height=32)
    arrow(sheet, (86, 26), first.top)
    arrow(sheet, (274, 26), second.top)
    # Both go into both.
    arrow(sheet, (98, 16), (250, 16), (250, 58))
    arrow(sheet, (274, 38), (110, 38), (110, 58))
    sheet.text("beta1", (36, 106), "size")
    sheet.text("beta2", (324, 106), "size")
    signed = block(sheet, "plain", "sign", (86, 130), 64, 28)
    down(sheet, first, signed)
    step = sign(sheet, "-", (86, 184))
    down(sheet, signed, step)
    sheet.text("* lr", (98, 160), "size", "start")
    sheet.text("theta", (24, 184))
    arrow(sheet, (46, 184), step.left)
    arrow(sheet, step.right, (140, 184))
    sheet.text("theta", (164, 184))
    arrow(sheet, second.bottom, (274, 174))
    sheet.text("m", (274, 184))


def draw() -> Sheet:
    sheet = Sheet(420)
    flow(sheet)
    # The last is how far aside of its end a name stands.
    drawn: list[tuple[str, Kind, type[AdamW], float, int]] = [
        ("Lion", "idea", Lion, LR, 0),
        ("Lion, lr/4", "idea", Lion, LR / 4, -8),
        ("AdamW", "attention", AdamW, LR, 8),
    ]
    paths = [walk(make, lr) for _, _, make, lr, _ in drawn]
    heights = [y for points in paths for _, y in points]
    axes = Axes(Box(16, 226, 250, 170), (0, STEPS), (min(heights) - 1, max(heights) + 1))
    axes.draw(sheet, "step", "theta / lr")
    for (name, kind, _, lr, aside), points in zip(drawn, paths, strict=True):
        x, y = axes.curve(sheet, points, kind, dashed=lr < LR)
        sheet.text(name, (x + 6, y + aside), "size", "start")
    return sheet
