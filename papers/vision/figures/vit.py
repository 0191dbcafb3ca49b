"""A digit, cut by the page's own function; a vector for each piece, and one more before them."""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits

from papers.tools.drawing.composites import Sublayer, picture, residual
from papers.tools.drawing.parts import block, even, frame, sign, tensor
from papers.tools.drawing.sheet import Box, Sheet
from papers.tools.drawing.wires import arrow, down
from papers.vision.vit import patchify

P, SIDE, PIXEL = 4, 8, 8
MIDDLE = 180.0


def image(sheet: Sheet) -> None:
    digit = torch.from_numpy(load_digits().images[0] / 16)
    whole = picture(sheet, (16, 26), digit.tolist(), PIXEL)
    sheet.text("images", (whole.centre[0], 12))
    sheet.text("(B, K, H, H)", (whole.centre[0] + 6, 104), "size")
    with sheet.link("patches"):
        sheet.text("patchify", (128, 42))
    patches = patchify(digit[None, None], P)[0].view(-1, P, P).tolist()
    arrow(sheet, (whole.right[0] + 8, 58), (164, 58))
    for number, patch in enumerate(patches):
        piece = picture(sheet, (176 + number * 44.0, 42), patch, PIXEL)
        part = tensor(sheet, "embedding", (piece.x + 9, 152), even(4, 1, 0.3), 14)
        down(sheet, (piece.centre[0], 78), (piece.centre[0], 94))
        down(sheet, (piece.centre[0], 128), part)
    block(sheet, "linear", "project", (MIDDLE + 80, 111), 172, 28)
    tensor(sheet, "idea", (128, 152), even(4, 1, 0.6), 14)
    sheet.text("first", (135, 140))
    sheet.text("(B, N+1, C)", (62, 182), "size")


def draw() -> Sheet:
    sheet = Sheet(588)
    image(sheet)
    plus = sign(sheet, "+", (MIDDLE, 232))
    arrow(sheet, (MIDDLE, 212), plus.top)
    places = block(sheet, "embedding", "positions", (62, 232), 104)
    arrow(sheet, places.right, plus.left)
    frame(sheet, Box(MIDDLE - 92, 250, 184, 294))
    sheet.text("blocks", (MIDDLE + 82, 534), "name", "end")
    first = Sublayer("attention", "attention", "norm", "a-block")
    second = Sublayer("feed-forward", "feed_forward", "norm", "a-block")
    start, _ = residual(sheet, plus.bottom, first, -78)
    start, _ = residual(sheet, start, second, -78)
    head = block(sheet, "linear", "head", (318, 572), 64, 26, "the-model")
    arrow(sheet, start, (MIDDLE, 572), head.left)
    sheet.text("z[:, 0]", (232, 561), "size")
    return sheet
