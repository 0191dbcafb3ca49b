r"""
# Posters

What others show of a page when somebody links to it: its title and its figure, as a
[painting](painting.py). A page without a figure has what its first run drew, else the poster of the
site; a page about what changed has the figures of both.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from site_builder.link.cards import Card
from site_builder.link.figure import Figure
from site_builder.link.painting import HEIGHT, WIDTH, Painting, paint_page, paint_site
from site_builder.results.tables import Results

CHANGED = "what changed, part by part"


@dataclass(frozen=True, slots=True)
class Poster:
    """What the template of a page gets: an address on the site, a size, and what is to be seen."""

    url: str
    width: int
    height: int
    alt: str

    @property
    def is_large(self) -> bool:
        """Enough to stand above a link rather than beside it."""
        return self.width >= WIDTH // 2


@dataclass(frozen=True, slots=True)
class Posters:
    """
    The site's own, those of pages by their files' paths, those of pairs of pages by their own
    addresses, and what is painted, by address.
    """

    site: Poster | None = None
    pages: dict[str, Poster] = field(default_factory=dict)
    pairs: dict[str, Poster] = field(default_factory=dict)
    paintings: dict[str, Painting] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pair:
    """A page about what changed: its address, its title, and the paths of its two files."""

    url: str
    title: str
    paths: tuple[str, str]


def posters(
    title: str,
    tagline: str,
    cards: Mapping[str, Card],
    pairs: Iterable[Pair],
    figures: Mapping[str, Figure],
    results: Mapping[str, Results],
    pictures: Mapping[str, bytes],
) -> Posters:
    r"""
    ## All posters

    `pictures` has the files of figures by their paths. A picture that is pixels already is shown as
    it is.
    """
    files = {path: card.thumb.file for path, card in cards.items() if card.thumb}
    drawn = {
        path: (figure, pictures[files[path]])
        for path, figure in figures.items()
        if files.get(path, "").endswith(".svg")
    }
    pages, paintings = dict[str, Poster](), dict[str, Painting]()
    for path, card in cards.items():
        by = f"{card.authors}, {card.year}" if card.authors and card.year else card.authors
        url, figure = _address(card.url), figures.get(path)
        shown = [drawn[path]] if path in drawn else []
        if painting := paint_page(card.title, by, title, shown):
            pages[path] = Poster(url, WIDTH, HEIGHT, shown[0][0].alt)
            paintings[url] = painting
        elif figure and card.thumb and not shown:
            pages[path] = Poster(card.thumb.url, figure.width, figure.height, figure.alt)
        elif (found := results.get(path)) and found.galleries:
            pages[path] = _first(found, card.url)
    of_pairs = dict[str, Poster]()
    for pair in pairs:
        url, both = _address(pair.url), [path for path in pair.paths if path in drawn]
        if painting := paint_page(pair.title, CHANGED, title, [drawn[path] for path in both]):
            alt = " ".join(f"{cards[path].title}: {figures[path].alt}" for path in both)
            of_pairs[pair.url] = Poster(url, WIDTH, HEIGHT, alt)
            paintings[url] = painting
    if not (own := paint_site(title, tagline)):
        return Posters(None, pages, of_pairs, paintings)
    told = f"{title}: {tagline}" if tagline else title
    site = Poster(_address("index.html"), WIDTH, HEIGHT, told)
    return Posters(site, pages, of_pairs, {**paintings, site.url: own})


def _address(url: str) -> str:
    return f"static/posters/{url.removesuffix('.html')}.png"


def _first(results: Results, page: str) -> Poster:
    """What the first run drew, not as large as on the page, where each pixel is several."""
    first = results.galleries[0].pictures[0]
    url = posixpath.join(posixpath.dirname(page), first.url)
    return Poster(url, first.width // first.times, first.height // first.times, first.alt)
