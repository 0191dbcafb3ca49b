r"""
# Body

What stands between a page's head and its foot: the rows of its draft, with every link resolved.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup

from site_builder.link.heights import text_lines
from site_builder.link.links import Linker, Targets
from site_builder.link.order import Link
from site_builder.link.previews import Preview, previews
from site_builder.problem import Problem
from site_builder.render.draft import Draft
from site_builder.render.rows import DraftRow

# Fewer characters than this stay in view beside code that is longer.
LONG = 1000


class CodeLine(NamedTuple):
    """A line of the file, highlighted, with its number, and which things its names are."""

    number: int
    html: Markup
    touch: str


@dataclass(frozen=True, slots=True)
class Row:
    r"""
    ## A row

    A section as the template shows it: what stands on the left, and what on the right. `height` is
    that of the prose in lines of text.
    """

    anchor: str
    level: int
    prose: Markup
    is_brief: bool
    height: int
    math: bool
    numbers: tuple[int, ...]
    code: tuple[str, ...]
    touch: tuple[str, ...]
    start: int
    end: int
    folded: int
    users: tuple[Link, ...]

    @property
    def lines(self) -> tuple[CodeLine, ...]:
        """Made when they are asked for: they are most of a page, and needed for a moment."""
        return _lines(self.numbers, self.code, self.touch)


@functools.lru_cache(maxsize=1)
def _lines(
    numbers: tuple[int, ...], code: tuple[str, ...], touch: tuple[str, ...]
) -> tuple[CodeLine, ...]:
    return tuple(map(CodeLine, numbers, map(Markup, code), touch))


@dataclass(frozen=True, slots=True)
class Body:
    """A draft's rows with links resolved, the files that they show, the links that lead nowhere."""

    rows: tuple[Row, ...]
    shown: tuple[str, ...]
    problems: tuple[Problem, ...]
    previews: tuple[Preview, ...]


def resolve(draft: Draft, targets: Targets) -> Body:
    r"""
    ## Resolve

    Everything on the page that leads somewhere, in code and in prose.
    """
    document = draft.document
    linker = Linker(document.path, document.url, targets)
    rows = tuple(link_row(row, linker) for row in draft.rows)
    shown = tuple(previews(linker.named, targets.said))
    return Body(rows, tuple(linker.shown), tuple(linker.problems), shown)


def link_row(row: DraftRow, linker: Linker) -> Row:
    linker.begin()
    prose = Markup(linker.join(row.prose.pieces))
    linker.begin()
    return Row(
        anchor=row.anchor,
        level=row.level,
        prose=prose,
        is_brief=row.prose.length < LONG,
        height=text_lines(prose),
        math=row.prose.math,
        numbers=row.numbers,
        code=tuple(map(linker.join, row.code)),
        touch=row.touch,
        start=row.start,
        end=row.end,
        folded=row.folded,
        users=tuple(Link(*user) for user in linker.users(row.anchor)),
    )
