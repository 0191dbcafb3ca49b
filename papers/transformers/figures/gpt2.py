"""The stream that nothing normalises, and who may look at whom."""

from __future__ import annotations

from papers.tools.drawing.composites import Sublayer, residual
from papers.tools.drawing.parts import Kind, Values, block, frame, sign, tensor
from papers.tools.drawing.sheet import Box, Sheet
from papers.tools.drawing.wires import arrow, down
from papers.transformers.attention import causal_mask

LEFT, T = 104.0, 6


def triangle() -> Values:
    """White is what a position may not see."""
    return [[0.35 if seen else None for seen in row] for row in causal_mask(T).tolist()]


def draw() -> Sheet:
    sheet = Sheet(622)
    sheet.text("tokens  (B, T)", (LEFT, 10), "size")
    tokens = block(sheet, "embedding", "tokens", (LEFT, 52), 104, link="the-model")
    places = block(sheet, "embedding", "positions", (276, 52), 104, link="positions")
    plus = sign(sheet, "+", (LEFT, 94))
    down(sheet, (LEFT, 20), tokens)
    down(sheet, tokens, plus)
    arrow(sheet, places.bottom, (276, 94), plus.right)
    frame(sheet, Box(10, 109, 180, 297))
    sheet.text("blocks", (180, 396), "name", "end")
    start = plus.bottom
    first = Sublayer("attention", "attention", "norm1", "attention", "a-block")
    second = Sublayer("feed-forward", "feed_forward", "norm2", "the-mlp", "a-block")
    start, attention = residual(sheet, start, first, -78)
    start, feed_forward = residual(sheet, start, second, -78)
    norm = block(sheet, "norm", "norm", (LEFT, 446), 104, 24)
    down(sheet, start, norm)
    out = block(sheet, "linear", "tokens.weight.T", (LEFT, 500), 152)
    down(sheet, norm, out)
    softmax = block(sheet, "softmax", "softmax", (LEFT, 554), 104, link="choosing-a-token")
    down(sheet, out, softmax)
    down(sheet, softmax, (LEFT, 594))
    sheet.text("(B, T, V)", (LEFT, 606), "size")

    seen = frame(sheet, Box(212, 124, 140, 152), kind="attention")
    grid = tensor(sheet, "attention", (seen.x + 34, seen.y + 28), triangle(), 16)
    sheet.text("keys", (grid.centre[0], grid.y - 12), "note")
    sheet.text("T", (grid.x - 14, grid.centre[1]), "size")
    sheet.text("causal", (grid.centre[0], seen.y + 139), "note")
    inside = frame(sheet, Box(212, 292, 140, 166), kind="feed-forward")
    parts: list[tuple[Kind, str, float]] = [
        ("linear", "up", 56), ("plain", "gelu", 112), ("linear", "down", 56),
    ]  # fmt: skip
    wide = [
        block(sheet, kind, name, (282, inside.y + 38 + number * 45), width, 26)
        for number, (kind, name, width) in enumerate(parts)
    ]
    down(sheet, (282, inside.y + 8), wide[0])
    down(sheet, wide[0], wide[1])
    down(sheet, wide[1], wide[2])
    down(sheet, wide[2], (282, inside.y + 160))
    sheet.text("M", (330, inside.y + 60), "size")
    for part, to in ((attention, seen), (feed_forward, inside)):
        turn = part.right[0] + 30
        arrow(sheet, part.right, (turn, part.right[1]), (turn, to.left[1]), to.left,
              look="dashed", head=False)  # fmt: skip
    return sheet
