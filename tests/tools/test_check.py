"""The rules of the house: all papers keep them, and each planted breach is one line."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from papers.tools.check import rules
from papers.tools.check.importing import imports_of
from papers.tools.check.paper import Paper, all_papers
from site_builder.new import write
from site_builder.read.blocks import parse

ROOT = Path(__file__).parents[2]
PAPER, TEST = "papers/toys/toy.py", "tests/toys/test_toy.py"
VALUES = {"arxiv": "1412.6980", "title": "Toys: a study", "authors": ["A B"], "year": 2014}


def command(*given: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "papers.tools.check", *given],
        capture_output=True, text=True, cwd=ROOT, env=environment, timeout=600,
    )  # fmt: skip


@pytest.mark.slow
def test_all_papers_keep_the_rules() -> None:
    """Static rules and an import of each, as the command does it."""
    done = command()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{len(papers())} papers, 0 findings\n"


def papers() -> list[Path]:
    here = os.getcwd()
    os.chdir(ROOT)
    found = all_papers()
    os.chdir(here)
    return found


def test_every_folder_of_papers_is_looked_at() -> None:
    names = {path.as_posix() for path in papers()}
    assert {"papers/optimizers/adam.py", "papers/transformers/sampling/nucleus.py"} <= names
    assert not [name for name in names if "/figures/" in name or "/tools/" in name]


@pytest.mark.parametrize(
    "name", ["papers/gone.py", "papers/toys/gone.py", "tests/tools/test_check.py", "README.md"]
)
def test_what_is_no_paper_is_one_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    told = "is no paper; name papers/<topic>/<paper>.py"
    assert [str(p) for p in rules.findings([Path(name)])] == [f"{name}:1: {told}"]


@dataclass(frozen=True)
class Toy:
    """A tree with one paper, as `site-builder new` writes it."""

    root: Path

    def plant(self, path: str, old: str, new: str) -> None:
        text = (self.root / path).read_text(encoding="utf-8")
        assert text.count(old) == 1, (path, old, text.count(old))
        (self.root / path).write_text(text.replace(old, new), encoding="utf-8")

    def line(self, path: str, piece: str) -> int:
        """Of a text that stands once; of none, the first."""
        text = (self.root / path).read_text(encoding="utf-8") if piece else ""
        assert text.count(piece) == 1 or not piece, (piece, text.count(piece))
        return text[: text.index(piece)].count("\n") + 1

    def said(self) -> list[str]:
        return [str(problem) for problem in rules.findings(all_papers())]


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """Static rules alone: what an import shows has a test of its own."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "templates" / "new", tmp_path / "templates" / "new")
    for folder in ("papers", "site_builder", "tests"):
        (tmp_path / folder).mkdir()
    list(write(tmp_path, "toys/toy", VALUES))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(rules, "imports_of", lambda papers: [])
    return Toy(tmp_path)


def test_a_new_paper_keeps_the_rules(toy: Toy) -> None:
    assert toy.said() == []


