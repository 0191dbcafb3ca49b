r"""
---
title: The rules
summary: All that a paper is held to, in the order in which it is looked at.
---

# The rules
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from papers.tools.check import comments, exercises, parts, settings, tests, tree
from papers.tools.check.importing import imports_of
from papers.tools.check.paper import Paper, all_papers, read_papers
from papers.tools.check.reviewed import read_reviewed
from papers.tools.check.spelling import misspelt
from site_builder.problem import Problem

# A rule says what is wrong with one paper, given all.
Rule = Callable[[Paper, list[Paper]], Iterator[Problem]]

RULES: tuple[Rule, ...] = (
    tree.packages,
    tree.imports,
    parts.length,
    parts.copies,
    comments.shapes,
    settings.config,
    settings.training,
    exercises.bodies,
    tests.there,
    tests.asserting,
    tests.parity,
    tests.shapes,
)


def findings(given: Iterable[Path]) -> list[Problem]:
    r"""
    ## What is found

    In the papers that are given, less what is on the list of what was reviewed. A paper that
    nothing else can be said of is not imported.
    """
    everything = list(read_papers(all_papers()))
    wanted = list(read_papers(given))
    papers = [paper for paper in wanted if isinstance(paper, Paper)]
    known = [paper for paper in everything if isinstance(paper, Paper)]
    found = [problem for problem in wanted if isinstance(problem, Problem)]
    for paper in papers:
        found += [problem for rule in RULES for problem in rule(paper, known)]
    found += misspelt(papers)
    found += imports_of(papers)
    return sorted(read_reviewed(papers).left(set(found)))
