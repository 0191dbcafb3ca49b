r"""
---
title: Settings and training
summary: A small frozen Config that is used, and a file that trains when it is run.
---

# Settings and training
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise

from papers.tools.check.paper import Paper
from site_builder.problem import Problem

MOST = 12


def config(paper: Paper, _: list[Paper]) -> Iterator[Problem]:
    r"""
    ## `Config`
    """
    for node in paper.tree.body:
        if isinstance(node, ast.ClassDef) and node.name == "Config":
            yield from (paper.problem(line, told) for line, told in _flaws(node, paper.tree))


def _flaws(cls: ast.ClassDef, tree: ast.Module) -> Iterator[tuple[int, str]]:
    if "dataclass(frozen=True" not in "".join(map(ast.unparse, cls.decorator_list)):
        yield cls.lineno, "Config can be changed; decorate it with @dataclass(frozen=True)"
    fields = [node for node in cls.body if isinstance(node, ast.AnnAssign)]
    if len(fields) > MOST:
        told = f"Config has {len(fields)} fields; keep the {MOST} that a reader would change"
        yield cls.lineno, told
    helped = {
        field.lineno
        for field, below in pairwise(cls.body)
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
    }
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    own = {node for node in ast.walk(cls) if isinstance(node, ast.Attribute)}
    used = {node.attr for node in attributes if node in own or _of_config(node)}
    for field in fields:
        name = ast.unparse(field.target)
        if field.lineno not in helped:
            yield field.lineno, f"{name} has no help; add a line below it, in quotes"
        if name not in used:
            yield field.lineno, f"nothing uses {name}; use it, or take it out of Config"


def _of_config(node: ast.Attribute) -> bool:
    """As in `run.config.lr`; a layer may have something of the same name."""
    return ast.unparse(node.value).rpartition(".")[2].endswith("config")


def training(paper: Paper, _: list[Paper]) -> Iterator[Problem]:
    r"""
    ## `train`, and the line at the end

    What `main` is given may have another name where nothing is trained.
    """
    functions = [node for node in paper.tree.body if isinstance(node, ast.FunctionDef)]
    ran = list(_ran(paper.tree))
    if not any(f.name == "train" or f.name in ran for f in functions):
        told = "no function train(config, options); write the loop, on a Run of papers.common"
        yield paper.problem(1, told)
    elif not ran:
        last = paper.text.rstrip().count("\n") + 1
        told = 'nothing happens when it is run; end it with if __name__ == "__main__": main(train)'
        yield paper.problem(last, told)


def _ran(tree: ast.Module) -> Iterator[str]:
    """What the line at the end gives to `main`."""
    for node in tree.body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'":
            calls = (call for call in ast.walk(node) if isinstance(call, ast.Call))
            for call in calls:
                if ast.unparse(call.func) == "main" and call.args:
                    yield ast.unparse(call.args[0])
