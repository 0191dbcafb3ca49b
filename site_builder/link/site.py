r"""
# The site

All drafts at once: what each name and file leads to, which pages stand beside each other, and the
indexes that list them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from sys import intern
from typing import NamedTuple
from urllib.parse import urlsplit

from site_builder.link.body import Row, link_row
from site_builder.link.cards import Card
from site_builder.link.comparison import Comparison
from site_builder.link.front import Front, compose_front
from site_builder.link.group import Group, by_folder, by_year
from site_builder.link.intro import Intro
from site_builder.link.links import Linker, Targets
from site_builder.link.map import Map, draw
from site_builder.link.poster import Poster
from site_builder.link.previews import said_of, users
from site_builder.link.relations import needed
from site_builder.link.routes import astray, courses
from site_builder.link.tongues import Tongue
from site_builder.problem import Problem
from site_builder.read.document import Document
from site_builder.read.look import Look
from site_builder.read.settings import Settings
from site_builder.read.source import url_of
from site_builder.render.draft import Draft, Stub
from site_builder.results.tables import Results


@dataclass(frozen=True, slots=True)
class Specimen:
    """A row that the front page shows as an example."""

    row: Row
    title: str
    url: str


class Release(NamedTuple):
    """Which version the site is of, and where each is, the newest first."""

    version: str
    addresses: tuple[tuple[str, str], ...]

    @property
    def newer(self) -> tuple[str, str] | None:
        """The newest version and its address, on the site of another."""
        newest = self.addresses[0] if self.addresses else None
        return None if not newest or newest[0] == self.version else newest


@dataclass(frozen=True, slots=True)
class Site:
    """What every template knows; `tongues` are those of each page that is translated, by path."""

    title: str
    tagline: str
    intro: Intro
    language: str
    look: Look
    url: str
    base_path: str
    repository: str
    version: str
    release: Release
    groups: tuple[Group, ...]
    years: tuple[Group, ...]
    pages: tuple[Card, ...]
    specimen: Specimen | None
    front: Front
    map: Map | None
    changes: tuple[Comparison, ...]
    poster: Poster | None
    updated: str
    book: str = ""
    tongues: dict[str, tuple[Tongue, ...]] = field(default_factory=dict)

    @property
    def has_paths(self) -> bool:
        """Whether there is a page of paths."""
        return bool(self.front.courses or self.map)


def distinct(paths: Iterable[str]) -> tuple[list[str], list[Problem]]:
    r"""
    ## One address, one page

    Two files with one address cannot both be shown. Letters differ in case on some hosts and not
    on others, so case does not count.
    """
    taken: dict[str, str] = {}
    problems = []
    reserved = {
        "index.html": "the front page",
        "years.html": "the index by year",
        "paths.html": "the page of paths",
        "all-pages.html": "the index of all pages",
        "changes.html": "the index of what changed",
        "404.html": "404",
    }
    for path in paths:
        url = url_of(path)
        other = taken.get(url.casefold()) or reserved.get(url.casefold())
        if other:
            message = f"has the address {url}, as has {other}; rename one"
            problems.append(Problem(path, 1, message))
        else:
            taken[url.casefold()] = path
    return list(taken.values()), problems


def find_targets(
    drafts: Collection[Stub], files: Iterable[str], outside: dict[str, str]
) -> Targets:
    r"""
    ## What can be linked to

    """
    names: dict[str, str] = {}
    aliases: dict[str, str] = {}
    pages = {"index.html": "index.html"}
    for draft in drafts:
        document = draft.document
        module, url = document.module, document.url
        names[module] = url
        pages |= {document.path: url, document.page: url}
        for name, anchor in document.definitions.items():
            # The same address is a key of what is said there.
            names[f"{module}.{name}"] = intern(f"{url}#{anchor}") if anchor else url
        aliases |= {
            f"{module}.{name}": target
            for name, target in document.names.items()
            if target != f"{module}.{name}"
        }
    documents = [draft.document for draft in drafts]
    targets = Targets(
        names,
        aliases,
        pages=pages,
        # Where Python cannot read a file, nobody knows what it has.
        anchors={d.document.url: d.anchors for d in drafts if d.document.fingerprint},
        files=frozenset(files),
        outside=outside,
        said=said_of(drafts),
    )
    leads = ((d, targets.name(name)) for d in documents for name in d.named)
    used = users(sorted(leads, key=lambda lead: lead[0].title))
    return replace(
        targets, users={url: tuple((d.title, d.url) for d in pages) for url, pages in used.items()}
    )


def compose_site(
    ordered: list[Document],
    specimen: Specimen | None,
    intro: Intro,
    settings: Settings,
    cards: Mapping[str, Card],
    results: Mapping[str, Results],
    changes: tuple[Comparison, ...],
    references: Mapping[str, tuple[str, ...]],
    look: Look,
    version: str,
    poster: Poster | None,
) -> Site:
    r"""
    ## Indexes

    By folder, which for papers is by topic, and by year.
    """
    groups = by_folder(ordered, cards, settings.title)
    return Site(
        title=settings.title,
        tagline=settings.tagline,
        intro=intro,
        language=settings.language,
        look=look,
        url=settings.url,
        base_path=urlsplit(settings.url).path or "/",
        repository=settings.repository,
        version=version,
        release=Release(settings.version, tuple(settings.versions.items())),
        groups=groups,
        years=by_year(groups),
        pages=tuple(cards[document.path] for document in ordered),
        specimen=specimen,
        front=compose_front(groups, results, references, courses(settings.paths, cards)),
        map=draw(needed(ordered, settings), cards),
        changes=changes,
        poster=poster,
        updated=max((card.updated for card in cards.values()), default="2000-01-01T00:00:00Z"),
    )


def find_specimen(draft: Draft, anchor: str, targets: Targets) -> Specimen | None:
    """The row with this anchor, as the front page shows it."""
    document = draft.document
    for row in draft.rows:
        if row.anchor == anchor:
            linked = link_row(row, Linker(document.path, "index.html", targets))
            return Specimen(linked, document.title, f"{document.url}#{anchor}")
    return None


def missing(settings: Settings, site: Site) -> list[Problem]:
    """What the settings ask the front page to show and the tree does not have."""
    problems = list(astray(settings.paths, {card.path for card in site.pages}))
    if settings.specimen and not site.specimen:
        message = f"specimen: there is no {settings.specimen!r}; name a file that is rendered"
        problems.append(Problem("pyproject.toml", settings.lines["specimen"], message))
    return problems
