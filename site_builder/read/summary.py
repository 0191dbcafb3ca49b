r"""
# Summaries

What is said of a page, or of a place on it, in a line: where something leads there, and in an
index.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from site_builder.read.sections import HEADING, Section

# A summary stands in plain text: of a link, its words are left.
LINK = re.compile(r"!?\[([^\[\]]*)\](?:\([^()]*\)|\[[^\[\]]*\])")


class Summary(NamedTuple):
    """What a place is called, and a sentence of it."""

    title: str
    sentence: str


def first_sentence(markdown: str) -> str:
    paragraph = re.sub(r"\s+", " ", markdown.strip().split("\n\n")[0])
    # A full stop of Chinese needs no blank behind it.
    sentence = re.match(r".*?(?:[.!?](?=$| +[^a-z ])|[。！？])", paragraph)
    plain = LINK.sub(r"\1", sentence[0] if sentence else paragraph)
    return re.sub(r":[\w:+.-]+:(?=`)|[`*$]|^#+ ", "", plain)[:300]


def summaries(sections: Iterable[Section], title: str) -> dict[str, Summary]:
    """By the anchor of each section that can be led to; `title` is the page's."""
    found = {}
    for section in sections:
        if section.anchor:
            name = section.names[0] if section.names else ""
            called = " · ".join(filter(None, (name, section.title)))
            text = section.prose[0].text if section.prose else ""
            heading = HEADING.match(text) if section.title else None
            sentence = first_sentence(text[heading.end() :] if heading else text)
            # Formulas are not for a line of plain text.
            found[section.anchor] = Summary(called or title, "" if "\\" in sentence else sentence)
    return found
