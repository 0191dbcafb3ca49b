"""A page as cells, read away from the site: no word of an author is lost, and no line of code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from site_builder.link.elsewhere import Place, carry
from site_builder.link.links import Linker
from site_builder.link.site import find_targets
from site_builder.publish.text import fenced, render_text
from site_builder.read.blocks import parse
from site_builder.read.cells import Cell, read_cells
from site_builder.read.document import read_document
from site_builder.read.source import Source, split_lines
from site_builder.render.draft import Stub

from ..words import _docstring, missing
from .test_lossless import LIBRARY, ODD, ROOT, library, sources

OURS = sorted(ROOT.glob("papers/*/*.py")) + sorted(ROOT.glob("site_builder/read/*.py"))
THEIRS = [LIBRARY / name for name in ODD[::2] if (LIBRARY / name).is_file()] + library()[::320]

NOWHERE = Place("")


def cells_of(text: str, required: bool = False) -> tuple[Cell, ...]:
    return read_cells(read_document(Source("a.py", text, "utf-8"), frozenset(), required))


def carried(source: Source, required: bool, place: Place = NOWHERE) -> tuple[Cell, ...]:
    reading = read_document(source, frozenset(), required)
    document = reading.document
    targets = find_targets([Stub(document, {}, frozenset(), ())], [], {})
    linker = Linker(source.path, source.url, targets)
    return carry(document, read_cells(reading), linker, place)


def lines(text: str) -> list[str]:
    return [line.rstrip("\r\n") for line in split_lines(text) if line.strip()]


def without_docstrings(text: str) -> ast.Module:
    r"""What Python runs of it: a docstring that had its lines to itself is prose."""
    tree = ast.parse(text)
    shown = {block.start for block in parse(text).blocks if block.kind == "docstring"}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if node.body and isinstance(node.body[0], ast.Expr) and node.body[0].lineno in shown:
            value = node.body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                rest: list[ast.stmt] = node.body[1:]
                node.body = rest or ([] if isinstance(node, ast.Module) else [ast.Pass()])
    return tree


def unescaped(text: str) -> str:
    return re.sub(r"\\([\\`*_<\[$])", r"\1", text)


@pytest.mark.parametrize(
    ("files", "root"), [(OURS, ROOT), (THEIRS, LIBRARY)], ids=["ours", "theirs"]
)
def test_no_line_of_code_is_lost(files: list[Path], root: Path) -> None:
    for source in sources(files, root):
        parsed = parse(source.text)
        cells = read_cells(read_document(source, frozenset(), root == ROOT))
        code = [cell.text for cell in cells if cell.kind != "prose"]
        kept = [line for text in code for line in lines(text)]
        if parsed.tree is None:
            assert kept == lines("".join(b.text for b in parsed.blocks if b.kind != "docstring"))
            continue
        blocks = [b for b in parsed.blocks if b.kind == "code"]
        wanted = iter(kept)
        # Those of the blocks of code stand in their order; between them, comments inside of them.
        assert all(line in wanted for block in blocks for line in lines(block.text)), source.path
        plain = "\n".join(line.rstrip("\r\n") for line in split_lines(source.text)) + "\n"
        theirs = ast.dump(without_docstrings(plain))
        assert ast.dump(ast.parse("\n".join(code))) == theirs, source.path
        # And each is whole: a notebook gives them to Python one by one.
        for text in code:
            ast.parse(text)


@pytest.mark.parametrize(
    ("files", "root"), [(OURS, ROOT), (THEIRS, LIBRARY)], ids=["ours", "theirs"]
)
def test_no_word_is_lost(files: list[Path], root: Path) -> None:
    for source in sources(files, root):
        cells = carried(source, root == ROOT)
        code = "\n".join(c.text for c in cells if c.kind != "prose")
        wrote: list[str] = []
        for block in parse(source.text).blocks:
            if block.kind == "docstring":
                wrote.append(_docstring(block))
            elif block.kind == "comment" and "\n".join(lines(block.text)) not in code:
                wrote.append(block.prose)
        # What front matter says stands above; where it has a title, that is the page's.
        said = re.sub(r"\A\s*---\n.*?\n---\n\s*# [^\n]*", "", "\n\n".join(wrote), flags=re.DOTALL)
        title = cells[0].text.partition("\n")[0]
        shown = "\n\n".join([title, *(c.text for c in cells[1:] if c.kind == "prose")])
        assert missing(unescaped(said), unescaped(shown)) == [], source.path


def test_prose_stands_above_its_code() -> None:
    text = '''"""# A file

Of it.
"""

import os
# Why it is two.
TWO = 2


class A:
    """## A thing"""

    size = 3

    @property
    def one(self) -> int:
        """Says one."""
        # It is one.
        return 1

    def two(self) -> int:
        """### Two"""

        return TWO
    # Behind.


# ## What changed since
#
# Nothing.

if __name__ == "__main__":
    print(A().one)
