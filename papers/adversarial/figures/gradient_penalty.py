"""Where the gradient is asked for, and the best critic of a few points by the page's own slope."""

from __future__ import annotations

import torch

from papers.adversarial.gradient_penalty import best_slope
from papers.tools.drawing.axes import Axes
from papers.tools.drawing.sheet import Box, Point, Sheet
from papers.tools.drawing.wires import arrow, toward

REAL, FAKE = (2.0, 3.0, 6.5), (0.5, 1.0, 8.5)
STEP = 0.05


def dot(sheet: Sheet, at: Point, kind: str, radius: float = 5) -> None:
    with sheet.group(kind):
        sheet.add("circle", class_="dot", cx=at[0], cy=at[1], r=radius)


def between(sheet: Sheet) -> None:
    fake, real = (60.0, 84.0), (290.0, 34.0)
    x_hat = toward(fake, real, 140)
    with sheet.group("wire faint"):
        sheet.add("path", class_="line", d=f"M {fake[0]} {fake[1]} L {real[0]} {real[1]}")
    arrow(sheet, x_hat, toward(x_hat, real, 46))
    for at, kind in ((fake, "plain"), (real, "idea"), (x_hat, "attention")):
        dot(sheet, at, kind)
    with sheet.link("the-penalty"):
        sheet.text("x_hat", (x_hat[0], x_hat[1] + 20), "name")
    sheet.text("fake", (fake[0], fake[1] + 20), "name")
    sheet.text("real", (real[0], real[1] - 18), "name")
    sheet.text("norm 1?", (x_hat[0] - 4, x_hat[1] - 22), "note")


def draw() -> Sheet:
    sheet = Sheet(320)
    between(sheet)
    places = torch.arange(0, 9.0, STEP, dtype=torch.float64)
    real, fake = (torch.tensor(points, dtype=torch.float64) for points in (REAL, FAKE))
    height = best_slope(real, fake, places).cumsum(0) * STEP
    axes = Axes(Box(44, 150, 300, 130), (0, 9), (-0.6, 4.4))
    axes.draw(sheet)
    with sheet.link("the-best-critic"):
        sheet.text("best_slope, summed up", (48, 132), "name", "start")
    for level in (0, 2, 4):
        sheet.text(f"{level}", (36, axes.place(0, level)[1]), "size", "end")
    curve = list(zip(places.tolist(), height.tolist(), strict=True))
    axes.curve(sheet, curve, "attention")
    for points, kind in ((FAKE, "plain"), (REAL, "idea")):
        for x in points:
            dot(sheet, axes.place(x, -0.6), kind)
    sheet.text("fake", (axes.place(0.75, 0)[0], 300), "size")
    sheet.text("real", (axes.place(2.5, 0)[0], 300), "size")
    sheet.text("real", (axes.place(6.5, 0)[0], 300), "size")
    sheet.text("fake", (axes.place(8.5, 0)[0], 300), "size")
    return sheet
