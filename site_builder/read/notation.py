r"""
# Notation

What a page's symbols stand for. Front matter gives a symbol of the paper the name that it has in
the code, and a table of sizes says what the letters of shapes mean:

    | size | meaning | size | meaning |
    |------|---------|------|---------|
    | `B` | sequences in a batch | `H` | attention heads |
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator

from site_builder.problem import Problem
from site_builder.read.front_matter import FrontMatter
from site_builder.read.sections import Prose
from site_builder.read.uses import Use

TABLE = re.compile(
    r"^\|[ ]*size[ ]*\|.*\n\|[-:| ]+\n((?:\|.*(?:\n|\Z))+)", re.MULTILINE | re.IGNORECASE
)
CODE = re.compile(r"`([^`]+)`")


def sizes_of(prose: Iterable[Prose]) -> frozenset[str]:
    return frozenset(letter for _, letter in size_lines(prose))


def size_lines(prose: Iterable[Prose]) -> Iterator[tuple[int, str]]:
    """Line and letter of those in the tables of sizes: every other column, from the first."""
    for part in prose:
        for table in TABLE.finditer(part.text) if "size" in part.text.lower() else ():
            first = part.line + part.text.count("\n", 0, table.start(1))
            for line, row in enumerate(table[1].splitlines(), first):
                cells = re.split(r"(?<!\\)\|", row)[1:]
                codes = (code for cell in cells[::2] for code in CODE.findall(cell))
                for code in codes:
                    yield from ((line, letter) for letter in re.findall(r"[^\W\d]\w*", code))


def dead_symbols(
    path: str, meta: FrontMatter, uses: tuple[Use, ...], sizes: frozenset[str]
) -> Iterator[Problem]:
    """Those of the notation that are tied to nothing."""
    for symbol, name in meta.notation.items():
        if name in sizes or any(use.is_called(name) for use in uses):
            continue
        known = {use.name for use in uses} | sizes
        near = difflib.get_close_matches(name, known, 1, 0)
        advice = f"; the nearest is {near[0]!r}" if near else ""
        message = f"notation: {symbol}: no name in the code and no size is called {name!r}{advice}"
        yield Problem(path, meta.line("notation", symbol), message)
