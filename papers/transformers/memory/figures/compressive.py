"""Two memories and a segment, and the recorded answers by the age of the value."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from papers.tools.drawing.axes import Axes
from papers.tools.drawing.parts import Kind, block, even, tensor
from papers.tools.drawing.sheet import Box, Point, Sheet
from papers.tools.drawing.wires import arrow

RECORD = Path(__file__).parents[1] / "records" / "compressive.json"
CELL = 14.0
# Of each run its look, what it is called, and where.
CURVES: dict[str, tuple[Kind, bool, str, Point]] = {
    "attention reconstructed": ("idea", False, "attention reconstructed", (34, 90)),
    "Transformer-XL": ("attention", False, "Transformer-XL", (43, 57)),
    "states reconstructed": ("plain", True, "states reconstructed", (14, 5)),
}


def ages() -> dict[str, list[Point]]:
    """Of each run the middle of each row of its table, and the answers that are right."""
    record: Any = json.loads(RECORD.read_text(encoding="utf-8"))
    found = {}
    for run in record["runs"]:
        rows = re.findall(r"(\d+) to (\d+) +(\d+)%", run["said"]["ages"])
        found[run["label"]] = [((int(a) + int(b)) / 2, float(share)) for a, b, share in rows]
    return found


def memories(sheet: Sheet) -> None:
    top = 84.0
    parts = [("attention", 24.0, 6, 0.75), ("linear", 116.0, 8, 0.35), ("plain", 236.0, 8, 0.1)]
    boxes = [
        tensor(sheet, "attention", (left, top), even(1, n, x), CELL) for _, left, n, x in parts
    ]
    compress = block(sheet, "convolution", "compress", (100, 34), 100, link="compression")
    arrow(sheet, boxes[1].top, (boxes[1].top[0], 34), compress.right)
    arrow(sheet, compress.left, (boxes[0].centre[0] - 24, 34), (boxes[0].centre[0] - 24, top))
    arrow(sheet, boxes[2].left, boxes[1].right)
    with sheet.link("two-memories"):
        sheet.text("compressed", (66, 114))
        sheet.text("recent", (172, 114))
    sheet.text("segment", (292, 114))


def draw() -> Sheet:
    sheet = Sheet(334)
    memories(sheet)
    with sheet.link("what-we-measure"):
        sheet.text("answers that are right, %", (44, 148), "note", "start")
    axes = Axes(Box(44, 166, 296, 130), (0, 96), (0, 100))
    axes.draw(sheet, "tokens ago")
    for level in (0, 50, 100):
        sheet.text(str(level), (38, axes.place(0, level)[1]), "size", "end")
    for age in (16, 48):
        sheet.text(str(age), (axes.place(age, 0)[0], 310), "size")
    found = ages()
    for label, (kind, dashed, words, place) in CURVES.items():
        axes.curve(sheet, found[label], kind, dashed)
        sheet.text(words, axes.place(*place), "note", "start")
    return sheet
