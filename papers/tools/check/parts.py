r"""
---
title: Parts
summary: Functions that fit a screen, none of which stands twice.
---

# Parts
"""

from __future__ import annotations

from collections.abc import Iterator

from papers.tools.check.paper import Paper
from site_builder.problem import Problem

# Lines of code in a function, and in a body that cannot be alike by chance.
LONGEST, SHORTEST_COPY = 40, 2


def length(paper: Paper, _: list[Paper]) -> Iterator[Problem]:
    for function in paper.functions:
        span = range(function.lineno, (function.end_lineno or function.lineno) + 1)
        lines = sum(number in paper.code for number in span)
        if lines > LONGEST:
            told = f"{function.name} has {lines} lines of code; split it, {LONGEST} fit a screen"
            yield paper.problem(function.lineno, told)


def copies(paper: Paper, papers: list[Paper]) -> Iterator[Problem]:
    r"""
    ## A body that stands in another paper

    Compared without prose, comments and layout. It is said of either, since a file does not know
    which of two was there first.
    """
    others: dict[str, str] = {}
    for other in papers:
        if other.path != paper.path:
            found = {body: f"{other.module}.{node.name}" for node, body in other.bodies}
            others = found | others
    inside = 0
    for node, body in paper.bodies:
        long_enough = body.count("\n") + 1 >= SHORTEST_COPY
        if long_enough and body in others and node.lineno > inside:
            yield paper.problem(
                node.lineno, f"{node.name} is {others[body]}; keep one, and import it"
            )
            inside = node.end_lineno or inside
