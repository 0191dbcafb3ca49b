r"""
---
title: The process that grades
summary: Run tests in a copy of the project, and say of each what it entered and what came of it.
---

# The process that grades

In a fork, as mutants are [tried](../mutate/trial.py). What happens is written to a file as it
happens, so that it is known of a test that never ends, too.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Generator, Iterator
from types import FrameType
from typing import IO, Any

import pytest

from papers.tools.exercise.told import Compared, qualified, tell
from papers.tools.mutate.trial import enter, given

# Plugins are loaded before pytest can rewrite what they assert.
LOADED = "ignore::pytest.PytestAssertRewriteWarning"
# Grading takes seconds: no training.
QUICK = "not training and not browser"


class Witness:
    r"""
    ## The witness

    Which functions of the paper a test enters, and how it ends.
    """

    def __init__(self, paper: str, names: frozenset[str], out: IO[str]) -> None:
        self.paper = paper
        self.names = names
        self.out = out
        self.test = ""
        self.compared: Compared | None = None
        self.entered: set[str] = set()

    def write(self, **event: object) -> None:
        print(json.dumps({"test": self.test, **event}), file=self.out, flush=True)

    def watch(self, frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        name = qualified(code)
        entered = event == "call" and code.co_filename == self.paper and name in self.names
        if entered and name not in self.entered:
            self.entered.add(name)
            self.write(entered=name)

    @contextlib.contextmanager
    def watching(self, node: pytest.Item | pytest.Collector) -> Iterator[None]:
        self.test, self.compared, self.entered = node.nodeid, None, set()
        self.write(begins=True)
        sys.setprofile(self.watch)
        try:
            yield
        finally:
            sys.setprofile(None)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        with self.watching(item):
            return (yield)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """What comes out counts, and not which shapes the lines on the way there make."""
        items[:] = [item for item in items if not _looks_into(item)]

    def pytest_assertrepr_compare(self, op: str, left: object, right: object) -> None:
        self.compared = Compared(left, op, right)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if report.failed and call.excinfo:
            self.tell(call.excinfo.value)
        elif report.when == "call":
            self.write(passed=report.passed)
        return report

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """A file of tests may call a function of the paper while it is imported."""
        if not isinstance(collector, pytest.Module):
            return (yield)
        with self.watching(collector):
            report = yield
        if report.failed:
            error = report.call.excinfo.value
            self.tell(error.__cause__ or error)
        return report

    def tell(self, error: BaseException) -> None:
        self.write(failed=tell(error, self.paper, self.names, self.compared)._asdict())


def _looks_into(item: pytest.Item) -> bool:
    return isinstance(item, pytest.Function) and "check_shapes" in item.function.__code__.co_names


def examine(
    folder: str, paper: str, names: frozenset[str], tests: tuple[str, ...], stop: bool
) -> None:
    enter(folder)
    with open(os.path.join(folder, EVENTS), "w", encoding="utf-8") as out:
        witness = Witness(os.path.join(folder, paper), names, out)
        words = [
            "-m",
            QUICK,
            "-W",
            LOADED,
            *(["-x"] if stop else []),
            "--tb=no",
            *given(folder, tests),
        ]
        status = pytest.main(words, plugins=[witness])
    os._exit(status)


EVENTS = ".events.jsonl"
