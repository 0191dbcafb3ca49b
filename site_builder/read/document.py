r"""
# Documents

One file as it was understood: parsed once, and never again. What comes later asks the document.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

from site_builder.problem import Problem
from site_builder.read.blocks import Block, Parsed, parse
from site_builder.read.conventions import markup_of, with_items
from site_builder.read.fingerprint import fingerprint
from site_builder.read.front_matter import FrontMatter
from site_builder.read.head import Head, module_docstring, read_head
from site_builder.read.imports import Imports, imported_packages, opening_imports
from site_builder.read.names import References
from site_builder.read.notation import dead_symbols, sizes_of
from site_builder.read.sections import (
    Prose,
    Section,
    definition_anchors,
    duplicate_anchors,
    split_sections,
)
from site_builder.read.source import Source, split_lines
from site_builder.read.uses import Use
from site_builder.read.vocabulary import read_vocabulary

# What a reader takes in per minute, by rule of thumb; code is read at a third of the speed of
# prose.
WORDS, LINES = 220, 30
TWICE = "anchor #{} stands twice; rename one, or add {{#word}}"
# The address of another file's page, in a link.
MENTION = re.compile(r"\]\(([^()\s#]+\.py)")

# What only code in a file of its own can ask for.
ROOTED = re.compile(r"^[ \t]*from[ \t]+\.|\b__file__\b", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Document:
    r"""
    ## What other pages may ask of a file

    `file` is the one that was read. `title` and `summary` are what its author calls it, or what its
    first lines make of it: the summary that no front matter has, [rendering](../render/draft.py)
    knows. `definitions` gives each class and function the anchor under which it is found, `names`
    says what the module's own names stand for, `named` what its code names that may have a page,
    and `mentions` the files that its prose links to. `imports` are what it imports, `packages` from
    which, and `opening` where it begins to. `fingerprint` stands for the code that runs, and is
    empty where Python cannot read it. `is_script` says that the file does something when it is run,
    `alone` that it can be run line by line as well, `strict` that it must have front matter, and
    `minutes` how long it takes to read.
    """

    path: str
    file: str
    module: str
    page: str
    url: str
    meta: FrontMatter
    title: str
    summary: str
    definitions: dict[str, str]
    names: dict[str, str]
    named: tuple[str, ...]
    mentions: tuple[str, ...]
    imports: tuple[str, ...]
    packages: tuple[str, ...]
    opening: Imports | None
    fingerprint: str
    is_script: bool
    alone: bool
    strict: bool
    minutes: int
    problems: tuple[Problem, ...]

    @property
    def is_package(self) -> bool:
        return self.path.endswith("__init__.py")


@dataclass(frozen=True, slots=True)
class Reading(Document):
    r"""
    ## All that is known of a file

    What its own page is made of: `references` say where the code uses a name that may have a page,
    `uses` where a name stands for the same thing. `sizes` are the letters that its tables of sizes
    explain. `begins` is the line of the prose that is about the whole file, and `parsed` has of
    that prose what is no front matter.
    """

    source: Source
    parsed: Parsed
    sections: tuple[Section, ...]
    references: References
    uses: tuple[Use, ...]
    sizes: frozenset[str]
    begins: int

    @property
    def prose(self) -> tuple[Prose, ...]:
        return tuple(part for section in self.sections for part in section.prose)

    @property
    def document(self) -> Document:
        """Without what only its own page needs, which is most of it."""
        return Document(**{each.name: getattr(self, each.name) for each in fields(Document)})


def read_document(source: Source, roots: frozenset[str], required: bool) -> Reading:
    r"""
    ## From a file to its document

    `roots` are the packages whose names lead anywhere; `required` says whether the file must have
    front matter.
    """
    parsed = parse(source.text)
    mistakes = [Problem(source.path, line, message) for line, message in parsed.mistakes]
    code = fingerprint(parsed) if parsed.tree else ""
    head, parsed = _without_head(source, parsed, required)
    sections = split_sections(parsed)
    if not required:
        sections = tuple(map(_with_items, sections))
    definitions = definition_anchors(sections)
    words = read_vocabulary(parsed, source, definitions, roots)
    prose = [part for section in sections for part in section.prose]
    sizes = sizes_of(prose)
    title = head.meta.title or head.title or _name(source)
    return Reading(
        path=source.path,
        file=source.origin or source.path,
        module=source.module,
        page=source.page,
        url=source.url,
        meta=head.meta,
        title=title,
        summary=head.meta.summary,
        definitions=definitions,
        names=words.known,
        named=tuple(sorted(set(words.references.values()))),
        mentions=tuple(file for part in prose for file in MENTION.findall(part.text)),
        imports=words.imports,
        packages=tuple(imported_packages(source.text)),
        opening=opening_imports(parsed.tree) if parsed.tree else None,
        fingerprint=code,
        is_script=re.search(r"^if __name__ ==", source.text, re.MULTILINE) is not None,
        alone=_runs_alone(parsed),
        strict=required,
        minutes=_minutes(parsed),
        problems=(
            *mistakes,
            *head.problems,
            *_twice(source.path, sections),
            *_unknown(source.path, head.meta, definitions),
            *dead_symbols(source.path, head.meta, words.uses, sizes),
        ),
        source=source,
        parsed=parsed,
        sections=sections,
        references=words.references,
        uses=words.uses,
        sizes=sizes,
        begins=head.rest.line if head.rest.text else 0,
    )


def _without_head(source: Source, parsed: Parsed, required: bool) -> tuple[Head, Parsed]:
    """What the module docstring says of the file, and the file with what is left of that."""
    if not required:
        parsed = replace(parsed, blocks=tuple(map(_in_its_markup, parsed.blocks)))
    docstring = module_docstring(parsed)
    # Of a file that Python cannot read, no more need be said.
    head = read_head(source.path, docstring, required and parsed.tree is not None)
    if docstring:
        left = replace(docstring, prose=head.rest.text, prose_line=head.rest.line)
        blocks = (left if block is docstring else block for block in parsed.blocks)
        parsed = replace(parsed, blocks=tuple(blocks))
    return head, parsed


def _twice(path: str, sections: tuple[Section, ...]) -> Iterator[Problem]:
    for line, anchor in duplicate_anchors(sections):
        yield Problem(path, line, TWICE.format(anchor))


def _unknown(path: str, meta: FrontMatter, definitions: dict[str, str]) -> Iterator[Problem]:
    for at, name in enumerate(meta.exercises):
        if name not in definitions:
            message = f"exercises: no {name} is defined; name a class or function"
            yield Problem(path, meta.line("exercises", at), message)
    for at, worked in enumerate(meta.worked):
        if not definitions.get(worked.at):
            message = f"worked: no {worked.at} is defined; name a class or function"
            yield Problem(path, meta.line("worked", at), message)


def _runs_alone(parsed: Parsed) -> bool:
    """Whether there is code, and it neither imports by its place in a package nor asks for that."""
    code = "".join(block.text for block in parsed.blocks if block.kind == "code")
    return parsed.tree is not None and bool(code.strip()) and not ROOTED.search(code)


def _minutes(parsed: Parsed) -> int:
    words = sum(len(block.prose.split()) for block in parsed.blocks)
    code = (block.text for block in parsed.blocks if block.kind == "code")
    lines = sum(bool(line.strip()) for text in code for line in split_lines(text))
    return max(1, round(words / WORDS + lines / LINES))


def _in_its_markup(block: Block) -> Block:
    """What need not be in the house style may be in another."""
    return block if block.kind == "code" else replace(block, markup=markup_of(block.prose))


def _with_items(section: Section) -> Section:
    return replace(
        section,
        prose=tuple(
            Prose(text, part.line + at, part.markup)
            for part in section.prose
            for at, text in with_items(part.text, part.markup)
        ),
    )


def _name(source: Source) -> str:
    folder, _, file = source.path.rpartition("/")
    own = source.module.split(".")[-1] or folder.split("/")[-1]
    return own if file == "__init__.py" and own else file
