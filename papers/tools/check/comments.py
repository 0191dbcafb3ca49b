r"""
---
title: Comments behind a line
summary: A comment behind a line states a shape, a symbol or a unit, and nothing else.
---

# Comments behind a line
"""

from __future__ import annotations

from collections.abc import Iterator

from papers.tools.check.paper import Paper
from papers.tools.shapes.read import parse_shapes, read_claims
from site_builder.problem import Problem
from site_builder.read.comments import DIRECTIVE, comment_tokens


def shapes(paper: Paper, papers: list[Paper]) -> Iterator[Problem]:
    r"""
    ## What it states

    A shape that the [checker](../shapes/read.py) cannot read is never checked: in lower case, say,
    or with words beside it.
    """
    claims = read_claims(paper.path)
    flawed = {line for line, _ in claims.problems}
    for line, message in claims.problems:
        yield paper.problem(line, f"{message}; write a shape as (B, T/2, 3), at what it is of")
    for line, _, comment in comment_tokens(paper.text)[1]:
        words = comment.lstrip("#").strip()
        if line in flawed or DIRECTIVE.match(comment) or parse_shapes(words):
            continue
        if words.startswith("("):
            told = f"{words} is no shape; give it capital letters and numbers, and no words"
            yield paper.problem(line, told)
        elif " " in words:
            told = "words behind a line; only a shape, a symbol or a unit stands there"
            yield paper.problem(line, f"{told}, so give them a line of their own above")
