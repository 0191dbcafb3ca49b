"""One layer with its style, and the smallest GAN with and without R1."""

from __future__ import annotations

from papers.adversarial.stylegan2 import dirac
from papers.tools.drawing.axes import Axes
from papers.tools.drawing.parts import block, sign
from papers.tools.drawing.sheet import Box, Sheet
from papers.tools.drawing.wires import arrow, down

STEPS, SIDE, REACH = 260, 210.0, 2.1


def layer(sheet: Sheet) -> None:
    sheet.text("z", (14, 34))
    mapping = block(sheet, "feed-forward", "Mapping", (84, 34), 92, link="the-mapping-network")
    arrow(sheet, (22, 34), mapping.left)
    sheet.text("w", (160, 34))
    arrow(sheet, mapping.right, (151, 34), head=False)
    style = block(sheet, "linear", "style", (226, 34), 64, link="a-layer-with-a-style")
    arrow(sheet, (169, 34), style.left)
    weight = block(sheet, "plain", "weight", (46, 112), 72)
    times = sign(sheet, "*", (120, 112))
    arrow(sheet, weight.right, times.left)
    arrow(sheet, style.bottom, (226, 72), (120, 72), times.top)
    norm = block(sheet, "idea", "/ sigma", (190, 112), 80, link="modulation-and-demodulation")
    arrow(sheet, times.right, norm.left)
    link = "other-weights-for-each-sample"
    made = block(sheet, "convolution", "convolve", (300, 112), 104, link=link)
    arrow(sheet, norm.right, made.left)
    sheet.text("x", (300, 68))
    down(sheet, (300, 77), made)
    arrow(sheet, made.bottom, (300, 154))
    sheet.text("y", (300, 164))


def game(sheet: Sheet) -> None:
    with sheet.link("the-smallest-gan"):
        sheet.text("dirac", (14, 176), "name", "start")
    axes = Axes(Box(90, 190, SIDE, SIDE), (-REACH, REACH), (-REACH, REACH))
    axes.draw(sheet, "theta", "psi")
    for level in (-1, 0, 1):
        sheet.text(str(level), (84, axes.place(0, level)[1]), "size", "end")
        sheet.text(str(level), (axes.place(level, 0)[0], 190 + SIDE + 14), "size")
    for gamma in (0.0, 0.4):
        points = [(theta, psi) for theta, psi in dirac(gamma, STEPS).tolist()]
        axes.curve(sheet, points, "idea" if gamma else "plain", dashed=not gamma)
    sheet.text("start", axes.place(0.92, 0.86), "size", "end")
    sheet.text("gamma = 0", axes.place(2.05, 1.9), "note", "end")
    sheet.text("gamma = 0.4", axes.place(-0.1, -1.0), "note")


def draw() -> Sheet:
    sheet = Sheet(424)
    layer(sheet)
    game(sheet)
    return sheet
