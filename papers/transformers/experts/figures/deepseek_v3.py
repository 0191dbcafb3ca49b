"""The model and its second head, and what of the published weights a token uses."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from papers.tools.drawing.parts import block
from papers.tools.drawing.sheet import Box, Sheet
from papers.tools.drawing.wires import arrow
from papers.transformers.experts.deepseek_v3 import published_block

MAIN, STATE, TOKEN, HEAD = 62.0, 192.0, 290.0, 241.0


def column(sheet: Sheet, *boxes: Box) -> None:
    """From the first, which is the lowest, up to the last."""
    for below, above in pairwise(boxes):
        arrow(sheet, below.top, above.bottom)


def words(sheet: Sheet, text: str, at: tuple[float, float]) -> Box:
    sheet.text(text, at)
    return Box(at[0] - 36, at[1] - 9, 72, 18)


def flow(sheet: Sheet) -> None:
    bottom = 322.0
    read = words(sheet, "t1 t2 t3", (MAIN, bottom))
    embed = block(sheet, "embedding", "tokens", (MAIN, 280), 84)
    blocks = block(sheet, "attention", "blocks", (MAIN, 222), 84, depth=3, link="the-model")
    norm = block(sheet, "norm", "norm", (MAIN, 162), 84, link="the-model")
    out = block(sheet, "linear", "out", (MAIN, 84), 84, link="the-model")
    told = words(sheet, "t2 t3 t4", (MAIN, 30))
    column(sheet, read, embed, blocks, norm, out, told)

    follow = words(sheet, "t2 t3 t4", (TOKEN, bottom))
    again = block(sheet, "embedding", "tokens", (TOKEN, 280), 84)
    states = block(sheet, "norm", "norm", (STATE, 232), 78, link="one-token-further")
    tokens = block(sheet, "norm", "norm", (TOKEN, 232), 78, link="one-token-further")
    join = block(sheet, "idea", "join", (HEAD, 184), 176, link="one-token-further")
    one = block(sheet, "attention", "block", (HEAD, 136), 84, link="a-block")
    shared = block(sheet, "linear", "out", (HEAD, 84), 84, link="the-model")
    further = words(sheet, "t3 t4 t5", (HEAD, 30))
    column(sheet, follow, again, tokens)
    for part in (states, tokens):
        arrow(sheet, part.top, (part.top[0], join.bottom[1] + 1))
    column(sheet, join, one, shared, further)
    # The states go over, from behind the norm.
    turn = (MAIN, 124)
    arrow(sheet, turn, (133, 124), (133, 262), (STATE, 262), states.bottom)
    sheet.text("states", (100, 112), "note")
    arrow(sheet, out.right, shared.left, look="past", head=False)


def weights(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def shares() -> tuple[tuple[str, float, float], ...]:
    """In billions: what a token uses in any case, and experts, of all weights and of those used."""
    with torch.device("meta"):
        dense = published_block(True)
    # Nine experts are as wide as a dense network.
    network = weights(dense.feed_forward)
    expert, router = network // 9, 256 * 7168
    rest = 61 * (weights(dense) - network) + 3 * network + 58 * (expert + router)
    vocabulary = 129_280 * 7168
    return (
        ("all", (rest + 2 * vocabulary) / 1e9, 58 * 256 * expert / 1e9),
        ("used", (rest + vocabulary) / 1e9, 58 * 8 * expert / 1e9),
    )


def sizes(sheet: Sheet) -> None:
    top, left, wide = 386.0, 52.0, 162.0
    sheet.text("billions of weights", (left, top - 20), "note", "start")
    longest = max(always + chosen for _, always, chosen in shares())
    for number, (name, always, chosen) in enumerate(shares()):
        y = top + 24 * number
        sheet.text(name, (left - 8, y + 7), "name", "end")
        first, second = (part * wide / longest for part in (always, chosen))
        for kind, x, long in (("attention", left, first), ("feed-forward", left + first, second)):
            with sheet.group(kind):
                place = {"x": x, "y": y, "width": long, "height": 14.0}
                sheet.add("rect", class_="cell", fill_opacity=0.55, **place)
        total = f"{always + chosen:.0f}, experts {chosen:.0f}"
        sheet.text(total, (left + first + second + 7, y + 7), "size", "start")


def draw() -> Sheet:
    sheet = Sheet(434)
    flow(sheet)
    sizes(sheet)
    return sheet
