"""Three paths through a valley, and how fast two of them can be, by the page's own optimizer."""

from __future__ import annotations

import math

import torch

from papers.optimizers.sgd import SGD, polyak, rate
from papers.tools.drawing.axes import Axes
from papers.tools.drawing.parts import Kind
from papers.tools.drawing.sheet import Box, Point, Sheet, path

LOW, HIGH, LR, MOMENTUM = 1.0, 30.0, 0.02, 0.9
START, SHOWN, STEPS = (-4.0, 0.9), 60, 80


def walk(steps: int, lr: float, momentum: float, nesterov: bool = False) -> list[Point]:
    theta = torch.tensor(START, dtype=torch.float64)
    curvatures = torch.tensor([LOW, HIGH], dtype=torch.float64)
    optimizer = SGD([theta], lr, momentum, nesterov=nesterov)
    points = [START]
    for _ in range(steps):
        theta.grad = curvatures * theta
        optimizer.step()
        points.append((theta[0].item(), theta[1].item()))
    return points


def valley(sheet: Sheet, axes: Axes) -> None:
    """Where the function has the same value, at some of them."""
    for level in (0.6, 1.5, 2.6, 3.9):
        around: list[str | float] = []
        for n in range(97):
            angle = 2 * math.pi * n / 96
            along = level * math.cos(angle), level * math.sin(angle) / math.sqrt(HIGH / LOW)
            around += ["L", *axes.place(*along)]
        with sheet.group("plain"):
            sheet.add("path", class_="rule", d=path("M", *around[1:], "Z"))


def paths(sheet: Sheet) -> None:
    axes = Axes(Box(8, 22, 344, 150), (-4.3, 4.3), (-1.0, 1.0))
    valley(sheet, axes)
    ways: tuple[tuple[Kind, float, bool], ...] = (
        ("attention", MOMENTUM, False),
        ("idea", MOMENTUM, True),
        ("plain", 0.0, False),
    )
    for kind, momentum, nesterov in ways:
        points = walk(SHOWN, LR, momentum, nesterov)
        axes.curve(sheet, points, kind)
        with sheet.group(kind):
            for x, y in (axes.place(*point) for point in points):
                sheet.add("circle", class_="dot", cx=x, cy=y, r=1.8)
    for (kind, _, _), words, x in zip(
        ways, ("heavy ball", "Nesterov", "no momentum"), (16, 134, 236), strict=True
    ):
        with sheet.group(kind):
            sheet.add("path", class_="trace", d=path("M", x, 186, "h", 18))
        sheet.text(words, (x + 24, 186), "note", "start")


def distances(sheet: Sheet) -> None:
    axes = Axes(Box(30, 236, 300, 130), (0, STEPS), (-12, 1))
    axes.draw(sheet, "step")
    sheet.text("log10 of the distance", (38, 358), "note", "start")
    alone = 2 / (LOW + HIGH), 0.0
    ways: tuple[tuple[Kind, str, float, float, float], ...] = (
        ("plain", "no momentum", *alone, 15),
        ("attention", "heavy ball", *polyak(LOW, HIGH), -46),
    )
    for kind, words, lr, momentum, aside in ways:
        points = [
            (float(step), math.log10(math.hypot(*point)))
            for step, point in enumerate(walk(STEPS, lr, momentum))
        ]
        slope = math.log10(max(rate(lr, momentum, curvature) for curvature in (LOW, HIGH)))
        first = points[0][1]
        axes.curve(sheet, [(0, first), (STEPS, first + STEPS * slope)], kind, dashed=True)
        x, y = axes.curve(sheet, points, kind)
        sheet.text(words, (x, y + aside), "note", "end")


def draw() -> Sheet:
    sheet = Sheet(388)
    with sheet.link("the-update"):
        sheet.text("the same rate and momentum", (180, 10), "note")
    paths(sheet)
    with sheet.link("the-best-settings"):
        sheet.text("the best rate and momentum of each", (180, 218), "note")
    distances(sheet)
    return sheet
