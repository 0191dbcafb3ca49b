r"""
# Lines

What makes a line readable among others: a course through its noise, and a place for its label.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence


def course(values: Sequence[float]) -> list[float]:
    r"""
    ## Through the noise

    A line that turns at more than a quarter of its points is noise around a course, which a running
    mean over a twelfth of the line shows. Any other is its own course: a mean would round off the
    corners of a schedule.
    """
    turns = sum(
        (b - a) * (c - b) < 0 for a, b, c in zip(values, values[1:], values[2:], strict=False)
    )
    if 4 * turns <= len(values):
        return list(values)
    reach = max(1, len(values) // 24)
    sums = list(itertools.accumulate(values, initial=0.0))
    means = []
    for at in range(len(values)):
        low, high = max(0, at - reach), min(len(values), at + reach + 1)
        means.append((sums[high] - sums[low]) / (high - low))
    return means


def apart(places: Sequence[float], gap: float, bottom: float) -> list[float]:
    r"""
    ## Labels that do not overlap

    Each stays as near to its place as the others let it, at least `gap` from the next, and none
    lies below `bottom`.
    """
    order = sorted(range(len(places)), key=lambda at: places[at])
    found = [places[at] for at in order]
    for this in range(1, len(found)):
        found[this] = max(found[this], found[this - 1] + gap)
    limit = bottom
    for this in reversed(range(len(found))):
        found[this] = min(found[this], limit)
        limit = found[this] - gap
    return [round(y, 1) for _, y in sorted(zip(order, found, strict=True))]
