"""Exercises: a twin without bodies, and what a paper's tests say of those that were written."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch

from papers.common.errors import UserError
from papers.tools.check.paper import all_papers
from papers.tools.exercise import grade
from papers.tools.exercise.__main__ import main, write
from papers.tools.exercise.told import Compared, Told, differing, shown, tell
from papers.tools.exercise.twin import blank, fill, functions_of, names_of, unwritten

ROOT = Path(__file__).parents[2]
PAPER = '''r"""
---
title: Gates
summary: Open and shut.
exercises: [double, Gate, both]
---

# Gates
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def double(x: Tensor, twice: bool = False) -> Tensor:
    r"""
    ## Twice

    As much.
    """
    # A sum is exact.
    y = x + x  # (B, C)
    if not x.ndim:
        return y  # ()
    if twice:
        # And again.
        y = y + y
    return y  # (B, C)


class Gate(nn.Module):
    """Lets through what is above zero."""

    def gain(self) -> float:
        raise NotImplementedError

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor: return x.clamp(min=0)  # (B, C)


def both(x: Tensor) -> Tensor:
    return double(Gate()(x))  # (B, C)


STEP = double(torch.ones(()))
'''
TESTS = """import pytest
import torch

from papers.toy.gates import STEP, Gate, both, double

X = torch.tensor([[1.0, -2.0, 3.0]])


def test_double():
    theirs = X * 2
    torch.testing.assert_close(double(X), theirs)


def test_twice():
    assert double(X, True).sum() == 8 and STEP == 2


def test_gate():
    assert Gate()(X).tolist() == [[1, 0, 3]]


def test_both():
    ours = both(X)
    theirs = torch.tensor([[2.0, 0.0, 6.0]])
    torch.testing.assert_close(ours, theirs)


def test_nothing_of_the_paper():
    assert X.sum() == 2


@pytest.mark.training
def test_training():
    raise AssertionError("takes too long")


def check_shapes(path):
    raise AssertionError("looks into what a reader need not do")


def test_shapes():
    check_shapes("papers/toy/gates.py")
"""
FILE, TWIN = "papers/toy/gates.py", Path("exercises/toy/gates.py")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    texts = {
        FILE: PAPER,
        "tests/toy/test_gates.py": TESTS,
        "pytest.ini": "[pytest]\nmarkers =\n    training\n    slow\n    browser\n",
    }
    for name, text in texts.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    for package in ("papers", "papers/toy"):
        Path(package, "__init__.py").touch()
    return tmp_path


def test_a_twin_has_the_prose_and_no_bodies(project: Path) -> None:
    text = blank(PAPER, ["double", "Gate.forward"])
    first, second = PAPER.index("    y = x + x"), PAPER.index("\n\n\nclass Gate")
    body = '    # And again.\n    raise NotImplementedError("write double, which returns (B, C)")'
    assert text.startswith(PAPER[:first] + body.lstrip("\n"))
    assert PAPER[second : PAPER.index("return x.clamp")] in text
    assert (
        ': \n        raise NotImplementedError("write forward, which returns (B, C)")\n' not in text
    )
    assert 'Tensor: raise NotImplementedError("write forward, which returns (B, C)")\n' in text
    assert text.endswith(PAPER[PAPER.index("def both") :])
    assert unwritten(text, names_of(Path(FILE))) == {"double", "Gate.forward"}


@pytest.mark.slow
def test_without_what_the_tests_need_one_line_says_what_brings_it(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    brings = "pip install -e '.[test]' brings what grades\n"
    written(both="return double(Gate()(x))")
    tests = Path("tests/toy/test_gates.py")
    tests.write_text(f"import nonesuch\n{TESTS}")
    assert main([FILE]) == 1
    told = "ModuleNotFoundError: No module named 'nonesuch'"
    assert capsys.readouterr() == ("", f"{tests}:1: {told}; {brings}")
    monkeypatch.setattr("papers.tools.exercise.__main__.find_spec", lambda _: None)
    assert main([FILE]) == 1
    assert capsys.readouterr() == ("", f"{FILE}:1: pytest is not installed; {brings}")


def test_a_class_stands_for_what_can_be_written_in_it(project: Path) -> None:
    assert names_of(Path(FILE)) == ["double", "Gate.forward", "both"]


def test_the_twin_of_each_paper_is_the_paper_once_it_is_filled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    papers = [path for path in all_papers() if "\nexercises: " in path.read_text()]
    assert len(papers) >= 20
    for paper in papers:
        text, names = paper.read_text(), names_of(paper)
        twin = blank(text, names)
        ast.parse(twin)
        assert unwritten(twin, names) == set(names), paper
        assert not unwritten(text, names), paper
        assert fill(twin, text, names) == text, paper


def test_a_twin_is_written_once(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([FILE]) == 0
    said = f"{TWIN.as_posix()} is {FILE} without the bodies of double, Gate.forward, both."
    told = f"{said}\nWrite them, and give the same command again.\n"
    assert capsys.readouterr() == (told, "")
    TWIN.write_text(TWIN.read_text() + "\n# mine\n")
    assert main([FILE]) == 1
    with pytest.raises(UserError, match="cannot be written: File exists"):
        write(Path(FILE), TWIN)
    assert TWIN.read_text().endswith("# mine\n")
    lines = TWIN.read_text().splitlines()
    places = [n for n, line in enumerate(lines, 1) if "NotImplementedError(" in line]
    names = ("double", "Gate.forward", "both")
    expected = [f"{TWIN}:{n}: {x}: not written yet" for n, x in zip(places, names, strict=True)]
    assert capsys.readouterr().out.splitlines() == [*expected, "0 of 3 exercises passed"]


def written(**bodies: str) -> None:
    """A twin in which some bodies have been written."""
    text = blank(PAPER, ["double", "Gate.forward", "both"])
    for name, body in bodies.items():
        raised = next(line for line in text.splitlines() if f'("write {name}, ' in line)
        raised = raised[raised.index("raise") :]
        text = text.replace(raised, body)
    TWIN.parent.mkdir(parents=True, exist_ok=True)
    TWIN.write_text(text)


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    out, err = capsys.readouterr()
    assert err == ""
    return [line.removeprefix(f"{TWIN}:") for line in out.splitlines()]


def line_of(piece: str) -> int:
    text = TWIN.read_text()
    assert text.count(piece) == 1
    return text[: text.index(piece)].count("\n") + 1


@pytest.mark.slow
def test_each_exercise_has_its_own_grade(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Though the first raises at the import of the tests already, and the last calls it."""
    right = "return x.relu()"
    written(double="y = x\n    return y.twice()", forward=right, both="return x + x")
    assert main([FILE, "--grade"]) == 1
    raised = "raises AttributeError: 'Tensor' object has no attribute 'twice'"
    value = "computed -4, expected 0 at [0, 1]; 1 of 3 numbers are off (test_both)"
    assert said(capsys) == [
        f"{line_of('y.twice()')}: double: {raised} (test_gates.py)",
        f"{line_of(right)}: Gate.forward: passed, 2 tests",
        f"{line_of('return x + x')}: both: {value}",
        "1 of 3 exercises passed",
    ]


@pytest.mark.slow
def test_what_never_ends_is_stopped(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(grade, "PATIENCE", 12.0)
    written(forward="\n        import time; time.sleep(999)")
    assert main([FILE]) == 1
    assert "Gate.forward: has not ended after 12 seconds (test_" in said(capsys)[1]


@pytest.mark.slow
def test_what_else_was_changed_is_no_exercise(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(both="return double(Gate()(x))")
    TWIN.write_text(TWIN.read_text().replace("STEP = double(", "STEP = -double("))
    assert main([FILE]) == 1
    told = "no exercise is to blame: computed"
    assert capsys.readouterr().err.startswith(f"{TWIN}:1: {told}")


def test_what_a_person_can_get_wrong_is_a_line(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def error() -> str:
        assert main([FILE, "--grade"]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        return err

    assert error() == f"{TWIN}:1: cannot be read: No such file or directory\n"
    written(both="return double(Gate()(x)")
    assert error() == f"{TWIN}:{line_of('return double(')}: is no Python: '(' was never closed\n"
    written()
    TWIN.write_text(TWIN.read_text().replace("def both", "def neither"))
    last = len(TWIN.read_text().splitlines())
    assert error() == f"{TWIN}:{last}: defines no both; put it back, and write it\n"
    TWIN.write_bytes(b"\xff")
    assert error() == f"{TWIN}:1: is not UTF-8; save it so\n"
    for names, line, told in [
        ("[double, triple]", 5, "exercises: no triple is defined; name a class or function"),
        ("[double, Gate.gain]", 5, "exercises: Gate.gain is nothing of this file that has a body"),
        ("", 1, "has no exercises; name functions in its front matter"),
    ]:
        listed = f"exercises: {names}\n" if names else ""
        Path(FILE).write_text(PAPER.replace("exercises: [double, Gate, both]\n", listed))
        assert error().startswith(f"{FILE}:{line}: {told}")


@pytest.mark.slow
def test_an_exercise_that_no_test_grades_is_said(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tests = Path("tests/toy/test_gates.py")
    tests.write_text(TESTS.replace("ours = both(X)", "ours = double(Gate()(X))"))
    assert main([FILE, "--check"]) == 1
    out, err = capsys.readouterr()
    told = [line.split(": ", 1)[1] for line in out.splitlines()[:-1]]
    assert (told, err) == (
        [
            "double: graded by 4 tests, as test_gates.py",
            "Gate.forward: graded by 2 tests, as test_gate",
            "both: no test without training notices that it has no body; write one",
        ],
        "",
    )


@pytest.mark.slow
def test_papers_grade_their_exercises(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three of them; `--check` tells of each."""
    monkeypatch.chdir(ROOT)
    names = ("transformers/sampling/top_k", "training/schedule", "diffusion/frechet")
    assert main(["--check", *(f"papers/{name}.py" for name in names)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(": graded by " in line for line in lines) == len(lines) - len(names) >= 6


def test_lines_are_those_of_the_reader() -> None:
    """Whichever bodies of the paper stood above in what was tried."""
    twin = blank(PAPER, ["double", "Gate.forward"])
    lines = grade.Lines(PAPER, twin, TWIN, Path(FILE))

    def number(text: str, piece: str) -> int:
        return text[: text.index(piece)].count("\n") + 1

    for piece in ("## Twice", "class Gate", "def gain", "def both", "return double(", "STEP ="):
        assert lines.at(number(PAPER, piece)) == number(twin, piece)
    said = f"/tmp/x/{FILE}:{number(PAPER, 'return double(')}: claims (B,)"
    assert lines.said(said) == f"{TWIN}:{number(twin, 'return double(')}: claims (B,)"


def test_what_tells_most_is_told() -> None:
    """A comparison with somebody else's, and then any, before an exception."""
    told = [Told("raises", 3), Told("ours and theirs", rank=0), Told("any", rank=1)]
    outcomes = [grade.Outcome(f"tests/t.py::test_{n}", told=each) for n, each in enumerate(told)]
    lines = grade.Lines(PAPER, PAPER, TWIN, Path(FILE))
    assert grade.Trial(outcomes, lines).said() == ("ours and theirs (test_1 and 2 more tests)", 0)
    assert grade.Trial(outcomes[:1], lines).said() == ("raises (test_0)", 3)


def test_tensors_are_compared_in_a_few_words() -> None:
    a = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)
    message = "Mismatched elements: 1 / 4 (25.0%)"
    near = a.clone()
    near[1, 0] += 1e-9
    told = "computed 3, expected 3.000000001 at [1, 0]; 1 of 4 numbers are off"
    assert differing(a, near, message) == told
    near[0, 1] = torch.nan
    assert "computed 2, expected nan at [0, 1]" in differing(a, near, message)
    near[0, 0] = -torch.inf
    infinite = a.masked_fill(a == 1, -torch.inf)
    assert "computed 2, expected nan at [0, 1]" in differing(infinite, near, message)
    assert "computed 3, expected 4 at [1, 0]" in differing(infinite, infinite + (a == 3), message)
    assert differing(a, a[0], "") == "computed a tensor of shape (2, 2), expected (2,)"
    told = "computed a tensor of dtype torch.float64, expected torch.float32"
    assert differing(a, a.float(), "") == told
    inside = "The failure occurred for item ['x'][1]"
    pair = {"x": [a, a]}, {"x": [a, a + 1]}
    assert differing(*pair, inside) == "computed 1, expected 2 at [0, 0]"
    assert differing(torch.tensor(True), torch.tensor(False), "") == "computed True, expected False"
    assert differing(1.5, 2.5, "") == "computed 1.5, expected 2.5"
    assert shown("x" * 99) == "x" * 59 + "…"


def test_a_comparison_says_what_it_asked_for() -> None:
    error = AssertionError("assert 3 < 2")
    assert tell(error, "p.py", [], Compared(3, "<", 2)).text == "computed 3, expected < 2"
    assert tell(error, "p.py", [], None).text == "AssertionError: assert 3 < 2"
    with pytest.raises(ValueError) as raised:
        int("no number")
    strange, here = raised.value, "test_a_comparison_says_what_it_asked_for"
    assert tell(strange, "p.py", [here], None).line == 0
    assert not tell(strange, "p.py", [here], None).text.startswith("raises")
    assert tell(strange, __file__, [here], None).text.startswith("raises ValueError: invalid")


def test_functions_are_found_where_they_stand() -> None:
    text = "if 1:\n  def a(): 1\nclass B:\n  def a(b): 1\n  class C:\n    async def d(): 1"
    assert list(functions_of(ast.parse(text))) == ["a", "B.a", "B.C.d"]
