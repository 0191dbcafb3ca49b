"""Gradients as arrows, and what the page's own function makes of them."""

from __future__ import annotations

import math

import torch

from papers.tools.drawing.sheet import Point, Sheet
from papers.tools.drawing.wires import arrow
from papers.training.clipping import clip_gradients

CENTRE, UNIT, THRESHOLD = (150.0, 190.0), 62.0, 1.0
GRADIENTS = ((2.6, 1.7), (-0.5, 0.6), (-1.2, -1.5), (0.7, -0.4), (-1.3, 2.2))


def clipped(gradient: tuple[float, float]) -> tuple[float, float]:
    weight = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    weight.grad = torch.tensor(gradient, dtype=torch.float64)
    clip_gradients([weight], THRESHOLD)
    x, y = weight.grad.tolist()
    return x, y


def place(x: float, y: float) -> Point:
    return CENTRE[0] + UNIT * x, CENTRE[1] - UNIT * y


def draw() -> Sheet:
    sheet = Sheet(324)
    with sheet.group("attention"):
        sheet.add("circle", class_="rule", cx=CENTRE[0], cy=CENTRE[1], r=THRESHOLD * UNIT)
    for gradient in GRADIENTS:
        short = clipped(gradient)
        if math.hypot(*gradient) > THRESHOLD:
            arrow(sheet, place(*short), place(*gradient), look="dashed")
        arrow(sheet, CENTRE, place(*short), look="past")
    with sheet.link("algorithm-1"):
        sheet.text("clip_gradients", (8, 12), "name", "start")
    sheet.text("threshold", (CENTRE[0] + 30, CENTRE[1] + UNIT + 22), "name", "start")
    x, y = GRADIENTS[0]
    sheet.text(f"{math.hypot(x, y):.1f}", place(x - 0.1, y + 0.22), "size")
    return sheet
