r"""
# Reading

What is understood of a file: which of its lines are somebody's words, and what they say.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from site_builder.build import Builder
from site_builder.link.body import resolve
from site_builder.link.site import find_targets
from site_builder.read.blocks import parse
from site_builder.read.document import read_document
from site_builder.read.source import Source
from site_builder.render.draft import Draft, draft

from ..words import visible
from .conftest import Tree


def drafted(text: str) -> Draft:
    return draft(read_document(Source("a.py", text, "utf-8"), frozenset(), False))


def prose(text: str) -> list[str]:
    return [block.prose for block in parse(text).blocks if block.kind != "code"]


def mistakes(text: str) -> list[tuple[int, str]]:
    return [(problem.line, problem.message) for problem in drafted(text).problems]


def shown(text: str) -> str:
    """What a reader sees of the prose, its formulas as TeX."""
    made = drafted(text)
    return " ".join(
        visible(row.prose) for row in resolve(made, find_targets([made], [], {})).rows
    ).strip()


COMMANDS = r"\alpha \beta \frac12 \nabla \rho \times \vec v"


def test_a_command_of_a_formula_is_not_an_escape() -> None:
    text = '"""\nFirst.\n\nThen $2 \\times 3$, $\\theta$, $\\text{softmax}$.\n"""\n'
    assert shown(text) == r"First. Then 2 \times 3, \theta, \text{softmax}."
    ((line, message),) = mistakes(text)
    assert line == 4
    assert message == 'to Python, \\times begins with a tab; begin the docstring with r"""'
    assert mistakes("r" + text) == []
    assert prose(f'"""{COMMANDS}"""\n') == prose(f'r"""{COMMANDS}"""\n') == [COMMANDS]
    assert len(mistakes(f'"""{COMMANDS}"""\n')) == 1


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (r"\x41\u0042\U00000043\N{BULLET}\104", "ABC•D"),
        (r"\\times \\ \' \"", "\\times \\ ' \""),
        (r"a\n b\t c\r, \x00 \0 \ud800 \N{ZERO WIDTH SPACE}", None),
        (r"\d+ \s* \( \[", None),
        ("one \\\ntwo", "one \ntwo"),
    ],
)
def test_an_escape_stands_for_what_can_be_seen(written: str, read: str | None) -> None:
    assert prose(f'"""{written}."""\n') == [(read or written) + "."]
    assert mistakes(f'"""{written}."""\n') == []


def contents(text: str) -> list[tuple[int, str]]:
    return [(heading.level, str(heading.title)) for heading in drafted(text).contents]


def anchors(text: str) -> list[str]:
    return [row.anchor for row in drafted(text).rows if row.anchor]


def test_a_written_anchor_wins() -> None:
    link = 'r"""\nSee <a id="same"></a>here and\n\n### There {#other}\n"""\n'
    text = link + "def same():\n    pass\n\n\nclass C:\n    '''\n    ## Other\n    '''\n"
    assert anchors(text) == ["same-2", "other-2"]
    assert mistakes(text) == []
    assert len(mistakes(link + "class C:\n    '''\n    ## New {#same}\n    '''\n")) == 1


NOTEBOOK = """\
# ---
# jupyter:
#   jupytext:
#     text_representation: {}
# ---

# # Title
#
# Text with # in it.
# # not a heading

# In[1]:

# !pip install torch
# %matplotlib inline
x = 1

# +
# Why.
y = 2
# -
"""


def test_what_a_notebook_says_to_itself_is_code() -> None:
    assert prose(NOTEBOOK) == [
        "# Title\n\nText with # in it.\n\\# not a heading",
        "Why.",
    ]
    assert contents(NOTEBOOK) == [(2, "Title")]
    assert prose("# <codecell>\n\n# Why.\nx = 1\n# <headingcell level=1>\n\n# Then.\n") == [
        "Why.", "Then."]  # fmt: skip
    assert prose("# %% [markdown]\n# # Title\n# Text.\n\n# %%\nx = 1\n") == ["# Title\nText."]
    # Elsewhere it is code that was commented out twice.
    assert shown("# # x = 1\ny = 2\n") == "# x = 1"
    assert prose("# %s is the name, ! is not\n# - item\nx = 1\n") == [
        "%s is the name, ! is not\n- item"
    ]


