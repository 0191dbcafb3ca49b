r"""
# Whatever the input

Arbitrary bytes, arbitrary text, Python made of the parts that are hard to tell apart, and inputs
that are merely too much: lossless, once, and no exception.
"""

from __future__ import annotations

import codecs
import os
import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from site_builder.problem import Problem
from site_builder.read.blocks import parse
from site_builder.read.document import read_document
from site_builder.read.sections import Prose
from site_builder.read.source import Source, decode, split_lines
from site_builder.render.context import Context
from site_builder.render.draft import draft
from site_builder.render.prose import render

from .invariants import check, html_of

# `make fuzz` asks for more.
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "150"))
ANY = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))

PIECES = [
    "# comment", "# ## Heading {#word}", "## not one", "#!shebang", "#", "#: attribute", "######",
    "# $a_i * b_i$ and `code`", "# $broken{$", "# ```", "# [a, b](c, d) [x](y.py) ![i](j.png)",
    "x = 1  # (B, T)", "x = 1", "x = '#'", 'x = """', '"""', "'''", "def f():", "    pass",
    "async def g(a, *, b=1, **c):", "    async with a as b: await c", "class C(D, metaclass=E):",
    "    @property", "@decorate(x, # why\n    y)", '    r"""', '    """One."""', "    ## Heading",
    "    '''Two'''", 'def h(): "one line"', '"""a""" """b"""', 'x = [', "  # inside", "]", ")", "(",
    "if x:", "else:", "try:", "except* E:", "match x:", "    case {'a': [1, *_]}:", "lambda: 0",
    "\\", "x = 1 + \\", "\tif y:", "\t\treturn", "\f", "\v", "\0", "\ufeff", "\u2028", "\x85",
    "ä = 'ö'", "\ud800", "x = f'{y!r:>{z}}' rf\"{'#'}\"", "b'\\n' u'x' rb'\\'", "print 'two'",
    "from . import x, y as z", "from a.b import *", "import a.b.c as d", "---", "title: x", "$$",
    "<script>alert(1)</script>", "&#57344;1&#57345;", "\ue0000\ue001", ":param x: y", ">>> 1", "::",
    "x.y.z.w", "global x; x = 2", "yield", "1e5_0 0x_F 1_000j .5", "type X = int", "¬", "",
]  # fmt: skip
FRONT = r"""
title: x
title: [
titel: x
summary: $x$ <b>
year: 2017
year: 17th
arxiv: 1
authors: [A, B]
authors: {a: b}
needs: [a/b]
needs: [[a]]
notation: {Q: q}
a
notation:
  '\theta': t
figure: {file: ../x.svg, alt: y}
figure: x
changes: {from: a}
runs: {a: "", b: --c}
runs: [a]
metrics: {m: {name: n, better: lower}}
metrics: {m: 1}
claims:
  - {what: w, run: a, metric: m, than: 1, margin: 0}
  - {what: w}
  - w
- x
mistakes: [{what: w, mutant: m, caught: t}]
exercises: [f, C.g]
equals: {what: w}
a: &a [*a]
&x : *x
!!python/object:os.system x
? - x
{}
...
--- x
a: |
  b
# why
title: "\ud800"
year: 1e999
year: .nan
2: 3
title: 2020-02-30
x: y: z""".splitlines()
KINDS = ["function", "class", "comment", "statement", "string", "branch"]
ENDS = ["\n", "\n", "\n", "\r\n", "\r", "\n\n", ""]


@st.composite
def pythonish(draw: st.DrawFn) -> str:
    """Lines that mean something to Python, in an order that may or may not."""
    lines = draw(st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from(ENDS)), max_size=25))
    return "".join(line + end for line, end in lines)


@st.composite
def module(draw: st.DrawFn) -> str:
    """Python that parses: definitions in definitions, with all their ornaments."""
    ending = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    indent = draw(st.sampled_from(["    ", "\t", " "]))
    lines: list[str] = []

    def block(depth: int, room: int) -> None:
        margin = indent * depth
        for _ in range(draw(st.integers(1, 3))):
            kind = draw(st.sampled_from(KINDS))
            if kind in {"function", "class"} and room:
                names = draw(st.lists(st.sampled_from(["a", "b(1,\n 2)", "c.d"]), max_size=2))
                lines.extend(f"{margin}@{name}" for name in names)
                head = draw(st.sampled_from(["def f(x, y=0):", "async def f(*a):  # (B, T)"]))
                lines.append(margin + (head if kind == "function" else "class C(object):"))
                inside = margin + indent
                doc = draw(st.sampled_from(["", "## Head\n\nText $x$.", "One.", "# a\n`b`", "\\n"]))
                raw, quotes = (
                    draw(st.sampled_from(["r", "", "R"])),
                    draw(st.sampled_from(['"""', "'''"])),
                )
                if doc:
                    lines.append(
                        f"{inside}{raw}{quotes}" + doc.replace("\n", f"\n{inside}") + quotes
                    )
                block(depth + 1, room - 1)
            elif kind == "comment":
                lines.append(
                    f"{margin}# {draw(st.sampled_from(['why', '## Why', '$y$', '- item']))}"
                )
            elif kind == "string":
                lines.append(f'{margin}s = """\n# not a comment\n  """ + \'#\'')
            elif kind == "branch" and room:
                lines.append(f"{margin}if x:")
                block(depth + 1, room - 1)
            lines.append(f"{margin}value = [1,  # one\n{margin}# two\n2]")

    block(0, 3)
    return "\n".join([*lines, ""]).replace("\n", ending)


