"""Code and formulas in claims and deviations are shown as those in prose are."""

from __future__ import annotations

from site_builder.build import Builder
from site_builder.problem import Problem
from site_builder.render.inline import inline

from .conftest import Tree

PAGE = '''r"""
---
title: A
summary: One.
claims:
  - {{what: "`f(x)` is below $x^2$", paper: "<b>bold & so</b> <file>", note: not run}}
deviations:
  - {{what: "{}", paper: p, ours: o, matters: "no: $W_q$"}}
---

# A
"""

x = 1
'''


def test_a_line_is_no_paragraph() -> None:
    assert inline("plain <file> & `x`") == "plain &lt;file&gt; &amp; <code>x</code>"
    assert inline("[x](https://x.org/?a=1&b=2)") == '<a href="https://x.org/?a=1&amp;b=2">x</a>'
    assert 'class="katex"' in inline("$x$")


def test_the_page_shows_them_and_can_show_formulas(tree: Tree) -> None:
    root = tree({"a.py": PAGE.format("the `root`")})
    assert Builder(root, root / "site").build().problems == ()
    html = (root / "site" / "a.html").read_text()
    assert "katex.min.css" in html
    assert html.count('class="katex"') == 2
    for shown in ("<code>f(x)</code>", "<b>bold &amp; so</b> &lt;file&gt;", "<code>root</code>"):
        assert shown in html


def test_what_cannot_be_read_is_said_at_its_line(tree: Tree) -> None:
    root = tree({"a.py": PAGE.format(r"$\\frac{{$")})
    (problem,) = Builder(root, root / "site").build().problems
    assert (problem.path, problem.line) == ("a.py", 8)
    assert isinstance(problem, Problem)
    assert "Unexpected end of input" in problem.message


def test_what_others_do_has_a_column_where_somebody_says_it(tree: Tree) -> None:
    silent, said = PAGE.format("x"), PAGE.format("x").replace("ours: o", "ours: o, others: as we")
    root = tree({"a.py": silent, "b.py": said})
    assert Builder(root, root / "site").build().problems == ()
    pages = [(root / "site" / name).read_text() for name in ("a.html", "b.html")]
    assert ["Others" in page for page in pages] == [False, True]
    assert "as we" in pages[1]
