r"""
# Paintings

What stands where on a [poster](poster.py). Those who show it want pixels, of one size, and
[paint](../publish/paint.py) makes them.
"""

from __future__ import annotations

import base64
import functools
import re
from dataclasses import dataclass
from xml.parsers import expat

from markupsafe import Markup

from site_builder.link.figure import Figure
from site_builder.link.lettering import writable
from site_builder.read.fonts import drawable

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
class Hung:
    r"""
    ## A figure in its place

    Its upper left corner and how many times as large: of one of ours the inside, of another the
    whole file as an address.
    """

    left: float
    top: float
    times: float
    width: int
    height: int
    html: Markup | None = None
    href: str = ""


@dataclass(frozen=True, slots=True)
class Painting:
    r"""
    ## What is painted

    Words on the left: whose page it is, its title in lines, and more in small. On the right the
    figures.
    """

    above: str
    title: tuple[str, ...] = ()
    size: int = SIZES[0]
    below: tuple[str, ...] = ()
    figures: tuple[Hung, ...] = ()


def paint_page(
    title: str, told: str, site: str, figures: list[tuple[Figure, bytes]]
) -> Painting | None:
    r"""
    ## Of a page

    Its figures beside each other, each with its file, which matters where it is not one of ours.
    None where we do not have its letters, or the painter would leave out a part of it.
    """
    if not figures or not all(_paintable(*each) for each in figures):
        return None
    tall = max(figure.height for figure, _ in figures)
    gaps = EDGE * (len(figures) - 1)
    wide = sum(figure.width for figure, _ in figures)
    times = min((WIDEST - gaps) / wide, (HEIGHT - 2 * EDGE) / tall)
    left = WIDTH - EDGE - times * wide - gaps
    size, lines = _lines(title, left - LEFT - EDGE)
    if not lines:
        left = (WIDTH - times * wide - gaps) / 2
    hung = []
    for figure, data in figures:
        hung.append(_hang(figure, data, left, times))
        left += times * figure.width + EDGE
    return Painting(
        above=site if writable(site) else "",
        title=lines,
        size=size,
        below=(told,) if lines and told and writable(told) else (),
        figures=tuple(hung),
    )


def _paintable(figure: Figure, data: bytes) -> bool:
    words = _said(data) if figure.html is None else figure.html.striptags()
    known = words is not None and drawable("".join(words.split()))
    return known and bool(figure.width and figure.height)


def _hang(figure: Figure, data: bytes, left: float, times: float) -> Hung:
    width, height, html = figure.width, figure.height, figure.html
    top = (HEIGHT - times * height) / 2
    if html is None:
        href = "data:image/svg+xml;base64," + base64.b64encode(data).decode()
        return Hung(left, top, times, width, height, href=href)
    return Hung(left, top, times, width, height, Markup(FACE.sub(r"\1under\2\1face\2", str(html))))


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
        if len(lines) <= LINES and max(map(len, lines)) <= most and writable("".join(lines)):
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
