r"""
---
title: Grades
summary: What the tests of a paper say of each function that a reader wrote.
---

# Grades
"""

from __future__ import annotations

import ast
import json
import re
import tempfile
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from papers.common.errors import UserError
from papers.tools.exercise.child import EVENTS, examine
from papers.tools.exercise.told import Told
from papers.tools.exercise.twin import (
    NEEDED,
    blank,
    body_of,
    fill,
    functions_of,
    names_of,
    read_twin,
    unwritten,
)
from papers.tools.mutate.__main__ import imported
from papers.tools.mutate.named import tests_of
from papers.tools.mutate.trial import CONTEXT, Copy, kill, load
from papers.tools.shapes.read import first_line

# Seconds that one test may take on a busy machine. All of a paper's should take ten.
PATIENCE = 120.0
LACKING = "ModuleNotFoundError"


class Grade(NamedTuple):
    r"""
    ## A grade

    `passed` says whether the tests are content, and `text` what they say.
    """

    path: Path
    line: int
    name: str
    passed: bool
    text: str

    def __str__(self) -> str:
        return f"{self.path.as_posix()}:{self.line}: {self.name}: {self.text}"


@dataclass
class Outcome:
    """Of a test: the exercises that it entered, whether it passed, else what it tells."""

    test: str
    entered: set[str] = field(default_factory=set)
    passed: bool = False
    told: Told | None = None

    @property
    def name(self) -> str:
        """Without its file; that of a file which cannot be imported is its own."""
        return re.sub(r".*::|.*/", "", self.test)


class Examiner:
    r"""
    ## The examiner

    Runs tests of a paper in a copy of the project that has some other text in its place, each time
    in a fork of this process, which has loaded what takes long.
    """

    def __init__(self, paper: Path, names: Collection[str], folder: Path) -> None:
        self.paper = paper
        self.names = frozenset(names)
        self.tests = tests_of(paper)
        load(imported(paper, self.tests))
        self.copy = Copy(folder.resolve())

    def run(self, text: str, tests: Iterable[str] = (), stop: bool = False) -> list[Outcome]:
        r"""
        ### Run

        The tests that are named, or all that take no training. With `stop`, up to the first that
        fails. What is not done in time has failed.
        """
        self.copy.write(self.paper, text)
        ids = tuple(tests) or (self.tests.as_posix(),)
        given = (str(self.copy.folder), self.paper.as_posix(), self.names, ids, stop)
        process = CONTEXT.Process(target=examine, args=given)
        file = self.copy.folder / EVENTS
        file.touch()
        process.start()
        # Whatever happens is written there.
        while process.is_alive() and time.time() < file.stat().st_mtime + PATIENCE:
            process.join(0.2)
        ended = not process.is_alive()
        kill(process)
        lines = file.read_text(encoding="utf-8").splitlines()
        file.unlink()
        outcomes = list(read_events(lines))
        for outcome in outcomes:
            # Not the reader's doing: the tests themselves import it.
            if "::" not in outcome.test and outcome.told and LACKING in outcome.told.text[:20]:
                raise UserError(f"{outcome.test}:1: {outcome.told.text}; {NEEDED}")
        if not outcomes:
            raise UserError(f"{self.tests.as_posix()}:1: no test of it could be run; try pytest")
        if not ended:
            outcomes[-1].told = Told(f"has not ended after {PATIENCE:.0f} seconds")
        elif not (outcomes[-1].passed or outcomes[-1].told) and process.exitcode not in (0, 1):
            outcomes[-1].told = Told(f"ended Python with status {process.exitcode}")
        return outcomes


def read_events(lines: list[str]) -> Iterable[Outcome]:
    found: dict[str, Outcome] = {}
    for line in lines:
        event = json.loads(line)
        outcome = found.setdefault(event["test"], Outcome(event["test"]))
        if "entered" in event:
            outcome.entered.add(event["entered"])
        elif "failed" in event:
            outcome.told = outcome.told or Told(**event["failed"])
        else:
            outcome.passed = event.get("passed", False)
    return found.values()


@dataclass(frozen=True)
class Lines:
    r"""
    ## Lines of the twin

    Where functions were put back, lines are not those of the reader's file.
    """

    tried: str
    twin: str
    path: Path
    paper: Path

    def at(self, line: int) -> int:
        there, here = (functions_of(ast.parse(text)) for text in (self.tried, self.twin))
        pairs = [pair for name in there for pair in zip(there[name], here[name], strict=False)]
        offset = 0
        for tried, twin in sorted(pairs, key=lambda pair: pair[0].lineno):
            if line >= first_line(tried):
                offset = first_line(twin) - first_line(tried)
            if line > (tried.end_lineno or 0) and first_line(tried) < line:
                offset = (twin.end_lineno or 0) - (tried.end_lineno or 0)
        return line + offset

    def said(self, text: str) -> str:
        """A message that names lines of the paper, as the check of shapes does."""
        return re.sub(
            rf"\S*{re.escape(self.paper.as_posix())}:(\d+)",
            lambda found: f"{self.path.as_posix()}:{self.at(int(found[1]))}",
            text,
        )


