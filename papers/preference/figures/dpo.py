"""Two log-ratios and their difference; below, the recorded policies on their way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from papers.tools.drawing.axes import Axes
from papers.tools.drawing.parts import Kind, block, sign
from papers.tools.drawing.sheet import Box, Point, Sheet
from papers.tools.drawing.wires import arrow, down

RECORD = Path(__file__).parents[1] / "records" / "dpo.json"
# What is drawn of the recorded ways, and where its name stands.
WAYS: dict[str, tuple[Kind, str, Point]] = {
    "dpo": ("idea", "DPO", (1.2, -1.72)),
    "loosest": ("attention", "a tenth of beta", (3.75, -0.95)),
    "chosen": ("norm", "chosen", (0.4, -3.4)),
    "alone": ("noise", "no reference", (2.3, -3.95)),
}
RIGHT, LOW = 7.0, -5.0


def series() -> dict[str, list[float]]:
    record: Any = json.loads(RECORD.read_text(encoding="utf-8"))
    return {name: curve["values"] for name, curve in record["runs"][0]["series"].items()}


def ratios(sheet: Sheet) -> None:
    gap = sign(sheet, "-", (180, 146))
    for x, name, end in ((88, "chosen", gap.left), (272, "rejected", gap.right)):
        sheet.text(name, (x, 12))
        ratio = sign(sheet, "-", (x, 104))
        for part, kind, side in (("policy", "idea", -42.0), ("reference", "plain", 42.0)):
            found = block(sheet, "idea" if kind == "idea" else "plain", part, (x + side, 56), 80)
            arrow(sheet, (x, 20), (x, 30), (x + side, 30), found.top)
            arrow(sheet, found.bottom, (x + side, 104), ratio.left if side < 0 else ratio.right)
        arrow(sheet, ratio.bottom, (x, 146), end)
    sheet.text("log-ratio", (36, 122), "note")
    times = block(sheet, "plain", "beta", (180, 186), 60, 24)
    down(sheet, gap, times)
    loss = block(sheet, "softmax", "preference_loss", (180, 226), 146, 26, link="preferences")
    down(sheet, times, loss)


def draw() -> Sheet:
    sheet = Sheet(474)
    ratios(sheet)
    found = series()
    axes = Axes(Box(44, 272, 304, 178), (0, RIGHT), (LOW, 0))
    axes.draw(sheet, "divergence", "reward")
    for level in (0, -2, -4):
        sheet.text(str(level).replace("-", "−"), (38, axes.place(0, level)[1]), "size", "end")
    for mark in (0, 2, 4):
        sheet.text(str(mark), (axes.place(mark, LOW)[0], 464), "size")
    names = [name.partition("/")[2] for name in found if name.startswith("best/")]
    best = sorted(
        point
        for name in names
        for point in zip(found[f"divergence/{name}"], found[f"best/{name}"], strict=True)
        if point[0] <= RIGHT
    )
    axes.curve(sheet, best, "plain")
    for name, (kind, label, at) in WAYS.items():
        points = zip(found[f"divergence/{name}"], found[f"reward/{name}"], strict=True)
        shown = [axes.place(*point) for point in points if point[0] <= RIGHT]
        with sheet.group(kind):
            for x, y in shown:
                sheet.add("circle", class_="face", cx=x, cy=y, r=4.0)
        sheet.text(label, axes.place(*at), "note", "start")
    return sheet
