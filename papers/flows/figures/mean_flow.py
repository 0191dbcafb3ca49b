"""A path of the exact velocity, one step along the velocity, and one along its average."""

from __future__ import annotations

import torch
from torch import Tensor

from papers.flows.flow_matching import Mixture, solve, straight
from papers.tools.drawing.parts import Kind
from papers.tools.drawing.sheet import Box, Point, Sheet, path
from papers.tools.drawing.wires import arrow

MIXTURE = Mixture(torch.tensor([[-1.2], [1.2]]), 0.05)
START, OTHERS = 0.25, (-1.6, -0.9, -0.45, -0.12, 0.55, 1.0, 1.7)
BOX = Box(40, 30, 280, 220)


def velocity(x: Tensor, t: Tensor) -> Tensor:
    return MIXTURE.velocity(x, straight(t))


def follow(start: float) -> list[float]:
    passed: list[float] = (
        torch.stack(solve(velocity, torch.tensor([[start]]), 200)).flatten().tolist()
    )
    return passed


def place(done: float, x: float) -> Point:
    """Noise is on the left, and data on the right."""
    return BOX.at(done, 0.5 - x / 4)


def curve(sheet: Sheet, start: float, kind: Kind) -> None:
    points = follow(start)
    places = [place(i / 200, x) for i, x in enumerate(points)]
    steps = [step for at in places for step in ("L", *at)]
    with sheet.group(kind):
        sheet.add("path", class_="trace", d=path("M", *steps[1:]))


def dot(sheet: Sheet, at: Point, kind: Kind, radius: float) -> None:
    with sheet.group(kind):
        sheet.add("circle", class_="dot", cx=at[0], cy=at[1], r=radius)


def draw() -> Sheet:
    sheet = Sheet(300)
    for start in OTHERS:
        curve(sheet, start, "plain")
    curve(sheet, START, "idea")
    end = follow(START)[-1]
    first = velocity(torch.tensor([[START]]), torch.zeros(1, 1)).item()
    arrow(sheet, place(0, START), place(1, START + first), look="dashed")
    arrow(sheet, place(0, START), place(1, end))
    for x in (-1.2, 1.2):
        dot(sheet, place(1, x), "plain", 5.0)
    dot(sheet, place(0, START), "idea", 5.0)
    with sheet.link("the-identity"):
        sheet.text("u", (176, 88), "name")
    sheet.text("v", (300, place(1, START + first)[1] + 14), "name")
    sheet.text("t = 1, noise", (BOX.x, 276), "size", "start")
    sheet.text("t = 0, data", (BOX.x + BOX.width, 276), "size", "end")
    return sheet
