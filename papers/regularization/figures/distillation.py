"""Softened targets, and the gradient over the temperature, by the page's own functions."""

from __future__ import annotations

import torch

from papers.regularization.distillation import slope, soften
from papers.tools.drawing.axes import Axes
from papers.tools.drawing.sheet import Box, Sheet, path

# What a teacher might say of a 3 that looks a little like an 8, and less like a 2.
LOGITS = torch.tensor([-4.0, -6.0, 1.0, 10.0, -9.0, 0.0, -7.0, -2.0, 4.0, 0.0])
# What a student says that has learned to tell the 3 from the rest, and nothing else.
STUDENT = torch.full((10,), -1.0).index_fill(0, torch.tensor([3]), 9.0)
TEMPERATURES = (1.0, 4.0, 20.0)
LEFT, EACH, TALL, HIGHEST = 64.0, 28.0, 48.0, 40.0


def bars(sheet: Sheet, bottom: float, temperature: float) -> None:
    """A bar for each class; each is at least as high as a line."""
    shares = soften(LOGITS, temperature).tolist()
    sheet.text(f"{temperature:g}", (LEFT - 16, bottom - TALL / 2), "size", "end")
    with sheet.group("idea tensor" if temperature > 1 else "plain tensor"):
        for k, share in enumerate(shares):
            height = share * TALL
            place = {"x": LEFT + k * EACH, "y": bottom - height, "width": EACH - 8}
            sheet.add("rect", class_="cell", fill_opacity=1.0, height=height, **place)
    with sheet.group("wire faint"):
        way = "M", LEFT - 4, bottom, "h", 10 * EACH
        sheet.add("path", class_="line", d=path(*way))


def draw() -> Sheet:
    sheet = Sheet(400)
    with sheet.link("temperature"):
        sheet.text("temperature", (8, 12), "name", "start")
    for at, temperature in enumerate(TEMPERATURES):
        bars(sheet, 72 + 62 * at, temperature)
    for k in range(10):
        sheet.text(str(k), (LEFT + k * EACH + (EACH - 8) / 2, 210), "size")
    axes = Axes(Box(12, 244, 336, 130), (1, HIGHEST), (0, 0.7))
    axes.draw(sheet, "temperature", "")
    temperatures = torch.linspace(1, HIGHEST, 118).tolist()
    eight = [(T, -slope(STUDENT, LOGITS - LOGITS.mean(), T)[8].item() * T**2) for T in temperatures]
    limit = ((LOGITS - LOGITS.mean() - STUDENT + STUDENT.mean())[8] / 10).item()
    axes.curve(sheet, [(1, limit), (HIGHEST, limit)], "plain", dashed=True)
    axes.curve(sheet, eight, "idea")
    with sheet.link("the-gradient-and-its-limit"):
        sheet.text("slope", axes.place(9, 0.3), "name", "start")
    sheet.text("* T**2 for the 8", axes.place(15, 0.3), "size", "start")
    sheet.text("matching logits", axes.place(26, limit + 0.06), "size", "start")
    return sheet
