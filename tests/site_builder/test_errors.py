r"""
# What a person gets wrong

Through the real command: one line for each mistake, with its place and what to do, all of them in
one go, exit status 1, and never a traceback.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from site_builder.build import Builder

from .conftest import ROOT, Command, Tree

GOOD = '''r"""
---
title: Good
summary: Nothing is wrong here.
---

# Good

Text.
"""
x = 1
'''

HEAD = 'r"""\n---\ntitle: x\nsummary: y\n---\n\n# T\n'
# A file, and for each mistake in it the line and a piece of the message.
WRONG: dict[str, tuple[str | bytes, list[tuple[int, str]]]] = {
    "no_docstring": ("x = 1\n", [(1, "no front matter")]),
    "no_front_matter": ('"""\n# Title\n"""\nx = 1\n', [(2, "no front matter")]),
    "not_closed": ('r"""\n---\ntitle: x\n\n# T\n"""\n', [(2, "front matter is not closed")]),
    "missing": ('r"""\n---\ntitle: x\n---\n"""\n', [(2, "front matter has no summary")]),
    "missing_paper": (
        'r"""\n---\ntitle: x\nsummary: y\npaper: P\n---\n"""\n',
        [(2, "has no authors, year, arxiv (or doi, or url)")],
    ),
    "unknown": (
        'r"""\n---\ntitle: x\nsummary: y\nauthor: me\n---\n"""\n',
        [(5, "unknown key 'author'; the nearest known one is 'authors'")],
    ),
    "several": (
        'r"""\n---\ntitle: 3\nsummary: ""\nyear: old\narxiv: 1412.6980\nauthors: me\n'
        'notation: [a]\nruns: {a: {b: c}}\nclaims: [{what: x}]\n---\n"""\n',
        [(3, "title: must be text"), (4, "summary: must be text"), (5, "year: must be a year"),
         (6, "arxiv: must be an arXiv number in quotes"), (7, "authors: must be a list"),
         (8, "notation: must be a mapping"), (9, "runs: a: must be text"),
         (10, "claims: has no paper")],
    ),
    "claims": (
        'r"""\n---\ntitle: x\nsummary: y\nruns: {a: ""}\n'
        'claims:\n  - {what: x, paper: y, run: b, metric: m}\n---\n"""\n',
        [(7, "claims: run: there is no 'b'; name one of a")],
    ),
    "not_yaml": ('r"""\n\n---\ntitle: a: b\n---\n"""\n', [(4, "not YAML")]),
    "not_mapping": ('r"""\n---\n- a\n---\n"""\n', [(3, "must be lines of `key: value`")]),
    "at": ('r"""\n---\ntitle: x\nsummary: @y\n---\n"""\n', [(4, "not YAML")]),
    "twice": (
        'r"""\n---\ntitle: x\nsummary: y\ntitle: x\n---\n"""\n',
        [(5, "title: stands twice; keep one")],
    ),
    "bomb": (
        'r"""\n---\ntitle: x\nsummary: y\n'
        'runs:\n  a: &a [x, x]\n  b: [*a, *a]\n---\n"""\n',
        [(6, "runs: a: must be text"), (7, "runs: b: must be text")],
    ),
    "notation": (
        'r"""\n---\ntitle: x\nsummary: y\n'
        'notation:\n  m: m\n  \'\\frac{\': n\n---\n"""\nm = n = 1\n',
        [(7, "notation: \\frac{"), (6, "no formula has m;"), (7, "no formula has \\frac{;")],
    ),
    "dead_symbol": (
        'r"""\n---\ntitle: x\nsummary: y\n'
        'notation: {m: mean, s: S, w: f.w,\n  x: size}\n---\n'
        '| size | meaning |\n|--|--|\n| `S` | it |\n"""\n'
        'meant = 1  # (S,)\ndef f(w):\n    return "mean"\n\n\ndef size(): pass\n',
        [(5, "notation: m: no name in the code and no size is called 'mean'; the nearest is"),
         (5, "no formula has m;"), (5, "no formula has s;"), (5, "no formula has w;"),
         (6, "no formula has x;")],
    ),
    "levels": (
        HEAD + '## A\n\n#### B\n\n```\n# no heading\n```\n"""\n\ndef f():\n'
        '    r"""\n    ### C\n    """\n',
        [(10, "the heading #### skips a level; begin it with ###")],
    ),
    "second_title": (HEAD + 'x\n\n# B\n"""\nx = 1\n', [(10, "a second title")]),
    "dollar": (
        HEAD + 'A $x_1 that\nis open, \\$5 and $y$.\n\nAnd `$`.\n"""\n# And $z\nx = 1\n',
        [(8, "this $ begins no formula"), (13, "this $ begins no formula")],
    ),
    "addresses": (
        HEAD + '[a](https:/x.org/a) [b](https://x.org/a_(b)) `<https:/>`\n[c](htps://x.org)\n'
        '<https:/y.org>\n[d][d]\n\n[d]: http:x.org\n"""\n',
        [(8, "https:/x.org/a is no web address"), (9, "htps://x.org is no web address"),
         (10, "https:/y.org is no web address"), (13, "http:x.org is no web address")],
    ),
    "dead_size": (
        HEAD + 'Of `(N, 1)`.\n\n| size | meaning |\n|--|--|\n| `B` | b |\n| `T` | t |\n'
        '| `N` | n |\n| `V` | v |\n"""\nV = f(x)  # (B, 3)\n',
        [(13, "nothing has the size T")],
    ),
    # What follows from a mistake is not said beside it: of this file, no front matter, and of
    # others, no anchor.
    "unread": (HEAD + 'x\n"""\ndef f(:\n    pass\n', [(10, "cannot read the file")]),
    "leads_to_unread": (HEAD + '[f](unread.py#f) [g](unread.py)\n"""\n', []),
}  # fmt: skip

