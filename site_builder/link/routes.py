r"""
# Routes

Where a page stands on the ways through the pages, and which pages those have.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from site_builder.link.cards import Card
from site_builder.link.links import relative
from site_builder.link.order import Link, Neighbours
from site_builder.problem import Problem
from site_builder.read.document import Document
from site_builder.read.routes import Route
from site_builder.read.sections import slug

# The page of all routes.
PATHS = "paths.html"


@dataclass(frozen=True, slots=True)
class Stop:
    """Of a page on a route: which of how many it is, and what comes before and after."""

    route: str
    slug: str
    url: str
    number: int
    count: int
    previous: Link | None
    next: Link | None


@dataclass(frozen=True, slots=True)
class Onward:
    """Where a page leads to when it has been read, and the routes that do so."""

    link: Link
    routes: tuple[str, ...] = ()
    slugs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Course:
    """A route as the indexes show it."""

    title: str
    slug: str
    summary: str
    cards: tuple[Card, ...]

    @property
    def minutes(self) -> int:
        return sum(card.minutes for card in self.cards)


def stops(routes: Iterable[Route], documents: Mapping[str, Document]) -> dict[str, list[Stop]]:
    r"""
    ## Stops

    For each path of a file its stops, in the order of the routes.
    """
    found: dict[str, list[Stop]] = defaultdict(list)
    for route in routes:
        pages = [documents[path] for path in route.pages if path in documents]
        for at, page in enumerate(pages):
            before, after = (
                [Link(other.title, relative(other.url, page.url)) for other in others]
                for others in (pages[max(at - 1, 0) : at], pages[at + 1 : at + 2])
            )
            anchor = slug(route.title)
            place = relative(f"{PATHS}#{anchor}", page.url)
            found[page.path].append(
                Stop(route.title, anchor, place, at + 1, len(pages),
                     next(iter(before), None), next(iter(after), None))
            )  # fmt: skip
    return found


def along(around: Neighbours, its: Sequence[Stop]) -> Neighbours:
    """On a route, before and after are those of the first; behind its end the order goes on."""
    if not its:
        return around
    return replace(around, previous=its[0].previous, next=its[0].next or around.next)


def onward(around: Neighbours, its: Sequence[Stop]) -> tuple[Onward, ...]:
    """One for each page that a route leads to; without any, what comes next in the order."""
    found: dict[str, list[Stop]] = defaultdict(list)
    for stop in its:
        if stop.next:
            found[stop.next.url].append(stop)
    ways = tuple(
        Onward(
            Link(same[0].next.title, url), tuple(s.route for s in same), tuple(s.slug for s in same)
        )
        for url, same in found.items()
        if same[0].next
    )
    return ways or ((Onward(around.next),) if around.next else ())


def courses(routes: Iterable[Route], cards: Mapping[str, Card]) -> tuple[Course, ...]:
    """Of each route the cards of its pages; one without any is none."""
    made = (
        Course(r.title, slug(r.title), r.summary, tuple(cards[p] for p in r.pages if p in cards))
        for r in routes
    )
    return tuple(course for course in made if course.cards)


def astray(routes: Iterable[Route], there: Container[str]) -> Iterator[Problem]:
    """What a route leads to that has no page."""
    for route in routes:
        for path, line in zip(route.pages, route.lines, strict=True):
            if path not in there:
                message = f"paths: there is no {path!r}; name a file that is rendered"
                yield Problem("pyproject.toml", line, message)
