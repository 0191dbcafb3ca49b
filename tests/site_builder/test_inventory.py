"""Where other projects document their names, and who uses a definition of ours."""

from __future__ import annotations

import builtins
import importlib.util
import re
import zlib
from pathlib import Path

import pytest

from site_builder.__main__ import main as command
from site_builder.build import Builder
from site_builder.read import inventory
from site_builder.read.document import read_document
from site_builder.read.inventory import main, pack, read_inventories, read_objects, unpack
from site_builder.read.settings import read_settings
from site_builder.read.source import Source, find_pages
from site_builder.read.texts import read_page

from .conftest import ROOT, Tree

ENTRIES = """\
thing py:module 0 api.html#module-thing -
thing.Tool py:class 1 generated/thing.Tool.html#$ -
thing.Tool.use py:method 1 generated/thing.Tool.html#$ -
thing.run py:function 1 api.html#$ -
a label std:label -1 api.html#a-label A label
odd line
"""
OBJECTS = (
    b"# Sphinx inventory version 2\n# Project: thing\n# Version: 1\n"
    b"# The remainder of this file is compressed using zlib.\n" + zlib.compress(ENTRIES.encode())
)
PLACES = {
    "thing": "api.html#module-thing",
    "thing.Tool": "generated/thing.Tool.html#thing.Tool",
    "thing.run": "api.html#thing.run",
}
PACKED = """\
https://thing.example/
api.html thing=module-thing thing.run
generated/thing.Tool.html thing.Tool
"""
LIBRARIES = "torch.", "numpy."
SETTINGS = '[tool.site_builder]\ntitle = "T"\ninventories = ["thing.txt"]\n'
CODE = (
    "from math import sqrt\nimport thing as t\nfrom thing import Tool\n"
    "sqrt(2); t.run(Tool, t.lost)\n"
)


def test_from_sphinx() -> None:
    places = read_objects(OBJECTS)
    # The anchor's sign stands for the name, which the text form leaves out.
    assert pack("https://thing.example/", places) == PACKED
    assert unpack(PACKED) == {name: f"https://thing.example/{at}" for name, at in PLACES.items()}


def test_the_command_writes_it(tmp_path: Path) -> None:
    (tmp_path / "objects.inv").write_bytes(OBJECTS)
    out, local = str(tmp_path / "thing.txt"), str(tmp_path / "objects.inv")
    made = ["inventories", out, "--of", "https://thing.example", "--local", local]
    assert command(made) == 0
    assert (tmp_path / "thing.txt").read_text() == PACKED
    assert sorted(path.name for path in tmp_path.iterdir()) == ["objects.inv", "thing.txt"]


def test_a_file_says_where_it_is_renewed_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def fetched(address: str) -> bytes:
        asked.append(address)
        return OBJECTS

    monkeypatch.setattr(inventory, "_fetched", fetched)
    old, lost, new = (tmp_path / name for name in ("old.txt", "lost.txt", "new.txt"))
    for file in (old, new):
        file.write_text("https://thing.example/\napi.html thing.gone\n")
    assert main([str(old), str(lost), str(new)]) == 1
    assert asked == ["https://thing.example/objects.inv"] * 2
    assert old.read_text() == new.read_text() == PACKED
    assert f"{lost}: No such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("address", "out", "content", "told"),
    [
        ("https://thing.example", "thing.txt", None, "local.inv: No such file"),
        ("https://thing.example", "thing.txt", b"junk", "local.inv: this is no inventory"),
        ("https://thing.example", "thing.txt", OBJECTS[:-9], "local.inv: "),
        ("thing", "thing.txt", OBJECTS, "local.inv: its first line is no address"),
        ("https://thing.example", "no/thing.txt", OBJECTS, "no/thing.txt: No such file"),
    ],
)
def test_what_a_person_gets_wrong(
    address: str, out: str, content: bytes | None, told: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "thing.txt").write_text("as it was")
    local = tmp_path / "local.inv"
    if content is not None:
        local.write_bytes(content)
    assert main([str(tmp_path / out), "--of", address, "--local", str(local)]) == 1
    error = capsys.readouterr().err
    assert f"{tmp_path}/{told}" in error
    assert error.count("\n") == 1
    assert (tmp_path / "thing.txt").read_text() == "as it was"


def test_something_else_is_no_inventory() -> None:
    with pytest.raises(ValueError, match="no inventory of Sphinx"):
        read_objects(b"<!doctype html>")


def test_names_lead_to_their_documentation(tree: Tree) -> None:
    root = tree({"pyproject.toml": SETTINGS, "thing.txt": PACKED, "x.py": CODE})
    assert Builder(root, root / "site").build().problems == ()
    html = (root / "site" / "x.html").read_text()
    far = '<a class="ref far" href="https://thing.example/'
    assert html.count(f'{far}api.html#thing.run">') == 1
    # Where the passage first names them, and no more.
    assert html.count(f'{far}generated/thing.Tool.html#thing.Tool">') == 1
    assert html.count('href="https://docs.python.org/3.11/library/math.html#math.sqrt"') == 1
    assert html.count("ref far") == 3, "what no inventory knows leads nowhere"


