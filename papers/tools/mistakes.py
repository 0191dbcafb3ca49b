r"""
---
title: Mistakes, recorded
summary: Run a paper with a mistake planted, beside the same run without, once a test has noticed.
---

# Mistakes, recorded

The front matter of a paper tells of mistakes that people make, each with a
[mutant](mutate/named.py) that makes it and the test that notices. This command plants them in a
copy of the project,

    python -m papers.tools.mistakes papers/transformers/gpt2.py

and for each sees that the test passes without the mistake and fails with it. Then it runs the paper
both ways, with seed 0 and equal arguments, and writes `records/gpt2.mistakes.json`: arguments,
curves and the last numbers. The page shows one curve beside the other. A mistake that no curve
shows is worth as much as one that ruins it: it is the test that tells.

Short runs are enough: `--arguments "--steps 300"` goes into the record, and holds for both.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from papers.common.checkpoint import write_whole
from papers.common.errors import UserError
from papers.tools.each import for_each
from papers.tools.mutate.__main__ import imported
from papers.tools.mutate.named import Mutant, mistakes, named, tests_of
from papers.tools.mutate.trial import Copy, load, tried
from papers.tools.record.asked import Entry, Paper, read
from papers.tools.record.file import to_text
from papers.tools.record.trial import add, run
from site_builder.read.mutants import read_mutants
from site_builder.results.mistakes import RIGHT, mistakes_path

# Seconds that the named tests may take.
PATIENCE = 600.0
# What a page shows of such a run.
KEPT = ("label", "arguments", "steps", "seeds", "series")


def verify(path: Path, mutants: list[Mutant], caught: dict[str, str]) -> None:
    r"""
    ## The test notices

    Or else there is nothing to record.
    """
    load(imported(path, tests_of(path)))
    text = path.read_text(encoding="utf-8")
    for mutant in mutants:
        ids = [test for test in mutant.tests if caught[mutant.name] in test]
        alone = dataclasses.replace(mutant, tests=tuple(ids))
        sound = dataclasses.replace(alone, path=path, text=text)
        results = [noticed for _, noticed in tried([sound, alone], frozenset(), PATIENCE)]
        if results != [False, True]:
            told = "fails without" if results[0] else "passes with"
            raise UserError(f"{mutant}: {caught[mutant.name]} {told} the mistake: mend the test")


def recorded(paper: Paper) -> dict[str, Any]:
    """What is on record of the code as it is."""
    try:
        found = json.loads(Path(mistakes_path(paper.path.as_posix())).read_text(encoding="utf-8"))
        return dict(found) if found["code"] == paper.code else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def record(path: Path, names: list[str], arguments: str | None) -> Path:
    r"""
    ## The record

    Of the mistakes that are named, or all; what is on record with these arguments stays.
    """
    paper, told = read(path), mistakes(path)
    known = [name for _, name, _ in told]
    if unknown := [name for name in names if name not in known]:
        there = ", ".join(known) or "none"
        raise UserError(f"{path}: no mistake {unknown[0]!r} in its front matter: {there}")
    wanted = {mutant.name: mutant for mutant in named(path) if mutant.name in (names or known)}
    verify(path, list(wanted.values()), {name: caught for _, name, caught in told})
    before = recorded(paper)
    arguments = before.get("arguments", "") if arguments is None else arguments
    entries: dict[str, Entry] = {}
    marks: dict[str, str] = {}
    if before.get("arguments") == arguments:
        entries = {entry["label"]: entry for entry in before["runs"]}
        marks = before["mutants"]
    listed, _, _ = read_mutants(Path(), "tests", path.as_posix())
    labels = dict.fromkeys((RIGHT, *known), arguments)
    paper = dataclasses.replace(paper, runs=labels)
    for name in (RIGHT, *wanted):
        if name in entries and marks.get(name, "") == (listed[name].mark if name in listed else ""):
            continue
        entries.pop(name, None)
        run_one(paper, name, wanted.get(name), entries)
        marks = {label: listed[label].mark for label in entries if label in listed}
        write(paper, arguments, marks, entries)
    return Path(mistakes_path(path.as_posix()))


def run_one(paper: Paper, name: str, mutant: Mutant | None, entries: dict[str, Entry]) -> None:
    print(f"{paper.path}: {name}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        copy = Copy(Path(folder).resolve())
        if mutant:
            copy.write(mutant.path, mutant.text)
        result, _ = run(paper, name, 0, copy.folder)
    add(paper, entries, name, {**result, "said": {}, "images": []})


def write(paper: Paper, arguments: str, marks: dict[str, str], entries: dict[str, Entry]) -> None:
    runs = [entries[label] for label in paper.runs if label in entries]
    told: dict[str, object] = {
        "code": paper.code,
        "arguments": arguments,
        "mutants": marks,
        "runs": runs,
    }
    target = Path(mistakes_path(paper.path.as_posix()))
    target.parent.mkdir(exist_ok=True)
    write_whole(target, lambda file: file.write(to_text(told).encode()))


def main(given: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m papers.tools.mistakes")
    parser.description = "Run papers with the mistakes that their pages tell of."
    files = "papers/<topic>/<paper>.py, and of one file the mutants to record (default: all)"
    parser.add_argument("words", nargs="+", metavar="FILE or mutant", help=files)
    same = 'of all these runs, such as --arguments="--steps 300" (default: as on record)'
    parser.add_argument("--arguments", help=same)
    args = parser.parse_args(given)
    paths = [Path(os.path.relpath(word)) for word in args.words if word.endswith(".py")]
    names = [word for word in args.words if not word.endswith(".py")]
    if not paths or (names and len(paths) != 1):
        parser.error("name a file, papers/<topic>/<paper>.py; mutants are of one file")
    return for_each(paths, lambda path: record(path, names, args.arguments))


if __name__ == "__main__":
    sys.exit(main())
