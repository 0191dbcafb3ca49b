"""reStructuredText: what docutils makes of it, and what it would have left out."""

from __future__ import annotations

import re
from html import unescape

import pytest

from site_builder.read.sections import Prose
from site_builder.render.context import Context
from site_builder.render.pieces import Link, Name
from site_builder.render.prose import render

from .invariants import html_of


def shown(text: str) -> str:
    """The HTML of a text, without what does not matter to its reader."""
    html = html_of(render(Prose(text, 1, "rest"), "s", Context()).pieces)
    return re.sub(r">\s+<", "><", html).strip()


def seen(text: str) -> str:
    """The words that a reader sees."""
    html = re.sub(r'<span class="katex-html".*?</span>(?=<|$)', "", shown(text))
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("Some ``a * b`` here.", "<p>Some <code>a * b</code> here.</p>"),
        (":class:`~a.b.C` and :py:func:`f`", "<p><code>C</code> and <code>f</code></p>"),
        (":ref:`the words <label>`, :made-up:`x`", "<p><span>the words</span>, <code>x</code></p>"),
        ("`name` alone", "<p><code>name</code> alone</p>"),
        ("*args and **kwargs", "<p>*args and **kwargs</p>"),
        ("a <file> & |x|", "<p>a &lt;file&gt; &amp; |x|</p>"),
        (".. |x| replace:: y\n\nUse |x|.", "<p>Use y.</p>"),
        ("| one\n| two", "<div><div>one</div><div>two</div></div>"),
        (
            "- a\n- b\n\n  - c",
            "<ul><li><p>a</p></li><li><p>b</p><ul><li><p>c</p></li></ul></li></ul>",
        ),
        ("(c) 2012 by me", "<p>(c) 2012 by me</p>"),
        ("iv) four\nv) five", "<ul><li><p>iv) four</p></li><li><p>v) five</p></li></ul>"),
        ("E. N. Gilbert", "<p>E. N. Gilbert</p>"),
        ("(1) ::\n\n      x", '<p>(1) </p><pre class="fence"><code>x\n</code></pre>'),
        (".. |x| replace:: of no use", "<p>x: of no use</p>"),
        ("A |x|.\n\n.. |x| replace:: word", "<p>A word.</p>"),
        (":param x: why", "<dl><dt>param x:</dt><dd><p>why</p></dd></dl>"),
        ("a : int\n    First.", "<dl><dt>a : <em>int</em></dt><dd><p>First.</p></dd></dl>"),
        ("Code::\n\n        far in", '<p>Code:</p><pre class="fence"><code>far in\n</code></pre>'),
        (".. just a comment", "<p>just a comment</p>"),
        (".. note:: Well.", "<p><strong>Note</strong></p><p>Well.</p>"),
        (
            ".. versionadded:: 1.2\n   With *care*.",
            "<p><strong>New in version</strong> 1.2\nWith <em>care</em>.</p>",
        ),
        (
            ".. made-up:: an argument\n\n   Its ``content``.",
            "<p><strong>made-up</strong> an argument</p><p>Its <code>content</code>.</p>",
        ),
        (
            "=====  ===\nA      B\n=====  ===\n1      2\n=====  ===",
            '<div class="table"><table><thead><tr><th><p>A</p></th><th><p>B</p></th></tr></thead>'
            "<tbody><tr><td><p>1</p></td><td><p>2</p></td></tr></tbody></table></div>",
        ),
        (
            "+---+---+\n| a | b |\n+---+---+",
            '<div class="table"><table><tbody><tr><td><p>a</p></td><td><p>b</p></td></tr></tbody>'
            "</table></div>",
        ),
    ],
)  # fmt: skip
def test_what_becomes_of_it(text: str, html: str) -> None:
    assert shown(text) == html


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("Any *a and **kw,\nby *func*.", "Any *a and **kw,\nby <em>func</em>."),
        ("From *one to the other* and *on*.", "From <em>one to the other</em> and <em>on</em>."),
        ("The *product 2 * 3* is six.", "The <em>product 2 * 3</em> is six."),
        ("The *a*, *b* and **c**.", "The <em>a</em>, <em>b</em> and <strong>c</strong>."),
    ],
)  # fmt: skip
def test_of_two_stars_that_begin_the_second_is_ended(text: str, html: str) -> None:
    assert shown(text) == f"<p>{html}</p>"


