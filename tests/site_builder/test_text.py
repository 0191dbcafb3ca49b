"""Prose first: a page as a text with code in it, by pylit, and the code again to the last byte."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from site_builder import text as command
from site_builder.__main__ import main as site_builder
from site_builder.build import Builder
from site_builder.link.forms import LITERATE
from site_builder.publish.literate import text_sources
from site_builder.read import texts
from site_builder.read.literate import from_comments, to_comments
from site_builder.read.pylit import MISSING, Refused, pylit
from site_builder.read.texts import code_of, text_of

from .conftest import ROOT, Tree

FILES = sorted([*(ROOT / "papers").rglob("*.py"), *(ROOT / "site_builder").rglob("*.py")])
PAPERS = [file for file in FILES if re.search("^paper: ", file.read_text(), re.MULTILINE)]
STRING = """---
title: A string
summary: Five lines that swing.
---

# A string

Plucked, it obeys $u_{tt} = c^2 u_{xx}$::

    import numpy as np


## One step

Of `before` and `now`::

    def step(before, now, r):

### What it gives

The next row of the movie. The ends are held::

        after = np.zeros_like(now)

Everything between swings::

        bend = now[2:] - 2 * now[1:-1] + now[:-2]

::

        return 2 * now[1:-1] - before[1:-1] + r**2 * bend
"""
CODE = '''r"""
---
title: A string
summary: Five lines that swing.
---

# A string

Plucked, it obeys $u_{tt} = c^2 u_{xx}$:
"""

import numpy as np


# ## One step
#
# Of `before` and `now`:
def step(before, now, r):
    r"""
    ### What it gives

    The next row of the movie. The ends are held:
    """
    after = np.zeros_like(now)
    # Everything between swings:
    bend = now[2:] - 2 * now[1:-1] + now[:-2]
    return 2 * now[1:-1] - before[1:-1] + r**2 * bend
'''


def test_every_paper_comes_back_to_the_last_byte() -> None:
    assert len(PAPERS) >= 22
    for file in PAPERS:
        code = file.read_bytes().decode()
        text = text_of(code)
        assert code_of(text).text == code, file
        # Most of its prose is prose there, and not a comment or docstring of indented code.
        lines = text.splitlines()
        assert "# " + code.split("\n# ", 1)[1].split("\n")[0] in lines, file
        assert sum(line == "::" for line in lines) > text.count('    r"""') * 3, file


def test_all_other_files_come_back_too() -> None:
    """Without pylit, which is what takes long."""
    for file in FILES:
        code = file.read_text()
        made = from_comments(to_comments(code))
        assert made.text == code, file
        assert len(made.origins) == len(made.lines)


def test_a_text_becomes_code() -> None:
    made = code_of(STRING)
    assert made.text == CODE
    given = STRING.splitlines()
    for line, origin in zip(made.lines, made.origins, strict=True):
        if words := line.strip(' #"r'):
            assert given[origin - 1].strip(' #"r').rstrip(":") == words.rstrip(":")


@pytest.mark.parametrize(
    ("code", "left"),
    [
        # Below a header this would become a docstring, and in one line a docstring of one line.
        ("def f():\n    # Why\n    return 1\n", "    # Why"),
        ('def f():\n    r"""\n    One.\n    """\n    return 1\n', '    r"""'),
        ('def f():\n    """\n    One.\n\n    Two.\n    """\n    return 1\n', '    """'),
        # The second of two has no code between.
        ('def f():\n    """One."""\n    # Why\n    return 1\n', "    # Why"),
        ("x = 1\n# Right below\ny = 2\n", "# Right below"),
        ("def f():\n    x = 1\n    # Thus::\n    return x\n", "    # Thus::"),
    ],
)
def test_prose_that_would_come_back_different_stays_in_the_code(code: str, left: str) -> None:
    text = text_of(code)
    assert "    " + left in text.splitlines()
    assert "# ::" not in text
    assert code_of(text).text == code


def test_a_docstring_may_be_all_there_is() -> None:
    code = 'class Wrong(Exception):\n    """What is wrong."""\n\n\nx = 1\n'
    text = text_of(code)
    assert "What is wrong." in text.splitlines()
    assert code_of(text).text == code


def test_an_empty_file_is_an_empty_text() -> None:
    assert text_of("") == code_of("").text == ""


