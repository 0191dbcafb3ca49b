"""The errors of all runs on record, for batches of three sizes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from papers.normalization.compared import SIZES
from papers.tools.drawing.sheet import Sheet, path

RECORD = Path(__file__).parents[1] / "records" / "compared.json"
# The runs on record, as there is room for their names.
NAMES = {
    "batch": "batch",
    "layer": "layer",
    "RMS": "RMS",
    "instance": "instance",
    "group": "group",
    "group, standardized weights": "group, WS",
    "batch-channel, standardized weights": "batch-channel",
}
LEFT, PANEL, APART, TOP, ROW = 112.0, 70.0, 14.0, 58.0, 27.0
# Of ten digits one is guessed.
GUESS = 0.9


def errors() -> dict[str, list[list[float]]]:
    """Of each norm the errors of its seeds, for one size after the other."""
    record: Any = json.loads(RECORD.read_text(encoding="utf-8"))
    seeds = {run["label"]: [seed["metrics"] for seed in run["seeds"]] for run in record["runs"]}
    return {
        label: [[metrics[f"error_{size}"] for metrics in each] for size in SIZES]
        for label, each in seeds.items()
    }


def panel(sheet: Sheet, column: int) -> float:
    """Its frame: no error at the left, all wrong at the right, a guess dashed."""
    x, bottom = LEFT + column * (PANEL + APART), TOP + len(NAMES) * ROW
    with sheet.group("wire"):
        sheet.add("path", class_="line", d=path("M", x, TOP - 8, "V", bottom, "h", PANEL))
    with sheet.group("wire dashed"):
        sheet.add("path", class_="line", d=path("M", x + GUESS * PANEL, TOP - 8, "V", bottom))
    sheet.text(str(SIZES[column]), (x + PANEL / 2, TOP - 20), "size")
    for share in (0.0, GUESS):
        sheet.text(f"{100 * share:g}", (x + share * PANEL, bottom + 12), "size")
    return x


def draw() -> Sheet:
    bottom = TOP + len(NAMES) * ROW
    sheet = Sheet(bottom + 44)
    sheet.text("images in a batch", (LEFT + 1.5 * PANEL + APART, 16), "note")
    sheet.text("digits that are wrong, %", (LEFT + 1.5 * PANEL + APART, bottom + 32), "note")
    corners = [panel(sheet, column) for column in range(len(SIZES))]
    found = errors()
    for row, (label, name) in enumerate(NAMES.items()):
        y = TOP + (row + 0.5) * ROW
        kind = "attention" if label.startswith("batch") else "idea"
        with sheet.link("rmsnorm-of-an-image" if name == "RMS" else "seven-norms"):
            sheet.text(name, (LEFT - 10, y), "name", "end")
        for x, seeds in zip(corners, found[label], strict=True):
            with sheet.group(kind):
                for error in seeds:
                    sheet.add(
                        "circle", class_="dot", cx=x + error * PANEL, cy=y, r=3, fill_opacity=0.7
                    )
    return sheet
