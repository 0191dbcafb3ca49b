r"""
# Results

A record as the page shows it: what the paper claims and what came of it, curves, pictures and
texts, and a table of final numbers with one column for each run.
"""

from __future__ import annotations

import functools
import posixpath
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from site_builder.labels import later, say, spoken
from site_builder.problem import Problem
from site_builder.read.claims import Metric, metric_of
from site_builder.read.document import Document
from site_builder.results.answers import Answer, answers
from site_builder.results.curves import Plot, plots
from site_builder.results.lapses import lapses
from site_builder.results.numbers import measured
from site_builder.results.pictures import Gallery, Picture, galleries, picture
from site_builder.results.record import (
    Record,
    RecordedRun,
    Trial,
    read_record,
    read_runs,
    record_path,
)

# Verdicts of claims that have no numbers; and the others, of which some have a plural.
UNMEASURED = (later("not run"), later("not recorded yet"))
PLURAL = {
    later("holds"): later("hold"),
    later("does not hold here"): later("do not hold here"),
    later("not shown"): "not shown",
    later("seen once"): "seen once",
}


@dataclass(frozen=True, slots=True)
class Said:
    """A text that a run ended with, or several runs, and what is to be seen in it."""

    name: str
    told: str
    run: str
    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """What a metric is called, its unit, which way is better, and its value in each run."""

    metric: Metric
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Results:
    """What the template gets."""

    runs: tuple[RecordedRun, ...]
    answers: tuple[Answer, ...]
    figures: tuple[Plot, ...]
    galleries: tuple[Gallery, ...]
    said: tuple[Said, ...]
    table: tuple[Row, ...]
    changed: tuple[str, ...]

    @property
    def last(self) -> Trial | None:
        """The latest full run of the paper as it is, which front matter names first."""
        trials = self.runs[0].trials if self.runs else ()
        return max(trials, key=lambda trial: trial.recorded, default=None)

    @property
    def verdicts(self) -> tuple[str, ...]:
        """Of the claims that were measured."""
        words = (answer.verdict for answer in self.answers)
        return tuple(word for word in words if word not in UNMEASURED)

    @property
    def room(self) -> int:
        """How many letters the longest label of a line has: all figures get one width."""
        return max((len(line.label) for figure in self.figures for line in figure.lines), default=0)

    @property
    def stale(self) -> str:
        """What has changed since, in a few words."""
        names = [posixpath.basename(path) for path in self.changed]
        rest = say(" and {} more").format(len(names) - 2) if len(names) > 2 else ""
        return (say(", ") if rest else say(" and ")).join(names[:2]) + rest

    @property
    def told(self) -> str:
        """The verdicts in a line: `3 claims: 2 hold, 1 not shown`."""
        number, words = len(self.verdicts), Counter(self.verdicts)
        if not number:
            return ""
        if number == 1:
            return say("1 claim: {}").format(say(self.verdicts[0]))
        parts = (
            say("{} {}").format(n, say(PLURAL.get(word, word) if n > 1 else word))
            for word, n in words.items()
        )
        return say("{} claims: {}").format(number, say(", ").join(parts))


@dataclass(frozen=True, slots=True)
class Shown:
    r"""
    ## What a page has of its record

    The results, if there are any; the pictures among the files of the tree; what is wrong with the
    record; and what is claimed and not on record, which keeps no page from being built.
    """

    results: Results | None
    pictures: tuple[str, ...]
    problems: tuple[Problem, ...]
    lapses: tuple[Problem, ...]


def read_results(
    document: Document,
    others: dict[str, Path],
    find: Callable[[str], Document | None],
) -> Shown:
    path = record_path(document.path)
    record, text, problems = None, "", []
    try:
        if path in others:
            text = others[path].read_text(encoding="utf-8")
            record = read_record(document, text, find)
    except (OSError, ValueError) as error:
        return Shown(None, (), (Problem(path, 1, str(error)),), ())
    runs = record.runs if record else {}
    pictures: dict[str, Picture] = {}
    for run, name in ((each, name) for each in runs.values() for name in each.images):
        place = posixpath.join(posixpath.dirname(path), name)
        file = others.get(place)
        if shown := file and picture(name, run, document.meta, file):
            pictures[place] = shown
        else:
            problems.append(Problem(path, 1, f"{name} is missing; record the paper again"))
    lapsed = tuple(lapses(document, record))
    results = _results(document, record, text, pictures)
    return Shown(results, tuple(pictures), tuple(problems), lapsed)


def _results(
    document: Document, record: Record | None, text: str, pictures: Mapping[str, Picture]
) -> Results | None:
    meta, recorded = document.meta, record.runs if record else {}
    if not recorded and not meta.claims:
        return None
    runs = tuple(recorded.values())
    return Results(
        runs=runs,
        answers=answers(meta, recorded),
        figures=_figures(text, tuple(recorded), tuple(meta.metrics.items()), spoken()),
        galleries=galleries(pictures, meta),
        said=tuple(_said(runs, meta.shows)),
        table=tuple(_table(runs, meta.metrics)),
        changed=record.changed if record else (),
    )


# Drawing takes time, and between two builds a record hardly ever changes.
@functools.lru_cache(maxsize=256)
def _figures(
    text: str, labels: tuple[str, ...], metrics: tuple[tuple[str, Metric], ...], _spoken: str
) -> tuple[Plot, ...]:
    runs = {run.label: run for run in read_runs(text)[0]} if text else {}
    return plots((runs[label] for label in labels), dict(metrics))


def _said(runs: Iterable[RecordedRun], shows: Mapping[str, str]) -> Iterator[Said]:
    """By name; a prompt that all runs had is shown once."""
    labels: dict[str, dict[str, list[str]]] = {}
    for run in runs:
        for name, text in run.said:
            labels.setdefault(name, {}).setdefault(text, []).append(run.label)
    for name, texts in labels.items():
        for text, of in texts.items():
            yield Said(name.replace("_", " "), shows.get(name, ""), ", ".join(of), text)


def _table(runs: tuple[RecordedRun, ...], metrics: Mapping[str, Metric]) -> Iterator[Row]:
    recorded = dict.fromkeys(name for run in runs for name in run.metrics)
    # Those that the paper declares come first, in its order.
    for name in [
        *(n for n in metrics if n in recorded),
        *(n for n in recorded if n not in metrics),
    ]:
        metric = metric_of(name, metrics)
        values = (run.metrics.get(name) for run in runs)
        yield Row(metric, tuple(measured(v, metric.unit) if v else "" for v in values))
