r"""
# Groups

Pages under one heading of an index: those of a folder, which for papers is a topic, or of a year.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from site_builder.link.cards import Card
from site_builder.link.order import folder_of
from site_builder.read.document import Document
from site_builder.read.sections import slug


@dataclass(frozen=True, slots=True)
class Group:
    """A heading, what it leads to and the pages below it."""

    title: str
    slug: str
    summary: str
    url: str
    folder: str
    cards: tuple[Card, ...]

    @property
    def has_papers(self) -> bool:
        return any(card.year for card in self.cards)


def by_folder(
    ordered: Iterable[Document], cards: Mapping[str, Card], title: str
) -> tuple[Group, ...]:
    r"""
    ## By folder

    `title` is that of files in no folder.
    """
    folders: dict[str, list[Document]] = {}
    for document in ordered:
        folders.setdefault(folder_of(document.path), []).append(document)
    groups = []
    for folder, members in folders.items():
        own = next((document for document in members if document.is_package), None)
        name = own.title if own else folder.replace("/", ".") or title
        below = tuple(cards[document.path] for document in members if document is not own)
        about = (own.summary, own.url) if own else ("", "")
        groups.append(Group(name, slug(folder or name), *about, folder, below))
    return tuple(groups)


def by_year(groups: Iterable[Group]) -> tuple[Group, ...]:
    """The newest first; what is about no paper has no year."""
    years: dict[int, list[Card]] = {}
    for card in (card for group in groups for card in group.cards if card.year):
        years.setdefault(card.year, []).append(card)
    return tuple(
        Group(str(year), str(year), "", "", "", tuple(years[year]))
        for year in sorted(years, reverse=True)
    )
