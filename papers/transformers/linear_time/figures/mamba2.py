"""How much of each token is left at each later one, cut into chunks with a state between them."""

from __future__ import annotations

from itertools import pairwise

import torch

from papers.tools.drawing.parts import Kind, Values, block, tensor
from papers.tools.drawing.sheet import Box, Sheet
from papers.tools.drawing.wires import arrow
from papers.transformers.linear_time.mamba2 import fading

TOKENS, CHUNK, FORGETS = 12, 4, 6
CELL, GAP = 15.0, 8.0


def chunks(sheet: Sheet) -> list[Box]:
    """The matrix, block by block; returns the block at the end of each row of chunks."""
    stays = torch.full((TOKENS,), 0.88)
    stays[FORGETS] = 0.15
    left = fading(stays.log())
    step, ends = CHUNK * CELL + GAP, []
    for down in range(TOKENS // CHUNK):
        for across in range(down + 1):
            part = left[down * CHUNK :, across * CHUNK :][:CHUNK, :CHUNK].tolist()
            inside = down == across
            values: Values = [
                [x if j <= i or not inside else None for j, x in enumerate(row)]
                for i, row in enumerate(part)
            ]
            corner = 22 + step * across, 40 + step * down
            kind: Kind = "attention" if inside else "idea"
            box = tensor(sheet, kind, corner, values, CELL)
        ends.append(box)
    return ends


def draw() -> Sheet:
    sheet = Sheet(268)
    with sheet.link("the-matrix"):
        sheet.text("fading", (22, 16), "name", "start")
    ends = chunks(sheet)
    states = [
        block(sheet, "idea", "h", (296, (a.bottom[1] + b.top[1]) / 2), 40, 28, link="in-chunks")
        for a, b in pairwise(ends)
    ]
    for row, state in zip(ends, states, strict=False):
        y = row.bottom[1] - CELL
        arrow(sheet, (row.right[0] + 4, y), (state.top[0], y), state.top)
    for row, state in zip(ends[1:], states, strict=True):
        y = row.top[1] + CELL
        arrow(sheet, state.bottom, (state.bottom[0], y), (row.right[0] + 4, y))
    arrow(sheet, states[0].bottom, states[1].top)
    with sheet.link("the-matrix"):
        sheet.text("a chunk by itself: like attention", (94, 54), "note", "start")
    with sheet.link("in-chunks"):
        sheet.text("chunks before it: by way of a state", (22, 254), "note", "start")
    return sheet
