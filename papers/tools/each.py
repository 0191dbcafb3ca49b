r"""
---
title: One file after the other
summary: What the tools share that go through several papers.
---

# One file after the other
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from papers.common.errors import UserError


def for_each(paths: Iterable[Path], do: Callable[[Path], object]) -> int:
    r"""
    ## The exit status

    What `do` gives is printed. A mistake in one paper is a line, and the others go on; an
    interrupt ends them all.
    """
    failed = False
    try:
        for path in paths:
            try:
                print(do(path))
            except UserError as error:
                print(error, file=sys.stderr)
                failed = True
    except KeyboardInterrupt:
        return 130
    return int(failed)