FREE: dict[str, tuple[str | bytes, list[tuple[int, str]]]] = {
    "math": ('"""One.\n\nTwo $x$ and $\\\\frac{$.\n"""\n', [(3, "Unexpected end of input")]),
    "math_display": ("# Why.\n#\n# $$\n# \\nope{x}\n# $$\nx = 1\n", [(3, "\\nope")]),
    "math_open": ('r"""\n# T\n\n$$\nx\n\ny\n"""\n', [(4, "the formula $$ is not closed")]),
    "fence": ('"""\n# T\n\nText.\n\n```python\nx = 1\n"""\n', [(6, "the fence ``` is not closed")]),
    "dead_page": ('"""\n# T\n\nSee\n[x](nowhere.py).\n"""\n', [(5, "nowhere.py leads nowhere")]),
    "dead_anchor": ('"""\n# T\n\n[x](good.py#no)\n[y](#none)\n"""\n',
                    [(4, "has no anchor #no"), (5, "has no anchor #none")]),
    "dead_image": ('"""\n# T\n\n![x](no.png)\n"""\n', [(4, "no.png leads nowhere")]),
    "dead_reference": ('"""\n# T\n\n[x][y]\n\n[y]: no.py\n"""\n', [(6, "no.py leads nowhere")]),
    "dead_html": ('"""\n# T\n\n<a href="no.html">x</a>\n"""\n', [(4, "no.html leads nowhere")]),
    "far_image": ('"""\n# T\n\n![x](https://x.org/a.png)\n"""\n', [(4, "asked from another site")]),
    "outside": ('"""\n# T\n\n[x](../../../etc/passwd)\n"""\n', [(4, "leads nowhere")]),
    "anchors": (
        'def f():\n    """\n    ## Same\n    """\n    x\n\n\n'
        'def g():\n    r"""\n\n    ## Same\n    """\n',
        [(11, "anchor #same stands twice")],
    ),
    "anchor_attribute": (
        '"""\n# T\n\n### A {#one}\n\n### B {#one}\n"""\n', [(6, "anchor #one stands twice")]
    ),
    "syntax": ("x = 1\nif x\n    y\n", [(2, "expected ':'")]),
    "latin": (b"x = 1\ny = '\xff'\n", [(2, "not utf-8")]),
    # In a stranger's docstring, these are nobody's mistake.
    "stranger": ('"""\n# T\n\n### U\n\n$HOME, $5\n\n# V\n\n[x](https://x)\n"""\n', []),
    "cookie": (b"# coding: klingon\n", [(1, "unknown encoding")]),
    "nul": (b"x = 1\ny = '\0'\n", [(1, "null bytes")]),
}  # fmt: skip
SETTINGS = (
    '[project]\nname = "x"\n[tool.site_builder]\ntitle = "T"\nrequire_front_matter = ["strict"]\n'
)