@ANY
@given(st.text())
def test_text(text: str) -> None:
    check(Source("a/b.py", text, "utf-8"))


@ANY
@given(pythonish())
@example("if x:\n    a\n  \0b\n# c\n")
def test_lines_of_python(text: str) -> None:
    check(Source("a/b.py", text, "utf-8"))


@ANY
@given(module())
def test_modules(text: str) -> None:
    assert parse(text).tree is not None
    check(Source("a/b.py", text, "utf-8"))


@ANY
@given(st.binary())
def test_bytes(raw: bytes) -> None:
    source = decode("a/b.py", raw)
    if isinstance(source, Source):
        assert source.text.encode(source.encoding) == raw
        check(source)
    else:
        assert source.line >= 1


@ANY
@given(
    pythonish(),
    st.sampled_from(
        ["latin-1", "utf-8", "cp1252", "utf-7", "koi8-r", "unicode_escape", "rot13", "x"]
    ),
    st.booleans(),
)
def test_encodings(text: str, encoding: str, mark: bool) -> None:
    body = f"# -*- coding: {encoding} -*-\n{text}"
    raw = body.encode("utf-8", errors="replace")
    source = decode("a/b.py", codecs.BOM_UTF8 + raw if mark else raw)
    if isinstance(source, Source):
        assert source.text.encode(source.encoding) == (codecs.BOM_UTF8 if mark else b"") + raw
        check(source)
        source.text.encode()
    else:
        assert isinstance(source, Problem)


@ANY
@given(st.lists(st.sampled_from(PIECES), max_size=12).map("\n".join))
def test_prose(text: str) -> None:
    html = html_of(render(Prose(text, 1), "s", Context()).pieces)
    assert "<script" not in html
    ours = sum(map(text.count, ("\ue000", "&#57344;")))
    # In code, a reference is what is seen.
    seen = sum(map(html.count, ("\ue000", "&amp;#57344;")))
    assert seen == ours, "only what was written"


@ANY
@given(
    st.lists(st.sampled_from([*FRONT, "\t", "\x07"]), max_size=12).map("\n".join),
    st.sampled_from(["r", ""]),
)
def test_front_matter(text: str, raw: str) -> None:
    check(Source("a/b.py", f'{raw}"""\n---\n{text}\n---\n\n# A\n"""\nx = 1\n', "utf-8"))


@given(st.text(alphabet="a\n\r\f\v\x1c\x85\u2028 "))
def test_lines_end_where_python_ends_them(text: str) -> None:
    lines = split_lines(text)
    assert "".join(lines) == text
    python = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    assert [line.rstrip("\r\n") for line in lines] == (python[:-1] if not python[-1] else python)


