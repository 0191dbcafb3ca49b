"""Small examples with real numbers, beside what they are of."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from site_builder.build import Builder
from site_builder.read.blocks import parse
from site_builder.read.fingerprint import lines_of_code

from .conftest import Tree

FILE = '''r"""
---
title: Sums
summary: They add.
worked:
  - {{at: add, told: "Of `x` <two>", code: "x = a < b\\nadd(x)\\nadd(x), x"}}
---
"""


def add(x):
    """
    ## Adding up
{prose}
    """
    return x
{code}'''
MADE = [
    {"line": 2, "dtype": "float32", "sizes": [2, 3], "values": "1 -20 3 4 5 -inf"},
    {"line": 3, "dtype": "bool", "sizes": [2], "values": "1 0"},
    {"line": 3, "dtype": "float", "sizes": [], "values": "0.5"},
]
CODE = "x = a < b\nadd(x)\nadd(x), x"
LONG = "\n    Words that say it at length, so that the prose is longer than the code. " * 8


def file(prose: str = "", code: str = "") -> str:
    return FILE.format(prose=prose, code=code)


def built(tree: Tree, text: str, **changed: Any) -> tuple[list[str], str]:
    """What `check` says, and the page."""
    row = {"at": "add", "code": CODE, "made": MADE} | changed
    data = {"code": lines_of_code(parse(text)).fingerprint, "lines": [], "worked": [row]}
    root = tree({"a.py": text, "records/a.shapes.json": json.dumps(data)})
    said = [str(problem) for problem in Builder(root, None).build().problems]
    Builder(root, root / "site").build()
    return said, (root / "site" / "a.html").read_text()


def test_each_line_stands_above_what_it_gave(tree: Tree) -> None:
    said, html = built(tree, file())
    assert said == []
    (figure,) = re.findall(r'<figure class="worked">.*?</figure>', html, re.DOTALL)
    assert "<figcaption>Of <code>x</code> &lt;two&gt;</figcaption>" in figure
    text = re.sub("<[^>]+>", "", figure.partition("<pre>")[2])
    assert text.split("\n")[:-2] == [
        "x = a &lt; b", "add(x)", "   1  -20    3", "   4    5 -inf",
        "add(x), x", " True False", "0.5",
    ]  # fmt: skip
    assert figure.count("<samp>") == 4


@pytest.mark.parametrize(
    ("prose", "code", "before"),
    [("", "\n".join(f"    y = {n}" for n in range(30)), "prose"), (LONG, "", "side")],
)
def test_it_stands_in_the_emptier_cell(tree: Tree, prose: str, code: str, before: str) -> None:
    _, html = built(tree, file(prose, code))
    row = html[html.index('id="adding-up"') :]
    cells = re.findall(r'<div class="(prose|side|code)|(<figure class="worked">)', row)
    opened = [cell for cell, figure in cells[: cells.index(("", '<figure class="worked">'))]]
    assert before in opened
    assert ("code" in opened) == (before == "side")


def test_it_is_not_shown_of_other_code_or_another_example(tree: Tree) -> None:
    remedy = "record it again: python -m papers.tools.shapes a.py"
    said, html = built(tree, file(), code="add(1)")
    assert said == [f"a.py:6: worked: add is not on record as it is now; {remedy}"]
    assert 'class="worked"' not in html
    tree({"a.py": file(code="    y = 2\n")})
    root = tree({})
    assert [str(problem) for problem in Builder(root, None).build().problems] == [
        f"records/a.shapes.json:1: recorded before a.py changed; {remedy}"
    ]
    (root / "records" / "a.shapes.json").unlink()
    assert [str(problem) for problem in Builder(root, None).build().problems] == [
        "a.py:5: worked: not on record; record it: python -m papers.tools.shapes a.py"
    ]


@pytest.mark.parametrize("name", ["sub", "Add.up"])
def test_what_it_stands_beside_is_defined(tree: Tree, name: str) -> None:
    text = file().replace("at: add", f"at: {name}")
    root = tree({"a.py": text})
    said = [str(problem) for problem in Builder(root, None).build().problems]
    assert f"a.py:6: worked: no {name} is defined; name a class or function" in said


def test_a_record_that_is_none_is_a_line(tree: Tree) -> None:
    said, html = built(tree, file(), made=[{"line": "two"}])
    assert len(said) == 1
    assert said[0].startswith("records/a.shapes.json:1: not a record of shapes (")
    assert 'class="worked"' not in html
