"""What two units say before and behind a norm, by the page's own layers."""

from __future__ import annotations

import math

import torch

from papers.normalization.rms_norm import CentredRMSNorm, RMSNorm
from papers.tools.drawing.axes import Axes
from papers.tools.drawing.parts import Kind
from papers.tools.drawing.sheet import Box, Sheet, path

REACH, SIDE, TOP = 2.6, 156.0, 40.0
# Directions in turns, and how far away.
POINTS = [
    (0.03, 2.4), (0.09, 0.7), (0.18, 1.9), (0.29, 2.3), (0.36, 0.9),
    (0.46, 2.1), (0.56, 0.6), (0.66, 2.5), (0.77, 1.0), (0.9, 2.2),
]  # fmt: skip


def plane(sheet: Sheet, norm: RMSNorm, left: float, words: str, anchor: str, kind: Kind) -> None:
    axes = Axes(Box(left, TOP, SIDE, SIDE), (-REACH, REACH), (-REACH, REACH))
    with sheet.link(anchor):
        sheet.text(words, (left + SIDE / 2, 20), "name")
    with sheet.group("wire"):
        for start, end in (((-REACH, 0), (REACH, 0)), ((0, -REACH), (0, REACH))):
            sheet.add(
                "path", class_="line", d=path("M", *axes.place(*start), "L", *axes.place(*end))
            )
    if not isinstance(norm, CentredRMSNorm):
        with sheet.group("wire"):
            radius = math.sqrt(2) * SIDE / (2 * REACH)
            middle = axes.place(0, 0)
            sheet.add("circle", class_="rule", cx=middle[0], cy=middle[1], r=radius)
    sheet.text("a[0]", (left, axes.place(0, 0)[1] + 11), "size", "start")
    sheet.text("a[1]", (axes.place(0, 0)[0] + 5, TOP + 4), "size", "start")
    for turn, length in POINTS:
        angle = 2 * math.pi * turn
        a = torch.tensor([length * math.cos(angle), length * math.sin(angle)])
        x, y = axes.place(*norm(a).tolist())
        before = axes.place(*a.tolist())
        steps: list[str | float] = ["M", *before]
        if isinstance(norm, CentredRMSNorm):
            steps += ["L", *axes.place(*(a - a.mean()).tolist())]
        with sheet.group("plain dashed"):
            sheet.add("path", class_="trace", d=path(*steps, "L", x, y))
        for look, (across, down), radius in (("plain", before, 2.5), (kind, (x, y), 4.5)):
            with sheet.group(look):
                sheet.add("circle", class_="dot", cx=across, cy=down, r=radius)


@torch.no_grad()
def draw() -> Sheet:
    sheet = Sheet(TOP + SIDE + 12)
    plane(sheet, RMSNorm(2), 16, "RMSNorm", "the-layer", "idea")
    plane(
        sheet, CentredRMSNorm(2), 188, "CentredRMSNorm", "against-layer-normalization", "attention"
    )
    return sheet
