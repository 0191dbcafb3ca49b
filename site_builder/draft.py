r"""
# Drafts

All that can be said of a page from its file alone: the parts before this one, put together. Drafts
of different files know nothing of each other, so they are made side by side, in as many processes
as there are cores.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from markupsafe import Markup

from site_builder.blocks import Parsed, parse
from site_builder.code import highlight
from site_builder.front_matter import FrontMatter, read_front_matter
from site_builder.links import imported_names, references
from site_builder.math import Cache
from site_builder.problem import Problem
from site_builder.prose import render
from site_builder.sections import (
    HEADING,
    Prose,
    Section,
    definition_anchors,
    duplicate_anchors,
    split_sections,
)
from site_builder.source import Source, split_lines

TAG = re.compile(r"<[^>]+>")
HEADINGS = re.compile(r"<h([1-6])([ >].*?)</h\1>", re.DOTALL)
IDS = re.compile(r'\bid="([^"]+)"')
# What a reader takes in per minute, by rule of thumb; code is read at a third of the speed of
# prose.
WORDS, LINES = 220, 30


@dataclass(frozen=True, slots=True)
class CodeLine:
    """A line of the file, highlighted, with its number."""

    number: int
    html: Markup


@dataclass(frozen=True, slots=True)
class Row:
    """A section, rendered: what stands on the left and what stands on the right."""

    anchor: str
    level: int
    prose: Markup
    lines: tuple[CodeLine, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Heading:
    """An entry of the page's contents."""

    level: int
    title: Markup
    anchor: str


@dataclass(frozen=True, slots=True)
class Draft:
    r"""
    ## A page before it knows the others

    `names` says what the module's own names stand for, `definitions` gives an anchor to each, and
    `sources` keeps the Markdown so that a dead link, found later, can be given its line.
    """

    source: Source
    meta: FrontMatter
    title: str
    summary: str
    rows: tuple[Row, ...]
    contents: tuple[Heading, ...]
    names: dict[str, str]
    definitions: dict[str, str]
    anchors: frozenset[str]
    sources: tuple[Prose, ...]
    minutes: int
    runs: bool
    problems: tuple[Problem, ...]


def draft(source: Source, roots: frozenset[str], required: bool) -> Draft:
    r"""
    ## From a file to its draft

    `roots` are the tree's own packages; `required` says whether the file must have front matter.
    """
    parsed = parse(source.text)
    problems = [Problem(source.path, *parsed.error)] if parsed.error else []
    sections = list(split_sections(parsed))
    problems += [
        Problem(source.path, line, f"anchor #{anchor} stands twice; rename one, or add {{#word}}")
        for line, anchor in duplicate_anchors(tuple(sections))
    ]
    definitions = definition_anchors(tuple(sections))
    first = _module_docstring(parsed)
    meta, title = FrontMatter(), ""
    if first or required:
        prose = first or Prose("", 1)
        meta, rest, line, found = read_front_matter(source.path, prose.text, prose.line, required)
        problems += found
        heading = HEADING.match(rest)
        if heading and len(heading[1]) == 1:
            # The page shows its title above the columns.
            title, line = heading[2], line + rest[: heading.end()].count("\n")
            rest = rest[heading.end() :]
        if first:
            others = sections[0].prose[1:]
            opening = HEADING.match(rest)
            level, words = (len(opening[1]), opening[2]) if opening else (0, "")
            prose_parts = (Prose(rest, line), *others)
            sections[0] = replace(
                sections[0], anchor="", level=level, title=words, prose=prose_parts
            )
    names = {n: f"{source.module}.{n}" for n in definitions if "." not in n}
    package = source.path.endswith("__init__.py")
    if parsed.tree:
        names |= imported_names(parsed.tree, source.module, package)
    rows, found = _rows(source, sections, parsed, names, roots)
    problems += found
    return Draft(
        source=source,
        meta=meta,
        title=meta.title or title or source.path.removesuffix("/__init__.py").split("/")[-1],
        summary=meta.summary or _first_sentence(sections[0].prose[0].text if first else ""),
        rows=rows,
        contents=_contents(rows, sections),
        names=names,
        definitions=definitions,
        anchors=frozenset(a for row in rows for a in (row.anchor, *IDS.findall(row.prose)) if a),
        sources=tuple(prose for section in sections for prose in section.prose),
        minutes=_minutes(rows),
        runs="__main__" in source.text
        and re.search(r"^if __name__ ==", source.text, re.M) is not None,
        problems=tuple(problems),
    )