def test_a_name_of_ours_is_not_theirs(tree: Tree) -> None:
    """A module `random` of the tree hides the library's; a function's own `sqrt` the module's."""
    files = {
        "random.py": "def shuffle(): pass\n",
        "x.py": "import random\nfrom math import sqrt\nrandom.choice(())\n"
        "def f(sqrt):\n    return sqrt(2)\n",
        "y.py": '"""Say `json`, `code.index` and `json.loads`."""\n',
    }
    root = tree(files)
    Builder(root, root / "site").build()
    assert (root / "site" / "x.html").read_text().count("ref far") == 1, "where it is imported"
    assert (root / "site" / "y.html").read_text().count("ref far") == 1, "json.loads"


@pytest.mark.parametrize("content", [None, "", "thing.run\n", "ftp://x/\n"])
def test_what_is_no_inventory_is_a_line(tree: Tree, content: str | None) -> None:
    files: dict[str, str | bytes] = {"pyproject.toml": SETTINGS, "x.py": CODE}
    root = tree(files if content is None else files | {"thing.txt": content})
    (problem,) = Builder(root, None).build().problems
    assert str(problem).startswith("pyproject.toml:3: inventories: thing.txt cannot be read: ")


def test_a_changed_inventory_is_noticed(tree: Tree) -> None:
    root = tree({"pyproject.toml": SETTINGS, "thing.txt": PACKED, "x.py": CODE})
    Builder(root, root / "site").build()
    tree({"thing.txt": PACKED.replace("thing.example", "another.example")})
    Builder(root, root / "site").build()
    assert "another.example" in (root / "site" / "x.html").read_text()


def test_what_we_link_to_exists() -> None:
    """Each name of the standard library on our own pages is one that Python has."""
    settings, _ = read_settings(ROOT)
    known, problems = read_inventories(settings)
    assert problems == []
    sources = (read_page(path, ROOT, "") for path in find_pages(settings).pages)
    roots = frozenset(name.split(".")[0] for name in known)
    names = {
        name
        for source in sources
        if isinstance(source, Source)
        for name in read_document(source, roots, False).references.values()
        if name in known and "." in name
    }
    # PyTorch is not there on every Python that the builder runs on.
    named = {root: {name for name in names if name.startswith(root)} for root in LIBRARIES}
    assert (len(named["torch."]), len(named["numpy."])) > (90, 10)
    absent = [root for root in LIBRARIES if not importlib.util.find_spec(root.rstrip("."))]
    names -= {name for root in absent for name in named[root]}
    assert len(names) > 60
    for name in names:
        module, _, attribute = name.rpartition(".")
        try:
            found = getattr(importlib.import_module(module), attribute, None)
        except ModuleNotFoundError:
            # A class's own: `dict.fromkeys` of a module is two parts further in.
            outer, _, middle = module.rpartition(".")
            home = importlib.import_module(outer) if outer else builtins
            found = getattr(getattr(home, middle), attribute, None)
        assert found is not None or importlib.import_module(name), name


def test_a_definition_says_where_it_is_used(tree: Tree) -> None:
    files = {
        "a/__init__.py": "from a.one import f\n",
        "a/one.py": 'def f():\n    """\n    ## Doing it\n\n    It does. Then more.\n    """\n'
        "    return g()\n\n\ndef g(): pass\n",
        "a/two.py": '"""\n# Second\n"""\nfrom a import f\n\nf()\n',
        "a/three.py": '"""\n# Third\n\nOf `a.one.f`.\n"""\nimport a.one\n\na.one.f()\n',
    }
    root = tree(files)
    assert Builder(root, root / "site").build().problems == ()
    html = (root / "site" / "a" / "one.html").read_text()
    assert html.count('<p class="users">') == 1, "nobody else uses g"
    line = html[html.index('<p class="users">') :].partition("</p>")[0]
    assert 'Used in <a href="two.html">Second</a>, <a href="three.html">Third</a>' in line
    second = (root / "site" / "a" / "two.html").read_text()
    assert '<p data-to="one.html#doing-it"><b>f · Doing it</b> It does.</p>' in second


def test_names_of_the_libraries_are_followed_through_imports(tree: Tree) -> None:
    """By whatever name a file imports them, and not where a function has a name of its own."""
    code = """\
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.lr_scheduler import LambdaLR as Schedule


def f(x, torch):
    return F.softmax(torch.rand(2), -1), nn.Linear(2, 3), np.arange(3), torch.nowhere


def g():
    '''As `torch.nn.Linear` and `torch.rand`.'''
    return torch.rand(2), Schedule, torch.nowhere, nn.Linear(3, 2)
"""
    root = tree({"x.py": code})
    Builder(root, root / "site").build()
    html = (root / "site" / "x.html").read_text()
    torch = "https://docs.pytorch.org/docs/stable/generated/{0}.html#{0}"
    numpy = "https://numpy.org/doc/stable/reference/generated/{0}.html#{0}"
    imported = ["torch.optim.lr_scheduler.LambdaLR"]
    in_f, in_g = (
        ["torch.nn.functional.softmax", "torch.nn.Linear"],
        ["torch.rand", "torch.nn.Linear"],
    )
    expected = [torch.format(name) for name in [*imported, *in_f, *imported, *in_g, *in_g]]
    expected.append(numpy.format("numpy.arange"))
    assert sorted(re.findall(r'class="ref far" href="([^"]+)"', html)) == sorted(expected)
