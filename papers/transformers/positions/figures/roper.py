"""What one value becomes on its way to a query, and the recorded sums."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from papers.tools.drawing.sheet import Box, Sheet, path
from papers.tools.drawing.wires import arrow
from papers.transformers.positions.rope import angles, rotate

RECORD = Path(__file__).parents[1] / "records" / "roper.json"
# Where the values and the query stand, and the rows of the picture.
PLACES, QUERY = (4, 6, 7), 7
COLUMNS = (128.0, 204.0, 280.0)
ROWS = {"v": 58.0, "turned": 136.0, "back": 214.0}
RADIUS = 26.0
LABELS = {
    "RoPER": "RoPER", "RoPE": "RoPE", "not turned back": "not back", "learned": "learned",
    "no positions": "none",
}  # fmt: skip


def hand(sheet: Sheet, x: float, y: float, pair: list[float], kind: str) -> None:
    with sheet.group("plain"):
        sheet.add("circle", class_="rule", cx=x, cy=y, r=RADIUS)
    tip = x + RADIUS * pair[0], y - RADIUS * pair[1]
    with sheet.group(kind):
        sheet.add("path", class_="trace", d=path("M", x, y, "L", *tip))
        sheet.add("circle", class_="dot", cx=tip[0], cy=tip[1], r=3)


def bars(sheet: Sheet, top: float) -> None:
    """The mean over seeds, and a dot for each seed."""
    record: Any = json.loads(RECORD.read_text(encoding="utf-8"))
    found = {
        run["label"]: [seed["metrics"]["exact"] for seed in run["seeds"]] for run in record["runs"]
    }
    inside = Box(96, top, 240, 0)
    for number, (label, words) in enumerate(LABELS.items()):
        y = top + 22 * number
        shares = found[label]
        mean = sum(shares) / len(shares)
        sheet.text(words, (88, y), "size", "end")
        with sheet.group("idea" if label == "RoPER" else "attention"):
            long = max(1.0, inside.width * mean)
            place = {"x": inside.x, "y": y - 7, "width": long, "height": 14}
            sheet.add("rect", class_="cell", fill_opacity=0.35, **place)
            for share in shares:
                x = inside.x + inside.width * share
                sheet.add("circle", class_="dot", cx=x, cy=y, r=2.5)
    for share in (0, 0.5, 1):
        x = inside.x + inside.width * share
        sheet.text(f"{share:.0%}", (x, top + 22 * len(LABELS) + 2), "size")


def draw() -> Sheet:
    sheet = Sheet(400)
    turns = angles(torch.tensor(PLACES).double(), 2)
    same = torch.tensor([1.0, 0.0]).double().expand(3, 2)
    turned = rotate(same, turns)
    back = rotate(turned, -turns[-1:].expand(3, -1))
    rows = {"v": same, "turned": turned, "back": back}
    for (name, made), kind in zip(rows.items(), ("attention", "attention", "idea"), strict=True):
        for x, pair in zip(COLUMNS, made.tolist(), strict=True):
            hand(sheet, x, ROWS[name], pair, kind)
    for x, place in zip(COLUMNS, PLACES, strict=True):
        sheet.text(f"{place}", (x, 18), "size")
        for first, last in (("v", "turned"), ("turned", "back")):
            arrow(sheet, (x, ROWS[first] + RADIUS + 3), (x, ROWS[last] - RADIUS - 3))
    sheet.text("position", (8, 18), "size", "start")
    sheet.text("v", (8, ROWS["v"]), "name", "start")
    with sheet.link("the-values-turn"):
        sheet.text("turned", (8, ROWS["turned"]), "name", "start")
    with sheet.link("attention"):
        sheet.text("turned back", (8, ROWS["back"]), "name", "start")
    sheet.text(f"by {QUERY}", (8, ROWS["back"] + 17), "size", "start")
    bars(sheet, 276)
    return sheet
