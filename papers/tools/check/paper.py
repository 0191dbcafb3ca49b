r"""
---
title: A paper as the rules see it
summary: A file of a paper, parsed once, with the file of its tests.
---

# A paper as the rules see it
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from papers.common.errors import UserError
from papers.tools.mutate.named import tests_of
from site_builder.problem import Problem
from site_builder.read.blocks import Parsed, parse
from site_builder.read.source import Source, decode, split_lines

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef

# What lies below `papers/` and is no paper.
OTHERS = ("papers/common/", "papers/tools/")


@dataclass(frozen=True)
class Paper:
    r"""
    ## A paper

    `text` is its file, `parsed` what the site builder reads in it, and `test` the file of its
    tests, if there is one.
    """

    path: Path
    text: str
    parsed: Parsed
    tree: ast.Module
    test: Path | None

    @property
    def name(self) -> str:
        return self.path.as_posix()

    @property
    def module(self) -> str:
        return ".".join(self.path.with_suffix("").parts)

    def problem(self, line: int, message: str) -> Problem:
        return Problem(self.name, line, message)

    @cached_property
    def code(self) -> frozenset[int]:
        """The lines that hold code: no prose, no comment, no blank."""
        return frozenset(
            number
            for block in self.parsed.blocks
            if block.kind == "code"
            for number, line in enumerate(split_lines(block.text), block.start)
            if line.strip()
        )

    @cached_property
    def functions(self) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
        kinds = ast.FunctionDef | ast.AsyncFunctionDef
        return [node for node in ast.walk(self.tree) if isinstance(node, kinds)]

    @cached_property
    def bodies(self) -> list[tuple[Definition, str]]:
        """Each class and function with its code, less prose, comments and layout."""
        found = [node for node in ast.walk(self.tree) if isinstance(node, Definition)]
        bare = ([part for part in node.body if not _is_text(part)] for node in found)
        return [(node, ast.unparse(ast.Module(b, []))) for node, b in zip(found, bare, strict=True)]

    @cached_property
    def tests(self) -> ast.Module | None:
        """The tests, parsed; nothing where there are none that Python can read."""
        return parse(self.test.read_text(encoding="utf-8")).tree if self.test else None


def _is_text(node: ast.stmt) -> bool:
    value = node.value if isinstance(node, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def all_papers() -> list[Path]:
    return [path for path in sorted(Path("papers").rglob("*.py")) if is_paper(path)]


def is_paper(path: Path) -> bool:
    return not (
        path.as_posix().startswith(OTHERS)
        or path.name == "__init__.py"
        or path.parent.name == "figures"
    )


def read_papers(paths: Iterable[Path]) -> Iterator[Paper | Problem]:
    r"""
    ## Read

    What Python cannot read is a problem, and no rule has more to say of it.
    """
    for path in paths:
        name = path.as_posix()
        if path.parts[0] != "papers" or len(path.parts) < 3 or not path.is_file():
            yield Problem(name, 1, "is no paper; name papers/<topic>/<paper>.py")
            continue
        source = decode(name, path.read_bytes())
        parsed = parse(source.text) if isinstance(source, Source) else None
        if isinstance(source, Problem):
            yield source
        elif parsed and parsed.tree:
            yield Paper(path, source.text, parsed, parsed.tree, _test_of(path))
        elif parsed:
            yield from (Problem(name, *mistake) for mistake in parsed.mistakes[:1])


def _test_of(path: Path) -> Path | None:
    try:
        return tests_of(path)
    except UserError:
        return None
