r"""
# Posters

What others show of a page when somebody links to it: its title, and its figure. They want pixels,
of one size, so this says what stands where, and [paint](../publish/paint.py) makes the picture. A
page without a figure has what its first run drew, else the poster of the site.
"""

from __future__ import annotations

import base64
import functools
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.parsers import expat

from markupsafe import Markup

from site_builder.link.cards import Card
from site_builder.link.figure import Figure
from site_builder.read.fonts import drawable
from site_builder.results.tables import Results

WIDTH, HEIGHT = 1200, 630
# Where words begin, how far a figure stays from the edges, and the most that it may take.
LEFT, EDGE, WIDEST = 56, 40, 640
# The sizes of a title that are tried, the largest first, and how many lines it may have.
SIZES, LINES = (58, 46, 36), 5
# How much of its size a letter takes from left to right, in lines with many capitals.
ADVANCE = 0.53
# What the painter passes over, so that a part would be missing, and what takes it long.
BEYOND = re.compile(
    rb"<(?:\w+:)?(?:foreignObject|image|script|animate\w*|set)\b|\b(?:var|light-dark|color-mix)\("
)
LARGE = 1_000_000
# The form of a part, which covers what is behind it also where its colour is thin.
FACE = re.compile(r'(<\w+ class=")face("[^>]*></\w+>)')


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
class Painting:
    r"""
    ## What is painted

    Words on the left: whose page it is, its title in lines, and more in small. On the right the
    figure, with its upper left corner and how many times as large: of one of ours the inside, of
    another the whole file as an address.
    """

    above: str
    title: tuple[str, ...] = ()
    size: int = SIZES[0]
    below: tuple[str, ...] = ()
    left: float = WIDTH
    top: float = 0
    times: float = 1
    width: int = 0
    height: int = 0
    html: Markup | None = None
    href: str = ""


@dataclass(frozen=True, slots=True)
class Posters:
    """The site's own, those of pages by their files' paths, and what is painted, by address."""

    site: Poster | None = None
    pages: dict[str, Poster] = field(default_factory=dict)
    paintings: dict[str, Painting] = field(default_factory=dict)


def posters(
    title: str,
    tagline: str,
    cards: Mapping[str, Card],
    figures: Mapping[str, Figure],
    results: Mapping[str, Results],
    pictures: Mapping[str, bytes],
) -> Posters:
    r"""
    ## All posters

    `pictures` has the files of figures by their paths. A picture that is pixels already is shown as
    it is.
    """
    pages, paintings = dict[str, Poster](), dict[str, Painting]()
    for path, card in cards.items():
        figure, found = figures.get(path), results.get(path)
        file = card.thumb.file if card.thumb and figure else ""
        if figure and file.endswith(".svg"):
            by = f"{card.authors}, {card.year}" if card.authors and card.year else card.authors
            if painting := paint_page(card.title, by, title, figure, pictures[file]):
                url = f"static/posters/{card.url.removesuffix('.html')}.png"
                pages[path] = Poster(url, WIDTH, HEIGHT, figure.alt)
                paintings[url] = painting
        elif figure and card.thumb:
            pages[path] = Poster(card.thumb.url, figure.width, figure.height, figure.alt)
        if path not in pages and found and found.galleries:
            first = found.galleries[0].pictures[0]
            url = posixpath.join(posixpath.dirname(card.url), first.url)
            size = first.width // first.times, first.height // first.times
            pages[path] = Poster(url, *size, first.alt)
    if not (own := paint_site(title, tagline)):
        return Posters(None, pages, paintings)
    url = "static/posters/index.png"
    told = f"{title}: {tagline}" if tagline else title
    return Posters(Poster(url, WIDTH, HEIGHT, told), pages, {**paintings, url: own})


def paint_page(title: str, authors: str, site: str, figure: Figure, data: bytes) -> Painting | None:
    r"""
    ## Of a page

    `data` is the file of a figure that is not one of ours. None where we do not have its letters,
    or the painter would leave out a part of it.
    """
    width, height, html = figure.width, figure.height, figure.html
    words = _said(data) if html is None else html.striptags()
    if words is None or not drawable("".join(words.split())) or not (width and height):
        return None
    times = min(WIDEST / width, (HEIGHT - 2 * EDGE) / height)
    left = WIDTH - EDGE - times * width
    size, lines = _lines(title, left - LEFT - EDGE)
    if not lines:
        left = (WIDTH - times * width) / 2
    href = "" if html else "data:image/svg+xml;base64," + base64.b64encode(data).decode()
    return Painting(
        above=site if drawable(site) else "",
        title=lines,
        size=size,
        below=(authors,) if lines and authors and drawable(authors) else (),
        left=left,
        top=(HEIGHT - times * height) / 2,
        times=times,
        width=width,
        height=height,
        html=html and Markup(FACE.sub(r"\1under\2\1face\2", str(html))),
        href=href,
    )


def paint_site(title: str, tagline: str) -> Painting | None:
    r"""
    ## Of the site

    Its title, and what it says of itself.
    """
    size, lines = _lines(title, WIDTH - WIDEST - LEFT)
    _, below = _lines(tagline, WIDTH - WIDEST - LEFT, (28,))
    return Painting("", lines, size, below) if lines else None


def _lines(words: str, width: float, sizes: tuple[int, ...] = SIZES) -> tuple[int, tuple[str, ...]]:
    """Of these words the largest size at which they fit, and the lines; none where none does."""
    for size in sizes:
        most, lines = int(width / (size * ADVANCE)), [""]
        for word in words.split():
            if lines[-1] and len(lines[-1]) + 1 + len(word) > most:
                lines.append("")
            lines[-1] = f"{lines[-1]} {word}".strip()
        if len(lines) <= LINES and max(map(len, lines)) <= most and drawable("".join(lines)):
            return size, tuple(filter(None, lines))
    return SIZES[0], ()


@functools.lru_cache(maxsize=256)
def _said(svg: bytes) -> str | None:
    """The words of an SVG; none where the painter would not show all of it."""
    if len(svg) > LARGE or BEYOND.search(svg):
        return None
    found, inside = list[str](), list[str]()

    def say(text: str) -> None:
        if not {"style", "title", "desc", "metadata"}.intersection(inside):
            found.append(text)

    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda tag, _: inside.append(tag)
    parser.EndElementHandler = lambda _: inside.pop()
    parser.CharacterDataHandler = say
    try:
        parser.Parse(svg, True)
    except expat.ExpatError:
        return None
    return "".join(found)
