r"""
---
title: The command that checks
summary: python -m papers.tools.check FILE says where a paper breaks a rule of the house.
---

# The command that checks
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from papers.tools.check.paper import all_papers
from papers.tools.check.rules import findings


def main(given: list[str]) -> int:
    if any(word.startswith("-") for word in given):
        print("usage: python -m papers.tools.check [papers/<topic>/<paper>.py ...]")
        return int(given not in (["-h"], ["--help"]))
    paths = [Path(os.path.relpath(word)) for word in given] or all_papers()
    found = findings(paths)
    for problem in found:
        print(problem, file=sys.stderr)
    count = [f"{len(paths)} paper{'s' * (len(paths) != 1)}"]
    print(", ".join([*count, f"{len(found)} finding{'s' * (len(found) != 1)}"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
