r"""
# Verdicts

Whether a claim holds is no matter of opinion: a rule says it, from the record alone. What counts
was written into the front matter before the runs.

Let $d$ be by how much the mean of our run is better than the mean of its control, or than a number,
and $e$ the standard error of that difference. With the least difference that counts, `margin` $m$:

| verdict | when |
|---|---|
| holds | $d > m$ and $d > 2e$ |
| does not hold here | $d + 2e < m$ |
| not shown | neither: the runs do not tell |

Where the claim is that two are alike, they may differ by `within` $w$:

| verdict | when |
|---|---|
| holds | $\lvert d\rvert + 2e < w$ |
| does not hold here | $\lvert d\rvert - 2e > w$ |
| not shown | neither |

A run with one seed has no error, and its claim is *seen once*.

The error is that of two independent samples, $e^2 = s_a^2/n_a + s_b^2/n_b$, although both runs
have the seeds 0, 1, 2. Seeds pair two runs only as long as both draw the same numbers in the same
order, which ends with the first weight that one of them has and the other has not. And three
differences of pairs may be nearly equal by chance, which would pass for certainty; six values do
that far more seldom. Where a pair does have something in common, this error is too large, so
that we err by saying *not shown*.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from site_builder.read.claims import Claim
from site_builder.results.numbers import spread

Word = Literal[
    "holds", "does not hold here", "not shown", "seen once", "not run", "not recorded yet"
]


@dataclass(frozen=True, slots=True)
class Verdict:
    r"""
    ## A verdict

    `difference` is by how much ours is better, less than nothing where it is worse, and `error`
    the standard error of that.
    """

    word: Word
    difference: float = math.nan
    error: float = math.nan


def judge(
    claim: Claim, better: str, ours: Sequence[float | None], control: Sequence[float | None]
) -> Verdict:
    r"""
    ## Judge

    `ours` and `control` have a number for each seed, or `None` where it did not stay finite; the
    control is not asked for where the claim is against a number.
    """
    if not claim.run:
        return Verdict("not run")
    if claim.than is not None:
        control = [claim.than] * len(ours)
    if not ours or not control:
        return Verdict("not recorded yet")
    sign = -1 if better == "lower" else 1
    mean, its_error = _estimate(ours, -sign * math.inf)
    other, other_error = _estimate(control, -sign * math.inf)
    difference, error = sign * (mean - other), math.hypot(its_error, other_error)
    if min(len(ours), len(control)) < 2:
        return Verdict("seen once", difference)
    if claim.within is not None:
        apart = abs(difference)
        holds, fails = apart + 2 * error < claim.within, apart - 2 * error > claim.within
    else:
        margin = claim.margin or 0.0
        holds = difference > margin and difference > 2 * error
        fails = difference + 2 * error < margin
    word: Word = "holds" if holds else "does not hold here" if fails else "not shown"
    return Verdict(word, difference, error)


def _estimate(values: Sequence[float | None], worst: float) -> tuple[float, float]:
    r"""
    ## Mean and standard error

    What did not stay finite is as bad as can be. Where all of a run's seeds ended so, that is
    certain; where some did, nothing is.
    """
    finite = tuple(value for value in values if value is not None)
    if len(finite) < len(values):
        return worst, math.inf if finite else 0.0
    return statistics.fmean(finite), spread(finite) / math.sqrt(len(finite))
