r"""
---
title: Exercises that can be written
summary: What a paper asks its readers to write has a body to leave out.
---

# Exercises that can be written

That each is graded takes running the tests: `python -m papers.tools.exercise --check FILE`.
"""

from __future__ import annotations

from collections.abc import Iterator

from papers.tools.check.paper import Paper
from papers.tools.exercise.twin import NOTHING, asked
from papers.tools.record.asked import document_of
from site_builder.problem import Problem
from site_builder.read.document import Document


def bodies(paper: Paper, _: list[Paper]) -> Iterator[Problem]:
    document = document_of(paper.path)
    if isinstance(document, Document):
        for exercise in asked(document.meta, paper.tree):
            if not exercise.functions:
                yield paper.problem(exercise.line, NOTHING.format(exercise.name))
