r"""
# Our Markdown

What differs from Python-Markdown's own: a link is strict, so that a call or a shape is none; a
heading has a blank behind its signs; no cell of a table goes missing.
"""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element

from markdown import Markdown
from markdown.blockprocessors import HashHeaderProcessor
from markdown.extensions import Extension
from markdown.extensions.tables import TableProcessor
from markdown.inlinepatterns import InlineProcessor
from markdown.treeprocessors import Treeprocessor

from site_builder.render.shelf import LINE
from site_builder.render.tags import HEADINGS

MARKED = rf"(?:{LINE.pattern.replace('(', '(?:')})?+"
# Brackets two deep in brackets. A link does not begin in the middle of an expression.
TEXT = r"\[(?P<text>(?:[^\[\]]|\[(?:[^\[\]]|\[[^\[\]]*+\])*+\])*+)\]"
BEGINS = r"(?<![A-Za-z0-9_\])!" "\ue001])"
# An address has no blank, and a comma only where it is of another site.
TARGET = rf"""(?x:
    \(\s*(?: <(?P<angled>{MARKED}[^<>\n]+)>
           | (?P<plain>{MARKED}(?:(?=https?:)|(?![^()\s]*,))(?:[^()\s<>]|\([^()\s]*\))++) )
    (?:\s+(?:"(?P<double>[^"]*+)"|'(?P<single>[^']*+)'))?\s*\)
)"""
# What follows the text of a link: its target, the label of a definition, or nothing, where the text
# is that label.
TAILS = {"link": TARGET, "reference": r"[ ]?\[(?P<label>[^\[\]]*+)\]", "short_reference": ""}
# A sign that Markdown takes for escaped, in an address that goes up as in Windows: `..\..\x`.
UP = re.compile(r"(?:(?<=\.\.)|(?<=\x03\.))\x02(\d+)\x03")
HEADING = re.compile(
    r"(?:^|\n)(?P<level>#{1,6})[ ]+(?P<header>[^\n]*?)(?:(?<=[ ])#+[ ]*|(?<![ ])[ ]*|)(?:\n|$)"
)
ANCHOR = re.compile(rf"(?<![ ])[ ]*\{{:?[ ]*#(?P<word>{MARKED}\w[\w.:-]*)[^{{}}]*\}}[ ]*$")


class Dialect(Extension):
    """The differences, as Python-Markdown's own points of extension."""

    def extendMarkdown(self, md: Markdown) -> None:
        # Code has been taken out, and beside formulas a dollar is escaped.
        md.inlinePatterns.deregister("backtick")
        md.ESCAPED_CHARS.append("$")
        for name in ("image_link", "image_reference", "short_image_ref"):
            md.inlinePatterns.deregister(name)
        for place, (name, tail) in enumerate(TAILS.items()):
            for picture, begins in (("", BEGINS), ("image-", "!")):
                link = _Link(begins + TEXT + tail, md)
                md.inlinePatterns.register(link, picture + name, 170 - place - len(picture))
        md.treeprocessors.register(_Anchors(md), "anchors", 30)
        md.parser.blockprocessors.register(_Headings(md.parser), "hashheader", 70)
        md.parser.blockprocessors.register(
            _Table(md.parser, {"use_align_attribute": False}), "table", 75
        )


class _Link(InlineProcessor):
    """A link or a picture; its address begins with the mark of its line."""

    ANCESTOR_EXCLUDES = ("a",)

    def handleMatch(  # type: ignore[override]
        self, m: re.Match[str], data: str
    ) -> tuple[Element | None, int | None, int | None]:
        found = m.groupdict()
        marked, title = (
            found.get("angled") or found.get("plain"),
            found.get("double") or found.get("single"),
        )
        if not marked:
            label = " ".join((found.get("label") or m["text"]).lower().split())
            marked, title = self.md.references.get(label, (None, None))
        if not marked:
            return None, None, None
        line = LINE.match(marked)
        picture = m[0].startswith("!")
        element = Element("img" if picture else "a")
        address = UP.sub(_written, self.unescape(LINE.sub("", marked)))
        element.set("src" if picture else "href", address)
        if picture:
            element.set("alt", self.unescape(m["text"]))
        else:
            element.text = m["text"]
        if title:
            element.set("title", self.unescape(title))
        if line:
            element.set("data-line", line[1])
        return element, m.start(), m.end()


def _written(escaped: re.Match[str]) -> str:
    return "\\" + chr(int(escaped[1]))


class _Anchors(Treeprocessor):
    """`## Heading {#word}` has the anchor `word`."""

    def run(self, root: Element) -> None:
        for element in root.iter():
            match = ANCHOR.search(element.text or "") if element.tag in HEADINGS else None
            if match:
                element.text = str(element.text)[: match.start()]
                element.set("id", LINE.sub("", match["word"]))
                if line := LINE.match(match["word"]):
                    element.set("data-line", line[1])


class _Headings(HashHeaderProcessor):
    """`#5` is no heading, and the title of `## Why F#` ends in its sign."""

    RE = HEADING


class _Table(TableProcessor):
    """A row that has more cells than the head would lose them: then there is no table."""

    def test(self, parent: Element, block: str) -> bool:
        if not super().test(parent, block):
            return False
        split = self._split_row  # type: ignore[attr-defined]
        cells = (split(row.strip(" ")) for row in block.split("\n")[2:])
        return all(len(row) <= len(self.separator) for row in cells)

    def run(self, parent: Element, blocks: list[str]) -> None:
        """A cell of the head that is left empty heads nothing: it is a cell as any other."""
        super().run(parent, blocks)
        for cell in list(parent[-1].iter("th")):
            if not LINE.sub("", cell.text or "").strip():
                cell.tag = "td"
