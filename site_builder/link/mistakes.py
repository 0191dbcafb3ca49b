r"""
# Classic mistakes

What people get wrong on a page: the line that makes the mistake, beside what should stand there,
the curve that it gives, and the test that notices. All were planted: the line is that of a
[mutant](../read/mutants.py), the curve was [recorded](../results/mistakes.py).
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from site_builder.problem import Problem
from site_builder.read.claims import Mistake
from site_builder.read.document import Document
from site_builder.read.mutants import Mutant, list_of, read_mutants
from site_builder.read.proofs import find_proof
from site_builder.read.settings import Settings
from site_builder.read.source import split_lines
from site_builder.render.marks import Hunk, compare, snippet
from site_builder.results.mistakes import Outcome, mistakes_path, read_outcomes


@dataclass(frozen=True, slots=True)
class Told:
    r"""
    ## What the template gets

    `hunks` are the lines of `path` as they are and with the mistake; `test` is the one that
    notices, and `url` where it is published.
    """

    what: str
    path: str
    hunks: tuple[Hunk, ...]
    test: str
    url: str
    outcome: Outcome | None

    @property
    def room(self) -> int:
        """How many letters the longest label of the figure has."""
        figure = self.outcome.figure if self.outcome else None
        return max((len(line.label) for line in figure.lines), default=0) if figure else 0


@dataclass(frozen=True, slots=True)
class Shown:
    """The mistakes of a page, what is wrong with their record, and what only a check minds."""

    told: tuple[Told, ...] = ()
    problems: tuple[Problem, ...] = ()
    lapses: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Pages:
    """What mistakes rest on: the texts of files, those without a page, and what is not shared."""

    settings: Settings
    text: Callable[[str], str]
    others: Mapping[str, Path]
    find: Callable[[str], Document | None]


def show_mistakes(document: Document, pages: Pages) -> Shown:
    r"""
    ## Show

    Those of a page. One whose mutant or test is not there is left out, and a check says so.
    """
    if not document.meta.mistakes:
        return Shown()
    settings = pages.settings
    where, _ = list_of(document.path, settings.tests)
    mutants, flaw, line = read_mutants(settings.root, settings.tests, document.path)
    if flaw:
        return Shown(lapses=(Problem(where, line, flaw),))
    recorded = read_outcomes(document, pages.others, pages.find)
    teller = _Teller(document, pages, where, mutants)
    told, lapses = list[Told](), list(recorded.lapses)
    for at, mistake in enumerate(document.meta.mistakes):
        outcome = recorded.outcomes.get(mistake.mutant)
        made = teller.tell(mistake, outcome)
        if isinstance(made, str):
            place = document.meta.line("mistakes", at)
            lapses.append(Problem(document.path, place, f"mistakes: {made}"))
            continue
        if outcome and not made.outcome:
            message = f"recorded before the mutant {mistake.mutant!r} changed; record it again"
            lapses.append(Problem(mistakes_path(document.path), 1, message))
        told.append(made)
    return Shown(tuple(told), recorded.problems, tuple(lapses))


@dataclass(frozen=True, slots=True)
class _Teller:
    document: Document
    pages: Pages
    where: str
    mutants: Mapping[str, Mutant]

    def tell(self, mistake: Mistake, outcome: Outcome | None) -> Told | str:
        """A mistake, or what keeps it from being told."""
        mutant = self.mutants.get(mistake.mutant)
        if mutant is None:
            near = difflib.get_close_matches(mistake.mutant, self.mutants, 1, 0)
            remedy = f"the nearest is {near[0]!r}" if near else f"list it in {self.where}"
            return f"there is no mutant {mistake.mutant!r}; {remedy}"
        test = _test(mistake.caught, mutant)
        if test is None:
            listed = ", ".join(mutant.tests)
            return f"{mistake.caught} is not to notice {mutant.name!r}; {self.where} names {listed}"
        settings = self.pages.settings
        root, tests = settings.root, settings.tests
        proof = find_proof(root, tests, self.document.path, mistake.caught, test)
        if isinstance(proof, str):
            return proof
        path = mutant.file or self.document.path
        text = self._text(path)
        if text.count(mutant.replace) != 1:
            count = text.count(mutant.replace)
            return f"{mutant.name!r} is stale: its text stands {count} times in {path}; replace one"
        repository, branch = settings.repository.rstrip("/"), quote(settings.branch)
        return Told(
            what=mistake.what,
            path=mutant.file,
            hunks=_hunks(text, mutant),
            test=f"{proof.path}::{proof.name}",
            url=f"{repository}/blob/{branch}/{quote(proof.path)}#L{proof.line}"
            if repository
            else "",
            outcome=outcome if outcome and outcome.mark == mutant.mark else None,
        )

    def _text(self, path: str) -> str:
        """A mutant of a file that is not there is as stale as one whose text is not."""
        try:
            return self.pages.text(path)
        except KeyError:
            return ""


def _test(caught: str, mutant: Mutant) -> str | None:
    """The file of the test that a mutant names, empty for the page's own."""
    for test in mutant.tests:
        file, _, name = test.rpartition("::")
        if name.partition("[")[0] == caught:
            return file
    return None if mutant.tests else ""


# Between two builds hardly any of them changes.
@functools.lru_cache(maxsize=256)
def _hunks(text: str, mutant: Mutant) -> tuple[Hunk, ...]:
    """The lines that the mutant touches, and what it makes of them."""
    begin = text.index(mutant.replace)
    end = begin + len(mutant.replace)
    first = text.rfind("\n", 0, begin) + 1
    last = text.find("\n", max(end - 1, begin))
    rest = text[end:last] if end <= last else ""
    old = split_lines(text[first : max(last, end)])
    new = split_lines(text[first:begin] + mutant.by + rest)
    indents = [len(line) - len(line.lstrip()) for line in old + new if line.strip()]
    number, least = text.count("\n", 0, first) + 1, min(indents, default=0)
    before, after = (snippet([line[least:] for line in lines], number) for lines in (old, new))
    return compare(before, before.code, after, after.code)
