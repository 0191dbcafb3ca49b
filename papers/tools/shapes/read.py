r"""
---
title: Reading the claims
summary: Which comments state shapes, and of what.
---

# Reading the claims

A comment behind a line that holds shapes and nothing else speaks of what the line has just made:

| the line | what is compared |
|---|---|
| `x = …`, `x: Tensor = …`, `x += …`, `self.x = …` | the target |
| `q, k = …  # (B, T)` | every target; with one shape for each target, each |
| `return …`, `yield …` | the value |
| `for x in …:`, `with … as x:` | the target, each time that the body is entered |
| `x.mul_(…)`, `self.register_buffer("x", …)` | `x`, `self.x` |
| `q: Tensor,  # (B, T)` in a signature | the argument, in each call |
| `) -> Tensor:  # (B, T)` closing a signature | the value of each return |
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path

from papers.tools.shapes.claims import Claim, Claims, Shape

ROOT = Path(__file__).resolve().parents[3]
SIZE = re.compile(r"[A-Z]\w*")
LOOKS_LIKE_SHAPES = re.compile(r"\([A-Z\d\s,()+*/.]*\)")
OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Pow)


def read_claims(path: Path) -> Claims:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    shown = path.resolve()
    name = str(shown.relative_to(ROOT)) if shown.is_relative_to(ROOT) else str(path)
    claims = Claims(name, {}, {}, {}, owners(tree))
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT or not token.line[: token.start[1]].strip():
            continue
        line, comment = token.start[0], token.string.lstrip("#").strip()
        try:
            shapes = parse_shapes(comment)
        except SyntaxError as error:
            claims.problem(line, f"{error.msg}: {comment}")
            continue
        if shapes:
            add_claim(claims, line, shapes)
    return claims


def parse_shapes(comment: str) -> list[Shape]:
    """The shapes that a comment states; none where it is some other comment."""
    if not (comment.startswith("(") and comment.endswith(")")):
        return []
    try:
        parsed = ast.parse(f"[{comment}]", mode="eval").body
    except SyntaxError:
        if LOOKS_LIKE_SHAPES.fullmatch(comment):
            raise SyntaxError("not a shape") from None
        return []
    assert isinstance(parsed, ast.List)
    if not all(is_size(node) for part in parsed.elts for node in getattr(part, "elts", [part])):
        return []
    if not all(isinstance(part, ast.Tuple) for part in parsed.elts):
        raise SyntaxError("a shape of one size is written (B,)")
    return [part for part in parsed.elts if isinstance(part, ast.Tuple)]


def is_size(node: ast.expr) -> bool:
    match node:
        case ast.Name(id=name):
            return SIZE.fullmatch(name) is not None
        case ast.Constant(value=value):
            return type(value) is int or value is ...
        case ast.BinOp(left=left, right=right, op=op) if isinstance(op, OPERATORS):
            return is_size(left) and is_size(right)
    return False


def owners(tree: ast.Module) -> dict[int, ast.AST]:
    """The innermost statement of each line; a header belongs to the statement that it opens."""
    found: dict[int, ast.AST] = {}
    for node in ast.walk(tree):  # breadth first, so that inner statements come later
        if isinstance(node, ast.stmt):
            for line in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                found[line] = node
    return found


def add_claim(claims: Claims, line: int, shapes: list[Shape]) -> None:
    owner = claims.statements[line]
    if isinstance(owner, ast.FunctionDef | ast.AsyncFunctionDef):
        spec = owner.args
        arguments = [*spec.posonlyargs, *spec.args, *spec.kwonlyargs]
        names = [a.arg for a in arguments if a.end_lineno == line and a.arg not in ("self", "cls")]
        targets: list[ast.expr] = [ast.Name(name) for name in names]
        claim = Claim(line, shapes, targets, "argument" if names else "return")
        if names:
            claims.arguments.setdefault(first_line(owner), []).append(claim)
        else:
            claims.returns[first_line(owner)] = claim
    else:
        kind, targets = subject(owner)
        claim = Claim(line, shapes, targets, kind)
        if not kind:
            return claims.problem(line, f"claims {claim} at a line that makes no tensor")
        if id(owner) in claims.by_statement:
            return claims.problem(line, f"claims {claim} but its statement has a claim already")
        claims.by_statement[id(owner)] = claim
    if len(shapes) > 1 and len(targets) > 1 and len(shapes) != len(targets):
        claims.problem(line, f"claims {len(shapes)} shapes for {len(targets)} targets")


def first_line(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Where Python says that a function's code begins: at its first decorator."""
    return min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])


def subject(statement: ast.AST) -> tuple[str, list[ast.expr]]:
    """What a statement makes: a kind, and the expressions that hold it once it has run."""
    match statement:
        case ast.Assign(targets=targets):
            return "assign", flatten(targets[0])
        case ast.AnnAssign(target=target, value=ast.expr()) | ast.AugAssign(target=target):
            return "assign", [target]
        case ast.Return(value=ast.expr()):
            return "return", []
        case ast.Expr(value=ast.Yield()):
            return "yield", []
        case ast.For(target=target):
            return "header", flatten(target)
        case ast.With(items=items):
            found = [name for item in items for name in flatten(item.optional_vars)]
            return ("header" if found else ""), found
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=base, attr=method), args=args)):
            if method == "register_buffer" and args and isinstance(args[0], ast.Constant):
                return "assign", [ast.Attribute(base, str(args[0].value))]
            while isinstance(base, ast.Call) and isinstance(base.func, ast.Attribute):
                base = base.func.value
            return ("assign" if method.endswith("_") else ""), [base]
    return "", []


def flatten(target: ast.expr | None) -> list[ast.expr]:
    if target is None:
        return []
    if isinstance(target, ast.Tuple | ast.List):
        return [name for part in target.elts for name in flatten(part)]
    return [target.value if isinstance(target, ast.Starred) else target]
