r"""
# Conventions

Which markup a text is in, and what becomes of the sections that NumPy and Google write.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from site_builder.read.conventions import markup_of, title_of, with_items
from site_builder.read.document import read_document
from site_builder.read.source import Source
from site_builder.render.draft import Draft, draft

from .invariants import html_of

REST = [
    "See :class:`Foo`.", "#: see :meth:`a.b`", ".. note:: x", ".. [1] A book.", "As in [1]_.",
    "`docs <https://x.org>`_", "`Title`_", ":param x: the x", "So::\n\n    code\n", "Title\n~~~~~",
    "=====\nTitle\n=====", "=== ===\na   b\n=== ===", "+---+\n| a |\n+---+", "| one\n| two\n",
    "Parameters\n----------\nx : int\n    The x.", ".. _here: https://x.org",
]  # fmt: skip
MARKDOWN = [
    "", "Words.", "`x` and ``y``", "Args:\n    x: The x.", "Title\n=====",
    "# Title\n\nSo::\n\n    x",
    "[a](b.py), see :class:`Foo`", "```\n.. note::\n```", "| a | b |\n|---|---|\n| :x:`y` | z |",
    "x: int\n    The x.", ">>> x[1]", "- a\n- b", "a :: b", "C::D", "std::vector", "x_ and _y_",
    "$$\n:x:`y`\n$$", "[a][b] and :x:`y`", "usage: x [-h] [--y]",
]  # fmt: skip


@pytest.mark.parametrize("text", REST)
def test_rest_is_known_by_its_signs(text: str) -> None:
    assert markup_of(text) == "rest"
    assert markup_of(f"Words.\n\n{text}\n") == "rest"
    assert markup_of(f"## Heading\n\n{text}") == "markdown"


@pytest.mark.parametrize("text", MARKDOWN)
def test_all_else_is_markdown(text: str) -> None:
    assert markup_of(text) == "markdown"


def test_titles() -> None:
    for text in ("Title\n=====\n\nx", "=======\n Title\n=======\nx", "Title\n^^^^^"):
        title = title_of(text)
        assert title
        assert title[2] == "Title"
    assert not any(map(title_of, ("Parameters\n----------\nx", "a\nb", "a\n..", "")))


def drafted(docstring: str) -> Draft:
    inside = docstring.replace("\n", "\n    ")
    text = f'def f():\n    r"""{inside}"""\n    return 1\n'
    return draft(read_document(Source("a.py", text, "utf-8"), frozenset(), False))


def html(docstring: str) -> str:
    made = drafted(docstring)
    assert made.problems == ()
    return "".join(html_of(row.prose.pieces) for row in made.rows)


NUMPY = """\
Do it.

Parameters
----------
a : int
b : int
    The second.
*args : tuple
x_ : :class:`Foo`, optional

    Two words.

Returns
-------
What comes of it,
in one paragraph.

Notes
-----
p : q
"""
GOOGLE = """\
Do it.

Args:
    x (int): The x.
        And more.
    *args: Others.

Returns:
    dict: The thing.

Example:
    >>> f(1)

Words again.
"""


def test_every_parameter_of_numpy_is_an_item() -> None:
    shown = html(NUMPY)
    for term in ("a : int", "b : int", "*args : tuple", "x_ : <code>Foo</code>, optional"):
        assert f"<dt>{term}" in shown, term
    assert shown.count("<dt>") == 4
    assert shown.count("<h2>") == 3, "headings of one docstring have one size"
    assert "What comes of it,\nin one paragraph." in shown
    assert "<p>p : q</p>" in shown


def test_every_argument_of_google_is_an_item() -> None:
    shown = html(GOOGLE)
    assert shown.count("<li>") == 3
    for item in ("x (int): The x.\n", "*args: Others.", "dict: The thing."):
        assert f"<li>{item}" in shown, item
    assert shown.count("<h2>") == 3
    assert '<span class="gp">&gt;&gt;&gt; </span>' in shown
    assert shown.endswith("<p>Words again.</p>")
    # With a sign of reStructuredText beside it, docutils gets the same items as fields.
    fields = html(GOOGLE.replace("The thing", "The :class:`Thing`"))
    assert fields.count("<dt>") == 6, "three sections and three items"
    assert "<code>Thing</code>" in fields


def test_what_stands_two_further_in_stays_in_its_item() -> None:
    shown = html("Do it.\n\nArgs:\n  x: The x,\n    and more.\n\n    Below it.\n  y: The y.\n")
    assert shown.count("<li>") == 2
    assert "<p>Below it.</p>\n</li>" in shown


def test_an_example_of_a_section_is_none() -> None:
    text = "## Write\n\n```\nArgs:\n    x: The x.\n```\n"
    assert with_items(text, "markdown") == [(0, text)]
    # What the pieces say of each other must stay in one.
    text = "See [x].\n\nArgs:\n    x: The x.\n\n[x]: https://x.org\n"
    assert with_items(text, "markdown") == [(0, text)]


def test_two_docstrings_that_open_with_a_section_have_no_anchor_twice() -> None:
    one = 'def {}():\n    """Parameters\n    ----------\n    x : int\n    """\n\n\n'
    two = 'def {}():\n    """\n    Args:\n        x: The x.\n    """\n\n\n'
    text = "".join(form.format(name) for form in (one, two) for name in "ab")
    made = draft(read_document(Source("a.py", text, "utf-8"), frozenset(), False))
    assert made.problems == ()


def test_a_mistake_below_a_section_has_its_line() -> None:
    (problem,) = drafted(GOOGLE + "\n$\\frac{$\n").problems
    assert problem.line == 2 + GOOGLE.count("\n") + 1
    (problem,) = drafted(NUMPY + "\n:math:`\\frac{`\n").problems
    assert problem.line == 2 + NUMPY.count("\n") + 1


LINES = [
    "Title", "=====", "-----", "", "  text", "x : int", ":param x: y", "So::", "    code",
    ".. note:: x", "- item", "`a <b>`_", "Args:", "    x: y", "::", ".. code::", ">>> x", "Returns",
    "    *args", "Notes", "```",
]  # fmt: skip


@given(st.lists(st.sampled_from(LINES), min_size=1))
def test_lines_stay_where_they_are(lines: list[str]) -> None:
    """In the order of the text, each piece at its line, and nothing but signs comes or goes."""
    text = "\n".join(lines)
    ((_, rest),) = with_items(text, "rest")
    assert rest.count("\n") == text.count("\n")
    assert rest.replace("\\", "").replace(":", "").split() == text.replace(":", "").split()
    for at, piece in with_items(text, "markdown"):
        first, theirs = piece.split("\n")[0], lines[at].rstrip(" :")
        assert theirs.strip() in first.replace("\\", "")
        assert piece.count("\n") <= len(lines) - at
