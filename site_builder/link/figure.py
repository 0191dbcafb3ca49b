r"""
# The figure

The picture beside a page's abstract. One that our own tool drew is a part of the page, and leads to
its sections; any other is shown as it is.
"""

from __future__ import annotations

import functools
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup

from site_builder.link.links import relative
from site_builder.problem import Problem
from site_builder.read.blocks import parse
from site_builder.read.document import Document
from site_builder.read.drawing import Drawing, is_ours, read_drawing
from site_builder.read.fingerprint import fingerprint
from site_builder.read.pictures import size_of
from site_builder.read.source import Source, decode, read_file

KINDS = (".svg", ".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True, slots=True)
class Figure:
    r"""
    ## What the template gets

    `html` is the inside of a drawing of ours, with its `view`; of another picture there is the
    address. Words and caption are those of front matter.
    """

    alt: str
    caption: str
    width: int
    height: int
    url: str = ""
    view: str = ""
    html: Markup | None = None
    leads: bool = False


@dataclass(frozen=True, slots=True)
class Shown:
    """A page's figure, the files that go with it, what is wrong, and what only a check minds."""

    figure: Figure | None = None
    files: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    lapses: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Tree:
    """What a figure may rest on: the files without a page, and those with one."""

    root: Path
    others: Mapping[str, Path]
    documents: Mapping[str, Document]

    def read(self, path: str) -> bytes:
        return read_file(self.others[path], self.root)

    def mark(self, path: str) -> str:
        """The fingerprint of a file's code as it is now; none of what is not there."""
        if document := self.documents.get(path):
            return document.fingerprint
        try:
            source = decode(path, self.read(path))
        except (KeyError, OSError):
            return ""
        return _mark(source.text) if isinstance(source, Source) else ""


@functools.lru_cache(maxsize=256)
def _mark(text: str) -> str:
    return fingerprint(parse(text))


def show_figure(document: Document, anchors: frozenset[str], tree: Tree) -> Shown:
    r"""
    ## Show

    The figure of a page with these anchors, if its front matter names one.
    """
    given, folder = document.meta.figure, posixpath.dirname(document.path)
    if not given:
        return Shown()
    path = posixpath.normpath(posixpath.join(folder, given.file))
    blamed = functools.partial(Problem, document.path, document.meta.line("figure", "file"))
    if path not in tree.others:
        return Shown(problems=(blamed(f"figure: there is no {path}; draw it, or mend its name"),))
    if not path.lower().endswith(KINDS):
        return Shown(problems=(blamed(f"figure: {path} must be one of {', '.join(KINDS)}"),))
    try:
        data = tree.read(path)
    except OSError as error:
        message = f"cannot be read: {error.strerror}; mend or remove it"
        return Shown(problems=(Problem(path, 1, message),))
    size = size_of(data) or (0, 0)
    if not (path.endswith(".svg") and is_ours(data)):
        url = relative(quote(path), document.url)
        return Shown(Figure(given.alt, given.caption, *size, url), (path,))
    drawing = _drawing(data)
    flaws = drawing.mistakes or tuple(_dead(drawing, document.path, anchors))
    if flaws:
        return Shown(problems=tuple(Problem(path, *flaw) for flaw in flaws))
    view, html, leads = drawing.view, Markup(drawing.html), bool(drawing.links)
    figure = Figure(given.alt, given.caption, *size, "", view, html, leads)
    return Shown(figure, lapses=tuple(_stale(drawing, path, tree)))


# Between two builds a figure hardly ever changes.
_drawing = functools.lru_cache(maxsize=256)(read_drawing)


def _dead(drawing: Drawing, page: str, anchors: frozenset[str]) -> Iterator[tuple[int, str]]:
    for link in drawing.links:
        if link.anchor not in anchors:
            yield link.line, f"leads nowhere: {page} has no anchor #{link.anchor}; draw it again"


def _stale(drawing: Drawing, path: str, tree: Tree) -> Iterator[Problem]:
    now = {file: tree.mark(file) for file in drawing.drawn_from}
    if any(not mark and file in tree.documents for file, mark in now.items()):
        return  # A file that cannot be read is said first.
    changed = [file for file, mark in drawing.drawn_from.items() if now[file] != mark]
    if changed:
        yield Problem(path, 1, f"drawn before {', '.join(changed)} changed; draw it again")
