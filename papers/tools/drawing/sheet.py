r"""
---
title: Sheets
summary: The paper that a figure is drawn on, and what is written on it.
---

# Sheets
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

import drawsvg

Point = tuple[float, float]

# A sheet's width, in the pixels of a phone.
WIDTH = 360
# How much of its size a letter of the code's font takes from left to right.
ADVANCE = 0.6
SIZES = {"name": 13, "size": 12.5, "note": 12.5}


@dataclass(frozen=True, slots=True)
class Box:
    """Where a part is, with the points at which wires end."""

    x: float
    y: float
    width: float
    height: float

    def at(self, across: float, down: float) -> Point:
        """A point by its share of the width and of the height."""
        return self.x + across * self.width, self.y + down * self.height

    @property
    def top(self) -> Point:
        return self.at(0.5, 0)

    @property
    def bottom(self) -> Point:
        return self.at(0.5, 1)

    @property
    def left(self) -> Point:
        return self.at(0, 0.5)

    @property
    def right(self) -> Point:
        return self.at(1, 0.5)

    @property
    def centre(self) -> Point:
        return self.at(0.5, 0.5)


class Sheet:
    r"""
    ## A sheet

    What is added stands inside the groups that are open.
    """

    def __init__(self, height: float, width: float = WIDTH) -> None:
        self.width, self.height = width, height
        self._inside: list[Any] = [drawsvg.Group()]

    def add(self, tag: str, **given: object) -> None:
        """An element of SVG. Numbers keep two digits: that is less than a reader can see."""
        self._inside[-1].append(_element(tag, given))

    @contextmanager
    def group(self, kind: str) -> Iterator[None]:
        yield from self._within("g", {"class_": kind})

    @contextmanager
    def link(self, anchor: str) -> Iterator[None]:
        """What leads to a section of the page; without an anchor it leads nowhere."""
        if anchor:
            yield from self._within("a", {"href": f"#{anchor}"})
        else:
            yield

    def _within(self, tag: str, given: dict[str, object]) -> Iterator[None]:
        self._inside.append(_element(tag, given))
        yield
        done = self._inside.pop()
        self._inside[-1].append(done)

    def text(self, words: str, at: Point, kind: str = "name", anchor: str = "middle") -> None:
        r"""
        ## Words

        In the code's font what the code says, names (`name`) and shapes (`size`); what explains a
        picture is a `note`. They are centred at a height.
        """
        size, (x, y) = SIZES[kind], at
        # Half the height of a letter without a stroke upwards.
        given = {"x": x, "y": y + size * 0.34, "class_": kind, "text_anchor": anchor}
        self._inside[-1].append(drawsvg.Text(words, size, **_attributes(given)))

    def svg(self, style: str, title: str, alt: str, **root: str) -> str:
        """The whole file."""
        drawing = drawsvg.Drawing(self.width, self.height, class_="drawing", role="img", **root)
        drawing.append_title(title)
        drawing.append(drawsvg.Raw(f"<desc>{escape(alt)}</desc>"))
        drawing.append_css(style)
        (ground,) = self._inside
        drawing.extend(ground.children)
        return str(drawing.as_svg())


def path(*steps: str | float) -> str:
    """The way of a line: letters of SVG's language, each with its numbers."""
    return " ".join(step if isinstance(step, str) else number(step) for step in steps)


def words_width(words: str, kind: str = "name") -> float:
    return len(words) * SIZES[kind] * ADVANCE


def _element(tag: str, given: dict[str, object]) -> Any:
    # The library has a class for each element, and two bases for those that it does not know.
    holds = tag in {"g", "a"}
    base = drawsvg.DrawingParentElement if holds else drawsvg.DrawingBasicElement
    return type(tag, (base,), {"TAG_NAME": tag})(**_attributes(given))


def _attributes(given: dict[str, object]) -> dict[str, str]:
    return {name: number(v) if isinstance(v, float) else str(v) for name, v in given.items()}


def number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
