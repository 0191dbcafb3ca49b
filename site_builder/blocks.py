r"""
# Blocks

A file becomes a sequence of blocks: code, comments that stand on lines of their own, and
docstrings. A block is whole lines, and the blocks joined are the file: that one invariant,
*lossless*, is tested on every file of Python's standard library.

What a docstring is, Python's syntax tree knows; where the [comments](comments.py) are, a scan of
the text.
"""

from __future__ import annotations

import ast
import re
import tokenize
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from site_builder.comments import find_comments
from site_builder.source import split_lines

Kind = Literal["code", "comment", "docstring"]

# One string literal: prefix, quotes, what lies between them.
LITERAL = re.compile(r"""([rRuU]?)("{3}|'{3}|"|')(.*)\2""", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """Lines `start` to `end`, counted from 1. `prose` is the text without its quotes or hashes."""

    kind: Kind
    text: str
    start: int
    end: int
    prose: str = ""
    prose_line: int = 0


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

    `tree` is `None` and `error` says why, where Python itself cannot read the file. Such a file is
    one block of code.
    """

    blocks: tuple[Block, ...]
    definitions: tuple[Definition, ...] = ()
    tree: ast.Module | None = None
    error: tuple[int, str] | None = None


def parse(text: str) -> Parsed:
    r"""
    ## Parse

    Every line gets a kind and the number of the comment or docstring it belongs to; runs of equal
    lines are the blocks.
    """
    lines = split_lines(text)
    # One ending for all lines, so that `ast` counts them as we do.
    plain = [line.rstrip("\r\n") for line in lines]
    try:
        tree = _syntax_tree("\n".join([*plain, ""]))
        comments = list(find_comments("\n".join([*plain, ""])))
    except (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError) as error:
        whole = (Block("code", text, 1, len(lines)),) if lines else ()
        line = min(getattr(error, "lineno", None) or 1, len(lines) or 1)
        reason = str(getattr(error, "msg", error)) or type(error).__name__
        return Parsed(whole, error=(line, reason))
    owner: dict[int, tuple[Kind, int]] = {}
    prose: dict[int, tuple[str, int]] = {}
    for start, end, content, line in _docstrings(tree, plain):
        owner |= dict.fromkeys(range(start, end + 1), ("docstring", start))
        prose[start] = content, line
    for start, end, content in comments:
        owner |= dict.fromkeys(range(start, end + 1), ("comment", start))
        prose[start] = content, start
    blocks = []
    numbered = enumerate(lines, 1)
    for (kind, _), group in groupby(numbered, key=lambda item: owner.get(item[0], ("code", 0))):
        run = list(group)
        start = run[0][0]
        joined = "".join(line for _, line in run)
        blocks.append(Block(kind, joined, start, run[-1][0], *prose.get(start, ("", 0))))
    return Parsed(tuple(blocks), tuple(sorted(_definitions(tree), key=lambda d: d.start)), tree)


def _syntax_tree(text: str) -> ast.Module:
    # A stranger's invalid escapes are not for us to report.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text)


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


def _docstrings(tree: ast.Module, lines: list[str]) -> Iterator[tuple[int, int, str, int]]:
    r"""
    ## Docstrings

    Yields start, end, text and the line of the text's beginning. A docstring is prose only where
    it has its lines to itself: in `def f(): "one line"`, or beside a second statement, it is left
    to the code.
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
            found = LITERAL.fullmatch("\n".join(lines[start - 1 : end]).strip())
            # Two literals side by side are one docstring to Python, and two strings to a reader.
            if found and not re.search(rf"(?<!\\){found[2]}", found[3].replace(r"\\", "")):
                text, dropped = _dedented(_as_written(found, value.value))
                yield start, end, text, start + dropped


def _as_written(literal: re.Match[str], value: str) -> str:
    r"""
    ## Escapes

    The text of a docstring with one line for each line of the file, so that what is wrong in it can
    be given its place: an escape such as `\\n` stays as it is written, and so does a line that a
    backslash joins to the next.
    """
    prefix, quotes, inside = literal.groups()
    if "\\" not in inside or "r" in prefix.lower():
        return value

    def keep(match: re.Match[str]) -> str:
        return "\n" if match[1] == "\n" else "\\" + match[0] if match[1] in "nrvf" else match[0]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            kept = re.sub(r"\\(.)", keep, inside, flags=re.DOTALL)
            text = str(ast.literal_eval(f"{quotes[0] * 3}{kept}{quotes[0] * 3}"))
        except (SyntaxError, ValueError):
            return inside
    return text if text.count("\n") == inside.count("\n") else inside


def _dedented(text: str) -> tuple[str, int]:
    """As `inspect.cleandoc` has it, and how many blank lines that left out at the top."""
    first, *others = text.expandtabs().split("\n")
    depths = [len(line) - len(line.lstrip()) for line in others if line.strip()]
    margin = min(depths, default=0)
    lines = [first.lstrip(), *(line[margin:] if line.strip() else "" for line in others)]
    whole = "\n".join(lines)
    kept = whole.lstrip("\n")
    return kept.rstrip(), len(whole) - len(kept)


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
