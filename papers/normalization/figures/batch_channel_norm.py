"""Estimates over many batches, then a group of one image, and a channel that falls silent."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from papers.normalization.batch_channel_norm import BatchChannelNorm
from papers.normalization.group_norm import GroupNorm
from papers.tools.drawing.parts import block, tensor
from papers.tools.drawing.sheet import Sheet
from papers.tools.drawing.wires import arrow, down

OLD, B, C, GROUP, CHANNEL, CELL = 4, 2, 6, 3, 1, 18.0
LEFT, TOP = 58.0, 28.0
IMAGES = 12


def layers(sheet: Sheet) -> None:
    rows = OLD + B
    table = tensor(sheet, "plain", (LEFT, TOP), [[0.0] * C for _ in range(rows)], CELL)
    column = [[0.15 + 0.1 * row] for row in range(rows)]
    seen = tensor(sheet, "convolution", (LEFT + CHANNEL * CELL, TOP), column, CELL)
    bottom = TOP + (rows - 1) * CELL
    group = tensor(sheet, "idea", (LEFT + GROUP * CELL, bottom), [[0.5] * (C - GROUP)], CELL)
    sheet.text("C", (table.centre[0], 16), "size")
    sheet.text("B", (LEFT - 14, TOP + (OLD + B / 2) * CELL), "size")
    sheet.text("before", (LEFT - 8, TOP + OLD * CELL / 2), "note", "end")
    first = block(sheet, "norm", "batch", (270, 50), 96, link="estimated-statistics")
    arrow(sheet, (seen.right[0], 50), first.left)
    second = block(sheet, "idea", "channel", (270, group.centre[1]), 96, link="batch-then-channels")
    down(sheet, first, second)
    arrow(sheet, group.right, second.left)


def channels() -> dict[str, Tensor]:
    """Behind a rectifier, two channels that lie far apart, over images; a row for each channel."""
    torch.manual_seed(1)
    x = torch.randn(IMAGES, 2, 1, 1) + torch.tensor([-2.0, 4.0]).view(2, 1, 1)
    norm = BatchChannelNorm(2, 1)
    with torch.no_grad():
        for _ in range(100):
            norm(x)
        made: dict[str, nn.Module] = {"group norm": GroupNorm(1, 2), "batch-channel": norm.eval()}
        return {name: layer(x).relu().flatten(1).T for name, layer in made.items()}


def draw() -> Sheet:
    sheet = Sheet(306)
    layers(sheet)
    with sheet.link("silent-channels"):
        sheet.text("silent", (LEFT, 172), "name", "start")
    for number, (name, shades) in enumerate(channels().items()):
        top = 190 + number * 56
        shown = (0.9 * shades / shades.max()).tolist()
        kind = "idea" if number else "plain"
        tensor(sheet, kind, (LEFT + 50, top), shown, CELL)  # type: ignore[arg-type]
        sheet.text(name, (LEFT + 42, top + CELL), "note", "end")
    sheet.text("images", (LEFT + 50 + IMAGES * CELL / 2, 296), "size")
    return sheet
