r"""
---
title: Following the code
summary: Each call of a file has sizes of its own, and a claim is checked where its line ends.
---

# Following the code

Python calls us at each line of a function that it runs (`sys.settrace`). A claim speaks of what its
statement made, so it is checked when the next one begins, or at the return.
"""

from __future__ import annotations

import ast
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from papers.tools.shapes.claims import Claim, Shape
from papers.tools.shapes.journal import Journal
from papers.tools.shapes.made import returned, watched
from papers.tools.shapes.sizes import evaluate, solve

LOOPS = (
    *(ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp),
    *(ast.For, ast.YieldFrom, ast.Await),
)

GENERATOR = 0x20 | 0x80 | 0x200  # CO_GENERATOR, CO_COROUTINE, CO_ASYNC_GENERATOR


class Tracer:
    """Follows every call of the file's functions: each gets sizes of its own."""

    def __init__(self, journal: Journal, path: str, sizes: dict[str, int]) -> None:
        self.journal, self.path, self.sizes = journal, path, sizes
        self.ours: dict[CodeType, bool] = {}

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Any:
        code = frame.f_code
        if code not in self.ours:
            # Comprehensions and lambdas are part of the statement that they stand in.
            whole = code.co_name == "<module>" or not code.co_name.startswith("<")
            self.ours[code] = whole and str(Path(code.co_filename).resolve()) == self.path
        if not self.ours[code]:
            return None
        if isinstance(frame.f_trace, Call):  # a generator goes on
            return frame.f_trace
        return Call(self.journal, frame, dict(self.sizes))


