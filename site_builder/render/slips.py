r"""
# Slips

What the author of a page wants to be told, and what in a stranger's docstrings is nobody's
mistake. So it is looked for only where front matter is required: a heading of the wrong level, a
`$` that begins no formula, an address that leads to no web site, a size that nothing has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from site_builder.problem import Problem
from site_builder.read.document import Reading
from site_builder.read.notation import TABLE, size_lines
from site_builder.read.sections import Prose
from site_builder.read.source import split_lines
from site_builder.render.scan import FENCE, Scan
from site_builder.render.shelf import Shelf

CODE = re.compile(rf"{FENCE.pattern}|(?<!`)(?P<ticks>`++)[^\n]+?(?<!`)(?P=ticks)(?!`)", FENCE.flags)
HEADING = re.compile(r"^(#{1,6})[ \t]+\S", re.MULTILINE)
# In a link, in the definition of one, by itself, and in HTML.
ADDRESS = re.compile(
    r"""(?:\]\([ ]*<? | ^\[[^\[\]\n]+\]:[ ]*<? | <(?=ht?tps?:) | \b(?:href|src)[ ]*=[ ]*["'])
        (?P<address>[a-zA-Z][\w+.-]*:[^\s)>"']*)""",
    re.MULTILINE | re.VERBOSE,
)
SOUND = re.compile(
    r"https?://(?:[\w-]+(?:\.[\w-]+)+|localhost)(?::\d+)?(?:[/?#].*)?|mailto:\S+@\S+"
)
LOOSE = "this $ begins no formula; close it in its paragraph, or write \\$ for a dollar"
SECOND = "a second title; the page has one, so begin this heading with ##"


def slips(reading: Reading) -> list[Problem]:
    r"""
    ## All of a page
    """
    if not (reading.strict and reading.meta.title):
        return []  # Of front matter that is not closed, all is prose.
    prose = [part for part in reading.prose if part.markup == "markdown"]
    kinds = _levels(prose), _dollars(prose), _addresses(prose), _sizes(reading)
    return [Problem(reading.path, *slip) for kind in kinds for slip in kind]


def _levels(prose: Iterable[Prose]) -> Iterator[tuple[int, str]]:
    """Headings that skip a level on the way down, as a reader of the outline would fall."""
    above = 1
    for part in prose:
        text = _without_code(part.text)
        for heading in HEADING.finditer(text):
            level, line = len(heading[1]), part.line + text.count("\n", 0, heading.start())
            if level == 1:
                yield line, SECOND
            elif level > above + 1:
                fitting = "#" * (above + 1)
                yield line, f"the heading {heading[1]} skips a level; begin it with {fitting}"
            above = level


def _dollars(prose: Iterable[Prose]) -> Iterator[tuple[int, str]]:
    for part in prose:
        if "$" in part.text:
            yield from ((line, LOOSE) for line in Scan(part.text, part.line, Shelf()).loose)


def _addresses(prose: Iterable[Prose]) -> Iterator[tuple[int, str]]:
    for part in prose:
        text = _without_code(part.text)
        for found in ADDRESS.finditer(text):
            if not SOUND.fullmatch(found["address"]):
                line = part.line + text.count("\n", 0, found.start("address"))
                yield line, f"{found['address']} is no web address; write https://host/path"


def _sizes(reading: Reading) -> Iterator[tuple[int, str]]:
    """Letters of a table of sizes that no code has, no comment behind it, and no prose as code."""
    lines = split_lines(reading.source.text)
    spans = (span for section in reading.sections for span in section.code)
    written = ["".join(lines[a - 1 : b]) for a, b in spans]
    for part in reading.prose:
        written += (code[0] for code in CODE.finditer(TABLE.sub("", part.text)))
    words = {word for text in written for word in re.findall(r"\w+", text)}
    for line, letter in size_lines(reading.prose):
        if letter not in words:
            yield (
                line,
                f"nothing has the size {letter}; state it behind a line, or take its row out",
            )


def _without_code(text: str) -> str:
    """The same lines, with blanks for code."""
    return CODE.sub(lambda code: re.sub(r"[^\n]", " ", code[0]), text)
