r"""
# Pages

A page is a draft with its links resolved and its neighbours known. It is the value that the
template of an annotated file gets.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, replace
from urllib.parse import quote

from markupsafe import Markup

from site_builder.labels import later, say
from site_builder.link.body import Body, Row
from site_builder.link.cards import Card
from site_builder.link.equality import Equality
from site_builder.link.figure import Figure
from site_builder.link.forms import Forms
from site_builder.link.links import relative
from site_builder.link.mistakes import Told
from site_builder.link.order import Link, Neighbours
from site_builder.link.poster import Poster
from site_builder.link.previews import Preview
from site_builder.link.relations import Relations
from site_builder.link.routes import Onward, Stop, onward
from site_builder.link.tongues import Tongue
from site_builder.read.citation import bibtex
from site_builder.read.claims import Deviation
from site_builder.read.document import Document
from site_builder.read.settings import Settings
from site_builder.render.draft import Draft, Symbol
from site_builder.render.pieces import Heading
from site_builder.results.shapes import Shapes
from site_builder.results.tables import Results

# What stands below a page's rows, where front matter or a record has it.
DEVIATIONS = Heading(2, Markup(later("Where this departs from the paper")), "deviations")
RESULTS = Heading(2, Markup(later("Results")), "results")
MISTAKES = Heading(2, Markup(later("Classic mistakes")), "mistakes")
FITS = Heading(2, Markup(later("Does it fit")), "does-it-fit")
EXERCISES = Heading(2, Markup(later("Exercises")), "exercises")


@dataclass(frozen=True, slots=True)
class Page:
    r"""
    ## What the template gets

    Addresses are relative to the page; `root` leads to the top of the site. `lead` is the summary
    that the page shows: one that was taken from its first paragraph would stand there twice.
    `language` is that of its prose, and `tongues` are all in which there is the page, if others.
    `begin` are the commands that run it where there is nothing yet. `imported` names the modules of
    the lines that its first row with code folds. `exercises` lead to what the reader can write, and
    `grader` is the command that grades it.
    """

    url: str
    root: str
    path: str
    file: str
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
    begin: tuple[str, ...]
    source: str
    raw: str
    download: str
    report: str
    bibtex: str
    equal: Equality | None
    notation: tuple[Symbol, ...]
    figure: Figure | None
    poster: Poster | None
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
    exercises: tuple[Link, ...]
    grader: str
    math: bool
    updated: str
    forms: Forms
    language: str
    tongues: tuple[Tongue, ...]


def compose(
    draft: Draft,
    body: Body,
    around: Neighbours,
    stops: tuple[Stop, ...],
    relations: Relations,
    equal: Equality | None,
    figure: Figure | None,
    poster: Poster | None,
    results: Results | None,
    mistakes: tuple[Told, ...],
    shapes: Shapes | None,
    settings: Settings,
    updated: str,
    forms: Forms,
    language: str,
    tongues: tuple[Tongue, ...],
) -> Page:
    r"""
    ## Compose

    A page out of its parts.
    """
    document = draft.document
    meta, path, url, file = document.meta, document.path, document.url, document.file
    repository = settings.repository.rstrip("/")
    label, address = meta.link
    parts = (
        (DEVIATIONS, meta.deviations),
        (RESULTS, results),
        (MISTAKES, mistakes),
        (FITS, shapes and shapes.fits),
        (EXERCISES, meta.exercises),
    )
    below = (
        replace(heading, title=Markup(say(str(heading.title)))) for heading, part in parts if part
    )
    return Page(
        url=url,
        root="../" * url.count("/"),
        path=path,
        file=file,
        title=document.title,
        summary=document.summary,
        lead=meta.summary,
        paper=meta.paper,
        acronyms=tuple(name for name in meta.acronyms if name not in document.title),
        authors=meta.authors,
        year=meta.year,
        link=Link(label, address) if address else None,
        minutes=document.minutes,
        run=f"python {shlex.quote(path)}" if document.is_script and file == path else "",
        begin=_begin(document, settings.install),
        source=f"{repository}/blob/{quote(settings.branch)}/{quote(file)}" if repository else "",
        raw=f"{repository}/raw/{quote(settings.branch)}/{quote(file)}" if repository else "",
        download=relative(quote(path), url),
        report=f"{repository}/issues/new?title={quote(document.title)}:" if repository else "",
        bibtex=bibtex(meta),
        equal=equal,
        notation=draft.notation,
        figure=figure,
        poster=poster,
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
        exercises=tuple(Link(name, _place(document, name)) for name in meta.exercises),
        grader=f"{settings.grader} {shlex.quote(path)}" if settings.grader else "",
        math=draft.math,
        updated=updated,
        forms=forms,
        language=language or settings.language,
        tongues=tongues,
    )


def _place(document: Document, name: str) -> str:
    anchor = document.definitions.get(name, "")
    return f"#{anchor}" if anchor else ""


def _begin(document: Document, install: str) -> tuple[str, ...]:
    if not document.is_script or not install:
        return ()
    return f"pip install {json.dumps(install)}", f"python -m {document.module}"
