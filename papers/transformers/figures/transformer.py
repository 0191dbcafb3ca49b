"""A layer of the encoder, one of the decoder, and the memory that leads from one to the other."""

from __future__ import annotations

from papers.tools.drawing.composites import Sublayer, residual
from papers.tools.drawing.parts import block, frame, sign
from papers.tools.drawing.sheet import Box, Sheet
from papers.tools.drawing.wires import arrow, down

LEFT, RIGHT = 86.0, 270.0
AROUND = "around-every-sublayer"
AHEAD = 126.0


def embed(sheet: Sheet, name: str, size: str, x: float, top: float) -> tuple[float, float]:
    sheet.text(name, (x, top))
    sheet.text(size, (x, top + 17), "size")
    part = block(sheet, "embedding", "embedding", (x, top + 58), 108, link="encoder-and-decoder")
    down(sheet, (x, top + 27), part)
    plus = sign(sheet, "+", (x, top + 100))
    down(sheet, part, plus)
    return plus.bottom


def sublayer(name: str, link: str) -> Sublayer:
    forward = name == "feed_forward"
    if forward:
        link = "a-network-at-each-position"
    return Sublayer("feed-forward" if forward else "attention", name, "norm", link, AROUND, False)


def draw() -> Sheet:
    sheet = Sheet(762)
    frame(sheet, Box(8, 124, 160, 302))
    frame(sheet, Box(192, 124 + AHEAD, 160, 434))
    start = embed(sheet, "source", "(B, S)", LEFT, 9)
    for name in ("attention", "feed_forward"):
        start, _ = residual(sheet, start, sublayer(name, "a-layer-of-the-encoder"), -68, 108)
    end = start
    start = embed(sheet, "target", "(B, T)", RIGHT, 9 + AHEAD)
    made: dict[str, Box] = {}
    for name in ("attention", "cross", "feed_forward"):
        part = sublayer(name, "a-layer-of-the-decoder")
        start, made[name] = residual(sheet, start, part, 68, 108)
    with sheet.link("where-a-token-stands"):
        sheet.text("sinusoids", (LEFT + 94, 109))
    arrow(sheet, (LEFT + 54, 109), (LEFT + 11, 109))
    arrow(sheet, (LEFT + 94, 118), (LEFT + 94, 109 + AHEAD), (RIGHT - 11, 109 + AHEAD))
    sheet.text("encoder", (20, 412), "name", "start")
    sheet.text("decoder", (204, 544 + AHEAD), "name", "start")
    arrow(sheet, end, (LEFT, 446), (180, 446), (180, made["cross"].left[1]), made["cross"].left,
          look="past")  # fmt: skip
    sheet.text("memory", (LEFT, 462))
    sheet.text("(B, S, C)", (LEFT, 479), "size")
    out = block(sheet, "linear", "embedding.weight.T", (RIGHT - 14, 712), 176, 28)
    down(sheet, start, (RIGHT, out.y))
    arrow(sheet, (RIGHT, 726), (RIGHT, 744))
    sheet.text("(B, T, V)", (RIGHT, 753), "size")
    return sheet
