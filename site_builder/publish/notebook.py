r"""
# Notebooks

Cells as Jupyter keeps them. The first that runs installs what the others import, and what only a
script does is a call, since a notebook's command line is not its reader's.
"""

from __future__ import annotations

import builtins
import json
import posixpath
import re
import symtable
from collections.abc import Callable, Iterator
from typing import Any

from site_builder.problem import BuildError
from site_builder.publish.text import fenced
from site_builder.read.cells import Cell

KERNEL = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}

ABOVE = "## Run it\n\nThe file ends with what a command line does:"
# What gives work to other processes.
PROCESSES = re.compile(r"^\s*(?:from|import)\s.*\bmultiprocessing\b", re.MULTILINE)
ELSEWHERE = (
    "It starts processes that know nothing of this notebook and import the installed file. So that "
    "is called, and no change in the cells above."
)


def render_notebook(
    path: str,
    module: str,
    cells: tuple[Cell, ...],
    install: str,
    calls: tuple[str, ...],
    afterwards: str = "",
) -> bytes:
    r"""
    ## Render

    The notebook of a file that is imported as `module`. `install`, `calls` and `afterwards` are
    as they are [set](../read/settings.py).
    """
    v4, writes = nbformat()
    made = []
    for number, (kind, text) in enumerate(
        _sources(path, module, cells, install, calls, afterwards)
    ):
        new = v4.new_markdown_cell if kind == "prose" else v4.new_code_cell
        made.append(new(text, id=f"cell-{number}"))
    return (writes(v4.new_notebook(cells=made, metadata=KERNEL)) + "\n").encode()


def nbformat() -> tuple[Any, Callable[[Any], str]]:
    """What makes cells and what writes them. Raises `BuildError` where it is missing."""
    try:
        # It need not be there, and only builds with notebooks pay for the import: 120 ms.
        from nbformat import v4, writes
    except ImportError:
        raise BuildError(
            "notebooks need nbformat; run `pip install 'annotated-papers[notebooks]'`"
        ) from None
    return v4, writes


def _sources(
    path: str,
    module: str,
    cells: tuple[Cell, ...],
    install: str,
    calls: tuple[str, ...],
    afterwards: str,
) -> Iterator[tuple[str, str]]:
    code = "\n".join(cell.text for cell in cells if cell.kind == "code")
    for number, cell in enumerate(cells):
        if cell.kind != "main":
            yield cell.kind, cell.text
        elif call := _call(code, calls):
            yield "prose", f"{ABOVE}\n\n{fenced(cell.text)}\n\nHere we call it."
            if PROCESSES.search(code):
                yield "prose", ELSEWHERE
                call = f"from {module} import {', '.join(sorted(_own(code, call)))}\n\n{call}"
            yield "code", call
            if afterwards:
                yield "code", afterwards
        else:
            yield "prose", "## Run it\n\nAs from a command line without arguments:"
            yield "code", f"import sys\n\nsys.argv = [{posixpath.basename(path)!r}]"
            yield "code", cell.text
        if number == 0 and install:
            # The quotes of JSON are those of the shell.
            yield "code", f"%pip install -q {json.dumps(install)}"


def _call(code: str, calls: tuple[str, ...]) -> str:
    """The first whose names the code has."""
    known = {*dir(builtins), *_given(code)} if calls else set()
    return next((call for call in calls if _asked(call) <= known), "")


def _own(code: str, call: str) -> set[str]:
    """What the code defines itself of the names in a call."""
    return {name for name, table in _given(code).items() if not table.is_imported()} & _asked(call)


def _given(code: str) -> dict[str, symtable.Symbol]:
    symbols = symtable.symtable(code, "cells", "exec").get_symbols()
    return {s.get_name(): s for s in symbols if s.is_assigned() or s.is_imported()}


def _asked(call: str) -> set[str]:
    symbols = symtable.symtable(call, "call", "exec").get_symbols()
    return {s.get_name() for s in symbols if not s.is_assigned() and not s.is_imported()}
