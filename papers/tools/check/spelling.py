r"""
---
title: Spelling
summary: The words of a paper and of its tests, by codespell.
---

# Spelling

`codespell` knows what people misspell, and so it takes no name for a mistake that it has not heard
of. What it should let pass stands in `pyproject.toml`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator

from papers.tools.check.paper import Paper
from site_builder.problem import Problem

FOUND = re.compile(r"(.+?):(\d+): (.+) ==> (.+)")


def misspelt(papers: list[Paper]) -> Iterator[Problem]:
    files = {path.as_posix() for p in papers for path in (p.path, p.test) if path}
    command = [sys.executable, "-m", "codespell_lib", *sorted(files)]
    said = subprocess.run(command, capture_output=True, text=True).stdout if files else ""
    for line in said.splitlines():
        if found := FOUND.fullmatch(line):
            path, number, wrong, right = found.groups()
            yield Problem(path, int(number), f"{wrong} is misspelt; write {right}")
