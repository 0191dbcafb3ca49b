"""Chunks, what passes between them, and what a memory answers for a key that is replaced."""

from __future__ import annotations

import torch
from torch import Tensor

from papers.tools.drawing.axes import Axes
from papers.tools.drawing.parts import Values, block, tensor
from papers.tools.drawing.sheet import Box, Sheet
from papers.tools.drawing.wires import arrow
from papers.transformers.linear_time.gated_delta import recurrent

L, CELL = 4, 15.0
TOKENS, REPLACED, DROPPED = 20, 8, 14


def chunks(sheet: Sheet) -> None:
    torch.manual_seed(1)
    for number in range(3):
        left = 20 + 116 * number
        shades = (0.25 + 0.6 * torch.rand(L, L)).tolist()
        values: Values = [
            [x if across <= down else None for across, x in enumerate(row)]
            for down, row in enumerate(shades)
        ]
        scores = tensor(sheet, "attention", (left, 30), values, CELL)
        memory = block(sheet, "idea", "W", (scores.centre[0], 126), 46, link="the-gated-delta-rule")
        arrow(sheet, scores.bottom, memory.top)
        if number < 2:
            arrow(sheet, memory.right, (memory.right[0] + 70, memory.right[1]))
    with sheet.link("in-chunks"):
        sheet.text("chunks of tokens", (20, 14), "name", "start")


def answers(gate: bool) -> list[float]:
    """What is read under the first key after each of the tokens, which write other keys."""
    k = torch.eye(TOKENS + 1)[1:]
    k[[0, REPLACED]] = torch.eye(TOKENS + 1)[0]
    v, decay = torch.zeros(TOKENS, 1), torch.zeros(TOKENS)
    v[0], v[REPLACED] = 1.0, 0.5
    if gate:
        decay[DROPPED] = -6.0
    q: Tensor = torch.eye(TOKENS + 1)[:1].expand(TOKENS, -1)
    read: list[float] = recurrent(q, k, v, torch.ones(TOKENS), decay)[0].flatten().tolist()
    return read


def draw() -> Sheet:
    sheet = Sheet(330)
    chunks(sheet)
    with sheet.link("the-gated-delta-rule"):
        sheet.text("recurrent: what is read", (44, 172), "name", "start")
    axes = Axes(Box(44, 190, 300, 110), (0, TOKENS - 1), (0, 1.15))
    axes.draw(sheet, "token")
    for level in (0, 0.5, 1):
        sheet.text(f"{level:g}", (38, axes.place(0, level)[1]), "size", "end")
    for token in (REPLACED, DROPPED):
        sheet.text(f"{token}", (axes.place(token, 0)[0], 314), "size")
    for gate in (False, True):
        points = [(float(t), y) for t, y in enumerate(answers(gate))]
        axes.curve(sheet, points, "idea" if gate else "plain", dashed=not gate)
    sheet.text("without a gate", axes.place(13.2, 0.64), "note", "start")
    sheet.text("with one", axes.place(14.4, 0.14), "note", "start")
    return sheet
