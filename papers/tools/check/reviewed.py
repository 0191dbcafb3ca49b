r"""
---
title: What was reviewed
summary: Findings that are right as they are, each with its reason.
---

# What was reviewed

Beside the tests of a topic lies `reviewed.toml`:

    [[sampling.temperature]]
    says = "compare has 42 lines of code"
    reason = "…"

The header is the paper's file without its topic, as in `mutants.toml`. An entry takes out the
findings of its paper, and of the paper's tests, that say so. One that takes out none is itself a
finding.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from papers.tools.check.paper import Paper
from site_builder.problem import Problem
from site_builder.read.mutants import entries

KEYS = {"says", "reason"}


@dataclass(frozen=True)
class Reviewed:
    """By the files that an entry speaks of, where it stands and what it says."""

    said: tuple[tuple[frozenset[str], Problem, str], ...]
    flaws: tuple[Problem, ...]

    def left(self, found: set[Problem]) -> set[Problem]:
        left = found | set(self.flaws)
        for files, stale, says in self.said:
            taken = {p for p in found if p.path in files and says in p.message}
            left = left - taken if taken else left | {stale}
        return left


def read_reviewed(papers: list[Paper]) -> Reviewed:
    said, flaws = [], []
    for paper in papers:
        where = Path("tests", paper.path.parts[1], "reviewed.toml")
        try:
            text = where.read_text(encoding="utf-8") if where.is_file() else ""
            listed = entries(text, ".".join(paper.path.with_suffix("").parts[2:]))
        except (OSError, ValueError) as error:
            place = re.search(r"line (\d+)", str(error))
            told = f"cannot be read: {error}; mend it"
            flaws.append(Problem(where.as_posix(), int(place[1]) if place else 1, told))
            continue
        files = frozenset({paper.name, paper.test.as_posix() if paper.test else ""})
        for line, entry in listed:
            if set(entry) != KEYS or not all(isinstance(v, str) and v for v in entry.values()):
                flaws.append(Problem(where.as_posix(), line, "give says and reason, both text"))
                continue
            told = f"{entry['says']!r} is found no more; take this entry out"
            said.append((files, Problem(where.as_posix(), line, told), entry["says"]))
    return Reviewed(tuple(said), tuple(flaws))
