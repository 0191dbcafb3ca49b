r"""
# Answers

The rows of the table that holds what a paper says against what we measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from site_builder.labels import count, say
from site_builder.read.claims import Claim, Metric, metric_of
from site_builder.read.front_matter import FrontMatter
from site_builder.results.numbers import measured, number, uncertain
from site_builder.results.record import RecordedRun
from site_builder.results.verdict import Verdict, judge


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: its numbers, and the run with its seeds that they are of."""

    value: str = "–"
    source: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    r"""
    ## A row

    A claim, where the paper makes it, what was measured and in which unit, ours beside the
    control, the verdict, the numbers that it rests on, and a remark.
    """

    what: str
    paper: str
    metric: str
    ours: Side
    control: Side
    verdict: str
    reason: str
    note: str


def answers(meta: FrontMatter, runs: Mapping[str, RecordedRun]) -> tuple[Answer, ...]:
    return tuple(_answer(claim, meta.metrics, runs) for claim in meta.claims)


def _answer(claim: Claim, metrics: Mapping[str, Metric], runs: Mapping[str, RecordedRun]) -> Answer:
    metric = metric_of(claim.metric, metrics)
    ours = _values(runs.get(claim.run), claim.metric)
    if claim.against:
        name, other = metric_of(claim.against, metrics).name, claim.run
    else:
        name, other = "", claim.control
    control = _values(runs.get(other), claim.against or claim.metric)
    verdict = judge(claim, metric.better, ours, control)
    if claim.than is None:
        beside = _side(name or other, control, metric)
    else:
        beside = Side(number(claim.than, metric.unit), say("a number"))
    described = metric.name, metric.unit, _direction(metric)
    return Answer(
        what=claim.what,
        paper=claim.paper,
        metric=say(", ").join(filter(None, described)),
        ours=_side(claim.run, ours, metric),
        control=beside,
        verdict=verdict.word,
        reason=_reason(claim, verdict, metric),
        note=claim.note,
    )


def _values(run: RecordedRun | None, metric: str) -> tuple[float | None, ...]:
    return run.metrics.get(metric, ()) if run else ()


def _side(label: str, values: tuple[float | None, ...], metric: Metric) -> Side:
    if not label or not values:
        return Side("–", label)
    seeds = count("one seed", "{} seeds", len(values)).format(len(values))
    return Side(measured(values, metric.unit), label + say(", ") + seeds)


def _direction(metric: Metric) -> str:
    if not metric.better:
        return ""
    return say("lower is better") if metric.better == "lower" else say("higher is better")


def _reason(claim: Claim, verdict: Verdict, metric: Metric) -> str:
    """By how much ours is better or worse, and how much of that would count."""
    difference, unit = verdict.difference, metric.unit
    if difference != difference:
        return ""
    told = uncertain(abs(difference), verdict.error, unit)
    if claim.within is not None:
        return say("{} apart, of {} allowed").format(told, number(claim.within, unit))
    direction = say("{} better") if difference > 0 else say("{} worse")
    done = direction.format(told) if difference else say("no difference")
    wanted = say(", margin {}").format(number(claim.margin, unit)) if claim.margin else ""
    return done + wanted
