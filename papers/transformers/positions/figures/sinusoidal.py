"""The hands of clocks as stripes, and the recorded loss in longer texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from papers.tools.drawing.axes import Axes
from papers.tools.drawing.parts import Kind, tensor
from papers.tools.drawing.sheet import Box, Sheet
from papers.transformers.transformer import sinusoids

RECORD = Path(__file__).parents[1] / "records" / "sinusoidal.json"
T, C, CELL = 38, 8, 8.0
LENGTHS = ("once", "twice", "thrice", "four_times")
# Of each run its look and what it is called.
CURVES: dict[str, tuple[Kind, bool, str]] = {
    "learned": ("plain", False, "learned"),
    "sines and cosines": ("idea", False, "sines"),
    "rotary": ("attention", False, "rotary"),
    "ALiBi": ("feed-forward", False, "ALiBi"),
    "no positions": ("plain", True, "none"),
}


def means() -> dict[str, list[float]]:
    record: Any = json.loads(RECORD.read_text(encoding="utf-8"))
    found = {}
    for run in record["runs"]:
        seeds = [seed["metrics"] for seed in run["seeds"]]
        found[run["label"]] = [sum(seed[name] for seed in seeds) / len(seeds) for name in LENGTHS]
    return found


def draw() -> Sheet:
    sheet = Sheet(320)
    sheet.text("sinusoids", (24, 12), "name", "start")
    stripes = (sinusoids(T, C).T + 1) / 2
    tensor(sheet, "idea", (24, 26), stripes.tolist(), CELL)
    sheet.text("position", (24 + T * CELL, 26 + C * CELL + 12), "size", "end")
    losses = means()
    top = max(max(row) for row in losses.values())
    low = min(min(row) for row in losses.values())
    room = 0.05 * (top - low)
    axes = Axes(Box(44, 136, 226, 150), (1, 4), (low - room, top + room))
    with sheet.link("longer-texts"):
        sheet.text("loss", (44, 122), "name", "start")
    axes.draw(sheet, "times as long as in training")
    for level in (2.0, 2.5, 3.0, 3.5, 4.0):
        if low - room < level < top + room:
            sheet.text(f"{level:g}", (38, axes.place(1, level)[1]), "size", "end")
    ends = []
    for label, (kind, dashed, words) in CURVES.items():
        end = axes.curve(sheet, list(enumerate(losses[label], 1)), kind, dashed)
        ends.append((end[1], words))
    # Names stand beside their curves, and none on another.
    before = 0.0
    for height, words in sorted(ends):
        before = max(height, before + 14)
        sheet.text(words, (276, before), "size", "start")
    for times in (1, 2, 3, 4):
        sheet.text(str(times), (axes.place(times, 0)[0], 314), "size")
    return sheet
