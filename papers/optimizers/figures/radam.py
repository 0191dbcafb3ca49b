"""The variance of the divisors, simulated and by formula, and two factors of the learning rate."""

from __future__ import annotations

import math

import torch

from papers.optimizers.radam import first_order, length, rectification, simulate, variance
from papers.tools.drawing.axes import Axes
from papers.tools.drawing.sheet import Box, Sheet

BETA2, SHOWN, STEPS, AVERAGES = 0.99, 100, 300, 20_000
W = 2 / (1 - BETA2)


def variances(sheet: Sheet) -> None:
    axes = Axes(Box(44, 28, 288, 140), (0, SHOWN), (-2.5, 0))
    axes.draw(sheet, "step")
    for value in (-2, -1):
        sheet.text(f"{10.0**value:g}", (40, axes.place(0, value)[1]), "size", "end")
    found = simulate(BETA2, SHOWN, AVERAGES, torch.Generator().manual_seed(0))
    with sheet.group("plain"):
        for t in (6, 7, 8, 10, 12, *range(15, SHOWN, 5)):
            x, y = axes.place(t, math.log10(found[t - 1]))
            sheet.add("circle", class_="dot", cx=x, cy=y, r=2.2)
    steps = range(6, SHOWN + 1)
    lengths = [length(t, BETA2) for t in steps]
    for formula, dashed in ((variance, False), (first_order, True)):
        points = [
            (float(t), math.log10(formula(rho))) for t, rho in zip(steps, lengths, strict=True)
        ]
        axes.curve(sheet, points, "idea" if dashed else "attention", dashed)
    with sheet.link("to-the-first-order"):
        sheet.text("first_order", (70, 48), "name", "start")
    with sheet.link("how-much-the-divisor-varies"):
        sheet.text("variance", (60, 140), "name", "start")


def factors(sheet: Sheet) -> None:
    axes = Axes(Box(44, 226, 288, 110), (0, STEPS), (0, 1.1))
    axes.draw(sheet, "step")
    for value in (0, 1):
        sheet.text(f"{value}", (40, axes.place(0, value)[1]), "size", "end")
    longest = 2 / (1 - BETA2) - 1
    points = [(float(t), rectification(length(t, BETA2), longest)) for t in range(6, STEPS + 1)]
    axes.curve(sheet, points, "idea")
    axes.curve(sheet, [(0, 0), (W, 1), (STEPS, 1)], "plain", dashed=True)
    with sheet.link("rectification"):
        sheet.text("rectification", (60, 238), "name", "start")
    sheet.text("warm-up", (176, 298), "note", "start")


def draw() -> Sheet:
    sheet = Sheet(356)
    sheet.text("variance of Adam's divisors", (188, 12), "note")
    variances(sheet)
    sheet.text("a factor of the learning rate", (188, 210), "note")
    factors(sheet)
    return sheet
