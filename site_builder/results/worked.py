r"""
# Worked numbers

A small example with real numbers, which front matter has and `python -m papers.tools.shapes` ran:
its lines, and below each what it gave, as Python's prompt shows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from markupsafe import Markup

from site_builder.read.claims import Worked
from site_builder.render.code import span, tokens

# Of each line that gave something: its number, and the lines that say it.
Given = tuple[tuple[int, tuple[str, ...]], ...]


class Line(NamedTuple):
    """A line of the example, or of what the one above it gave."""

    html: Markup
    is_given: bool


class Example(NamedTuple):
    """What it tells, and its lines."""

    told: str
    lines: tuple[Line, ...]


def given(data: dict[str, Any]) -> dict[str, Given]:
    """By the code of each example in a record, what its lines gave."""
    return {
        str(row["code"]): tuple((int(made["line"]), tuple(_said(made))) for made in row["made"])
        for row in data.get("worked", [])
    }


def _said(made: dict[str, Any]) -> Iterator[str]:
    r"""
    ## Numbers in lines

    Those of the last axis stand side by side, one below the other as far as they go together.
    """
    numbers, sizes = str(made["values"]).split(), made["sizes"]
    if made["dtype"] == "bool":
        numbers = [str(number == "1") for number in numbers]
    across = int(sizes[-1]) if sizes else 1
    wide = max(map(len, numbers), default=0)
    for start in range(0, len(numbers), across):
        yield " ".join(number.rjust(wide) for number in numbers[start : start + across])


def transcript(worked: Worked, made: Given) -> tuple[Line, ...]:
    """The code in its colours, with what it gave."""

    def lines() -> Iterable[Line]:
        for number, line in enumerate(tokens(worked.code), 1):
            yield Line(Markup("".join(span(*token) for token in line)), False)
            for at, said in made:
                if at == number:
                    yield from (Line(Markup.escape(words), True) for words in said)

    return tuple(lines())
