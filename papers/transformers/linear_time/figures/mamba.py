"""A block with its two branches, and how much of an input the two rules let in."""

from __future__ import annotations

import torch

from papers.tools.drawing.axes import Axes
from papers.tools.drawing.parts import block, sign
from papers.tools.drawing.sheet import Box, Sheet
from papers.tools.drawing.wires import arrow
from papers.transformers.linear_time.mamba import discretise


def mixer(sheet: Sheet) -> None:
    inputs = block(sheet, "linear", "inputs", (180, 178), 96, link="the-whole-block")
    convolution = block(sheet, "convolution", "convolution", (98, 130), 140, link="the-whole-block")
    states = block(sheet, "idea", "recurrence", (98, 82), 124, link="one-token-after-the-other")
    gate = block(sheet, "plain", "silu(gate)", (274, 106), 116, link="the-whole-block")
    product = sign(sheet, "*", (180, 44))
    out = block(sheet, "linear", "out", (180, 14), 62, 24)
    arrow(sheet, (180, 206), inputs.bottom)
    arrow(sheet, inputs.at(0.2, 0), (inputs.at(0.2, 0)[0], 154), (98, 154), convolution.bottom)
    arrow(sheet, convolution.top, states.bottom)
    arrow(sheet, inputs.at(0.8, 0), (inputs.at(0.8, 0)[0], 154), (274, 154), gate.bottom)
    arrow(sheet, states.top, (98, product.centre[1]), product.left)
    arrow(sheet, gate.top, (274, product.centre[1]), product.right)
    arrow(sheet, product.top, out.bottom, head=False)


def draw() -> Sheet:
    sheet = Sheet(388)
    mixer(sheet)
    with sheet.link("from-continuous-time-to-tokens"):
        sheet.text("discretise: what enters", (44, 226), "name", "start")
    axes = Axes(Box(44, 244, 300, 116), (0, 3), (0, 2.2))
    axes.draw(sheet, "delta")
    for level in (0, 1, 2):
        sheet.text(f"{level:g}", (38, axes.place(0, level)[1]), "size", "end")
    for step in (1, 2):
        sheet.text(f"{step}", (axes.place(step, 0)[0], 374), "size")
    delta, A = torch.linspace(0, 3, 61)[:, None], -torch.ones(1, 1)
    for hold in (True, False):
        enters = discretise(delta, A, torch.ones(1), hold)[1].flatten()
        points = [
            (x, y)
            for x, y in zip(delta.flatten().tolist(), enters.tolist(), strict=True)
            if y <= 2.2
        ]
        axes.curve(sheet, points, "attention" if hold else "idea", dashed=not hold)
    sheet.text("zero-order hold", axes.place(1.7, 0.62), "note", "start")
    sheet.text("Euler's rule", axes.place(0.85, 1.75), "note", "start")
    return sheet