def lines(text: str) -> set[str]:
    return set(text.splitlines())


def test_every_mistake_in_one_go(tree: Tree, command: Command) -> None:
    files: dict[str, str | bytes] = {
        "pyproject.toml": SETTINGS + 'colour = "red"\nbranch = 3\nsources = [".", "gone", ".."]\n'
        'url = "example.org"\npaths = [{title = "a", pages = ["gone.py"]}]\ntests = "../tests"\n',
        "strict/good.py": GOOD,
        "free/good.py": "x = 1\n",
        "free/package/__init__.py": "",
        "free/package/index.py": "",
        "free/Case.py": "",
        "free/case.py": "",
        "index.py": "",
        "free/folder.py/inside.py": "x = 1\n",
    }
    files |= {f"strict/{name}.py": content for name, (content, _) in WRONG.items()}
    files |= {f"free/{name}.py": content for name, (content, _) in FREE.items()}
    root = tree(files)
    (root / "free" / "dangling.py").symlink_to("gone")
    (root / "free" / "loop.py").symlink_to("loop.py")
    os.mkfifo(root / "free" / "pipe.py")
    done = command("build", root)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    expected = [
        (f"{folder}/{name}.py", line, piece)
        for folder, kind in (("strict", WRONG), ("free", FREE))
        for name, (_, mistakes) in kind.items()
        for line, piece in mistakes
    ] + [
        ("pyproject.toml", 6, "unknown key 'colour'"),
        ("pyproject.toml", 7, "branch must be a string"),
        ("pyproject.toml", 8, "sources: no folder 'gone'"),
        ("pyproject.toml", 8, "sources: no folder '..'"),
        ("pyproject.toml", 9, "url must be an address"),
        ("pyproject.toml", 10, "paths: there is no 'gone.py'"),
        ("pyproject.toml", 11, "tests: no folder '../tests'"),
        ("free/package/index.py", 1, "has the address free/package/index.html, as has"),
        ("free/case.py", 1, "has the address free/case.html, as has free/Case.py"),
        ("index.py", 1, "has the address index.html, as has the front page"),
        ("free/dangling.py", 1, "cannot be read: No such file"),
        ("free/loop.py", 1, "cannot be read: Too many levels of symbolic links"),
        ("free/pipe.py", 1, "cannot be read: not a regular file"),
    ]
    said = done.stderr.splitlines()
    for path, line, piece in expected:
        found = [text for text in said if text.startswith(f"{path}:{line}: ") and piece in text]
        assert len(found) == 1, (path, line, piece, [t for t in said if t.startswith(path)])
        said.remove(found[0])
    assert said == []
    out = root / "site"
    assert "Nothing is wrong here." in (out / "strict/good.html").read_text()
    # What is wrong with a page does not keep it from being read.
    assert "nowhere.py" in (out / "free/dead_page.html").read_text()
    assert (out / "free/folder.py/inside.html").is_file()
    # The mistakes are still there, so a second build says the same.
    again = command("build", root)
    assert (again.returncode, again.stderr) == (1, done.stderr)
    assert "0 files changed" in again.stdout


