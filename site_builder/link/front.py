r"""
# The front page

What it promises, with numbers, and what it shows for it: results from several topics, a way to
begin, the papers, and in a line each what is around them. A folder without papers shows all that
it has.
"""

from __future__ import annotations

import itertools
import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from site_builder.link.cards import Card
from site_builder.link.group import Group
from site_builder.link.routes import Course
from site_builder.results.curves import Plot
from site_builder.results.pictures import Gallery, Picture
from site_builder.results.tables import Results

# So many results are shown.
PLATES = 6


@dataclass(frozen=True, slots=True)
class Plate:
    """A result on the front page, a picture or a curve, and the page that it is of."""

    card: Card
    gallery: Gallery | None
    picture: Picture | None
    curve: Plot | None


@dataclass(frozen=True, slots=True)
class Front:
    r"""
    ## What the template gets

    `papers` are pages, `measured`, `holds` and `once` are claims, counted; `references` are the
    libraries that tests compare papers with, each with how many. `groups` are shown with
    their pages, `around` by their titles.
    """

    papers: int
    measured: int
    holds: int
    once: int
    references: tuple[tuple[str, int], ...]
    courses: tuple[Course, ...]
    plates: tuple[Plate, ...]
    groups: tuple[Group, ...]
    around: tuple[tuple[Group, ...], ...]


def compose_front(
    groups: Iterable[Group],
    results: Mapping[str, Results],
    references: Mapping[str, tuple[str, ...]],
    courses: tuple[Course, ...],
) -> Front:
    groups = tuple(groups)
    cards = [card for group in groups for card in group.cards]
    verdicts = [verdict for card in cards for verdict in card.verdicts]
    about = [card for card in cards if card.paper]
    shown = tuple(group for group in groups if group.has_papers) or groups
    rest = (group for group in groups if group not in shown)
    papers = {card.path for card in about}
    compared = ((name, len(papers & {*pages})) for name, pages in references.items())
    libraries = sorted(filter(lambda item: item[1], compared), key=lambda item: (-item[1], item[0]))
    return Front(
        papers=len(about),
        measured=len(verdicts),
        holds=verdicts.count("holds"),
        once=verdicts.count("seen once"),
        references=tuple(libraries),
        courses=courses,
        plates=tuple(_plates(shown, results)),
        groups=shown,
        around=tuple(
            tuple(sorted(near, key=lambda group: "/" in group.folder))
            for _, near in itertools.groupby(rest, lambda group: group.folder.partition("/")[0])
        ),
    )


def _plates(groups: Iterable[Group], results: Mapping[str, Results]) -> list[Plate]:
    """
    One of each topic, then a second of each; within a topic those with a picture first. A lone
    curve compares nothing.
    """
    topics = []
    for group in groups:
        found = [plate for card in group.cards if (plate := _plate(card, results.get(card.path)))]
        topics.append(sorted(found, key=lambda plate: plate.picture is None))
    rounds = itertools.zip_longest(*topics)
    return [plate for each in rounds for plate in each if plate][:PLATES]


def _plate(card: Card, results: Results | None) -> Plate | None:
    if results and results.galleries:
        gallery = results.galleries[0]
        folder = posixpath.dirname(card.url)
        first = gallery.pictures[0]
        picture = replace(first, url=posixpath.join(folder, first.url))
        return Plate(card, gallery, picture, None)
    figures = results.figures if results else ()
    compared = next((figure for figure in figures if len(figure.lines) > 1), None)
    return Plate(card, None, None, compared) if compared else None
