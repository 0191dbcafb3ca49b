r"""
# Rows

Each section, rendered: its prose by Markdown, its lines by a highlighter that reads the file as a
whole. Where names and addresses lead depends on other files, so they stay [pieces](pieces.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from markupsafe import Markup

from site_builder.problem import Problem
from site_builder.read.document import Reading
from site_builder.read.imports import Imports
from site_builder.read.sections import HEADING, Section
from site_builder.read.source import split_lines
from site_builder.render.code import highlight
from site_builder.render.context import Context
from site_builder.render.kept import apart
from site_builder.render.pieces import Heading, Piece, Rendered, joined
from site_builder.render.prose import render
from site_builder.render.touch import Touch


@dataclass(frozen=True, slots=True)
class DraftRow:
    r"""
    ## A row before it is linked

    `code` are the pieces of each line, and `numbers` are the lines' numbers, of which the first
    `folded` are imports. `touch` says of each line which things [its names are](touch.py). `level`
    is that of the heading it opens with, 0 without one.
    """

    anchor: str
    level: int
    prose: Rendered
    numbers: tuple[int, ...]
    code: tuple[tuple[Piece, ...], ...]
    touch: tuple[str, ...]
    start: int
    end: int
    folded: int = 0


def render_rows(reading: Reading, touch: Touch) -> tuple[tuple[DraftRow, ...], list[Problem]]:
    r"""
    ## Render the rows

    With them, the mistakes that rendering found.
    """
    lines = [line.rstrip("\r\n") for line in split_lines(reading.source.text)]
    # What is shown as prose need not be highlighted.
    code = {n for s in reading.sections for first, last in s.code for n in range(first, last + 1)}
    shown = (line if number in code else "" for number, line in enumerate(lines, 1))
    html = highlight("".join(line + "\n" for line in shown), reading.references)
    context = Context(reading.names, tuple(reading.meta.notation))
    rows, problems = [], []
    for index, section in enumerate(reading.sections):
        context.outline.begin(section.level)
        prose = _prose(section, section.anchor or f"s{index}", context)
        problems += [Problem(reading.path, line, message) for line, message in prose.mistakes]
        numbers = [n for start, end in section.code for n in range(start, end + 1)]
        while numbers and not lines[numbers[-1] - 1].strip():
            numbers.pop()
        while numbers and not lines[numbers[0] - 1].strip():
            numbers.pop(0)
        pieces = tuple(html[n - 1] for n in numbers)
        place = touch.cell(numbers), section.start, section.end
        level = min(section.level, 6)
        folded = _folded(numbers, reading.opening)
        rows.append(DraftRow(section.anchor, level, prose, tuple(numbers), pieces, *place, folded))
    return tuple(rows), problems


def _folded(numbers: list[int], imports: Imports | None) -> int:
    """How many of a row's first lines are those of the module's opening imports."""
    if not imports or imports.start not in numbers[:1]:
        return 0
    count = sum(number <= imports.end for number in numbers)
    return count if count > 1 else 0


def _prose(section: Section, key: str, context: Context) -> Rendered:
    done = []
    for number, prose in enumerate(section.prose):
        part = prose
        if section.title and not number and (heading := HEADING.match(part.text)):
            # The section carries the anchor, so the heading's own mark goes.
            blank = "\n" * heading[0].count("\n")
            text = f"{heading[1]} {heading[2]}{blank}{part.text[heading.end() :]}"
            part = replace(part, text=text)
        rendered = render(part, f"{key}-{number}" if number else key, context)
        done.append(apart(rendered, part.kept) if part.kept else rendered)
    return joined(done)


def contents(rows: tuple[DraftRow, ...], sections: tuple[Section, ...]) -> tuple[Heading, ...]:
    r"""
    ## The page's contents

    The headings that open sections, and the classes and functions that have none, below the heading
    that they stand under.
    """
    listed = []
    level = 1
    for row, section in zip(rows, sections, strict=True):
        if section.title and row.prose.headings:
            level = row.prose.headings[0].level
            listed.append(Heading(level, row.prose.headings[0].title, row.anchor))
        elif section.names and row.anchor:
            name = section.names[0]
            deeper = min(level, 2) + 1 + min(name.count("."), 1)
            listed.append(Heading(deeper, Markup.escape(name), row.anchor))
    return tuple(listed)