DEEP = range(99)
ROW = "|" + "b|" * 500 + "\n"
TOO_MUCH = {
    "brackets": "x = " + "[" * 5000 + "]" * 5000 + "\n",
    "minus": "x = " + "-" * 100_000 + "1\n",
    "sum": "x = " + "1 + " * 20_000 + "1\n",
    "attributes": "x = a" + ".b" * 5000 + "\n",
    "calls": "x = a" + "()" * 5000 + "\n",
    "lambdas": "x = " + "lambda: " * 3000 + "0\n",
    "elif": "if x: pass\n" + "elif x: pass\n" * 3000,
    "indentation": "".join(" " * n + "if x:\n" for n in DEEP) + " " * 99 + "pass\n",
    "nested functions": "".join(" " * n + f"def f{n}():\n" for n in DEEP) + " " * 99 + "f0()\n",
    "one long line": "x = " + repr("a" * 1_000_000) + "\n",
    "lines": "x = 1  # (B, T)\n" * 20_000,
    "functions": "def f(x):\n    return x\n" * 10_000,
    "comments": "# why\n\n" * 10_000,
    "commented functions": "# why\ndef f(x):\n    r'''\n    ## A\n    '''\n    x\n" * 3000,
    "quotes": '"""' + "> " * 3000 + 'x"""\n',
    "list": '"""\n' + "\n".join(" " * 4 * n + "- x" for n in range(300)) + '\n"""\n',
    "emphasis": '"""' + "*a **b _c __d " * 2000 + '"""\n',
    "brackets in prose": '"""' + "[" * 3000 + '"""\n',
    "links in prose": '"""' + "[a](" * 3000 + '"""\n',
    "shapes in prose": '"""' + "[a, b](" * 3000 + '"""\n',
    "backticks": '"""' + "`" * 3001 + " ` `` ``` " * 1000 + '"""\n',
    "dollars": '"""' + "$a " * 5000 + "$$" * 1001 + '"""\n',
    "formula": '"""$' + "{" * 3000 + "x" + "}" * 3000 + '$"""\n',
    "macro": '"""$\\def\\a{\\a\\a}\\a$"""\n',
    "fences": '"""\n' + "```\n\n~~~\n" * 2001 + '"""\n',
    "tags": '"""' + "<b><i>" * 3000 + '"""\n',
    "table": '"""\n|' + "a|" * 500 + "\n|" + "-|" * 500 + "\n" + ROW * 20 + '"""\n',
    "footnotes": '"""\n' + "".join(f"[^{n}]\n\n[^{n}]: x\n\n" for n in range(500)) + '"""\n',
    "many brackets": '"""' + "[" * 100_000 + '"""\n',
    "many backticks": '"""' + "`" * 100_000 + "` `` " * 20_000 + '"""\n',
    "many dunders": '"""' + "__a" * 50_000 + '"""\n',
    "many signs": '"""' + r"\\[ \\( $$ <b ![ &x; {#a " * 5000 + '"""\n',
    "closed tags": '"""' + "<b>" * 5000 + "x" + "</b>" * 5000 + '"""\n',
    "a deep list": '"""\n' + "".join(" " * 4 * n + "- x\n" for n in range(700)) + '"""\n',
    "a megabyte": '"""' + "A word. " * 125_000 + '"""\n',
    "blanks": '"""' + " " * 200_000 + "x" + "\n" * 5000 + '"""\n',
    "equals": '"""a\n' + "=" * 100_000 + '"""\n',
}  # fmt: skip


@pytest.mark.parametrize("name", TOO_MUCH)
def test_too_much(name: str) -> None:
    begin = time.process_time()
    check(Source("a/b.py", TOO_MUCH[name], "utf-8"))
    # Nothing here is longer than a megabyte: what takes minutes would be more than linear.
    assert time.process_time() - begin < 90


MANY = 10_000
# Lines of which a pattern could try each part with each other, of any length.
SLOW: dict[str, Callable[[int], str]] = {
    "blanks": lambda n: " " * n + "x",
    "tabs": lambda n: "\t" * n + "x",
    "tildes": lambda n: "~" * n + "x",
    "blanks behind a fence": lambda n: "```" + " " * n + "`",
    "blanks in a role": lambda n: ":a:`b" + " " * n + "c`",
    "blanks in a title": lambda n: "x" + " " * n + "x\n===",
    "blanks in a heading": lambda n: "## x" + " " * n + "x",
    "hashes in a heading": lambda n: "## x" + " #" * n + "x",
    "anchors without an end": lambda n: "## x" + " {#a" * n,
    "roles without an end": lambda n: ":a-" * n,
    "fields without an end": lambda n: "Args:\n    " + ":a-" * n + "\n        x",
    "stars": lambda n: "*" * n,
    "braces": lambda n: "{" * n,
    "stars at words": lambda n: "*a " * n,
    "dashes at words": lambda n: "-a" * n,
}


def seconds(text: str) -> float:
    """How long the page takes that says this, once in a docstring and once in a comment."""
    comment = "".join(f"# {line}\n" for line in text.split("\n"))
    begin = time.process_time()
    for source in (f'"""{text}"""\n', f"{comment}x = 1\n"):
        draft(read_document(Source("a/b.py", source, "utf-8"), frozenset(), False))
    return time.process_time() - begin


@pytest.mark.parametrize("name", SLOW)
@pytest.mark.parametrize("opening", ["S.\n\n", "", ":class:`rest`\n\n"])
def test_twice_as_much_takes_no_more_than_twice_as_long(name: str, opening: str) -> None:
    once, twice = (
        min(seconds(opening + SLOW[name](n)) for _ in range(3)) for n in (MANY, 2 * MANY)
    )
    # What is quadratic takes four times as long, and seconds; the rest, some hundredths of one.
    assert twice < 3 * once + 0.5


@pytest.mark.parametrize("opening", ["S.\n\n", "", ":class:`rest`\n\n"])
def test_a_list_two_thousand_deep_is_given_up_at_once(opening: str) -> None:
    assert seconds(opening + "".join("  " * n + "- x\n" for n in range(2000))) < 6
