r"""
---
title: Spelling
summary: The words of a paper, of its topic and of its tests, by codespell.
---

# Spelling

`codespell` knows what people misspell, and so it takes no name for a mistake that it has not heard
of. But people are called Tung, and titles are as they were printed: what stands in either is let
pass. What else it should let pass stands in `pyproject.toml`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from papers.tools.check.paper import Paper
from papers.tools.record.asked import document_of
from site_builder.problem import Problem
from site_builder.read.document import Document

FOUND = re.compile(r"(.+?):(\d+): (.+) ==> (.+)")


def misspelt(papers: list[Paper]) -> Iterator[Problem]:
    files = {path.as_posix() for p in papers for path in (p.path, p.test, *_of_topic(p)) if path}
    command = [sys.executable, "-m", "codespell_lib", *sorted(files)]
    said = subprocess.run(command, capture_output=True, text=True).stdout if files else ""
    named = {word for p in papers for word in _names(p)}
    for line in said.splitlines():
        found = FOUND.fullmatch(line)
        if found and found[3] not in named:
            path, number, wrong, right = found.groups()
            yield Problem(path, int(number), f"{wrong} is misspelt; write {right}")


def _names(paper: Paper) -> list[str]:
    document = document_of(paper.path)
    if not isinstance(document, Document):
        return []
    return re.findall(r"\w+", " ".join([document.meta.paper, *document.meta.authors]))


def _of_topic(paper: Paper) -> Iterator[Path]:
    return (path for f in paper.path.parents if (path := f / "__init__.py").is_file())
