r"""
# Elsewhere

The cells of a page as they are read away from the site, by whatever reads Markdown: addresses lead
to the site, formulas stand between dollars, and no other sign means more than it did on the page.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from urllib.parse import quote, urljoin

from site_builder.link.links import EXTERNAL, Linker
from site_builder.read.cells import Cell
from site_builder.read.document import Document
from site_builder.render.pieces import Link
from site_builder.render.scan import Scan
from site_builder.render.shelf import LINE, MARK, Aside, Shelf

# What means something to Markdown, in words that are no Markdown.
SIGNS = re.compile(r"[\\`*_<\[$]")
TARGET = re.compile(
    rf"(?P<before>\]\([ ]*<?|^[ ]*\[[^\[\]\n]+\]:[ ]*<?){LINE.pattern}"
    r"(?P<address>(?:[^()\s<>]|\([^()\s]*\))*)",
    re.MULTILINE,
)
TAG = re.compile(r' data-line="(?P<line>\d+)"(?P<attributes>[^<>]*>)')
ATTRIBUTE = re.compile(r"""(?<=\s)(href|src)(\s*=\s*)(["'])(.*?)\3""", re.IGNORECASE)
# The word by which other pages link to a heading.
ANCHOR = re.compile(
    rf"^(#{{1,6}} .*?)[ ]*\{{:?[ ]*#{LINE.pattern}\w[^{{}}\n]*\}}[ ]*$", re.MULTILINE
)
APART = re.compile(r"\n{3,}")


@dataclass(frozen=True, slots=True)
class Place:
    r"""
    ## Where it will be read

    `base` is the address of the site, empty where nobody knows it, and `ending` what the addresses
    of pages end with.
    """

    base: str
    ending: str = ".html"


def carry(
    document: Document, cells: tuple[Cell, ...], linker: Linker, place: Place
) -> tuple[Cell, ...]:
    r"""
    ## Carry

    All cells of a page, with one before them that says what it is.
    """
    carrier = _Carrier(document, linker, place)
    first = Cell("prose", carrier.opening(), 1)
    return first, *(
        replace(cell, text=carrier.prose(cell), markup="markdown") if cell.kind == "prose" else cell
        for cell in cells
    )


class _Carrier:
    def __init__(self, document: Document, linker: Linker, place: Place) -> None:
        self.document, self.linker, self.place = document, linker, place

    def opening(self) -> str:
        """The title, and what front matter says for readers."""
        document, meta, base = self.document, self.document.meta, self.place.base
        parts = [f"# {plainly(document.title)}", self._markdown(meta.summary, 1)]
        if meta.paper:
            paper, (_, address) = plainly(meta.paper), meta.link
            title = f"[{paper}]({address})" if address else paper
            people, year = plainly(", ".join(meta.authors)), str(meta.year or "")
            parts.append(", ".join(filter(None, (people, f"*{title}*", year))) + ".")
        if base:
            parts.append(f"Its page: <{base}{document.url}>")
        if meta.figure:
            address = self._address(quote(meta.figure.file), 1)
            parts.append(f"![{plainly(meta.figure.alt)}]({address})")
            parts.append(self._markdown(meta.figure.caption, 1))
        return "\n\n".join(filter(None, parts))

    def prose(self, cell: Cell) -> str:
        if cell.markup == "markdown":
            return self._markdown(cell.text, cell.line)
        # Nothing reads it but who wrote it, and whoever is used to it.
        fence = "```"
        while fence in cell.text:
            fence += "`"
        return f"{fence}rst\n{cell.text}\n{fence}"

    def _markdown(self, text: str, line: int) -> str:
        shelf = Shelf()
        marked = APART.sub("\n\n", ANCHOR.sub(r"\1", Scan(text, line, shelf).marked)).strip("\n")
        # What begins a formula is on the shelf.
        marked = re.sub(r"(?<!\\)\$", r"\\$", marked)
        marked = TARGET.sub(lambda found: self._target(found, shelf), marked)
        marked = LINE.sub("", TAG.sub(self._tag, marked))
        return MARK.sub(lambda mark: written(shelf[mark[1]]), marked)

    def _target(self, found: re.Match[str], shelf: Shelf) -> str:
        address = MARK.sub(lambda mark: shelf[mark[1]].written, found["address"])
        return found["before"] + self._address(address, int(found[2]))

    def _tag(self, found: re.Match[str]) -> str:
        line = int(found["line"])

        def moved(given: re.Match[str]) -> str:
            return f"{given[1]}{given[2]}{given[3]}{self._address(given[4], line)}{given[3]}"

        return ATTRIBUTE.sub(moved, found["attributes"].replace("data-class", "class"))

    def _address(self, written: str, line: int) -> str:
        """As it will be found from where the text is read."""
        if EXTERNAL.match(written) or not written:
            return written
        address = self.linker.address(Link(written, line, False))
        inside, mark, anchor = address.partition("#")
        if inside.endswith(".html") and address in self.linker.named:
            inside = inside.removesuffix(".html") + self.place.ending
        if not self.place.base:
            return inside + mark + anchor
        own = self.document.url.removesuffix(".html") + self.place.ending
        return urljoin(self.place.base + own, inside + mark + anchor)


def written(aside: Aside) -> str:
    """What was put aside as any Markdown knows it."""
    if aside.kind == "character":
        return SIGNS.sub(r"\\\g<0>", aside.text)
    if aside.kind == "fence" and aside.written[0] not in "`~":
        return f"```{aside.language}\n{aside.text}```"
    if aside.kind == "formula" and aside.written[0] != "$":
        return f"${aside.text}$"
    if aside.kind == "display" and aside.written.startswith("\\["):
        return f"$${aside.text}$$"
    return aside.written


def plainly(text: str) -> str:
    """Words in which no sign is Markdown."""
    return SIGNS.sub(r"\\\g<0>", " ".join(text.split()))
