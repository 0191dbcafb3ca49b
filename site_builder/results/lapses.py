r"""
# Lapses

What front matter asks for and the record does not have, and what the record does not bear out and
nobody explains. The page is built all the same and says what it lacks;
[check](../publish/check.py) names it, at the claim that rests on it.
"""

from __future__ import annotations

from collections.abc import Iterator

from site_builder.problem import Problem
from site_builder.read.document import Document
from site_builder.results.answers import answers
from site_builder.results.pictures import kind_of
from site_builder.results.record import Record, planned, record_path

REMEDY = "record it again"


def lapses(document: Document, record: Record | None) -> list[Problem]:
    r"""
    ## All of a page

    `record` is `None` where there is no file.
    """
    meta = document.meta
    missing = _missing(document, record) if meta.runs else []
    found = missing
    if record:
        kinds = _unmeasured, _unexplained, _unseen
        found = missing + [problem for kind in kinds for problem in kind(document, record)]
    if record and record.changed:
        message = f"recorded before {', '.join(record.changed)} changed; {REMEDY}"
        found.append(Problem(record_path(document.path), 1, message))
    return found


def _missing(document: Document, record: Record | None) -> list[Problem]:
    """Runs that are not on record with the arguments that front matter gives them."""
    meta = document.meta
    problems = []
    for label, arguments in planned(meta).items():
        if record and label in record.runs:
            continue
        told = f"the run {label!r} ({arguments or 'as it is'}) is not on record"
        claims = [at for at, c in enumerate(meta.claims) if label in (c.run, c.control)]
        lines = {meta.line("claims", at): "claims" for at in claims}
        problems += [
            Problem(document.path, line, f"{key}: {told}; {REMEDY}")
            for line, key in (lines or {meta.line("runs", label): "runs"}).items()
        ]
    return problems


def _unmeasured(document: Document, record: Record) -> Iterator[Problem]:
    """Claims whose metric the runs that they name did not record."""
    for at, claim in enumerate(document.meta.claims):
        pairs = (claim.run, claim.metric), (claim.control, claim.metric), (claim.run, claim.against)
        for label, metric in pairs:
            run = record.runs.get(label)
            if run and metric and len(run.metrics.get(metric, ())) < len(run.trials):
                has = ", ".join(run.metrics) or "nothing"
                told = f"the run {label!r} did not record {metric}; it has {has}"
                line = document.meta.line("claims", at)
                yield Problem(document.path, line, f"claims: {told}")


def _unexplained(document: Document, record: Record) -> Iterator[Problem]:
    """Claims that the record does not bear out, where nobody says why that may be."""
    for at, answer in enumerate(answers(document.meta, record.runs)):
        if answer.verdict in ("does not hold here", "not shown") and not answer.note:
            told = f"{answer.what!r}: {answer.verdict}, says the record; say why in a note"
            yield Problem(document.path, document.meta.line("claims", at), f"claims: {told}")


def _unseen(document: Document, record: Record) -> Iterator[Problem]:
    """Pictures and texts that front matter tells of and no run has shown."""
    runs = record.runs.values()
    seen = {kind_of(name) for run in runs for name in run.images}
    seen |= {name for run in runs for name, _ in run.said}
    for name in document.meta.shows:
        if name not in seen:
            has = ", ".join(sorted(seen)) or "nothing"
            told = f"shows: no run on record shows {name!r}; they show {has}"
            yield Problem(document.path, document.meta.line("shows", name), told)