def _module_docstring(parsed: Parsed) -> Prose | None:
    documented = parsed.blocks[0:1] if parsed.tree else ()
    for block in parsed.blocks if documented else ():
        if block.kind == "docstring" and not any(d.start < block.start for d in parsed.definitions):
            return Prose(block.prose, block.prose_line)
        if block.kind == "code" and block.text.strip() and not block.text.startswith("#!"):
            return None
    return None


def _rows(
    source: Source,
    sections: list[Section],
    parsed: Parsed,
    names: dict[str, str],
    roots: frozenset[str],
) -> tuple[tuple[Row, ...], list[Problem]]:
    lines = [line.rstrip("\r\n") for line in split_lines(source.text)]
    marks = references(parsed.tree, names, lines, roots) if parsed.tree else {}
    html = highlight("".join(line + "\n" for line in lines), marks)
    cache = Cache()
    rows, problems = [], []
    above = 1
    for number, section in enumerate(sections):
        pieces = []
        for part in section.prose:
            # The section carries the anchor, so the heading's own mark goes.
            text = HEADING.sub(r"\1 \2\n\n", part.text, count=1) if section.title else part.text
            done = render(text, part.line, section.anchor or f"s{number}", cache)
            problems += [Problem(source.path, line, message) for line, message in done.mistakes]
            pieces.append(done.html)
        prose, above = _nest("\n".join(pieces), section.level, above)
        numbers = [n for start, end in section.code for n in range(start, end + 1)]
        while numbers and not lines[numbers[-1] - 1].strip():
            numbers.pop()
        while numbers and not lines[numbers[0] - 1].strip():
            numbers.pop(0)
        shown = tuple(CodeLine(n, Markup(html[n - 1])) for n in numbers)
        level = min(section.level, 6)
        rows.append(Row(section.anchor, level, Markup(prose), shown, section.start, section.end))
    cache.save()
    return tuple(rows), problems


def _nest(html: str, level: int, above: int) -> tuple[str, int]:
    r"""
    ## Nest headings

    The page's title is its only first level, and no level is skipped on the way down: screen
    readers navigate by them. Headings inside a docstring (`Parameters`, say) stand below the
    section's own.
    """
    own = level

    def nest(match: re.Match[str]) -> str:
        nonlocal above, own
        lowest = 2 if own else (level or 2) + 1
        own = 0
        above = min(max(int(match[1]), lowest), above + 1, 6)
        return f"<h{above}{match[2]}</h{above}>"

    return HEADINGS.sub(nest, html), above


def _contents(rows: tuple[Row, ...], sections: list[Section]) -> tuple[Heading, ...]:
    """The headings; in a file without any, its classes and functions."""
    headed = [row for row, section in zip(rows, sections, strict=True) if section.title]
    if headed:
        found = []
        for row in headed:
            match = HEADINGS.search(row.prose)
            title = re.sub(r"</?a\b[^>]*>", "", match[2].partition(">")[2]) if match else ""
            found.append(Heading(int(match[1]) if match else 2, Markup(title), row.anchor))
        return tuple(h for h in found if h.anchor)
    return tuple(
        Heading(
            2 + min(section.names[0].count("."), 1), Markup.escape(section.names[0]), row.anchor
        )
        for row, section in zip(rows, sections, strict=True)
        if row.anchor and section.names
    )


def _first_sentence(markdown: str) -> str:
    paragraph = re.sub(r"\s+", " ", markdown.strip().split("\n\n")[0])
    sentence = re.match(r".*?[.!?](?= |$)", paragraph)
    return re.sub(r"[`*$]|^#+ ", "", sentence[0] if sentence else paragraph)[:300]


def _minutes(rows: tuple[Row, ...]) -> int:
    words = sum(
        len(TAG.sub(" ", re.sub(r"<math.*?</math>", "", row.prose)).split()) for row in rows
    )
    lines = sum(len(row.lines) for row in rows)
    return max(1, round(words / WORDS + lines / LINES))