def test_one_is_no_plural(tree: Tree, command: Command) -> None:
    done = command("check", tree({"a.py": "x = 1\nif x\n"}))
    assert done.stdout == "1 page, 1 problem\n"
    assert command("build", tree({"a.py": "x = 1\n"})).stdout.endswith(
        " files changed, 0 problems\n"
    )


RUN = {
    "label": "a", "arguments": "", "steps": 1, "series": {}, "said": {}, "images": [],
    "seeds": [{"seed": 0, "recorded": "2026-01-01", "device": "cpu", "threads": 1, "seconds": 1.0,
               "processor_seconds": 1.0, "versions": {}, "metrics": {"m": 1.0}}],
}  # fmt: skip


def test_what_follows_from_a_syntax_error_is_not_said(tree: Tree, command: Command) -> None:
    """Neither of a record of the file, nor of one that its code went into."""
    record = json.dumps({"code": {"a.py": "x", "b.py": "y"}, "runs": [RUN]})
    head = '"""\n---\ntitle: x\nsummary: y\nruns: {a: ""}\n---\n"""\n'
    files = {"b.py": head + "import a\n", "records/a.json": record, "records/b.json": record}
    root = tree({"a.py": head + "x = 1\n", **files})
    said = command("check", root).stderr.splitlines()
    assert [line.partition(": ")[0] for line in said] == ["records/a.json:1", "records/b.json:1"]
    tree({"a.py": head + "x = = 1\n"})
    done = command("check", root)
    assert done.stderr.startswith("a.py:8: ")
    assert done.stdout == "2 pages, 1 problem\n"


def test_a_shape_in_prose_is_no_link(tree: Tree, command: Command) -> None:
    root = tree(
        {"a.py": '"""\n# T\n\nTurns [batch, seq](x, y) and [a](b, c), [a, b](c) too.\n"""\n'}
    )
    done = command("build", root)
    # A single word in round brackets may be an address; two may not.
    assert [line.split(": ")[0] for line in done.stderr.splitlines()] == ["a.py:4"]
    assert "c leads nowhere" in done.stderr
    html = (root / "site/a.html").read_text()
    assert "[batch, seq](x, y)" in html
    assert "[a](b, c)" in html


def test_a_page_that_was_good_stays(tree: Tree, command: Command) -> None:
    root = tree({"pyproject.toml": SETTINGS, "strict/a.py": GOOD, "strict/b.py": GOOD})
    assert command("build", root).returncode == 0
    good = (root / "site/strict/a.html").read_bytes()
    tree(
        {"strict/a.py": GOOD.replace("title: Good", "titel: Good"), "strict/b.py": GOOD + "y = 2\n"}
    )
    done = command("build", root)
    assert done.returncode == 1
    assert "strict/a.py:3: unknown key 'titel'" in done.stderr
    assert (root / "site/strict/a.html").read_bytes() == good
    assert (root / "site/strict/a.py").read_text() == GOOD
    assert "L12" in (root / "site/strict/b.html").read_text()
    # The file cannot be read at all: its page stays as well.
    (root / "strict/a.py").write_bytes(b"\xff")
    assert "strict/a.py:1: not utf-8" in command("build", root).stderr
    assert (root / "site/strict/a.html").read_bytes() == good
    tree({"strict/a.py": GOOD.replace("Nothing", "Not a thing")})
    assert command("build", root).returncode == 0
    assert "Not a thing" in (root / "site/strict/a.html").read_text()


def test_a_page_that_was_never_good_is_built_and_mended(tree: Tree, command: Command) -> None:
    root = tree({"a.py": '"""\n# T\n\n[x](b.py)\n"""\n'})
    assert command("build", root).returncode == 1
    tree({"a.py": '"""\n# T\n\nOther. [x](c.py)\n"""\n'})
    assert command("build", root).returncode == 1
    assert "Other." in (root / "site/a.html").read_text()
    tree({"c.py": ""})
    assert command("build", root).returncode == 0
    assert 'href="c.html"' in (root / "site/a.html").read_text()


