"""The targets, and the loss over the logit of the right class, by the page's own functions."""

from __future__ import annotations

import torch

from papers.regularization.label_smoothing import best_gap, smooth, smoothed_loss
from papers.tools.drawing.axes import Axes
from papers.tools.drawing.parts import Kind
from papers.tools.drawing.sheet import Box, Point, Sheet, path

K, LABEL, SMOOTHING, HIGHEST = 10, 3, 0.1, 9.0
LEFT, EACH, TALL = 84.0, 26.0, 56.0


def targets(sheet: Sheet, bottom: float, kind: Kind, smoothing: float) -> None:
    """A bar for each class; each is at least as high as a line."""
    shares = smooth(torch.tensor([LABEL]), K, smoothing)[0].tolist()
    sheet.text(f"{smoothing:g}", (LEFT - 12, bottom - TALL / 2), "size", "end")
    with sheet.group(f"{kind} tensor"):
        for k, share in enumerate(shares):
            x, height = LEFT + k * EACH, share * TALL
            place = {"x": x, "y": bottom - height, "width": EACH - 8, "height": height}
            sheet.add("rect", class_="cell", fill_opacity=1.0, **place)
    with sheet.group("wire faint"):
        way = "M", LEFT - 4, bottom, "h", K * EACH
        sheet.add("path", class_="line", d=path(*way))


def curve(smoothing: float) -> list[Point]:
    gaps = torch.linspace(0, HIGHEST, 91, dtype=torch.float64)
    points = []
    for gap in gaps:
        logits = torch.zeros(1, K, dtype=torch.float64)
        logits[0, LABEL] = gap
        loss = smoothed_loss(logits, torch.tensor([LABEL]), smoothing)
        points.append((gap.item(), loss.item()))
    return points


def draw() -> Sheet:
    sheet = Sheet(384)
    with sheet.link("targets"):
        sheet.text("smoothing", (8, 12), "name", "start")
    targets(sheet, 80, "plain", 0.0)
    targets(sheet, 150, "idea", SMOOTHING)
    for k in range(K):
        sheet.text(str(k), (LEFT + k * EACH + (EACH - 8) / 2, 164), "size")
    axes = Axes(Box(12, 200, 336, 156), (0, HIGHEST), (0, 2.4))
    axes.draw(sheet, "logit of the right class - others'", "loss")
    axes.curve(sheet, curve(0.0), "plain", dashed=True)
    points = curve(SMOOTHING)
    axes.curve(sheet, points, "idea")
    best = best_gap(K, SMOOTHING)
    lowest = min(points, key=lambda point: abs(point[0] - best))[1]
    x, y = axes.place(best, lowest)
    with sheet.group("idea"):
        sheet.add("circle", class_="dot", cx=x, cy=y, r=4)
    with sheet.link("where-it-stops"):
        sheet.text("best_gap", (x, y - 16))
    sheet.text("0.1", axes.place(8.3, 1.0), "size")
    sheet.text("0", axes.place(8.3, 0.16), "size")
    return sheet
