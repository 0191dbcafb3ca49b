"""What goes from an image to its bound, and two estimates of one gradient, draw by draw."""

from __future__ import annotations

import torch

from papers.tools.drawing.parts import Kind, block
from papers.tools.drawing.sheet import Point, Sheet, path
from papers.tools.drawing.wires import arrow, down
from papers.variational.vae import by_score, log_normal, reparameterized

DRAWS, TRUE = 40, 3.0
LEFT, RIGHT = 24.0, 336.0
LEAST, MOST = -4.0, 32.0


def model(sheet: Sheet) -> None:
    sheet.text("x", (24, 40))
    encoder = block(sheet, "feed-forward", "encoder", (96, 40), 92, 40, "the-encoder")
    arrow(sheet, (32, 40), encoder.left)
    mean = block(sheet, "plain", "mean", (216, 22), 64)
    variance = block(sheet, "plain", "log_variance", (216, 58), 122)
    arrow(sheet, encoder.right, (148, 40), (148, 22), mean.left)
    arrow(sheet, encoder.right, (148, 40), (148, 58), variance.left)
    cost = block(sheet, "idea", "divergence", (300, 118), 104, 32, "what-a-guess-costs")
    code = block(sheet, "plain", "z", (190, 118), 44, 32, "chance-from-outside")
    down(sheet, (190, 73), code)
    arrow(sheet, mean.right, (300, 22), cost.top)
    arrow(sheet, variance.right, (300, 58), cost.top, head=False)
    noise = block(sheet, "noise", "eps", (96, 118), 60, 32, "chance-from-outside")
    arrow(sheet, noise.right, code.left)
    decoder = block(sheet, "feed-forward", "decoder", (190, 184), 92, 40, "the-decoder")
    down(sheet, code, decoder)
    worth = block(sheet, "idea", "likelihood", (82, 184), 104, 32, "the-bound")
    arrow(sheet, decoder.left, worth.right)
    arrow(sheet, (24, 50), (24, 184), worth.left)
    with sheet.link("the-bound"):
        sheet.text("bound = likelihood - divergence", (180, 230))


def estimates() -> tuple[list[float], list[float]]:
    """Of the mean of -(z - 3)²/2, z normal around 0: the gradient by the mean is 3."""
    torch.manual_seed(5)
    mean = torch.zeros(DRAWS, 1, requires_grad=True)
    log_variance = torch.zeros(DRAWS, 1)
    z = reparameterized(mean, log_variance, torch.randn(DRAWS, 1))
    along = torch.autograd.grad((-0.5 * (z - TRUE).square()).sum(), mean)[0]
    z = z.detach()
    value = by_score(-0.5 * (z - TRUE).square()[:, 0], log_normal(z, mean, log_variance))
    return along.flatten().tolist(), torch.autograd.grad(value.sum(), mean)[0].flatten().tolist()


def place(value: float) -> float:
    return LEFT + (RIGHT - LEFT) * (value - LEAST) / (MOST - LEAST)


def strip(sheet: Sheet, y: float, values: list[float], kind: Kind, name: str, link: str) -> None:
    with sheet.link(link):
        sheet.text(name, (LEFT - 8, y - 20), "name", "start")
    with sheet.group("wire"):
        sheet.add("path", class_="line", d=path("M", LEFT, y, "H", RIGHT))
    with sheet.group(kind):
        for value in values:
            sheet.add("circle", class_="dot", cx=place(value), cy=y, r=4.0, fill_opacity=0.5)


def mark(sheet: Sheet, value: float, top: float, bottom: float) -> Point:
    with sheet.group("idea dashed"):
        sheet.add("path", class_="trace", d=path("M", place(value), top, "V", bottom))
    return place(value), bottom + 12


def draw() -> Sheet:
    sheet = Sheet(386)
    model(sheet)
    along, score = estimates()
    strip(sheet, 298, along, "attention", "along the path", "chance-from-outside")
    strip(sheet, 350, score, "idea", "by the score", "the-other-way-our-control")
    for value in (TRUE, 10.0, 20.0, 30.0):
        at = mark(sheet, value, 286, 362) if value == TRUE else (place(value), 374.0)
        sheet.text(f"{value:g}", at, "size")
    return sheet
