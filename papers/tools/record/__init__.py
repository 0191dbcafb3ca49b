r"""
---
title: Records
summary: Run a paper as its front matter says, and keep what came out as one small file beside it.
---

# Records

A number on a page comes from a run. The front matter of a paper names its runs: the default,
and the controls without the idea. This command runs each with several seeds, in a process of its
own,

    python -m papers.tools.record papers/transformers/attention.py

and writes `records/attention.json` with the pictures beside it: for each run its arguments, curves
and texts, for each seed the final numbers, time, machine and versions, and a fingerprint of the
code that gave them. The site shows the record; when the code has changed since, the page says so.

[What is asked for](asked.py) and not on record yet is [run](trial.py), and the [file](file.py) is
written after each run. So recording may be interrupted and goes on where it was.

    python -m papers.tools.record --stale

records whatever the code or the front matter has outrun.
"""

from __future__ import annotations

import sys
from pathlib import Path

from papers.common.errors import UserError
from papers.tools.record.asked import missing, read, recorded
from papers.tools.record.file import write
from papers.tools.record.trial import add, run


def record(path: Path, labels: list[str], again: bool = False) -> Path:
    r"""
    ## The record

    Runs what `labels` name, or all, as far as it is not on record. With `again` nothing counts as
    being so.
    """
    paper = read(path)
    unknown = [label for label in labels if label not in paper.runs]
    if unknown:
        raise UserError(f"{path}: no run {unknown[0]!r}; runs has: {', '.join(paper.runs)}")
    wanted = labels or list(paper.runs)
    known = recorded(paper)
    if again:
        known = {label: entry for label, entry in known.items() if label not in wanted}
    while todo := [(label, seed) for label, seed in missing(paper, known) if label in wanted]:
        label, seed = todo[0]
        print(f"{path}: {label}, seed {seed}; {len(todo)} to run", file=sys.stderr)
        result, pictures = run(paper, label, seed)
        # Pictures are those of the first seed, as curves and texts are.
        shown = {} if label in known else pictures
        add(paper, known, label, result)
        write(paper, known, shown)
    # Labels may have gone from the front matter.
    write(paper, known, {})
    return paper.target
