r"""
# Names

What the names in a file stand for, and where in its code they are used. Python's own rules decide:
what a function binds itself is not the module's.
"""

from __future__ import annotations

import ast
from typing import Any

from site_builder.read.blocks import statements

# (line, column) of a name to the dotted name it stands for.
References = dict[tuple[int, int], str]


def imported_names(tree: ast.Module, module: str, package: bool) -> dict[str, str]:
    """What imported names stand for: `from papers.a.b import C as D` gives `D: papers.a.b.C`."""
    names: dict[str, str] = {}
    parts = module.split(".") if package else module.split(".")[:-1]
    inside: list[ast.AST] = [tree]
    while inside:
        node = inside.pop()
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom):
            above = parts[: len(parts) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names |= {alias.asname or alias.name: f"{base}.{alias.name}" for alias in node.names}
        else:
            inside += statements(node)
    return names


class _Scope:
    """A function and the names that it binds itself, which do not stand for the module's."""

    __slots__ = ("above", "names")

    def __init__(self, above: _Scope | None) -> None:
        self.above = above
        self.names: set[str] = set()

    def hides(self, name: str) -> bool:
        scope: _Scope | None = self
        while scope and name not in scope.names:
            scope = scope.above
        return scope is not None


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
# Nodes in which no name stands that could lead anywhere. Where the parts of an f-string are,
# Python says only since 3.12.
BARREN = (ast.Constant, ast.JoinedStr, ast.expr_context, ast.operator, ast.boolop, ast.cmpop)
PLAIN = frozenset({"ctx", "op", "ops", "id", "attr", "arg", "name", "names", "type_comment"})
# For each other kind of node, the fields that may hold names in use.
PARTS = {
    kind: tuple(field for field in kind._fields if field not in PLAIN)
    for kind in vars(ast).values()
    if isinstance(kind, type) and issubclass(kind, ast.AST) and not issubclass(kind, BARREN)
}


def references(
    tree: ast.Module, names: dict[str, str], lines: list[str], roots: frozenset[str]
) -> References:
    r"""
    ## Mark the names

    `names` says what the module's names stand for. Only what begins with one of `roots` can
    lead anywhere. A function's own names are all known only at its end, so
    the places are gathered first, each with its scope.
    """
    known = {k: v for k, v in names.items() if v.split(".")[0] in roots}
    uses: list[tuple[_Scope, str, str, ast.expr | ast.alias]] = []
    stack: list[tuple[ast.AST, _Scope]] = [(tree, _Scope(None))] if known else []
    while stack:
        node, scope = stack.pop()
        if isinstance(node, ast.Name):
            if node.id in known:
                if isinstance(node.ctx, ast.Load):
                    uses.append((scope, node.id, known[node.id], node))
                elif scope.above:
                    scope.names.add(node.id)
            continue
        if isinstance(node, ast.Attribute):
            head, _, rest = _dotted(node).partition(".")
            if head in known:
                uses.append((scope, head, f"{known[head]}.{rest}", node))
        elif isinstance(node, ast.ImportFrom):
            names_here = ((alias.asname or alias.name, alias) for alias in node.names)
            uses += [(scope, "", known[name], alias) for name, alias in names_here if name in known]
            continue
        elif isinstance(node, FUNCTIONS):
            scope = _Scope(scope)
            given = node.args
            some = (given.vararg, given.kwarg)
            every = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, some)]
            scope.names |= {argument.arg for argument in every}
        for field in PARTS[type(node)]:
            value: Any = getattr(node, field, None)
            if type(value) is list:
                stack += [(child, scope) for child in value if type(child) in PARTS]
            elif type(value) in PARTS:
                stack.append((value, scope))
    found: References = {}
    for scope, head, target, node in uses:
        if not scope.hides(head):
            found[_place(node, lines)] = target
    return found


def _place(node: ast.expr | ast.alias, lines: list[str]) -> tuple[int, int]:
    """Line and column of a name; of `a.b.c`, those of its last part."""
    line, column = node.lineno, node.col_offset
    if isinstance(node, ast.Attribute):
        line = node.end_lineno or line
        column = (node.end_col_offset or 0) - len(node.attr.encode())
    # The syntax tree counts bytes, the page counts characters.
    text = lines[line - 1]
    if not text.isascii():
        column = len(text.encode()[:column].decode(errors="ignore"))
    return line, column


def _dotted(node: ast.expr) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""
