r"""
---
title: Mutants by rule
summary: Mistakes of the kinds that papers have, at every place of a file where one can be made.
---

# Mutants by rule

Each rule looks at a node of the syntax tree and gives the pieces of text to replace. The text
around stays as it is, with its lines. What is written for people only, messages and annotations,
is left alone.
"""

from __future__ import annotations

import ast
import itertools
import random
from collections.abc import Callable, Iterator
from pathlib import Path

from papers.tools.mutate.named import Mutant, tests_of
from papers.tools.mutate.text import Edit, Text

SIGNS = {ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"), ast.Div: ("/", "*")}
COMPARISONS = {
    ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="), ast.NotEq: ("!=", "=="),
}  # fmt: skip
AXES = ("dim", "axis")
# Where each function that takes a mask has it.
MASKED = {"masked_fill": 0, "masked_fill_": 0, "where": 0}


def sign(text: Text, node: ast.AST) -> Iterator[Edit]:
    if isinstance(node, ast.BinOp) and type(node.op) in SIGNS:
        yield from text.between(node.left, node.right, *SIGNS[type(node.op)])
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield text.replace(node, f"({text.of(node.operand)})")


def comparison(text: Text, node: ast.AST) -> Iterator[Edit]:
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in COMPARISONS:
        yield from text.between(node.left, node.comparators[0], *COMPARISONS[type(node.ops[0])])


def axis(text: Text, node: ast.AST) -> Iterator[Edit]:
    if isinstance(node, ast.keyword) and node.arg in AXES:
        given = text.of(node.value)
        if given.lstrip("-").isdigit():
            yield text.replace(node.value, str(int(given) - 1 if int(given) else 1))


def mask(text: Text, node: ast.AST) -> Iterator[Edit]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        place = MASKED.get(node.func.attr, len(node.args))
        yield from (text.replace(given, f"~({text.of(given)})") for given in node.args[place:][:1])


def constant(text: Text, node: ast.AST) -> Iterator[Edit]:
    """A whole number by one, any other number doubled, a truth inverted."""
    if isinstance(node, ast.Constant):
        if isinstance(node.value, bool):
            yield text.replace(node, str(not node.value))
        elif isinstance(node.value, int):
            yield text.replace(node, str(node.value + 1))
            yield text.replace(node, f"({node.value - 1})")
        elif isinstance(node.value, float):
            yield text.replace(node, f"{2 * node.value if node.value else 1.0}")


def call(text: Text, node: ast.AST) -> Iterator[Edit]:
    """Dropped: a statement whole, `x.clamp(0)` and `F.relu(x)` down to `x`."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield text.replace(node, "pass")
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        owner = node.func.value
        if not (isinstance(owner, ast.Name) and owner.id in text.modules):
            yield text.replace(node, f"({text.of(owner)})")
        elif node.args:
            yield text.replace(node, f"({text.of(node.args[0])})")


def arguments(text: Text, node: ast.AST) -> Iterator[Edit]:
    """The first two swapped; those of a pair, too."""
    given: list[ast.expr] = []
    if isinstance(node, ast.Call):
        given = node.args[:2]
    elif isinstance(node, ast.keyword) and isinstance(node.value, ast.Tuple):
        given = node.value.elts[:2]
    if len(given) == 2 and not any(isinstance(part, ast.Starred) for part in given):
        first, second = map(text.of, given)
        (start, _), (_, end) = map(text.span, given)
        if first != second:
            middle = text.data[text.span(given[0])[1] : text.span(given[1])[0]].decode()
            yield Edit(start, end, second + middle + first)


def flag(text: Text, node: ast.AST) -> Iterator[Edit]:
    """Ignored: a field of the configuration, a parameter that has a default, a named argument."""
    if isinstance(node, ast.Attribute) and node.attr in text.fields:
        if text.of(node.value).endswith("config"):
            yield text.replace(node, f"({text.fields[node.attr]})")
    elif isinstance(node, ast.FunctionDef):
        places = node.args.posonlyargs + node.args.args
        pairs = [*zip(reversed(places), reversed(node.args.defaults), strict=False)]
        pairs += [(a, d) for a, d in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
                  if d is not None]  # fmt: skip
        defaults = {parameter.arg: text.of(default) for parameter, default in pairs}
        for inner in itertools.chain.from_iterable(map(text.walk, node.body)):
            read = isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Load)
            if read and text.of(inner) in defaults:
                yield text.replace(inner, f"({defaults[text.of(inner)]})")
    elif isinstance(node, ast.Call) and (node.args or len(node.keywords) > 1):
        for keyword in node.keywords:
            yield from text.without(keyword, node)


OPERATORS: dict[str, Callable[[Text, ast.AST], Iterator[Edit]]] = {
    rule.__name__: rule for rule in (sign, comparison, axis, mask, constant, call, arguments, flag)
}


def generic(paper: Path, operators: list[str], seed: int) -> Iterator[Mutant]:
    r"""
    ## All that the rules give

    In an order that chance decides.
    """
    text, tests = Text(paper.read_bytes()), (tests_of(paper).as_posix(),)
    nodes = list(text.walk(text.tree))
    found = [edit for name in operators for node in nodes for edit in OPERATORS[name](text, node)]
    edits = list(dict.fromkeys(found))
    random.Random(seed).shuffle(edits)
    for edit in edits:
        changed = text.changed(edit)
        if changed is not None:
            yield Mutant(paper, text.line(edit), text.said(edit), changed, tests)
