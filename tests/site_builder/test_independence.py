r"""
# What the builder does without

A reader of the site need not wait for torch, and rendering a file never runs it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from site_builder.lexer import PythonLexer
from site_builder.parallel import side_by_side

from .conftest import ROOT, Command, Tree

FORBID = """
import sys
sys.path.insert(0, {root!r})
FORBIDDEN = {{"torch", "numpy", "sklearn", "labml", "tyro", "papers", "pooch", "PIL"}}

class Forbid:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in FORBIDDEN:
            raise ImportError(f"{{name}} is not for the builder")

sys.meta_path.insert(0, Forbid())
from site_builder.__main__ import main
sys.exit(main(["build", {root!r}, "--out", {out!r}]))
"""


def test_our_own_site_without_torch(tmp_path: Path) -> None:
    code = FORBID.format(root=str(ROOT), out=str(tmp_path / "out"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert "Traceback" not in done.stderr
    assert "is not for the builder" not in done.stderr
    assert (tmp_path / "out/papers/optimizers/adam.html").is_file()


ACTS = """
import pathlib
from pathlib import Path
MARK = pathlib.Path({mark!r})
MARK.write_text("ran")


class Meta(type):
    def __new__(cls, *args):
        MARK.write_text("ran")
        return super().__new__(cls, *args)


class C(metaclass=Meta):
    pass


def f(x=MARK.write_text("ran")):
    pass


if __name__ == "__main__":
    MARK.write_text("ran")
"""


def test_rendering_runs_nothing(tree: Tree, command: Command, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    acts = ACTS.format(mark=str(mark))
    names = [
        "a.py", "a/__init__.py", "conftest.py", "setup.py", "sitecustomize.py", "nh3.py",
        "markdown.py", "pygments.py", "site_builder.py", "site_builder/__init__.py", "__main__.py",
    ]  # fmt: skip
    root = tree(dict.fromkeys(names, acts))
    assert command("build", root).returncode in {0, 1}
    assert command("check", root).returncode in {0, 1}
    assert not mark.exists()
    assert (root / "site/a.html").is_file()


def test_nothing_changed_imports_no_parser(tree: Tree, command: Command) -> None:
    """What makes a build with nothing to do twenty times as fast as one with everything."""
    root = tree({"a.py": "x = 1\n"})
    assert command("build", root).returncode == 0
    code = (
        "import sys\nfrom site_builder.__main__ import main\n"
        f"main(['build', {str(root)!r}])\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    said, modules = done.stdout.splitlines()
    assert "0 files changed" in said
    assert not {"markdown", "pygments", "jinja2", "nh3", "quickjs", "yaml"} & set(modules.split())


@pytest.mark.parametrize("count", [0, 1, 2, 7, 100, 20_000])
def test_side_by_side_is_one_after_the_other(count: int) -> None:
    """In a process of its own: one that has threads, as a test's may, does not share."""
    code = (
        "import os\nfrom site_builder.parallel import side_by_side\n"
        f"done = side_by_side(lambda n: (n * n, os.getpid()), range({count}))\n"
        f"assert [square for square, _ in done] == [n * n for n in range({count})]\n"
        "print(len({process for _, process in done}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert int(done.stdout) >= min(count, 1)
    assert side_by_side(lambda n: n + 1, range(count)) == [*range(1, count + 1)]


def test_what_goes_wrong_beside_is_told() -> None:
    code = (
        "import os, sys\nfrom site_builder.parallel import side_by_side\n"
        "def work(n):\n    if n == 30: raise KeyError('thirty')\n    return n\n"
        "try:\n    side_by_side(work, range(40))\nexcept KeyError as error:\n    print(error)\n"
        "try:\n    os.waitpid(-1, os.WNOHANG)\nexcept ChildProcessError:\n    print('alone')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.split() == ["'thirty'", "alone"], done.stderr


def test_the_lexer_knows_what_pygments_knows() -> None:
    text = (
        "@decorate.d(1)\nasync def f(self, x: int = 0x1F) -> None:\n"
        '    """Doc."""\n    return None if x in "a\\n" else f"{x!r:>3} {{}} {d[1]:.2f}" @ b\n'
        "match x:\n    case [1, *_]: pass\nmatch = type\nclass C(Exception): __slots__ = ()\n"
    )
    kinds = [
        (str(k).removeprefix("Token."), v) for _, k, v in PythonLexer().get_tokens_unprocessed(text)
    ]
    for kind, value in (
        ("Name.Decorator", "decorate"), ("Name.Decorator", "d"), ("Keyword", "async"),
        ("Name.Function", "f"), ("Name.Builtin.Pseudo", "self"), ("Name.Builtin", "int"),
        ("Literal.Number", "0x1F"), ("Keyword.Constant", "None"),
        ("Literal.String.Doc", '"""Doc."""'),
        ("Operator.Word", "in"), ("Literal.String.Escape", "\\n"),
        ("Literal.String.Interpol", "{"),
        ("Literal.String.Interpol", "!r:>3}"), ("Literal.String.Escape", "{{"),
        ("Literal.String.Interpol", ":.2f}"), ("Operator", "@"), ("Keyword", "match"),
        ("Keyword", "case"), ("Name", "match"), ("Name.Class", "C"),
        ("Name.Exception", "Exception"),
        ("Name.Variable.Magic", "__slots__"),
    ):  # fmt: skip
        assert (kind, value) in kinds, (kind, value)
