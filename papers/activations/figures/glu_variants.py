"""A plain network beside a gated one, and what the five gates say, by the page's own functions."""

from __future__ import annotations

import torch

from papers.activations.glu_variants import ACTIVATIONS, Variant
from papers.tools.drawing.axes import Axes
from papers.tools.drawing.parts import Kind, block, sign
from papers.tools.drawing.sheet import Box, Point, Sheet
from papers.tools.drawing.wires import arrow, down

LEFT, RIGHT = 70.0, 250.0
# Half of what lies between the two matrices of a gated network.
APART = 50.0
ENDS = (-3.0, 3.0)
# Of each gate its look and where its name stands.
GATES: dict[Variant, tuple[str, Kind, bool, Point]] = {
    "bilinear": ("Bilinear", "plain", True, (-1.55, -1.85)),
    "glu": ("GLU", "embedding", False, (2.2, 0.62)),
    "reglu": ("ReGLU", "attention", True, (-2.9, 0.33)),
    "geglu": ("GEGLU", "feed-forward", False, (0.5, 2.4)),
    "swiglu": ("SwiGLU", "idea", False, (1.7, 1.2)),
}


def plain(sheet: Sheet) -> None:
    link = "an-activation-between-two-matrices"
    sheet.text("x", (LEFT, 10))
    up = block(sheet, "linear", "up", (LEFT, 56), 96, 26, link=link)
    bend = block(sheet, "plain", "activation", (LEFT, 104), 104, 26, link=link)
    out = block(sheet, "linear", "down", (LEFT, 176), 96, 26, link=link)
    down(sheet, (LEFT, 19), up)
    down(sheet, up, bend)
    down(sheet, bend, out)
    sheet.text("4*C", (LEFT + 10, 148), "size", "start")
    arrow(sheet, out.bottom, (LEFT, 208))


def gated(sheet: Sheet) -> None:
    gate_at, up_at = RIGHT - APART, RIGHT + APART
    sheet.text("x", (RIGHT, 10))
    gate = block(sheet, "linear", "gate", (gate_at, 56), 64, 26, link="a-gate")
    up = block(sheet, "linear", "up", (up_at, 56), 64, 26, link="a-gate")
    bend = block(sheet, "idea", "activation", (gate_at, 104), 104, 26, link="a-gate")
    product = sign(sheet, "*", (up_at, 104))
    out = block(sheet, "linear", "down", (up_at, 176), 64, 26, link="a-gate")
    for part in (gate, up):
        arrow(sheet, (RIGHT, 19), (RIGHT, 29), (part.top[0], 29), part.top)
    down(sheet, gate, bend)
    down(sheet, up, product)
    arrow(sheet, bend.right, product.left)
    down(sheet, product, out)
    with sheet.link("equal-weights"):
        sheet.text("8*C/3", (up_at - 10, 148), "size", "end")
    arrow(sheet, out.bottom, (up_at, 208))


def draw() -> Sheet:
    sheet = Sheet(428)
    plain(sheet)
    gated(sheet)
    axes = Axes(Box(12, 232, 336, 168), ENDS, (-2.2, 3))
    axes.draw(sheet, "gate", "activation(gate)")
    z = torch.linspace(*ENDS, 121)
    for variant, (name, kind, dashed, place) in GATES.items():
        said = ACTIVATIONS[variant](z).tolist()
        points = [point for point in zip(z.tolist(), said, strict=True) if point[1] >= -2.2]
        axes.curve(sheet, points, kind, dashed)
        sheet.text(name, axes.place(*place), "name", "start")
    # Where two curves are close, a line leads to the one that is meant.
    meant = ACTIVATIONS["geglu"](torch.tensor(1.2)).item()
    arrow(sheet, axes.place(0.85, 2.15), axes.place(1.2, meant), look="faint", head=False)
    return sheet
