r"""
# Drafts

All that can be said of a page from its file alone: the parts before this one, put together. Drafts
of different files know nothing of each other, so they are made side by side, in as many processes
as there are cores.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from site_builder.blocks import Block, Parsed, parse
from site_builder.front_matter import FrontMatter, read_front_matter
from site_builder.math import MathError, typeset
from site_builder.names import imported_names
from site_builder.problem import Problem
from site_builder.rest import to_markdown
from site_builder.rows import Heading, MarkedRow, contents, render_rows
from site_builder.sections import (
    HEADING,
    Prose,
    Section,
    definition_anchors,
    duplicate_anchors,
    split_sections,
)
from site_builder.source import Source

# A summary stands in plain text: of a link, its words are left.
LINK = re.compile(r"!?\[([^\[\]]*)\](?:\([^()]*\)|\[[^\[\]]*\])")
IDS = re.compile(r' id="([^"]+)"')
TWICE = "anchor #{} stands twice; rename one, or add {{#word}}"
# What a reader takes in per minute, by rule of thumb; code is read at a third of the speed of
# prose.
WORDS, LINES = 220, 30


@dataclass(frozen=True, slots=True)
class Draft:
    r"""
    ## A page before it knows the others

    `names` says what the module's own names stand for, `definitions` gives an anchor to each,
    `notation` pairs the paper's symbols, typeset, with names, and `sources` keeps the Markdown so
    that a dead link, found later, can be given its line.
    """

    source: Source
    meta: FrontMatter
    title: str
    summary: str
    rows: tuple[MarkedRow, ...]
    contents: tuple[Heading, ...]
    names: dict[str, str]
    definitions: dict[str, str]
    anchors: frozenset[str]
    sources: tuple[Prose, ...]
    notation: tuple[tuple[str, str], ...]
    minutes: int
    runs: bool
    problems: tuple[Problem, ...]


def draft(source: Source, roots: frozenset[str], required: bool) -> Draft:
    r"""
    ## From a file to its draft

    `roots` are the tree's own packages; `required` says whether the file must have front matter.
    """
    parsed = parse(source.text)
    problems = []
    if parsed.error:
        line, reason = parsed.error
        message = f"Python cannot read the file ({reason}); mend it, or leave it out"
        problems.append(Problem(source.path, line, message))
    if not required:
        parsed = replace(parsed, blocks=tuple(map(_foreign, parsed.blocks)))
    opening = _module_docstring(parsed)
    meta, title, rest, found = _open(source.path, opening, required)
    problems += found
    if opening:
        blocks = (replace(b, **rest) if b is opening else b for b in parsed.blocks)
        parsed = replace(parsed, blocks=tuple(blocks))
    sections = split_sections(parsed)
    problems += [
        Problem(source.path, line, TWICE.format(anchor))
        for line, anchor in duplicate_anchors(sections)
    ]
    definitions = definition_anchors(sections)
    names = {n: f"{source.module}.{n}" for n in definitions if "." not in n}
    package = source.path.endswith("__init__.py")
    if parsed.tree:
        names |= imported_names(parsed.tree, source.module, package)
    symbols = frozenset(meta.notation.values())
    notation, found = _notation(source.path, meta, opening)
    problems += found
    rows, found = render_rows(source, sections, parsed, names, roots, symbols)
    problems += found
    anchors = Counter(a for row in rows for a in (row.anchor, *IDS.findall(row.prose)) if a)
    sources = tuple(prose for section in sections for prose in section.prose)
    problems += [
        Problem(source.path, line_of(f"#{anchor}", sources), TWICE.format(anchor))
        for anchor, count in anchors.items()
        if count > 1
    ]
    return Draft(
        source=source,
        meta=meta,
        title=meta.title or title or _name(source),
        summary=meta.summary or _first_sentence(rest["prose"]),
        rows=rows,
        contents=contents(rows, sections),
        names=names,
        definitions=definitions,
        anchors=frozenset(anchors),
        sources=sources,
        notation=notation,
        minutes=_minutes(sections, rows),
        runs="__main__" in source.text
        and re.search(r"^if __name__ ==", source.text, re.M) is not None,
        problems=tuple(problems),
    )


def _name(source: Source) -> str:
    folder, _, file = source.path.rpartition("/")
    own = source.module.split(".")[-1] or folder.split("/")[-1]
    return own if file == "__init__.py" and own else file


def _foreign(block: Block) -> Block:
    """A docstring of a file that need not be in the house style may be in another."""
    return replace(block, prose=to_markdown(block.prose)) if block.kind == "docstring" else block


def _open(
    path: str, opening: Block | None, required: bool
) -> tuple[FrontMatter, str, dict[str, Any], list[Problem]]:
    """The front matter, the title, what is left of the docstring with its line, and problems."""
    if not opening and not required:
        return FrontMatter(), "", {"prose": ""}, []
    text, line = (opening.prose, opening.prose_line) if opening else ("", 1)
    meta, rest, line, problems = read_front_matter(path, text, line, required)
    heading = HEADING.match(rest)
    if not heading or len(heading[1]) > 1:
        return meta, "", {"prose": rest, "prose_line": line}, problems
    # The page shows its title above the columns.
    line += heading[0].count("\n")
    left = {"prose": rest[heading.end() :], "prose_line": line}
    return meta, re.sub(r"[`*$]", "", heading[2]), left, problems


def _notation(
    path: str, meta: FrontMatter, opening: Block | None
) -> tuple[tuple[tuple[str, str], ...], list[Problem]]:
    symbols, problems = [], []
    for symbol, name in meta.notation.items():
        try:
            symbols.append((typeset(symbol, False), name))
        except MathError as error:
            prose = (Prose(opening.prose, opening.prose_line),) if opening else ()
            line = line_of(symbol, prose)
            problems.append(Problem(path, line, f"notation: {symbol}: {error}"))
    return tuple(symbols), problems


def line_of(words: str, sources: tuple[Prose, ...]) -> int:
    """The line of the file on which the prose says something; 1 where it says it in other words."""
    for prose in sources:
        at = prose.text.find(words)
        if at >= 0:
            return prose.line + prose.text.count("\n", 0, at)
    return 1


def _module_docstring(parsed: Parsed) -> Block | None:
    documented = parsed.blocks[0:1] if parsed.tree else ()
    for block in parsed.blocks if documented else ():
        if block.kind == "docstring" and not any(d.start < block.start for d in parsed.definitions):
            return block
        if block.kind == "code" and block.text.strip() and not block.text.startswith("#!"):
            return None
    return None


def _first_sentence(markdown: str) -> str:
    paragraph = re.sub(r"\s+", " ", markdown.strip().split("\n\n")[0])
    sentence = re.match(r".*?[.!?](?=$| +[^a-z ])", paragraph)
    plain = LINK.sub(r"\1", sentence[0] if sentence else paragraph)
    return re.sub(r"[`*$]|^#+ ", "", plain)[:300]


def _minutes(sections: tuple[Section, ...], rows: tuple[MarkedRow, ...]) -> int:
    words = sum(len(prose.text.split()) for section in sections for prose in section.prose)
    lines = sum(len(row.code) for row in rows)
    return max(1, round(words / WORDS + lines / LINES))
