"""A digit on its way into noise, by the page's own schedule, and one step of the way back."""

from __future__ import annotations

import numpy
import torch
from sklearn.datasets import load_digits

from papers.diffusion.ddpm import Diffusion
from papers.tools.drawing.composites import picture
from papers.tools.drawing.parts import block, sign
from papers.tools.drawing.sheet import Box, Sheet
from papers.tools.drawing.wires import arrow, down

T = 100
TIMES = (0, 10, 30, 100)
PIXEL = 9
SIDE = 8 * PIXEL
# Which of the digits, a nought, and which noise.
DIGIT, SEED = 0, 0


def shades(x: torch.Tensor) -> list[list[float]]:
    rows: list[list[float]] = ((x[0, 0].clamp(-1, 1) + 1) / 2).tolist()
    return rows


def chain(sheet: Sheet, diffusion: Diffusion, x0: torch.Tensor, noise: torch.Tensor) -> None:
    boxes: list[Box] = []
    for number, t in enumerate(TIMES):
        x = diffusion.noisy(x0, torch.tensor([t]), noise)
        corner = 6 + number * (SIDE + 20.0), 42.0
        boxes.append(picture(sheet, corner, shades(x), PIXEL))
        sheet.text("x0" if not t else "x", (boxes[-1].centre[0], 128))
        sheet.text(f"t = {t}", (boxes[-1].centre[0], 146), "size")
    first, last = boxes[0].centre[0], boxes[-1].centre[0]
    with sheet.link("all-steps-at-once"):
        sheet.text("noisy", (180, 10))
    arrow(sheet, (first, 36), (first, 26), (last, 26), (last, 38))
    with sheet.link("sampling"):
        sheet.text("sample", (180, 184))
    arrow(sheet, (last, 158), (last, 168), (first, 168), (first, 156), look="past")


def step_back(
    sheet: Sheet, top: float, x: torch.Tensor, noise: torch.Tensor, back: torch.Tensor
) -> None:
    now = picture(sheet, (6, top), shades(x), PIXEL)
    guess = picture(sheet, (282, top), shades(noise / 2), PIXEL)
    sheet.text("x", (now.centre[0], top - 12))
    sheet.text("noise", (guess.centre[0], top - 12))
    model = block(sheet, "convolution", "model", (180, now.centre[1]), 100, 40, "the-loss")
    arrow(sheet, now.right, model.left)
    arrow(sheet, model.right, guess.left)
    sheet.text("t", (180, top - 12))
    down(sheet, (180, top - 3), model)
    mean = block(sheet, "plain", "mean", (180, top + 112), 84, link="the-way-back")
    arrow(sheet, now.bottom, (now.bottom[0], top + 112), mean.left)
    arrow(sheet, guess.bottom, (guess.bottom[0], top + 112), mean.right)
    plus = sign(sheet, "+", (180, top + 156))
    down(sheet, mean, plus)
    z = block(sheet, "noise", "z", (60, top + 156), 48)
    arrow(sheet, z.right, plus.left)
    after = picture(sheet, (144, top + 190), shades(back), PIXEL)
    down(sheet, plus, after)
    sheet.text("x, t - 1", (228, after.centre[1]), "name", "start")


def draw() -> Sheet:
    sheet = Sheet(492)
    digit = load_digits().images[DIGIT] / 8 - 1
    x0 = torch.from_numpy(digit)[None, None]
    drawn = numpy.random.default_rng(SEED).standard_normal((2, 1, 1, 8, 8))
    noise, z = torch.from_numpy(drawn)
    diffusion, t = Diffusion(T), torch.tensor([TIMES[2]])
    chain(sheet, diffusion, x0, noise)
    x = diffusion.noisy(x0, t, noise)
    # As if the model had seen the noise as it is.
    back = diffusion.mean(x, t, noise) + diffusion.variance[t].sqrt() * z
    step_back(sheet, 228, x, noise, back)
    return sheet
