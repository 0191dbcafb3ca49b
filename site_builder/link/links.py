r"""
# Links

A name leads to its definition and a file's name to its page, across all pages. While a file is
rendered alone, what may lead elsewhere stays a [piece](../render/pieces.py) of its own; once all
files are known, the pieces are joined.
"""

from __future__ import annotations

import functools
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from html import escape
from urllib.parse import quote, unquote

from site_builder.problem import Problem
from site_builder.render.pieces import Link, Name, Piece
from site_builder.render.summary import Summary

EXTERNAL = re.compile(r"[a-z][a-z0-9+.-]*:|//", re.IGNORECASE)
# The anchor of a line of code.
LINE = re.compile(r"L\d+")


@dataclass(frozen=True)
class Targets:
    r"""
    ## Where names lead

    `names` maps dotted names to addresses on the site, and `aliases` the names that a module
    imports to what they stand for. `outside` has the addresses at which others document theirs.
    `said` and `users` are, by address, what is [said](previews.py) of a place and the titles and
    addresses of the pages whose code uses it. `pages` maps the paths of sources and of pages to
    addresses, `anchors` an address to the page's anchors, and `files` are the other files below the
    root.
    """

    names: dict[str, str]
    aliases: dict[str, str]
    pages: dict[str, str]
    anchors: dict[str, frozenset[str]]
    files: frozenset[str]
    outside: dict[str, str] = field(default_factory=dict)
    said: dict[str, Summary] = field(default_factory=dict)
    users: dict[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)

    def page(self, path: str) -> str:
        """The address of a page, by its source, by itself or by the folder whose index it is."""
        inside = posixpath.normpath(posixpath.join(path, "index.html"))
        return self.pages.get(path) or self.pages.get(inside, "")

    def name(self, dotted: str) -> str:
        """The address of a name; one that a package re-exports leads to where it is defined."""
        # Packages may import each other's names in a circle.
        for _ in range(8):
            if dotted in self.names:
                return self.names[dotted]
            head, dot, tail = dotted, "", ""
            while head and head not in self.aliases:
                head, _, last = head.rpartition(".")
                dot, tail = ".", last + dot + tail
            if not head:
                return self._outside(dotted)
            dotted = self.aliases[head] + dot + tail
        return ""

    def _outside(self, dotted: str) -> str:
        """A word alone may be anything, and what begins like one of our packages is ours."""
        root, dot, _ = dotted.partition(".")
        return self.outside.get(dotted, "") if dot and root not in self.own else ""

    def moved(self, to: Mapping[str, str]) -> Targets:
        """The same, where some pages have other addresses."""

        def there(url: str) -> str:
            page, mark, anchor = url.partition("#")
            return to.get(page, page) + mark + anchor

        return replace(
            self,
            names={name: there(url) for name, url in self.names.items()},
            pages={path: there(url) for path, url in self.pages.items()},
            anchors={there(url): anchors for url, anchors in self.anchors.items()},
            users={
                there(place): tuple((title, there(url)) for title, url in pages)
                for place, pages in self.users.items()
            },
        )

    @functools.cached_property
    def own(self) -> frozenset[str]:
        return frozenset(name.split(".")[0] for name in self.names)


@functools.lru_cache(maxsize=4096)
def relative(url: str, page: str) -> str:
    """`url` as seen from `page`; both are relative to the site's root."""
    path, mark, anchor = url.partition("#")
    if path == page and anchor:
        return f"#{anchor}"
    return posixpath.relpath(path, posixpath.dirname(page) or ".") + mark + anchor


@dataclass(slots=True)
class Linker:
    r"""
    ## Joining the pieces of one file

    `path` is the file, and `page` the page from which its addresses are seen. With the HTML come
    the files that it shows, what leads nowhere, the pages and places of ours that it leads to, and,
    of one passage, those of others.
    """

    path: str
    page: str
    targets: Targets
    shown: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    named: dict[str, str] = field(default_factory=dict)
    away: set[str] = field(default_factory=set)

    def begin(self) -> None:
        """
        Another passage: what others document is linked where a passage first names it, since it
        may do so in every line, and a link is a stop for those who read by keyboard.
        """
        self.away.clear()

    def users(self, anchor: str) -> Iterator[tuple[str, str]]:
        """The pages whose code uses what is defined at an anchor: title and address."""
        url = f"{self.targets.page(self.path)}#{anchor}"
        for title, page in self.targets.users.get(url, ()) if anchor else ():
            address = relative(page, self.page)
            self.named[address] = page
            yield title, address

    def join(self, pieces: tuple[Piece, ...]) -> str:
        return "".join(piece if isinstance(piece, str) else self._linked(piece) for piece in pieces)

    def _linked(self, piece: Link | Name) -> str:
        if isinstance(piece, Link):
            return escape(self.address(piece))
        url = self.targets.name(piece.target)
        if not url:
            return piece.html
        if EXTERNAL.match(url):
            if url in self.away:
                return piece.html
            self.away.add(url)
            return f'<a class="ref far" href="{escape(url)}">{piece.html}</a>'
        address = relative(url, self.page)
        self.named[address] = url
        return f'<a class="ref" href="{escape(address)}">{piece.html}</a>'

    def address(self, link: Link) -> str:
        if EXTERNAL.match(link.address):
            if link.picture:
                self._blame(link, "is asked from another site; put the picture beside the file")
            return link.address
        written, mark, anchor = link.address.partition("#")
        place = unquote(written.partition("?")[0])
        file = posixpath.normpath(posixpath.join(posixpath.dirname(self.path), place))
        file = file if place else self.path
        url = self.targets.page(file)
        if url:
            word = unquote(anchor)
            known = self.targets.anchors.get(url)
            if word and known is not None and not LINE.fullmatch(word) and word not in known:
                self._blame(link, f"leads nowhere: {file} has no anchor #{word}")
            address = relative(url + mark + anchor, self.page)
            self.named[address] = url + mark + anchor
            return address
        if file in self.targets.files:
            self.shown.append(file)
            return relative(quote(file), self.page) + mark + anchor
        reason = f"leads nowhere: there is no {file}; write an address from {self.path}"
        self._blame(link, reason)
        return link.address

    def _blame(self, link: Link, message: str) -> None:
        self.problems.append(Problem(self.path, link.line, f"{link.address} {message}"))
