r"""
# Prose

What becomes of what an author writes: formulas, code, shapes, and the HTML that is not theirs to
write.
"""

from __future__ import annotations

import ast
import inspect
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from site_builder.build import Builder
from site_builder.read.blocks import parse
from site_builder.read.document import read_document
from site_builder.read.sections import Prose
from site_builder.read.source import Source
from site_builder.render.context import Context
from site_builder.render.draft import draft
from site_builder.render.prose import render

from .conftest import Tree
from .invariants import html_of

RAW = 'r"""'


def shown(text: str) -> str:
    return html_of(render(Prose(text, 1), "s", Context()).pieces)


def html(text: str) -> str:
    done = render(Prose(text, 1), "s", Context())
    assert done.mistakes == ()
    return html_of(done.pieces)


def test_formulas() -> None:
    inline = html("The step $a_i * b_i$ and $c_i * d_i$, for $5 or 6$5.")
    assert inline.count('class="katex"') == 2
    assert "<em>" not in inline
    assert "for $5 or 6$5." in inline
    assert inline.count("<math") == 2, "a screen reader has the formula too"
    block = html("Text right above\n$$\nx^2\n$$\nand below, $$y$$ in a line.")
    assert block.count("katex-display") == 2
    assert '<div class="math"><span class="katex-display">' in html("Text.\n\n$$\nx\n$$\n\nMore.")
    assert "katex" not in html(r"Costs \$3 and \$4, `$x$`, a $ alone, $ x $.")


def test_an_empty_cell_of_a_tables_head_heads_nothing() -> None:
    html = shown("| | a |\n|---|---|\n| b | c |\n")
    assert "<td></td>" in html.split("</thead>")[0]
    assert "<th>a</th>" in html


def test_a_table_and_a_formula_in_a_list() -> None:
    table = html("| a | b |\n|---|---|\n| `x` | $y$ |\n")
    assert table.startswith('<div class="table"><table>')
    assert "<code>x</code>" in table
    assert 'class="katex"' in table
    assert "<li>" in html("- one $x$\n- two\n")


def test_fences() -> None:
    fence = html("Text.\n\n```python\ndef f(): # <b>\n    return `x` + $y$\n```\n\nMore.")
    assert '<pre class="fence"><code><span class="k">def</span>' in fence
    assert "&lt;b&gt;" in fence
    assert "katex" not in fence
    assert "# not a heading" in html("```\n# not a heading\n```")
    assert "<h1" not in html("```\n# not a heading\n```")
    assert html("```klingon\nx <y>\n```") == '<pre class="fence"><code>x &lt;y&gt;\n</code></pre>'
    assert "<li>" in html("- a\n\n    ```\n    x\n    ```\n\n- b\n")


def test_code_that_only_looks_like_prose() -> None:
    code = html("Text.\n\n    `x` and $y$ and <b>\n\nMore.")
    assert "<pre><code>`x` and $y$ and &lt;b&gt;" in code
    examples = html("Text.\n\n    >>> f('<b>')\n      'c'\n\nMore.")
    assert '<pre class="fence"><code><span class="gp">&gt;&gt;&gt; </span>' in examples
    assert examples.count("<pre") == 1


@pytest.mark.parametrize(
    "shape", ["[a, b](c, d)", "[batch, seq](x, y)", "[B T](B, T, C)", "[1](2, 3)"]
)
def test_shapes(shape: str) -> None:
    assert html(f"Turns {shape} over.") == f"<p>Turns {shape} over.</p>"


def test_links_are_still_links() -> None:
    assert '<a href="b.py">a</a>' in html("[a](b.py)")
    assert '<a href="b.py" title="t u">a</a>' in html('[a](b.py "t u")')


