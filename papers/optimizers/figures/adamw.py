"""Where the decay joins the step, and what it does to two weights, by the page's own optimizer."""

from __future__ import annotations

import torch

from papers.optimizers.adamw import AdamW
from papers.tools.drawing.axes import Axes
from papers.tools.drawing.parts import block, sign
from papers.tools.drawing.sheet import Box, Point, Sheet
from papers.tools.drawing.wires import arrow, down

STEPS, LR, SIZES = 400, 0.02, (0.1, 1.0)
# Chosen so that the weight with small gradients falls as fast in both.
PENALTY = 0.02
DECAY = LR * PENALTY / SIZES[0]


def weights(size: float, weight_decay: float, decoupled: bool) -> list[Point]:
    """A weight whose gradient changes its sign at every step, so that decay alone moves it."""
    theta = torch.ones(1, dtype=torch.float64, requires_grad=True)
    optimizer = AdamW([theta], lr=LR, weight_decay=weight_decay, decoupled=decoupled)
    points = [(0.0, 1.0)]
    for step in range(1, STEPS + 1):
        theta.grad = torch.full_like(theta, size if step % 2 else -size)
        optimizer.step()
        points.append((float(step), theta.item()))
    return points


def flow(sheet: Sheet, x: float, decoupled: bool) -> None:
    """One step of a weight: its gradient goes down the middle, the weight along the bottom."""
    side, bottom = x - 76, 184
    sheet.text("g", (x, 34))
    sheet.text("theta", (side, bottom))
    adam = block(sheet, "plain", "Adam", (x, 122), 64, link="the-update")
    minus = sign(sheet, "-", (x, bottom))
    place = (x, 236) if decoupled else (side, 122)
    decay = block(sheet, "idea", "decay", place, 60, link="before-adam-or-beside-it")
    if decoupled:
        down(sheet, (x, 44), adam)
        arrow(sheet, (side, bottom + 10), (side, 236), decay.left)
        arrow(sheet, decay.top, minus.bottom)
    else:
        plus = sign(sheet, "+", (x, 78))
        down(sheet, (x, 44), plus)
        down(sheet, plus, adam)
        arrow(sheet, (side, bottom - 10), decay.bottom)
        arrow(sheet, decay.top, (side, 78), plus.left)
    down(sheet, adam, minus)
    arrow(sheet, (side + 24, bottom), minus.left)
    arrow(sheet, minus.right, (x + 40, bottom))


def draw() -> Sheet:
    sheet = Sheet(420)
    for left, decoupled in ((10, False), (190, True)):
        words = "beside Adam: decoupled" if decoupled else "through Adam: a penalty"
        sheet.text(words, (left + 80, 12), "note")
        flow(sheet, left + 110, decoupled)
        axes = Axes(Box(left, 272, 160, 120), (0, STEPS), (0, 1.1))
        axes.draw(sheet, "step", "theta")
        for size in SIZES:
            points = weights(size, DECAY if decoupled else PENALTY, decoupled)
            dashed = size == SIZES[1]
            x, y = axes.curve(sheet, points, "idea" if decoupled else "attention", dashed)
            if decoupled:
                sheet.text("both", (left + 10, y - 4), "note", "start")
                break
            at, anchor = ((x, y - 14), "end") if dashed else ((left + 10, y - 4), "start")
            sheet.text(f"|g| = {size:g}", at, "size", anchor)
    return sheet
