r"""
# Pages

A page is a draft with its links resolved and its neighbours known. It is the value that the
template of an annotated file gets.
"""

from __future__ import annotations

import functools
import shlex
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote

from markupsafe import Markup

from site_builder.cards import Card, Link, Neighbours
from site_builder.citation import bibtex
from site_builder.draft import Draft, line_of
from site_builder.links import Targets, resolve_code, resolve_prose
from site_builder.problem import Problem
from site_builder.results import Results
from site_builder.rows import Heading
from site_builder.settings import Settings

# The last section of a page whose runs were recorded.
RESULTS = Heading(2, Markup("Results"), "results")


class CodeLine(NamedTuple):
    """A line of the file, highlighted, with its number."""

    number: int
    html: Markup


@dataclass(frozen=True, slots=True)
class Row:
    """A section as the template shows it: what stands on the left, and what on the right."""

    anchor: str
    level: int
    prose: Markup
    numbers: tuple[int, ...]
    code: tuple[str, ...]
    start: int
    end: int

    @property
    def lines(self) -> tuple[CodeLine, ...]:
        """Made when they are asked for: they are most of a page, and needed for a moment."""
        return _lines(self.numbers, self.code)


@functools.lru_cache(maxsize=1)
def _lines(numbers: tuple[int, ...], code: tuple[str, ...]) -> tuple[CodeLine, ...]:
    return tuple(map(CodeLine, numbers, map(Markup, code)))


@dataclass(frozen=True, slots=True)
class Body:
    """A draft's rows with links resolved, the files that they show, the links that lead nowhere."""

    rows: tuple[Row, ...]
    shown: tuple[str, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Page:
    r"""
    ## What the template gets

    Addresses are relative to the page; `root` leads to the top of the site.
    """

    url: str
    root: str
    path: str
    title: str
    summary: str
    paper: str
    authors: tuple[str, ...]
    year: int
    arxiv: str
    link: Link | None
    topic: str
    minutes: int
    run: str
    source: str
    raw: str
    download: str
    bibtex: str
    notation: tuple[tuple[Markup, str], ...]
    rows: tuple[Row, ...]
    contents: tuple[Heading, ...]
    breadcrumbs: tuple[Link, ...]
    previous: Link | None
    next: Link | None
    children: tuple[Card, ...]
    problems: tuple[str, ...]
    results: Results | None
    math: bool
    updated: str


def resolve(draft: Draft, targets: Targets) -> Body:
    r"""
    ## Resolve

    Everything on the page that leads somewhere, in code and in prose.
    """
    url, path = draft.source.url, draft.source.path
    rows, shown, problems = [], [], []
    for row in draft.rows:
        prose, files, dead = resolve_prose(row.prose, path, url, draft.names, targets)
        shown += files
        problems += [_dead_link(draft, address, message) for address, message in dead]
        code = resolve_code(row.code, url, targets)
        place = row.numbers, code, row.start, row.end
        rows.append(Row(row.anchor, row.level, Markup(prose), *place))
    return Body(tuple(rows), tuple(shown), tuple(problems))


def _dead_link(draft: Draft, address: str, message: str) -> Problem:
    places = (line_of(words, draft.sources) for words in (f"]({address}", f'"{address}"', address))
    line = next((line for line in places if line > 1), 1)
    return Problem(draft.source.path, line, f"{address} {message}")


def compose(
    draft: Draft,
    body: Body,
    around: Neighbours,
    results: Results | None,
    settings: Settings,
    updated: str,
) -> Page:
    r"""
    ## Compose

    A page out of its parts.
    """
    meta, path, url = draft.meta, draft.source.path, draft.source.url
    repository = settings.repository.rstrip("/")
    label, address = meta.link
    return Page(
        url=url,
        root="../" * url.count("/"),
        path=path,
        title=draft.title,
        summary=draft.summary,
        paper=meta.paper,
        authors=meta.authors,
        year=meta.year,
        arxiv=meta.arxiv,
        link=Link(label, address) if address else None,
        topic=meta.topic,
        minutes=draft.minutes,
        run=f"python {shlex.quote(path)}" if draft.runs else "",
        source=f"{repository}/blob/{quote(settings.branch)}/{quote(path)}" if repository else "",
        raw=f"{repository}/raw/{quote(settings.branch)}/{quote(path)}" if repository else "",
        download=quote(path.split("/")[-1]),
        bibtex=bibtex(meta),
        notation=tuple((Markup(symbol), name) for symbol, name in draft.notation),
        rows=body.rows,
        contents=(*draft.contents, *((RESULTS,) if results else ())),
        breadcrumbs=around.breadcrumbs,
        previous=around.previous,
        next=around.next,
        children=around.children,
        problems=(),
        results=results,
        math=bool(meta.notation) or any('class="katex' in row.prose for row in body.rows),
        updated=updated,
    )
