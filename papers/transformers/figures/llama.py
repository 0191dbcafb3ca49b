"""A block of four exchanged parts; the pairs of features that turn, by the page's own angles."""

from __future__ import annotations

import math

import torch

from papers.tools.drawing.composites import Sublayer, residual
from papers.tools.drawing.parts import block, even, frame, sign, tensor
from papers.tools.drawing.sheet import Box, Sheet, path
from papers.tools.drawing.wires import arrow, down
from papers.transformers.positions.rope import angles

LEFT = 92.0
# Features of a head whose first and second pair are shown, at these positions.
D, POSITIONS = 8, 4
HEADS, GROUPS = 6, 2


def stream(sheet: Sheet) -> tuple[Box, Box]:
    sheet.text("x", (LEFT, 10))
    sheet.text("(B, T, C)", (LEFT, 27), "size")
    first = Sublayer("attention", "attention", "norm1", "grouped-queries", "rmsnorm")
    second = Sublayer("feed-forward", "feed_forward", "norm2", "swiglu", "rmsnorm")
    end, attention = residual(sheet, (LEFT, 37), first, -78)
    end, feed_forward = residual(sheet, end, second, -78)
    down(sheet, end, (LEFT, end[1] + 22))
    sheet.text("(B, T, C)", (LEFT, end[1] + 32), "size")
    return attention, feed_forward


def turning(sheet: Sheet, inside: Box) -> None:
    """Two pairs of features as hands of clocks, which show the positions 0, 1, 2, …"""
    turns = angles(torch.arange(POSITIONS, dtype=torch.float64), D)  # (T, D/2)
    radius = 29.0
    for pair, x in enumerate((inside.x + 40, inside.x + 114)):
        y = inside.y + 66
        with sheet.group("attention"):
            sheet.add("circle", class_="rule", cx=x, cy=y, r=radius)
        for m in range(POSITIONS):
            turn = float(turns[m, pair])
            tip = x + radius * math.cos(turn), y - radius * math.sin(turn)
            with sheet.group("attention" if m else "idea"):
                sheet.add("path", class_="trace", d=path("M", x, y, "L", *tip))
                sheet.add("circle", class_="dot", cx=tip[0], cy=tip[1], r=3)
        sheet.text(f"theta[{pair}]", (x, y + 46), "size")


def groups(sheet: Sheet, top: float, left: float) -> None:
    """Neighbouring heads of queries share a head of keys and values."""
    cell, each = 18.0, HEADS // GROUPS
    for head in range(HEADS):
        x = left + head * 25.0
        tensor(sheet, "attention", (x, top), even(1, 1, 0.25), cell)
        group = left + (head // each) * 25.0 * each + 25
        arrow(sheet, (group + 9, top + 58), (group + 9, top + 40), (x + 9, top + 40),
              (x + 9, top + 20), head=False)  # fmt: skip
    for number in range(GROUPS):
        tensor(
            sheet, "attention", (left + 25.0 * (each * number + 1), top + 58), even(1, 1, 1), cell
        )
    sheet.text("q  H heads", (left, top - 12), "size", "start")
    sheet.text("k, v  G heads", (left, top + 92), "size", "start")


def gated(sheet: Sheet, top: float, left: float) -> None:
    sheet.text("x", (left + 81, top - 14))
    gate = block(sheet, "linear", "gate", (left + 42, top + 28), 62, 26)
    up = block(sheet, "linear", "up", (left + 120, top + 28), 54, 26)
    for part in (gate, up):
        arrow(sheet, (left + 81, top - 5), (left + 81, top + 3), (part.top[0], top + 3), part.top)
    silu = block(sheet, "plain", "silu", (left + 42, top + 70), 62, 24)
    product = sign(sheet, "*", (left + 120, top + 70))
    out = block(sheet, "linear", "down", (left + 120, top + 112), 62, 26)
    down(sheet, gate, silu)
    down(sheet, up, product)
    arrow(sheet, silu.right, product.left)
    down(sheet, product, out)


def draw() -> Sheet:
    sheet = Sheet(474)
    attention, feed_forward = stream(sheet)
    left = 198.0
    clocks = Box(left, 6, 156, 124)
    frame(sheet, clocks, "rotate", "grouped-queries", "attention")
    turning(sheet, clocks)
    heads = frame(sheet, Box(left, 142, 156, 146), kind="attention")
    groups(sheet, heads.y + 30, left + 7)
    inside = frame(sheet, Box(left, 300, 156, 168), kind="feed-forward")
    gated(sheet, inside.y + 34, left)
    for part, to in ((attention, clocks), (attention, heads), (feed_forward, inside)):
        turn = part.right[0] + 22
        arrow(sheet, part.right, (turn, part.right[1]), (turn, to.left[1]), to.left,
              look="dashed", head=False)  # fmt: skip
    return sheet
