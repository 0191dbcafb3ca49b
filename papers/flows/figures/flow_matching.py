"""Lines from noise to two points of data, and the paths of the velocity that is their average."""

from __future__ import annotations

import torch
from torch import Tensor

from papers.flows.flow_matching import Mixture, solve, straight
from papers.tools.drawing.sheet import Box, Point, Sheet, path

NOISES, DATA = 12, (-1.1, 1.1)
# How wide the density of the data is: nearly two points.
MIXTURE = Mixture(torch.tensor([[x] for x in DATA]), 0.05)


def velocity(x: Tensor, t: Tensor) -> Tensor:
    return MIXTURE.velocity(x, straight(t))


def starts() -> Tensor:
    """Of normal noise, equally many to each side of the next."""
    shares = (torch.arange(NOISES) + 0.5) / NOISES
    return torch.special.ndtri(shares)[:, None]


def panel(sheet: Sheet, box: Box, curves: list[list[float]], words: str, link: str) -> None:
    def place(t: float, x: float) -> Point:
        return box.at(t, 0.5 - x / 4.2)

    with sheet.link(link):
        sheet.text(words, (box.centre[0], box.y - 22), "name")
    for points in curves:
        places = [place(i / (len(points) - 1), x) for i, x in enumerate(points)]
        steps = [step for at in places for step in ("L", *at)]
        with sheet.group("idea"):
            sheet.add("path", class_="trace", d=path("M", *steps[1:]))
    for x in DATA:
        with sheet.group("plain"):
            at = place(1, x)
            sheet.add("circle", class_="dot", cx=at[0], cy=at[1], r=5.0)
    for x in starts().flatten().tolist():
        with sheet.group("plain"):
            at = place(0, x)
            sheet.add("circle", class_="dot", cx=at[0], cy=at[1], r=2.5)
    bottom = box.y + box.height + 16
    sheet.text("noise", (box.x, bottom), "size", "middle")
    sheet.text("data", (box.x + box.width, bottom), "size", "middle")


def draw() -> Sheet:
    sheet = Sheet(290)
    first = starts().flatten().tolist()
    lines = [[x, y] for x in first for y in DATA]
    passed = torch.stack(solve(velocity, starts(), 100))[..., 0]
    panel(sheet, Box(28, 44, 128, 210), lines, "matching_loss", "the-loss")
    panel(sheet, Box(208, 44, 128, 210), passed.T.tolist(), "solve", "sampling")
    return sheet
