r"""
---
title: The twin
summary: A paper without the bodies that a reader is to write, and with them put back.
---

# The twin
"""

from __future__ import annotations

import ast
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from papers.common.errors import UserError
from papers.tools.mutate.text import Edit, Text
from papers.tools.record.asked import document_of
from papers.tools.shapes.read import first_line, parse_shapes
from site_builder.problem import Problem
from site_builder.read.blocks import statements
from site_builder.read.comments import Token, comment_tokens
from site_builder.read.front_matter import FrontMatter
from site_builder.read.source import split_lines

Function = ast.FunctionDef | ast.AsyncFunctionDef
# What the tests of papers compare with.
NEEDED = "pip install -e '.[test]' brings what grades"
NOTHING = (
    "exercises: {} is nothing of this file that has a body to write; name a function or method"
)
Comments = tuple[list[Token], list[Token]]


class Asked(NamedTuple):
    """A name in the front matter, its line, and the functions that it stands for."""

    name: str
    line: int
    functions: tuple[str, ...]


def asked(meta: FrontMatter, tree: ast.Module) -> list[Asked]:
    r"""
    ## What is asked for

    A class stands for its methods, as far as there is something to write in them.
    """
    there = functions_of(tree)
    written = [name for name, nodes in there.items() if not all(map(is_unwritten, nodes))]
    found = []
    for at, name in enumerate(meta.exercises):
        wanted = {name} if name in there else {f"{name}.{one.rpartition('.')[2]}" for one in there}
        functions = tuple(one for one in written if one in wanted)
        found.append(Asked(name, meta.line("exercises", at), functions))
    return found


def names_of(paper: Path) -> list[str]:
    """The functions to write, in the order of the file."""
    where = paper.as_posix()
    try:
        document = document_of(paper)
    except OSError as error:
        told = f"cannot be read: {error.strerror}; give papers/<topic>/<paper>.py"
        raise UserError(f"{where}:1: {told}") from None
    if isinstance(document, Problem) or document.problems:
        raise UserError(str(document if isinstance(document, Problem) else document.problems[0]))
    tree, names = ast.parse(paper.read_bytes()), set[str]()
    for exercise in asked(document.meta, tree):
        if not exercise.functions:
            raise UserError(f"{where}:{exercise.line}: {NOTHING.format(exercise.name)}")
        names.update(exercise.functions)
    if not names:
        told = "has no exercises; name functions in its front matter, exercises: [rotate]"
        raise UserError(f"{where}:1: {told}")
    return [name for name in functions_of(tree) if name in names]


def functions_of(tree: ast.Module) -> dict[str, list[Function]]:
    """By dotted names, in the order of the file. A property and its setter share a name."""
    found: list[tuple[str, Function]] = []
    stack: list[tuple[ast.AST, str]] = [(tree, "")]
    while stack:
        node, prefix = stack.pop()
        for child in statements(node):
            name = f"{prefix}{getattr(child, 'name', '')}"
            if isinstance(child, Function):
                found.append((name, child))
            defines = isinstance(child, Function | ast.ClassDef)
            stack.append((child, f"{name}." if defines else prefix))
    found.sort(key=lambda pair: pair[1].lineno)
    return {name: [node for other, node in found if other == name] for name, _ in found}


def body_of(node: Function) -> list[ast.stmt]:
    return node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body


def is_unwritten(node: Function) -> bool:
    """Nothing stands there yet, or nothing ever does: an abstract method has no body either."""
    body = body_of(node)
    if not body or not isinstance(body[0], ast.Raise) or not body[0].exc:
        return all(isinstance(part, ast.Pass) for part in body)
    return len(body) == 1 and "NotImplementedError" in ast.unparse(body[0].exc)


def unwritten(text: str, names: Collection[str]) -> set[str]:
    there = functions_of(ast.parse(text))
    return {name for name in names if name in there and any(map(is_unwritten, there[name]))}


def blank(text: str, names: Collection[str]) -> str:
    r"""
    ## Without the bodies

    Comments on lines of their own are prose and stay, as hints on the way. Those behind lines are
    of the lines, and go with them; what is returned keeps its shape.
    """
    source = Text(text.encode())
    nodes = [n for name, some in functions_of(source.tree).items() if name in names for n in some]
    # Of a function inside another one, the outer body is all there is to write.
    outer = [n for n in nodes if not any(n is not m and n in ast.walk(m) for m in nodes)]
    edits = [_blanked(source, comment_tokens(text), node) for node in outer]
    return _changed(source, edits)


def _blanked(source: Text, comments: Comments, node: Function) -> Edit:
    alone, behind = comments
    body, words = body_of(node), {line: comment for line, _, comment in behind}
    first, last = body[0].lineno, body[-1].end_lineno or body[-1].lineno
    start = source.span(body[0])[0]
    line_start = source.starts[last - 1]
    end = line_start + len(source.data[line_start : source.starts[last]].rstrip())
    hints = [comment for line, _, comment in alone if first < line <= last]
    returned = [n.end_lineno or 0 for n in ast.walk(node) if isinstance(n, ast.Return)]
    shapes = (words.get(line, "").lstrip("# ") for line in sorted(returned, reverse=True))
    shape = next((words for words in shapes if _is_shape(words)), "")
    told = f"write {node.name}" + (f", which returns {shape}" if shape else "")
    indent = "\n" + " " * body[0].col_offset
    return Edit(start, end, indent.join([*hints, f'raise NotImplementedError("{told}")']))


def _is_shape(words: str) -> bool:
    try:
        return bool(parse_shapes(words))
    except SyntaxError:
        return False


def fill(twin: str, paper: str, names: Collection[str]) -> str:
    r"""
    ## With bodies put back

    Those of the paper, from `def` to the end, so that one function can be judged at a time. What
    else the reader has changed, a helper or an import, stays.
    """
    into, source = Text(twin.encode()), Text(paper.encode())
    there, theirs = functions_of(into.tree), functions_of(source.tree)
    edits = []
    for name in names:
        for mine, paper_s in zip(there[name], theirs[name], strict=False):
            (start, end), (first, last) = _whole(into, mine), _whole(source, paper_s)
            edits.append(Edit(start, end, source.data[first:last].decode()))
    return _changed(into, edits)


def _whole(source: Text, node: Function) -> tuple[int, int]:
    first = first_line(node)
    start = source.starts[first - 1]
    # With its comments: a line in the middle of one ends no line of the file.
    return start, source.starts[node.end_lineno or node.lineno]


def _changed(source: Text, edits: list[Edit]) -> str:
    data = source.data
    for edit in sorted(edits, key=lambda edit: edit.start, reverse=True):
        data = data[: edit.start] + edit.by.encode() + data[edit.end :]
    return data.decode()


def read_twin(path: Path, names: Collection[str]) -> str:
    r"""
    ## What the reader wrote

    It must be Python, and define what it is to define.
    """
    try:
        text = path.read_text(encoding="utf-8")
        there = functions_of(ast.parse(text))
    except OSError as error:
        raise UserError(f"{path.as_posix()}:1: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path.as_posix()}:1: is not UTF-8; save it so") from None
    except (SyntaxError, ValueError) as error:
        line, told = getattr(error, "lineno", None) or 1, getattr(error, "msg", str(error))
        raise UserError(f"{path.as_posix()}:{line}: is no Python: {told}") from None
    if gone := [name for name in names if name not in there]:
        last = max(1, len(split_lines(text)))
        raise UserError(
            f"{path.as_posix()}:{last}: defines no {gone[0]}; put it back, and write it"
        )
    return text
