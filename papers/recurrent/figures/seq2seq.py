"""A sentence and its translation, between them the weights on record; below, runs by length."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from papers.recurrent.seq2seq import Config
from papers.tools.drawing.axes import Axes
from papers.tools.drawing.parts import Kind
from papers.tools.drawing.sheet import Box, Point, Sheet, path
from papers.tools.drawing.wires import arrow

RECORDS = Path(__file__).parents[1] / "records"
TOP, ROW = 50.0, 21.0
# Where English ends and French begins, and how wide a ribbon of weight one is.
LEFT, RIGHT, WIDE = 138.0, 232.0, 9.0
# What is fainter than this is not drawn.
LEAST = 0.02


def said(label: str, name: str) -> list[str]:
    record: Any = json.loads((RECORDS / "seq2seq.json").read_text(encoding="utf-8"))
    (run,) = (run for run in record["runs"] if run["label"] == label)
    text: str = run["said"][name]
    return text.split("\n")


def looked(english: list[str], french: list[str]) -> list[list[float]]:
    """The weights of the first sentence, from the picture: squares of 12 pixels inside a frame."""
    levels = Image.open(RECORDS / "seq2seq.attention.alignment.png").convert("L")

    def weight(i: int, j: int) -> float:
        level = levels.getpixel((12 * j + 12, 12 * i + 12))
        assert isinstance(level, int)
        return level / 255

    return [[weight(i, j) for j in range(len(english))] for i in range(len(french))]


def ribbon(sheet: Sheet, start: Point, end: Point, weight: float) -> None:
    (x, y), (right, below), half = start, end, weight * WIDE / 2
    middle = (x + right) / 2
    over = "C", middle, y - half, middle, below - half, right, below - half
    back = "C", middle, below + half, middle, y + half, x, y + half
    steps = "M", x, y - half, *over, "L", right, below + half, *back, "Z"
    sheet.add("path", class_="cell", fill_opacity=weight, d=path(*steps))


def translation(sheet: Sheet) -> float:
    first, _, last = said("attention", "translation")
    english, french = first.split(), last.split()
    weights = looked(english, french)
    rows = max(len(english), len(french))
    bottom = TOP + (rows - 1) * ROW

    def height(k: int, words: list[str]) -> float:
        return TOP + (k + (rows - len(words)) / 2) * ROW

    with sheet.group("attention"):
        for i, row in enumerate(weights):
            for j, weight in enumerate(row):
                if weight > LEAST:
                    start = LEFT + 8, height(j, english)
                    ribbon(sheet, start, (RIGHT - 8, height(i, french)), weight)
    for j, word in enumerate(english):
        sheet.text(word, (LEFT, height(j, english)), "name", "end")
    for i, word in enumerate(french):
        sheet.text(word, (RIGHT, height(i, french)), "name", "start")
    above, below = TOP - 8, bottom + 8
    arrow(sheet, (44, above), (44, below))
    arrow(sheet, (58, below), (58, above))
    arrow(sheet, (318, above), (318, below))
    for name, x, link in (
        ("Encoder", 88, "annotations"),
        ("Alignment", 185, "the-alignment-model"),
        ("step", 276, "one-word"),
    ):
        with sheet.link(link):
            sheet.text(name, (x, 14))
    return bottom


def lengths(sheet: Sheet, top: float) -> None:
    trained = Config().phrases
    axes = Axes(Box(50, top, 298, 130), (1, 2 * trained), (0, 1))
    axes.draw(sheet, "phrases in a sentence")
    with sheet.link("what-we-measure"):
        sheet.text("in_place", (50, top - 14), "name")
    for share in (0.0, 0.5, 1.0):
        sheet.text(f"{share:.0%}", (44, axes.place(1, share)[1]), "size", "end")
    x, _ = axes.place(trained, 0)
    with sheet.group("wire faint dashed"):
        sheet.add("path", class_="line", d=path("M", x, top, "v", 130))
    kinds: dict[str, tuple[Kind, str, float]] = {
        "attention": ("attention", "attention", 34),
        "fixed vector": ("idea", "vector", 12),
    }
    for label, (kind, name, above) in kinds.items():
        pairs = [line.split() for line in said(label, "by_length")]
        points = [(float(count), float(share)) for count, share in pairs]
        axes.curve(sheet, points, kind, dashed=kind == "idea")
        last = axes.place(*points[-1])
        sheet.text(name, (last[0], last[1] - above), "name", "end")


def draw() -> Sheet:
    rows = max(len(line.split()) for line in said("attention", "translation"))
    sheet = Sheet(TOP + rows * ROW + 40 + 130 + 30)
    bottom = translation(sheet)
    lengths(sheet, bottom + 60)
    return sheet
