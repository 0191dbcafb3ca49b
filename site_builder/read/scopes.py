r"""
# Scopes

The module, a class, a function or a comprehension, and the names that it binds: by Python's own
rules, where a name is at home.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

# Line and column, in characters, where a name begins.
Spot = tuple[int, int]


@dataclass(eq=False, slots=True)
class Scope:
    r"""
    ## A scope

    `bound` are the names that it binds, and `elsewhere` those that it declares to be another's.
    `inside` are its classes and functions, `classes` says of some names of which class they are,
    and `itself` is the first parameter of a method.
    """

    kind: str
    name: str
    above: Scope | None = None
    bound: set[str] = field(default_factory=set)
    elsewhere: dict[str, str] = field(default_factory=dict)
    inside: dict[str, Scope] = field(default_factory=dict)
    classes: dict[str, ast.expr] = field(default_factory=dict)
    itself: str = ""

    @property
    def top(self) -> Scope:
        return self.above.top if self.above else self

    def home(self, name: str) -> Scope | None:
        """The scope whose `name` is meant here; none for one that Python or nobody binds."""
        scope: Scope | None = self
        while scope:
            declared = scope.elsewhere.get(name)
            if declared == "global":
                return self.top
            hidden = scope.kind == "class" and scope is not self
            if name in scope.bound and not declared and not hidden:
                return scope
            scope = scope.above
        return None

    def define(self, kind: str, name: str) -> Scope:
        """The scope of a class or function that is defined here."""
        self.inside[name] = Scope(kind, f"{self.name}.{name}".strip("."), self)
        return self.inside[name]

    def definition(self, name: str) -> Scope | None:
        """The scope of the class or function that `name` means here."""
        home = self.home(name)
        return home.inside.get(name) if home else None
