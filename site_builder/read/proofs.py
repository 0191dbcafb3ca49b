r"""
# Proofs

The test that shows what a page says. The tests of `papers/optimizers/adam.py` are
`tests/optimizers/test_adam.py`, where settings say that tests lie in `tests`; files in a folder of
their topic, as `papers/transformers/sampling/nucleus.py`, may share `test_sampling.py`.
"""

from __future__ import annotations

import ast
import functools
import posixpath
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from site_builder.read.blocks import parse
from site_builder.read.source import Source, decode, split_lines


@dataclass(frozen=True, slots=True)
class Proof:
    """A test: its file and line, its name, and its code, which begins on `start`."""

    path: str
    name: str
    line: int
    start: int
    text: str


def tests_below(root: Path, tests: str) -> list[Path]:
    return sorted((root / tests).rglob("test_*.py")) if tests else []


def tests_of(path: str, tests: str, there: Collection[str]) -> str:
    """The file of a page's tests, among those that are `there`; empty if there is none."""
    return next((name for name in _usual(path, tests) if name in there), "")


def _usual(path: str, tests: str) -> Iterator[str]:
    _, _, below = posixpath.dirname(path).partition("/")
    name = f"test_{posixpath.basename(path)}"
    yield posixpath.join(tests, below, name)
    if "/" in below:
        above, folder = posixpath.split(below)
        yield posixpath.join(tests, above, name)
        yield posixpath.join(tests, above, f"test_{folder}.py")


def find_proof(root: Path, tests: str, path: str, name: str, file: str = "") -> Proof | str:
    r"""
    ## Find one

    The test `name` of the page of `path`, or of another `file`, or what keeps it from being found.
    """
    names = [file] if file else [*_usual(path, tests or "tests")]
    found = next((each for each in names if tests and (root / each).is_file()), "")
    if not found:
        return f"has no tests: write {names[0]}, or say in [tool.site_builder] where tests lie"
    source = decode(found, (root / found).read_bytes())
    if not isinstance(source, Source):
        return str(source)
    if proof := _functions(source).get(name):
        return proof
    return f"there is no test {name} in {found}; write it, or mend its name"


# Between two builds a test hardly ever changes.
@functools.lru_cache(maxsize=64)
def _functions(source: Source) -> dict[str, Proof]:
    lines, proofs = split_lines(source.text), dict[str, Proof]()
    tree = parse(source.text).tree
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            start = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            text = "".join(lines[start - 1 : node.end_lineno])
            proof = Proof(source.path, node.name, node.lineno, start, text)
            proofs.setdefault(node.name, proof)
    return proofs
