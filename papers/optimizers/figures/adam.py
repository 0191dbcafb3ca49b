"""The averages of one parameter's gradients, computed by the page's own optimizer, and its step."""

from __future__ import annotations

import numpy
import torch

from papers.optimizers.adam import Adam, corrected
from papers.tools.drawing.axes import Axes
from papers.tools.drawing.parts import block, sign
from papers.tools.drawing.sheet import Box, Point, Sheet
from papers.tools.drawing.wires import arrow, down

STEPS, BETAS = 60, (0.9, 0.99)


def moments() -> tuple[list[Point], list[Point], list[Point]]:
    """Noisy gradients around one; their average, and the same corrected."""
    drawn = 1 + 0.3 * numpy.random.default_rng(0).standard_normal(STEPS)
    theta = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = Adam([theta], betas=BETAS)
    gradients, plain, hats = [], [], []
    for t, g in enumerate(drawn.tolist(), 1):
        theta.grad = torch.full_like(theta, g)
        optimizer.step()
        v = optimizer.state[theta]["v"]
        gradients.append((float(t), g * g))
        plain.append((float(t), v.item()))
        hats.append((float(t), corrected(v, BETAS[1], t).item()))
    return gradients, plain, hats


def flow(sheet: Sheet) -> None:
    sheet.text("g", (180, 10))
    first = block(sheet, "idea", "m", (92, 66), 96, link="the-update", note="", height=32)
    second = block(sheet, "embedding", "v", (268, 66), 96, link="the-update", height=32)
    arrow(sheet, (180, 20), (180, 32), (92, 32), first.top)
    arrow(sheet, (180, 20), (180, 32), (268, 32), second.top)
    sheet.text("beta1", (34, 98), "size")
    sheet.text("g * g", (304, 38), "size")
    sheet.text("beta2", (326, 98), "size")
    hats = [
        block(sheet, "plain", name, (x, 124), 96, 28, link="bias-correction")
        for x, name in ((92, "m_hat"), (268, "v_hat"))
    ]
    down(sheet, first, hats[0])
    down(sheet, second, hats[1])
    root = block(sheet, "plain", "sqrt", (268, 174), 64, 26)
    down(sheet, hats[1], root)
    ratio = sign(sheet, "/", (180, 174))
    arrow(sheet, hats[0].bottom, (92, 174), ratio.left)
    arrow(sheet, root.left, ratio.right)
    sheet.text("+ eps", (214, 191), "size")
    step = sign(sheet, "-", (180, 226))
    down(sheet, ratio, step)
    sheet.text("* lr", (168, 200), "size", "end")
    sheet.text("theta", (82, 226))
    arrow(sheet, (106, 226), step.left)
    arrow(sheet, step.right, (252, 226))
    sheet.text("theta", (278, 226))


def draw() -> Sheet:
    sheet = Sheet(446)
    flow(sheet)
    gradients, plain, hats = moments()
    axes = Axes(Box(16, 272, 328, 150), (0, STEPS), (0, 4))
    axes.draw(sheet, "t")
    with sheet.group("plain"):
        for t, value in gradients:
            x, y = axes.place(t, value)
            sheet.add("circle", class_="dot", cx=x, cy=y, r=1.8)
    axes.curve(sheet, plain, "embedding", dashed=True)
    axes.curve(sheet, hats, "embedding")
    sheet.text("g * g", (36, 284), "size", "start")
    x, y = axes.place(*hats[-1])
    sheet.text("v_hat", (x, y - 32), "name", "end")
    x, y = axes.place(*plain[-1])
    sheet.text("v", (x, y - 13), "name", "end")
    return sheet
