"""Planting mistakes: in a copy, one at a time, and none that a test notices is listed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from papers.tools.mutate.__main__ import main
from papers.tools.mutate.generic import OPERATORS, generic
from papers.tools.mutate.named import named

PAPER = '''r"""
---
title: Clip
summary: Cuts what is too large.
mistakes: [{what: no floor, mutant: no floor, caught: test_low}]
---

# Clip
"""

from __future__ import annotations

from dataclasses import dataclass
import operator as op


@dataclass(frozen=True)
class Config:
    top: int = 3


def clip(x: float, config: Config, low: float = 0.0) -> float:
    if x > config.top:
        return config.top
    return max(x, low)


def ball(x: float) -> float:
    return op.mul(x, -x)
'''
TESTS = """import pytest

from papers.toy.clip import Config, clip


def test_high():
    assert clip(7, Config(5)) == 5
    assert clip(4, Config(5)) == 4


def test_low():
    assert clip(-7, Config()) == 0


@pytest.mark.slow
def test_floor():
    assert clip(-7, Config(), -2) == -2
"""
LIST = """
[[clip]]
name = "no floor"
replace = "max(x, low)"
by = "x"
tests = ["test_low"]

[[clip]]
name = "no top"
replace = "x > config.top"
by = "x > 99"

[[clip]]
name = "floor of zero"
replace = "max(x, low)"
by = "max(x, 0.0)"
tests = ["test_low", "tests/toy/test_clip.py::test_high"]

[[clip]]
name = "at the top"
replace = "x > config.top"
by = "x >= config.top"
reason = "what is at the top stays there"
"""


START = """
import signal, sys
# Some shells have their background jobs ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path[0] = {!r}
from papers.tools.mutate.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def paper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = Path("papers/toy/clip.py")
    for file, text in [
        (path, PAPER),
        (Path("tests/toy/test_clip.py"), TESTS),
        (Path("tests/toy/mutants.toml"), LIST),
        (Path("pytest.ini"), "[pytest]\nmarkers = slow\n"),
    ]:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    for package in ("papers", "papers/toy"):
        Path(package, "__init__.py").touch()
    return path


@pytest.mark.slow
def test_what_no_test_notices_is_listed(paper: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(paper), "--only-named", "--jobs", "2"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "papers/toy/clip.py:25: floor of zero",
        "papers/toy/clip.py: 3 planted, 1 survived, 1 reviewed as equivalent",
    ]
    assert paper.read_text() == PAPER
    assert main([str(paper), "no floor"]) == 0
    assert capsys.readouterr().out == (
        "papers/toy/clip.py: 1 planted, 0 survived, 0 reviewed as equivalent\n"
    )


