r"""
---
title: Importing is silent
summary: Import papers in a process of its own, and see what that does.
---

# Importing is silent

Whoever imports a part of a paper wants the part: no line printed, no seed set, nothing downloaded.
An import shows that best, in a [process of its own](child.py).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

from papers.tools.check.paper import Paper
from site_builder.problem import Problem


def imports_of(papers: list[Paper]) -> Iterator[Problem]:
    if not papers:
        return
    command = [sys.executable, "-m", "papers.tools.check.child", *(p.name for p in papers)]
    # Bytecode may be written by whoever runs the paper.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    lines = done.stdout.splitlines()
    for line in lines[:-1] if lines[-1:] == ["null"] else lines:
        yield Problem(*json.loads(line))
    if lines[-1:] != ["null"]:
        told = f"importing ends the process with status {done.returncode}; take out what does"
        yield papers[0].problem(1, told)
