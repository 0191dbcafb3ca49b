"""A level, and what each of its outputs depends on, with the shift and without it."""

from __future__ import annotations

from unittest.mock import patch

import torch
from torch import Tensor

from papers.tools.drawing.parts import Values, block, tensor
from papers.tools.drawing.sheet import Sheet
from papers.tools.drawing.wires import arrow
from papers.transformers import hourglass
from papers.transformers.hourglass import Level, shift_right

T, C, K, CELL = 12, 8, 4, 13.0


def depends(by: int) -> Values:
    """Which inputs (columns) each output (row) depends on, by gradients."""
    torch.manual_seed(0)
    level, x = Level(C, 2, (0, 1), (K,), False), torch.randn(1, T, C, requires_grad=True)
    with patch.object(hourglass, "shift_right", lambda x, _: shift_right(x, by)):
        y: Tensor = level(x)[0]
    rows: list[list[float | None]] = []
    for place, one in enumerate(y):
        grad = torch.autograd.grad(one.square().sum(), x, retain_graph=True)[0][0]
        seen = (grad.abs().amax(-1) > 1e-12).tolist()
        rows.append(
            [(1.0 if column > place else 0.4) if yes else 0.0 for column, yes in enumerate(seen)]
        )
    return rows


def draw() -> Sheet:
    sheet = Sheet(382, 360)
    pre = block(sheet, "plain", "pre", (52, 30), 76, 30, link="a-level")
    post = block(sheet, "plain", "post", (308, 30), 76, 30, link="a-level")
    shorten = block(sheet, "linear", "shorten", (52, 96), 84, 28, link="a-level")
    inner = block(sheet, "idea", "inner", (180, 96), 76, 28, link="a-level")
    upsample = block(sheet, "linear", "upsample", (308, 96), 84, 28, link="a-level")
    arrow(sheet, pre.right, post.left)
    arrow(sheet, pre.bottom, shorten.top)
    arrow(sheet, shorten.right, inner.left)
    arrow(sheet, inner.right, upsample.left)
    arrow(sheet, upsample.top, post.bottom)
    with sheet.link("the-shift"):
        sheet.text("shift_right", (60, 64), "name", "start")
    sheet.text("T", (180, 20), "size")
    sheet.text("T/4", (180, 126), "size")
    for left, words, by in ((12, "shifted by 3", K - 1), (192, "not shifted", 0)):
        grid = tensor(sheet, "attention", (left, 178), depends(by), CELL)
        sheet.text(words, (grid.x, 164), "note", "start")
        sheet.text("x", (grid.centre[0], grid.bottom[1] + 14), "name")
    return sheet
