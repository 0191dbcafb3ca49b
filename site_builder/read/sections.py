r"""
# Sections

Blocks become sections: prose, and the lines of code that it stands beside. A section begins at
each comment, at each docstring, and at each class or function of the module. Sections are a
partition of the file's lines, so that each line is shown *once*.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from site_builder.read.blocks import Block, Markup, Parsed
from site_builder.read.conventions import title_of
from site_builder.read.source import split_lines

# Hashes may close a heading, after a blank: those of `C#` are its own.
HEADING = re.compile(
    r"(#{1,6})[ \t]++(.+?)(?<![ \t])(?:[ \t]++#+)?[ \t]*+"
    r"(?:\{\s*+#(\w[\w.-]*+)[^}\n]{0,999}+\})?[ \t]*+(?:\n+|\Z)"
)
# Anchors that an author writes where no section begins.
WRITTEN = re.compile(r"""<\w[^<>]*\bid\s*=\s*["']?([\w.:-]+)|\{:?\s*#([\w.:-]+)""")
# Anchors that are the template's own.
RESERVED = re.compile(r"L\d+|results|mistakes|exercises")


class Kept(NamedTuple):
    """In which language a translation leaves something, and whether it was translated once."""

    language: str
    stale: bool


@dataclass(frozen=True, slots=True)
class Prose:
    r"""
    ## Prose

    Words in their markup, and the line of the file on which they begin; `kept` says why they are
    not in the language of the page.
    """

    text: str
    line: int
    markup: Markup = "markdown"
    kept: Kept | None = None


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
                prose.append(Prose(block.prose, block.prose_line, block.markup))
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

    Who comes later to an anchor gets a number. What an author wrote comes first, then headings:
    what links to them must not move when a definition comes or goes.
    """
    given = [index for index, section in enumerate(sections) if _given(section)]
    order = sorted(range(len(sections)), key=lambda index: not sections[index].title)
    chosen: dict[int, str] = {}
    taken: set[str] = set()
    times: dict[str, int] = {}

    def choose(index: int) -> None:
        word = sections[index].anchor
        word += "-section" if RESERVED.fullmatch(word) else ""
        chosen[index] = word
        while chosen[index] in taken:
            times[word] = times.get(word, 1) + 1
            chosen[index] = f"{word}-{times[word]}"
        taken.add(chosen[index])

    for index in given:
        choose(index)
    taken |= {anchor for section in sections for anchor in _written(section)}
    for index in order:
        if sections[index].anchor and index not in chosen:
            choose(index)
    return tuple(
        replace(section, anchor=chosen.get(index, "")) for index, section in enumerate(sections)
    )


def _given(section: Section) -> str:
    """The word that a heading gives itself: `## Long words {#short}`."""
    heading = HEADING.match(section.prose[0].text) if section.prose else None
    return heading[3] or "" if heading else ""


def _written(section: Section) -> Iterator[str]:
    """Anchors that are written anywhere but in the heading that opens the section."""
    for part in section.prose:
        heading = HEADING.match(part.text)
        for match in WRITTEN.finditer(part.text, heading.end() if heading else 0):
            yield match[1] or match[2]


def _heading(prose: list[Prose]) -> tuple[int, str, str]:
    """Level, words and anchor of the heading that opens the prose; 0 and nothing without one."""
    if not prose:
        return 0, "", ""
    if prose[0].markup == "rest":
        title = title_of(prose[0].text)
        return (2, title[2], slug(title[2])) if title else (0, "", "")
    match = HEADING.match(prose[0].text)
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
        headed = opening and _heading([Prose(opening.prose, start, opening.markup)])[0]
        if not empty or headed:
            starts.add(start)
            previous = start
    return starts


def duplicate_anchors(sections: tuple[Section, ...]) -> list[tuple[int, str]]:
    r"""
    ## Anchors that stand twice

    Two definitions may share a name (a property and its setter), and are told apart by a number.
    Two headings of Markdown may not: a number would move when a third is added between them, and
    with it every link.
    """
    seen: set[str] = set()
    repeated = []
    for section in sections:
        if section.title and section.prose[0].markup == "markdown":
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
