"""Worked numbers: run in their file, recorded, and held to the record by the shape test."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from papers.tools.shapes import check_shapes, record
from papers.tools.shapes.__main__ import with_examples
from papers.tools.shapes.check import checked
from papers.tools.shapes.file import lines_of, rows_of, to_text
from papers.tools.shapes.read import ROOT
from papers.tools.shapes.worked import front_matter, is_stale

PAPER = "papers/transformers/sampling/nucleus.py"
LINES = "x = torch.tensor([1.0, 3.0])", "f(x)", "f(x).sum() > 7", "x.add_(1)", "None"
CODE = "\\n      ".join(LINES)
FILE = '''"""
---
title: Twice
summary: Doubled.
worked:
  - at: f
    told: It doubles.
    code: |-
      {code}
---
"""

import torch


def f(x):
    """
    ## Doubling
    """
    return x * {factor}  # (B,)
'''
SAID = "{file}:6: worked: f "

Load = Callable[..., ModuleType]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(code: str = CODE, factor: str = "2") -> ModuleType:
        path = tmp_path / "paper.py"
        path.write_text(FILE.format(code=code.replace("\\n", "\n"), factor=factor))
        spec = importlib.util.spec_from_file_location("paper", path)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        # Of a file as small as the one before, and of the same second.
        exec(compile(path.read_text(), str(path), "exec"), vars(module))
        return module

    return load


def checks(module: ModuleType) -> str:
    """What the checker says, without the name of the file."""
    try:
        with check_shapes(module):
            module.f(torch.rand(3))
    except AssertionError as error:
        return str(error).removeprefix(f"{module.__file__}:")
    return ""


def recorded(module: ModuleType) -> Path:
    assert checks(module) == ""
    path, journal = Path(str(module.__file__)), checked[-1]
    data = {"code": lines_of(path).fingerprint, "lines": rows_of(path, journal)}
    target = path.parent / "records" / "paper.shapes.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(to_text(data | {"worked": journal.worked}))
    return target


def test_expressions_are_recorded_as_a_prompt_shows_them(load: Load) -> None:
    target = recorded(load())
    (row,) = json.loads(target.read_text())["worked"]
    assert row["at"] == "f"
    made = [(each["line"], each["dtype"], each["sizes"], each["values"]) for each in row["made"]]
    assert made == [
        (2, "float32", [2], "2 6"),
        (3, "bool", [], "1"),
        (4, "float32", [2], "2 4"),
    ]


def test_an_example_leaves_the_file_as_it_was(load: Load) -> None:
    module = load("x = f = torch.ones(2)\\n      x")
    assert checks(module) == ""
    assert not isinstance(module.f, torch.Tensor)
    assert not hasattr(module, "x")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("f(y)", "fails: NameError: name 'y' is not defined"),
        ("f(", "fails: SyntaxError: "),
        ("x = f(torch.ones(2))", "shows nothing; end it with an expression that has numbers"),
        ("f(torch.ones(65))", "line 1 gives more than 64 numbers, or none; show less of it"),
        ("f(torch.ones(2))\\n      f", "line 2 gives more than 64 numbers, or none; "),
    ],
)
def test_what_cannot_be_shown_is_one_line_that_points(load: Load, code: str, said: str) -> None:
    told = checks(load(code))
    assert told.startswith(f"6: worked: f {said}")
    assert "\n" not in told


def test_the_shape_test_notices_numbers_that_are_not_those_on_record(load: Load) -> None:
    module = load()
    target = recorded(module)
    assert checks(module) == ""
    # Another processor may round otherwise.
    target.write_text(target.read_text().replace('"2 6"', '"2.001 6"'))
    assert checks(module) == ""
    target.write_text(target.read_text().replace('"2.001 6"', '"2 5"'))
    told = checks(module)
    assert told.startswith("6: worked: f is on record as 2 5 and it is 2 6; record it again: ")
    assert "\n" not in told


def test_a_mistake_in_the_code_is_noticed_too(load: Load) -> None:
    target = recorded(load())
    data = json.loads(target.read_text())
    module = load(factor="3")
    # Were the record not of this code, it would be stale, which is said elsewhere.
    data["code"] = lines_of(Path(str(module.__file__))).fingerprint
    target.write_text(to_text({"code": data["code"], "lines": [], "worked": data["worked"]}))
    assert checks(module).startswith("6: worked: f is on record as 2 6 and it is 3 9; ")


def test_another_example_makes_the_record_stale(load: Load) -> None:
    path = Path(str(load().__file__))
    assert is_stale(path)
    recorded(load())
    assert not is_stale(path)
    load(CODE.replace("3.0", "4.0"))
    assert is_stale(path)


def test_drawn_numbers_are_the_same_each_time(load: Load) -> None:
    module = load("torch.rand(2)")
    for _ in range(2):
        assert checks(module) == ""
        torch.manual_seed(0)
        drawn = " ".join(f"{number:.4g}" for number in torch.rand(2).tolist())
        assert checked[-1].worked[0]["made"][0]["values"] == drawn


def test_what_another_machine_computes_otherwise_is_not_recorded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def made(values: str) -> record.Made:
        row = {"at": "f", "code": "f(x)", "made": [{"values": "1 1"}, {"values": values}]}
        return record.Made({PAPER: {"lines": [], "worked": [row]}}, {})

    for second, said in (("2 4.1", "worked: f is not the same on another machine"), ("2 4", "")):
        runs = iter((made("2 4"), made(second)))
        monkeypatch.setattr(record, "run_apart", lambda *_, runs=runs: next(runs))
        monkeypatch.setattr(record, "write_whole", lambda *_: None)
        (told,) = record.record([ROOT / PAPER])
        assert (said in str(told)) if said else (told == record.target_of(Path(PAPER)))


def test_the_command_takes_another_example_for_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not record.is_stale(ROOT / PAPER)
    monkeypatch.setattr(record.worked, "is_stale", lambda _: True)
    assert record.is_stale(ROOT / PAPER)


def test_the_papers_have_some() -> None:
    having = [path for path in with_examples() if front_matter(ROOT / path).worked]
    assert len(having) >= 5
    assert not any(is_stale(ROOT / path) for path in having)