def grade(paper: Path, twin: Path) -> list[Grade]:
    r"""
    ## Grade

    What is not written yet is the paper's own, so that it spoils no other grade. Where a test
    fails that enters several functions, each is tried with all others from the paper: the one that
    fails alone is the one to mend.
    """
    names = names_of(paper)
    text, own = read_twin(twin, names), paper.read_text(encoding="utf-8")
    missing = unwritten(text, names)
    written = [name for name in names if name not in missing]
    there = functions_of(ast.parse(text))
    lines = {name: body_of(there[name][0])[0].lineno for name in names}
    grades = [Grade(twin, lines[name], name, False, "not written yet") for name in missing]
    if written:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            examiner = Examiner(paper, names, Path(folder))
            for name, (passed, said, line) in judged(examiner, twin, text, own, written).items():
                grades.append(Grade(twin, line or lines[name], name, passed, said))
    return sorted(grades, key=lambda grade: names.index(grade.name))


def judged(
    examiner: Examiner, path: Path, text: str, own: str, written: list[str]
) -> dict[str, tuple[bool, str, int]]:
    """By name: whether it passed, what is said of it, and the line, if it is another one."""

    def trial(mine: Collection[str], tests: Iterable[str] = ()) -> Trial:
        tried = fill(text, own, [name for name in examiner.names if name not in mine])
        outcomes = examiner.run(tried, tests)
        return Trial(outcomes, Lines(tried, text, path, examiner.paper))

    all_of_it = trial(written)
    tests = [outcome.test for outcome in all_of_it.failed]
    if tests and fill(text, own, examiner.names) != own and (none := trial((), tests)).failed:
        said, line = none.said()
        raise UserError(f"{path.as_posix()}:{line or 1}: no exercise is to blame: {said}")
    verdicts = {}
    for name in written:
        alone = trial([name], tests) if tests and len(written) > 1 else all_of_it
        tried = (*all_of_it.outcomes, *alone.outcomes)
        count = len({outcome.test for outcome in tried if name in outcome.entered})
        if alone.failed and tests:
            verdicts[name] = False, *alone.said()
        else:
            # A test may call it in a process of its own, which nobody counts.
            verdicts[name] = True, f"passed, {counted(count, 'test')}" if count else "passed", 0
    if tests and all(passed for passed, _, _ in verdicts.values()):
        said, line = all_of_it.said()
        told = f"right alone, and not with the others that you wrote: {said}"
        return dict.fromkeys(written, (False, told, line))
    return verdicts


@dataclass(frozen=True)
class Trial:
    """What came of some tests, and where the lines that they name are the reader's."""

    outcomes: list[Outcome]
    lines: Lines

    @property
    def failed(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.told]

    def said(self) -> tuple[str, int]:
        """Of what failed the most telling, with its line if that is known."""
        best = min(self.failed, key=lambda outcome: outcome.told.rank if outcome.told else 2)
        told, others = best.told or Told(""), len(self.failed) - 1
        more = f" and {counted(others, 'more test')}" if others else ""
        said = f"{self.lines.said(told.text)} ({best.name}{more})"
        return said, self.lines.at(told.line) if told.line else 0


def counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def check(paper: Path) -> list[Grade]:
    r"""
    ## Is each graded

    With the paper's own bodies all its tests pass, and without one of them, one of the tests that
    enter it fails: that test is named.
    """
    names, own = names_of(paper), paper.read_text(encoding="utf-8")
    lines = {name: nodes[0].lineno for name, nodes in functions_of(ast.parse(own)).items()}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        examiner = Examiner(paper, names, Path(folder))
        outcomes = examiner.run(own)
        for outcome in outcomes:
            if outcome.told:
                said = f"{outcome.test} fails as it is; mend that first: {outcome.told.text}"
                raise UserError(f"{paper.as_posix()}:1: {said}")
        grades = []
        for name in names:
            entering = [o.test for o in outcomes if name in o.entered]
            run = examiner.run(blank(own, [name]), entering, stop=True)
            failed = next((o for o in run if o.told), None)
            told = "no test without training notices that it has no body; write one"
            if failed:
                told = f"graded by {counted(max(len(entering), 1), 'test')}, as {failed.name}"
            grades.append(Grade(paper, lines[name], name, failed is not None, told))
    return grades
