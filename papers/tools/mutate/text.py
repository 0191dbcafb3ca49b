r"""
---
title: Places in a source
summary: Where a node of the syntax tree stands in the bytes of a file, and that file changed there.
---

# Places in a source
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

# What no test should have to pin down, and what Python 3.11 gives no place of: formatted strings.
QUIET = (ast.JoinedStr, ast.Raise, ast.Import, ast.ImportFrom)
QUIET_FIELDS = {"annotation", "returns", "decorator_list"}


@dataclass(frozen=True)
class Edit:
    """Bytes from `start` to `end`, replaced."""

    start: int
    end: int
    by: str


class Text:
    r"""
    ## A file and its tree

    Places are counted in bytes, as `ast` counts columns.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.tree = ast.parse(data)
        lines = data.splitlines(keepends=True)
        self.dump = ast.dump(self.tree)
        self.starts = [0, *itertools.accumulate(map(len, lines))]

    @cached_property
    def modules(self) -> set[str]:
        """The names that imports bound, most of which are modules."""
        imports = [n for n in ast.walk(self.tree) if isinstance(n, ast.Import | ast.ImportFrom)]
        return {(a.asname or a.name).partition(".")[0] for node in imports for a in node.names}

    @cached_property
    def fields(self) -> dict[str, str]:
        """The defaults of `Config`."""
        configs = [node for node in self.tree.body if getattr(node, "name", "") == "Config"]
        inner = [node for config in configs for node in ast.walk(config)]
        found = [n for n in inner if isinstance(n, ast.AnnAssign) and n.value is not None]
        return {self.of(node.target): self.of(node.value) for node in found if node.value}

    def walk(self, node: ast.AST) -> Iterator[ast.AST]:
        yield node
        for name, value in ast.iter_fields(node):
            for child in value if isinstance(value, list) else [value]:
                if name in QUIET_FIELDS or isinstance(child, QUIET) or main(child):
                    continue
                if isinstance(child, ast.AST):
                    yield from self.walk(child)

    def span(self, node: ast.AST) -> tuple[int, int]:
        assert isinstance(node, ast.expr | ast.stmt | ast.keyword)
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = self.starts[node.lineno - 1] + node.col_offset
        return start, self.starts[node.end_lineno - 1] + node.end_col_offset

    def of(self, node: ast.AST) -> str:
        start, end = self.span(node)
        return self.data[start:end].decode()

    def replace(self, node: ast.AST, by: str) -> Edit:
        return Edit(*self.span(node), by)

    def between(self, left: ast.AST, right: ast.AST, old: str, new: str) -> Iterator[Edit]:
        """An operator, which has no place of its own, stands once between its sides."""
        start, end = self.span(left)[1], self.span(right)[0]
        gap = self.data[start:end].decode()
        if "#" not in gap and gap.count(old) == 1:
            at = start + gap.encode().index(old.encode())
            yield Edit(at, at + len(old), new)

    def without(self, keyword: ast.keyword, call: ast.Call) -> Iterator[Edit]:
        """A named argument and one of its commas."""
        start, end = self.span(keyword)
        before = re.search(rb",\s*$", self.data[:start])
        after = re.match(rb"\s*,\s*", self.data[end:])
        if keyword.arg is not None and before:
            yield Edit(start - len(before[0]), end, "")
        elif keyword.arg is not None and after:
            yield Edit(start, end + len(after[0]), "")

    def changed(self, edit: Edit) -> str | None:
        """The file with the edit, with as many lines; nothing where that is no other Python."""
        gone = self.data[edit.start : edit.end].count(b"\n") - edit.by.count("\n")
        by = edit.by.encode() + b"\\\n" * max(gone, 0)
        data = self.data[: edit.start] + by + self.data[edit.end :]
        try:
            same = ast.dump(ast.parse(data)) == self.dump
        except SyntaxError:
            return None
        return None if same else data.decode()

    def line(self, edit: Edit) -> int:
        return self.data[: edit.start].count(b"\n") + 1

    def said(self, edit: Edit) -> str:
        old = " ".join(self.data[edit.start : edit.end].decode().split())
        new = " ".join(edit.by.split())
        return f"{old} → {new}" if new else f"without {old.strip(', ')}"


def main(node: object) -> bool:
    """What a file does only as a command."""
    return isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)
