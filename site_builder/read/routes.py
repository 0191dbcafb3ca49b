r"""
# Routes

Ways through the pages: what the setting `paths` lists. Here such a path goes by another name, since
a path is also what a file has.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from site_builder.problem import Problem

# Where one of them begins, if it is a table of its own.
TABLE = r"^[ \t]*\[\[tool\.site_builder\.paths\]\]"


@dataclass(frozen=True, slots=True)
class Route:
    """A title, a sentence on it, and the files of its pages in their order, each with its line."""

    title: str
    summary: str
    pages: tuple[str, ...]
    lines: tuple[int, ...]


def read_routes(value: Any, text: str) -> tuple[tuple[Route, ...], list[Problem]]:
    r"""
    ## Read the setting

    `text` is the whole file, which tells lines. A path that cannot be used is reported and left
    out.
    """
    begin = _find(rf"{TABLE}|^[ \t]*paths[ \t]*=", text, 0)
    if not isinstance(value, list):
        return (), [_problem(text, begin, "must be a list of {title, pages}")]
    routes, problems, at = list[Route](), list[Problem](), begin
    titles = set[str]()
    for number, entry in enumerate(value):
        at = _find(TABLE, text, at + 1) if number else at
        flaws = list(_flaws(entry, titles))
        if flaws:
            problems += [_problem(text, at, flaw) for flaw in flaws]
            continue
        titles.add(_words(entry["title"]))
        named = _find(_quoted(entry["title"]), text, at)
        places = [_find(_quoted(page), text, named) for page in entry["pages"]]
        lines = tuple(text.count("\n", 0, place) + 1 for place in places)
        routes.append(Route(entry["title"], entry.get("summary", ""), tuple(entry["pages"]), lines))
    return tuple(routes), problems


def _flaws(entry: object, titles: set[str]) -> Iterator[str]:
    if not isinstance(entry, dict):
        yield "must be a list of {title, pages}"
        return
    title, summary, pages = (entry.get(key) for key in ("title", "summary", "pages"))
    if strange := entry.keys() - {"title", "summary", "pages"}:
        yield f"unknown key {min(strange)!r}; known: title, summary, pages"
    if not isinstance(title, str) or not _words(title) or _words(title) in titles:
        yield "each needs a title of its own words"
    if not isinstance(summary, str | None):
        yield "summary must be a string"
    if not (isinstance(pages, list) and pages and all(isinstance(page, str) for page in pages)):
        yield "pages must be a list of files"
    elif len({*pages}) < len(pages):
        yield f"{title!r} names a page twice"


def _quoted(words: str) -> str:
    return f"[\"']{re.escape(words)}[\"']"


def _words(title: str) -> str:
    return " ".join(re.findall(r"\w+", title.lower()))


def _find(pattern: str, text: str, begin: int) -> int:
    """Where it next stands; TOML's reader does not tell."""
    found = re.compile(pattern, re.MULTILINE).search(text, begin)
    return found.start() if found else begin


def _problem(text: str, place: int, message: str) -> Problem:
    return Problem("pyproject.toml", text.count("\n", 0, place) + 1, f"paths: {message}")
