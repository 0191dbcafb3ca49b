"""The course of the race, and how many numbers each optimizer keeps for a weight."""

from __future__ import annotations

from itertools import pairwise

from papers.optimizers.race import ENTRIES, memory
from papers.tools.drawing.parts import Kind, block
from papers.tools.drawing.sheet import Box, Sheet
from papers.tools.drawing.wires import down

NAMES = {
    **{"sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "amsgrad": "AMSGrad", "radam": "RAdam"},
    **{"adabelief": "AdaBelief", "lion": "Lion", "sophia": "Sophia", "muon": "Muon"},
}
MOST = 3.0


def course(sheet: Sheet) -> None:
    def part(label: str, note: str, height: float, link: str) -> Box:
        kind: Kind = "idea" if link == "the-race" else "plain"
        return block(sheet, kind, label, (180, height), 300, 46, link, note=note)

    parts = [
        part("grid", "three rates for each optimizer", 30, "the-entries"),
        part("compete", "a network for each, on a held-out seed", 98, "a-race"),
        part("best_rate", "by the half that chooses", 166, "the-race"),
        part("compete", "again, on another seed", 234, "a-race"),
        part("measure", "on the half that counts", 302, "digits"),
    ]
    for above, below in pairwise(parts):
        down(sheet, above, below)


def kept(sheet: Sheet, top: float) -> None:
    left, unit = 96.0, 74.0
    for row, name in enumerate(ENTRIES):
        y, numbers = top + row * 20, memory(name)
        sheet.text(NAMES[name], (left - 8, y + 6), "size", "end")
        with sheet.group("embedding"):
            given = {"x": left, "y": y, "width": numbers * unit, "height": 12.0}
            sheet.add("rect", class_="cell", fill_opacity=0.5, **given)
        sheet.text(f"{numbers:g}", (left + numbers * unit + 7, y + 6), "size", "start")


def draw() -> Sheet:
    sheet = Sheet(566)
    course(sheet)
    with sheet.link("what-they-keep"):
        sheet.text("memory", (180, 352), "name")
    kept(sheet, 372)
    return sheet
