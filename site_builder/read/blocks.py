r"""
# Blocks

A file becomes a sequence of blocks: code, comments that stand on lines of their own, and
docstrings. A block is whole lines, and the blocks joined are the file: that one invariant,
*lossless*, is tested on every file of Python's standard library.

What a docstring is, Python's syntax tree knows; where the [comments](comments.py) are, its
tokenizer.
"""

from __future__ import annotations

import ast
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from site_builder.read.comments import comment_tokens, prose_comments
from site_builder.read.literals import Docstring, read_docstring
from site_builder.read.source import split_lines

Kind = Literal["code", "comment", "docstring"]
Markup = Literal["markdown", "rest"]


@dataclass(frozen=True, slots=True)
class Block:
    """Lines `start` to `end`, counted from 1. `prose` is the text without quotes and hashes."""

    kind: Kind
    text: str
    start: int
    end: int
    prose: str = ""
    prose_line: int = 0
    markup: Markup = "markdown"


@dataclass(frozen=True, slots=True)
class Definition:
    """A class or function: where it starts, decorators included; its docstring's line, or 0."""

    name: str
    start: int
    line: int
    docstring: int
    depth: int


@dataclass(frozen=True, slots=True)
class Parsed:
    r"""
    ## What parsing gives

    `comments` has the column in which the comment of a line begins. `tree` is `None` where this
    Python cannot read the file; of such a file we know the comments only. `mistakes` are (line,
    message).
    """

    blocks: tuple[Block, ...]
    definitions: tuple[Definition, ...]
    comments: dict[int, int]
    tree: ast.Module | None
    mistakes: tuple[tuple[int, str], ...]


def parse(text: str) -> Parsed:
    r"""
    ## Parse

    Every line gets a kind and the number of the comment or docstring it belongs to; runs of equal
    lines are the blocks.
    """
    lines = split_lines(text)
    # One ending for all lines, so that Python counts them as we do.
    plain = [line.rstrip("\r\n") for line in lines]
    joined = "\n".join([*plain, ""])
    tree, mistakes = _syntax_tree(joined, len(lines))
    owner: dict[int, tuple[Kind, int]] = {}
    prose: dict[int, tuple[str, int]] = {}
    for start, end, docstring in _docstrings(tree, plain) if tree else ():
        owner |= dict.fromkeys(range(start, end + 1), ("docstring", start))
        prose[start] = docstring.text, docstring.line
        mistakes += docstring.mistakes
    alone, behind = comment_tokens(joined)
    for start, end, content in prose_comments(alone):
        owner |= dict.fromkeys(range(start, end + 1), ("comment", start))
        prose[start] = content, start
    blocks = []
    numbered = enumerate(lines, 1)
    for (kind, _), group in groupby(numbered, key=lambda item: owner.get(item[0], ("code", 0))):
        run = list(group)
        start = run[0][0]
        whole = "".join(line for _, line in run)
        blocks.append(Block(kind, whole, start, run[-1][0], *prose.get(start, ("", 0))))
    definitions = sorted(_definitions(tree), key=lambda d: d.start) if tree else ()
    columns = {line: column for line, column, _ in alone + behind}
    return Parsed(tuple(blocks), tuple(definitions), columns, tree, tuple(mistakes))


def _syntax_tree(text: str, last: int) -> tuple[ast.Module | None, list[tuple[int, str]]]:
    """The tree, or why there is none and on which line."""
    try:
        # A stranger's invalid escapes are not for us to report.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text), []
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = min(getattr(error, "lineno", None) or 1, last or 1)
        reason = str(getattr(error, "msg", error)) or type(error).__name__
        version = f"Python {sys.version_info.major}.{sys.version_info.minor}"
        message = f"{version} cannot read the file ({reason}); mend it, or leave it out"
        return None, [(line, message)]


BODIES = ("body", "handlers", "cases", "orelse", "finalbody")
# Most statements have none inside.
INSIDE = {
    kind: tuple(field for field in BODIES if field in kind._fields)
    for kind in vars(ast).values()
    if isinstance(kind, type) and issubclass(kind, ast.AST) and "body" in kind._fields
} | dict.fromkeys((ast.Match,), ("cases",))


def statements(node: ast.AST) -> list[ast.AST]:
    """The statements right inside a node: those of a loop or a branch, not those of its parts."""
    fields = INSIDE.get(type(node), ())
    return [child for field in fields for child in getattr(node, field)]


def _docstrings(tree: ast.Module, lines: list[str]) -> Iterator[tuple[int, int, Docstring]]:
    r"""
    ## Docstrings

    Yields start, end and what the docstring says. It is prose only where it has its lines to
    itself: in `def f(): "one line"`, or beside a second statement, it is left to the code.
    """
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        inside = statements(node)
        stack += inside
        documented = isinstance(
            node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        )
        value = inside[0].value if documented and inside and isinstance(inside[0], ast.Expr) else 0
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            start, end = value.lineno, value.end_lineno or value.lineno
            if docstring := read_docstring(lines[start - 1 : end], start):
                yield start, end, docstring


def _definitions(tree: ast.Module) -> Iterator[Definition]:
    r"""
    ## Definitions

    Classes and functions with dotted names: `Adam.step`.
    """
    stack: list[tuple[ast.AST, str, int]] = [(tree, "", 0)]
    while stack:
        node, prefix, depth = stack.pop()
        for child in statements(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                name = f"{prefix}{child.name}"
                start = min([child.lineno, *(d.lineno for d in child.decorator_list)])
                documented = ast.get_docstring(child, clean=False) is not None
                docstring = child.body[0].lineno if documented else 0
                yield Definition(name, start, child.lineno, docstring, depth)
                stack.append((child, name + ".", depth + 1))
            else:
                stack.append((child, prefix, depth))
