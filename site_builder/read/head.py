r"""
# Heads

What the docstring of a module says of the whole file: its front matter and its title.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from site_builder.problem import Problem
from site_builder.read.blocks import Block, Parsed
from site_builder.read.conventions import title_of
from site_builder.read.front_matter import FrontMatter, read_front_matter
from site_builder.read.sections import HEADING, Prose


@dataclass(frozen=True, slots=True)
class Head:
    """What the docstring says of the whole file, and what is left of it."""

    meta: FrontMatter
    title: str
    rest: Prose
    problems: list[Problem]


def module_docstring(parsed: Parsed) -> Block | None:
    documented = parsed.blocks[0:1] if parsed.tree else ()
    for block in parsed.blocks if documented else ():
        if block.kind == "docstring" and not any(d.start < block.start for d in parsed.definitions):
            return block
        if block.kind == "code" and block.text.strip() and not block.text.startswith("#!"):
            return None
    return None


def read_head(path: str, docstring: Block | None, required: bool) -> Head:
    if not docstring and not required:
        return Head(FrontMatter(), "", Prose("", 1), [])
    text, line = (docstring.prose, docstring.prose_line) if docstring else ("", 1)
    meta, rest, line, problems = read_front_matter(path, text, line, required)
    heading = HEADING.match(rest) or title_of(rest)
    if not heading or rest.startswith("##"):
        return Head(meta, "", Prose(rest, line), problems)
    # The page shows its title above the columns.
    left = Prose(rest[heading.end() :], line + heading[0].count("\n"))
    return Head(meta, re.sub(r"[`*$]", "", heading[2]), left, problems)
