"""Pages as notebooks and as texts: what is written where, and what the page says of it."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import nbformat
import pytest

from site_builder.build import Builder
from site_builder.publish.download import render_download

from .conftest import ROOT, Command, Tree

SETTINGS = """
[tool.site_builder]
title = "Wave Lab"
tagline = "Simulations that explain themselves"
url = "https://waves.org/lab"
repository = "https://github.com/wave/lab"
install = "wave-lab[all] @ git+https://github.com/wave/lab"
calls = ["play(Other())", "print(play(Config()))"]
without_notebook = ["tools/*"]
notebooks = "books"
"""
SCRIPT = '''r"""
# The string

Five lines, $u_{tt} = c^2 u_{xx}$, as in [noise](noise.py#white).
"""

class Config:
    """## Settings"""

    c = 2

def play(config: Config) -> int:
    """## Play"""
    return config.c

if __name__ == "__main__":
    play(Config())
'''
LAB = {
    "pyproject.toml": SETTINGS,
    "string.py": SCRIPT,
    "noise.py": '"""# Noise"""\n\n# ## White\n\nimport sys\nsaid = sys.argv\n',
    "tools/one.py": "x = 1\n",
    "package/__init__.py": '"""# A package, with nothing to run"""\n',
    "package/inner.py": "from . import two\n",
    "package/two.py": "from pathlib import Path\nhere = Path(__file__)\n",
}
NOTEBOOKS, TEXTS = frozenset({"notebooks"}), frozenset({"markdown"})


def build(root: Path, forms: frozenset[str]) -> Path:
    report = Builder(root, root / "site", forms).build(whole=False)
    assert report.problems == ()
    return root / "site"


def names(out: Path, ending: str) -> set[str]:
    return {path.relative_to(out).as_posix() for path in out.rglob(f"*{ending}")}


def notebook(file: Path) -> list[tuple[str, str]]:
    read = nbformat.read(file, 4)
    nbformat.validate(read)
    return [(cell.cell_type, cell.source) for cell in read.cells]


def test_each_only_when_asked_for(tree: Tree) -> None:
    root = tree(LAB)
    plain = build(root, frozenset())
    assert not names(plain, ".ipynb") | names(plain, ".md") | names(plain, "llms.txt")
    assert ".ipynb" not in (plain / "string.html").read_text()
    out = build(root, NOTEBOOKS)
    # What has no code, or code that needs a file of its own, is no notebook.
    assert names(out, ".ipynb") == {"string.ipynb", "noise.ipynb"}
    assert not names(out, ".md")
    out = build(root, TEXTS)
    assert not names(out, ".ipynb")
    assert {name.removesuffix(".md") for name in names(out, ".md")} == {
        name.removesuffix(".py").replace("__init__", "index") for name in LAB if ".py" in name[-3:]
    }
    assert names(out, "llms.txt") == {"llms.txt"}


def test_a_notebook_installs_and_calls(tree: Tree) -> None:
    out = build(tree(LAB), NOTEBOOKS)
    page = "https://waves.org/lab/"
    assert notebook(out / "string.ipynb") == [
        ("markdown", f"# The string\n\nIts page: <{page}string.html>"),
        ("code", '%pip install -q "wave-lab[all] @ git+https://github.com/wave/lab"'),
        (
            "markdown",
            f"Five lines, $u_{{tt}} = c^2 u_{{xx}}$, as in [noise]({page}noise.html#white).",
        ),
        ("markdown", "## Settings"),
        ("code", "class Config:\n    c = 2"),
        ("markdown", "## Play"),
        ("code", "def play(config: Config) -> int:\n    return config.c"),
        (
            "markdown",
            "## Run it\n\nThe file ends with what a command line does:\n\n```python\n"
            'if __name__ == "__main__":\n    play(Config())\n```\n\nHere we call it.',
        ),
        ("code", "print(play(Config()))"),
    ]


def test_a_notebook_ends_with_a_look_at_what_came_of_it(tree: Tree, command: Command) -> None:
    settings = SETTINGS + 'afterwards = """\nfrom lab import plot\n\nplot()"""\n'
    root = tree({**LAB, "pyproject.toml": settings})
    out = build(root, NOTEBOOKS)
    *_, call, last = notebook(out / "string.ipynb")
    assert (call, last) == (
        ("code", "print(play(Config()))"),
        ("code", "from lab import plot\n\nplot()"),
    )
    # Where nothing is called there is nothing to look at.
    assert not any("plot" in text for _, text in notebook(out / "noise.ipynb"))
    tree({"pyproject.toml": SETTINGS + 'afterwards = "plot("\n'})
    done = command("check", root)
    assert "afterwards: 'plot(' is no Python\n" in done.stderr


def test_whoever_gives_work_to_processes_calls_the_file(tree: Tree) -> None:
    out = build(tree({**LAB, "string.py": SCRIPT + "    import multiprocessing\n"}), NOTEBOOKS)
    assert notebook(out / "string.ipynb")[-1] == ("code", "print(play(Config()))")
    text = SCRIPT.replace("class", "import multiprocessing\nfrom json import dumps\n\nclass", 1)
    settings = SETTINGS.replace("print(play", "dumps(play")
    out = build(tree({"string.py": text, "pyproject.toml": settings}), NOTEBOOKS)
    cells = notebook(out / "string.ipynb")
    assert cells[-1] == ("code", "from string import Config, play\n\ndumps(play(Config()))")
    assert "import the installed file" in cells[-2][1]


def test_a_stranger_s_script_runs_as_from_a_command_line(tree: Tree) -> None:
    main = 'if __name__ == "__main__":\n    given = argparse.ArgumentParser().parse_args()\n'
    script = f"import argparse\n\n{main}"
    out = build(tree({"waves/run me.py": script}), NOTEBOOKS)
    cells = notebook(out / "waves/run me.ipynb")
    assert cells[0] == ("markdown", "# run me.py")
    code = [text for kind, text in cells if kind == "code"]
    assert code[1] == "import sys\n\nsys.argv = ['run me.py']"
    here: dict[str, Any] = {"__name__": "__main__"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["kernel", "-f", "kernel.json"])
        for text in code:
            exec(text, here)
    assert "given" in here


def test_the_same_twice(tree: Tree) -> None:
    root = tree(LAB)
    out = build(root, NOTEBOOKS | TEXTS)
    first = {path: path.read_bytes() for path in out.rglob("*") if path.suffix in {".ipynb", ".md"}}
    ids = [cell["id"] for cell in json.loads(first[out / "string.ipynb"])["cells"]]
    assert len(set(ids)) == len(ids)
    (out / ".site_builder.json").unlink()
    for path in sorted(out.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert build(root, NOTEBOOKS | TEXTS) == out
    assert {path: path.read_bytes() for path in first} == first


def test_an_edit_changes_its_own_alone(tree: Tree) -> None:
    root = tree(LAB)
    builder = Builder(root, root / "site", NOTEBOOKS | TEXTS)
    builder.build(whole=False)
    tree({"string.py": SCRIPT.replace("Five", "Six")})
    changed = set(builder.build(whole=False).changed)
    assert {"string.html", "string.py", "string.ipynb", "string.md"} <= changed
    assert not changed & {"noise.ipynb", "noise.md"}
    # While there is a mistake, all that was good stays.
    tree({"string.py": SCRIPT.replace("noise.py", "nowhere.py").replace("Five", "Seven")})
    report = builder.build(whole=False)
    assert [problem.path for problem in report.problems] == ["string.py"]
    assert "Six" in (root / "site/string.ipynb").read_text()
    assert "Six" in (root / "site/string.md").read_text()
    # What cannot be read at all may have been good once too.
    tree({"string.py": b"\xff"})
    assert builder.build(whole=False).problems
    assert "Six" in (root / "site/string.ipynb").read_text()
    assert "Six" in (root / "site/string.md").read_text()
    tree({"string.py": SCRIPT})
    builder.build(whole=False)
    assert "Five" in (root / "site/string.ipynb").read_text()
    # What somebody removed comes back, though its page is as it was.
    (root / "site/noise.ipynb").unlink()
    tree({"string.py": SCRIPT.replace("c = 2", "c = 3")})
    builder.build(whole=False)
    assert (root / "site/noise.ipynb").is_file()


def test_a_file_of_the_project_keeps_its_name(tree: Tree) -> None:
    mine = '"""# Noise\n\nSee [mine](noise.ipynb) and [notes](noise.md)."""\nx = 1\n'
    files = {**LAB, "noise.py": mine, "noise.ipynb": "mine", "noise.md": "mine"}
    out = build(tree({**files, "string.py": SCRIPT.replace("#white", "")}), NOTEBOOKS | TEXTS)
    assert (out / "noise.ipynb").read_text() == (out / "noise.md").read_text() == "mine"
    assert "download>Notebook" not in (out / "noise.html").read_text()
    assert "- [Noise](https://waves.org/lab/noise.html)" in (out / "llms.txt").read_text()


def test_a_text_leads_to_texts(tree: Tree) -> None:
    out = build(tree(LAB), TEXTS)
    text = (out / "string.md").read_text()
    assert text.startswith("# The string\n\nIts page: <https://waves.org/lab/string.html>\n\nFive")
    assert "[noise](https://waves.org/lab/noise.md#white)" in text
    assert text.endswith('```python\nif __name__ == "__main__":\n    play(Config())\n```\n')
    assert "%pip" not in text
    page = (out / "string.html").read_text()
    assert '<link rel="alternate" type="text/markdown" href="string.md">' in page
    # Where nobody knows the address of the site, as seen from where the text is.
    tree(
        {
            "tools/two.py": "# [noise](../noise.py#white), [a report](r.html).\nx = 1\n",
            "tools/r.html": "",
        }
    )
    out = build(tree({"pyproject.toml": SETTINGS.replace("url =", "# ")}), TEXTS)
    assert "[noise](noise.md#white)" in (out / "string.md").read_text()
    told = "[noise](../noise.md#white), [a report](r.html)."
    assert told in (out / "tools/two.md").read_text()


def test_the_list_has_every_text(tree: Tree) -> None:
    out = build(tree(LAB), TEXTS)
    text = (out / "llms.txt").read_text()
    assert text.startswith("# Wave Lab\n\n> Simulations that explain themselves\n\n## ")
    links = re.findall(r"^- \[[^]]+\]\(https://waves\.org/lab/([^)]+)\)", text, re.MULTILINE)
    assert sorted(links) == sorted(names(out, ".md"))
    assert "\n- [A package, with nothing to run](https://waves.org/lab/package/index.md)" in text


def test_the_page_says_how_to_run_it_from_nothing(tree: Tree) -> None:
    root = tree(LAB)
    page = (build(root, NOTEBOOKS) / "string.html").read_text()
    assert '<a href="string.ipynb" download>Notebook</a>' in page
    colab = "https://colab.research.google.com/github/wave/lab/blob/books/string.ipynb"
    assert f'<a class="out" href="{colab}">Open in Colab</a>' in page
    begin = re.search(r'<pre id="-begin">(.*?)</pre>', page, re.DOTALL)
    assert begin
    install, run = begin[1].replace("&#34;", '"').split("\n")
    assert shlex.split(install) == [
        "pip", "install", "wave-lab[all] @ git+https://github.com/wave/lab"
    ]  # fmt: skip
    assert run == "python -m string"
    # What is no script is not run.
    assert "-begin" not in (root / "site/noise.html").read_text()
    tree(
        {
            "pyproject.toml": SETTINGS.replace(
                'github.com/wave/lab"\ninstall', 'example.org/wave/lab"\ninstall'
            )
        }
    )
    assert "Colab" not in (build(root, NOTEBOOKS) / "string.html").read_text()


def test_a_download_says_what_it_needs(tree: Tree) -> None:
    out = build(tree(LAB), frozenset())
    text = (out / "string.py").read_text()
    assert text.startswith(SCRIPT)
    # As PEP 723 reads it.
    block = re.search(
        r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$", text
    )
    assert block
    assert block["type"] == "script"
    asked = "".join(line[2:] + "\n" for line in block["content"].splitlines())
    install = "wave-lab[all] @ git+https://github.com/wave/lab"
    assert tomllib.loads(asked) == {"dependencies": [install]}
    assert (out / "noise.py").read_text() == LAB["noise.py"]
    assert render_download(text.encode(), install) == text.encode()
    assert render_download(b"x = 1\r\ny", "a") == (
        b'x = 1\r\ny\r\n\r\n# /// script\r\n# dependencies = ["a"]\r\n# ///\r\n'
    )


def test_without_nbformat_a_line_says_what_to_install(tree: Tree, command: Command) -> None:
    root = tree({**LAB, "hidden/nbformat.py": "raise ImportError\n"})
    path = f"{root / 'hidden'}:{ROOT}"
    done = command("build", root, "--notebooks", PYTHONPATH=path)
    line = "notebooks need nbformat; run `pip install 'annotated-papers[notebooks]'`"
    assert (done.returncode, done.stderr) == (1, f"site-builder: {line}\n")
    assert not names(root, ".html")
    done = command("build", root, "--markdown", PYTHONPATH=path)
    assert (done.returncode, done.stderr) == (0, "")
    assert (root / "site/string.md").is_file()


def test_a_call_must_be_python(tree: Tree, command: Command) -> None:
    root = tree({"pyproject.toml": '[tool.site_builder]\ncalls = ["play("]\n', "a.py": "x = 1\n"})
    done = command("check", root)
    assert done.stderr == "pyproject.toml:2: calls: 'play(' is no Python\n"