def test_what_cannot_come_back_has_its_line() -> None:
    for code, line in [("x = 1\r\n", 1), ('x = """\n\n# Title\n\n"""\n', 4), ("x = 1", 1)]:
        with pytest.raises(Refused, match="this would come back different from a text") as refused:
            text_of(code)
        assert refused.value.line == line


def page(root: Path) -> str:
    """Without the name of the file and the time of the build."""
    text = (root / "site" / "string.html").read_text()
    return re.sub(r"string\.py(?:\.txt)?|\d{4}-\d\d-\d\dT[\d:+]+", "", text)


def test_a_page_written_prose_first_is_the_page(tree: Tree) -> None:
    root = tree({"string.py": CODE})
    assert Builder(root, root / "site").build().problems == ()
    shown = page(root)
    (root / "string.py").unlink()
    tree({"string.py.txt": STRING})
    assert Builder(root, root / "site").build().problems == ()
    assert page(root) == shown
    assert (root / "site" / "string.py").read_text() == CODE
    assert "<code>string.py.txt</code>" in (root / "site" / "string.html").read_text()


def test_nobody_is_told_to_run_what_is_not_there(tree: Tree) -> None:
    script = 'if __name__ == "__main__":\n    print(1)\n'
    prose = text_of(f'"""A."""\n\n{script}')
    root = tree({"code.py": script, "prose.py.txt": prose, "out/left.py.txt": prose})
    tree({"pyproject.toml": '[tool.site_builder]\nwithout_page = ["out/*.py"]\n'})
    assert Builder(root, root / "site").build().pages == 2
    code, page = ((root / "site" / f"{name}.html").read_text() for name in ("code", "prose"))
    assert 'class="run ' in code
    assert 'class="run ' not in page


def test_problems_are_at_lines_of_the_text(tree: Tree) -> None:
    def said(text: str) -> list[str]:
        report = Builder(tree({"string.py.txt": text}), None).build()
        return [str(problem) for problem in report.problems]

    gone = "gone.py leads nowhere: there is no gone.py"
    assert said(STRING.replace("between swings", "[swings](gone.py)")) == [
        f"string.py.txt:25: {gone}; write an address from string.py"
    ]
    assert said(STRING.replace("title: A", "titel: A"))[0].startswith(
        "string.py.txt:2: unknown key"
    )
    (wrong,) = said(STRING.replace("before, now, r):", "before, now, r:"))
    assert re.match(r"string\.py\.txt:1[6-9]: Python \S+ cannot read the file", wrong)
    (below,) = said(STRING.replace("        bend", "  bend"))
    told = "pylit: code block contains line less indented than 4 spaces; indent all code by as much"
    assert below == f"string.py.txt:27: {told}"
    (inside,) = said(STRING.replace("now, r):\n", "now, r):\n  x = 1\n"))
    assert inside == f"string.py.txt:18: {told}"
    (close,) = said(STRING.replace("::\n\n        return", "::\n        return"))
    assert close == "string.py.txt:30: code begins here; leave a blank line below the ::"


def test_code_beside_its_text_is_what_the_text_says(tree: Tree) -> None:
    root = tree({"string.py.txt": STRING, "string.py": CODE})
    builder = Builder(root, root / "site")
    assert builder.build().problems == ()
    tree({"string.py": CODE + "\n"})
    (problem,) = builder.build().problems
    assert str(problem).startswith("string.py.txt:1: the code of string.py beside it is not what")