EVIL = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>",
    "<a href=javascript:alert(1)>x</a>", "[x](javascript:alert(1))", "[x](JaVaScRiPt:alert(1))",
    "[x](data:text/html,<script>)", "[x](vbscript:x)", '<p onclick="x()">x</p>',
    "<iframe src=//x.org></iframe>", "<svg onload=x()>", "<style>*{display:none}</style>",
    '<p style="position:fixed">x</p>', "<base href=//x.org>", "<link rel=stylesheet href=//x>",
    "<meta http-equiv=refresh content=0>", "<object data=x>",
    "<form action=//x><input name=x></form>", "<math><mi//xlink:href=x>", "<!-- <script> -->",
    "![x](y.png){onerror=alert(1)}", "# x {onclick=alert(1)}", "[x](y.py){style=position:fixed}",
    '![`" onerror="alert(1)`](x.png)', '[x](`"onclick="alert(1)`)', '[x](y.py "`<script>`")',
    "$\\href{javascript:alert(1)}{x}$", "$\\htmlClass{x}{y}$", "$\\includegraphics{x}$",
    "$\\text{<script>alert(1)</script>}$", "```html\n<script>alert(1)</script>\n```",
    "```<script>\nx\n```", '<b `title=">` onclick=x>', "&#57344;0&#57345; `<script>`",
    "&#xE000;9&#xE001;", "<<script>script>alert(1)", "<a\nhref\n=\njavascript:alert(1)>x</a>",
    "[^1]\n\n[^1]: <script>x</script>", "<details ontoggle=x open>",
    "[x]: javascript:alert(1)\n\n[x]", '<x y="`a`" onload=z>', "<scr<b>ipt>",
]  # fmt: skip
TAGS = {"script", "iframe", "style", "svg", "object", "form", "base", "link", "meta", "embed"}


class Reader(HTMLParser):
    """Gathers what a browser would act on."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.inside = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag in TAGS:
            self.found.append(tag)
        for key, value in attributes:
            address = re.sub(r"[\s\0]", "", value or "").lower()
            if key.startswith("on") or address.startswith(("javascript:", "data:", "vbscript:")):
                self.found.append(f"{tag} {key}={value}")
            # KaTeX sets sizes, tables align their cells; nothing is moved about.
            if key == "style" and "fixed" in (value or ""):
                self.found.append(f"{tag} {key}={value}")


@pytest.mark.parametrize("text", EVIL)
def test_nothing_runs(text: str) -> None:
    assert Reader(shown(text)).found == []
    assert Reader(shown(f"Text {text} text.\n\n- {text}\n")).found == []


@given(
    st.lists(
        st.sampled_from([*"`\"'<>[]() $!{}\n", *EVIL, "](", "onclick=x ", "<a ", "title="]),
        max_size=9,
    )
)
def test_nothing_runs_in_any_combination(parts: list[str]) -> None:
    assert Reader(shown("".join(parts))).found == []


def test_nothing_runs_on_a_whole_page(tree: Tree) -> None:
    """Also through titles, summaries, notation, names and strings, which templates show."""
    x = "<script>alert(1)</script><img src=x onerror=y>"
    files: dict[str, str | bytes] = {
        "a.py": f'{RAW}\n---\ntitle: "{x}"\nsummary: "{x}"\npaper: "{x}"\n'
        f'authors: ["{x}"]\nyear: 2000\nurl: "https://x.org/\\"><script>"\n'
        f"notation: {{'x': '{x}'}}\nruns: {{'{x}': '{x}'}}\n"
        f"claims: [{{what: '{x}', paper: '{x}', note: '{x}'}}]\n---\n"
        f'# {x}\n\n## {x}\n\n{x}\n"""\n'
        f"# {x}\ny = '{x}'  # ({x})\n",
        "b.py": f'{RAW}\n# {x}\n\n{x}. More\n"""\nif __name__ == "__main__":\n    pass\n',
        f"{x.replace('/', '_')}.py": "class A:\n    pass\n",
        "pyproject.toml": f"[tool.site_builder]\ntitle = '{x}'\ntagline = '{x}'\nintro = '{x}'\n"
        "url = 'https://x.org/'\n",
    }
    root = tree(files)
    Builder(root, root / "site").build()
    pages = list((root / "site").rglob("*.html"))
    assert len(pages) == 6
    for page in pages:
        found = Reader(page.read_text()).found
        # The templates' own: two scripts, data for search engines, style sheets, metadata.
        assert set(found) <= {"script", "link", "meta", "svg"}
        assert "alert(1)</script" not in page.read_text().replace("\\u003c/script", "")
    for name in ("sitemap.xml", "feed.xml"):
        assert "<script" not in (root / "site" / name).read_text()


def test_chips() -> None:
    text = "x = 1  # (B, T)\ny = 2  # (B, T/2), (B,)\n# (B, T)\nz = 3  # why (B)\nw = '# (B)'\n"
    made = draft(read_document(Source("a.py", text, "utf-8"), frozenset(), False))
    code = [html_of(line) for row in made.rows for line in row.code]
    chips = ["chip" in line for line in code]
    assert chips == [True, True, False, False]
    assert code[0].endswith('<span class="chip"><span class="hash"># </span>(B, T)</span>')