def refused(done: subprocess.CompletedProcess[str], *pieces: str) -> None:
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert all(piece in done.stderr for piece in ("site-builder: ", *pieces)), done.stderr


def test_places_that_cannot_be(tree: Tree, command: Command, tmp_path: Path) -> None:
    root = tree({"a.py": "x = 1\n"})
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "letter.txt").write_text("dear")
    refused(command("build", tmp_path / "gone"), "no folder", "gone")
    refused(command("check", root / "a.py"), "no folder", "a.py")
    refused(command("build", root, "--out", root / "a.py"), "a.py is a file", "--out")
    refused(command("build", root, "--out", root / "a.py" / "site"), "a.py", "--out")
    refused(command("build", root, "--out", mine), "no build wrote", "--out")
    refused(command("build", root, "--out", root), "no build wrote", "--out")
    refused(command("build", root, "--out", "/proc/site"), "/proc/site")
    refused(command("serve", root, "--out", mine, "--port", "0"), "no build wrote")
    assert [p.name for p in mine.iterdir()] == ["letter.txt"]
    assert [p.name for p in root.iterdir()] == ["a.py"]


def test_an_empty_folder_is_an_empty_site(tmp_path: Path, command: Command) -> None:
    (tmp_path / "empty").mkdir()
    done = command("build", tmp_path / "empty")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("0 pages")
    assert (tmp_path / "empty/site/index.html").is_file()


def test_settings_that_cannot_be_read(tree: Tree, command: Command) -> None:
    for text, line in (("[tool\n", 1), ("\n\n[tool.site_builder]\nx = \n", 4), ("tool = 3\n", 1),
                       ("[tool]\nsite_builder = 'x'\n", 1), ("a = " + "[" * 5000, 1)):  # fmt: skip
        root = tree({"pyproject.toml": text, "a.py": ""})
        done = command("check", root)
        assert done.returncode == 1
        assert done.stderr.startswith(f"pyproject.toml:{line}: cannot be read"), done.stderr
        assert len(done.stderr.splitlines()) == 1
    (root / "pyproject.toml").write_bytes(b"\xff")
    assert command("check", root).stderr.startswith("pyproject.toml:1: cannot be read")


def test_without_katex(tree: Tree, command: Command, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "site_builder", copy / "site_builder")
    shutil.copytree(ROOT / "templates", copy / "templates")
    shutil.copytree(ROOT / "static", copy / "static", ignore=lambda *_: ["node_modules"])
    root = tree({"a.py": '"""Words."""\n'})
    for verb in ("check", "build"):
        done = command(verb, root, PYTHONPATH=str(copy))
        assert (done.returncode, done.stderr) == (0, "")
    formulas = '"""\n---\ntitle: B\nnotation: {x: y}\n---\n$x$ and $y$ are read."""\ny = 1\n'
    changed = '"""\n---\ntitle: C\nchanges: {from: b}\n---\n## $x$"""\ny = 2\n'
    tree({"b.py": formulas, "c.py": changed, "d.py": "x = 1\n"})
    for verb in ("check", "build"):
        done = command(verb, root, PYTHONPATH=str(copy))
        said = done.stderr.splitlines()
        assert (done.returncode, len(said)) == (1, 1), done.stderr
        assert said[0].startswith("b.py:4: "), said
        assert all(piece in said[0] for piece in ("KaTeX", "make site", "npm ci --prefix"))
    assert "are read" in (root / "site/b.html").read_text()
    assert (root / "site/d.html").is_file()
    # With KaTeX they are typeset, and without it again stay as they were.
    assert command("build", root).returncode == 0
    good = (root / "site/c.html").read_text()
    assert "katex" in good
    assert "KaTeX" in command("build", root, PYTHONPATH=str(copy)).stderr
    assert (root / "site/c.html").read_text() == good