def test_footnotes_lead_to_each_other_and_lose_no_line() -> None:
    text = "As in [1]_ and [Knuth]_.\n\n.. [1] A reference\n   on two lines.\n"
    done = render(Prose(text, 5, "rest"), "key", Context())
    assert seen(text) == "As in [ 1 ] and [Knuth]_. [1] A reference on two lines."
    (link,) = [piece for piece in done.pieces if isinstance(piece, Link)]
    assert link == Link("#key-1", 5, False)
    assert done.anchors == ((5, "key-1"),)


def test_links_have_their_lines_and_names_their_targets() -> None:
    text = (
        "First.\n\nA `link over\ntwo lines <x.py>`_ to Foo_.\n\n:meth:`~a.C.run`\n\n.. _Foo: y.py\n"
    )
    pieces = render(Prose(text, 11, "rest"), "s", Context({"a": "pkg.a"})).pieces
    assert [p for p in pieces if isinstance(p, Link)] == [
        Link("x.py", 13, False), Link("y.py", 13, False)]  # fmt: skip
    assert [p for p in pieces if isinstance(p, Name)] == [Name("pkg.a.C.run", "<code>run</code>")]
    assert seen(".. _Alone: https://x.org/a") == "alone: https://x.org/a"


def test_a_paragraph_of_signs_is_shown_as_it_was_written() -> None:
    """Docutils would look for the end of each in all that follows."""
    done = render(Prose("S.\n\n" + "*a " * 3000, 7, "rest"), "s", Context())
    assert done.mistakes == (
        (7, "this is no reStructuredText that can be read (TooManySigns), so it is shown as it was "
            "written; make it simpler"),
    )  # fmt: skip
    assert html_of(done.pieces).count("*a") == 3000
    assert render(Prose("S.\n\n" + "*a* " * 500, 7, "rest"), "s", Context()).mistakes == ()


def test_formulas_are_typeset() -> None:
    done = render(
        Prose(
            ".. math:: p = A p\n\n:math:`x_1`, and\n\n.. math::\n\n  a &= b \\\\\n  c &= d",
            1,
            "rest",
        ),
        "s",
        Context(),
    )
    assert done.math
    assert done.mistakes == ()
    tex = re.findall(r'encoding="application/x-tex">(.*?)</annotation>', html_of(done.pieces), re.S)
    assert tex == ["p = A p", "x_1", r"\begin{aligned}a &amp;= b \\" "\nc &amp;= d\\end{aligned}"]


@pytest.mark.parametrize(
    ("option", "tex", "below"),
    [
        (":label: eq_1", "a", "(eq_1)"),
        (":nowrap:", "\\begin{gather}a \\\\ b\\end{gather}", ""),
        (":no-wrap:\n   :class: x", "a", ""),
    ],
)
def test_a_formula_is_one_with_any_option(option: str, tex: str, below: str) -> None:
    done = render(Prose(f".. math::\n   {option}\n\n   {tex}", 1, "rest"), "s", Context())
    html = html_of(done.pieces)
    assert f">{tex}</annotation>" in html
    assert done.mistakes == ()
    assert html.rstrip().endswith(f"<p>{below}</p>" if below else "</div>")


@pytest.mark.parametrize(
    "text",
    [
        "=====\nNo table\n===",
        "+--+\n| a |\n+--+--+",
        "Title\n==",
        "====\nOver\n====\n\nText.",
        "A `link without end and ``code too",
        ".. image::",
        ".. code::",
        ".. list-table::\n\n   words",
        ".. include:: /etc/passwd",
        ".. raw:: html\n\n   <b>bold</b>",
        ".. csv-table:: t\n   :file: /etc/passwd",
        "    quoted\n\n  less so\n\nout",
        "text\n  - list\n  more",
        "* a\nb",
        ".. math::\n   :label: eq\n\n   \\frac{",
        "Sub\n---\n\nHigh\n====\n\nOdd\n~~~~\n\nSub\n---\n",
        ".. toctree::\n   :maxdepth: 2\n\n   one\n   two",
        ".. py:function:: f(x)\n\n   Does.",
        "\ue0001\ue001 \0",
    ],
)
def test_no_word_is_lost(text: str) -> None:
    found = seen(text).lower()
    for word in re.findall(r"\w+", text.lower()):
        if word not in {"image", "code", "list", "table", "replace", "math", "label", "py"}:
            assert word in found, (word, found)
    assert "root:" not in found


def test_nothing_runs_and_nothing_is_read() -> None:
    text = ".. raw:: html\n\n   <script>alert(1)</script>\n\n`x <javascript:alert(1)>`_\n"
    html = shown(text)
    assert "<script" not in html
    assert "javascript" not in html
