r"""
---
title: What a line makes
summary: Of each name its sizes, its type and, where they are few, its numbers.
---

# What a line makes
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from papers.tools.shapes.read import subject

# The most numbers of a tensor, and the most tensors of a list, that a record holds.
SMALL, FEW = 64, 4


@dataclass
class Made:
    r"""
    ## One thing that a line made

    `shape` is what the comment says or what the letters in scope say, and `values` are numbers
    with a space between them, the last axis first to move. Of a module it is the parameters.
    """

    name: str
    dtype: str
    sizes: tuple[int, ...] | None = None
    values: str = ""
    parameters: int = 0
    shape: str = ""


def look(name: str, value: Any, stated: Callable[[Any], str]) -> list[Made]:
    """`stated` gives the shape that a comment has for a tensor, if one had."""
    if isinstance(value, nn.Module):
        count = sum(parameter.numel() for parameter in value.parameters())
        return [Made(name, type(value).__name__, parameters=count)] if count else []
    if isinstance(value, bool | int | float):
        return [Made(name, type(value).__name__, (), written(value))]
    if is_tensor(value):
        sizes = tuple(int(size) for size in value.shape)
        dtype = str(value.dtype).removeprefix("torch.")
        return [Made(name, dtype, sizes, numbers(value), shape=stated(value))]
    if isinstance(value, tuple | list) and 0 < len(value) <= FEW and all(map(is_tensor, value)):
        return [
            made for at, part in enumerate(value) for made in look(f"{name}[{at}]", part, stated)
        ]
    return []


def is_tensor(value: Any) -> bool:
    # The class of tensors has all of these too.
    told = hasattr(value, "dtype") and hasattr(value, "shape") and hasattr(value, "tolist")
    return told and not isinstance(value, type)


def numbers(value: Any) -> str:
    if not 0 < math.prod(value.shape) <= SMALL or getattr(value, "is_meta", False):
        return ""
    try:
        # Of an array and of a tensor alike.
        flat = value.reshape(-1).tolist()
    except RuntimeError:
        # Under `vmap` a tensor stands for many, and has no numbers of its own.
        return ""
    plain = all(isinstance(number, bool | int | float) for number in flat)
    return " ".join(map(written, flat)) if plain else ""


def written(number: float) -> str:
    """Four digits are more than anybody compares by eye; 0 has no sign."""
    return f"{number + 0.0:.4g}" if isinstance(number, float) else str(int(number))


def watched(statement: ast.AST) -> list[ast.expr]:
    r"""
    ## Where it is found

    The names that hold it. Looking at them must do nothing, so of `x[next(i)] = ...` it is `x`.
    """
    found: dict[str, ast.expr] = {}
    kind, targets = subject(statement)
    for target in targets if kind else ():
        while isinstance(target, ast.Subscript):
            target = target.value
        base = target
        while isinstance(base, ast.Attribute):
            base = base.value
        if isinstance(base, ast.Name):
            found[ast.unparse(target)] = target
    return list(found.values())


def returned(statement: ast.AST, value: Any) -> list[tuple[str, Any]]:
    """What a `return` or `yield` gives, each by its name where it has one."""
    inside = getattr(statement, "value", None)
    inside = inside.value if isinstance(inside, ast.Yield) else inside
    parts = inside.elts if isinstance(inside, ast.Tuple) else []
    word = "return" if isinstance(statement, ast.Return) else "yield"
    if parts and isinstance(value, tuple) and len(parts) == len(value):
        names = [ast.unparse(part) if isinstance(part, ast.Name) else "" for part in parts]
        pairs = zip(names, value, strict=True)
        return [
            (f"{word} {name}" if name else f"{word}[{at}]", each)
            for at, (name, each) in enumerate(pairs)
        ]
    return [(f"{word} {inside.id}" if isinstance(inside, ast.Name) else word, value)]


def last_line(statement: ast.AST) -> int:
    """Where it ends; of what has a body, its header."""
    match statement:
        case ast.For(iter=header) | ast.While(test=header):
            return header.end_lineno or 0
        case ast.With(items=items):
            end = items[-1].optional_vars or items[-1].context_expr
            return end.end_lineno or 0
    return getattr(statement, "end_lineno", None) or 0