def test_without_pylit_one_line_says_what_brings_it(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tree({"string.py.txt": STRING, "other.py": "x = 1\n"})
    monkeypatch.setenv("PATH", os.devnull)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    pylit.cache_clear()
    report = Builder(root, root / "site").build()
    assert [str(problem) for problem in report.problems] == [f"string.py.txt:1: {MISSING}"]
    assert (root / "site" / "other.html").is_file()
    assert command.main([str(root / "other.py")]) == 1
    assert capsys.readouterr().err == f"{root / 'other.py'}:1: {MISSING}\n"


PROSE_FIRST = frozenset({LITERATE})


def test_each_page_is_to_be_had_prose_first(tree: Tree) -> None:
    """Also with `--text`: what is published comes back to the page's file to the last byte."""
    files = {"a/__init__.py": '"""A folder."""\n', "a/b.py": CODE, "c.py.txt": STRING}
    settings = '[tool.site_builder]\ninstall = "waves"\n'
    script = f"{CODE}\n\nif __name__ == '__main__':\n    step(1, 2, 3)\n"
    root = tree({**files, "run.py": script, "none.py": "", "pyproject.toml": settings})
    site = root / "site"
    assert Builder(root, site, PROSE_FIRST).build(whole=False).problems == ()
    codes = {"a/__init__.py", "a/b.py", "c.py", "run.py", "none.py"}
    found = {file.relative_to(site).as_posix() for file in site.rglob("*.py.txt")}
    assert found == {f"{code}.txt" for code in codes}
    for code in codes - {"c.py"}:
        text = (site / f"{code}.txt").read_bytes()
        assert code_of(text.decode()).text.encode() == (root / code).read_bytes(), code
    # What its author wrote, as it was written.
    assert (site / "c.py.txt").read_bytes() == (root / "c.py.txt").read_bytes()
    for page, code in (("a/index", "a/__init__"), ("a/b", "a/b"), ("c", "c")):
        place = re.search(
            r'href="([^"]+)" download[^>]*>prose first<', (site / f"{page}.html").read_text()
        )
        assert place
        assert (site / f"{page}.html").parent.joinpath(
            place[1]
        ).resolve() == site / f"{code}.py.txt"
    # Who does not ask for it has neither.
    assert Builder(root, site).build(whole=False).problems == ()
    assert not [*site.rglob("*.py.txt")]
    assert "prose first" not in (site / "c.html").read_text()


def test_what_cannot_be_prose_first_has_its_line_and_its_page(tree: Tree) -> None:
    root = tree({"a.py": CODE, "b.py": "x = 1"})
    builder = Builder(root, root / "site", PROSE_FIRST)
    (problem,) = builder.build(whole=False).problems
    assert str(problem).startswith("b.py:1: --text: this would come back different from a text")
    assert (root / "site" / "a.py.txt").is_file()
    assert "prose first" not in (root / "site" / "b.html").read_text()
    tree({"b.py": "x = 2"})
    builder.build(whole=False)
    assert '<span class="mi">2</span>' in (root / "site" / "b.html").read_text()
    tree({"b.py": "x = 2\n"})
    assert builder.build(whole=False).problems == ()
    assert (root / "site" / "b.py.txt").read_text() == "..    x = 2\n"


def test_what_was_made_prose_first_is_kept(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SITE_BUILDER_CACHE", str(tmp_path / "cache"))
    made, problems = text_sources({"a.py": CODE.encode()}, tmp_path)
    assert problems == []
    monkeypatch.setattr(texts, "text_of", lambda code: f"anew: {code}")
    assert text_sources({"a.py": CODE.encode()}, tmp_path) == (made, [])
    assert text_sources({"a.py": b"x = 1\n"}, tmp_path) == ({"a.py": b"anew: x = 1\n"}, [])


def test_without_pylit_texts_that_are_asked_for_are_one_line(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tree({"a.py": "x = 1\n"})
    monkeypatch.setenv("PATH", os.devnull)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert site_builder(["build", str(root), "--text"]) == 1
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"site-builder: {MISSING}\n")
    assert not (root / "site").exists()


def test_the_command_converts_both_ways(tree: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    root = tree({"string.py": CODE, "notes.md": ""})
    code, text = root / "string.py", root / "string.py.txt"
    assert command.main([str(code)]) == 0
    assert capsys.readouterr().out == f"{text}\n"
    assert command.main([str(text)]) == 0
    assert code.read_text() == CODE
    # Who has edited one since does not lose it.
    code.write_text(CODE.replace("swings", "moves"))
    os.utime(text, (1, 1))
    capsys.readouterr()
    assert command.main([str(text)]) == 1
    told = f"is newer than {text}, and would be lost; --force writes over it"
    assert capsys.readouterr().err == f"{code}:1: {told}\n"
    assert "moves" in code.read_text()
    assert command.main([str(text), "--force"]) == 0
    assert code.read_text() == CODE
    assert command.main([str(root / "notes.md")]) == 1
    assert "is neither Python nor a text source" in capsys.readouterr().err
