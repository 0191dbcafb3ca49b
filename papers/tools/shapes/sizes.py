r"""
---
title: Sizes
summary: The arithmetic of the letters in a shape, and what no example told apart.
---

# Sizes

`D/2` is exact, so an odd `D` fits no such claim, and one unknown letter in a linear expression is
solved for.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from fractions import Fraction

from papers.tools.shapes.claims import Claim


def evaluate(size: ast.expr, known: dict[str, int]) -> Fraction:
    """Exact, so that D/2 of an odd D is no size at all."""
    match size:
        case ast.Name(id=name):
            return Fraction(known[name])
        case ast.Constant(value=value):
            return Fraction(value)  # type: ignore[arg-type]
        case ast.BinOp(left=left, right=right, op=op):
            a, b = evaluate(left, known), evaluate(right, known)
            match op:
                case ast.Add():
                    return a + b
                case ast.Sub():
                    return a - b
                case ast.Mult():
                    return a * b
                case ast.FloorDiv():
                    return Fraction(a // b)
                case ast.Pow():
                    return Fraction(a**b)
            return a / b
    raise TypeError(ast.dump(size))


def solve(size: ast.expr, name: str, value: int, known: dict[str, int]) -> int | None:
    """The one size that a linear expression needs to have this value."""
    zero, one = (evaluate(size, {**known, name: at}) for at in (0, 1))
    if zero == one:
        return None
    found = (value - zero) / (one - zero)
    fits = found.denominator == 1 and evaluate(size, {**known, name: int(found)}) == value
    return int(found) if fits else None


def ambiguous(claim: Claim) -> list[tuple[str, str]]:
    """Pairs of sizes in one shape that no example ever told apart."""
    pairs: list[tuple[str, str]] = []
    for shape in claim.shapes:
        sizes: Sequence[str] = [
            ast.unparse(size) for size in shape.elts if ast.unparse(size) != "..."
        ]
        for i, first in enumerate(sizes):
            pairs += [(first, second) for second in sizes[i + 1 :] if first != second]
    return [pair for pair in pairs if pair not in claim.told_apart]
