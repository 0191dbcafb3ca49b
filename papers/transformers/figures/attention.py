"""From queries, keys and values to the means of all heads. One head's weights are computed."""

from __future__ import annotations

import torch

from papers.tools.drawing.parts import Values, block, even, frame, sign, tensor
from papers.tools.drawing.sheet import Box, Sheet
from papers.tools.drawing.wires import arrow, down
from papers.transformers.attention import attention_weights, causal_mask

T, D, HEADS = 5, 3, 3
QUERY, KEY, VALUE = 62.0, 180.0, 298.0
# Where the weights of a head stand, between its queries and its keys.
MIDDLE = (QUERY + KEY) / 2


def weights() -> Values:
    """Those of a head that looks for the position before: the further from it, the less."""
    places = torch.arange(T, dtype=torch.float64)
    scores = -1.2 * (places[:, None] - 1 - places).abs()  # (T, T)
    # Where keys are unit vectors, a query is made of its scores.
    keys, mask = torch.eye(T, dtype=torch.float64), causal_mask(T)
    seen = attention_weights(scores * T**0.5, keys, mask)  # (T, T)
    return [[float(w) or None for w in row] for row in seen]


def projections(sheet: Sheet) -> list[Box]:
    sheet.text("x", (QUERY, 9))
    sheet.text("(B, T, C)", (QUERY, 26), "size")
    sheet.text("memory", ((KEY + VALUE) / 2, 9))
    sheet.text("(B, S, C)", ((KEY + VALUE) / 2, 26), "size")
    made = []
    for name, middle in (("query", QUERY), ("key", KEY), ("value", VALUE)):
        part = block(sheet, "linear", name, (middle, 79), 84, link="several-heads")
        if name == "query":
            arrow(sheet, (QUERY, 37), part.top)
        else:
            start = (KEY + VALUE) / 2, 37
            arrow(sheet, start, (start[0], 49), (middle, 49), part.top)
        heads = tensor(sheet, "attention", (middle - 21, 134), even(T, D), depth=HEADS)
        down(sheet, part, (middle, 124))
        sheet.text(name[0], (middle - 34, heads.centre[1]))
        made.append(heads)
    sheet.text("(B, H, T, D)", (QUERY, 220), "size")
    sheet.text("(B, H, S, D)", (KEY, 220), "size")
    sheet.text("(B, H, S, D)", (VALUE, 220), "size")
    return made


def draw() -> Sheet:
    sheet = Sheet(622)
    projections(sheet)
    with sheet.link("scaled-dot-product-attention"):
        frame(sheet, Box(8, 236, 344, 272), kind="attention")
        sheet.text("attention", (20, 495), anchor="start")
    scores = sign(sheet, "@", (MIDDLE, 262))
    arrow(sheet, (QUERY, 229), (QUERY, 262), scores.left)
    arrow(sheet, (KEY, 229), (KEY, 262), scores.right)
    sheet.text("/ sqrt(D)", (MIDDLE + 12, 283), "size", "start")
    softmax = block(sheet, "softmax", "softmax", (MIDDLE, 312), link="from-scores-to-weights")
    down(sheet, scores, softmax)
    grid = tensor(sheet, "attention", (MIDDLE - 55, 344), weights(), 22)
    down(sheet, softmax, grid)
    sheet.text("T", (grid.x - 12, grid.centre[1]), "size")
    sheet.text("S", (grid.x + grid.width - 11, grid.y - 9), "size")
    with sheet.link("masks"):
        sheet.text("mask", (grid.x + grid.width + 10, grid.y + 11), "name", "start")
    sheet.text("weights", (grid.x + grid.width + 10, grid.centre[1] + 1), "name", "start")
    sheet.text("(B, H, T, S)", (grid.x + grid.width + 10, grid.centre[1] + 19), "size", "start")
    means = sign(sheet, "@", (MIDDLE, 484))
    down(sheet, grid, means)
    arrow(sheet, (VALUE, 229), (VALUE, 484), means.right)

    heads = tensor(sheet, "attention", (MIDDLE - 21, 530), even(T, D), depth=HEADS)
    down(sheet, means, (MIDDLE, 520))
    sheet.text("heads", (heads.x - 30, heads.centre[1]))
    sheet.text("(B, H, T, D)", (MIDDLE, heads.bottom[1] + 13), "size")
    out = block(sheet, "linear", "out", (VALUE, heads.centre[1]), 84, link="several-heads")
    arrow(sheet, (heads.right[0] + 9, heads.centre[1]), out.left)
    sheet.text("(B, T, C)", (VALUE, 613), "size")
    arrow(sheet, out.bottom, (VALUE, 604))
    return sheet
