"""Three kinds of biases, and how the last position weighs all before it in one feature."""

from __future__ import annotations

import torch

from papers.tools.drawing.axes import Axes
from papers.tools.drawing.parts import Values, tensor
from papers.tools.drawing.sheet import Box, Sheet
from papers.transformers.mixing.aft import weights

SIDE, CELL, NEAR, LENGTH = 8, 12.0, 3, 32


def squares(sheet: Sheet) -> None:
    torch.manual_seed(4)
    full = 0.15 + 0.7 * torch.rand(SIDE, SIDE)
    place = torch.arange(SIDE)
    apart = place[:, None] - place
    kinds = {
        "full": full,
        "local": full * (apart < NEAR),
        "conv": torch.tensor([0.9, 0.6, 0.3] + [0.0] * SIDE)[apart.clamp(min=0)],
    }
    for number, (name, w) in enumerate(kinds.items()):
        values: Values = [
            [x if across <= below else None for across, x in enumerate(row)]
            for below, row in enumerate(w.tolist())
        ]
        box = tensor(sheet, "idea", (18 + 114 * number, 30), values, CELL)
        with sheet.link("four-kinds-of-biases"):
            sheet.text(name, (box.centre[0], 16), "name")


def draw() -> Sheet:
    sheet = Sheet(320)
    squares(sheet)
    with sheet.link("what-each-value-weighs"):
        sheet.text("weights of the last position", (44, 158), "name", "start")
    axes = Axes(Box(44, 176, 300, 110), (0, LENGTH - 1), (0, 0.28))
    axes.draw(sheet, "position")
    for level in (0, 0.1, 0.2):
        sheet.text(f"{level:g}", (38, axes.place(0, level)[1]), "size", "end")
    torch.manual_seed(1)
    k = torch.randn(LENGTH, 1) * 0.5
    k[9] = 2.0
    near = torch.zeros(LENGTH, LENGTH)
    near[-1, -6:] = 1.5
    for w, look in ((torch.zeros_like(near), False), (near, True)):
        points = [(float(t), y) for t, y in enumerate(weights(k, w)[0, -1].tolist())]
        axes.curve(sheet, points, "idea" if look else "plain", dashed=not look)
    sheet.text("a large key", axes.place(10.2, 0.185), "note", "start")
    sheet.text("near", axes.place(30.5, 0.125), "note", "end")
    sheet.text("equal biases: dashed", (44, 308), "note", "start")
    return sheet
