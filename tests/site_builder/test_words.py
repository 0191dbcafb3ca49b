"""No word is lost in rendering: what looks like markup and is none is shown as it was written."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from site_builder.read.sections import Prose
from site_builder.render import prose
from site_builder.render.context import Context
from site_builder.render.pieces import Link, Name, Rendered
from site_builder.render.prose import LONGEST, render

from .invariants import html_of


def done(text: str, context: Context | None = None) -> Rendered:
    return render(Prose(text, 1), "s", context or Context())


def html(text: str) -> str:
    rendered = done(text)
    assert rendered.mistakes == ()
    return html_of(rendered.pieces)


def seen(text: str) -> str:
    """The text that a reader sees."""
    return unescape(re.sub("<[^>]*>", "", html(text)))


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)


AS_WRITTEN = [
    "Copy <path> to the target directory, then delete it.",
    "Where <command> is a (case-sensitive) keyword such as GET or POST.",
    "An <int>, a <list>, a <vector>, a <mask>, a <mean>, a <line>, a <text> and more.",
    "A <T> in a <file>, and List<int> and Dict<str, List<int>>.",
    "An <input> is no field, a <title> no title, a <textarea> no end.",
    "<script>alert(1)</script> and <!-- a remark --> and <?php ?> and <![CDATA[x]]>.",
    "Never closed: <b>, <a href=x>, <table>, <p> and </i>.",
    "A cell <td>of</td> no table, a picture <img> of nothing, <b>over\n\ntwo</b> paragraphs.",
    "a < b > c, a<b, x <- y, <<EOF, 1<2>1, <>, </>, <3.",
    "f(*args, **kwargs), 2**3**4, a*b*c, x**2 + y**2 and *.py, *.txt.",
    "10**_exp and 2**_exp, get_*break*() and x_*y*, x/*.py and y/*.txt, self._x_ or os._y_.",
    "A '*' or \"*\", '*foo' and '*.py'.",
    "a** b **c, *a*=1 and *b*=2.",
    "2 * 3 * 4, **kwargs, (*args), [*a, *b], {**a, **b}.",
    "The __init__ of __main__, __main.dict__, __a_b__, snake_case_name and __private.",
    "In <function f.__del__ at x>, overloading __r<op>__, all __CF_* keys, __misspelt_ and __this.",
    "class Model[T](BaseModel) and f[0](x, y) and [a, b](c, d), [a,b](c,d) and x[i][j](k).",
    "[0]: first\n[1]: second",
    "[^1]: of nothing",
    "#5 is fixed, #hashtag",
    "A set {a, b} and\n{'a': 1}",
    "Private \ue000 and \U000f0001 and \ufdd0 characters.",
    "[]() and [x]() and [ and ] and ]( and (",
    "a|b|c\n-|-\n1|2|3",
    "<module@0x7f> at <0x7f>",
    "Costs $5 or 6$5, $ 5 and US$.",
    r"C:\Users\new \d+ \w",
    "&notanentity; & &&",
]


@pytest.mark.parametrize("text", AS_WRITTEN)
def test_it_is_shown_as_it_was_written(text: str) -> None:
    assert seen(text).split() == text.split()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"Costs \$5 and \$6.", "Costs $5 and $6."),
        (r"\*args, \_x\_ and \**kw", "*args, _x_ and **kw"),
        ("## Why F#", "Why F#"),
        ("# From C to C#", "From C to C#"),
        ("## Closed ##", "Closed"),
        ("`&#xe000;` and `\ue000`", "&#xe000; and \ue000"),
        ("&#xe000;", "\ue000"),
        ("\0 and \x02 and \x03", "\ufffd and \ufffd and \ufffd"),
        ("    `<T>` & $x$ <b> [x](y.py)", "`<T>` & $x$ <b> [x](y.py)"),
        ("<b>bold</b> and <kbd>x</kbd>", "bold and x"),
        ("1986. A year", "A year"),
        ("<https://x.org/a> and <a@b.org>", "https://x.org/a and a@b.org"),
    ],
)
def test_what_is_shown(text: str, expected: str) -> None:
    assert seen(text).strip() == expected


def test_a_tag_that_is_one_stays_one() -> None:
    text = "<details>\n<summary>More</summary>\n\nA *b*.\n\n</details>\n\nH<sub>2</sub>O<br>next"
    assert Tags(html(text)).tags == ["details", "summary", "p", "sub", "br"]
    table = "<table><tr><td>x</td></tr></table>"
    assert "<td>x</td>" in html(table)
    assert '<img src="a.png" alt="b">' in html('<img src="a.png" alt="b">')


def test_what_is_not_closed_ends_with_its_paragraph() -> None:
    assert html("One `x and $$ y.\n\nThe `z`.").endswith("<p>The <code>z</code>.</p>")


def test_a_name_leads_somewhere_once() -> None:
    names = [piece for piece in done("`a.b`, [`c`](d.py)").pieces if isinstance(piece, Name)]
    assert names == [Name("a.b", "<code>a.b</code>")]
    assert Link("https://x.org/a,b", 1, False) in done("[x](https://x.org/a,b)").pieces


def test_emphasis_at_words() -> None:
    assert html("*a* **b** ***c*** _d_ (*e*), **f:** *g*.").count("<em>") == 5
    assert (
        html("*a*/*b*, **c *d***, '*e*' - *'f'*, *g.* *`h`*, *[i](j.py)* *k\nl*").count("<em>") == 9
    )
    assert html("* of\n* two\n\n***\n").count("<li>") == 2
    assert html("**kwargs: to **other**") == "<p>**kwargs: to <strong>other</strong></p>"


@pytest.mark.parametrize(
    "text",
    [
        "AF_*/SOCK_* constants, and co_*, im_*, tb_*, etc.",
        "W(.W)*\nW(.W)*:(W(.W)*)?",
        "f(x, y, *t) instead of f(*(x, y) + t)",
        "either *a or *b",
        "one *a\n\nand b* more",
        "**kwargs and *args",
    ],
)
def test_what_begins_or_ends_nothing_stays(text: str) -> None:
    assert "".join(re.findall(r"[^<>]+(?=<)", html(text))).replace("\n\n", "\n") == text.replace(
        "\n\n", "\n"
    )


def test_emphasis_of_names_and_within_emphasis() -> None:
    assert html("not *__cause__*, *a*") == "<p>not <em>__cause__</em>, <em>a</em></p>"
    assert html("***a** b*") == "<p><em><strong>a</strong> b</em></p>"
    assert html("one *a\n\nx*.y *c*").endswith("<p>x*.y <em>c</em></p>")
    assert html("**a *b***") == "<p><strong>a <em>b</em></strong></p>"


def test_a_person_may_not_use_what_is_the_pages_own() -> None:
    for word in ("-main", "-contents", "L12", "results"):
        rendered = done(f'One.\n\n<a id="{word}">x</a>')
        assert f'id="{word}"' not in html_of(rendered.pieces)
        message = f"the anchor #{word} is the page's own; choose another word"
        assert rendered.mistakes == ((3, message),)
    for name in ("rows short", "footnote"):
        assert "class" not in html(f'<div class="{name}">x</div>')
    assert done('One.\n\n<a id="mine">x</a>').anchors == ((3, "mine"),)
    assert done("# T\n\n## H {#word}\n\ntext").anchors == ((3, "word"),)


@pytest.mark.parametrize(
    "address",
    ["[x](a.py)", "![x](a.py)", "[x]( <a.py> )", "[x][r]\n\n[r]: a.py", '<a href="a.py">x</a>',
     '<img src="a.py">', '[x](a.py "t")', "**[x](a.py)**", "- [x](a.py)", "> [x](a.py)",
     "| a |\n|---|\n| [x](a.py) |", "[![x](a.py)](a.py)", "[^1]\n\n[^1]: [x](a.py)",
     "[R]\n\n[r]: a.py"],
)  # fmt: skip
def test_a_link_knows_its_line(address: str) -> None:
    text = f"```\nof\nfour\nlines\n```\n\nText `with\ncode` and\n\n{address}"
    line = 1 + text[: text.index("a.py")].count("\n")
    links = [piece for piece in done(text).pieces if isinstance(piece, Link)]
    assert links
    assert {(link.address, link.line) for link in links} == {("a.py", line)}


def test_headings_keep_their_relative_sizes() -> None:
    context = Context()
    context.outline.begin(0)
    first = done("### Parameters\n\nx\n\n### Returns\n\n#### Deeper\n\n### Notes", context)
    assert [heading.level for heading in first.headings] == [2, 2, 3, 2]
    context.outline.begin(2)
    second = done("## Section\n\n### Inside\n\n## Beside", context)
    assert [heading.level for heading in second.headings] == [2, 3, 3]
    context.outline.begin(0)
    third = done("# Parameters\n\n# Returns", context)
    assert [heading.level for heading in third.headings] == [3, 3]
    context.outline.begin(5)
    assert done("##### Deep", context).headings[0].level == 3


def test_the_words_of_a_heading() -> None:
    (heading,) = done("## Of `x`, *y* and [z](a.py) {#word}").headings
    assert heading.title == "Of <code>x</code>, <em>y</em> and z"
    assert heading.anchor == "word"


def test_too_much_is_shown_plainly_and_said() -> None:
    rendered = done("A <b>.\n\n" * (LONGEST // 8 + 1))
    ((line, message),) = rendered.mistakes
    assert line == 1
    assert "is shown as it was written" in message
    assert html_of(rendered.pieces).startswith("<p>A &lt;b&gt;.</p>\n<p>A")


def test_what_markdown_had_open_ends_with_its_section() -> None:
    """It trips over a list three hundred levels deep, and the next section is itself again."""
    after = "1. a\n\n    b\n\nText."
    before = html(after)
    ((_, message),) = done("\n".join(" " * 4 * level + "- x" for level in range(300))).mistakes
    assert "RecursionError" in message
    assert html(after) == before


PLAIN = [
    "Words", "a b", " ", "\n", "\n\n", "## ", "# ", ".", ": ", "1. ", "- ", "=", "--", "  \n",
    "(x)", '"y"', "`c`", "$x$", "@", "!", "    ", "\t", "^", "é", "http://x.org", "%",
    ";", "+", "a@b.org",
]  # fmt: skip


@given(st.lists(st.sampled_from(PLAIN), max_size=12).map("".join))
def test_what_needs_no_markdown_is_what_markdown_gives(text: str) -> None:
    short = done(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prose, "_plain", lambda marked: "")
        assert done(text) == short
