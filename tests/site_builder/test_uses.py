"""Which names of a file are one thing: by Python's own rules, with its symbol table as witness."""

from __future__ import annotations

import ast
import symtable
from collections.abc import Iterator
from pathlib import Path

import pytest

from site_builder.read.gathering import Gathered
from site_builder.read.scopes import Scope
from site_builder.read.uses import Use, find_uses

from .conftest import ROOT

FILES = sorted(ROOT.glob("site_builder/**/*.py")) + sorted(ROOT.glob("papers/**/*.py"))
LIBRARY = [Path(module.__file__ or "") for module in (ast, symtable, __import__("typing"))]


def uses_of(text: str) -> list[tuple[str, str, list[str]]]:
    """Each thing: its scope, its chain, and its places as `line:column`."""
    uses = find_uses(ast.parse(text), text.split("\n"))
    return [(use.scope, use.chain, [f"{a}:{b}" for a, b in use.spots]) for use in uses]


@pytest.mark.parametrize(
    ("text", "scope", "chain", "places"),
    [
        ("x = 1\ndef f():\n x = 2\n x\nx", "", "x", ["1:0", "5:0"]),
        ("x = 1\ndef f():\n x = 2\n x\nx", "f", "x", ["3:1", "4:1"]),
        ("x = 1\ndef f():\n global x\n x = 2\n", "", "x", ["1:0", "4:1"]),
        ("def f():\n x = 1\n def g():\n  nonlocal x\n  x = 2\n", "f", "x", ["2:1", "5:2"]),
        ("def f(x, y=1):\n return x\nf(x=2)\n", "f", "x", ["1:6", "2:8", "3:2"]),
        ("x = 1\ndef f(x=x): pass\n", "", "x", ["1:0", "2:8"]),
        ("x = 1\ny = [x for x in x]\n", "", "x", ["1:0", "2:16"]),
        ("x = 1\nclass A:\n x = 2\n def f(self): return x\n", "", "x", ["1:0", "4:21"]),
        ("class A:\n def f(self): self.x = 1\n def g(me): me.x\n", "A", "x", ["2:19", "3:15"]),
        ("class A:\n @staticmethod\n def f(a): a.x\n", "A.f", "a.x", ["3:13"]),
        ("class C:\n w: int\ndef f(c: C | None): c.w\nC(w=1)\n", "C", "w", ["2:1", "3:22", "4:2"]),
        ("class C:\n w = 1\nc = C()\nc.w\n", "C", "w", ["2:1", "4:2"]),
        ("import a.b as c\nc.d\n", "", "c", ["1:14", "2:0"]),
        ("import a.b\na.b.c\n", "", "a.b.c", ["2:4"]),
        ("try: pass\nexcept E as e: e\n", "", "e", ["2:12", "2:15"]),
        ("é = 'é'; x = 1; x\n", "", "x", ["1:9", "1:16"]),
        ("def f():\n if (y := 1): [z := y for _ in ()]\n z\n", "f", "z", ["2:15", "3:1"]),
        ("match x:\n case [a, *b]: a, b\n", "", "b", ["2:11", "2:18"]),
        ("f = lambda x: x\nx = 1\n", "", "x", ["2:0"]),
        ("async  def  f(): f()\n", "", "f", ["1:12", "1:17"]),
    ],
)
def test_one_thing(text: str, scope: str, chain: str, places: list[str]) -> None:
    assert (scope, chain, places) in uses_of(text)


def test_what_python_binds_is_nobodys() -> None:
    assert uses_of("print(len)\n") == []


class Lazily(ast.NodeTransformer):
    """Python from 3.12 on counts what a comprehension binds to the function around, but never what
    a generator does, and the two have the same scopes."""

    def visit_ListComp(self, node: ast.ListComp | ast.SetComp) -> ast.AST:
        self.generic_visit(node)
        return ast.GeneratorExp(node.elt, node.generators)

    visit_SetComp = visit_ListComp

    def visit_DictComp(self, node: ast.DictComp) -> ast.AST:
        self.generic_visit(node)
        return ast.GeneratorExp(ast.Tuple([node.key, node.value], ast.Load()), node.generators)


def tables(table: symtable.SymbolTable, above: str = "") -> Iterator[tuple[str, set[str]]]:
    """For each class and function that has a name of its own, what is local to it."""
    for child in table.get_children():
        # Parameters of types have a table of their own, around that of the class or function.
        if str(child.get_type()).startswith("type param"):
            local = {s.get_name() for s in child.get_symbols() if s.is_local()}
            (name, bound), *below = tables(child, above)
            yield name, bound | {word for word in local if word.isidentifier() and "__" not in word}
            yield from below
            continue
        plain = child.get_name().isidentifier() and child.get_type() in ("class", "function")
        if not plain or child.get_name() in ("lambda", "genexpr"):
            continue
        name = f"{above}.{child.get_name()}".strip(".")
        bound = {symbol.get_name() for symbol in child.get_symbols() if symbol.is_local()}
        # Two underscores, and the table adds the class's name.
        yield name, {word for word in bound if "__" not in word}
        yield from tables(child, name)


def scopes(scope: Scope) -> Iterator[tuple[str, set[str]]]:
    for child in scope.inside.values():
        local = child.bound - child.elsewhere.keys()
        yield child.name, {word for word in local if "__" not in word}
        yield from scopes(child)


@pytest.mark.parametrize("file", FILES + LIBRARY, ids=lambda file: file.stem)
def test_scopes_are_pythons(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    lines = text.split("\n")
    gathered = Gathered(ast.parse(text), lines)
    lazy = ast.unparse(Lazily().visit(ast.parse(text)))
    theirs = dict(tables(symtable.symtable(lazy, str(file), "exec")))
    top = gathered.names[0][0].top if gathered.names else Scope("module", "")
    assert dict(scopes(top)) == theirs


@pytest.mark.parametrize("file", FILES + LIBRARY, ids=lambda file: file.stem)
def test_every_place_holds_the_name(file: Path) -> None:
    lines = file.read_text(encoding="utf-8").split("\n")
    uses = find_uses(ast.parse("\n".join(lines)), lines)
    assert uses or file.name == "__init__.py"
    seen = set()
    for use in uses:
        for line, column in use.spots:
            assert lines[line - 1][column:].startswith(use.name), use
            assert (line, column) not in seen, "no place is two things"
            seen.add((line, column))


def test_called() -> None:
    use = Use("width", "Config", "width", ((1, 0),))
    assert use.is_called("width")
    assert use.is_called("Config.width")
    assert not use.is_called("idth")
    assert not use.is_called("Other.width")
