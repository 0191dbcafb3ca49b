"""A place of the record with its neighbours and their weights; below, the loss for each share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from papers.tools.drawing.axes import Axes
from papers.tools.drawing.parts import Kind, block
from papers.tools.drawing.sheet import Box, Point, Sheet
from papers.transformers.memory.knn_lm import neighbour_probabilities

RECORD = Path(__file__).parents[1] / "records" / "knn_lm.json"
# Which of the recorded places is drawn, and how much of a context has room.
PLACE, LETTERS = 1, 15
COLUMNS = {"keys": 128.0, "values": 158.0, "distances": 262.0, "weights": 276.0}
# Of each curve its look and where its name stands.
CURVES: tuple[tuple[str, Kind, bool, Point], ...] = (
    ("source code, store of the manual", "plain", True, (0.1, 1.97)),
    ("source code, its own store", "idea", False, (0.3, 1.60)),
    ("the manual, its own store", "attention", False, (0.3, 1.21)),
)


def said(name: str) -> list[str]:
    record: Any = json.loads(RECORD.read_text(encoding="utf-8"))
    lines: list[str] = record["runs"][0]["said"][name].split("\n")
    return lines


def parts(line: str) -> tuple[str, str]:
    """The end of a context and what came next, with a blank for the end of a line."""
    context, after = line.replace("⏎", " ").rsplit("|", 1)
    return context[-LETTERS:], after


def place(sheet: Sheet) -> None:
    query, *rows = said("neighbours")[4 * PLACE : 4 * PLACE + 4]
    apart = torch.tensor([float(row[:5]) for row in rows])
    weights = neighbour_probabilities(apart, torch.arange(len(rows)), len(rows)).tolist()
    context, after = parts(query)
    sheet.text(context, (COLUMNS["keys"], 20), "name", "end")
    asked = block(sheet, "plain", "?", (COLUMNS["values"], 20), 28, 24)
    sheet.text(f"in fact: {after}", (asked.right[0] + 10, 20), "note", "start")
    for name, x in COLUMNS.items():
        anchor = {"values": "middle", "weights": "start"}.get(name, "end")
        kept = name in ("keys", "values")
        with sheet.link("the-data-store" if kept else "what-the-neighbours-say"):
            sheet.text(name, (x, 56), "name", anchor)
    for number, (row, weight) in enumerate(zip(rows, weights, strict=True)):
        y = 82 + 28 * number
        context, after = parts(row[6:])
        sheet.text(context, (COLUMNS["keys"], y), "size", "end")
        block(sheet, "linear", after if after.strip() else "_", (COLUMNS["values"], y), 28, 24)
        sheet.text(f"{apart[number]:.1f}", (COLUMNS["distances"], y), "size", "end")
        with sheet.group("idea"):
            wide = {"x": COLUMNS["weights"], "y": y - 7, "width": 50 * weight, "height": 14}
            sheet.add("rect", class_="cell", fill_opacity=0.45, **wide)
        sheet.text(f"{weight:.2f}", (COLUMNS["weights"] + 50 * weight + 6, y), "size", "start")


def draw() -> Sheet:
    sheet = Sheet(368)
    place(sheet)
    with sheet.link("what-we-measure"):
        sheet.text("loss", (44, 180), "name", "start")
    rows = [[float(x) for x in line.split()] for line in said("curves")]
    axes = Axes(Box(44, 194, 300, 150), (0, 0.95), (1.1, 2.3))
    axes.draw(sheet, "share")
    for level in (1.5, 2.0):
        sheet.text(f"{level:.1f}", (38, axes.place(0, level)[1]), "size", "end")
    for share in (0, 0.25, 0.5, 0.75):
        sheet.text(f"{share:g}", (axes.place(share, 0)[0], 358), "size")
    for number, (name, kind, dashed, at) in enumerate(CURVES):
        points = [(row[0], row[3 - number]) for row in rows]
        axes.curve(sheet, points, kind, dashed)
        sheet.text(name, axes.place(*at), "note", "start")
    return sheet
