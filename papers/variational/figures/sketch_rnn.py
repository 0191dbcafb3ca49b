"""From a drawing to its code and on, and where the pen may go at three temperatures."""

from __future__ import annotations

import math

import torch

from papers.common.data import doodles
from papers.tools.drawing.parts import block
from papers.tools.drawing.sheet import Sheet, path
from papers.tools.drawing.wires import arrow
from papers.variational.sketch_rnn import Mixture

UNIT, DRAWS = 26.0, 50
TEMPERATURES = (1.0, 0.4, 0.1)


def drawing(sheet: Sheet) -> None:
    """Its lines, one darker than the other."""
    rows = next(each for each in doodles(60) if each[:, 2].sum() == 3 and len(each) == 11)
    points = torch.cat([torch.zeros(1, 2), rows[:, :2].cumsum(0)])
    middle = (points.amin(0) + points.amax(0)) / 2
    places = ((points - middle) * UNIT + torch.tensor([44.0, 58.0])).tolist()
    lifted = [0.0, *rows[:, 2].tolist()]
    steps: list[str | float] = ["M", *places[0]]
    for i, place in enumerate(places[1:]):
        steps += ["M" if lifted[i] else "L", *place]
    with sheet.group("wire"):
        sheet.add("path", class_="line", d=path(*steps))


def model(sheet: Sheet) -> None:
    drawing(sheet)
    there = block(sheet, "linear", "forwards", (136, 36), 86, 30, "the-encoder")
    again = block(sheet, "linear", "backwards", (136, 80), 86, 30, "the-encoder")
    arrow(sheet, (76, 50), (84, 50), (84, 36), there.left)
    arrow(sheet, (76, 66), (84, 66), (84, 80), again.left)
    code = block(sheet, "idea", "z", (224, 58), 32, 30, "the-autoencoder")
    arrow(sheet, there.right, (194, 36), (194, 58), code.left)
    arrow(sheet, again.right, (194, 80), (194, 58), code.left, head=False)
    decoder = block(sheet, "linear", "decoder", (306, 58), 80, 34, "the-decoder")
    arrow(sheet, code.right, decoder.left)
    with sheet.link("the-decoder"):
        sheet.text("step before", (306, 16), "note")
    arrow(sheet, (306, 24), decoder.top)
    arrow(sheet, decoder.bottom, (306, 104))
    with sheet.link("where-the-pen-may-go"):
        sheet.text("Mixture", (306, 114), "name")


def mixture() -> Mixture:
    return Mixture(
        weights=torch.tensor([[0.5, 0.35, 0.15]]).log(),
        mean=torch.tensor([[[0.9, -0.7], [-1.0, 0.1], [0.7, 1.1]]]),
        deviation=torch.tensor([[[0.55, 0.5], [0.3, 0.75], [0.6, 0.25]]]),
        rho=torch.tensor([[-0.85, 0.0, 0.6]]),
        pen=torch.tensor([[0.8, 0.15, 0.05]]).log(),
    )


def panel(sheet: Sheet, x: float, y: float, temperature: float) -> None:
    cold = mixture().tempered(temperature)
    weights = cold.weights[0].exp().tolist()
    with sheet.group("attention"):
        for j, weight in enumerate(weights):
            # One and a half deviations around its middle.
            a, b = cold.deviation[0, j].tolist()
            both = cold.rho[0, j].item() * a * b
            values, vectors = torch.linalg.eigh(torch.tensor([[a * a, both], [both, b * b]]))
            low, high = (1.5 * UNIT * value.sqrt().item() for value in values)
            turn = math.degrees(math.atan2(vectors[1, 1], vectors[0, 1]))
            middle = cold.mean[0, j] * UNIT + torch.tensor([x, y])
            cx, cy = middle.tolist()
            place = f"rotate({turn:.1f} {cx:.1f} {cy:.1f})"
            sheet.add(
                "ellipse", class_="dot", cx=cx, cy=cy, rx=high, ry=low, transform=place,
                fill_opacity=round(0.08 + 0.5 * weight, 2),
            )  # fmt: skip
    steps = Mixture(*(part.expand(DRAWS, *part.shape[1:]) for part in cold)).draw(
        torch.Generator().manual_seed(2)
    )
    with sheet.group("idea"):
        for dx, dy in (steps[:, :2] * UNIT).tolist():
            sheet.add("circle", class_="dot", cx=x + dx, cy=y + dy, r=1.6)
    with sheet.group("wire"):
        sheet.add("circle", class_="tip", cx=x, cy=y, r=3.0)
    with sheet.link("temperature"):
        sheet.text(f"τ = {temperature:g}", (x, y + 72), "size")


def draw() -> Sheet:
    sheet = Sheet(284)
    model(sheet)
    for x, temperature in zip((62.0, 180.0, 298.0), TEMPERATURES, strict=True):
        panel(sheet, x, 196, temperature)
    return sheet
