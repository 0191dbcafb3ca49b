r"""
# Findings

What a figure shows, as a sentence: a caption that names the lines' ends argues, where one that
repeats the title does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from site_builder.labels import count, say
from site_builder.read.claims import Metric
from site_builder.results.numbers import number


@dataclass(frozen=True, slots=True)
class Course:
    """A line from its first value to its last, where it ends, and after how many steps its run."""

    label: str
    first: float
    last: float
    end: float
    steps: float


def finding(courses: Sequence[Course], metric: Metric) -> str:
    r"""
    ## Of a figure

    The ends of its lines, the better first where one way is better, else the lower. A line that
    breaks off has no end that could be compared.
    """
    # A power of ten stays with its number.
    return _finding(courses, metric).replace(" × ", "\u00a0×\u00a0")


def _finding(courses: Sequence[Course], metric: Metric) -> str:
    right = max(course.end for course in courses)
    whole = [course for course in courses if course.end > 0.95 * right]
    ends_early = say(" {} ends at step {}.")
    broken = "".join(ends_early.format(c.label, number(c.end)) for c in courses if c not in whole)
    steps = max(course.steps for course in whole)
    after = count("after {} step", "after {} steps", int(steps)).format(number(steps))
    unit = f" {metric.unit}" if metric.unit else ""
    if len(whole) == 1:
        (one,) = whole
        told = say("From {first} to {last} {after}.")
        ends = number(one.first), number(one.last) + unit
        return told.format(first=ends[0], last=ends[1], after=after) + broken
    up = metric.better == "higher"
    ranked = sorted(whole, key=lambda course: course.last, reverse=up)
    first, last = number(ranked[0].last), number(ranked[-1].last)
    if first == last:
        return say("All at {last} {after}.").format(last=first + unit, after=after) + broken
    best, worst = (_listed(c.label for c in ranked if number(c.last) == e) for e in (first, last))
    last += _times(ranked[0].last, ranked[-1].last, metric)
    low = say("Lowest {after}: {best}, at {first}. Highest: {worst}, at {last}.")
    high = say("Highest {after}: {best}, at {first}. Lowest: {worst}, at {last}.")
    given = {"after": after, "best": best, "worst": worst, "first": first + unit, "last": last}
    return (high if up else low).format(**given) + broken


def _listed(found: Iterable[str]) -> str:
    names = list(found)
    return say(" and ").join(filter(None, [say(", ").join(names[:-1]), names[-1]]))


def _times(low: float, high: float, metric: Metric) -> str:
    """How many times the lower the higher is, where that says something."""
    if metric.unit == "%" or low <= 0 or high < 1.5 * low:
        return ""
    factor = high / low
    return say(", {} times as much").format(number(float(f"{factor:.2g}")))
