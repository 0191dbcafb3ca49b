"""What a new token sees, at which positions, and weights without the key on which a head rests."""

from __future__ import annotations

import torch

from papers.tools.drawing.parts import Values, tensor
from papers.tools.drawing.sheet import Sheet
from papers.transformers.attention_sinks import sink_attention, window_mask

TOKENS, WINDOW, SINKS, CELL, LEFT = 16, 8, 2, 21.0, 12.0
SCORES = (4.0, 0.0, 1.0, -0.5, 0.5, 0.0, 1.5, 0.5)


def row(sheet: Sheet, top: float, words: str, link: str, kept: list[bool], inside: bool) -> None:
    values: Values = [[0.35 if yes else None for yes in kept[:-1]] + [1.0]]
    with sheet.link(link):
        sheet.text(words, (LEFT, top - 12), "name", "start")
    tensor(sheet, "attention", (LEFT, top), values, CELL)
    places = [place for place, yes in enumerate(kept) if yes]
    for number, place in enumerate(places):
        at = (LEFT + (place + 0.5) * CELL, top + CELL + 10)
        sheet.text(str(number if inside else place), at, "size")


def seen(sinks: int, recent: int) -> list[bool]:
    places = torch.arange(TOKENS)
    kept: list[bool] = window_mask(places[-1:], places, recent, sinks)[0].tolist()
    return kept


def weights(first: bool, logit: float | None) -> list[float | None]:
    k = torch.tensor(SCORES)[None, None, :, None]
    seen = torch.ones(1, len(SCORES)).bool()
    seen[0, 0] = first
    rest = None if logit is None else torch.tensor([logit])
    found = sink_attention(torch.ones(1, 1, 1, 1), k, k, seen, rest)[1].flatten().tolist()
    return [w if first or i else None for i, w in enumerate(found)]


def draw() -> Sheet:
    sheet = Sheet(420, 360)
    row(sheet, 26, "dense", "ways-to-read-on", seen(0, TOKENS), inside=False)
    row(sheet, 86, "window", "a-window", seen(0, WINDOW), inside=False)
    row(sheet, 146, "sinks and window", "a-cache-that-rolls", seen(SINKS, WINDOW - SINKS), True)
    wide = 42.0
    for number, (words, first, logit) in enumerate(
        (
            ("weights of a head", True, None),
            ("the first key is gone", False, None),
            ("gone, with a sink logit of 4", False, 4.0),
        )
    ):
        top = 218 + 68 * number
        found = weights(first, logit)
        with sheet.link("where-a-head-can-rest"):
            sheet.text(words, (LEFT, top - 12), "name", "start")
        for place, weight in enumerate(found):
            x = LEFT + (place + 0.5) * wide
            cell = tensor(sheet, "softmax", (x - CELL / 2, top), [[weight]], CELL)
            if weight is not None:
                sheet.text(f"{weight:.2f}"[1:], (x, cell.bottom[1] + 10), "size")
    return sheet
