r"""
# Sections

Blocks become sections: prose, and the lines of code that it stands beside. A section begins at
each comment, at each docstring, and at each class or function of the module. Sections are a
partition of the file's lines, so that each line is shown *once*.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass, replace

from site_builder.blocks import Block, Parsed
from site_builder.source import split_lines

HEADING = re.compile(
    r"(#{1,6})[ \t]+(.+?)[ \t]*#*[ \t]*(?:\{\s*#(\w[\w.-]*)[^}\n]*\})?[ \t]*(?:\n+|\Z)"
)
# Anchors that are the template's own.
RESERVED = re.compile(r"L\d+|results")


@dataclass(frozen=True, slots=True)
class Prose:
    """Markdown, and the line of the file on which it begins."""

    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Section:
    r"""
    ## A row of the page

    Lines `start` to `end` of the file. `code` are the spans of lines that are shown as code; the
    others are the prose. `level` and `title` are those of the heading that opens the prose, 0 and
    empty without one. `names` are the definitions inside.
    """

    anchor: str
    level: int
    title: str
    prose: tuple[Prose, ...]
    code: tuple[tuple[int, int], ...]
    start: int
    end: int
    names: tuple[str, ...] = ()


def slug(title: str) -> str:
    """`Why we *divide* by $d$` is `why-we-divide-by-d`: words, which stay."""
    words = re.sub(r"`|\*|\$|\\", "", title).lower()
    return re.sub(r"[^\w]+", "-", words).strip("-") or "section"


def split_sections(parsed: Parsed) -> tuple[Section, ...]:
    r"""
    ## Split

    First the lines on which sections begin, then the blocks cut at those lines.
    """
    blocks = parsed.blocks
    if not blocks:
        return ()
    starts = _starts(parsed)
    bounds = sorted(starts | {blocks[0].start})
    end = blocks[-1].end
    first_lines = [definition.start for definition in parsed.definitions]
    sections = []
    index = 0
    for start, following in zip(bounds, [*bounds[1:], end + 1], strict=True):
        inside = parsed.definitions[
            bisect_left(first_lines, start) : bisect_left(first_lines, following)
        ]
        while blocks[index].end < start:
            index += 1
        prose, code = [], []
        here = index
        while here < len(blocks) and blocks[here].start < following:
            block = blocks[here]
            if block.kind == "code":
                code.append((max(start, block.start), min(following - 1, block.end)))
            else:
                prose.append(Prose(block.prose, block.prose_line))
            here += 1
        level, title, anchor = _heading(prose)
        opens = next((d for d in inside if d.depth == 0 or d.docstring), None)
        anchor = anchor or (opens.name if opens and not title else "")
        names = tuple(d.name for d in inside)
        sections.append(
            Section(anchor, level, title, tuple(prose), tuple(code), start, following - 1, names)
        )
    return _anchored(sections)


def _anchored(sections: list[Section]) -> tuple[Section, ...]:
    r"""
    ## Anchors

    Headings choose first: what links to them must not move when a definition comes or goes. Who
    comes later to an anchor gets a number.
    """
    chosen: dict[int, str] = {}
    times: dict[str, int] = {}
    order = sorted(range(len(sections)), key=lambda index: not sections[index].title)
    for index in order:
        if anchor := sections[index].anchor:
            word = anchor + "-section" if RESERVED.fullmatch(anchor) else anchor
            chosen[index] = word
            while chosen[index] in times:
                times[word] += 1
                chosen[index] = f"{word}-{times[word]}"
            times[chosen[index]] = 1
    return tuple(
        replace(section, anchor=chosen.get(index, "")) for index, section in enumerate(sections)
    )


def _heading(prose: list[Prose]) -> tuple[int, str, str]:
    match = HEADING.match(prose[0].text) if prose else None
    return (len(match[1]), match[2], match[3] or slug(match[2])) if match else (0, "", "")


def _starts(parsed: Parsed) -> set[int]:
    r"""
    ## Where sections begin

    A definition's header goes with the docstring that it opens: prose about a function stands
    level with its `def`. A section whose prose would have no code beside it is joined to the next
    one, unless that opens with a heading of its own.
    """
    opened = {d.docstring: d for d in parsed.definitions if d.docstring}
    begins: dict[int, Block | None] = {d.start: None for d in parsed.definitions if d.depth == 0}
    last_prose = 0
    for block in parsed.blocks:
        if block.kind == "code":
            continue
        definition = opened.get(block.start) if block.kind == "docstring" else None
        start = max(definition.start, last_prose + 1) if definition else block.start
        begins[start] = block
        last_prose = block.end
    code = [
        line
        for block in parsed.blocks
        if block.kind == "code"
        for line, text in enumerate(split_lines(block.text), block.start)
        if text.strip()
    ]
    starts: set[int] = set()
    previous = 0
    for start in sorted(begins):
        opening = begins[start]
        empty = previous and bisect_left(code, previous) == bisect_left(code, start)
        headed = opening is not None and HEADING.match(opening.prose)
        if not empty or headed:
            starts.add(start)
            previous = start
    return starts


def duplicate_anchors(sections: tuple[Section, ...]) -> list[tuple[int, str]]:
    r"""
    ## Anchors that stand twice

    Two definitions may share a name (a property and its setter), and are told apart by a number.
    Two headings may not: a number would move when a third is added between them, and with it every
    link.
    """
    seen: set[str] = set()
    repeated = []
    for section in sections:
        if section.title:
            _, _, anchor = _heading(list(section.prose))
            if anchor in seen:
                repeated.append((section.prose[0].line, anchor))
            seen.add(anchor)
    return repeated


def definition_anchors(sections: tuple[Section, ...]) -> dict[str, str]:
    """Each definition's anchor: its section's, or that of the nearest section above with one."""
    anchors: dict[str, str] = {}
    nearest = ""
    for section in sections:
        nearest = section.anchor or nearest
        anchors |= dict.fromkeys(section.names, nearest)
    return anchors