def test_a_comment_inside_a_fence() -> None:
    text = "# Then:\n#\n# ```sh\n# # install it\n# pip install x\n# ```\n# # y\nx = 1\n"
    assert shown(text) == "Then: # install it pip install x # y"


NEWER = {
    "3.14": "# Why.\nx = t'{y!r}'\n\n\ndef f():\n    # Then.\n    return x\n",
    "3.12": "# Why.\ntype X = int\n\n# Then.\nx = f'{d['a']}'\n",
    "2": "# Why.\nprint 'two'\n# Then.\n",
    "never": "# Why.\n# Then.\nx = '''\n# no comment\n",
}


@pytest.mark.parametrize("version", NEWER)
def test_a_file_that_this_python_cannot_read_shows_its_comments(version: str) -> None:
    readable = version[:2] == "3." and sys.version_info >= tuple(map(int, version.split(".")))
    assert shown(NEWER[version]).split() == ["Why.", "Then."]
    named = f"Python {sys.version_info.major}.{sys.version_info.minor} cannot read the file"
    assert [named in message for _, message in mistakes(NEWER[version])] == [True] * (not readable)


def test_a_link_out_of_the_folder_is_refused(tree: Tree, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x = 'secret'\n")
    files: dict[str, str | bytes] = {
        "a.py": '"""\n![k](key.png) and ![p](picture.png)\n"""\n',
        "real.png": b"picture",
        "pyproject.toml": '[tool.site_builder]\nsources = [".", "away"]\n',
    }
    root = tree(files)
    for name in ("key.png", "pw.py"):
        (root / name).symlink_to(secret)
    (root / "picture.png").symlink_to("real.png")
    (root / "same.py").symlink_to(os.path.relpath(root / "a.py", root))
    (root / "away").symlink_to(tmp_path)
    report = Builder(root, root / "site").build()
    assert [str(problem) for problem in report.problems] == [
        "key.png:1: cannot be read: it is a link out of the folder; mend or remove it",
        "pw.py:1: cannot be read: it is a link out of the folder; mend or remove it",
        "pyproject.toml:2: sources: no folder 'away' below this file; name one that is",
    ]
    site = root / "site"
    assert not any((site / name).exists() for name in ("key.png", "pw.py", "pw.html", "away"))
    assert (site / "picture.png").read_bytes() == b"picture"
    assert (site / "same.html").is_file()


def test_a_heading_keeps_its_own_hash() -> None:
    text = (
        'def f():\n    """\n    ## Why F#\n\n    ### From C to C#\n\n    ### Closed ##\n    """\n'
    )
    assert shown(text) == "Why F# From C to C# Closed"
    assert contents(text) == [(2, "Why F#")]
    assert shown("# #hash\n\nx = 1\n") == "#hash"


def test_one_heading_does_not_empty_the_contents() -> None:
    classes = "".join(f"class C{n}:\n    x = {n}\n\n\n" for n in range(44))
    headed = 'class D:\n    """\n    ## About it\n    """\n'
    entries = contents(classes + headed)
    assert len(entries) == 45
    assert entries[-1] == (2, "About it")


def test_an_address_may_hold_a_hash(tree: Tree) -> None:
    root = tree({"t#h?r.py": "def f():\n    pass\n", "b/c.py": '"""[x](../t%23h%3Fr.py#f)"""\n'})
    assert Builder(root, root / "site").build().problems == ()
    assert 'href="../t%23h%3Fr.html#f"' in (root / "site/b/c.html").read_text()


@pytest.mark.parametrize(
    "top", ["# -*- coding: utf-8 -*-\n", "#!/usr/bin/python\n# coding: utf-8\n", "\n"]
)
def test_what_a_notebook_says_may_stand_below_what_a_file_says_to_python(top: str) -> None:
    assert prose(f"{top}# ---\n# jupyter:\n#   jupytext: x\n# ---\n\n# Why.\nx = 1\n") == ["Why."]
