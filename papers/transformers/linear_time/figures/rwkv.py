"""Time mixing, and how much a token counts in different features of a new model."""

from __future__ import annotations

import torch

from papers.tools.drawing.parts import block, sign, tensor
from papers.tools.drawing.sheet import Sheet
from papers.tools.drawing.wires import arrow
from papers.transformers.linear_time.rwkv import Config, TimeMixing

FEATURES, TOKENS, CELL = 12, 20, 14.0


def mixing(sheet: Sheet) -> None:
    last = block(sheet, "plain", "last", (60, 222), 66, link="token-shift")
    x = block(sheet, "plain", "x", (150, 222), 66, link="token-shift")
    for part, place in (("r", 300), ("k", 60), ("v", 150)):
        layer = block(sheet, "linear", part, (place, 160), 56, link="time-mixing")
        for source in (last, x):
            arrow(sheet, source.top, (source.top[0], 192), (place, 192), layer.bottom)
    wkv = block(sheet, "idea", "wkv", (105, 98), 120, link="a-mean-that-fades")
    block(sheet, "idea", "a, b, p", (105, 40), 90, link="what-is-remembered")
    arrow(sheet, (60, 145), (60, 113))
    arrow(sheet, (150, 145), (150, 113))
    arrow(sheet, (92, 83), (92, 55))
    arrow(sheet, (118, 55), (118, 83))
    gate = block(sheet, "plain", "sigmoid", (300, 98), 84, link="time-mixing")
    arrow(sheet, (300, 145), gate.bottom)
    product = sign(sheet, "*", (220, 60))
    arrow(sheet, wkv.right, (220, 98), product.bottom)
    arrow(sheet, gate.top, (300, 60), product.right)
    out = block(sheet, "linear", "out", (220, 18), 62, 26, link="time-mixing")
    arrow(sheet, product.top, out.bottom)


def draw() -> Sheet:
    sheet = Sheet(462)
    mixing(sheet)
    paces = TimeMixing(Config(), 0).decay.detach().exp()
    chosen = paces[torch.linspace(0, 0.65 * len(paces), FEATURES).long()]
    left = (-chosen[:, None] * torch.arange(TOKENS)).exp()
    with sheet.link("where-the-paces-start"):
        sheet.text("exp(-w * age)", (40, 262), "name", "start")
    tensor(sheet, "idea", (40, 276), left.tolist(), CELL)
    sheet.text("features", (40, 276 + FEATURES * CELL + 12), "note", "start")
    sheet.text("tokens since", (40 + TOKENS * CELL, 276 + FEATURES * CELL + 12), "note", "end")
    return sheet
