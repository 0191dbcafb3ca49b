"""A tree of letters with two beams, in which the likeliest beginning is not the likeliest text."""

from __future__ import annotations

import math

from papers.tools.drawing.sheet import Sheet
from papers.tools.drawing.wires import arrow

# What follows what, with its probability. A beginning is likely where its product is.
FOLLOWS = {
    "": {"a": 0.5, "t": 0.4, "o": 0.1},
    "a": {"n": 0.4, "s": 0.35, "t": 0.25},
    "t": {"h": 0.9, "o": 0.1},
    "an": {"d": 0.4, "y": 0.35},
    "th": {"e": 0.8, "a": 0.2},
}
BEAMS = 2
RIGHT, DOWN = 98.0, 42.0


def nats(text: str) -> float:
    return sum(math.log(FOLLOWS[text[:i]][text[i]]) for i in range(len(text)))


def grown() -> list[tuple[list[str], list[str]]]:
    """Of each step what was kept and what was tried and dropped."""
    kept, steps = [""], []
    for _ in range(3):
        tried = [text + letter for text in kept for letter in FOLLOWS.get(text, {})]
        tried.sort(key=nats, reverse=True)
        kept = tried[:BEAMS]
        steps.append((kept, tried[BEAMS:]))
    return steps


def draw() -> Sheet:
    sheet = Sheet(262)
    places = {"": (34.0, 120.0)}
    with sheet.link("the-search"):
        sheet.text("search", places[""])
    for number, (kept, dropped) in enumerate(grown()):
        order = sorted([*kept, *dropped])
        top = 120 - DOWN * (len(order) - 1) / 2
        for row, text in enumerate(order):
            x, y = 34 + RIGHT * (number + 1), top + DOWN * row
            places[text] = (x, y)
            from_x, from_y = places[text[:-1]]
            with sheet.group("idea" if text in kept else "plain"):
                sheet.add("rect", class_="face", x=x - 24, y=y - 14, width=48, height=28, rx=4)
            sheet.text(f"'{text}'", (x, y - 4))
            sheet.text(f"{nats(text):.1f}".replace("-", "−"), (x, y + 8), "size")
            line = (from_x + 26, from_y), (x - 26, y)
            arrow(sheet, *line, look="" if text in kept else "dashed")
    sheet.text("in colour: the two beams that are kept", (180, 250), "size")
    return sheet
