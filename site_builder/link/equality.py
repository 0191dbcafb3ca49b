r"""
# Equality

What a page's code is held to: the other implementation that its front matter names, how near a
test keeps the two, and where that test is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

from site_builder.problem import Problem
from site_builder.read.claims import Equal
from site_builder.read.document import Document
from site_builder.read.proofs import tests_below, tests_of
from site_builder.read.settings import Settings


@dataclass(frozen=True, slots=True)
class Equality:
    """Equal to what, in Markdown; `within` is empty where it is to the last bit."""

    what: str
    within: str
    test: str
    url: str


def equalities(
    documents: Iterable[Document], settings: Settings
) -> tuple[dict[str, Equality], list[Problem]]:
    r"""
    ## Look for the tests

    For each path what its page equals, and which tests are named that there are not.
    """
    root, tests = settings.root, settings.tests
    there = {file.relative_to(root).as_posix() for file in tests_below(root, tests)}
    found, problems = {}, []
    for document in documents:
        equal = document.meta.equals
        if equal is None:
            continue
        file = tests_of(document.path, tests, there)
        line = _line_of(equal.test, settings, file) if file else 0
        if line:
            found[document.path] = _equality(equal, settings, f"{quote(file)}#L{line}")
        else:
            missing = f"{file} has no {equal.test}" if file else "this file has no test"
            message = f"equals: test: {missing}; name a function of its test"
            place = document.meta.line("equals", "test")
            problems.append(Problem(document.path, place, message))
    return found, problems


def _line_of(name: str, settings: Settings, file: str) -> int:
    text = (settings.root / file).read_text(encoding="utf-8", errors="replace")
    place = re.search(rf"^[ \t]*(?:async )?def {re.escape(name)}\(", text, re.MULTILINE)
    return text.count("\n", 0, place.start()) + 1 if place else 0


def _equality(equal: Equal, settings: Settings, place: str) -> Equality:
    what = equal.what if "`" in equal.what or " " in equal.what else f"`{equal.what}`"
    within = f"{equal.within:g}".replace("e-0", "e-") if equal.within else ""
    repository = settings.repository.rstrip("/")
    url = f"{repository}/blob/{quote(settings.branch)}/{place}" if repository else ""
    return Equality(what, within, equal.test, url)
