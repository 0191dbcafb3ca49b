r"""
# Mistakes

What runs gave that had a mistake planted, beside the same run without. Such runs are recorded by
`python -m papers.tools.mistakes`, once a test has noticed the mistake.
"""

from __future__ import annotations

import functools
import json
import posixpath
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from site_builder.labels import later, say, spoken
from site_builder.problem import Problem
from site_builder.read.claims import Metric, metric_of
from site_builder.read.document import Document
from site_builder.results.curves import Plot, plots
from site_builder.results.numbers import measured
from site_builder.results.record import Points, RecordedRun, fingerprints, read_runs

# The labels of a run without a mistake and of one with.
RIGHT, WRONG = later("as it should be"), later("with the mistake")
# What share of a figure's height is seen.
SEEN = 0.01
# What rises to so many times what it should be would leave of the other a line at the bottom.
LOST = 100


@dataclass(frozen=True, slots=True)
class Number:
    """A number that the runs ended with: what it is called, and what either gave."""

    name: str
    right: str
    wrong: str


@dataclass(frozen=True, slots=True)
class Outcome:
    r"""
    ## What a mistake did

    A curve that it changed, if it changed any, the numbers that it changed, and the
    arguments of both runs. `mark` stands for the change of code that was run.
    """

    figure: Plot | None
    numbers: tuple[Number, ...]
    arguments: str
    steps: int
    mark: str


@dataclass(frozen=True, slots=True)
class Recorded:
    """By mutant what came of it; what is wrong with the record; what only a check minds."""

    outcomes: Mapping[str, Outcome]
    problems: tuple[Problem, ...] = ()
    lapses: tuple[Problem, ...] = ()


def mistakes_path(path: str) -> str:
    """Where the record of `papers/a/b.py` lies: `papers/a/records/b.mistakes.json`."""
    folder, name = posixpath.split(path)
    return posixpath.join(folder, "records", name.removesuffix(".py") + ".mistakes.json")


def read_outcomes(
    document: Document, others: Mapping[str, Path], find: Callable[[str], Document | None]
) -> Recorded:
    r"""
    ## Read

    `find` is that of [fingerprints](record.py).
    """
    path = mistakes_path(document.path)
    if path not in others:
        return Recorded({})
    try:
        text = others[path].read_text(encoding="utf-8")
        outcomes, recorded = _outcomes(text, tuple(document.meta.metrics.items()), spoken())
    except (OSError, ValueError) as error:
        return Recorded({}, (Problem(path, 1, str(error)),))
    now = fingerprints(document, find)
    changed = [name for name in {**recorded, **now} if recorded.get(name) != now.get(name)]
    told = f"recorded before {', '.join(sorted(changed))} changed; record it again"
    return Recorded(outcomes, (), (Problem(path, 1, told),) if changed else ())


# Between two builds a record hardly ever changes.
@functools.lru_cache(maxsize=256)
def _outcomes(
    text: str, metrics: tuple[tuple[str, Metric], ...], _spoken: str
) -> tuple[dict[str, Outcome], dict[str, str]]:
    found, code = read_runs(text)
    runs, marks = {run.label: run for run in found}, json.loads(text).get("mutants")
    if RIGHT not in runs or not isinstance(marks, dict):
        raise ValueError("not a record of mistakes; record them again")
    right = runs.pop(RIGHT)
    told = {
        label: Outcome(
            figure=_figure(right, wrong, dict(metrics)),
            numbers=tuple(_numbers(right, wrong, dict(metrics))),
            arguments=wrong.arguments,
            steps=wrong.steps,
            mark=str(marks.get(label, "")),
        )
        for label, wrong in runs.items()
    }
    return told, code


def _figure(right: RecordedRun, wrong: RecordedRun, metrics: dict[str, Metric]) -> Plot | None:
    """Both runs in the first series in which they differ to the eye, or in which they do most."""
    ours, theirs = dict(right.series), dict(wrong.series)
    apart = {name: _apart(ours[name], theirs[name]) for name in ours if name in theirs}
    most = max(apart, key=lambda each: apart[each], default="")
    name = next((each for each, by in apart.items() if by > SEEN), most)
    if not apart.get(name):
        return None
    pair = [
        replace(run, label=say(label), series=(("it", dict(run.series)[name]),))
        for run, label in ((right, RIGHT), (wrong, WRONG))
    ]
    lost = max(y for _, y in theirs[name]) > LOST * max(y for _, y in ours[name])
    metric = _metric(name, metrics)
    drawn = plots(pair, {"it": replace(metric, scale="log") if lost else metric})
    return next(iter(drawn), None)


def _metric(name: str, metrics: Mapping[str, Metric]) -> Metric:
    """Of `loss/adam`, which is drawn alone here, the name says both what it is and whose."""
    group, slash, _ = name.partition("/")
    whole, part = metric_of(group, metrics), metric_of(name, metrics)
    return replace(whole, name=whole.name + say(", ") + part.name) if slash else part


def _apart(ours: Points, theirs: Points) -> float:
    """How far the two are apart on average, as a share of the height."""
    values, others = [y for _, y in ours], [y for _, y in theirs]
    spread = max([*values, *others], default=0.0) - min([*values, *others], default=0.0)
    if len(values) != len(others):
        return 1.0
    total = sum(abs(y - other) for y, other in zip(values, others, strict=True))
    return total / (len(values) * spread) if spread else 0.0


def _numbers(
    right: RecordedRun, wrong: RecordedRun, metrics: Mapping[str, Metric]
) -> Iterator[Number]:
    for name, value in right.metrics.items():
        other = wrong.metrics.get(name, ())
        metric = metrics.get(name)
        # A multiple of another's time never comes out the same, whatever the mistake.
        if metric and other and value != other and not metric.unit.startswith("×"):
            unit = say(", ") + metric.unit if metric.unit else ""
            sides = measured(value, metric.unit), measured(other, metric.unit)
            if sides[0] != sides[1]:
                yield Number(metric.name + unit, *sides)
