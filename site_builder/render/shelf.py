r"""
# The shelf

Code and formulas are no Markdown, and neither is what reStructuredText makes of them HTML of an
author's. They are put on a shelf before a text is read, each leaves a mark, and
[whoever reads the HTML](html.py) puts them back: rendered, or as they were written where only
text may stand.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

# A mark is a number between the first two of these, a line's between the third and the second.
OURS = "\ue000-\ue002"
MARK = re.compile("\ue000(\\d+)\ue001")
LINE = re.compile("\ue002(\\d+)\ue001")

Kind = Literal["code", "fence", "formula", "display", "character", "mistake"]


@dataclass(frozen=True, slots=True)
class Aside:
    r"""
    ## Something put aside

    `text` is what is rendered, and of a mistake what is wrong; `written` is what its author wrote.
    Code that stands for a name may stand for another than its text: `target`.
    """

    kind: Kind
    text: str
    written: str
    line: int
    language: str = ""
    target: str = ""

    @property
    def is_block(self) -> bool:
        return self.kind in {"fence", "display"}


class Shelf:
    """All that was put aside from one text."""

    def __init__(self) -> None:
        self.asides: list[Aside] = []
        self._characters: dict[str, str] = {}

    def put(self, aside: Aside) -> str:
        """The mark that stands for it."""
        self.asides.append(aside)
        return f"\ue000{len(self.asides) - 1}\ue001"

    def character(self, text: str) -> str:
        """The mark of characters that would mean something to Markdown, and should not."""
        if text not in self._characters:
            self._characters[text] = self.put(Aside("character", text, text, 0))
        return self._characters[text]

    def __getitem__(self, number: str) -> Aside:
        return self.asides[int(number)]


def line_mark(line: int) -> str:
    return f"\ue002{line}\ue001"