class Call:
    """One call: a claim is checked when the line after its statement begins, or at the return."""

    def __init__(self, journal: Journal, frame: FrameType, sizes: dict[str, int]) -> None:
        self.journal, self.claims = journal, journal.claims
        self.given, self.met, self.letters = sizes, dict[str, int](), dict[str, int]()
        self.running: ast.AST | None = None
        self.leaving: ast.Return | None = None
        line = frame.f_code.co_firstlineno
        self.result = self.claims.returns.get(line)
        self.rows = journal.arguments(frame)
        self.is_watched = journal.is_new(frame.f_code, self.rows)
        for claim in self.claims.arguments.get(line, []):
            self.check(claim, frame)

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Call:
        if event == "line":
            statement = self.claims.statements.get(frame.f_lineno)
            if statement is not self.running:
                self.finish(frame, statement)
                self.running = statement
                if isinstance(statement, ast.Return):
                    self.leaving = statement  # `with` and `finally` may still run lines
        elif event == "exception":
            # A loop that runs out raises StopIteration and goes on; any other error ends the
            # statement, and what it was to make is not there.
            inside = ast.walk(self.running) if self.running else ()
            loops = any(isinstance(node, LOOPS) for node in inside)
            if not (loops and issubclass(arg[0], StopIteration)):
                self.running = self.leaving = None
        elif event == "return":
            self.value(frame, arg)
            if self.is_watched:
                self.journal.close(self.rows, frame, self.letters, self.given | around(frame))
        return self

    def finish(self, frame: FrameType, following: ast.AST | None) -> None:
        body = getattr(self.running, "body", None)
        if self.running is None or (body and following is not body[0]):
            return
        self.look(frame, self.running)
        claim = self.claims.by_statement.get(id(self.running))
        if claim and claim.kind not in ("return", "yield"):
            self.check(claim, frame)

    def look(self, frame: FrameType, statement: ast.AST) -> None:
        """What a statement made, whether or not a comment speaks of it."""
        if self.is_watched:
            named = [(ast.unparse(t), self.evaluate(t, frame)) for t in watched(statement)]
            self.journal.note(self.rows, statement, named)

    def value(self, frame: FrameType, value: Any) -> None:
        ending = self.leaving or self.running
        if isinstance(ending, ast.Return) or isinstance(getattr(ending, "value", None), ast.Yield):
            assert ending
            if self.is_watched:
                self.journal.note(self.rows, ending, returned(ending, value))
        elif ending and not hasattr(ending, "body"):
            self.look(frame, ending)
        claim = self.claims.by_statement.get(id(ending))
        if claim and claim.kind in ("return", "yield"):
            self.compare(claim, flat(value), frame)
        elif claim and claim.kind == "assign" and not frame.f_code.co_flags & GENERATOR:
            self.check(claim, frame)
        if self.result and self.leaving:
            self.compare(self.result, flat(value), frame)

    def check(self, claim: Claim, frame: FrameType) -> None:
        values = (self.evaluate(target, frame) for target in claim.targets)
        self.compare(claim, flat(*values), frame)

    def evaluate(self, target: ast.expr, frame: FrameType) -> Any:
        if isinstance(target, ast.Name) and target.id in frame.f_locals:
            return frame.f_locals[target.id]
        expression = ast.Expression(target)
        ast.fix_missing_locations(as_load(expression))
        code = compile(expression, self.claims.path, "eval")
        return eval(code, frame.f_globals, frame.f_locals)

    def compare(self, claim: Claim, values: list[Any], frame: FrameType) -> None:
        claim.reached += 1
        shapes = claim.shapes * len(values) if len(claim.shapes) == 1 else claim.shapes
        if len(values) != len(shapes):
            self.claims.problem(claim.line, f"claims {claim} but got {len(values)} values")
            return
        names = [ast.unparse(target) for target in claim.targets]
        for index, (shape, value) in enumerate(zip(shapes, values, strict=True)):
            got = shape_of(value)
            if isinstance(got, str) or not self.agrees(shape, got, frame, claim):
                known = self.sizes(shape, frame, claim)
                used = ", ".join(f"{name} is {size}" for name, size in sorted(known.items()))
                where = f" where {used}" if used else ""
                what = f" for {names[index]}" if len(names) == len(values) > 1 else ""
                self.claims.problem(claim.line, f"claims {claim} but got {got}{what}{where}")
                return
            self.journal.say(value, claim.texts()[index if len(claim.shapes) > 1 else 0])

    def sizes(self, shape: Shape, frame: FrameType, claim: Claim) -> dict[str, int]:
        """Given sizes rule, then the names in scope, then what this call has met."""
        names = {node.id for node in ast.walk(shape) if isinstance(node, ast.Name)}
        known = {name: self.met[name] for name in names & self.met.keys()}
        for scope in (frame.f_globals, frame.f_locals):
            known |= {name: scope[name] for name in names if type(scope.get(name)) is int}
        for name in names & self.given.keys():
            if known.get(name, self.given[name]) != self.given[name]:
                message = f"{name} is {known[name]} here but was given as {self.given[name]}"
                self.claims.problem(claim.line, message)
            known[name] = self.given[name]
        return known

    def agrees(self, shape: Shape, got: tuple[int, ...], frame: FrameType, claim: Claim) -> bool:
        sizes = list(shape.elts)
        dots = [
            i
            for i, size in enumerate(sizes)
            if isinstance(size, ast.Constant) and size.value is ...
        ]
        if dots:
            missing = len(got) - len(sizes) + 1
            if missing < 0:
                return False
            got = got[: dots[0]] + got[dots[0] + missing :]
            sizes.pop(dots[0])
        if len(sizes) != len(got):
            return False
        known = self.sizes(shape, frame, claim)
        pairs = list(zip(sizes, got, strict=True))
        # Bare letters first: they settle the expressions.
        for size, value in sorted(pairs, key=lambda pair: not isinstance(pair[0], ast.Name)):
            unknown = {n.id for n in ast.walk(size) if isinstance(n, ast.Name)} - known.keys()
            if len(unknown) == 1:
                name = unknown.pop()
                solved = solve(size, name, value, known)
                if solved is None:
                    return False
                known[name] = self.met[name] = solved
            elif unknown or evaluate(size, known) != value:
                return False
        self.letters |= known
        for i, (first, a) in enumerate(pairs):
            for second, b in pairs[i + 1 :]:
                if a != b:
                    claim.told_apart.add((ast.unparse(first), ast.unparse(second)))
        return True


def around(frame: FrameType) -> dict[str, int]:
    """The sizes that the calls have met which this one is part of; the nearest count."""
    found: dict[str, int] = {}
    outer = frame.f_back
    while outer:
        if isinstance(outer.f_trace, Call):
            found = outer.f_trace.letters | found
        outer = outer.f_back
    return found


def flat(*values: Any) -> list[Any]:
    """A tuple or list stands for what it holds, so that `return k, v  # (B, T)` claims both."""
    found: list[Any] = []
    for value in values:
        found += flat(*value) if isinstance(value, tuple | list) else [value]
    return found


def as_load(tree: ast.Expression) -> ast.Expression:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute | ast.Subscript):
            node.ctx = ast.Load()
    return tree


def shape_of(value: Any) -> tuple[int, ...] | str:
    if hasattr(value, "shape"):
        return tuple(int(size) for size in value.shape)
    return () if isinstance(value, int | float) else f"no tensor ({type(value).__name__})"
