r"""
# Gathering

The names of a syntax tree: all that are bound or read, each with its [scope](scopes.py) and the
place where it stands.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable

from site_builder.read.scopes import Scope, Spot

# A word, and a name that it announces.
BEHIND = re.compile(r"\b(def|class|as)\s+(\w+)")


class Gathered:
    r"""
    ## Gather

    `names` are all that are bound or read, `chains` the attributes (`a.b.c` as `a` and `b.c`) and
    `keywords` the arguments that calls name, each with its scope and its spot.
    """

    def __init__(self, tree: ast.Module, lines: list[str]) -> None:
        self.lines = lines
        self.names: list[tuple[Scope, str, Spot]] = []
        self.chains: list[tuple[Scope, str, str, Spot]] = []
        self.keywords: list[tuple[Scope, str, str, Spot]] = []
        self._stack: list[tuple[ast.AST, Scope]] = [(tree, Scope("module", ""))]
        while self._stack:
            node, scope = self._stack.pop()
            getattr(self, f"_{type(node).__name__}", self._any)(node, scope)

    def _any(self, node: ast.AST, scope: Scope) -> None:
        self._push(ast.iter_child_nodes(node), scope)

    def _push(self, nodes: Iterable[ast.AST | None], scope: Scope) -> None:
        self._stack += [(node, scope) for node in nodes if node]

    def _bind(self, scope: Scope, name: str, spot: Spot | None) -> None:
        scope.bound.add(name)
        if spot:
            self.names.append((scope, name, spot))

    def _spot(self, line: int, column: int) -> Spot:
        """The syntax tree counts bytes, the page counts characters."""
        text = self.lines[line - 1]
        return line, column if text.isascii() else len(
            text.encode()[:column].decode(errors="ignore")
        )

    def _last(self, node: ast.expr | ast.pattern | ast.alias, name: str) -> Spot:
        line, end = node.end_lineno or node.lineno, node.end_col_offset or 0
        return self._spot(line, end - len(name.encode()))

    def _behind(self, node: ast.AST, word: str, name: str) -> Spot | None:
        """A name of which the tree does not say where it stands: behind a word of its line."""
        line, start = self._spot(node.lineno, node.col_offset)  # type: ignore[attr-defined]
        for found in BEHIND.finditer(self.lines[line - 1], start):
            if found[1] == word and found[2] == name:
                return line, found.start(2)
        return None

    def _FunctionDef(self, node: ast.FunctionDef, scope: Scope) -> None:
        self._bind(scope, node.name, self._behind(node, "def", node.name))
        self._push([*node.decorator_list], scope)
        outer, inner = scope, scope.define("function", node.name)
        given = [*node.args.posonlyargs, *node.args.args]
        static = any(
            isinstance(d, ast.Name) and d.id == "staticmethod" for d in node.decorator_list
        )
        if scope.kind == "class" and given and not static:
            inner.itself = given[0].arg
        self._generic(node, inner)
        self._parameters(node.args, inner, outer)
        self._push([node.returns], outer)
        self._push(node.body, inner)

    _AsyncFunctionDef = _FunctionDef

    def _Lambda(self, node: ast.Lambda, scope: Scope) -> None:
        inner = Scope("function", scope.name, scope)
        self._parameters(node.args, inner, scope)
        self._push([node.body], inner)

    def _generic(self, node: ast.AST, inner: Scope) -> None:
        """Of `def f[T]()`, which Pythons since 3.12 read, only what is inside sees `T`."""
        for parameter in getattr(node, "type_params", ()):
            self._bind(inner, parameter.name, self._spot(parameter.lineno, parameter.col_offset))

    def _parameters(self, given: ast.arguments, inner: Scope, outer: Scope) -> None:
        """They are bound inside; their defaults and annotations are read outside."""
        some = filter(None, (given.vararg, given.kwarg))
        for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs, *some):
            self._bind(inner, argument.arg, self._spot(argument.lineno, argument.col_offset))
            if argument.annotation:
                inner.classes[argument.arg] = argument.annotation
            self._push([argument.annotation], outer)
        self._push([*given.defaults, *given.kw_defaults], outer)

    def _ClassDef(self, node: ast.ClassDef, scope: Scope) -> None:
        self._bind(scope, node.name, self._behind(node, "class", node.name))
        self._push([*node.decorator_list, *node.bases, *node.keywords], scope)
        inner = scope.define("class", node.name)
        self._generic(node, inner)
        self._push(node.body, inner)

    def _ListComp(self, node: ast.ListComp | ast.DictComp, scope: Scope) -> None:
        inner = Scope("comprehension", scope.name, scope)
        first, *others = node.generators
        # The first of what is looped over is read outside.
        self._push([first.iter], scope)
        self._push([first.target, *first.ifs, *others], inner)
        self._push([getattr(node, part, None) for part in ("elt", "key", "value")], inner)

    _SetComp = _GeneratorExp = _DictComp = _ListComp

    def _NamedExpr(self, node: ast.NamedExpr, scope: Scope) -> None:
        home = scope
        while home.kind == "comprehension" and home.above:
            home = home.above
        self._push([node.value], scope)
        self._push([node.target], home)

    def _Name(self, node: ast.Name, scope: Scope) -> None:
        if not isinstance(node.ctx, ast.Load):
            scope.bound.add(node.id)
        self.names.append((scope, node.id, self._spot(node.lineno, node.col_offset)))

    def _Attribute(self, node: ast.Attribute, scope: Scope) -> None:
        parts, root = [node.attr], node.value
        while isinstance(root, ast.Attribute):
            parts.append(root.attr)
            root = root.value
        if isinstance(root, ast.Name):
            chain = ".".join(reversed(parts))
            self.chains.append((scope, root.id, chain, self._last(node, node.attr)))
        self._push([node.value], scope)

    def _Call(self, node: ast.Call, scope: Scope) -> None:
        if isinstance(node.func, ast.Name):
            for word in node.keywords:
                if word.arg:
                    spot = self._spot(word.lineno, word.col_offset)
                    self.keywords.append((scope, node.func.id, word.arg, spot))
        self._any(node, scope)

    def _AnnAssign(self, node: ast.AnnAssign, scope: Scope) -> None:
        if isinstance(node.target, ast.Name):
            scope.classes[node.target.id] = node.annotation
        self._any(node, scope)

    def _Assign(self, node: ast.Assign, scope: Scope) -> None:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=ast.Name() as made)):
                scope.classes[name] = made
        self._any(node, scope)

    def _Import(self, node: ast.Import | ast.ImportFrom, scope: Scope) -> None:
        for alias in node.names:
            start = self._spot(alias.lineno, alias.col_offset)
            spot = self._last(alias, alias.asname) if alias.asname else start
            name = alias.asname or alias.name
            self._bind(scope, name.split(".")[0] if isinstance(node, ast.Import) else name, spot)

    _ImportFrom = _Import

    def _ExceptHandler(self, node: ast.ExceptHandler, scope: Scope) -> None:
        if node.name:
            self._bind(scope, node.name, self._behind(node, "as", node.name))
        self._any(node, scope)

    def _MatchAs(self, node: ast.MatchAs | ast.MatchStar, scope: Scope) -> None:
        if node.name:
            self._bind(scope, node.name, self._last(node, node.name))
        self._any(node, scope)

    _MatchStar = _MatchAs

    def _MatchMapping(self, node: ast.MatchMapping, scope: Scope) -> None:
        if node.rest:
            self._bind(scope, node.rest, None)
        self._any(node, scope)

    def _Global(self, node: ast.Global, scope: Scope) -> None:
        scope.elsewhere |= dict.fromkeys(node.names, "global")

    def _Nonlocal(self, node: ast.Nonlocal, scope: Scope) -> None:
        scope.elsewhere |= dict.fromkeys(node.names, "nonlocal")

    if sys.version_info < (3, 12):

        def _JoinedStr(self, node: ast.JoinedStr, scope: Scope) -> None:
            """Where the parts of an f-string are, Python says only since 3.12."""
