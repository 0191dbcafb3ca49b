"""A divergence and a distance over a shift, by the page's own functions."""

from __future__ import annotations

import math

import torch

from papers.adversarial.gan import best_value
from papers.adversarial.wasserstein import exact
from papers.tools.drawing.axes import Axes
from papers.tools.drawing.sheet import Box, Sheet

DEVIATION = 0.1


def divergence(theta: float) -> float:
    """Of two narrow Gaussians, by what the first paper's game is worth."""
    x = torch.linspace(-4, 4, 8001, dtype=torch.float64)
    log_p, log_q = (
        torch.distributions.Normal(mean, DEVIATION).log_prob(x) for mean in (0.0, theta)
    )
    return (best_value(log_p, log_q, 0.001).item() + math.log(4)) / 2


def distance(theta: float) -> float:
    x = DEVIATION * torch.randn(200, generator=torch.Generator().manual_seed(0))
    return exact(x, x + theta).item()


def heaps(sheet: Sheet) -> None:
    """One distribution, and the other one beside it."""
    axes = Axes(Box(44, 10, 300, 64), (-2.2, 2.2), (0, 4.4))
    for mean, kind in ((0.0, "plain"), (1.2, "idea")):
        normal = torch.distributions.Normal(mean, DEVIATION)
        points = [mean + 0.01 * n for n in range(-40, 41)]
        curve = [(x, normal.log_prob(torch.tensor(x)).exp().item()) for x in points]
        axes.curve(sheet, curve, "idea" if kind == "idea" else "plain")
    sheet.text("data", (axes.place(0, 0)[0], 88), "size")
    sheet.text("made", (axes.place(1.2, 0)[0], 88), "size")
    sheet.text("theta", (axes.place(0.6, 0)[0], 50), "name")


def draw() -> Sheet:
    sheet = Sheet(318)
    heaps(sheet)
    axes = Axes(Box(44, 116, 300, 150), (-2.2, 2.2), (0, 2.2))
    axes.draw(sheet)
    for level in (0, 1, 2):
        sheet.text(f"{level}", (36, axes.place(0, level)[1]), "size", "end")
    for shift in (-2, -1, 0, 1, 2):
        sheet.text(f"{shift}", (axes.place(shift, 0)[0], 280), "size")
    sheet.text("theta", (344, 300), "size", "end")
    shifts = [0.02 * n for n in range(-110, 111)]
    axes.curve(sheet, [(theta, divergence(theta)) for theta in shifts], "plain", dashed=True)
    axes.curve(sheet, [(theta, distance(theta)) for theta in shifts], "idea")
    with sheet.link("the-distance-on-a-line"):
        sheet.text("exact", axes.place(-1.0, 1.55), "name", "start")
    sheet.text("log 2", axes.place(1.45, 0.52), "note", "start")
    return sheet