def test_wrong_words_are_answered_with_the_usage(command: Command) -> None:
    for given in (
        ["bild"],
        ["build", "a", "b"],
        ["build", "--output", "x"],
        ["serve", "--port", "x"],
    ):
        done = command(*given)
        assert done.returncode == 2
        assert done.stderr.startswith("usage: site-builder")
    assert command("--help").returncode == 0


NAMES = [
    "a b.py", "a#b.py", "a?b.py", "größe.py", "100%.py", "a&b.py", "it's.py", 'a"b.py', "a+b.py",
    "package name/__init__.py", "package name/mod ule.py", "<b>.py", "%41.py", "a;b.py", "日本.py",
]  # fmt: skip


def test_odd_names(tree: Tree, command: Command) -> None:
    """`check` follows every address of every page; a browser is asked in the tests of serving."""
    files: dict[str, str | bytes] = dict.fromkeys(NAMES[:3], '"""See [that](<größe.py>)."""\n')
    root = tree(dict.fromkeys(NAMES, "x = 1\n") | files)
    done = command("check", root)
    assert (done.returncode, done.stderr) == (0, "")
    assert command("build", root).returncode == 0
    for name in NAMES:
        page = root / "site" / name.replace("__init__.py", "index.py").replace(".py", ".html")
        assert page.is_file()
        assert (root / "site" / name).read_bytes() == (root / name).read_bytes()
    front = (root / "site/index.html").read_text()
    assert 'href="a%23b.html"' in front
    assert 'href="gr%C3%B6%C3%9Fe.html"' in front
    assert 'href="%2541.html"' in front
    assert 'href="gr%C3%B6%C3%9Fe.html"' in (root / "site/a b.html").read_text()


def test_names_that_are_no_text(tree: Tree, command: Command) -> None:
    root = tree({"good.py": ""})
    for name in (b"\xff.py", b"a\nb.py", b"\x1b[31m.py"):
        Path(os.fsdecode(os.fsencode(root) + b"/" + name)).write_text("x = 1\n")
    done = command("build", root)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 3
    assert done.stderr.count("cannot be an address; rename it") == 3
    assert "\x1b" not in done.stderr
    assert (root / "site/good.html").is_file()


def test_a_folder_that_cannot_be_read(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """The superuser may read any folder, so the refusal is made up."""
    root = tree({"a.py": "", "b/c.py": "", "b/d/e.py": ""})
    scan = os.scandir

    def refuse(folder: str) -> object:
        if str(folder).endswith("/d"):
            raise PermissionError(13, "Permission denied", str(folder))
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    report = Builder(root, root / "site").build()
    assert list(map(str, report.problems)) == [
        "b/d:1: cannot be read: Permission denied; mend or remove it"
    ]
    assert (root / "site/b/c.html").is_file()


def test_links_in_a_circle(tree: Tree, command: Command) -> None:
    root = tree({"a/b.py": "x = 1\n"})
    (root / "a" / "again").symlink_to(root)
    (root / "self").symlink_to("self")
    done = command("build", root)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("1 page")


@pytest.mark.parametrize("where", ["site", "a/public", "deep/er/site"])
def test_a_site_inside_its_source_is_not_a_source(tree: Tree, command: Command, where: str) -> None:
    root = tree({"a/b.py": "x = 1\n"})
    for _ in range(2):
        done = command("build", root, "--out", root / where)
        assert done.stdout.startswith("1 page"), done.stdout
    # Nor is the site of another build, or an environment.
    tree(
        {
            "venv/pyvenv.cfg": "",
            "venv/lib/x.py": "x = 1\n",
            ".hidden/x.py": "",
            "node_modules/x.py": "",
        }
    )
    assert command("build", root).stdout.startswith("1 page")
