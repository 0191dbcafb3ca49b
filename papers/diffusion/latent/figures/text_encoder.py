"""A caption of the page's data, and what its tokens look at in a layer that has learned nothing."""

from __future__ import annotations

from typing import Any

import torch

from papers.common.data.shapes import captions, tokens
from papers.diffusion.latent.text_encoder import Sizes, TextEncoder
from papers.tools.drawing.parts import block, even, tensor
from papers.tools.drawing.sheet import Sheet
from papers.tools.drawing.wires import arrow, down
from papers.transformers.attention import causal_mask

CAPTION = (1, 0, 0, 0)
CELL, LEFT = 22.0, 150.0


def weights(row: torch.Tensor) -> list[list[float | None]]:
    """Those of the first head of the first layer. What the mask hides is not drawn as zero."""
    torch.manual_seed(0)
    model = TextEncoder(Sizes(), 19)
    mask = causal_mask(len(row))
    layer: Any = model.blocks[0]
    x = model.tokens(row)[None] + model.places.weight
    shown = layer.attention.weights(layer.around_attention.norm(x), mask=mask)[0, 0]
    return [
        [w if see else None for w, see in zip(line, seen, strict=True)]
        for line, seen in zip(shown.tolist(), mask.tolist(), strict=True)
    ]


def draw() -> Sheet:
    sheet = Sheet(470)
    (caption,) = captions(torch.tensor([CAPTION]))
    words = ["<start>", *caption.split(), "<end>"]
    # Both the caption's words and what they look at, word by word.
    grid = tensor(sheet, "attention", (LEFT, 28), weights(tokens([caption])[0]), CELL)
    for number, word in enumerate(words):
        sheet.text(word, (LEFT - 10, 28 + (number + 0.5) * CELL), "name", "end")
    sheet.text("looks at", (grid.centre[0], 14), "note")
    blocks = block(sheet, "attention", "blocks", (grid.centre[0], 268), 120, 40, "the-encoder", 2)
    down(sheet, (grid.centre[0], grid.bottom[1]), (grid.centre[0], blocks.y - 4))
    norm = block(sheet, "norm", "norm", (grid.centre[0], 318), 76, 26)
    down(sheet, blocks, norm)
    states = tensor(sheet, "embedding", (LEFT, 354), even(2, 8, 0.3), CELL)
    last = tensor(sheet, "idea", (LEFT + 8 * CELL, 354), even(2, 1, 0.7), CELL)
    down(sheet, norm, (grid.centre[0], 354))
    sheet.text("states", (LEFT - 10, 376), "name", "end")
    sheet.text("(B, T, C)", (LEFT - 10, 394), "size", "end")
    with sheet.link("the-text-in-one-vector"):
        sheet.text("read", (last.centre[0], 444))
    arrow(sheet, last.bottom, (last.centre[0], 432))
    sheet.text("to the U-Net", (states.centre[0], 444), "note")
    arrow(sheet, states.bottom, (states.centre[0], 432))
    return sheet
