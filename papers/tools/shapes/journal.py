r"""
---
title: The journal
summary: Of each function one call is shown, the one that tells most, and each size by its letter.
---

# The journal

An example calls a function many times. What a page shows of its lines comes from one call where
it can, so that they agree: the one that reached most lines, among those the one where sizes differ
most, among those the one with most small tensors, the smallest, the first.

A size is called by a letter when that letter, alone, had its value in every call; else by an
expression that a comment of the file has, `D/2`, on the same condition. Where a call has no letter
for it, that of its caller will do. A number that stands in
the line itself stays a number, and so does what two letters fit.
"""

from __future__ import annotations

import ast
import math
import weakref
from collections import Counter
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any

from papers.tools.shapes.claims import Claims
from papers.tools.shapes.made import Made, is_tensor, last_line, look
from papers.tools.shapes.read import SIZE, first_line
from papers.tools.shapes.sizes import evaluate

# Calls of one function, with arguments of the same sizes, that are compared.
CALLS = 4
Lines = tuple[int, int]
Rows = dict[Lines, list[Made]]
Sizes = dict[str, int]
# Lines, name, the number of sizes and the place of one: what it is known by in all calls.
Known = tuple[Lines, str, int, int]


@dataclass
class Journal:
    """What the lines of one file made while its example ran."""

    claims: Claims
    calls: Counter[tuple[Any, ...]] = field(default_factory=Counter)
    best: dict[CodeType, tuple[tuple[int, ...], Rows]] = field(default_factory=dict)
    others: Rows = field(default_factory=dict)
    spelled: dict[Known, set[str]] = field(default_factory=dict)
    said: dict[int, tuple[weakref.ref[Any], str]] = field(default_factory=dict)
    worked: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        nodes = {id(node): node for node in self.claims.statements.values()}.values()
        kinds = ast.FunctionDef, ast.AsyncFunctionDef
        self.functions = {first_line(node): node for node in nodes if isinstance(node, kinds)}
        sizes = [
            size for claim in self.claims.all() for shape in claim.shapes for size in shape.elts
        ]
        self.letters = {n.id for size in sizes for n in ast.walk(size) if isinstance(n, ast.Name)}
        self.expressions = {
            ast.unparse(size).replace(" ", ""): size
            for size in sizes
            if isinstance(size, ast.BinOp)
        }

    def say(self, value: Any, shape: str) -> None:
        """A comment is right about a tensor: wherever that goes, it keeps its shape."""
        if "..." not in shape and is_tensor(value):
            self.said[id(value)] = weakref.ref(value), shape

    def said_of(self, value: Any) -> str:
        known, shape = self.said.get(id(value), (None, ""))
        return shape if known and known() is value else ""

    def arguments(self, frame: FrameType) -> Rows:
        """A call begins: what it is given, by the lines of its signature."""
        rows: Rows = {}
        function = self.functions.get(frame.f_code.co_firstlineno)
        spec = function.args if function else ast.arguments([], [], None, [], [], None, [])
        for argument in [*spec.posonlyargs, *spec.args, *spec.kwonlyargs]:
            if argument.arg in frame.f_locals and argument.arg not in ("self", "cls"):
                made = look(argument.arg, frame.f_locals[argument.arg], self.said_of)
                lines = argument.lineno, argument.end_lineno or argument.lineno
                rows[lines] = [*rows.get(lines, []), *made]
        return {lines: mades for lines, mades in rows.items() if mades}

    def is_new(self, code: CodeType, rows: Rows) -> bool:
        """Whether a call with these arguments may show something that no other did."""
        sizes = [made.sizes for mades in rows.values() for made in mades]
        self.calls[code, *sizes] += 1
        return self.calls[code, *sizes] <= CALLS

    def note(self, rows: Rows, statement: ast.AST, named: list[Any]) -> None:
        """The first that a statement makes in a call; `named` are pairs of name and value."""
        lines = statement.lineno, last_line(statement)  # type: ignore[attr-defined]
        if lines not in rows:
            made = [each for name, value in named for each in look(name, value, self.said_of)]
            if made:
                rows[lines] = made

    def close(self, rows: Rows, frame: FrameType, met: Sizes, around: Sizes) -> None:
        """A call has ended, or pauses: now its letters are known, and those of its caller."""
        scopes = {**frame.f_globals, **frame.f_locals}.items()
        own = {n: v for n, v in scopes if type(v) is int and self.is_letter(n)} | met
        outer = {name: value for name, value in around.items() if name not in own}
        for lines, mades in rows.items():
            for made in mades:
                self.spell(lines, made, own, outer)
                if not holds(made, outer | own):
                    made.shape = ""
            self.others.setdefault(lines, mades)
        shown = [made for mades in rows.values() for made in mades if made.sizes]
        score = (
            -len(rows),
            sum(unclear(made.sizes or ()) for made in shown),
            sum((made.sizes or ()).count(1) for made in shown),
            sum(not made.values for made in shown),
            sum(math.prod(made.sizes or ()) for made in shown),
        )
        if frame.f_code not in self.best or score < self.best[frame.f_code][0]:
            self.best[frame.f_code] = score, rows

    def is_letter(self, name: str) -> bool:
        return name in self.letters or (len(name) == 1 and SIZE.fullmatch(name) is not None)

    def spell(self, lines: Lines, made: Made, own: Sizes, outer: Sizes) -> None:
        literals = {
            node.value
            for node in ast.walk(self.claims.statements[lines[0]])
            if isinstance(node, ast.Constant)
            and type(node.value) is int
            and node.lineno <= lines[1]
        }
        for at, size in enumerate(made.sizes or ()):
            words = self.words(size, own, outer)
            # What is 1 in this call may be any letter, and so may what no call around it knows.
            if size > 1 and (words or outer or size in literals):
                known = lines, made.name, len(made.sizes or ()), at
                fits = set() if size in literals else words
                self.spelled[known] = self.spelled.get(known, fits) & fits

    def words(self, size: int, own: Sizes, outer: Sizes) -> set[str]:
        """The letters and expressions that stand for a size here."""
        letters = {name for name, value in own.items() if value == size}
        letters = letters or {name for name, value in outer.items() if value == size}
        scope = own if letters else outer | own
        texts = set()
        for text, expression in self.expressions.items():
            used = {node.id for node in ast.walk(expression) if isinstance(node, ast.Name)}
            # The width is heads times features, and called by its letter.
            idle = letters and len(used) > 1
            if used <= scope.keys() and not idle and evaluate(expression, scope) == size:
                texts.add(text)
        return letters | texts

    def rows(self) -> Rows:
        """What is shown of each line, in order, with its shape."""
        chosen = dict(self.others)
        for _, rows in self.best.values():
            chosen |= rows
        stated = self.stated()
        for lines, mades in chosen.items():
            shapes = stated.get(lines, [])
            for at, made in enumerate(mades):
                if made.sizes is None:
                    continue
                if len(shapes) == 1 or len(shapes) == len(mades):
                    made.shape = shapes[at if len(shapes) > 1 else 0]
                else:
                    made.shape = self.derived(lines, made)
        return dict(sorted(chosen.items()))

    def stated(self) -> dict[Lines, list[str]]:
        """The shapes that comments give to the statements of the file."""
        found: dict[Lines, list[str]] = {}
        for first, function in self.functions.items():
            if first in self.claims.returns:
                ends = [node for node in ast.walk(function) if isinstance(node, ast.Return)]
                shapes = self.claims.returns[first].texts()
                found |= {(node.lineno, last_line(node)): shapes for node in ends}
        for claim in (claim for group in self.claims.arguments.values() for claim in group):
            found[claim.line, claim.line] = claim.texts()
        for statement in self.claims.statements.values():
            if id(statement) in self.claims.by_statement:
                lines = statement.lineno, last_line(statement)  # type: ignore[attr-defined]
                found[lines] = self.claims.by_statement[id(statement)].texts()
        return found

    def derived(self, lines: Lines, made: Made) -> str:
        """By the letters of the call, else as a comment elsewhere has it, else with numbers."""
        words, sizes, unknown = [], made.sizes or (), False
        for at, size in enumerate(sizes):
            fits = self.spelled.get((lines, made.name, len(sizes), at), set[str]())
            unknown |= size > 1 and len(fits) != 1
            words.append(next(iter(fits)) if len(fits) == 1 else str(size))
        text = f"({', '.join(words)}{',' if len(words) == 1 else ''})"
        return made.shape if unknown and made.shape else text


def holds(made: Made, known: Sizes) -> bool:
    """Whether what a comment said elsewhere agrees with the letters here."""
    shape = ast.parse(made.shape or "()", mode="eval").body
    for stated, size in zip(getattr(shape, "elts", []), made.sizes or (), strict=False):
        used = {node.id for node in ast.walk(stated) if isinstance(node, ast.Name)}
        if used <= known.keys() and evaluate(stated, known) != size:
            return False
    return True


def unclear(sizes: tuple[int, ...]) -> int:
    """How many sizes do not tell which they are: those that are equal, and a batch of one."""
    wide = [size for size in sizes if size > 1]
    return len(wide) - len(set(wide)) + (sizes[:1] == (1,))
