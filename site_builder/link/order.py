r"""
# Order

In which order pages are read, what stands beside each, and what one page says of another.
"""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

from site_builder.labels import say
from site_builder.link.cards import Card
from site_builder.link.links import relative
from site_builder.read.document import Document
from site_builder.read.settings import Settings


@dataclass(frozen=True, slots=True)
class Link:
    """A title and the address it leads to, as seen from the page that shows it."""

    title: str
    url: str


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Where a page stands among the others."""

    breadcrumbs: tuple[Link, ...] = ()
    previous: Link | None = None
    next: Link | None = None
    children: tuple[Card, ...] = ()


def folder_of(path: str) -> str:
    return posixpath.dirname(path)


def reading_order(documents: list[Document], settings: Settings) -> list[Document]:
    r"""
    ## Reading order

    Folders in the order of the settings, those with papers first, and each before the folders in
    it. Folders of one place come as their own folder links to them. Within a folder its own page
    comes first, then the pages that it links to, in that order, then papers by year, then the rest
    by name.
    """
    papers = {folder_of(document.path) for document in documents if document.meta.paper}
    mentioned: dict[str, int] = {}
    for document in documents:
        if document.is_package:
            for name in document.mentions:
                path = posixpath.normpath(posixpath.join(folder_of(document.path), name))
                mentioned.setdefault(path, len(mentioned))

    def place(document: Document) -> tuple[object, ...]:
        path = document.path
        folder = folder_of(path)
        top = [i for i, s in enumerate(settings.sources) if path == s or path.startswith(s + "/")]
        own = document.is_package
        parts = folder.split("/")
        folders = ("/".join(parts[: n + 1]) for n in range(len(parts)))
        down = [(mentioned.get(f"{each}/__init__.py", len(mentioned)), each) for each in folders]
        order = mentioned.get(path, len(mentioned))
        plain = folder not in papers and not (own and any(p.startswith(folder) for p in papers))
        year = document.meta.year or 9999
        return (top or [0])[0], plain, down, not own, order, year, path

    return sorted(documents, key=place)


def neighbours(ordered: list[Document], cards: Mapping[str, Card]) -> dict[str, Neighbours]:
    r"""
    ## Neighbours

    For each path: the packages above it, the page before and the page after in reading order, of
    those that are more than an index, and a package's own pages.
    """
    packages = {folder_of(document.path): document for document in ordered if document.is_package}
    members: dict[str, list[Document]] = defaultdict(list)
    for document in ordered:
        folder = folder_of(document.path)
        members[posixpath.dirname(folder) if document.is_package else folder].append(document)
    indexes = {
        document.path
        for folder, document in packages.items()
        if len(members[folder]) > (document in members[folder]) and not document.definitions
    }
    found = {}
    before: list[Document] = []
    for index, document in enumerate(ordered):
        after = (other for other in ordered[index + 1 :] if other.path not in indexes)
        folder, own = folder_of(document.path), document.is_package
        parts = folder.split("/")
        above = ["/".join(parts[:depth]) for depth in range(1, len(parts) + (not own))]
        parents = [packages[name] for name in above if name in packages]
        children = (other for other in members[folder] if own and other is not document)
        found[document.path] = Neighbours(
            (Link(say("Home"), relative("index.html", document.url)), *_links(parents, document)),
            next(iter(_links(before, document)), None),
            next(iter(_links([*islice(after, 1)], document)), None),
            tuple(cards[child.path].seen_from(document.url) for child in children),
        )
        before = before if document.path in indexes else [document]
    return found


def _links(documents: list[Document], page: Document) -> list[Link]:
    return [Link(document.title, relative(document.url, page.url)) for document in documents]
