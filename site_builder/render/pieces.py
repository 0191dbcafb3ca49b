r"""
# Pieces

What rendering gives: finished HTML, and between it the few things that wait until other files are
known. Whoever joins the pages replaces those and reads no HTML.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import or_
from typing import NamedTuple

from markupsafe import Markup


@dataclass(frozen=True, slots=True)
class Link:
    """The address of a link, or of a picture, as it was written, and the line it stands on."""

    address: str
    line: int
    picture: bool


class Name(NamedTuple):
    """Code that leads to a definition if there is one of the dotted name `target`."""

    target: str
    html: str


class HtmlBlock(str):
    """HTML that must not stand in a paragraph."""

    __slots__ = ()


class Display(HtmlBlock):
    """A formula that may, and if it stands alone scrolls by itself."""

    __slots__ = ()


Piece = str | Link | Name


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of the page; `level` is that of its tag."""

    level: int
    title: Markup
    anchor: str


@dataclass(frozen=True, slots=True)
class Rendered:
    r"""
    ## What becomes of a piece of prose

    `anchors` are those set inside it and `mistakes` what is wrong with it, each with its line.
    `length` counts the characters that are seen; a table, a picture or a block of code is longer
    than any text. `math` says whether there are formulas. `openings` are the words of the first
    paragraph, with the line on which the prose begins.
    """

    pieces: tuple[Piece, ...] = ()
    headings: tuple[Heading, ...] = ()
    anchors: tuple[tuple[int, str], ...] = ()
    mistakes: tuple[tuple[int, str], ...] = ()
    length: float = 0
    math: bool = False
    openings: tuple[tuple[int, str], ...] = ()


# The length of what is looked at rather than read.
SEEN_WHOLE = math.inf


def merged(pieces: Iterable[Piece]) -> tuple[Piece, ...]:
    """The same with as few strings as can be."""
    every = list(pieces)
    if all(isinstance(piece, str) for piece in every):
        return ("".join(map(str, every)),)

    def runs() -> Iterator[Piece]:
        for is_html, run in groupby(every, key=lambda piece: isinstance(piece, str)):
            if is_html:
                yield "".join(map(str, run))
            else:
                yield from run

    return tuple(runs())


def joined(parts: list[Rendered]) -> Rendered:
    """Prose below prose."""
    apart = (("\n", *part.pieces) if index else part.pieces for index, part in enumerate(parts))
    return Rendered(
        merged(piece for pieces in apart for piece in pieces),
        tuple(heading for part in parts for heading in part.headings),
        tuple(anchor for part in parts for anchor in part.anchors),
        tuple(mistake for part in parts for mistake in part.mistakes),
        sum(part.length for part in parts),
        any(part.math for part in parts),
        tuple(opening for part in parts for opening in part.openings),
    )


def only_blocks(pieces: list[Piece]) -> list[Piece]:
    """What stands in a paragraph, if it is blocks and should stand there alone; else nothing."""
    blocks = [isinstance(piece, HtmlBlock) for piece in pieces]
    blank = (isinstance(piece, str) and piece.isspace() for piece in pieces)
    return list(map(_alone, pieces)) if any(blocks) and all(map(or_, blocks, blank)) else []


def _alone(piece: Piece) -> Piece:
    return f'<div class="math">{piece}</div>' if isinstance(piece, Display) else piece
