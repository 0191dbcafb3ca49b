r"""
# Text sources

A page may be written [prose first](literate.py): beside where `x.py` is, or would be, lies
`x.py.txt`, and what [pylit](pylit.py) makes of it is the page's code.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from site_builder.problem import Problem
from site_builder.read.literate import Literate, from_comments, to_comments
from site_builder.read.pylit import Refused, pylit, separate
from site_builder.read.source import TEXT, Source, decode, file_of, read_file

OUTRUN = "the code of {} beside it is not what this says; make one of the other: site-builder text"


def text_of(code: str) -> str:
    r"""
    ## From code to text

    What comes back must be the same, to the last byte.
    """
    text = pylit(to_comments(code), "txt")
    back = code_of(text)
    if back.text != code:
        pairs = zip(back.text.splitlines(), code.splitlines(), strict=False)
        line = next((n for n, (a, b) in enumerate(pairs, 1) if a != b), len(back.lines))
        told = "this would come back different from a text; put code and comments in plain order"
        raise Refused(max(line, 1), told)
    return text


def code_of(text: str) -> Literate:
    separate(text)
    return from_comments(pylit(text, "code"))


def read_page(path: str, root: Path, package: str) -> Source | Problem:
    r"""
    ## Read a page's file

    A link that leads nowhere is a mistake only here, where a page was meant to come of it.
    """
    file = file_of(path, root)
    try:
        raw = read_file(file, root)
    except OSError as error:
        return Problem(path, 1, f"cannot be read: {error.strerror}; mend or remove it")
    source = decode(path, raw, package)
    if file == root / path or isinstance(source, Problem):
        return source
    try:
        code = code_of(source.text.replace("\r\n", "\n")).text
    except Refused as error:
        return Problem(path, error.line, str(error))
    return replace(source, text=code, origin=path + TEXT)


def outrun(paths: Iterable[str], root: Path) -> Iterator[Problem]:
    r"""
    ## Two of which one is older

    What was made of a text may lie beside it, to be run.
    """
    for path in paths:
        file, beside = file_of(path, root), root / path
        if file == beside or not beside.is_file():
            continue
        with contextlib.suppress(Refused, OSError, ValueError):
            code = code_of(file.read_text(encoding="utf-8")).text
            if code != beside.read_text(encoding="utf-8"):
                yield Problem(path, 1, OUTRUN.format(beside.name))


def located(problems: Iterable[Problem], root: Path) -> set[Problem]:
    r"""
    ## Where the author looks

    What is wrong with the code of a text source, at the line of the text.
    """
    found = set()
    for problem in problems:
        file = file_of(problem.path, root)
        if file == root / problem.path:
            found.add(problem)
            continue
        line = problem.line
        # What cannot be converted has its problem at a line of the text already.
        with contextlib.suppress(Refused, OSError, ValueError):
            origins = code_of(file.read_text(encoding="utf-8")).origins
            line = origins[min(line, len(origins)) - 1] if origins else 1
        found.add(Problem(problem.path + TEXT, line, problem.message))
    return found
