r"""
---
title: Trying a mutant
summary: In a copy of the project, in a process that has PyTorch loaded already.
---

# Trying a mutant

Importing PyTorch and the libraries that tests compare with takes ten times as long as most tests.
So the command [loads](#loading) them once, and each mutant is tried in a fork of it. A system
that has no fork starts Python anew.
"""

from __future__ import annotations

import ast
import contextlib
import gc
import importlib
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from papers.tools.mutate.named import Mutant

# Plugins that write about the tests or into the project.
UNUSED = ("cacheprovider", "hypothesispytest")
OURS = ("papers", "tests", "site_builder")
CONTEXT: Any = multiprocessing.get_context("fork" if hasattr(os, "fork") else "spawn")


def load(files: Iterable[Path]) -> None:
    r"""
    ## Loading

    What these files import and is not ours, and what pytest does.
    """
    # As in the tests' own `conftest.py`: Triton asks when it is imported.
    os.environ.setdefault("TRITON_INTERPRET", "1")
    for plugin in entry_points(group="pytest11"):
        plugin.load()
    for file in files:
        for node in ast.walk(ast.parse(file.read_bytes())):
            names = [alias.name for alias in getattr(node, "names", []) if hasattr(alias, "asname")]
            module = getattr(node, "module", None)
            with contextlib.suppress(ImportError, AttributeError):
                for name in names:
                    if not (module or name).startswith(OURS) and not getattr(node, "level", 0):
                        found = importlib.import_module(module or name)
                        # Some libraries import a part when it is asked for.
                        getattr(found, name if module else "__name__")
    # Else each child looks through all of it for what may be freed.
    gc.freeze()


class Order:
    """First the tests that notice most, then what is fast."""

    def __init__(self, first: frozenset[str]) -> None:
        self.first = first

    def key(self, item: pytest.Item) -> tuple[bool, bool]:
        slow = any(item.get_closest_marker(name) for name in ("slow", "training"))
        return item.nodeid.partition("[")[0] not in self.first, slow

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=self.key)


def judge(folder: str, tests: tuple[str, ...], first: frozenset[str]) -> None:
    r"""
    ## In the child

    Rewritten assertions say more to a person, and nobody reads these.
    """
    enter(folder)
    os._exit(pytest.main(["-x", "--assert=plain", *given(folder, tests)], plugins=[Order(first)]))


def enter(folder: str) -> None:
    """Nothing of ours that is loaded may be seen, since it is not of the copy."""
    if hasattr(os, "setsid"):
        os.setsid()
    here = os.getcwd()
    os.chdir(folder)
    os.environ |= {"PYTHONPATH": folder, "OMP_NUM_THREADS": "1"}
    sys.path[:] = [folder, *(p for p in sys.path if os.path.abspath(p) not in (here, folder))]
    for name in [name for name in sys.modules if name.partition(".")[0] in OURS]:
        del sys.modules[name]
    # A test may start processes, and those must not start this command.
    sys.modules["__main__"] = ModuleType("__main__")
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(silence, stream)


def given(folder: str, tests: tuple[str, ...]) -> list[str]:
    plugins = [word for name in UNUSED for word in ("-p", f"no:{name}")]
    return ["-q", "--rootdir", folder, *plugins, *tests]


class Copy:
    r"""
    ## A copy of the project

    Papers and tests are copied, the rest is linked.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for path in Path().iterdir():
            if path.name in ("papers", "tests"):
                ignored = shutil.ignore_patterns("__pycache__", "node_modules")
                shutil.copytree(path, folder / path.name, ignore=ignored)
            elif not path.name.startswith(".") and path.name not in ("runs", "site"):
                (folder / path.name).symlink_to(path.resolve())

    def write(self, path: Path, text: str) -> str:
        """Returns what stood there."""
        file = self.folder / path
        before = file.read_text(encoding="utf-8")
        file.write_text(text, encoding="utf-8")
        # Compiled code is known by the second and the size of its source, which may be equal.
        for compiled in (file.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
            compiled.unlink()
        return before


@dataclass
class Trial:
    mutant: Mutant
    copy: Copy
    before: str
    process: BaseProcess
    deadline: float

    def end(self) -> int:
        """Its status, not 0 where a test noticed."""
        kill(self.process)
        self.copy.write(self.mutant.path, self.before)
        return self.process.exitcode or 0


def kill(process: BaseProcess) -> None:
    """What it started ends with it."""
    if process.pid and hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join()


def begin(mutant: Mutant, copy: Copy, first: frozenset[str], seconds: float) -> Trial:
    before = copy.write(mutant.path, mutant.text)
    process = CONTEXT.Process(target=judge, args=(str(copy.folder), mutant.tests, first))
    process.start()
    return Trial(mutant, copy, before, process, time.monotonic() + seconds)


def tried(
    mutants: Iterable[Mutant], first: frozenset[str], seconds: float, jobs: int = 1
) -> Iterator[tuple[Mutant, bool]]:
    r"""
    ## One after the other, or several at once

    Each mutant with whether it was noticed. What takes longer than `seconds` was: it hangs.
    """
    queue, busy = deque(mutants), list[Trial]()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        places = [Path(folder).resolve() / str(n) for n in range(min(jobs, len(queue)))]
        for place in places:
            place.mkdir()
        idle = [Copy(place) for place in places]
        try:
            while queue or busy:
                while queue and idle:
                    busy.append(begin(queue.popleft(), idle.pop(), first, seconds))
                least = min(trial.deadline for trial in busy) - time.monotonic()
                wait([trial.process.sentinel for trial in busy], max(least, 0))
                for trial in list(busy):
                    if not trial.process.is_alive() or time.monotonic() >= trial.deadline:
                        busy.remove(trial)
                        noticed = trial.end() != 0
                        idle.append(trial.copy)
                        yield trial.mutant, noticed
        finally:
            for trial in busy:
                trial.end()
