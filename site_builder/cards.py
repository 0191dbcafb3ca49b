r"""
# Cards

What one page says of another.
"""

from __future__ import annotations

from dataclasses import dataclass

from site_builder.draft import Draft


@dataclass(frozen=True, slots=True)
class Link:
    """A title and the address it leads to, as seen from the page that shows it."""

    title: str
    url: str


@dataclass(frozen=True, slots=True)
class Card:
    """What an index says of a page."""

    title: str
    url: str
    summary: str
    year: int
    authors: str
    minutes: int
    path: str
    topic: str
    updated: str


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Where a page stands among the others."""

    breadcrumbs: tuple[Link, ...] = ()
    previous: Link | None = None
    next: Link | None = None
    children: tuple[Card, ...] = ()


def card(draft: Draft, topic: str, dates: dict[str, str]) -> Card:
    names = [name.split()[-1] for name in draft.meta.authors]
    authors = " and ".join(names) if len(names) < 3 else f"{names[0]} et al."
    return Card(
        title=draft.title,
        url=draft.source.url,
        summary=draft.summary,
        year=draft.meta.year,
        authors=authors,
        minutes=draft.minutes,
        path=draft.source.path,
        topic=topic,
        updated=dates.get(draft.source.path, "2000-01-01T00:00:00Z"),
    )
