r"""
---
title: The tree
summary: Where the files of a paper lie, and what it may import.
---

# The tree
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

from papers.tools.check.paper import Paper
from site_builder.problem import Problem

# What a paper may rest on: all that a person who installs the papers gets, and what a kernel asks
# for when it is used.
EXTRAS = ("papers", "kernels")


def packages(paper: Paper, _: list[Paper]) -> Iterator[Problem]:
    r"""
    ## A folder is a package

    A topic says what it is in its `__init__.py`, and so does a folder in it. Python tells two files
    of tests with one name apart by their packages.
    """
    folders = [Path(*paper.path.parts[:depth]) for depth in range(2, len(paper.path.parts))]
    for folder in folders:
        if not (folder / "__init__.py").is_file():
            told = f"the folder has no {folder.as_posix()}/__init__.py"
            yield paper.problem(1, f"{told}; write one with title, summary and, of a topic, family")
    if paper.test and not (paper.test.parent / "__init__.py").is_file():
        told = f"its tests have no {paper.test.parent.as_posix()}/__init__.py"
        yield paper.problem(1, f"{told}; add an empty one")


def imports(paper: Paper, _: list[Paper]) -> Iterator[Problem]:
    r"""
    ## Whoever installs it can import it
    """
    declared = _declared()
    for line, name in _imported(paper.tree):
        ours = Path(name).is_dir() or name in sys.stdlib_module_names
        if not ours and declared.isdisjoint(map(_plain, _providers().get(name, [name]))):
            told = f"{name} is not declared; add its package to [papers] in pyproject.toml"
            yield paper.problem(line, told)


def _imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module.partition(".")[0]


# Asking reads a file of each package that is installed.
_providers = cache(packages_distributions)


@cache
def _declared() -> frozenset[str]:
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project.get("optional-dependencies", {})
    lists = [project.get("dependencies", []), *(extras.get(extra, []) for extra in EXTRAS)]
    # A requirement begins with the name of its package.
    return frozenset(_plain(re.split(r"[^\w.-]", line)[0]) for lines in lists for line in lines)


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
