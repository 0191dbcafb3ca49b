"""The builder's folders are its stages, and imports go one way through them."""

from __future__ import annotations

import ast
import itertools
import re
from pathlib import Path

import pytest

from .conftest import ROOT

BUILDER = ROOT / "site_builder"
# The order of the table on the builder's own page.
WINGS = re.findall(r"^\| \[(\w+)\]", (BUILDER / "__init__.py").read_text(), re.MULTILINE)
# What every stage may know, and what may know every stage.
BELOW = {"problem", "assets", "labels", "whole"}
ABOVE = {
    "store",
    "drafts",
    "evidence",
    "linking",
    "translations",
    "retouch",
    "build",
    "new",
    "text",
    "translate",
    "server",
    "serve",
    "__main__",
}
MODULES = sorted(BUILDER.rglob("*.py"))


def floor(module: str) -> int:
    """How far down the table a module of the builder stands."""
    first = module.split(".")[1] if "." in module else "__init__"
    if first in BELOW:
        return -1
    return WINGS.index(first) if first in WINGS else len(WINGS)


def imports(file: Path) -> set[str]:
    """The builder's own modules that a file imports, at its top or later."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("site_builder"):
            # `from site_builder.read import source` imports a module, and not a name of one.
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name for name in inner if is_module(name)} or {str(node.module)}
    return found


def is_module(name: str) -> bool:
    place = ROOT / name.replace(".", "/")
    return place.is_dir() or place.with_suffix(".py").is_file()


def name_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def test_every_folder_is_in_the_table() -> None:
    folders = {file.parent.name for file in MODULES} - {"site_builder"}
    assert folders == set(WINGS)
    assert {file.stem for file in BUILDER.glob("*.py")} == BELOW | ABOVE | {"__init__"}


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_imports_go_up_the_table_only(file: Path) -> None:
    here = floor(name_of(file))
    wrong = {name for name in imports(file) if floor(name) > here}
    assert not wrong, f"{name_of(file)} imports what comes after it"


def test_no_module_imports_in_a_circle() -> None:
    graph = {name_of(file): imports(file) for file in MODULES}

    def reached(name: str) -> set[str]:
        seen: set[str] = set()
        waiting = [name]
        while waiting:
            for next_name in graph.get(waiting.pop(), ()):
                if next_name not in seen:
                    seen.add(next_name)
                    waiting.append(next_name)
        return seen

    assert [name for name in graph if name in reached(name)] == []


def test_each_wing_lists_its_modules() -> None:
    for wing in WINGS:
        listed = re.findall(r"\]\((\w+)\.py\)", (BUILDER / wing / "__init__.py").read_text())
        assert set(listed) == {p.stem for p in (BUILDER / wing).glob("*.py")} - {"__init__"}


def test_the_measure_itself_sees_an_import_that_goes_down() -> None:
    pairs = itertools.pairwise([*WINGS, "build"])
    assert all(floor(f"site_builder.{a}.x") < floor(f"site_builder.{b}.x") for a, b in pairs)
    assert floor("site_builder.problem") < floor("site_builder.read.source")
