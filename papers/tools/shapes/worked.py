r"""
---
title: Worked numbers
summary: A small example from front matter, run in its file, with what each of its lines gives.
---

# Worked numbers

Where a formula is the heart of a page, `worked` in its front matter has a few lines of code with
real numbers. They run as if they stood at the end of the file; what an expression gives is
recorded; an assignment is silent, and so is `None`, as at Python's prompt. `check_shapes` runs them
each time and holds them to the record.
"""

from __future__ import annotations

import ast
import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from papers.tools.shapes.made import SMALL, Made, look
from papers.tools.shapes.read import ROOT
from site_builder.problem import Problem
from site_builder.read.claims import Worked
from site_builder.read.document import read_document
from site_builder.read.front_matter import FrontMatter
from site_builder.read.source import decode
from site_builder.results.shapes import shapes_path

Row = dict[str, Any]


class WorkError(AssertionError):
    """What is wrong with an example, as `path:line: message`."""


def front_matter(path: Path) -> FrontMatter:
    source = decode(path.as_posix(), path.read_bytes())
    if isinstance(source, Problem):
        return FrontMatter()
    return read_document(source, frozenset(), False).meta


def work(path: Path, name: str, module: ModuleType | None = None) -> list[Row]:
    r"""
    ## Run them

    `name` is what a message calls the file. Raises `WorkError`.
    """
    meta, rows = front_matter(path), []
    for at, worked in enumerate(meta.worked):
        where = f"{name}:{meta.line('worked', at)}: worked: {worked.at}"
        module = module or importlib.import_module(_dotted(path))
        try:
            made = [(line, each) for line, each in _shown(worked, dict(vars(module)))]
        except Exception as error:
            raise WorkError(f"{where} fails: {type(error).__name__}: {error}") from error
        if not made:
            raise WorkError(f"{where} shows nothing; end it with an expression that has numbers")
        for line, each in made:
            if not each.values:
                told = f"line {line} gives more than {SMALL} numbers, or none; show less of it"
                raise WorkError(f"{where} {told}")
        rows.append({"at": worked.at, "code": worked.code, "made": [_entry(*m) for m in made]})
    return rows


def _dotted(path: Path) -> str:
    return ".".join(path.resolve().relative_to(ROOT).with_suffix("").parts)


def _shown(worked: Worked, space: dict[str, Any]) -> Iterator[tuple[int, Made]]:
    """The line on which each expression ends, and what it gives."""
    torch.manual_seed(0)
    for statement in ast.parse(worked.code).body:
        if isinstance(statement, ast.Expr):
            value = eval(compile(ast.Expression(statement.value), "worked", "eval"), space)
            if value is None:
                continue
            found = look("", value, lambda _: "") or [Made("", type(value).__name__)]
            yield from ((statement.end_lineno or 1, each) for each in found)
        else:
            exec(compile(ast.Module([statement], []), "worked", "exec"), space)


def _entry(line: int, made: Made) -> Row:
    sizes = list(made.sizes or ())
    return {"line": line, "dtype": made.dtype, "sizes": sizes, "values": made.values}


def recorded(path: Path) -> list[Row]:
    target = Path(shapes_path(str(path)))
    data = json.loads(target.read_text(encoding="utf-8")) if target.is_file() else {}
    rows: list[Row] = data.get("worked", [])
    return rows


def is_stale(path: Path) -> bool:
    """Whether front matter has other examples than the record."""
    now = [(worked.at, worked.code) for worked in front_matter(path).worked]
    return now != [(row["at"], row["code"]) for row in recorded(path)]
