r"""
# Cells

A file for those who read it from top to bottom, as a notebook has it: prose, and below it the code
that it is about. A class or a function is one cell of code, since half of one is no Python. So what
its docstrings say, and those of its methods, stands above it, in their order; a comment inside it
stays where it is, between the lines that it explains.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from site_builder.read.blocks import Block, Markup, Parsed
from site_builder.read.conventions import with_items
from site_builder.read.document import Reading
from site_builder.read.sections import HEADING
from site_builder.read.source import split_lines


@dataclass(frozen=True, slots=True)
class Cell:
    r"""
    ## A cell

    `text` has no line break at its end, and `line` is where it begins in its file. `main` is code
    that runs where the file is a script and not a module.
    """

    kind: Literal["prose", "code", "main"]
    text: str
    line: int
    markup: Markup = "markdown"


def read_cells(reading: Reading) -> tuple[Cell, ...]:
    r"""
    ## From a file to its cells

    Without what its first docstring says of the whole file, its title and its front matter.
    """
    parsed = reading.parsed
    taken = _taken(parsed.tree) if parsed.tree else set[int]()
    starts = _starts(parsed.tree, reading.source.text) if parsed.tree else {}
    words = _Words(parsed, reading.strict)
    done: list[Cell] = []
    unit = _Unit("code")
    for block in parsed.blocks:
        if block.kind == "docstring":
            unit.prose += words.of(block)
            unit.without(block, words.pass_for(block))
        elif _is_free(block, parsed, taken):
            done += unit.cells()
            unit = _Unit("code")
            unit.prose += words.of(block)
        else:
            for number, line in enumerate(split_lines(block.text), block.start):
                if number in starts:
                    # Prose above a definition, with no code between, is about it.
                    done += unit.cells()
                    unit = _Unit(starts[number])
                unit.add(line, number)
    return tuple(_joined([*done, *unit.cells()]))


class _Unit:
    """Prose, and the code that stands below it."""

    def __init__(self, kind: Literal["code", "main"]) -> None:
        self.kind = kind
        self.prose: list[Cell] = []
        self.code: list[tuple[int, str]] = []
        self._after_docstring = False

    def add(self, line: str, number: int) -> None:
        if self._after_docstring and not line.strip():
            return
        self._after_docstring = False
        self.code.append((number, line.rstrip("\r\n")))

    def without(self, docstring: Block, instead: str) -> None:
        if instead:
            self.code.append((docstring.start, instead))
        self._after_docstring = True

    def cells(self) -> Iterator[Cell]:
        yield from self.prose
        lines = [*self.code]
        while lines and not lines[0][1].strip():
            lines.pop(0)
        while lines and not lines[-1][1].strip():
            lines.pop()
        if lines:
            yield Cell(self.kind, "\n".join(line for _, line in lines), lines[0][0])


class _Words:
    r"""
    ## What prose says

    The docstring of a method that has no heading is introduced by the method's name, since its code
    is not right below.
    """

    def __init__(self, parsed: Parsed, required: bool) -> None:
        self.required = required
        self.named = {d.docstring: d.name for d in parsed.definitions if d.docstring and d.depth}
        self.alone = {
            node.body[0].lineno
            for node in (ast.walk(parsed.tree) if parsed.tree else ())
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and len(node.body) == 1
        }

    def of(self, block: Block) -> list[Cell]:
        text, line = block.prose.strip("\n"), block.prose_line
        if not text.strip():
            return []
        name = self.named.get(block.start) if block.kind == "docstring" else None
        above = f"**`{name}`**" if name and not HEADING.match(text) else ""
        if block.markup == "rest":
            return [
                *([Cell("prose", above, line)] * bool(above)),
                Cell("prose", text, line, "rest"),
            ]
        if not self.required:
            text = "\n\n".join(piece.strip("\n") for _, piece in with_items(text, block.markup))
        return [Cell("prose", f"{above}\n\n{text}" if above else text, line)]

    def pass_for(self, block: Block) -> str:
        """A body must not be empty."""
        indent = block.text[: len(block.text) - len(block.text.lstrip())]
        return f"{indent}pass" if block.start in self.alone else ""


def _joined(cells: list[Cell]) -> Iterator[Cell]:
    """What continues prose is one cell with it; a heading begins another."""
    before: Cell | None = None
    for cell in cells:
        both = before and before.kind == cell.kind == "prose" and before.markup == cell.markup
        if before and both and not HEADING.match(cell.text):
            before = replace(before, text=f"{before.text}\n\n{cell.text}")
            continue
        if before:
            yield before
        before = cell
    if before:
        yield before


def _is_free(block: Block, parsed: Parsed, taken: set[int]) -> bool:
    """
    Whether a comment stands between two statements, and not in one or at the end of a body. Where
    that is in a file that Python cannot read, nobody knows.
    """
    free = block.kind == "comment" and block.start not in taken and block.text[0] == "#"
    return free and parsed.tree is not None


def _taken(tree: ast.Module) -> set[int]:
    """The lines of all statements."""
    spans = ((_first(node), node.end_lineno or node.lineno) for node in tree.body)
    return {line for first, last in spans for line in range(first, last + 1)}


def _first(node: ast.stmt) -> int:
    return min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])


def _starts(tree: ast.Module, text: str) -> dict[int, Literal["code", "main"]]:
    r"""
    ## Where cells of code begin

    With each definition of the module, behind it, and with what runs only in a script.
    """
    lines = split_lines(text)
    starts: dict[int, Literal["code", "main"]] = {}
    for node in tree.body:
        main = isinstance(node, ast.If) and _is_main(node)
        if main or isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            starts[_first(node)] = "main" if main else "code"
            after = (node.end_lineno or node.lineno) + 1
            # A comment further in than the margin is still about the body.
            while after <= len(lines) and re.match(r"[ \t\f]+#|\s*$", lines[after - 1]):
                after += 1
            starts.setdefault(after, "code")
    return starts


def _is_main(node: ast.If) -> bool:
    """Whether this is `if __name__ == "__main__":`, with nothing else to do otherwise."""
    return ast.unparse(node.test) == "__name__ == '__main__'" and not node.orelse