FIELDS = "".join(f'    x{n}: int = 1\n    "help"\n' for n in range(8))
USED = (
    f"\n    def total(self) -> int:\n        return {' + '.join(f'self.x{n}' for n in range(8))}\n"
)
LONG = "\n\n\ndef long(x: Tensor) -> Tensor:\n" + "    x = x + 1\n" * 39
# What is planted in which file, instead of what; where it is said, and what.
PLANTED = {
    "comment unclosed": (
        PAPER, "self.bias  # (B, C)", "self.bias  # (B, C",
        PAPER, "self.bias  # (B, C", "(B, C is no shape; give it capital letters and numbers",
    ),
    "comment in lower case": (
        PAPER, "self.bias  # (B, C)", "self.bias  # (b, c)",
        PAPER, "# (b, c)", "(b, c) is no shape",
    ),
    "comment with words": (
        PAPER, "self.bias  # (B, C)", "self.bias  # (B, C) of all",
        PAPER, "of all", "(B, C) of all is no shape; give it capital letters and numbers, and no",
    ),
    "shape of one size": (
        PAPER, "argmax(-1)  # (297,)", "argmax(-1)  # (297)",
        PAPER, "# (297)", "a shape of one size is written (B,)",
    ),
    "sum that is none": (
        PAPER, "self.bias  # (B, C)", "self.bias  # (B, C +)",
        PAPER, "# (B, C +)", "not a shape: (B, C +)",
    ),
    "words behind a line": (
        PAPER, "run.backward(loss)", "run.backward(loss)  # go back",
        PAPER, "go back", "words behind a line; only a shape, a symbol or a unit stands there",
    ),
    "no shapes": (
        PAPER, "", "", PAPER, "", "states no shape; say behind a line what it makes",
    ),
    "too many fields": (
        PAPER, '    "minibatches"\n', f'    "minibatches"\n{FIELDS}{USED}',
        PAPER, "class Config", "Config has 13 fields; keep the 12 that a reader would change",
    ),
    "unused field": (
        PAPER, '    "minibatches"\n', '    "minibatches"\n    heads: int = 1\n    "heads"\n',
        PAPER, "heads: int", "nothing uses heads; use it, or take it out of Config",
    ),
    "no help": (
        PAPER, '    "learning rate"\n', "",
        PAPER, "lr: float", "lr has no help; add a line below it, in quotes",
    ),
    "not frozen": (
        PAPER, "@dataclass(frozen=True)", "@dataclass",
        PAPER, "class Config", "Config can be changed; decorate it with @dataclass(frozen=True)",
    ),
    "no train": (
        PAPER, "def train(", "def teach(",
        PAPER, "", "no function train(config, options); write the loop, on a Run",
    ),
    "no main": (
        PAPER, 'if __name__ == "__main__":\n    main(train)\n', "",
        PAPER, "return run.finish", "nothing happens when it is run; end it with if __name__",
    ),
    "long function": (
        PAPER, "\n\n\nclass Model", f"{LONG}    return x\n\n\nclass Model",
        PAPER, "def long", "long has 41 lines of code; split it, 40 fit a screen",
    ),
    "undeclared import": (
        PAPER, "import math\n", "import math\n\nimport pycco\n",
        PAPER, "import pycco", "pycco is not declared; add its package to [papers] in pyproject",
    ),
    "undeclared and not installed": (
        PAPER, "    run = Run(", "    from nonesuch.deep import x\n\n    run = Run(",
        PAPER, "nonesuch", "nonesuch is not declared; add its package to [papers] in pyproject",
    ),
    "misspelt": (
        PAPER, "FILL IN: what this part is", "FILL IN: waht this part is",
        PAPER, "waht", "waht is misspelt; write what",
    ),
    "misspelt in a test": (
        TEST, "FILL IN: parity", "FILL IN: teh parity",
        TEST, "teh parity", "teh is misspelt; write the",
    ),
    "syntax": (
        PAPER, "def forward(self, x: Tensor)", "def forward(self, x: Tensor",
        PAPER, "def forward(self, x: Tensor", "cannot read the file (invalid syntax); mend it",
    ),
    "test without an assertion": (
        TEST, "    assert sum(p", "    sum(p",
        TEST, "def test_size", "test_size asserts nothing; say what must hold",
    ),
    "no parity": (
        TEST, "", "", TEST, "", "compares with nobody's code; hold the paper's part to a library's",
    ),
    "no example of shapes": (
        TEST, "    with check_shapes(", "    with pytest.raises(ValueError, match=",
        TEST, "", 'runs no example of its shapes; call check_shapes("papers/toys/toy.py", B=2, …)',
    ),
    "exercise without a body": (
        PAPER, "year: 2014\n", "year: 2014\nexercises:\n  - Mould\n",
        PAPER, "- Mould", "exercises: Mould is nothing of this file that has a body to write",
    ),
    "no tests": ("", "", "", PAPER, "", "has no tests; write tests/toys/test_toy.py"),
    "no topic": (
        "papers/toys/__init__.py", "", "",
        PAPER, "", "the folder has no papers/toys/__init__.py; write one with title, summary",
    ),
    "no package of tests": (
        "tests/toys/__init__.py", "", "",
        PAPER, "", "its tests have no tests/toys/__init__.py; add an empty one",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_a_breach_is_one_line(name: str, toy: Toy) -> None:
    path, old, new, where, piece, told = PLANTED[name]
    if name == "no shapes":
        text = (toy.root / PAPER).read_text(encoding="utf-8")
        lines = (line.partition("  # (")[0] for line in text.splitlines())
        (toy.root / PAPER).write_text("\n".join([*lines, ""]), encoding="utf-8")
    elif name == "no parity":
        text = (toy.root / TEST).read_text(encoding="utf-8").replace("theirs", "others")
        (toy.root / TEST).write_text(text, encoding="utf-8")
    elif name == "no tests":
        (toy.root / TEST).unlink()
    elif old == new:
        (toy.root / path).unlink()
    else:
        toy.plant(path, old, new)
    (said,) = toy.said()
    assert said.startswith(f"{where}:{toy.line(where, piece)}: "), said
    assert told in said
    assert "\n" not in said


def test_what_just_fits_is_not_said(toy: Toy) -> None:
    seven = "".join(f'    y{n}: int = 1\n    "help"\n' for n in range(7))
    used = " + ".join(f"self.y{n}" for n in range(7))
    total = f"\n    def total(self) -> int:\n        return {used}\n"
    toy.plant(PAPER, '    "minibatches"\n', f'    "minibatches"\n{seven}{total}')
    longest = LONG.replace("    x = x + 1\n", "", 1)
    toy.plant(PAPER, "\n\n\nclass Model", f"{longest}    return x\n\n\nclass Model")
    assert toy.said() == []


def test_a_body_that_stands_twice_is_said_of_both(toy: Toy) -> None:
    """Renamed and with other prose it is the same body; a class is said, and not each method."""
    list(write(toy.root, "toys/zoo", VALUES))
    text = (toy.root / "papers/toys/zoo.py").read_text(encoding="utf-8")
    text = text.replace("class Layer", "class Plate").replace("Layer(", "Plate(")
    text = text.replace("what this part is", "another thing")
    (toy.root / "papers/toys/zoo.py").write_text(text, encoding="utf-8")
    said = toy.said()
    for path, first in (
        (PAPER, "Layer is papers.toys.zoo.Plate; keep one, and import it"),
        ("papers/toys/zoo.py", "Plate is papers.toys.toy.Layer; keep one, and import it"),
    ):
        messages = [line.partition(": ")[2] for line in said if line.startswith(path)]
        assert messages[0] == first
        assert all(" is papers.toys." in message for message in messages)
        assert not [message for message in messages if message.startswith("__init__ ")]


def test_the_words_of_a_topic_are_looked_at(toy: Toy) -> None:
    topic = toy.root / "papers/toys/__init__.py"
    line = topic.read_text(encoding="utf-8").rstrip().count("\n") + 3
    topic.write_text(topic.read_text(encoding="utf-8").rstrip() + "\n\n# Teh end\n", "utf-8")
    assert toy.said() == [f"papers/toys/__init__.py:{line}: Teh is misspelt; write The"]


def test_a_test_may_assert_by_what_it_imports(toy: Toy) -> None:
    toy.plant(TEST, "    assert sum(p", "    held(sum(p")
    toy.plant(TEST, "32 * 10 + 10\n", "32 * 10 + 10)\n")
    toy.plant(TEST, "import torch\n", "import torch\n\nfrom tests.helping import held\n")
    helping = toy.root / "tests/helping.py"
    helping.write_text("def held(told: bool) -> None:\n    assert told\n", "utf-8")
    assert toy.said() == []
    helping.write_text("def held(told: bool) -> None:\n    print(told)\n", "utf-8")
    (said,) = toy.said()
    assert "test_size asserts nothing" in said


def test_names_are_as_people_write_them(toy: Toy) -> None:
    toy.plant(PAPER, '["A B"]', '["Frederick Tung"]')
    toy.plant(PAPER, "FILL IN: the idea in", "FILL IN, as Tung does: tung, the idea in")
    assert [line.partition(": ")[2] for line in toy.said()] == ["tung is misspelt; write tongue"]


def test_a_field_is_used_where_a_config_is_asked_for_it(toy: Toy) -> None:
    toy.plant(
        PAPER, '    "minibatches"\n', '    "minibatches"\n    weight: float = 1.0\n    "help"\n'
    )
    text = (toy.root / PAPER).read_text(encoding="utf-8")
    # A layer's weight is another one.
    (toy.root / PAPER).write_text(
        text.replace(
            "class Model",
            "def weight(layer: nn.Linear) -> Tensor:\n    return layer.weight\n\n\nclass Model",
        ),
        "utf-8",
    )
    assert [line.partition(": ")[2] for line in toy.said()] == [
        "nothing uses weight; use it, or take it out of Config"
    ]


def reviewed(toy: Toy, text: str) -> list[str]:
    (toy.root / "tests/toys/reviewed.toml").write_text(text, encoding="utf-8")
    return toy.said()


def test_a_list_that_cannot_be_read_is_one_line(toy: Toy) -> None:
    (said,) = reviewed(toy, "\n[[toy]\n")
    assert said.startswith("tests/toys/reviewed.toml:2: cannot be read: ")


def test_what_was_reviewed_is_not_said(toy: Toy) -> None:
    toy.plant(PAPER, "@dataclass(frozen=True)", "@dataclass")
    entry = '[[toy]]\nsays = "Config can be changed"\nreason = "It is."\n'
    assert reviewed(toy, entry) == []
    # Only that, and only while it is so.
    toy.plant(PAPER, '    "learning rate"\n', "")
    assert len(reviewed(toy, entry)) == 1
    stale = entry + '[[toy]]\nsays = "no train"\nreason = "None."\n'
    told = "tests/toys/reviewed.toml:4: 'no train' is found no more; take this entry out"
    assert told in reviewed(toy, stale)


def test_what_was_reviewed_in_one_paper_is_said_of_another(toy: Toy) -> None:
    list(write(toy.root, "toys/zoo", VALUES))
    for path in (PAPER, "papers/toys/zoo.py"):
        toy.plant(path, "@dataclass(frozen=True)", "@dataclass")
    said = reviewed(toy, '[[toy]]\nsays = "Config can be changed"\nreason = "It is."\n')
    told = [line for line in said if "Config can be changed" in line]
    assert [line.partition(":")[0] for line in told] == ["papers/toys/zoo.py"]


@pytest.mark.parametrize(
    "entry", ['says = "x"', 'says = "x"\nreason = ""', 'why = "x"', "says = 1"]
)
def test_a_reviewed_finding_has_a_reason(toy: Toy, entry: str) -> None:
    told = "tests/toys/reviewed.toml:2: give says and reason, both text"
    assert reviewed(toy, f"\n[[toy]]\n{entry}\n") == [told]


IMPORTED = {
    # It imports what prints, before anybody else does, and is silent itself.
    "silent": ("import torch\n\nfrom toys import prints\n", 0, ""),
    "prints": ("x = 1\nprint(x)\n", 2, "importing it prints"),
    "warns": ("import sys\n\nprint(1, file=sys.stderr)\n", 3, "importing it prints"),
    "shouts": ("import os\n\nos.system('echo hi')\n", 1, "importing it prints, past Python"),
    "counts": ("import torch\n\ntorch.set_num_threads(1)\n", 3, "importing it calls set_num_"),
    "seeds": ("import torch\n\ntorch.manual_seed(0)\n", 3, "importing it sets a seed"),
    "asks": (
        "import urllib.request\n\nurllib.request.urlopen('http://127.0.0.1:1')\n", 3,
        "importing it asks the network",
    ),
    "draws": ("import torch\n\nx = torch.randn(3)\n", 1, "importing it draws random numbers"),
    "fails": ("x = 1\ny = x.z\n", 2, "cannot be imported (AttributeError: 'int' object has no"),
    "leaves": ("import sys\n\nsys.exit(3)\n", 3, "cannot be imported (SystemExit: 3)"),
}  # fmt: skip


@pytest.fixture
def imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[dict[str, str]], list[str]]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (tmp_path / "toys").mkdir()

    def run(files: dict[str, str]) -> list[str]:
        for name, text in files.items():
            (tmp_path / "toys" / f"{name}.py").write_text(text, encoding="utf-8")
        made = [paper_at(Path("toys", f"{name}.py"), text) for name, text in files.items()]
        return [str(problem) for problem in imports_of(made)]

    return run


def paper_at(path: Path, text: str) -> Paper:
    parsed = parse(text)
    assert parsed.tree
    return Paper(path, text, parsed, parsed.tree, None)


def test_an_import_is_silent(imported: Callable[[dict[str, str]], list[str]]) -> None:
    said = imported({name: text for name, (text, _, _) in IMPORTED.items()})
    expected = {n: (line, told) for n, (_, line, told) in IMPORTED.items() if told}
    assert len(said) == len(expected), said
    for line, (name, (number, told)) in zip(said, expected.items(), strict=True):
        assert line.startswith(f"toys/{name}.py:{number}: {told}"), line


def test_an_import_that_ends_the_process(imported: Callable[[dict[str, str]], list[str]]) -> None:
    (said,) = imported({"ends": "import os\n\nos._exit(3)\n"})
    assert said.startswith("toys/ends.py:1: importing ends the process with status 3")


def test_nothing_is_downloaded_by_looking(imported: Callable[[dict[str, str]], list[str]]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        place = server.getsockname()
        (said,) = imported({"asks": f"import socket\n\nsocket.create_connection({place})\n"})
        assert said.startswith("toys/asks.py:3: importing it asks the network")
        with pytest.raises(BlockingIOError):
            server.accept()
