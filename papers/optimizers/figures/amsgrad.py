"""Two paths through the game, and where a round of it leads, by the page's own code."""

from __future__ import annotations

import math

import torch

from papers.optimizers.adam import Adam
from papers.optimizers.amsgrad import AMSGrad, drift
from papers.tools.drawing.axes import Axes
from papers.tools.drawing.sheet import Box, Point, Sheet

STEPS, BETAS = 20_000, (0.9, 0.99)


def game(make: type[Adam]) -> list[Point]:
    """Where a player is after every fourth round."""
    x = torch.zeros(1)
    optimizer = make([x], 1.0, BETAS)
    points: list[Point] = [(0.0, 0.0)]
    for t in range(1, STEPS + 1):
        x.grad = torch.full_like(x, 1010.0 if t % 101 == 1 else -10.0)
        optimizer.param_groups[0]["lr"] = 1 / math.sqrt(t)
        optimizer.step()
        x.clamp_(-1, 1)
        if t % 404 == 0:
            points.append((float(t), x.item()))
    return points


def paths(sheet: Sheet) -> None:
    axes = Axes(Box(36, 28, 296, 130), (0, STEPS), (-1.1, 1.1))
    axes.draw(sheet)
    sheet.text("20,000 steps", (332, 172), "note", "end")
    for value in (-1, 0, 1):
        sheet.text(f"{value}", (30, axes.place(0, value)[1]), "size", "end")
    x, y = axes.curve(sheet, game(Adam), "attention")
    sheet.text("Adam", (x, y + 16), "note", "end")
    x, y = axes.curve(sheet, game(AMSGrad), "idea")
    sheet.text("AMSGrad", (x, y - 16), "note", "end")


def rounds(sheet: Sheet) -> None:
    axes = Axes(Box(36, 220, 296, 120), (1, 4.5), (-0.3, 0.9))
    axes.draw(sheet)
    for digits in range(1, 5):
        at = axes.place(digits, -0.3)
        sheet.text(f"{1 - 10.0**-digits:g}", (at[0], at[1] + 14), "size")
    sheet.text("beta2", (332, 372), "size", "end")
    sheet.text("0", (30, axes.place(1, 0)[1]), "size", "end")
    zero = [(1.0, 0.0), (4.5, 0.0)]
    axes.curve(sheet, zero, "plain", dashed=True)
    nines = [1 + 3.5 * n / 200 for n in range(201)]
    adam = [(n, drift((0.9, 1 - 10**-n))) for n in nines]
    axes.curve(sheet, [point for point in adam if point[1] < 0.9], "attention")
    axes.curve(sheet, [(n, drift((0.9, 1 - 10**-n), keep=True)) for n in nines], "idea")
    x, y = axes.place(2.45, 0.55)
    sheet.text("Adam", (x + 8, y), "note", "start")
    x, y = axes.place(1.1, -0.19)
    sheet.text("AMSGrad", (x, y), "note", "start")


def draw() -> Sheet:
    sheet = Sheet(382)
    with sheet.link("the-game"):
        sheet.text("x in the game, in turn", (184, 12), "note")
    paths(sheet)
    with sheet.link("where-a-round-leads"):
        sheet.text("where a round leads", (184, 204), "note")
    rounds(sheet)
    return sheet
