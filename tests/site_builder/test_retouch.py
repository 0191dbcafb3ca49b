"""Retouching: an edit is shown without linking the site again, and nothing is wrong for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from site_builder.build import Builder
from site_builder.publish.write import MANIFEST

from .conftest import Tree

ONE = '''"""
# One

The first of three.

See [two](two.py#deep) and ![dots](dots.svg).
"""


def first(x: int) -> int:
    r"""
    ## The first part

    It adds. A second sentence of it.
    """
    return x + 1
'''
TWO = '''"""
# Two

After [the first part](one.py#the-first-part), see `one.first`.
"""
from one import first

# ## Deep
y = first(1)
'''
DOTS = '<svg xmlns="http://www.w3.org/2000/svg"/>'
FILES = {"one.py": ONE, "two.py": TWO, "three.py": "# # Three\nz = 3\n", "dots.svg": DOTS}


def site(out: Path) -> dict[str, bytes]:
    """All of it but the manifest, which has times."""
    files = (path for path in out.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def builder(tree: Tree) -> Builder:
    root = tree(dict(FILES))
    builder = Builder(root, root / "site")
    assert not builder.build().problems
    return builder


def anew(root: Path) -> dict[str, bytes]:
    """The site as somebody builds it who has never built it before."""
    other = root.parent / "anew"
    assert not Builder(root, other).build().problems
    return site(other)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("A second sentence", "Another sentence"),
        ("return x + 1", "return 2 + x  # two more"),
        ("See [two]", "Look at [two]"),
    ],
)
def test_an_edit_of_a_page_makes_that_page_again(
    builder: Builder, tree: Tree, old: str, new: str
) -> None:
    root, out = builder.root, builder.root / "site"
    for text in (ONE.replace(old, new), ONE, ONE.replace(old, new)):
        tree({"one.py": text})
        assert {*builder.build(whole=False).changed} == {"one.html", "one.py"}
        assert (out / "one.html").read_bytes() == anew(root)["one.html"]
    # What was put off is made up for, by whoever builds next.
    Builder(root, out).build()
    assert site(out) == anew(root)


@pytest.mark.parametrize(
    ("old", "new", "seen"),
    [
        ("# One", "# Uno", "three.html"),
        ("## The first part", "## The first part of all", "one.html"),
        ("def first", "def second", "one.html"),
        ("[two](two.py#deep)", "[three](three.py)", "one.html"),
    ],
)
def test_an_edit_that_others_know_of_is_a_build(
    builder: Builder, tree: Tree, old: str, new: str, seen: str
) -> None:
    root = builder.root
    changed = {"one.py": ONE.replace(old, new)}
    if "part" in old:
        changed["two.py"] = TWO.replace("#the-first-part", "#the-first-part-of-all")
    if "def" in old:
        changed["two.py"] = TWO.replace("first(1)", "second(1)").replace(
            "import first", "import second"
        )
        changed["two.py"] = changed["two.py"].replace("one.first", "one.second")
    tree(changed)
    assert seen in builder.build(whole=False).changed
    assert (root / "site" / seen).read_bytes() == anew(root)[seen]
    builder.build()
    assert site(root / "site") == anew(root)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("two.py#deep", "two.py#shallow", "one.py:6: "),
        ("dots.svg", "lines.svg", "one.py:6: "),
        ("It adds.", r"It adds $\frob$.", "one.py:14: "),
        ("## The first part", "## The last part", "two.py:4: "),
    ],
)
def test_what_is_wrong_is_said_and_the_good_page_stays(
    builder: Builder, tree: Tree, old: str, new: str, told: str
) -> None:
    before = (builder.root / "site/one.html").read_bytes()
    tree({"one.py": ONE.replace(old, new)})
    (problem,) = builder.build(whole=False).problems
    assert str(problem).startswith(told)
    if told.startswith("one"):
        assert (builder.root / "site/one.html").read_bytes() == before
    tree({"one.py": ONE})
    assert not builder.build(whole=False).problems


def test_another_file_beside_the_sources_is_a_build(builder: Builder, tree: Tree) -> None:
    tree({"dots.svg": DOTS.replace("/>", "><g/></svg>"), "one.py": ONE.replace("adds", "counts")})
    assert {"one.html", "dots.svg"} <= {*builder.build(whole=False).changed}
    # So is one that was removed from the site.
    (builder.root / "site/three.html").unlink()
    tree({"one.py": ONE})
    assert {"one.html", "three.html"} <= {*builder.build(whole=False).changed}


def test_a_picture_that_no_page_has_shown_is_a_build(builder: Builder, tree: Tree) -> None:
    tree({"lines.svg": DOTS})
    builder.build(whole=False)
    tree({"one.py": ONE.replace("dots.svg", "lines.svg")})
    assert "lines.svg" in builder.build(whole=False).changed
