"""Who learns from whom, and the slopes of the two losses by the page's own function."""

from __future__ import annotations

import math

import torch

from papers.adversarial.gan import Loss, generator_loss
from papers.tools.drawing.axes import Axes
from papers.tools.drawing.parts import block
from papers.tools.drawing.sheet import Box, Sheet
from papers.tools.drawing.wires import arrow


def game(sheet: Sheet) -> None:
    y, below = 46, 108
    sheet.text("z", (18, y))
    G = block(sheet, "idea", "generator", (104, y), 112, link="the-players")
    arrow(sheet, (28, y), G.left)
    D = block(sheet, "attention", "discriminator", (270, (y + below) / 2), 140, link="the-game")
    arrow(sheet, G.right, (D.top[0] - 30, y), (D.top[0] - 30, D.top[1]))
    sheet.text("x", (104, below))
    arrow(sheet, (114, below), (D.top[0] - 30, below), (D.top[0] - 30, D.bottom[1]))
    arrow(sheet, (D.top[0] + 30, D.top[1]), (D.top[0] + 30, y - 22))
    sheet.text("real?", (D.top[0] + 30, y - 32), "name")
    sheet.text("made", (200, y - 12), "size")
    sheet.text("data", (160, below - 12), "size")


def slope(D: float, loss: Loss) -> float:
    s = torch.tensor([math.log(D / (1 - D))], dtype=torch.float64, requires_grad=True)
    (found,) = torch.autograd.grad(generator_loss(s, loss), s)
    return -found.item()


def draw() -> Sheet:
    sheet = Sheet(354)
    game(sheet)
    with sheet.link("two-losses-for-the-generator"):
        sheet.text("generator_loss: how hard it pushes", (20, 158), "name", "start")
    axes = Axes(Box(44, 178, 296, 136), (0, 1), (0, 1.1))
    axes.draw(sheet)
    sheet.text("discriminator's answer D", (340, 344), "size", "end")
    for level in (0.0, 0.5, 1.0):
        sheet.text(f"{level:g}", (36, axes.place(0, level)[1]), "size", "end")
        sheet.text(f"{level:g}", (axes.place(level, 0)[0], 326), "size")
    answers = [0.01 + 0.02 * n for n in range(50)]
    axes.curve(sheet, [(D, slope(D, "other")) for D in answers], "idea")
    axes.curve(sheet, [(D, slope(D, "minimax")) for D in answers], "plain", dashed=True)
    sheet.text("other loss", axes.place(0.14, 1.0), "note", "start")
    sheet.text("minimax", axes.place(0.83, 1.0), "note", "end")
    return sheet
