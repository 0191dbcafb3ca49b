r"""
# Inline

A line of front matter: its code and its formulas are shown as those in prose are.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from html import escape

from markupsafe import Markup

from site_builder.problem import Problem
from site_builder.read.document import Document
from site_builder.read.sections import Prose
from site_builder.read.translation import Line
from site_builder.render.context import Context
from site_builder.render.kept import beside
from site_builder.render.pieces import Link, Name, Rendered
from site_builder.render.prose import render

# Of a claim, a deviation and a mistake, what may be written with code and formulas.
WRITTEN = {
    "claims": ("what", "paper", "note"),
    "deviations": ("what", "paper", "ours", "others", "matters"),
    "mistakes": ("what",),
    "worked": ("told",),
}


@functools.lru_cache(maxsize=4096)
def _rendered(text: str) -> Rendered:
    return render(Prose(text, 1), "line", Context())


def inline(text: str) -> Markup:
    """The HTML of a line, without a paragraph around it."""
    html = ""
    for piece in _rendered(text).pieces:
        if isinstance(piece, Link):
            html += escape(piece.address)
        else:
            html += piece.html if isinstance(piece, Name) else piece
    done = Markup(html.removeprefix("<p>").removesuffix("</p>"))
    return beside(done, text.kept) if isinstance(text, Line) else done


def lines_of(document: Document) -> Iterator[tuple[int, Rendered]]:
    """All such lines of a document, each with where it stands."""
    meta = document.meta
    if meta.figure:
        yield meta.line("figure", "caption"), _rendered(meta.figure.caption)
    for key, written in WRITTEN.items():
        for at, item in enumerate(getattr(meta, key)):
            for name in written:
                yield meta.line(key, at), _rendered(getattr(item, name))


def flaws(document: Document) -> list[Problem]:
    return [
        Problem(document.path, line, message)
        for line, rendered in lines_of(document)
        for _, message in rendered.mistakes
    ]
