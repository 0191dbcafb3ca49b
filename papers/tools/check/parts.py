r"""
---
title: Parts
summary: Functions that fit a screen, none of which stands twice.
---

# Parts
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from papers.tools.check.paper import Paper
from site_builder.problem import Problem

# Lines of code in a function, and in a body that cannot be alike by chance.
LONGEST, SHORTEST_COPY = 40, 2

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def length(paper: Paper, _: list[Paper]) -> Iterator[Problem]:
    for function in paper.functions:
        span = range(function.lineno, (function.end_lineno or function.lineno) + 1)
        lines = sum(number in paper.code for number in span)
        if lines > LONGEST:
            told = f"{function.name} has {lines} lines of code; split it, {LONGEST} fit a screen"
            yield paper.problem(function.lineno, told)


def copies(paper: Paper, papers: list[Paper]) -> Iterator[Problem]:
    r"""
    ## A body that stands in another paper

    Compared without prose, comments and layout. The earlier of two files keeps it.
    """
    others: dict[str, str] = {}
    for other in papers:
        if other.path < paper.path:
            found = {body: f"{other.module}.{name}" for name, _, body in _bodies(other)}
            others = found | others
    inside = 0
    for name, node, body in _bodies(paper):
        if body in others and node.lineno > inside:
            yield paper.problem(node.lineno, f"{name} is {others[body]}; import that one")
            inside = node.end_lineno or inside


def _bodies(paper: Paper) -> Iterator[tuple[str, Definition, str]]:
    for node in ast.walk(paper.tree):
        if isinstance(node, Definition):
            body = [part for part in node.body if not _is_text(part)]
            text = ast.unparse(ast.Module(body, []))
            if text.count("\n") + 1 >= SHORTEST_COPY:
                yield node.name, node, text


def _is_text(node: ast.stmt) -> bool:
    value = node.value if isinstance(node, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)