@pytest.mark.slow
def test_by_rule_a_sample_is_drawn_and_what_is_reviewed_is_not(
    paper: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (paper.parents[2] / "tests/toy/mutants.toml").write_text(
        "\n[[clip]]".join(["", *LIST.split("\n[[clip]]")[1::3]])
    )
    assert main([str(paper), "--operators", "comparison,flag", "--sample", "99"]) == 0
    # The flag is read twice and the parameter once; the comparison is reviewed.
    assert "4 planted, 0 survived, 1 reviewed" in capsys.readouterr().out
    assert main([str(paper), "--operators", "call", "--sample", "1", "--seed", "3"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "papers/toy/clip.py:29: op.mul(x, -x) → (x)"
    assert "2 planted" in lines[1]


@pytest.mark.slow
def test_what_hangs_is_noticed(paper: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (paper.parents[2] / "tests/toy/mutants.toml").write_text(
        LIST.replace('by = "x"', 'by = "[0 for _ in iter(int, 1)]"')
    )
    monkeypatch.setattr("papers.tools.mutate.__main__.PATIENCE", (1.0, 0.0))
    assert main([str(paper), "no floor"]) == 0


@pytest.mark.slow
def test_an_interruption_leaves_nothing(paper: Path, tmp_path: Path) -> None:
    scratch, where = tmp_path / "scratch", tmp_path / "tests/toy/mutants.toml"
    endless = "[open('hangs', 'w').close() for _ in iter(int, 1)]"
    where.write_text(LIST.replace('by = "x"', f'by = "{endless}"'))
    scratch.mkdir()
    command = [sys.executable, "-c", START.format(str(Path(__file__).parents[2]))]
    environment = {**os.environ, "TMPDIR": str(scratch)}
    with subprocess.Popen([*command, str(paper), "no floor"], env=environment) as process:
        while not list(scratch.glob("*/*/hangs")):
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
    assert process.returncode == 130
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ('"max(x, low)"\nby = "x"', '"min(x, low)"\nby = "x"', 2, "stale, since its text stands 0"),
        ('"max(x, low)"\nby = "x"', '"x"\nby = "y"', 2, "stands 7 times in papers/toy/clip.py"),
        ('by = "x"', 'by = "(x"', 2, "'no floor' is no Python: '(' was never closed"),
        ('by = "x > 99"', 'by = "x  > config.top"', 8, "'no top' changes no code"),
        ('name = "no top"', 'nam = "no top"', 8, "nam: give only name, replace, by, file"),
        ('by = "x > 99"', "", 8, "by is missing"),
        ('tests = ["test_low"]', 'tests = "test_low"', 2, "tests: give only"),
        ('name = "no top"', 'name = "no top', 9, "Illegal character"),
        ('"no floor"', '"no bottom"', 0, "no mutant 'no floor' that test_low notices"),
        ('["test_low"]', '["test_high"]', 0, "no mutant 'no floor' that test_low notices"),
    ],
)
def test_a_list_that_is_wrong_is_one_line(
    paper: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, line: int, said: str
) -> None:
    assert LIST.count(old) == 1
    Path("tests/toy/mutants.toml").write_text(LIST.replace(old, new))
    assert main([str(paper)]) == 1
    place = f"tests/toy/mutants.toml:{line}: " if line else "papers/toy/clip.py:5: "
    message = capsys.readouterr().err.splitlines()[0]
    assert message.startswith(place)
    assert said in message


@pytest.mark.slow
def test_what_else_is_wrong_is_one_line(paper: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for given, said in [
        (["papers/toy/none.py"], "papers/toy/none.py: give a paper's file"),
        ([str(paper), "no roof"], "clip.py: no mutant 'no roof'; there are: no floor, no top"),
    ]:
        assert main(given) == 1
        assert said in capsys.readouterr().err
    for words in ([], ["no floor"], [str(paper), "--operators", "sine"], [str(paper), "--jobs=0"]):
        with pytest.raises(SystemExit):
            main(words)
    Path("tests/toy/test_clip.py").write_text(TESTS.replace("== 0", "== 1"))
    assert main([str(paper), "no floor"]) == 1
    told = "tests fail without a mistake: mend them first: pytest tests/toy/test_clip.py::test_low"
    assert told in capsys.readouterr().err
    Path("tests/toy/test_clip.py").unlink()
    assert main([str(paper)]) == 1
    assert "clip.py: has no tests: write tests/toy/test_clip.py" in capsys.readouterr().err


RULES = '''import torch.nn.functional as F
from dataclasses import dataclass


@dataclass
class Config:
    width: int = 8
    lr: float = 0.5


def f(x, mask, config: Config, scale: float = 2.0, *, deep: bool = True):
    """Not 1 < 2."""
    x.clamp(0, 1)
    y = F.softmax(x, dim=-1) - (-x).masked_fill(mask, 0)  # 1 + 2
    if deep and config.width <= len(y):
        raise ValueError("5", 6)
    return Adam(x, lr=config.lr, betas=(0.9, 0.95)) * scale, f"{3 + 4}"


if __name__ == "__main__":
    main(1)
'''


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("sign", {"- → +", "-x → (x)", "* → /", "-1 → (1)"}),
        ("comparison", {"<= → <"}),
        ("axis", {"-1 → -2"}),
        ("mask", {"mask → ~(mask)"}),
        (
            "constant",
            {
                *("8 → 9", "8 → (7)", "0.5 → 1.0", "2.0 → 4.0", "True → False", "0.9 → 1.8"),
                *("0.95 → 1.9", "0 → 1", "0 → (-1)", "1 → 2", "1 → (0)"),
            },
        ),
        (
            "call",
            {
                *("x.clamp(0, 1) → pass", "x.clamp(0, 1) → (x)", "F.softmax(x, dim=-1) → (x)"),
                "(-x).masked_fill(mask, 0) → (-x)",
            },
        ),
        ("arguments", {"0, 1 → 1, 0", "mask, 0 → 0, mask", "0.9, 0.95 → 0.95, 0.9"}),
        (
            "flag",
            {
                *("config.width → (8)", "config.lr → (0.5)", "scale → (2.0)", "deep → (True)"),
                *("without dim=-1", "without lr=config.lr", "without betas=(0.9, 0.95)"),
            },
        ),
    ],
)
def test_rules_find_what_they_say_and_nothing_that_is_for_people(
    paper: Path, rule: str, expected: set[str]
) -> None:
    paper.write_text(RULES)
    found = list(generic(paper, [rule], seed=0))
    assert {mutant.name for mutant in found} == expected
    for mutant in found:
        assert mutant.text.count("\n") == RULES.count("\n")
        lines = zip(mutant.text.splitlines(), RULES.splitlines(), strict=True)
        changed = [n for n, (new, old) in enumerate(lines, 1) if new != old]
        assert changed == [mutant.line]


def test_what_stands_over_several_lines_keeps_the_others(paper: Path) -> None:
    text = "print('é', f(\n    a,\n    b=1,\n))\nx = (\n    a\n    + b\n)\ng(\n    1,\n)\ny = 2\n"
    paper.write_text(text)
    found = {mutant.name: mutant.text for mutant in generic(paper, list(OPERATORS), seed=1)}
    assert found["+ → -"] == text.replace("+ b", "- b")
    assert found["without b=1"].splitlines()[-1] == "y = 2"
    assert all(len(changed.splitlines()) == 12 for changed in found.values())
    assert "1 → 2" in found


def test_order_is_that_of_chance(paper: Path) -> None:
    paper.write_text(RULES)
    first, again, other = (
        [mutant.name for mutant in generic(paper, list(OPERATORS), seed)] for seed in (0, 0, 1)
    )
    assert first == again != other
    assert sorted(first) == sorted(other)


# The lists of the papers

LISTS = sorted(Path(__file__).parents[1].glob("*/mutants.toml"))


@pytest.mark.parametrize("where", LISTS, ids=lambda path: path.parent.name)
def test_no_mutant_of_the_papers_is_stale(where: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = where.parents[2]
    monkeypatch.chdir(root)
    keys = list(dict.fromkeys(re.findall(r"^\[\[(.+)\]\]$", where.read_text(), re.MULTILINE)))
    assert keys
    for key in keys:
        paper = Path("papers", where.parent.name, *key.split(".")).with_suffix(".py")
        mutants = named(paper)
        assert len({mutant.name for mutant in mutants}) == len(mutants)
        for mutant in mutants:
            assert mutant.tests or mutant.reason
            for test in mutant.tests:
                file, _, name = test.partition("::")
                assert not name or f"\ndef {name.partition('[')[0]}(" in Path(file).read_text(), (
                    str(mutant)
                )
