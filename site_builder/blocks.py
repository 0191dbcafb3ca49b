r"""
# Blocks

A file becomes a sequence of blocks: code, comments that stand on lines of their own, and
docstrings. A block is whole lines, and the blocks joined are the file: that one invariant,
*lossless*, is tested on every file of Python's standard library.

What a comment is, the tokenizer knows; what a docstring is, the syntax tree knows. Neither
question can be answered by looking for `#` and `\"\"\"` in the text, where they also occur inside
strings.
"""

from __future__ import annotations

import ast
import inspect
import io
import re
import tokenize
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from site_builder.source import split_lines

Kind = Literal["code", "comment", "docstring"]

# Comments that speak to a tool, not to a reader, stay with the code.
DIRECTIVE = re.compile(
    r"#(!|:?\s*(type:|noqa|fmt:|ruff:|isort:|pragma|pylint:|mypy:|pyright:|-\*-|vim?:|%%)|.{0,40}coding[:=])"
)


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
    # One ending for all lines, so that `ast` and `tokenize` count them as we do.
    plain = "".join(line.rstrip("\r\n") + "\n" for line in lines)
    try:
        tree = _syntax_tree(plain)
        tokens = list(tokenize.generate_tokens(io.StringIO(plain).readline))
    except (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError) as error:
        whole = (Block("code", text, 1, len(lines)),) if lines else ()
        line = getattr(error, "lineno", None) or 1
        reason = str(getattr(error, "msg", error)) or type(error).__name__
        return Parsed(whole, error=(line, reason))
    owner: dict[int, tuple[Kind, int]] = {}
    prose: dict[int, tuple[str, int]] = {}
    for start, end, content, line in _docstrings(tree, tokens):
        owner |= dict.fromkeys(range(start, end + 1), ("docstring", start))
        prose[start] = content, line
    for start, end, content in _comments(tokens):
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


def _documented(tree: ast.Module) -> Iterator[ast.Constant]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            value = first.value if isinstance(first, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield value


def _docstrings(
    tree: ast.Module, tokens: list[tokenize.TokenInfo]
) -> Iterator[tuple[int, int, str, int]]:
    r"""
    ## Docstrings

    Yields start, end, text and the line of the text's beginning. A docstring is prose only where
    it has its lines to itself: in `def f(): "one line"`, or beside a second statement, it is left
    to the code.
    """
    strings = {t.start[0]: i for i, t in enumerate(tokens) if t.type == tokenize.STRING}
    for node in _documented(tree):
        index = strings.get(node.lineno)
        if index is None:
            continue
        token, after = tokens[index], tokens[index + 1]
        alone = not token.line[: token.start[1]].strip() and after.type == tokenize.NEWLINE
        if alone and token.start[1] == node.col_offset and token.end[0] == node.end_lineno:
            value = str(node.value)
            body = token.string.lstrip("rRuU").lstrip("\"'")
            # `cleandoc` drops the blank lines at the top, and a backslash after the quotes hides
            # one.
            dropped = len(re.match(r"(?:\\?[ \t]*\n)*", body)[0].splitlines())  # type: ignore[index]
            yield token.start[0], token.end[0], inspect.cleandoc(value), token.start[0] + dropped


def _comments(tokens: list[tokenize.TokenInfo]) -> Iterator[tuple[int, int, str]]:
    r"""
    ## Comments

    Yields start, end and text. Neighbouring lines at the same indentation are one comment.
    """
    alone = [
        token
        for token in tokens
        if token.type == tokenize.COMMENT
        and not token.line[: token.start[1]].strip()
        and not DIRECTIVE.match(token.string)
    ]
    runs = groupby(
        enumerate(alone), key=lambda item: (item[1].start[0] - item[0], item[1].start[1])
    )
    for _, run in runs:
        found = [token for _, token in run]
        text = "\n".join(re.sub(r"^#+: ?|^# ?", "", token.string) for token in found)
        yield found[0].start[0], found[-1].start[0], text


def _definitions(tree: ast.Module) -> Iterator[Definition]:
    r"""
    ## Definitions

    Classes and functions with dotted names: `Adam.step`.
    """
    stack: list[tuple[ast.AST, str, int]] = [(tree, "", 0)]
    while stack:
        node, prefix, depth = stack.pop()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                name = f"{prefix}{child.name}"
                start = min([child.lineno, *(d.lineno for d in child.decorator_list)])
                documented = ast.get_docstring(child, clean=False) is not None
                docstring = child.body[0].lineno if documented else 0
                yield Definition(name, start, child.lineno, docstring, depth)
                stack.append((child, name + ".", depth + 1))
            elif isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
                stack.append((child, prefix, depth))
