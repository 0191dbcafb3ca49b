"""Classic mistakes: the changed line, the curve beside the right one, and the test that notices."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest

from site_builder.build import Builder
from site_builder.read.blocks import parse
from site_builder.read.fingerprint import fingerprint
from site_builder.read.mutants import Mutant

from .conftest import Tree

PAPER = '''"""
---
title: A
summary: S.
metrics: {{loss: {{name: loss on digits}}, score: {{name: score,unit: "%"}},x: {{name: x,unit: ×}}}}
mistakes:
  - {{what: "turning `x` the wrong way", mutant: {mutant}, caught: {caught}}}
  - {{what: no floor, mutant: floor, caught: test_low}}
---

# A
"""


def turn(x):
    y = -x
    return y * 2


def low(x):
    return max(x, 0)
'''
TESTS = "def test_turn():\n    assert True\n\n\ndef test_low():\n    assert True\n"
LIST = '''[[a]]
name = "turned"
replace = "y = -x"
by = "y = x"
tests = ["test_turn[1]"]

[[a]]
name = "floor"
replace = """
def low(x):
    return max(x, 0)"""
by = """
def low(x):
    return x"""
tests = ["test_low"]

[[b]]
name = "other"
replace = "x"
by = "y"
'''
SETTINGS = """[tool.site_builder]
sources = ["papers"]
tests = "tests"
repository = "https://example.org/r"
"""


def files(mutant: str = "turned", caught: str = "test_turn") -> dict[str, str | bytes]:
    return {
        "pyproject.toml": SETTINGS,
        "papers/t/a.py": PAPER.format(mutant=mutant, caught=caught),
        "tests/t/test_a.py": TESTS,
        "tests/t/mutants.toml": LIST,
    }


def run(label: str, values: list[float], score: float) -> dict[str, Any]:
    trial = {
        "seed": 0, "recorded": "2026-01-02", "device": "a CPU", "threads": 1, "seconds": 1.0,
        "processor_seconds": 1.0, "versions": {},
        "metrics": {"loss": 1.0, "score": score, "x": 1.0 + score},
    }  # fmt: skip
    flat = {"steps": [0, 1, 2], "values": [1.0, 1.0, 1.0]}
    series = {"even": flat, "loss": {"steps": [0, 1, 2], "values": values}}
    return {"label": label, "arguments": "--steps 3", "steps": 3, "seeds": [trial],
            "images": [], "said": {}, "series": series}  # fmt: skip


RIGHT = "as it should be"
MARKS = {
    "turned": Mutant("turned", "y = -x", "y = x", "", (), 0).mark,
    "floor": Mutant(
        "floor", "def low(x):\n    return max(x, 0)", "def low(x):\n    return x", "", (), 0
    ).mark,
}


def record(root: Path, marks: dict[str, str] | None = None) -> None:
    paper = root / "papers/t/a.py"
    runs = [
        run(RIGHT, [3.0, 2.0, 1.0], 0.9),
        run("turned", [3.0, 4.0, 5.0], 0.25),
        # What rounds to the same is the same.
        run("floor", [3.0, 2.0, 1.0], 0.9 + 1e-9),
    ]
    code = {"papers/t/a.py": fingerprint(parse(paper.read_text()))}
    told = {"code": code, "arguments": "--steps 3", "mutants": marks or MARKS, "runs": runs}
    (paper.parent / "records").mkdir(exist_ok=True)
    (paper.parent / "records/a.mistakes.json").write_text(json.dumps(told))


def told(root: Path) -> list[str]:
    """The articles of the page, one for each mistake."""
    out = root.parent / "site"
    report = Builder(root, out).build()
    assert not report.problems, report.problems
    text = (out / "papers/t/a.html").read_text()
    return re.findall(r'<article class="mistake">.*?</article>', text, re.DOTALL)


def lines(article: str, side: str) -> list[tuple[str, str]]:
    """Numbers and texts of one side."""
    groups = re.findall(rf'<div class="{side}".*?</div>', article, re.DOTALL)
    found = re.findall(r'<span class="d[^"]*" data-n="(\d+)">(.*?)</span>(?=<span class="d|</code)',
                       "".join(groups))  # fmt: skip
    return [(n, html.unescape(re.sub("<[^>]+>", "", line))) for n, line in found]


def problems(root: Path) -> list[str]:
    return [str(problem) for problem in Builder(root, None).build().problems]


def test_a_mistake_is_a_changed_line_and_its_test(tree: Tree) -> None:
    first, second = told(tree(files()))
    assert "<h3>turning <code>x</code> the wrong way</h3>" in first
    assert lines(first, "was") == [("16", "y = -x")]
    assert lines(first, "now") == [("16", "y = x")]
    assert re.search(r"<del>.*?-.*?</del>", first)
    assert 'href="https://example.org/r/blob/main/tests/t/test_a.py#L1"' in first
    assert "tests/t/test_a.py::test_turn" in first
    # What stays is shown once, without what all lines are indented by.
    assert lines(second, "now") == [("20", "def low(x):"), ("21", "    return x")]
    assert lines(second, "was") == [("21", "    return max(x, 0)")]
    assert "<svg" not in first + second


def test_the_curve_is_the_one_that_changed(tree: Tree) -> None:
    root = tree(files())
    record(root)
    first, second = told(root)
    assert 'aria-label="loss on digits over the steps' in first
    assert "Lowest after 3 steps: as it should be, at 1. Highest: with the mistake, at 5" in first
    cells = re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", first)
    # A time, which is another whatever the mistake, is not in the table.
    assert cells[-3:] == ["score, %", "90", "25"]
    assert not {"x", "x, ×"} & {*cells}
    assert "<code>--steps 3</code>, seed 0" in first
    assert "No curve shows it" in second
    assert "<table" not in second
    assert problems(root) == []


def test_a_curve_that_explodes_leaves_the_other_to_be_seen(tree: Tree) -> None:
    root = tree(files())
    record(root)
    path = root / "papers/t/records/a.mistakes.json"
    path.write_text(path.read_text().replace("[3.0, 4.0, 5.0]", "[3.0, 400.0, 50000.0]"))
    first, _ = told(root)
    assert "(logarithmic)" in first
    # What is compared within a run is drawn alone, by the names of both.
    path.write_text(path.read_text().replace('"loss": {"steps"', '"loss/a": {"steps"'))
    assert "loss on digits, a over the steps" in told(root)[0]
    record(root)
    assert "(logarithmic)" not in told(root)[0]


def test_a_page_without_mistakes_has_no_such_section(tree: Tree) -> None:
    root = tree(files())
    paper = root / "papers/t/a.py"
    paper.write_text(re.sub(r"mistakes:\n(  .*\n)+", "", paper.read_text()))
    assert told(root) == []
    text = (root.parent / "site/papers/t/a.html").read_text()
    assert "mistakes" not in text
    assert "marks.css" not in text


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"papers/t/a.py": PAPER.format(mutant="turn", caught="test_turn")},
            "papers/t/a.py:7: mistakes: there is no mutant 'turn'; the nearest is 'turned'",
        ),
        (
            {"tests/t/mutants.toml": '[[b]]\nname = "b"\n'},
            "papers/t/a.py:7: mistakes: there is no mutant 'turned'; list it in "
            "tests/t/mutants.toml",
        ),
        (
            {"papers/t/a.py": PAPER.format(mutant="turned", caught="test_low")},
            "papers/t/a.py:7: mistakes: test_low is not to notice 'turned'; tests/t/mutants.toml "
            "names test_turn[1]",
        ),
        (
            {"tests/t/test_a.py": TESTS.replace("test_turn", "test_turns")},
            "papers/t/a.py:7: mistakes: there is no test test_turn in tests/t/test_a.py; "
            "write it, or mend its name",
        ),
        (
            {"tests/t/mutants.toml": LIST.replace('"y = -x"', '"z = -x"')},
            "papers/t/a.py:7: mistakes: 'turned' is stale: its text stands 0 times in "
            "papers/t/a.py; replace one",
        ),
        (
            {"tests/t/mutants.toml": "[[a]]\nname = \n"},
            "tests/t/mutants.toml:2: cannot be read: Invalid value (at line 2, column 8)",
        ),
    ],
)
def test_what_is_not_there_is_one_line(
    tree: Tree, changed: dict[str, str | bytes], message: str
) -> None:
    root = tree(files() | changed)
    assert message in problems(root)
    # The other mistakes are told, if there are any.
    assert len(told(root)) == ("floor" in str(changed.get("tests/t/mutants.toml", "floor")))


def test_a_record_that_the_code_has_outrun_is_one_line(tree: Tree) -> None:
    root = tree(files())
    record(root)
    paper = root / "papers/t/a.py"
    paper.write_text(paper.read_text().replace("y * 2", "y * 3"))
    where = "papers/t/records/a.mistakes.json:1"
    assert problems(root) == [
        f"{where}: recorded before papers/t/a.py changed; record it again",
    ]


def test_a_record_of_another_mutant_is_one_line_and_not_shown(tree: Tree) -> None:
    root = tree(files())
    record(root, MARKS | {"turned": "0" * 16})
    assert problems(root) == [
        "papers/t/records/a.mistakes.json:1: recorded before the mutant 'turned' changed; "
        "record it again"
    ]
    assert "<svg" not in told(root)[0]


def test_what_is_no_record_is_one_line(tree: Tree) -> None:
    root = tree(files() | {"papers/t/records/a.mistakes.json": "{}"})
    (found,) = problems(root)
    assert found.startswith("papers/t/records/a.mistakes.json:1: not a record")


def test_a_site_is_made_anew_when_its_list_of_mutants_changes(tree: Tree) -> None:
    root = tree(files())
    told(root)
    (root / "tests/t/mutants.toml").write_text(LIST.replace('by = "y = x"', 'by = "y = 1 * x"'))
    assert lines(told(root)[0], "now") == [("16", "y = 1 * x")]
