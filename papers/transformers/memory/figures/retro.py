"""Chunks, their neighbours and who reads them; below, the recorded answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from papers.tools.drawing.parts import block, tensor
from papers.tools.drawing.sheet import Box, Sheet
from papers.tools.drawing.wires import arrow
from papers.transformers.memory.retro import CHUNK, attending

RECORD = Path(__file__).parents[1] / "records" / "retro.json"
CHUNKS, CELL, LEFT = 3, 26.0, 24.0
# Of each bar the run, the metric, and what is written beside it.
BARS = (
    ("retrieval", "accuracy", "retrieval"),
    ("encoder not conditioned", "accuracy", "unconditioned"),
    ("retrieval", "alike", "both alike"),
    ("retrieval", "shuffled", "of others"),
    ("its own document among the neighbours", "accuracy", "leak"),
    ("no retrieval", "accuracy", "none"),
)


def reading(sheet: Sheet) -> None:
    """Tokens above, and below those that read the neighbours of each chunk."""
    sheet.text("tokens", (LEFT, 16), "name", "start")
    for u in range(CHUNKS):
        left = LEFT + u * CHUNK * CELL
        tensor(sheet, "embedding", (left, 28), [[0.15 + 0.2 * u] * CHUNK], CELL)
    numbers = torch.arange(1.0, CHUNKS * CHUNK + 1).view(1, -1, 1)
    for t in range(CHUNKS * CHUNK):
        sheet.text(f"{t + 1}", (LEFT + (t + 0.5) * CELL, 41), "size")
    readers = attending(numbers)[0, :, :, 0].int().tolist()
    for u, chunk in enumerate(readers):
        middle = LEFT + (u + 0.5) * CHUNK * CELL
        found = block(
            sheet, "idea", f"E{u + 1}", (middle, 102), 50, link="the-encoder-of-neighbours"
        )
        arrow(sheet, (middle, 54), found.top)
        read = [t for t in chunk if t]
        left = LEFT + (read[0] - 1) * CELL
        values = [[0.15 + 0.2 * u] * len(read)]
        box = tensor(sheet, "attention", (left, 152), values, CELL)
        for place, t in enumerate(read):
            sheet.text(f"{t}", (left + (place + 0.5) * CELL, 165), "size")
        arrow(sheet, found.bottom, (min(max(middle, box.x + 8), box.x + box.width - 8), 152))
    with sheet.link("who-may-read-what"):
        sheet.text("attending", (LEFT, 165), "name", "start")


def bars(sheet: Sheet, top: float) -> None:
    """The mean over seeds, and a dot for each seed."""
    record: Any = json.loads(RECORD.read_text(encoding="utf-8"))
    runs = {run["label"]: [seed["metrics"] for seed in run["seeds"]] for run in record["runs"]}
    inside = Box(136, top, 200, 0)
    for number, (label, metric, words) in enumerate(BARS):
        y = top + 23 * number
        shares = [metrics[metric] for metrics in runs[label]]
        mean = sum(shares) / len(shares)
        sheet.text(words, (128, y), "size", "end")
        with sheet.group("idea" if not number else "attention"):
            place = {"x": inside.x, "y": y - 7, "width": inside.width * mean, "height": 14}
            sheet.add("rect", class_="cell", fill_opacity=0.35, **place)
            for share in shares:
                x = inside.x + inside.width * share
                sheet.add("circle", class_="dot", cx=x, cy=y, r=2.5)
    for share in (0, 0.5, 1):
        x = inside.x + inside.width * share
        sheet.text(f"{share:.0%}", (x, top + 23 * len(BARS) + 2), "size")


def draw() -> Sheet:
    sheet = Sheet(382)
    reading(sheet)
    with sheet.link("what-we-measure"):
        sheet.text("right", (136, 206), "name", "start")
    bars(sheet, 230)
    return sheet
