r"""
# Parts

The classes, methods and functions of a file as two files are compared by them: each with its lines
of code, and with what those do, whatever is said of it and however they are broken.
"""

from __future__ import annotations

import ast
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from site_builder.read.document import Reading
from site_builder.read.source import split_lines

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a class of settings: its default as it is written, and its line of help."""

    name: str
    default: str
    help: str


@dataclass(frozen=True, slots=True)
class Part:
    r"""
    ## A part

    A function, a method (`Block.forward`) or a class, from `start` to `end`. `lines` are those of
    its code; of a class those of no method. `code` stands for what they do, `words` for how that is
    built, without the names that are its own. `bases` are dotted names.
    """

    name: str
    anchor: str
    start: int
    end: int
    lines: tuple[int, ...]
    code: str
    words: tuple[str, ...]
    is_class: bool = False
    bases: tuple[str, ...] = ()
    fields: tuple[Field, ...] = ()
    methods: tuple[Part, ...] = ()

    @property
    def word(self) -> str:
        """Its name without that of its class."""
        return self.name.rpartition(".")[2]


def read_parts(reading: Reading) -> tuple[Part, ...]:
    r"""
    ## Read

    Those of the module itself, in the order of the file; methods are inside of their class.
    """
    lines = split_lines(reading.source.text)
    # Of what Python cannot read there are no parts; that it cannot is said elsewhere.
    body = reading.parsed.tree.body if reading.parsed.tree else []
    spans = (span for section in reading.sections for span in section.code)
    code = sorted(
        n for first, last in spans for n in range(first, last + 1) if lines[n - 1].strip()
    )
    reader = _Reader(reading, code)
    return tuple(reader.part(node) for node in body if _defines(node))


def _defines(node: ast.AST) -> bool:
    return isinstance(node, ast.ClassDef | Function)


@dataclass(frozen=True, slots=True)
class _Reader:
    reading: Reading
    code: list[int]

    def part(self, node: ast.AST, prefix: str = "") -> Part:
        assert isinstance(node, ast.ClassDef | Function)
        name = prefix + node.name
        inside = isinstance(node, ast.ClassDef)
        methods = tuple(
            self.part(child, f"{name}.") for child in node.body if inside and _defines(child)
        )
        start, end = _start(node), node.end_lineno or node.lineno
        away = {n for method in methods for n in range(method.start, method.end + 1)}
        return Part(
            name=name,
            anchor=self.reading.definitions.get(name, ""),
            start=start,
            end=end,
            lines=tuple(n for n in self._between(start, end) if n not in away),
            code=" ".join(_spoken(node)),
            words=(*_built(node), *(word for method in methods for word in method.words)),
            is_class=inside,
            bases=tuple(self._bases(node)),
            fields=tuple(_fields(node)),
            methods=methods,
        )

    def _between(self, start: int, end: int) -> list[int]:
        return self.code[bisect_left(self.code, start) : bisect_left(self.code, end + 1)]

    def _bases(self, node: ast.AST) -> Iterator[str]:
        for base in node.bases if isinstance(node, ast.ClassDef) else ():
            first, dot, rest = ast.unparse(base).partition(".")
            yield self.reading.names.get(first, first) + dot + rest


def _start(node: ast.ClassDef | Function) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def _own(node: ast.AST) -> Iterator[ast.AST]:
    """What a node is made of, but for texts that nothing reads and, of a class, its methods."""
    for child in ast.iter_child_nodes(node):
        idle = isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
        if not idle and not (isinstance(node, ast.ClassDef) and _defines(child)):
            yield child


def _spoken(node: ast.AST) -> list[str]:
    """Everything that decides what a part does, but for its own name."""
    plain = [
        f"{name}={value!r}"
        for name, value in ast.iter_fields(node)
        if isinstance(value, str | int | float | bytes | complex)
        and not (name == "name" and _defines(node))
    ]
    return [
        type(node).__name__,
        *plain,
        "(",
        *(word for child in _own(node) for word in _spoken(child)),
        ")",
    ]


def _built(node: ast.AST) -> Iterator[str]:
    """How it is built: what it calls and asks for by name, and not what it calls its own things."""
    named = {ast.Attribute: "attr", ast.keyword: "arg"}.get(type(node), "")
    called = node.func if isinstance(node, ast.Call) else None
    yield f"{type(node).__name__}:{getattr(node, named, '')}"
    if isinstance(called, ast.Name):
        yield called.id
    for child in _own(node):
        if not isinstance(child, ast.expr_context):
            yield from _built(child)


def _fields(node: ast.AST) -> Iterator[Field]:
    """Of a class that a decorator makes a dataclass of."""
    if not isinstance(node, ast.ClassDef):
        return
    if not any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        return
    for child, below in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(child, ast.AnnAssign) and isinstance(child.target, ast.Name):
            said = below.value if isinstance(below, ast.Expr) else None
            told = said.value if isinstance(said, ast.Constant) else ""
            default = ast.unparse(child.value) if child.value else ""
            yield Field(child.target.id, default, told if isinstance(told, str) else "")
