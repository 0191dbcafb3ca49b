"""Two clouds of features as Gaussians, and the page's own distance between them."""

from __future__ import annotations

import math

import numpy
import torch

from papers.diffusion.frechet import frechet
from papers.tools.drawing.parts import Kind
from papers.tools.drawing.sheet import Point, Sheet, path
from papers.tools.drawing.wires import arrow

COUNT, UNIT = 60, 34.0
CENTRE = (110.0, 196.0)


def clouds() -> tuple[torch.Tensor, torch.Tensor]:
    drawn = torch.from_numpy(numpy.random.default_rng(3).standard_normal((2, COUNT, 2)))
    real = drawn[0] @ torch.tensor([[1.1, 0.5], [0.0, 0.8]], dtype=torch.float64)
    made = drawn[1] @ torch.tensor([[0.7, -0.3], [0.0, 1.2]], dtype=torch.float64)
    return real, made + torch.tensor([3.6, 1.8])


def place(x: float, y: float) -> Point:
    return CENTRE[0] + UNIT * x, CENTRE[1] - UNIT * y


def cloud(sheet: Sheet, points: torch.Tensor, kind: Kind, name: str, aside: float) -> Point:
    """Points, and the ellipses at one and two standard deviations."""
    mean = points.mean(0)
    values, vectors = torch.linalg.eigh(points.T.cov())
    axes = vectors * values.sqrt()
    with sheet.group(kind):
        for x, y in points.tolist():
            at = place(x, y)
            sheet.add("circle", class_="dot", cx=at[0], cy=at[1], r=1.7, fill_opacity=0.6)
        for reach in (1, 2):
            steps: list[str | float] = []
            for corner in range(49):
                turn = 2 * math.pi * corner / 48
                round_ = torch.tensor([math.cos(turn), math.sin(turn)], dtype=torch.float64)
                x, y = (mean + reach * axes @ round_).tolist()
                steps += ["L", *place(x, y)]
            sheet.add("path", class_="trace", d=path("M", *steps[1:]))
    middle = place(*mean.tolist())
    sheet.text(name, (middle[0], middle[1] + aside))
    return middle


def draw() -> Sheet:
    sheet = Sheet(352)
    a, b = clouds()
    ends = (
        cloud(sheet, a, "attention", "real images", 104),
        cloud(sheet, b, "idea", "samples", -104),
    )
    arrow(sheet, *ends, look="past")
    with sheet.link("the-distance"):
        sheet.text(f"frechet(a, b) = {frechet(a, b):.2f}", (8, 326), "name", "start")
    same = frechet(a[: COUNT // 2], a[COUNT // 2 :])
    sheet.text(f"of two halves of a: {same:.2f}", (8, 344), "size", "start")
    return sheet
