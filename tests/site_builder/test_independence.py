r"""
# What the builder does without

A reader of the site need not wait for torch, and rendering a file never runs it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
