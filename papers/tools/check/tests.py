r"""
---
title: What the tests show
summary: Each test can fail, and there is one against somebody else's code and one of shapes.
---

# What the tests show

Whether a test is any good, only [planted mistakes](../mutate/__init__.py) tell. Whether it is
there, its file does.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from papers.tools.check.paper import Paper
from papers.tools.shapes.read import read_claims
from site_builder.problem import Problem

Function = ast.FunctionDef | ast.AsyncFunctionDef
# What a call that can fail is called.
FAILING = ("assert", "check_shapes", "pytest.raises", "pytest.fail", "raises")


def there(paper: Paper, _: list[Paper]) -> Iterator[Problem]:
    if not paper.test:
        name = f"tests/{paper.path.parts[1]}/test_{paper.path.stem}.py"
        yield paper.problem(1, f"has no tests; write {name}")


def asserting(paper: Paper, _: list[Paper]) -> Iterator[Problem]:
    r"""
    ## A test that asserts nothing

    By itself, or by a function that it calls: of its file, or of a file of ours that it imports.
    """
    own = _functions(paper.tests or ast.Module([], []))
    functions = _imported(paper) | own
    able = {name for name, node in functions.items() if _can_fail(node)}
    while more := {n for n, node in functions.items() if _called(node) & able} - able:
        able |= more
    for name, node in own.items():
        if name.startswith("test_") and name not in able and paper.test:
            told = f"{name} asserts nothing; say what must hold, so that a mistake fails it"
            yield Problem(paper.test.as_posix(), node.lineno, told)


def parity(paper: Paper, _: list[Paper]) -> Iterator[Problem]:
    r"""
    ## Parity

    What somebody else's code makes is called `theirs` in our tests, so that it reads at a glance.
    """
    names = (n.id for n in ast.walk(paper.tests or ast.Module([], [])) if isinstance(n, ast.Name))
    if paper.test and not any(name.startswith("theirs") for name in names):
        told = "compares with nobody's code; hold the paper's part to a library's, and call it"
        yield Problem(paper.test.as_posix(), 1, f"{told} theirs")


def shapes(paper: Paper, _: list[Paper]) -> Iterator[Problem]:
    r"""
    ## Shapes
    """
    if not read_claims(paper.path).all():
        yield paper.problem(1, "states no shape; say behind a line what it makes, as # (B, T, C)")
    elif paper.test and not any(paper.path.name in text for text in _examples(paper.test)):
        told = f'runs no example of its shapes; call check_shapes("{paper.name}", B=2, …) in a test'
        yield Problem(paper.test.as_posix(), 1, told)


def _examples(test: Path) -> Iterator[str]:
    """A topic's file of tests may hold the examples of several papers."""
    texts = (file.read_text(encoding="utf-8") for file in test.parent.glob("test_*.py"))
    return (text for text in texts if "check_shapes(" in text)


def _functions(tree: ast.AST) -> dict[str, Function]:
    return {node.name: node for node in ast.walk(tree) if isinstance(node, Function)}


def _imported(paper: Paper) -> dict[str, Function]:
    """What the files of tests that a file of tests imports define."""
    found: dict[str, Function] = {}
    if paper.test is None or paper.tests is None:
        return found
    top = next(folder for folder in paper.test.parents if folder.name == "tests").parent
    for node in ast.walk(paper.tests):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "tests":
            module = top.joinpath(*(node.module or "").split("."))
            for file in (module, *(module / alias.name for alias in node.names)):
                if (path := file.with_suffix(".py")).is_file():
                    found |= _functions(ast.parse(path.read_text(encoding="utf-8")))
    return found


def _can_fail(node: ast.AST) -> bool:
    inside = list(ast.walk(node))
    return any(isinstance(n, ast.Assert) for n in inside) or any(
        name.startswith(FAILING) for name in _called(node)
    )


def _called(node: ast.AST) -> set[str]:
    """The names that are called, whole and without what they are of."""
    calls = [ast.unparse(n.func) for n in ast.walk(node) if isinstance(n, ast.Call)]
    return {*calls, *(name.rpartition(".")[2] for name in calls)}
