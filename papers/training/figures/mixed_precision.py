"""The bits of three kinds of number, and the smallest that each can say."""

from __future__ import annotations

import torch

from papers.tools.drawing.parts import even, tensor
from papers.tools.drawing.sheet import Sheet
from papers.training.mixed_precision import smallest

# Bits of the exponent and of the fraction.
KINDS = (
    ("float32", torch.float32, 8, 23),
    ("float16", torch.float16, 5, 10),
    ("bfloat16", torch.bfloat16, 8, 7),
)
LEFT, CELL = 12.0, 10.5


def draw() -> Sheet:
    sheet = Sheet(256)
    for number, (name, dtype, exponent, fraction) in enumerate(KINDS):
        top = 38.0 + number * 88
        with sheet.link("what-16-bits-can-say"):
            sheet.text(name, (LEFT, top - 22), "name", "start")
        sheet.text(f"from {smallest(dtype):.1e}", (348, top - 22), "size", "end")
        tensor(sheet, "plain", (LEFT, top), even(2, 1, 0.35), CELL)
        at = LEFT + CELL
        tensor(sheet, "idea", (at, top), even(2, exponent, 0.45), CELL)
        sheet.text(str(exponent), (at + exponent * CELL / 2, top + 34), "size")
        at += exponent * CELL
        tensor(sheet, "attention", (at, top), even(2, fraction, 0.35), CELL)
        sheet.text(str(fraction), (at + fraction * CELL / 2, top + 34), "size")
    return sheet
