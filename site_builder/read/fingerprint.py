r"""
# Fingerprints

A result that was recorded holds as long as the code that gave it. The fingerprint of a file is of
what can change a result: not of prose, of comments behind lines, of help under fields, and of blank
lines. What was recorded of single lines holds as long as these [lines](#lines-of-code) do.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from site_builder.read.blocks import Parsed, statements
from site_builder.read.source import split_lines


def fingerprint(parsed: Parsed) -> str:
    return _digest(line[: parsed.comments.get(n)] for n, line in _code(parsed).items())


class Lines(NamedTuple):
    r"""
    ## Lines of code

    By number those that hold code, and a fingerprint of them with the comments behind them. A line
    is known by its place among these, which no change of the prose changes.
    """

    numbers: tuple[int, ...]
    fingerprint: str


def lines_of_code(parsed: Parsed) -> Lines:
    code = {number: line for number, line in _code(parsed).items() if line.strip()}
    return Lines(tuple(code), _digest(code.values()))


def _code(parsed: Parsed) -> dict[int, str]:
    code = {
        number: line
        for block in parsed.blocks
        if block.kind == "code"
        for number, line in enumerate(split_lines(block.text), block.start)
    }
    bare = {number: line[: parsed.comments.get(number)] for number, line in code.items()}
    for first, last in _idle_texts(parsed.tree, bare) if parsed.tree else ():
        for number in range(first, last + 1):
            code[number] = ""
    return code


def _digest(lines: Iterable[str]) -> str:
    text = "\n".join(filter(None, (line.rstrip() for line in lines)))
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


def _idle_texts(tree: ast.Module, code: dict[int, str]) -> Iterator[tuple[int, int]]:
    r"""
    ## Texts that nothing reads

    A string that stands as a statement does nothing. Yields the lines of each that shares them
    with no other code.
    """
    stack: list[ast.AST] = [tree]
    while stack:
        inside = statements(stack.pop())
        stack += inside
        for node in inside:
            value = node.value if isinstance(node, ast.Expr) else None
            if not isinstance(value, ast.Constant) or not isinstance(value.value, str):
                continue
            first, last = value.lineno, value.end_lineno or value.lineno
            # Columns are counted in bytes.
            before = code.get(first, "x").encode()[: value.col_offset]
            after = code.get(last, "x").encode()[value.end_col_offset :]
            if not before.strip() and not after.strip():
                yield first, last
