r"""
# What changed

Two related files beside each other, part by part: what the later one has changed, what is new in
it, and what it takes over. The [comparer](comparer.py) makes each page; here is which are made, and
with what proof.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Protocol
from urllib.parse import quote

from markupsafe import Markup

from site_builder.link.comparer import Comparer
from site_builder.link.comparison import Comparison, Shown
from site_builder.link.links import Targets
from site_builder.link.relations import changes_url
from site_builder.problem import Problem
from site_builder.read.document import Document, Reading
from site_builder.read.proofs import Proof, find_proof
from site_builder.read.settings import Settings
from site_builder.render.code import span, tokens
from site_builder.render.draft import Draft
from site_builder.render.marks import Line


class Kept(Protocol):
    """Where a comparison has its files from: what is known of each, and its version."""

    def draft(self, path: str) -> Draft: ...
    def reading(self, path: str) -> Reading: ...
    def version(self, path: str) -> int: ...


class Comparisons:
    r"""
    ## All of a site

    Between two builds hardly any two files change, so what was made is kept.
    """

    def __init__(self) -> None:
        self._made: dict[str, tuple[tuple[object, ...], Comparison]] = {}

    def make(
        self,
        edges: list[tuple[Document, Document]],
        files: Kept,
        targets: Targets,
        settings: Settings,
    ) -> tuple[tuple[Comparison, ...], list[Problem]]:
        """`edges` are pairs of a later and an earlier document."""
        made, problems = dict[str, tuple[tuple[object, ...], Comparison]](), list[Problem]()
        for later, earlier in edges:
            url = changes_url(later.url)
            proof, flaw = _proof(later, settings)
            problems += flaw
            if url in targets.anchors:
                told = f"changes: its page would be {url}, which another file has; rename that"
                problems.append(Problem(later.path, later.meta.line("changes"), told))
                continue
            old, new = earlier.path, later.path
            key = old, files.version(old), new, files.version(new), targets
            known, page = self._made.get(url, ((), None))
            if page is None or known != key:
                drafts = files.draft(old), files.draft(new)
                readings = files.reading(old), files.reading(new)
                page = Comparer(*drafts, *readings, url, targets).page()
            made[url] = key, replace(page, proof=proof)
        self._made = made
        return tuple(page for _, page in made.values()), problems


def _proof(document: Document, settings: Settings) -> tuple[Shown | None, list[Problem]]:
    name = document.meta.changes.proof if document.meta.changes else ""
    found = find_proof(settings.root, settings.tests, document.path, name) if name else None
    if not isinstance(found, Proof):
        line = document.meta.line("changes", "proof")
        return None, [Problem(document.path, line, f"changes: {found}")] if found else []
    repository = settings.repository.rstrip("/")
    blob = f"{repository}/blob/{quote(settings.branch)}/{quote(found.path)}#L{found.line}"
    return Shown(found, blob if repository else "", _code(found.text, found.start)), []


@functools.lru_cache(maxsize=64)
def _code(text: str, start: int) -> tuple[Line, ...]:
    lines = enumerate(tokens(text), start)
    html = ((n, "".join(span(*token) for token in line)) for n, line in lines)
    return tuple(Line(number, Markup(line)) for number, line in html if line)
