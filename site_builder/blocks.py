r"""
# Blocks

A file becomes a sequence of blocks: code, comments that stand on lines of their own, and
docstrings. A block is whole lines, and the blocks joined are the file: that one invariant,
*lossless*, is tested on every file of Python's standard library.

What a docstring is, Python's syntax tree knows. What a comment is cannot be told by looking for
`#`, which also occurs inside strings, so the text is read from the top, one string or comment
after the other.
"""

from __future__ import annotations

import ast
import inspect
import io
import re
import tokenize
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from site_builder.source import split_lines

Kind = Literal["code", "comment", "docstring"]

# Comments that speak to a tool, not to a reader, stay with the code.
DIRECTIVE = re.compile(
    r"#(!|:?\s*(type:|noqa|fmt:|ruff:|isort:|pragma|pylint:|mypy:|pyright:|-\*-|vim?:|%%)|.{0,40}coding[:=])"
)

# Strings and comments, whichever begins first; and a quote that belongs to neither.
SCAN = re.compile(
    r"""
      \#[^\n]*
    | \"\"\"[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*\"\"\"
    | '''[^'\\]*(?:(?:\\.|'(?!''))[^'\\]*)*'''
    | "(?:[^"\\\n]|\\.)*"
    | '(?:[^'\\\n]|\\.)*'
    | ["']
    """,
    re.VERBOSE | re.DOTALL,
)
# One string literal: prefix, quotes, what lies between them.
LITERAL = re.compile(r"""[rRuU]?("{3}|'{3}|"|')(.*)\1""", re.DOTALL)


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
        comments = list(_comments(_comment_tokens("\n".join([*plain, ""]))))
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


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """The statements right inside a node: those of a loop or a branch, not those of its parts."""
    for field in ("body", "handlers", "cases", "orelse", "finalbody"):
        yield from getattr(node, field, ())


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
        inside = list(statements(node))
        stack += inside
        documented = isinstance(
            node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        )
        value = inside[0].value if documented and inside and isinstance(inside[0], ast.Expr) else 0
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            start, end = value.lineno, value.end_lineno or value.lineno
            found = LITERAL.fullmatch("\n".join(lines[start - 1 : end]).strip())
            # Two literals side by side are one docstring to Python, and two strings to a reader.
            if found and not re.search(rf"(?<!\\){found[1]}", found[2].replace(r"\\", "")):
                # `cleandoc` drops the blank lines at the top, and a backslash after the quotes
                # hides one.
                dropped = re.match(r"(?:\\?[ \t\f]*\n)*", found[2])
                line = start + (dropped[0].count("\n") if dropped else 0)
                yield start, end, inspect.cleandoc(value.value), line


def _comment_tokens(text: str) -> Iterator[tuple[int, int, str]]:
    r"""
    ## Comments, one by one

    Yields line, column and text of each that has its line to itself. The scan takes a twentieth of
    the time of `tokenize`, which decides where the scan cannot: where an f-string holds its own
    quotes, as it may since Python 3.12.
    """
    found = []
    line, counted = 1, 0
    for match in SCAN.finditer(text):
        at, value = match.start(), match[0]
        if value[0] == "#":
            begin = text.rfind("\n", 0, at) + 1
            if not text[begin:at].strip():
                line, counted = line + text.count("\n", counted, at), at
                found.append((line, at - begin, value))
        elif len(value) == 1 or _uneven(text[max(0, at - 2) : at], value):
            tokens = tokenize.generate_tokens(io.StringIO(text).readline)
            comments = (token for token in tokens if token.type == tokenize.COMMENT)
            return (
                (*token.start, token.string)
                for token in list(comments)
                if not token.line[: token.start[1]].strip()
            )
    return iter(found)


def _uneven(prefix: str, string: str) -> bool:
    """Whether the string may be an f-string that has not ended where the scan thinks."""
    if not re.search(r"[fFtT][rR]?$", prefix):
        return False
    braces = string.replace("{{", "").replace("}}", "")
    return braces.count("{") != braces.count("}")


def _comments(tokens: Iterable[tuple[int, int, str]]) -> Iterator[tuple[int, int, str]]:
    r"""
    ## Comments

    Yields start, end and text. Neighbouring lines at the same indentation are one comment.
    """
    alone = [token for token in tokens if not DIRECTIVE.match(token[2])]
    runs = groupby(enumerate(alone), key=lambda item: (item[1][0] - item[0], item[1][1]))
    for _, run in runs:
        found = [token for _, token in run]
        text = "\n".join(_comment_text(token[2]) for token in found)
        yield found[0][0], found[-1][0], text


def _comment_text(comment: str) -> str:
    r"""
    A heading is written with its blank, `# ## Heading`: rows of hashes, boxes drawn with them, and
    code that was commented out twice are not headings.
    """
    text = re.sub(r"^#+:?[ ]?|^#", "", comment)
    return re.sub(r"^#(?!#)", r"\\#", text)


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
