"""Four networks of which one is used, the same weights cut into sixteen, and loads made even."""

from __future__ import annotations

import torch

from papers.tools.drawing.parts import Kind, even, tensor
from papers.tools.drawing.sheet import Sheet, path
from papers.tools.drawing.wires import arrow
from papers.transformers.experts.deepseek import choose, nudged, overload

TOP, WIDE, SMALL = 58.0, 30.0, 15.0
E, K, TOKENS = 8, 2, 512


def cut(sheet: Sheet) -> None:
    """A row of four, and a row of sixteen, each as wide as what it has weights."""
    sheet.text("grain = 1", (70, TOP - 42))
    for number in range(4):
        kind: Kind = "feed-forward" if number == 2 else "plain"
        shade = 0.45 if number == 2 else 0.0
        box = tensor(sheet, kind, (10 + number * (WIDE + 2), TOP), even(1, 1, shade), WIDE)
        if number == 2:
            arrow(sheet, (box.centre[0], TOP - 22), box.top)
    sheet.text("grain = 4", (255, TOP - 42))
    used = {0, 3, 8, 13}
    for number in range(16):
        x, y = 180 + (number % 8) * (SMALL + 5), TOP + (number // 8) * (SMALL + 6)
        first = number == 0
        kind = "idea" if first else "feed-forward" if number in used else "plain"
        tensor(sheet, kind, (x, y), even(1, 1, 0.6 if number in used else 0.0), SMALL)
    with sheet.link("the-layer"):
        sheet.text("shared", (186, TOP + 52), "name", "start")
    arrow(sheet, (175, TOP + 52), (168, TOP + 52), (168, TOP + 7), (178, TOP + 7), look="past")


def loads() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    favour, bias, seen = torch.linspace(1.6, -1.6, E), torch.zeros(E), []
    for _ in range(200):
        scores = (torch.randn(TOKENS, E, generator=generator) + favour).sigmoid()
        chosen = choose(scores, bias, K)[1]
        seen.append(chosen.flatten().bincount(minlength=E) / chosen.numel())
        bias = nudged(bias, seen[-1], 0.01)
    return seen[0], seen[-1]


def balanced(sheet: Sheet) -> None:
    top, height = TOP + 118, 96.0
    for left, title, load in zip((14, 192), ("at first", "200 steps later"), loads(), strict=True):
        sheet.text(title, (left + 74, top - 26), "note")
        with sheet.link("the-worst-overload"):
            sheet.text(f"overload {overload(load):.2f}", (left + 74, top - 8))
        scale = height / 0.45
        with sheet.group("feed-forward"):
            for number, share in enumerate(load.tolist()):
                x, long = left + number * 19.0, share * scale
                place = {"x": x, "y": top + height - long, "width": 15.0, "height": long}
                sheet.add("rect", class_="cell", fill_opacity=0.55, **place)
        level = top + height - scale / E
        with sheet.group("wire"):
            sheet.add("path", class_="line", d=path("M", left - 4, level, "h", 156))
            sheet.add("path", class_="line", d=path("M", left - 4, top + height, "h", 156))
    with sheet.link("a-bias-in-place-of-a-loss"):
        sheet.text("nudged", (180, top + height + 16))


def draw() -> Sheet:
    sheet = Sheet(TOP + 248)
    cut(sheet)
    balanced(sheet)
    return sheet
