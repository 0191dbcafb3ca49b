"""Four units with the mean of random gates, and the errors of three forms, by the page's code."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from papers.activations.gelu import (
    Activation,
    gelu,
    gelu_sigmoid,
    gelu_tanh,
    largest_error,
    random_gate,
    swish,
)
from papers.tools.drawing.axes import Axes
from papers.tools.drawing.parts import Kind
from papers.tools.drawing.sheet import Box, Point, Sheet

ENDS, DRAWS = (-4.0, 4.0), 400
# Of each unit its look and where its name stands.
UNITS: dict[str, tuple[Activation, Kind, bool, Point]] = {
    "ReLU": (F.relu, "plain", True, (-3.9, 0.24)),
    "ELU": (F.elu, "embedding", True, (-3.5, -0.78)),
    "swish": (swish, "feed-forward", False, (-3.9, -0.3)),
    "gelu": (gelu, "idea", False, (0.3, 1.6)),
}
ERRORS: dict[str, tuple[Activation, Kind, Point]] = {
    "swish": (swish, "feed-forward", (-1.05, -0.026)),
    "gelu_sigmoid": (gelu_sigmoid, "attention", (1.95, 0.0095)),
    "gelu_tanh": (gelu_tanh, "idea", (-3.05, 0.003)),
}
SECTIONS = {
    "gelu": "the-average",
    "swish": "swish",
    "gelu_sigmoid": "a-sigmoid-with-a-factor",
    "gelu_tanh": "two-cheaper-forms",
}


def name(sheet: Sheet, words: str, at: Point, anchor: str = "start") -> None:
    with sheet.link(SECTIONS.get(words, "")):
        sheet.text(words, at, "name", anchor)


def dots(sheet: Sheet, axes: Axes) -> None:
    """The mean of many coins, at some inputs."""
    inputs = torch.linspace(-3.5, 2.5, 25)
    torch.manual_seed(0)
    means = random_gate(inputs.expand(DRAWS, -1)).mean(0)
    with sheet.group("idea"):
        for x, mean in zip(inputs.tolist(), means.tolist(), strict=True):
            at = axes.place(x, mean)
            sheet.add("circle", class_="dot", cx=at[0], cy=at[1], r=2.6)


def draw() -> Sheet:
    sheet = Sheet(430)
    x = torch.linspace(*ENDS, 161)
    above = Axes(Box(12, 16, 336, 196), ENDS, (-1.2, 3))
    above.draw(sheet, "x", "")
    for words, (unit, kind, dashed, at) in UNITS.items():
        points = [p for p in zip(x.tolist(), unit(x).tolist(), strict=True) if p[1] <= 3]
        above.curve(sheet, points, kind, dashed)
        name(sheet, words, above.place(*at), "end" if words == "gelu" else "start")
    dots(sheet, above)
    with sheet.link("the-coin"):
        sheet.text("random_gate", above.place(-2.9, 0.9), "name", "start")
    below = Axes(Box(12, 252, 336, 150), ENDS, (-0.03, 0.015))
    below.draw(sheet, "x", "form - gelu")
    for words, (form, kind, at) in ERRORS.items():
        errors = (form(x.double()) - gelu(x.double())).tolist()
        for half in (range(81), range(80, 161)):
            run = [(x[i].item(), errors[i]) for i in half if abs(errors[i]) <= 0.03]
            below.curve(sheet, run, kind)
        name(sheet, words, below.place(*at), "middle")
    for form, above_it in ((gelu_sigmoid, -0.0035), (gelu_tanh, -0.0035)):
        error, at_most = largest_error(form)
        lowest = -error if form is gelu_sigmoid else 0.0
        sheet.text(f"{error:.2g}", below.place(at_most, lowest + above_it), "size")
    return sheet
