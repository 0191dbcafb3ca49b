r"""
# The site

All drafts at once: what each name and file leads to, which pages stand beside each other, and the
indexes that list them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from urllib.parse import urljoin, urlsplit

from markupsafe import Markup

from site_builder.cards import Card, card
from site_builder.draft import Draft
from site_builder.links import Targets
from site_builder.order import folder_of
from site_builder.page import Body, Row
from site_builder.problem import Problem
from site_builder.sections import slug
from site_builder.settings import Settings

# An address inside the site, in HTML that the builder wrote.
HREF = re.compile(r'(<a [^>]*href=")(?![a-z]+:)([^"]*)"')


@dataclass(frozen=True, slots=True)
class Group:
    """Some pages under one heading of an index."""

    title: str
    slug: str
    summary: str
    url: str
    cards: tuple[Card, ...]


@dataclass(frozen=True, slots=True)
class Specimen:
    """A row that the front page shows as an example."""

    row: Row
    title: str
    url: str


@dataclass(frozen=True, slots=True)
class Site:
    """What every template knows."""

    title: str
    tagline: str
    intro: str
    url: str
    base_path: str
    repository: str
    version: str
    groups: tuple[Group, ...]
    years: tuple[Group, ...]
    pages: tuple[Card, ...]
    specimen: Specimen | None
    start: Card | None
    updated: str


def distinct(drafts: Iterable[Draft]) -> tuple[list[Draft], list[Problem]]:
    r"""
    ## One address, one page

    Two files with one address cannot both be shown. Letters differ in case on some hosts and not
    on others, so case does not count.
    """
    taken: dict[str, Draft] = {}
    problems = []
    reserved = {
        "index.html": "the front page",
        "years.html": "the index by year",
        "404.html": "404",
    }
    for draft in drafts:
        url = draft.source.url.casefold()
        other = taken[url].source.path if url in taken else reserved.get(url)
        if other:
            message = f"has the address {draft.source.url}, as has {other}; rename one"
            problems.append(Problem(draft.source.path, 1, message))
        else:
            taken[url] = draft
    return list(taken.values()), problems


def find_targets(drafts: list[Draft], files: Iterable[str]) -> Targets:
    r"""
    ## What can be linked to

    """
    names: dict[str, str] = {}
    aliases: dict[str, str] = {}
    for draft in drafts:
        module, url = draft.source.module, draft.source.url
        names[module] = url
        for name, anchor in draft.definitions.items():
            names[f"{module}.{name}"] = f"{url}#{anchor}" if anchor else url
        aliases |= {
            f"{module}.{name}": target
            for name, target in draft.names.items()
            if target != f"{module}.{name}"
        }
    return Targets(
        names,
        aliases,
        pages={draft.source.path: draft.source.url for draft in drafts},
        anchors={draft.source.url: draft.anchors for draft in drafts},
        files=frozenset(files),
    )


def compose_site(
    ordered: list[Draft],
    bodies: dict[str, Body],
    settings: Settings,
    dates: dict[str, str],
    version: str,
) -> Site:
    r"""
    ## Indexes

    By folder, which for papers is by topic, and by year.
    """
    folders: dict[str, list[Draft]] = {}
    for draft in ordered:
        folders.setdefault(folder_of(draft.source.path), []).append(draft)
    groups = []
    for folder, members in folders.items():
        own = next((d for d in members if d.source.path.endswith("__init__.py")), None)
        title = own.title if own else folder.replace("/", ".") or settings.title
        cards = tuple(card(d, title, dates) for d in members if d is not own)
        url = own.source.url if own else ""
        groups.append(Group(title, slug(folder or title), own.summary if own else "", url, cards))
    by_year: dict[int, list[Card]] = {}
    for group in groups:
        for item in group.cards:
            by_year.setdefault(item.year, []).append(item)
    years = (
        Group(str(y), str(y), "", "", tuple(by_year[y])) for y in sorted(by_year, reverse=True) if y
    )
    pages = tuple(card(d, d.meta.topic, dates) for d in ordered)
    return Site(
        title=settings.title,
        tagline=settings.tagline,
        intro=settings.intro,
        url=settings.url,
        base_path=urlsplit(settings.url).path or "/",
        repository=settings.repository,
        version=version,
        groups=tuple(groups),
        years=tuple(years),
        pages=pages,
        specimen=_specimen(ordered, bodies, settings.specimen),
        start=next((page for page in pages if page.path == settings.start), None),
        updated=max((page.updated for page in pages), default="2000-01-01T00:00:00Z"),
    )


def _specimen(ordered: list[Draft], bodies: dict[str, Body], wanted: str) -> Specimen | None:
    path, _, anchor = wanted.partition("#")
    draft = next((d for d in ordered if d.source.path == path), None)
    row = next((r for r in bodies[path].rows if r.anchor == anchor), None) if draft else None
    if draft is None or row is None:
        return None
    url = draft.source.url

    def seen_from_front(html: str) -> str:
        return HREF.sub(lambda m: f'{m[1]}{urljoin(url, m[2])}"', html)

    code = tuple(map(seen_from_front, row.code))
    moved = replace(row, prose=Markup(seen_from_front(row.prose)), code=code)
    return Specimen(moved, draft.title, f"{url}#{anchor}")


def missing(settings: Settings, site: Site) -> list[Problem]:
    """What the settings ask the front page to show and the tree does not have."""
    wanted = {"specimen": (settings.specimen, site.specimen), "start": (settings.start, site.start)}
    return [
        Problem(
            "pyproject.toml",
            settings.lines[key],
            f"{key}: there is no {value!r}; name a file that is rendered",
        )
        for key, (value, found) in wanted.items()
        if value and not found
    ]
