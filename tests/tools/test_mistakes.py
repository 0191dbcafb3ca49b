"""Mistakes on record: planted in a copy, noticed by the test that is named, and run both ways."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from papers.tools import mistakes
from papers.tools.record.asked import Paper
from site_builder.results.mistakes import RIGHT

PAPER = '''r"""
---
title: Clip
summary: Cuts what is too large.
mistakes:
  - {what: no floor, mutant: no floor, caught: test_low}
  - {what: the top is lost, mutant: no top, caught: test_high}
---

# Clip
"""


def clip(x: float, top: float = 3, low: float = 0.0) -> float:
    if x > top:
        return top
    return max(x, low)
'''
TESTS = """from papers.toy.clip import clip


def test_high():
    assert clip(7) == 3


def test_low():
    assert clip(-7) == 0
"""
LIST = """
[[clip]]
name = "no floor"
replace = "max(x, low)"
by = "x"
tests = ["test_low"]

[[clip]]
name = "no top"
replace = "return top"
by = "pass"
tests = ["test_high"]
"""
FILE = "papers/toy/clip.py"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    texts = {FILE: PAPER, "tests/toy/test_clip.py": TESTS, "tests/toy/mutants.toml": LIST}
    for name, text in texts.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for package in ("papers", "papers/toy"):
        Path(package, "__init__.py").touch()
    return tmp_path


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, str]]:
    """Stands in for the processes: label, arguments, and the line that was run."""
    found: list[tuple[str, str, str]] = []

    def run(paper: Paper, label: str, seed: int, where: Path) -> tuple[dict[str, Any], object]:
        assert seed == 0
        line = (where / paper.path).read_text().strip().splitlines()[-1].strip()
        found.append((label, paper.runs[label], line))
        result = {
            "seed": 0, "device": "a CPU", "threads": 1, "seconds": 2.0, "steps": 30,
            "processor_seconds": 3.0, "metrics": {"loss": 0.5}, "said": {"a": "b"},
            "series": {"loss": {"steps": [0, 1], "values": [2.0, 1.0]}}, "images": ["a.png"],
        }  # fmt: skip
        return result, {}

    monkeypatch.setattr(mistakes, "run", run)
    return found


def record() -> dict[str, Any]:
    return dict(json.loads(Path("papers/toy/records/clip.mistakes.json").read_text()))


def test_both_ways_are_run_in_a_copy(project: Path, ran: list[tuple[str, str, str]]) -> None:
    assert mistakes.main([FILE, "no floor", "--arguments=--steps 3"]) == 0
    assert ran == [
        (RIGHT, "--steps 3", "return max(x, low)"),
        ("no floor", "--steps 3", "return x"),
    ]
    assert Path(FILE).read_text() == PAPER
    found = record()
    assert [run["label"] for run in found["runs"]] == [RIGHT, "no floor"]
    assert found["arguments"] == "--steps 3"
    assert set(found["mutants"]) == {"no floor"}
    # Pictures and texts are not shown, and would weigh.
    assert all(not run["images"] and not run["said"] for run in found["runs"])


def test_nothing_is_run_twice(project: Path, ran: list[tuple[str, str, str]]) -> None:
    mistakes.main([FILE, "no floor", "--arguments=--steps 3"])
    ran.clear()
    # Another mistake goes beside it, with the arguments that are on record.
    mistakes.main([FILE, "no top"])
    assert [(label, given) for label, given, _ in ran] == [("no top", "--steps 3")]
    ran.clear()
    mistakes.main([FILE])
    assert ran == []
    assert [run["label"] for run in record()["runs"]] == [RIGHT, "no floor", "no top"]
    mistakes.main([FILE, "--arguments="])
    assert [label for label, _, _ in ran] == [RIGHT, "no floor", "no top"]
    ran.clear()
    Path(FILE).write_text(PAPER.replace("top: float = 3", "top: float = 3.0"))
    mistakes.main([FILE])
    assert [label for label, _, _ in ran] == [RIGHT, "no floor", "no top"]


def test_a_mutant_that_changed_is_run_again(project: Path, ran: list[tuple[str, str, str]]) -> None:
    mistakes.main([FILE])
    ran.clear()
    Path("tests/toy/mutants.toml").write_text(LIST.replace('by = "x"', 'by = "x + 0"'))
    mistakes.main([FILE])
    assert [(label, line) for label, _, line in ran] == [("no floor", "return x + 0")]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "clip(-7) == 0",
            "clip(-7) <= 0",
            f"{FILE}:17: no floor: test_low passes with the mistake: mend the test",
        ),
        (
            "clip(-7) == 0",
            "clip(-7) == 1",
            f"{FILE}:17: no floor: test_low fails without the mistake: mend the test",
        ),
    ],
)
def test_what_no_test_notices_is_refused(
    project: Path,
    ran: list[tuple[str, str, str]],
    capsys: pytest.CaptureFixture[str],
    old: str,
    new: str,
    told: str,
) -> None:
    Path("tests/toy/test_clip.py").write_text(TESTS.replace(old, new))
    assert mistakes.main([FILE, "no floor"]) == 1
    assert told in capsys.readouterr().err
    assert ran == []
    assert not Path("papers/toy/records").exists()


def test_a_name_that_is_not_told_of_is_one_line(
    project: Path, ran: list[tuple[str, str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert mistakes.main([FILE, "no flaw"]) == 1
    told = f"{FILE}: no mistake 'no flaw' in its front matter: no floor, no top\n"
    assert capsys.readouterr().err == told
