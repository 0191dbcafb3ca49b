r"""
---
title: Named mutants
summary: Mistakes with a name, the text that makes each, and the test that must notice it.
---

# Named mutants

Beside the tests of a topic lies `mutants.toml`:

    [[gpt2]]
    name = "betas swapped"
    replace = "betas=(0.9, 0.95)"
    by = "betas=(0.95, 0.9)"
    tests = ["test_training_is_the_plain_loop"]

The header is the paper's file without its topic, `[[sampling.nucleus]]` for one in a folder.
`replace` stands exactly once in it, or in another `file`. `tests` are of the paper's own test file,
or named with their path, `tests/common/test_run.py::test_chance`; without any, all of that file are
run. An entry with a `reason` changes nothing that a test could see: it is reviewed, and not run.

The front matter of a paper may name a mutant among its `mistakes`.
"""

from __future__ import annotations

import ast
import functools
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from papers.common.errors import UserError
from site_builder.read.document import Document, read_document
from site_builder.read.mutants import entries
from site_builder.read.source import Source, decode

KEYS = {"name": str, "replace": str, "by": str, "file": str, "tests": list, "reason": str}


@dataclass(frozen=True)
class Mutant:
    r"""
    ## A mutant

    `text` is all of the changed file, and `tests` are pytest's names of what is to notice.
    """

    path: Path
    line: int
    name: str
    text: str
    tests: tuple[str, ...]
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.path.as_posix()}:{self.line}: {self.name}"


def list_of(paper: Path) -> Path:
    return Path("tests", paper.parts[1], "mutants.toml")


def tests_of(paper: Path) -> Path:
    r"""
    ## The tests of a paper

    Papers in a folder of their topic may share one file of tests.
    """
    folder = Path("tests", paper.parts[1])
    for name in (paper.stem, paper.parent.name):
        if (folder / f"test_{name}.py").is_file():
            return folder / f"test_{name}.py"
    raise UserError(f"{paper.as_posix()}: has no tests: write {folder}/test_{paper.stem}.py")


def named(paper: Path) -> list[Mutant]:
    r"""
    ## Those of a paper

    In the order of the list. A stale entry is an error at its own line.
    """
    if paper.parts[0] != "papers" or len(paper.parts) < 3 or not paper.is_file():
        told = "give a paper's file, papers/<topic>/<paper>.py"
        raise UserError(f"{paper.as_posix()}: {told}")
    mutants, where = [], list_of(paper)
    for line, entry in listed(where, ".".join(paper.with_suffix("").parts[2:])):
        try:
            mutants.append(mutant(paper, entry))
        except UserError as error:
            raise UserError(f"{where.as_posix()}:{line}: {error}") from None
    known = {mutant.name: mutant for mutant in mutants}
    for line, name, caught in mistakes(paper):
        if name not in known or not any(caught in test for test in known[name].tests):
            told = f"no mutant {name!r} that {caught} notices: add it to {where.as_posix()}"
            raise UserError(f"{paper.as_posix()}:{line}: {told}")
    return mutants


def listed(where: Path, key: str) -> list[tuple[int, dict[str, Any]]]:
    """A list that is not there is empty."""
    if not where.is_file():
        return []
    try:
        return entries(where.read_text(encoding="utf-8"), key)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        raise UserError(f"{where.as_posix()}:{line[1] if line else 1}: {error}") from None


def mutant(paper: Path, entry: dict[str, Any]) -> Mutant:
    for key, value in entry.items():
        if not isinstance(value, KEYS.get(key, ())):
            raise UserError(f"{key}: give only {', '.join(KEYS)}; tests are a list, others text")
    for key in ("name", "replace", "by"):
        if key not in entry:
            raise UserError(f"{key} is missing")
    name, old, new = entry["name"], entry["replace"], entry["by"]
    path = Path(entry.get("file", paper))
    source = path.read_text(encoding="utf-8") if path.is_file() else ""
    if (count := source.count(old)) != 1:
        told = f"stands {count} times in {path.as_posix()}: replace what stands once"
        raise UserError(f"{name!r} is stale, since its text {told}")
    text = source.replace(old, new)
    try:
        if tree_of(text) == tree_of(source):
            raise UserError(f"{name!r} changes no code")
    except SyntaxError as error:
        raise UserError(f"{name!r} is no Python: {error.msg}") from None
    own = tests_of(paper).as_posix()
    ids = tuple(test if "/" in test else f"{own}::{test}" for test in entry.get("tests", []))
    line = source[: source.index(old)].count("\n") + 1
    return Mutant(path, line, name, text, ids or (own,), entry.get("reason", ""))


@functools.cache
def tree_of(text: str) -> str:
    return ast.dump(ast.parse(text))


def mistakes(paper: Path) -> list[tuple[int, str, str]]:
    """Of the front matter: line, mutant and test."""
    source = decode(paper.as_posix(), paper.read_bytes())
    document = read_document(source, frozenset(), True) if isinstance(source, Source) else source
    if not isinstance(document, Document):
        raise UserError(str(document))
    meta = document.meta
    return [(meta.line("mistakes", n), m.mutant, m.caught) for n, m in enumerate(meta.mistakes)]
