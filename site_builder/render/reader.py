r"""
# The reader

Sanitised HTML is read once, from its beginning to its end, into pieces. What a page must know of
it is found here and nowhere else: headings, anchors, addresses, names, and where what was put on
the [shelf](shelf.py) may stand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape, unescape
from html.parser import HTMLParser

from markupsafe import Markup

from site_builder.read.sections import RESERVED
from site_builder.render.code import highlight_fence
from site_builder.render.context import Context
from site_builder.render.math import MathError, typeset
from site_builder.render.pieces import (
    SEEN_WHOLE,
    Display,
    Heading,
    HtmlBlock,
    Link,
    Name,
    Piece,
    merged,
    only_blocks,
)
from site_builder.render.shelf import MARK, Aside, Shelf
from site_builder.render.tags import HEADINGS, VOID

# A text opens with the words of the first of these, but for what is in one of those.
OPENS = frozenset({"p", "li", "dd", "dt"})
UNSAID = frozenset({*HEADINGS, "table", "pre"})
NAME = re.compile(r"([A-Za-z_]\w*)((?:\.\w*)*)(?:\(\))?")
# As Markdown names the two ends of a footnote.
FOOTNOTE = re.compile(r"(#?)(fn(?:ref\d*)?):(.+)")


class Reader(HTMLParser):
    def __init__(self, shelf: Shelf, line: int, key: str, context: Context) -> None:
        super().__init__(convert_charrefs=False)
        self.shelf, self.line, self.key, self.context = shelf, line, key, context
        self.pieces: list[Piece] = []
        self.headings: list[Heading] = []
        self.anchors: list[tuple[int, str]] = []
        self.mistakes: list[tuple[int, str]] = []
        self.length: float = 0
        self.math = False
        # Tags that are open, each with its place among the pieces and what closes it.
        self._open: list[tuple[str, int, str]] = []
        # The heading that is open: its level, its anchor, and its words without their links.
        self._heading: tuple[int, str, list[str]] | None = None
        # The words of the first paragraph, once it has ended, and until then those so far.
        self.opening = ""
        self._words: list[str] = []
        # What a block of code holds, while it holds nothing but blocks.
        self._blocks: list[Aside] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        start, shown, before, after = len(self.pieces), tag, "", ""
        if tag in {"li", "br"}:
            self._end_words(tag)
        if tag in HEADINGS:
            level = self.context.outline.place(int(tag[1]))
            shown = f"h{level}"
            self._heading = level, dict(attrs).get("id") or "", []
        elif tag == "table":
            before, after = '<div class="table">', "</div>"
        elif tag == "pre":
            self._blocks = []
        elif self._heading and tag not in {"a", "img"}:
            self._heading[2].append(f"<{tag}>")
        if tag in {"table", "pre", "img"}:
            self.length = SEEN_WHOLE
        self.pieces += merged([f"{before}<{shown}", *self._attributes(tag, attrs), ">"])
        if tag not in {*VOID, "input"}:
            self._open.append((tag, start, f"</{shown}>{after}"))

    def _attributes(self, tag: str, attrs: list[tuple[str, str | None]]) -> Iterator[Piece]:
        values = {key: self._written(value or "") for key, value in attrs}
        given = values.pop("data-line", "")
        line = int(given) if given.isdecimal() else self.line
        for key, value in values.items():
            if note := FOOTNOTE.fullmatch(value):
                value = f"{note[1]}{self.key}-{note[2]}-{note[3]}"
            elif key == "id" and (value.startswith("-") or RESERVED.fullmatch(value)):
                message = f"the anchor #{value} is the page's own; choose another word"
                self.mistakes.append((line, message))
                continue
            elif key == "id":
                self.anchors.append((line, value))
            elif key == "class" and not value:
                continue
            elif key in {"href", "src"}:
                yield from (f' {key}="', Link(value, line, tag == "img"), '"')
                continue
            yield f' {key}="{escape(value)}"'

    def handle_endtag(self, tag: str) -> None:
        _, start, closing = self._open.pop()
        if tag in OPENS:
            self._end_words(tag)
        if tag == "pre" and self._blocks:
            # An example further in is an example, and no code around one.
            self.pieces[start:] = map(self._shown, self._blocks)
            return
        if tag == "p" and (blocks := only_blocks(self.pieces[start + 1 :])):
            # A block leaves the paragraph that Markdown made of its mark.
            self.pieces[start:] = blocks
            return
        self._put(closing, title=tag not in {"a", *HEADINGS})
        if tag == "code" and not self._is_in("pre"):
            html = "".join(map(str, self.pieces[start:]))
            self.pieces[start:] = [self._name(html, "".join(map(str, self.pieces[start + 1 : -1])))]
        elif self._heading and tag in HEADINGS:
            level, anchor, title = self._heading
            self.headings.append(Heading(level, Markup("".join(title)), anchor))
            self._heading = None

    def handle_data(self, data: str) -> None:
        done = 0
        for mark in MARK.finditer(data):
            self._text(data[done : mark.start()])
            done = mark.end()
            aside = self.shelf[mark[1]]
            if not self._is_in("pre"):
                self._put(self._shown(aside))
                self._say("" if aside.kind == "fence" else _as_words(aside))
            elif self._blocks is not None and aside.is_block:
                self._blocks.append(aside)
                self._put(escape(aside.written))
            else:
                self._text(escape(aside.written))
        self._text(data[done:])

    def handle_entityref(self, name: str) -> None:
        self._text(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self._text(f"&#{name};")

    def _text(self, html: str) -> None:
        if not html:
            return
        if not html.isspace():
            self._blocks = None
        self.length += len(html)
        self._put(html)
        self._say(unescape(html))

    def _say(self, words: str) -> None:
        """Take them for the opening, if that has not ended and they are of it."""
        if not self.opening:
            tags = {tag for tag, _, _ in self._open}
            is_note = {"sup", "a"} <= tags
            if not tags.isdisjoint(OPENS) and tags.isdisjoint(UNSAID) and not is_note:
                self._words.append(words)

    def _end_words(self, tag: str) -> None:
        """A term is part of what is said of it, and a line of its paragraph."""
        words = " ".join("".join(self._words).split())
        if tag in {"br", "dt"}:
            self._words.append(" ")
        elif words and not self.opening:
            self.opening = words

    def _put(self, piece: Piece, title: bool = True) -> None:
        self.pieces.append(piece)
        if self._heading and title:
            self._heading[2].append(piece.html if isinstance(piece, Name) else str(piece))

    def _is_in(self, tag: str) -> bool:
        return any(tag == other for other, _, _ in self._open)

    def _written(self, value: str) -> str:
        """In an attribute, what was put aside stays as it was written."""
        return MARK.sub(lambda mark: self.shelf[mark[1]].written, value)

    def _name(self, html: str, text: str) -> Piece:
        match = NAME.fullmatch(text)
        if not match or self._is_in("a"):
            return html
        return Name(self.context.names.get(match[1], match[1]) + match[2], html)

    def _shown(self, aside: Aside) -> Piece:
        self.length += len(aside.text)
        message = aside.text
        if aside.kind == "character":
            return escape(aside.text, quote=False)
        if aside.kind == "code":
            html = f"<code>{escape(aside.text, quote=False)}</code>"
            return self._name(html, aside.target or aside.text)
        if aside.kind == "fence":
            self.length = SEEN_WHOLE
            return HtmlBlock(highlight_fence(aside.text, aside.language))
        if aside.kind != "mistake":
            try:
                is_display = aside.kind == "display"
                shared = self.context
                asked = aside.text, is_display, shared.macros, shared.symbols
                html, shared.macros = typeset(*asked)
                self.math = True
                return Display(html) if is_display else html
            except MathError as error:
                message = str(error)
        self.mistakes.append((aside.line, message))
        return f'<code class="error">{escape(aside.written)}</code>'


def _as_words(aside: Aside) -> str:
    return aside.written if aside.kind == "mistake" else aside.text
