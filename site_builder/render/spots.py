r"""
# Addresses and anchors

What in a text is looked at but stays: addresses, the anchors of headings, definitions of links and
of footnotes, [tags](tags.py). An address gets a mark with its line, since it is the last stage at
which a text has lines.
"""

from __future__ import annotations

import re
from collections import Counter

from site_builder.render.shelf import Shelf, line_mark
from site_builder.render.tags import TAG, kept, real_tags

ADDRESS = re.compile(r"\]\([ ]*(?:<(?=[^<>\n]*>[ ]*[)\"']))?")
DEFINITION = re.compile(r"\[(?P<label>[^\[\]\n]+)\]:[ ]*(?:<(?=[^<>\s]*>))?")
LABEL = re.compile(r"\[([^\[\]\n]+)\]")
ANCHOR = re.compile(r"\{:?[ ]*#(?=\w[^{}\n]*\}[ ]*$)", re.MULTILINE)
LINK = re.compile(r"<(?:https?://[^<>\s]*|[\w.+-]+@[\w-]+(?:\.[\w-]+)+)>")


class Spots:
    r"""
    ## The spots of one text

    Each method gets the place of a character and says what stands there instead, and up to where.
    Whether a tag is closed, and a definition referred to, is known only at the end.
    """

    def __init__(self, text: str, shelf: Shelf) -> None:
        self.text = text
        self.shelf = shelf
        self._tags: list[re.Match[str]] = []
        self._definitions: list[re.Match[str]] = []

    def take(self, at: int, line: int, is_first: bool) -> tuple[str, int]:
        """`is_first` says that only a few blanks stand before it on its line."""
        sign = self.text[at]
        if sign == "<":
            return self._tag(at, line)
        if sign == "[" and is_first and (match := DEFINITION.match(self.text, at)):
            self._definitions.append(match)
            is_note = match["label"].startswith("^")
            return match[0] + ("" if is_note else line_mark(line)), match.end()
        pattern = {"]": ADDRESS, "{": ANCHOR}.get(sign)
        match = pattern.match(self.text, at) if pattern else None
        return (match[0] + line_mark(line), match.end()) if match else (sign, at + 1)

    def _tag(self, at: int, line: int) -> tuple[str, int]:
        if link := LINK.match(self.text, at):
            return link[0], link.end()
        if tag := TAG.match(self.text, at):
            self._tags.append(tag)
            return kept(tag, line), tag.end()
        return self.shelf.character("<"), at + 1

    def settle(self) -> dict[int, str]:
        """What stands at a place after all."""
        real = real_tags(self._tags)
        settled = {
            tag.start(): self.shelf.character(tag[0])
            for tag in self._tags
            if tag.start() not in real
        }
        labels = map(_label, LABEL.findall(self.text) if self._definitions else ())
        uses = Counter(labels)
        uses.subtract(_label(match["label"]) for match in self._definitions)
        return settled | {
            match.start(): self.shelf.character("[") + match[0][1:]
            for match in self._definitions
            if uses[_label(match["label"])] < 1
        }


def _label(written: str) -> str:
    return " ".join(written.lower().split())