def test_one_sentence_says_what_a_page_and_a_place_on_it_are() -> None:
    """A formula is nothing for a line of plain text, wherever that stands."""
    above, below = 'r"""Adds $\\alpha$ to it. More."""', 'r"""Adds $\\beta$ to it."""'
    source = f"{above}\n\nx = 1\n\n\ndef f(x):\n    {below}\n    return x\n"
    plain = source.replace("$\\alpha$", "one").replace("$\\beta$", "two")
    for text, words in ((source, ("", "")), (plain, ("Adds one to it.", "Adds two to it."))):
        made = draft(read_document(Source("a/b.py", text, "utf-8"), frozenset(), False))
        assert (made.document.summary, made.said["f"].sentence) == words


def anchors(text: str) -> list[str]:
    made = draft(read_document(Source("a.py", text, "utf-8"), frozenset(), False))
    return [row.anchor for row in made.rows if row.anchor]


FUNCTION = 'def {}():\n    r"""\n    ## {}\n    """\n    return 1\n\n\n'


def test_anchors_are_words_and_stay() -> None:
    two = FUNCTION.format("rotate", "Why we *divide* by $d_k$") + FUNCTION.format("f", "Zwölf!")
    assert anchors(two) == ["why-we-divide-by-d_k", "zwölf"]
    more = FUNCTION.format("g", "New") + "x = 1\n\n\n# Why.\n" + two + "class Why:\n    pass\n"
    assert [a for a in anchors(more) if a in anchors(two)] == anchors(two)
    # A definition that has a heading's name gives way to it.
    assert anchors("def same():\n    pass\n\n\n" + FUNCTION.format("f", "same")) == [
        "same-2",
        "same",
    ]
    assert anchors("def f():\n    pass\n\n\n" * 3) == ["f", "f-2", "f-3"]
    assert anchors(FUNCTION.format("f", "L12") + FUNCTION.format("g", "Results")) == [
        "L12".lower(), "results-section"]  # fmt: skip
    assert anchors(FUNCTION.format("f", "Long words {#short}")) == ["short"]
    assert anchors("class L12:\n    pass\n") == ["L12-section"]


def problem_lines(text: str) -> list[int]:
    made = draft(read_document(Source("a.py", text, "utf-8"), frozenset(), False))
    return [problem.line for problem in made.problems]


BAD = r"$\frac{$"


@pytest.mark.parametrize(
    "text",
    [
        '"""\n\n\nOne.\n\n@\n"""\n',
        '"""One.\n@\n"""\n',
        '"""\\\nOne.\n@\n"""\n',
        'r"""\\\nOne.\n@\n"""\n',
        '"""One \\n two\\n\\n three.\n@\n"""\n',
        '"""One \\\ntwo \\\nthree.\n@\n"""\n',
        '"""\n   \n\t\n  One.\n  @\n"""\n',
        '"""One \\x41 \\N{BULLET} \\u0041.\n\n@\n"""\n',
        '"""One \\x0a \\012 two.\n@\n"""\n',
        "x = 1\n\n\ndef f():\n\n    '''\n\n    One.\n    @\n    '''\n",
        "'One \\\ntwo @'\n",
        "# One.\n#\n#   two\n# @\nx = 1\n",
        "x = [\n    # One.\n    # @\n]\n",
        "#!/usr/bin/env python\n# -*- coding: utf-8 -*-\n# A licence.\n\n'''One.\n\n@'''\n",
        '"""One\r\n\r\n@\r\n"""\r\n',
        '"""One\r\r@\r"""\r',
        '"""One.\n\x0c\n@\n"""\n',
        "def f():\n    u'''One.\n\n    ## Two\n\n    @'''\n",
        '"""\n# Title\n\n## Two\n\n@\n"""\n',
    ],
)
def test_a_problem_has_the_line_that_it_is_on(text: str) -> None:
    place = re.split(r"\r\n|\r|\n", text[: text.index("@")])
    raw = text.lstrip().startswith("r") or "#" in text.split("@")[0].rsplit("\n", 1)[-1]
    formula = BAD if raw else BAD.replace("\\", "\\\\")
    assert problem_lines(text.replace("@", formula)) == [len(place)]


@given(st.text(alphabet="ab \n\t", max_size=40))
def test_docstrings_are_dedented_as_python_does(text: str) -> None:
    source = 'def f():\n    """' + text + '"""\n'
    block = next((b for b in parse(source).blocks if b.kind == "docstring"), None)
    value = ast.parse(source).body[0].body[0].value.value  # type: ignore[attr-defined]
    theirs = inspect.cleandoc(value)
    if block:
        # We keep blanks at the ends of lines, which mean a break to Markdown.
        both = ["\n".join(map(str.rstrip, t.split("\n"))) for t in (block.prose, theirs)]
        assert both[0].strip("\n") == both[1].strip("\n")
