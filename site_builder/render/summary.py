r"""
# Summaries

What is said of a page, or of a place on it, in a line: where something leads there, and in an
index. It stands in plain text, which only rendering can make of an author's markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from site_builder.read.sections import Section


class Summary(NamedTuple):
    """What a place is called, and a sentence of it."""

    title: str
    sentence: str


def first_sentence(words: str) -> str:
    """Nothing where it has a formula, which is not for a line of plain text."""
    # A full stop of Chinese needs no blank behind it.
    found = re.match(r".*?(?:[.!?](?=$| +[^a-z ])|[。！？])", words)
    sentence = (found[0] if found else words)[:300]
    return "" if "\\" in sentence else sentence


def summaries(
    sections: Iterable[Section], title: str, openings: Mapping[int, str]
) -> dict[str, Summary]:
    r"""
    ## All of a page

    By the anchor of each section that can be led to. `title` is the page's, and `openings` are the
    words that prose opens with, by its line.
    """
    found = {}
    for section in sections:
        if section.anchor:
            name = section.names[0] if section.names else ""
            called = " · ".join(filter(None, (name, section.title)))
            line = section.prose[0].line if section.prose else 0
            sentence = first_sentence(openings.get(line, ""))
            found[section.anchor] = Summary(called or title, sentence)
    return found
