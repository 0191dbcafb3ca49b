r"""
# Rows

Each section, rendered: its prose by Markdown, its lines by a highlighter that reads the file as a
whole. Names and addresses still stand as marks, since where they lead depends on other files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from markupsafe import Markup

from site_builder.blocks import Parsed
from site_builder.code import highlight
from site_builder.names import references
from site_builder.problem import Problem
from site_builder.prose import render
from site_builder.sections import HEADING, Section
from site_builder.source import Source, split_lines

HEADINGS = re.compile(r"<h([1-6])([ >].*?)</h\1>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class MarkedRow:
    r"""
    ## A row with marks

    `code` is a piece of HTML for each line, and `numbers` are the lines' numbers. `title` is the
    heading's HTML, empty without one. Plain strings and numbers, because rows travel between
    processes.
    """

    anchor: str
    level: int
    title: str
    prose: str
    numbers: tuple[int, ...]
    code: tuple[str, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Heading:
    """An entry of the page's contents."""

    level: int
    title: Markup
    anchor: str


def render_rows(
    source: Source,
    sections: tuple[Section, ...],
    parsed: Parsed,
    names: dict[str, str],
    roots: frozenset[str],
    symbols: frozenset[str],
) -> tuple[tuple[MarkedRow, ...], list[Problem]]:
    r"""
    ## Render the rows

    `names` says what the module's names stand for, `roots` are the tree's own packages, and
    `symbols` are the names that the page's notation speaks of.
    """
    lines = [line.rstrip("\r\n") for line in split_lines(source.text)]
    marks = references(parsed.tree, names, lines, roots) if parsed.tree else {}
    html = highlight("".join(line + "\n" for line in lines), marks, symbols)
    rows, problems = [], []
    above = 1
    for index, section in enumerate(sections):
        pieces = []
        for part in section.prose:
            # The section carries the anchor, so the heading's own mark goes.
            text = HEADING.sub(r"\1 \2\n\n", part.text, count=1) if section.title else part.text
            done = render(text, part.line, section.anchor or f"s{index}")
            problems += [Problem(source.path, line, message) for line, message in done.mistakes]
            pieces.append(done.html)
        prose, above, title = _nest("\n".join(pieces), section.level, above)
        numbers = [n for start, end in section.code for n in range(start, end + 1)]
        while numbers and not lines[numbers[-1] - 1].strip():
            numbers.pop()
        while numbers and not lines[numbers[0] - 1].strip():
            numbers.pop(0)
        level = min(section.level, 6)
        code = tuple(html[n - 1] for n in numbers)
        place = section.start, section.end
        rows.append(MarkedRow(section.anchor, level, title, prose, tuple(numbers), code, *place))
    return tuple(rows), problems


def _nest(html: str, level: int, above: int) -> tuple[str, int, str]:
    r"""
    ## Nest headings

    The page's title is its only first level, and no level is skipped on the way down: screen
    readers navigate by them. Headings inside a docstring (`Parameters`, say) stand below the
    section's own. Returns the HTML, the last heading's level, and the first heading's content.
    """
    own = level
    title = ""

    def nest(match: re.Match[str]) -> str:
        nonlocal above, own, title
        lowest = 2 if own else (level or 2) + 1
        if own:
            title = re.sub(r"</?a\b[^>]*>", "", match[2].partition(">")[2])
        own = 0
        above = min(max(int(match[1]), lowest), above + 1, 6)
        return f"<h{above}{match[2]}</h{above}>"

    return HEADINGS.sub(nest, html), above, title


def contents(rows: tuple[MarkedRow, ...], sections: tuple[Section, ...]) -> tuple[Heading, ...]:
    """The headings; in a file without any, its classes and functions."""
    headed = [row for row in rows if row.title and row.anchor]
    if headed:
        levels = [re.search(r"<h([1-6])", row.prose) for row in headed]
        return tuple(
            Heading(int(level[1]), Markup(row.title), row.anchor)
            for row, level in zip(headed, levels, strict=True)
            if level
        )
    return tuple(
        Heading(
            2 + min(section.names[0].count("."), 1), Markup.escape(section.names[0]), row.anchor
        )
        for row, section in zip(rows, sections, strict=True)
        if row.anchor and section.names
    )
