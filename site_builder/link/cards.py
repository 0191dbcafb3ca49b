r"""
# Cards

What an index says of a page: whose paper it is about, what came of its claims, and a small picture
of it.
"""

from __future__ import annotations

import posixpath
from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from urllib.parse import quote

from site_builder.link.links import relative
from site_builder.read.document import Document
from site_builder.results.tables import Results


@dataclass(frozen=True, slots=True)
class Thumb:
    r"""
    ## A small picture

    The page's drawing, which is a `file` of the tree, else what its first run drew, with the size
    that it has on the page, else the lines of its first curve.
    """

    url: str = ""
    file: str = ""
    width: int = 0
    height: int = 0
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Card:
    r"""
    ## A card

    `verdicts` are those of the claims that were measured, and `told` says them in a line.
    """

    title: str
    url: str
    summary: str
    paper: str
    acronyms: tuple[str, ...]
    year: int
    authors: str
    minutes: int
    path: str
    topic: str
    updated: str
    verdicts: tuple[str, ...] = ()
    told: str = ""
    thumb: Thumb | None = None

    def seen_from(self, page: str) -> Card:
        """The same with addresses as they are on another page than the front one."""
        thumb = self.thumb
        if thumb and thumb.url:
            thumb = replace(thumb, url=relative(thumb.url, page))
        return replace(self, url=relative(self.url, page), thumb=thumb)


def cards(
    documents: Mapping[str, Document],
    results: Mapping[str, Results],
    dates: Mapping[str, str],
    drawn: Container[str],
) -> dict[str, Card]:
    r"""
    ## All cards

    By the paths of their files; those in `drawn` have a figure that can be shown. A page's topic is
    the title of its folder's own page.
    """
    made = {}
    for path, document in documents.items():
        package = posixpath.join(posixpath.dirname(path), "__init__.py")
        topic = documents[package].title if package in documents else ""
        made[path] = _card(document, topic, results.get(path), dates, path in drawn)
    return made


def _card(
    document: Document,
    topic: str,
    results: Results | None,
    dates: Mapping[str, str],
    drawn: bool,
) -> Card:
    meta = document.meta
    names = [name.split()[-1] for name in meta.authors]
    return Card(
        title=document.title,
        url=document.url,
        summary=document.summary,
        paper=meta.paper,
        acronyms=tuple(name for name in meta.acronyms if name not in document.title),
        year=meta.year,
        authors=" and ".join(names) if len(names) < 3 else f"{names[0]} et al.",
        minutes=document.minutes,
        path=document.path,
        topic=topic,
        updated=dates.get(document.path, "2000-01-01T00:00:00Z"),
        verdicts=results.verdicts if results else (),
        told=results.told if results else "",
        thumb=_thumb(document, results, drawn),
    )


def _thumb(document: Document, results: Results | None, drawn: bool) -> Thumb | None:
    folder = posixpath.dirname(document.path)
    if drawn and (figure := document.meta.figure):
        file = posixpath.normpath(posixpath.join(folder, figure.file))
        return Thumb(quote(file), file)
    if results and results.galleries:
        first = results.galleries[0].pictures[0]
        url = posixpath.join(posixpath.dirname(document.url), first.url)
        return Thumb(url, width=first.width, height=first.height)
    if results and results.figures:
        return Thumb(lines=tuple(line.sketch for line in results.figures[0].lines))
    return None
