r"""
# Faithful translations

A translation says the same in other words. What is in no language has to come along as it is:
formulas, code, addresses, anchors and tags. One that drops such a thing, or has another, is
reported at its line of the catalogue, and the original is shown instead of it. How often it names
a formula is up to the language: where one has a pronoun, another may say the word again.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from site_builder.problem import Problem
from site_builder.read.catalogue import Catalogue
from site_builder.read.paragraphs import IN_TEXT
from site_builder.render.scan import Scan
from site_builder.render.shelf import LINE, MARK, Shelf

KINDS = {"code": "code", "fence": "block of code", "formula": "formula", "display": "formula"}
REPEATED = {"code", "formula"}
ADDRESS = re.compile(r"\]\([ ]*<?([^()\s<>]*(?:\([^()\s]*\))?[^()\s<>]*)")
TAG = re.compile(r"</?[A-Za-z][^<>]*>")
ANCHOR = re.compile(r"\{:?[ ]*#[\w.:-]+")

# A kind of thing, and what its author wrote.
Thing = tuple[str, str]


def checked(catalogue: Catalogue) -> tuple[Catalogue, list[Problem]]:
    r"""
    ## Check

    A catalogue without the translations that cannot be shown, and what is wrong with those. What is
    stale anyway is shown to nobody.
    """
    entries, problems = {}, []
    for source, entry in catalogue.entries.items():
        flaw = "" if entry.is_stale else unlike(source, entry.text)
        if flaw:
            problems.append(Problem(catalogue.path, entry.line, flaw))
        else:
            entries[source] = entry
    return replace(catalogue, entries=entries), problems


def unlike(source: str, translation: str) -> str:
    """What keeps a translation from standing for its source; empty if nothing does."""
    ours, theirs = Counter(_things(source)), Counter(_things(translation))
    for kind, written in [*ours, *theirs]:
        thing = kind, written
        there, here = ours[thing], theirs[thing]
        if min(there, here) if kind in REPEATED else there == here:
            continue
        if here > there:
            told = f"the translation has the {kind} {written}, which the original has not"
            return f"{told}; take it out"
        apart = ", apart from letters by blanks" if kind == "formula" else ""
        return f"the translation drops the {kind} {written}; put it in as it is{apart}"
    return ""


def _things(text: str) -> Iterator[Thing]:
    shelf = Shelf()
    marked = Scan(text, 1, shelf).marked
    for aside in shelf.asides:
        if kind := KINDS.get(aside.kind):
            written = " ".join(aside.written.split())
            # Words inside a formula are words.
            yield kind, IN_TEXT.sub(r"\\text{…}", written) if kind == "formula" else written
    plain = MARK.sub(lambda mark: shelf[mark[1]].written, LINE.sub("", marked))
    for kind, pattern in (("address", ADDRESS), ("tag", TAG), ("anchor", ANCHOR)):
        for found in pattern.findall(plain):
            yield kind, found
