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

from site_builder.link.cards import Card
from site_builder.link.equality import Equality
from site_builder.link.figure import Figure
from site_builder.link.heights import text_lines
from site_builder.link.links import Linker, Targets
from site_builder.link.mistakes import Told
from site_builder.link.order import Link, Neighbours
from site_builder.link.previews import Preview, previews
from site_builder.link.relations import Relations
from site_builder.link.routes import Onward, Stop, onward
from site_builder.problem import Problem
from site_builder.read.citation import bibtex
from site_builder.read.claims import Deviation
from site_builder.read.settings import Settings
from site_builder.render.draft import Draft, Symbol
from site_builder.render.pieces import Heading
from site_builder.render.rows import DraftRow
from site_builder.results.shapes import Shapes
from site_builder.results.tables import Results

# Fewer characters than this stay in view beside code that is longer.
LONG = 1000
# What stands below a page's rows, where front matter or a record has it.
DEVIATIONS = Heading(2, Markup("Where this departs from the paper"), "deviations")
RESULTS = Heading(2, Markup("Results"), "results")
MISTAKES = Heading(2, Markup("Classic mistakes"), "mistakes")
FITS = Heading(2, Markup("Does it fit"), "does-it-fit")


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


@dataclass(frozen=True, slots=True)
class Page:
    r"""
    ## What the template gets

    Addresses are relative to the page; `root` leads to the top of the site. `lead` is the summary
    that the page shows: one that was taken from its first paragraph would stand there twice.
    `imported` names the modules of the lines that its first row with code folds.
    """

    url: str
    root: str
    path: str
    title: str
    summary: str
    lead: str
    paper: str
    acronyms: tuple[str, ...]
    authors: tuple[str, ...]
    year: int
    link: Link | None
    minutes: int
    run: str
    source: str
    raw: str
    download: str
    report: str
    bibtex: str
    equal: Equality | None
    notation: tuple[Symbol, ...]
    figure: Figure | None
    imported: str
    rows: tuple[Row, ...]
    contents: tuple[Heading, ...]
    breadcrumbs: tuple[Link, ...]
    stops: tuple[Stop, ...]
    previous: Link | None
    next: Link | None
    onward: tuple[Onward, ...]
    children: tuple[Card, ...]
    previews: tuple[Preview, ...]
    relations: Relations
    deviations: tuple[Deviation, ...]
    results: Results | None
    mistakes: tuple[Told, ...]
    shapes: Shapes | None
    math: bool
    updated: str


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
    prose = Markup(linker.join(row.prose.pieces))
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


def compose(
    draft: Draft,
    body: Body,
    around: Neighbours,
    stops: tuple[Stop, ...],
    relations: Relations,
    equal: Equality | None,
    figure: Figure | None,
    results: Results | None,
    mistakes: tuple[Told, ...],
    shapes: Shapes | None,
    settings: Settings,
    updated: str,
) -> Page:
    r"""
    ## Compose

    A page out of its parts.
    """
    document = draft.document
    meta, path, url = document.meta, document.path, document.url
    repository = settings.repository.rstrip("/")
    label, address = meta.link
    parts = (
        (DEVIATIONS, meta.deviations),
        (RESULTS, results),
        (MISTAKES, mistakes),
        (FITS, shapes and shapes.fits),
    )
    below = (heading for heading, part in parts if part)
    return Page(
        url=url,
        root="../" * url.count("/"),
        path=path,
        title=document.title,
        summary=document.summary,
        lead=meta.summary,
        paper=meta.paper,
        acronyms=tuple(name for name in meta.acronyms if name not in document.title),
        authors=meta.authors,
        year=meta.year,
        link=Link(label, address) if address else None,
        minutes=document.minutes,
        run=f"python {shlex.quote(path)}" if document.is_script else "",
        source=f"{repository}/blob/{quote(settings.branch)}/{quote(path)}" if repository else "",
        raw=f"{repository}/raw/{quote(settings.branch)}/{quote(path)}" if repository else "",
        download=quote(path.split("/")[-1]),
        report=f"{repository}/issues/new?title={quote(document.title)}:" if repository else "",
        bibtex=bibtex(meta),
        equal=equal,
        notation=draft.notation,
        figure=figure,
        imported=", ".join(document.opening.modules) if document.opening else "",
        rows=body.rows,
        contents=(*draft.contents, *below),
        breadcrumbs=around.breadcrumbs,
        stops=stops,
        previous=around.previous,
        next=around.next,
        onward=onward(around, stops),
        children=around.children,
        previews=body.previews,
        relations=relations,
        deviations=meta.deviations,
        results=results,
        mistakes=mistakes,
        shapes=shapes,
        math=draft.math,
        updated=updated,
    )
