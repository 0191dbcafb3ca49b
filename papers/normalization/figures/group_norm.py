"""Which channels of which images share a mean, for four layers, by the page's own sets."""

from __future__ import annotations

from papers.normalization.group_norm import together
from papers.tools.drawing.parts import tensor
from papers.tools.drawing.sheet import Sheet

B, C, G, CELL = 5, 6, 2, 20.0
# The image and the channel of the cell that is followed.
IMAGE, CHANNEL = 2, 1
PLACES = {"batch": (46, 34), "layer": (218, 34), "instance": (46, 196), "group": (218, 196)}


def table(sheet: Sheet, kind: str) -> None:
    x, y = PLACES[kind]
    with sheet.link(
        "the-statistics-of-a-group" if kind == "group" else "one-formula-for-four-layers"
    ):
        sheet.text(f"{kind} norm", (x + C * CELL / 2, y - 20), "note")
    shared = together(kind, B, C, G)[IMAGE, CHANNEL]  # (B, C)
    shades: list[list[float | None]] = [
        [0.35 * float(cell) for cell in row] for row in shared.tolist()
    ]
    shades[IMAGE][CHANNEL] = 0.9
    look = "idea" if kind == "group" else "plain"
    box = tensor(sheet, look, (x, y), shades, CELL)  # type: ignore[arg-type]
    sheet.text("C", (box.centre[0], y + B * CELL + 12), "size")
    sheet.text("B", (x - 12, box.centre[1]), "size")


def draw() -> Sheet:
    sheet = Sheet(318)
    for kind in PLACES:
        table(sheet, kind)
    return sheet
