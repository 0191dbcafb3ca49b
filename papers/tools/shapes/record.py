r"""
---
title: Recording shapes
summary: What the example of a file made at each line, for the page to show.
---

# Recording shapes
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import IO

from papers.common.checkpoint import write_whole
from papers.common.errors import UserError
from papers.tools.shapes import check, worked
from papers.tools.shapes.file import (
    LIMIT,
    TOLERANCE,
    Row,
    alike,
    common,
    lines_of,
    rows_of,
    to_text,
)
from papers.tools.shapes.published import published
from papers.tools.shapes.read import ROOT
from site_builder.results.shapes import shapes_path

# PyTorch computes, and so rounds, as on this machine and as on an old one.
MACHINES: tuple[dict[str, str], ...] = ({}, {"ATEN_CPU_CAPABILITY": "default"})


def examples(path: Path) -> list[str]:
    r"""
    ## The example stands in the tests

    A paper carries no mark for the checker. Its test file calls `check_shapes` on it, and that
    test is the example.
    """
    folder = ROOT / "tests" / path.parent.relative_to(ROOT / "papers")
    while not folder.is_dir():
        folder = folder.parent
    return [
        f"{file.relative_to(ROOT).as_posix()}::{name}"
        for file in sorted(folder.glob("test_*.py"))
        for name, text in checking(file.read_bytes())
        if path.name in text
    ]


# Each of a topic's papers asks all of its tests.
@lru_cache(maxsize=256)
def checking(data: bytes) -> list[tuple[str, str]]:
    """The tests of a file that check shapes, each with its code, less the comments."""
    tests = (each for each in ast.parse(data).body if isinstance(each, ast.FunctionDef))
    lines = data.decode().splitlines()
    within = ((test, lines[test.lineno - 1 : test.end_lineno]) for test in tests)
    found = [test for test, own in within if any("check_shapes(" in line for line in own)]
    texts = ((test.name, ast.unparse(test)) for test in found)
    return [(name, text) for name, text in texts if "check_shapes(" in text]


def located(given: Path) -> Path:
    path = given.resolve()
    if not (path.is_file() and path.is_relative_to(ROOT / "papers")):
        raise UserError(f"{given}: give a paper's file, papers/<topic>/<paper>.py")
    if not examples(path):
        raise UserError(f"{given}: no test runs an example of it: write one with check_shapes")
    return path


def target_of(path: Path) -> Path:
    return Path(shapes_path(str(path)))


def is_stale(given: Path) -> bool:
    path = located(given)
    try:
        data = json.loads(target_of(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return True
    if not isinstance(data, dict) or data.get("code") != lines_of(path).fingerprint:
        return True
    return worked.is_stale(path)


@dataclass
class Made:
    """What examples made in one process, lines and worked numbers by file; what was wrong."""

    rows: dict[str, dict[str, list[Row]]]
    wrong: dict[str, list[str]]


def record(given: list[Path]) -> Iterator[Path | UserError]:
    r"""
    ## The records

    The examples run twice, each time in a process of its own: on two kinds of machine, and with
    other numbers before it. What both made is kept. Yields each file that was written, or why it
    was not.
    """
    paths = {name_of(path): path for path in map(located, given)}
    once = run_apart(paths, 0, MACHINES[0])
    twice = run_apart({n: p for n, p in paths.items() if n in once.rows}, 1, MACHINES[1])
    for name, path in paths.items():
        wrong = once.wrong.get(name) or twice.wrong.get(name)
        if wrong:
            yield from map(UserError, wrong)
            continue
        ours, theirs = once.rows[name], twice.rows[name]
        if differing := next(unlike(ours["worked"], theirs["worked"]), ""):
            told = "is not the same on another machine; show fewer digits, or what does not amplify"
            yield UserError(f"{name}:1: worked: {differing} {told}")
            continue
        data: Row = {"code": lines_of(path).fingerprint}
        data["lines"] = common(ours["lines"], theirs["lines"])
        if ours["worked"]:
            data["worked"] = ours["worked"]
        text = to_text(data | published(name)).encode()
        if len(text) > LIMIT:
            told = f"{len(text) / 1000:.0f} kB, and at most {LIMIT // 1000} are kept"
            yield UserError(f"{name}: {told}; make the example smaller")
        else:
            write_whole(target_of(path), partial(write, text))
            yield target_of(Path(name))


def unlike(rows: list[Row], others: list[Row]) -> Iterator[str]:
    """The examples that gave other numbers the second time."""
    for row, other in zip(rows, others, strict=True):
        pairs = zip(row["made"], other["made"], strict=True)
        if not all(alike(one["values"], two["values"], TOLERANCE / 2) for one, two in pairs):
            yield row["at"]


def write(text: bytes, file: IO[bytes]) -> None:
    file.write(text)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def run_apart(paths: dict[str, Path], seed: int, kind: dict[str, str]) -> Made:
    if not paths:
        return Made({}, {})
    environment = {"OMP_NUM_THREADS": "1", "TRITON_INTERPRET": "1", **os.environ, **kind}
    command = [sys.executable, "-m", "papers.tools.shapes.record", str(seed), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    rows = json.loads((done.stdout.splitlines() or ["{}"])[-1]) if done.returncode == 0 else {}
    # A wrong comment is told as the checker told it, anything else by how to see it.
    said = [line.removeprefix("E").strip() for line in done.stdout.splitlines()]
    said = [line.removeprefix("AssertionError: ") for line in said]
    wrong = {}
    for name, path in paths.items():
        if name not in rows:
            test = examples(path)[0]
            # What a line says in one call is enough; a traceback has lines that look alike.
            mine = re.compile(rf"{re.escape(name)}:\d+: (?!in )\S+ ")
            claims = {line.split(" ")[0]: line for line in reversed(said) if mine.match(line)}
            told = f"{name}: its example fails; see why: python -m pytest {test}"
            wrong[name] = [*reversed(claims.values())] or [told]
    return Made(rows, wrong)


def run(seed: int, names: list[str]) -> None:
    r"""
    ## In the child

    Runs the examples and writes what they made as the last line of its output.
    """
    import pytest
    import torch

    check.recording = True
    torch.manual_seed(seed)
    tests = dict.fromkeys(test for name in names for test in examples(ROOT / name))
    pytest.main(["-q", "-p", "no:cacheprovider", "--rootdir", str(ROOT), *tests])
    rows = {
        journal.claims.path: {
            "lines": rows_of(ROOT / journal.claims.path, journal),
            "worked": journal.worked,
        }
        for journal in reversed(check.checked)
    }
    print(json.dumps({name: rows[name] for name in names if name in rows}))


if __name__ == "__main__":
    run(int(sys.argv[1]), sys.argv[2:])
