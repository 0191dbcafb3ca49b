r"""
# Drafts

All that can be said of a page from its file alone. Drafts of different files know nothing of each
other, so they are made side by side, in as many processes as there are cores.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup

from site_builder.problem import Problem
from site_builder.read.document import TWICE, Document, Reading
from site_builder.render.inline import flaws, lines_of
from site_builder.render.math import MathError, typeset
from site_builder.render.pieces import Heading
from site_builder.render.rows import DraftRow, contents, render_rows
from site_builder.render.slips import slips
from site_builder.render.touch import Touch


class Symbol(NamedTuple):
    """A symbol of the paper, typeset, its name in the code, and the numbers of those things."""

    html: Markup
    name: str
    things: str


@dataclass(frozen=True, slots=True)
class Stub:
    """What linking asks of a page's draft: what of it others can lead to, and what is wrong."""

    document: Document
    anchors: frozenset[str]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Draft(Stub):
    r"""
    ## A page before it knows the others

    `math` says whether there are formulas.
    """

    rows: tuple[DraftRow, ...]
    contents: tuple[Heading, ...]
    notation: tuple[Symbol, ...]
    math: bool

    @property
    def stub(self) -> Stub:
        return Stub(self.document, self.anchors, self.problems)


def draft(reading: Reading) -> Draft:
    """Everything but what depends on other files."""
    document, touch = reading.document, Touch(reading)
    notation, problems = _notation(document, touch)
    rows, found = render_rows(reading, touch)
    problems += [*found, *flaws(document), *slips(reading)]
    anchors = Counter(row.anchor for row in rows if row.anchor)
    for row in rows:
        for line, anchor in row.prose.anchors:
            anchors[anchor] += 1
            if anchors[anchor] == 2:
                problems.append(Problem(document.path, line, TWICE.format(anchor)))
    return Draft(
        document=document,
        rows=rows,
        contents=contents(rows, reading.sections),
        anchors=frozenset(anchors),
        notation=notation,
        math=bool(
            notation
            or any(row.prose.math for row in rows)
            or any(r.math for _, r in lines_of(document))
        ),
        problems=(*document.problems, *problems),
    )


def _notation(document: Document, touch: Touch) -> tuple[tuple[Symbol, ...], list[Problem]]:
    symbols, problems = [], []
    for symbol, name in document.meta.notation.items():
        try:
            symbols.append(Symbol(Markup(typeset(symbol, False).html), name, touch.called(name)))
        except MathError as error:
            line = document.meta.line("notation", symbol)
            problems.append(Problem(document.path, line, f"notation: {symbol}: {error}"))
            symbols.append(Symbol(Markup("<code>{}</code>").format(symbol), name, ""))
    return tuple(symbols), problems
