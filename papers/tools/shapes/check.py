r"""
---
title: Checking shapes
summary: Run an example, and compare each shape comment of a file with what its line made.
---

# Checking shapes
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import torch

from papers.tools.shapes.claims import Claims
from papers.tools.shapes.file import differences
from papers.tools.shapes.journal import Journal
from papers.tools.shapes.read import ROOT, read_claims
from papers.tools.shapes.sizes import ambiguous
from papers.tools.shapes.trace import Tracer
from papers.tools.shapes.worked import work

# What this process has found right, for the command that records it.
checked: list[Journal] = []
# Whether it is about to be recorded: then it need not be what was.
recording = False


@contextmanager
def check_shapes(where: ModuleType | str | Path, **sizes: int) -> Iterator[Claims]:
    """Compare each shape comment of a file with what the code inside the block makes there."""
    if len(set(sizes.values())) < len(sizes):
        raise ValueError(f"give distinct sizes, or a swap goes unnoticed: {sizes}")
    path = Path(str(where.__file__)) if isinstance(where, ModuleType) else ROOT / where
    claims = read_claims(path)
    if not claims.all():
        raise ValueError(f"{claims.path}: no shape comment to check")
    journal = Journal(claims)
    # An example that draws numbers draws the same ones each time.
    torch.manual_seed(0)
    before = sys.gettrace()
    sys.settrace(Tracer(journal, str(path.resolve()), sizes))
    try:
        yield claims
    except BaseException as error:
        sys.settrace(before)
        # A wrong shape is often why the example broke: say both.
        if claims.problems:
            error.add_note(claims.report())
        raise
    finally:
        sys.settrace(before)
    for claim in claims.all():
        if not claim.reached:
            claims.problem(claim.line, f"claims {claim} but is never reached")
        elif not any(line == claim.line for line, _ in claims.problems):
            for first, second in ambiguous(claim):
                claims.problem(
                    claim.line,
                    f"claims {claim} but {first} and {second} were equal in every call: "
                    "run an example where they differ",
                )
    if claims.problems:
        raise AssertionError(claims.report())
    module = where if isinstance(where, ModuleType) else None
    journal.worked = work(path, claims.path, module)
    if not recording and (outrun := differences(path, journal)):
        raise AssertionError("\n".join(outrun))
    checked.append(journal)
