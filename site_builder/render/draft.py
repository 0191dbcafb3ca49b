r"""
# Drafts

All that can be said of a page from its file alone. Drafts of different files know nothing of each
other, so they are made side by side, in as many processes as there are cores.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from markupsafe import Markup

from site_builder.assets import has_katex
from site_builder.problem import Problem
from site_builder.read.document import TWICE, Document, Reading
from site_builder.render.inline import flaws, lines_of
from site_builder.render.math import MathError, typeset
from site_builder.render.pieces import Heading
from site_builder.render.rows import DraftRow, contents, render_rows
from site_builder.render.slips import slips
from site_builder.render.summary import Summary, first_sentence, summaries
from site_builder.render.touch import Touch

# Of the HTML of a formula, where it has the symbol of that number.
MARKED = re.compile(r"\bsym sym-(\d+)\b")


class Symbol(NamedTuple):
    """A symbol of the paper, typeset, its name in the code, and the numbers of those things."""

    html: Markup
    name: str
    things: str


@dataclass(frozen=True, slots=True)
class Stub:
    """
    What linking asks of a page's draft: what of it others can lead to, what is `said` of its
    sections, by their anchors, and what is wrong.
    """

    document: Document
    said: dict[str, Summary]
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
        return Stub(self.document, self.said, self.anchors, self.problems)


def draft(reading: Reading) -> Draft:
    """Everything but what depends on other files."""
    document, touch = reading.document, Touch(reading)
    notation, problems = _notation(document, touch)
    rows, found = render_rows(reading, touch)
    problems += [*found, *flaws(document), *slips(reading), *_idle(reading, rows)]
    openings = {line: words for row in rows for line, words in row.prose.openings}
    document = replace(
        document,
        summary=document.summary or first_sentence(openings.get(reading.begins, "")),
    )
    anchors = Counter(row.anchor for row in rows if row.anchor)
    for row in rows:
        for line, anchor in row.prose.anchors:
            anchors[anchor] += 1
            if anchors[anchor] == 2:
                problems.append(Problem(document.path, line, TWICE.format(anchor)))
    return Draft(
        document=document,
        said=summaries(reading.sections, document.title, openings),
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


def _idle(reading: Reading, rows: tuple[DraftRow, ...]) -> Iterator[Problem]:
    r"""
    ## Symbols of no formula

    A page that must have front matter promises its reader to tie a formula to the code. In those
    it is told where the notation has a symbol that no formula marks.
    """
    meta = reading.meta
    if not (reading.strict and meta.notation and has_katex()):
        return
    html = "".join(piece for row in rows for piece in row.prose.pieces if isinstance(piece, str))
    marked = {int(number) for number in MARKED.findall(html)}
    for index, symbol in enumerate(meta.notation):
        if index not in marked:
            told = f"notation: no formula has {symbol}; write it where the prose speaks of it"
            line = meta.line("notation", symbol)
            yield Problem(reading.path, line, f"{told}, or take this entry out")