'''
    assert [(cell.kind, cell.line, cell.text) for cell in cells_of(text)] == [
        ("prose", 3, "Of it."),
        ("code", 6, "import os"),
        ("prose", 7, "Why it is two."),
        ("code", 8, "TWO = 2"),
        ("prose", 12, "## A thing\n\n**`A.one`**\n\nSays one."),
        ("prose", 23, "### Two"),
        (
            "code",
            11,
            "class A:\n    size = 3\n\n    @property\n    def one(self) -> int:\n"
            "        # It is one.\n        return 1\n\n    def two(self) -> int:\n"
            "        return TWO\n    # Behind.",
        ),
        ("prose", 29, "## What changed since\n\nNothing."),
        ("main", 33, 'if __name__ == "__main__":\n    print(A().one)'),
    ]


def test_what_runs_either_way_is_code() -> None:
    text = 'if __name__ == "__main__":\n    x = 1\nelse:\n    x = 2\n'
    assert [cell.kind for cell in cells_of(text)] == ["code"]


def test_items_are_listed_as_on_the_page() -> None:
    text = 'def f(x):\n    """Says.\n\n    Args:\n        x (int): The x.\n    """\n    return x\n'
    assert cells_of(text)[0].text == "Says.\n\n## Args\n\n- x (int): The x."
    # In the house style a word with a colon is a word with a colon.
    assert "## Args" not in cells_of(text, required=True)[0].text


def test_a_body_is_not_left_empty() -> None:
    code = [
        c.text
        for c in cells_of('class Wrong(Exception):\n    """Is wrong."""\n')
        if c.kind == "code"
    ]
    assert code == ["class Wrong(Exception):\n    pass"]


def test_what_python_cannot_read_is_one_cell() -> None:
    text = "# Says\nprint 'a', (\n# inside\n2)\n"
    assert [(c.kind, c.text) for c in cells_of(text)] == [("code", text.rstrip("\n"))]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("Of $x$ and $$y$$.", "Of $x$ and $$y$$."),
        (r"Of \(x\) and \[y\].", "Of $x$ and $$y$$."),
        ("It costs $5 or $6.", r"It costs \$5 or \$6."),
        ("`a$b` and `c`", "`a$b` and `c`"),
        ("[here](#two) and [there](https://example.org/a_b)",
         "[here](https://site.org/p/a.html#two) and [there](https://example.org/a_b)"),
        ("[a_b](a.py)", "[a_b](https://site.org/p/a.html)"),
        ("2**n, *.py and __init__", r"2\*\*n, \*.py and \_\_init\_\_"),
        ("a <b>c</b> <d>", r"a <b>c</b> \<d>"),
        ("## Two {#two}", "## Two"),
        ("One:\n```\nx = $1\n```\nTwo", "One:\n\n```\nx = $1\n```\n\nTwo"),
        (">>> 1 + 1\n2", "```pycon\n>>> 1 + 1\n2\n```"),
        ('<img src="a.py" alt="A">', '<img src="https://site.org/p/a.html" alt="A">'),
        ("[a]\n\n[a]: a.py", "[a]\n\n[a]: https://site.org/p/a.html"),
    ],
)  # fmt: skip
def test_it_means_elsewhere_what_it_means_on_the_page(written: str, read: str) -> None:
    comment = "\n".join(f"# {line}".rstrip() for line in f"{written}\n\nEnd.".split("\n"))
    text = f"# ## Two\n\nx = 1\n{comment}\ny = 2\n"
    (found,) = [
        c.text for c in carried(Source("a.py", text, "utf-8"), False, Place("https://site.org/p/"))
        if c.kind == "prose" and c.text.endswith("End.")
    ]  # fmt: skip
    assert found == f"{read}\n\nEnd."


def test_other_markup_stays_as_it_is() -> None:
    text = (
        'def f():\n    """See :class:`~a.B` of *x*.\n\n    ::\n\n        f(1)\n    """\n    x = 1\n'
    )
    _, prose = (c.text for c in carried(Source("a.py", text, "utf-8"), False) if c.kind == "prose")
    assert prose == "```rst\nSee :class:`~a.B` of *x*.\n\n::\n\n    f(1)\n```"


def test_a_fence_is_longer_than_those_inside() -> None:
    text = 'def f():\n    """See :func:`g` of ```` it.\n\n    :param x: x"""\n    x = 1\n'
    _, prose = (c.text for c in carried(Source("a.py", text, "utf-8"), False) if c.kind == "prose")
    assert prose == "`````rst\nSee :func:`g` of ```` it.\n\n:param x: x\n`````"


def test_what_front_matter_says_stands_first() -> None:
    text = r'''"""
---
title: The string_
summary: Of $u_t$ and `c`.
paper: "On *strings*"
authors: [Ann Lee, Bo Day]
year: 1999
doi: 10.1/x
figure: {file: a b.svg, alt: "A [string]", caption: "Where $u_t$ is."}
---

# Strings

Prose.
"""
'''
    opening, prose = carried(Source("x/a.py", text, "utf-8"), True, Place("https://site.org/"))
    assert opening.text == (
        "# The string\\_\n\nOf $u_t$ and `c`.\n\n"
        "Ann Lee, Bo Day, *[On \\*strings\\*](https://doi.org/10.1/x)*, 1999.\n\n"
        "Its page: <https://site.org/x/a.html>\n\n"
        "![A \\[string]](https://site.org/x/a%20b.svg)\n\nWhere $u_t$ is."
    )
    assert prose.text == "Prose."


def test_a_text_has_all_cells_in_their_order() -> None:
    text = render_text(cells_of("# Says.\nx = '''\n```\n'''\n")).decode()
    assert text == "Says.\n\n````python\nx = '''\n```\n'''\n````\n"
    assert fenced("x") == "```python\nx\n```"
