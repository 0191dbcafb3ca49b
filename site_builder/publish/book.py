r"""
# The book

All pages that are about papers, or all where none is, as one EPUB 3: for readers offline, and for
those who read with their ears, since its formulas are MathML. A chapter stands at the address of
its page, so that links from one to another stay as they are. What they lead to besides is on the
site.

The one maintained library for such files would put its own licence on ours, and they are a few
lists in a ZIP file. The tests have them read by the checker of the W3C.
"""

from __future__ import annotations

import io
import mimetypes
import posixpath
import re
import uuid
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, unquote, urljoin

from site_builder.assets import BOOK_SHEET
from site_builder.link.cards import Card
from site_builder.link.page import Page
from site_builder.link.site import Site
from site_builder.publish.templates import render_book_part
from site_builder.publish.xhtml import to_xhtml

# Where it stands on the site.
BOOK = "book.epub"
CONTAINER = b"""<?xml version="1.0" encoding="UTF-8"?>
<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">
<rootfiles>
<rootfile full-path="book/book.opf" media-type="application/oebps-package+xml"/>
</rootfiles>
</container>
"""
# What every reader of books shows.
PICTURES = (".gif", ".jpeg", ".jpg", ".png", ".svg", ".webp")
ID = re.compile(r'\bid="([^"]*)"')
SHADES = re.compile(r"light-dark\(([^,()]*(?:\([^()]*\))?[^,()]*),[^()]*(?:\([^()]*\))?[^()]*\)")
MIXED = re.compile(r"color-mix\((?:[^()]|\([^()]*\))*\)")


@dataclass(frozen=True, slots=True)
class File:
    """A part of the book; `math` says that it has formulas, and `read` that it is a chapter."""

    name: str
    data: bytes
    math: bool = False
    read: bool = False

    @property
    def kind(self) -> str:
        if self.read:
            return "application/xhtml+xml"
        return mimetypes.guess_type(self.name)[0] or "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Chapter:
    """Its title, the address of its page, and its own in the book."""

    title: str
    page: str
    url: str


@dataclass(frozen=True, slots=True)
class Part:
    """Chapters under one heading of the contents, which may be a chapter itself."""

    title: str
    own: Chapter | None
    chapters: tuple[Chapter, ...]

    @property
    def all(self) -> tuple[Chapter, ...]:
        return (self.own, *self.chapters) if self.own else self.chapters


def parts_of(site: Site) -> tuple[Part, ...]:
    """Topics with papers, or all where there are none."""
    cards = {card.url: card for card in site.pages}
    groups = [group for group in site.groups if group.has_papers] or site.groups
    parts = []
    for group in groups:
        own = cards.get(group.url)
        chapters = tuple(map(_made, group.cards))
        parts.append(Part(group.title, _made(own) if own else None, chapters))
    return tuple(part for part in parts if part.all)


def _made(card: Card) -> Chapter:
    return Chapter(card.title, card.url, _chapter(card.url))


def render_book(
    pages: Iterable[Page], site: Site, parts: tuple[Part, ...], pictures: Mapping[str, bytes]
) -> bytes:
    r"""
    ## Render

    `pages` are those of the `parts`, in their order.
    """
    drawn = {card.url: card.thumb.file for card in site.pages if card.thumb}
    names = {chapter.url for part in parts for chapter in part.all}
    shown = set[str]()
    chapters: dict[str, str] = {}
    for page in pages:
        place = _Place(page.url, site.url, names, pictures, shown)
        figure = drawn.get(page.url, "") if page.figure else ""
        html = render_book_part("book.chapter.xml", page=page, site=site, figure=quote(figure))
        chapters[_chapter(page.url)] = to_xhtml(html, place.address)
    ids = {name: set(ID.findall(text)) for name, text in chapters.items()}
    files = [File("book.css", BOOK_SHEET.read_bytes())]
    for name, text in chapters.items():
        whole = render_book_part(
            "book.page.xml", body=_alive(name, text, ids), site=site, title=_title(parts, name),
            root="../" * name.count("/"),
        )  # fmt: skip
        files.append(File(unquote(name), whole.encode(), "<math" in text, True))
    for name in sorted(shown):
        data = pictures[name]
        files.append(File(name, _drawing(data) if name.endswith(".svg") else data))
    return _zipped(site, parts, files)


class _Place:
    r"""
    ## Where links lead

    As seen from a page: to another chapter, to a picture, or out of the book.
    """

    def __init__(
        self, url: str, base: str, names: set[str], pictures: Mapping[str, bytes], shown: set[str]
    ) -> None:
        self.url, self.base, self.names = url, base, names
        self.pictures, self.shown = pictures, shown

    def address(self, written: str, picture: bool) -> str:
        if re.match(r"[a-z][a-z0-9+.-]*:", written, re.IGNORECASE) or written.startswith("#"):
            return written
        path, mark, anchor = urljoin(f"/{self.url}", written).lstrip("/").partition("#")
        if _chapter(path) in self.names:
            return _relative(_chapter(path), self.url) + mark + anchor
        file = unquote(path)
        if picture:
            if file not in self.pictures or not file.lower().endswith(PICTURES):
                return ""
            self.shown.add(file)
            return _relative(path, self.url)
        return self.base + path + mark + anchor if self.base else ""


def _chapter(url: str) -> str:
    return url.removesuffix(".html") + ".xhtml"


def _relative(path: str, page: str) -> str:
    return posixpath.relpath(path, posixpath.dirname(page) or ".")


def _title(parts: tuple[Part, ...], name: str) -> str:
    return next(c.title for part in parts for c in part.all if c.url == name)


def _alive(name: str, text: str, ids: Mapping[str, set[str]]) -> str:
    """A line of code has no place of its own in a book: what leads to one leads to its chapter."""

    def mended(found: re.Match[str]) -> str:
        path, anchor = found[1], found[2]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(name), path)) if path else name
        if target not in ids or unquote(anchor) in ids[target]:
            return found[0]
        return f'href="{path or posixpath.basename(name)}"'

    return re.sub(r'href="((?:[^":#]*\.xhtml)?)#([^"]*)"', mended, text)


def _drawing(data: bytes) -> bytes:
    """In the light, and without what readers of books do not know yet."""
    text = SHADES.sub(r"\1", data.decode())
    return re.sub(r"\s+data-[\w-]+=\"[^\"]*\"", "", MIXED.sub("#fff", text)).encode()


def _zipped(site: Site, parts: tuple[Part, ...], files: list[File]) -> bytes:
    identity = uuid.uuid5(uuid.NAMESPACE_URL, f"{site.url}{site.title}")
    changed = datetime.fromisoformat(site.updated).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    told = {"site": site, "files": files, "identity": str(identity), "changed": changed}
    package = render_book_part("book.package.xml", **told)
    contents = render_book_part("book.contents.xml", site=site, parts=parts)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as book:

        def put(name: str, data: bytes, how: int = zipfile.ZIP_DEFLATED) -> None:
            # The same book has the same bytes, whenever it is made.
            book.writestr(zipfile.ZipInfo(name), data, how)

        put("mimetype", b"application/epub+zip", zipfile.ZIP_STORED)
        put("META-INF/container.xml", CONTAINER)
        put("book/book.opf", package.encode())
        put("book/contents.xhtml", contents.encode())
        for file in files:
            put(f"book/{file.name}", file.data)
    return made.getvalue()
