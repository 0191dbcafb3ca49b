r"""
# Linking

All files at once: what [linking](link/__init__.py) asks of each, the [evidence](evidence.py) that
lies beside them, and what is wrong with any of them.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace
from pathlib import Path

from site_builder.drafts import Drafts, key_of
from site_builder.evidence import find_evidence
from site_builder.link.cards import cards
from site_builder.link.changes import Comparisons
from site_builder.link.equality import Equality, equalities
from site_builder.link.figure import Figure
from site_builder.link.forms import EPUB, Forms, find_forms
from site_builder.link.intro import introduce
from site_builder.link.links import Targets
from site_builder.link.mistakes import Told
from site_builder.link.order import Neighbours, neighbours, reading_order
from site_builder.link.page import Page, compose
from site_builder.link.painting import Painting
from site_builder.link.poster import Pair, Poster, Posters, posters
from site_builder.link.relations import Relations, relate
from site_builder.link.routes import Stop, along, stops
from site_builder.link.site import (
    Site,
    Specimen,
    compose_site,
    find_specimen,
    find_targets,
    missing,
)
from site_builder.link.tongues import Tongue
from site_builder.problem import Problem
from site_builder.publish.book import BOOK
from site_builder.publish.files import assets_version, read_pictures
from site_builder.publish.inputs import commit_mark
from site_builder.read.dates import read_dates
from site_builder.read.look import read_look
from site_builder.read.references import read_references
from site_builder.read.settings import Settings
from site_builder.render.draft import Stub
from site_builder.results.shapes import Shapes
from site_builder.results.tables import Results


@dataclass(frozen=True, slots=True)
class Leaf:
    r"""
    ## A page that is not yet composed

    Everything that stands on it, but what its own file says: of that, only the version. What is in
    another `language` than the site has a `catalogue`.
    """

    path: str
    page: str
    url: str
    version: int
    around: Neighbours
    stops: tuple[Stop, ...]
    relations: Relations
    equal: Equality | None
    figure: Figure | None
    poster: Poster | None
    results: Results | None
    mistakes: tuple[Told, ...]
    shapes: Shapes | None
    settings: Settings
    updated: str
    forms: Forms
    is_script: bool
    language: str = ""
    catalogue: str = ""
    tongues: tuple[Tongue, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """All that is written of it; of a translation the page alone."""
        return (self.page,) if self.language else (self.page, self.path, *self.forms.files)

    @property
    def sources(self) -> set[str]:
        """What it is made of."""
        return {self.path, self.catalogue}

    def compose(self, drafts: Drafts) -> Page:
        key = key_of(self.language, self.path) if self.language else self.path
        return compose(
            drafts.draft(key), drafts.body(key), self.around, self.stops,
            self.relations, self.equal, self.figure, self.poster, self.results, self.mistakes,
            self.shapes, self.settings, self.updated, self.forms, self.language, self.tongues,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Linked:
    r"""
    ## What is linked

    All pages, what they show beside themselves, what is wrong, and what they claim that is not on
    record, which only a check minds. Pages that are `left` stay as they are, if they are there.
    """

    site: Site
    pages: tuple[Leaf, ...]
    pictures: dict[str, bytes]
    paintings: dict[str, Painting]
    problems: tuple[Problem, ...]
    lapses: tuple[Problem, ...]
    left: frozenset[str] = frozenset()


def link_all(
    drafts: Drafts,
    stubs: dict[str, Stub],
    settings: Settings,
    comparisons: Comparisons,
    others: dict[str, Path],
    outside: dict[str, str],
    asked: frozenset[str],
    literate: Container[str],
) -> Linked:
    r"""
    ## Link all

    `stubs` are those of all `drafts`, by path, and `others` the files without a page. Of each page
    there are the forms that are `asked` for; `literate` has those that can be prose first.
    """
    root = drafts.root
    joined, targets = drafts.join(find_targets(stubs.values(), others, outside))
    ordered = reading_order([stub.document for stub in stubs.values()], settings)
    documents = {document.path: document for document in ordered}
    evidence = find_evidence(drafts, stubs, documents, settings, others)
    results, figures = evidence.results, evidence.drawings
    related, edges, problems = relate(ordered, settings)
    equal, unequal = equalities(ordered, settings)
    files = {path: stub.document.file for path, stub in stubs.items()}
    dates = read_dates(root, list(files.values()), commit_mark(root))
    changed = {path: dates[file] for path, file in files.items()}
    index = cards(documents, results, changed, figures)
    around, places = neighbours(ordered, index), stops(settings.paths, documents)

    compared, uncompared = comparisons.make(edges, drafts, targets, settings)
    imports = ((path, document.packages) for path, document in documents.items())
    references = read_references(root, settings.tests, imports)
    intro = introduce(settings, targets)
    look, unusable = read_look(settings)
    specimen = _specimen(drafts, stubs, settings, targets)
    more = references, look, assets_version(look)
    shown = {card.thumb.file for card in index.values() if card.thumb and card.thumb.file}
    shown |= evidence.pictures | {*intro.shown}
    shown |= {file for each in joined.values() for file in each.shown}
    pictures, unreadable = read_pictures(shown, others, root)
    # An address of a picture must be a whole one.
    pairs = (Pair(each.url, each.title, each.paths) for each in compared)
    drawn = index, pairs, figures, results, pictures
    made = posters(settings.title, settings.tagline, *drawn) if settings.url else Posters()
    compared = tuple(replace(each, poster=made.pairs.get(each.url)) for each in compared)
    found = index, results, compared
    site = compose_site(ordered, specimen, intro, settings, *found, *more, made.site)
    site = replace(site, book=BOOK if EPUB in asked else "")

    problems += [*uncompared, *unequal, *intro.problems, *unusable, *missing(settings, site)]
    problems += (problem for stub in stubs.values() for problem in stub.problems)
    problems += (problem for each in joined.values() for problem in each.problems)
    leaves = (
        Leaf(
            path, document.page, document.url, joined[path].version,
            along(around[path], places[path]), tuple(places[path]), related[path],
            equal.get(path), figures.get(path), made.pages.get(path), results.get(path),
            evidence.mistakes[path].told, evidence.shapes[path].shapes, settings, changed[path],
            find_forms(document, asked, settings, others, literate), document.is_script,
        )
        for path, document in documents.items()
    )  # fmt: skip
    problems += [*evidence.problems, *unreadable]
    return Linked(
        site, tuple(leaves), pictures, made.paintings, tuple(problems), tuple(evidence.lapses)
    )


def _specimen(
    drafts: Drafts, stubs: dict[str, Stub], settings: Settings, targets: Targets
) -> Specimen | None:
    path, _, anchor = settings.specimen.partition("#")
    return find_specimen(drafts.draft(path), anchor, targets) if path in stubs else None
