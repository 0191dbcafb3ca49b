r"""
---
title: Claims
summary: The shapes that the comments of a file state, what was seen there, and what was wrong.
---

# Claims
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field

Shape = ast.Tuple


@dataclass
class Claim:
    """Shapes that a comment states, and where their values are found."""

    line: int
    shapes: list[Shape]
    targets: list[ast.expr]
    kind: str
    reached: int = 0
    told_apart: set[tuple[str, str]] = field(default_factory=set)

    def __str__(self) -> str:
        return ", ".join(self.texts())

    def texts(self) -> list[str]:
        return [re.sub(r" ([-+*/]+) ", r"\1", ast.unparse(shape)) for shape in self.shapes]


@dataclass
class Claims:
    """All the claims of one file, and what was found wrong with them."""

    path: str
    by_statement: dict[int, Claim]
    arguments: dict[int, list[Claim]]
    returns: dict[int, Claim]
    statements: dict[int, ast.AST]
    problems: list[tuple[int, str]] = field(default_factory=list)

    def all(self) -> list[Claim]:
        claims = [*self.by_statement.values(), *self.returns.values()]
        for group in self.arguments.values():
            claims += group
        return sorted(claims, key=lambda claim: claim.line)

    def problem(self, line: int, message: str) -> None:
        if (line, message) not in self.problems:
            self.problems.append((line, message))

    def report(self) -> str:
        return "\n".join(
            f"{self.path}:{line}: {message}" for line, message in sorted(self.problems)
        )
