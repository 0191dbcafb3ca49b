r"""
# Uses

Every variable, function, class and attribute of a file, and all the places where its name stands.
Two variables of one name in two functions are two things; `self.x` in two methods is one.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from site_builder.read.gathering import Gathered
from site_builder.read.scopes import Scope, Spot


@dataclass(frozen=True, slots=True)
class Use:
    r"""
    ## One thing and its places

    `name` is the end of what is written there. `scope` is the class or function that it belongs to,
    empty for the module, and `chain` its name as seen from there: `width`, or `config.width` where
    it is not known what `config` is.
    """

    name: str
    scope: str
    chain: str
    spots: tuple[Spot, ...]

    def is_called(self, wanted: str) -> bool:
        """By its name, by the end of its chain, or below the definition that it belongs to."""
        full = f"{self.scope}.{self.chain}" if self.scope else self.chain
        return wanted in (self.name, full) or full.endswith(f".{wanted}")


def find_uses(tree: ast.Module, lines: list[str]) -> tuple[Use, ...]:
    r"""
    ## Find

    In the order of their first places. What Python itself binds, such as `len`, is not among them.
    """
    found: dict[tuple[Scope, str], set[Spot]] = defaultdict(set)
    gathered = Gathered(tree, lines)
    for scope, names in ((s, s.elsewhere) for s, _, _ in gathered.names if s.elsewhere):
        scope.top.bound |= {name for name, where in names.items() if where == "global"}
    for scope, name, spot in gathered.names:
        if home := scope.home(name):
            found[home, name].add(spot)
    for scope, root, chain, spot in gathered.chains:
        if home := scope.home(root):
            owner = _class_of(root, home)
            found[(owner, chain) if owner else (home, f"{root}.{chain}")].add(spot)
    for scope, called, name, spot in gathered.keywords:
        owner = scope.definition(called)
        if owner and name in owner.bound:
            found[owner, name].add(spot)
    uses = (
        Use(chain.rpartition(".")[2], scope.name, chain, tuple(sorted(spots)))
        for (scope, chain), spots in found.items()
    )
    return tuple(sorted(uses, key=lambda use: use.spots))


def _class_of(name: str, home: Scope) -> Scope | None:
    """The class of this file whose instance a name is, where that is plain to see."""
    if name == home.itself:
        return home.above
    annotation = home.classes.get(name)
    for known in _names(annotation) if annotation else ():
        scope = home.definition(known)
        if scope and scope.kind == "class":
            return scope
    return None


def _names(annotation: ast.expr) -> Iterator[str]:
    match annotation:
        case ast.Name(id=name):
            yield name
        case ast.Constant(value=str(name)):
            yield name
        case ast.BinOp(left=left, right=right):
            yield from _names(left)
            yield from _names(right)
