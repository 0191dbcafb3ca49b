"""`site-builder new`: what a page begins with, from the project's own templates."""

from __future__ import annotations

import io
from pathlib import Path
from urllib.error import URLError

import pytest

from site_builder import new

from .conftest import Command, Tree

SETTINGS = '[tool.site_builder]\nnew = "skeleton"\nrequire_front_matter = ["pages"]\n'
PAGE = (
    'r"""\n---\ntitle: {{ title|yaml }}\nsummary: x\npaper: {{ title|yaml }}\n'
    'authors: {{ authors|yaml }}\nyear: {{ year }}\narxiv: {{ arxiv|yaml }}\n---\n"""\n'
)
TOPIC = '"""\n---\ntitle: {{ topic }}\nsummary: x\n---\n"""\n'
FILES: dict[str, str | bytes] = {
    "pyproject.toml": SETTINGS,
    "skeleton/pages/{{topic}}/{{paper}}.py.j2": PAGE,
    "skeleton/pages/{{topic}}/__init__.py.j2": TOPIC,
    "skeleton/tests/{{top}}/test_{{paper}}.py.j2": "",
}
GIVEN = (
    "--arxiv",
    "1412.6980",
    "--title",
    'A "b": c',
    "--authors",
    "É. Ü",
    "C D",
    "--year",
    "2014",
)


def test_it_writes_what_passes(tree: Tree, command: Command) -> None:
    root = tree(FILES)
    done = command("new", "deep/er/adam", *GIVEN, "--source", root)
    files = ["pages/deep/er/__init__.py", "pages/deep/er/adam.py", "tests/deep/test_adam.py"]
    assert done.stdout.splitlines() == [str(root / name) for name in files]
    text = (root / files[1]).read_text(encoding="utf-8")
    assert 'title: "A \\"b\\": c"' in text
    assert 'authors: ["É. Ü", "C D"]' in text
    assert 'arxiv: "1412.6980"' in text
    assert command("check", root).stdout.endswith(" 0 problems\n")


def test_a_second_page_leaves_the_topic_as_it_is(tree: Tree, command: Command) -> None:
    root = tree(
        {**FILES, "pages/deep/__init__.py": '"""\n---\ntitle: Mine\nsummary: x\n---\n"""\n'}
    )
    done = command("new", "deep/adam", *GIVEN, "--source", root)
    assert [Path(line).name for line in done.stdout.splitlines()] == ["adam.py", "test_adam.py"]
    assert "Mine" in (root / "pages/deep/__init__.py").read_text()
    before = (root / "pages/deep/adam.py").read_text()
    again = command("new", "deep/adam", *GIVEN[:-1], "2015", "--source", root)
    assert again.returncode == 1
    assert again.stderr == (
        "site-builder: pages/deep/adam.py is there already; choose another name\n"
    )
    assert (root / "pages/deep/adam.py").read_text() == before


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({0: "adam"}, "'adam' is no name for a page; write <topic>/<page>"),
        ({0: "../adam"}, "'../adam' is no name for a page"),
        ({0: "deep/Adam-2"}, "'deep/Adam-2' is no name for a page"),
        ({2: "1412"}, "--arxiv: must be an arXiv number"),
        ({9: "14"}, "--year: must be a year"),
        ({4: " "}, "--title: must be text"),
    ],
)
def test_what_cannot_be_is_one_line(
    changed: dict[int, str], said: str, tree: Tree, command: Command
) -> None:
    root = tree(FILES)
    words = ["deep/adam", *GIVEN]
    for at, word in changed.items():
        words[at] = word
    done = command("new", *words, "--source", root)
    assert done.returncode == 1
    assert done.stderr.startswith(f"site-builder: {said}"), done.stderr
    assert done.stderr.count("\n") == 1
    assert not (root / "pages").exists()


def test_what_nobody_can_answer_is_asked_for(tree: Tree, command: Command) -> None:
    root = tree(FILES)
    done = command("new", "deep/adam", "--arxiv", "1412.6980", "--source", root)
    assert done.returncode == 1
    assert done.stderr == "site-builder: no title; give --title, the exact title of the paper\n"


def test_who_can_answer_is_asked(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree(FILES)
    answers = iter(["A title", "A B,  C D", "2014"])
    monkeypatch.setattr("builtins.input", lambda _: next(answers))
    monkeypatch.setattr(new.sys.stdin, "isatty", lambda: True, raising=False)
    assert new.main(["deep/adam", "--arxiv", "1412.6980", "--source", str(root)]) == 0
    text = (root / "pages/deep/adam.py").read_text()
    assert 'title: "A title"\n' in text
    assert 'authors: ["A B", "C D"]\nyear: 2014\n' in text


def test_projects_without_templates(tree: Tree, command: Command) -> None:
    root = tree({"pyproject.toml": "[tool.site_builder]\n"})
    done = command("new", "deep/adam", *GIVEN, "--source", root)
    assert done.stderr.startswith("site-builder: pyproject.toml names no templates; set new in ")
    tree({"pyproject.toml": SETTINGS, "skeleton/{{paper}}.py.j2": "\n{{ nothing }}\n"})
    done = command("new", "deep/adam", *GIVEN, "--source", root)
    assert done.returncode == 1
    assert "{{paper}}.py.j2:1: 'nothing' is undefined; mend the template" in done.stderr
    assert done.stderr.count("\n") == 1


ENTRY = """<feed xmlns="http://www.w3.org/2005/Atom"><entry><title>A
  title</title><published>2014-12-22T13:54:29Z</published>
<author><name>A B</name></author><author><name>C D</name></author></entry></feed>"""


def test_what_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """The form of arXiv's answer, as its manual has it; nobody asks the network here."""
    asked = []

    def answer(address: str, timeout: float) -> io.BytesIO:
        asked.append(address)
        return io.BytesIO(ENTRY.encode())

    monkeypatch.setattr(new, "urlopen", answer)
    assert new.fetch("1412.6980") == {"title": "A title", "authors": ["A B", "C D"], "year": 2014}
    assert asked == ["https://export.arxiv.org/api/query?id_list=1412.6980"]


def test_what_cannot_be_fetched(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(address: str, timeout: float) -> io.BytesIO:
        raise URLError("no network")

    monkeypatch.setattr(new, "urlopen", refuse)
    words = ["deep/adam", "--arxiv", "1412.6980", "--fetch", "--source", str(tree(FILES))]
    assert new.main(words) == 1
    assert capsys.readouterr().err.startswith("site-builder: arxiv.org does not answer")
    empty = b'<feed xmlns="http://www.w3.org/2005/Atom"/>'
    monkeypatch.setattr(new, "urlopen", lambda *_, **__: io.BytesIO(empty))
    assert new.main(words) == 1
    assert capsys.readouterr().err == "site-builder: arxiv.org knows no 1412.6980; mend --arxiv\n"
