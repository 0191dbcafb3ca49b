"""The rule of the verdict, on cases whose answer is known."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest

from site_builder.read.claims import Claim
from site_builder.results.verdict import Word, judge

Values = Sequence[float | None]


def verdict(better: str, ours: Values, control: Values, **wanted: float) -> Word:
    claim = Claim("what", "where", run="a", metric="m", control="b", **wanted)
    return judge(claim, better, ours, control).word


# Means 1 and 2, and a standard error of the difference of 0.1 * sqrt(2 / 3), 0.082.
LOW, HIGH = (0.9, 1.0, 1.1), (1.9, 2.0, 2.1)


@pytest.mark.parametrize(
    ("better", "ours", "control", "margin", "word"),
    [
        ("lower", LOW, HIGH, 0.5, "holds"),
        ("higher", HIGH, LOW, 0.5, "holds"),
        ("lower", HIGH, LOW, 0.5, "does not hold here"),
        ("higher", LOW, HIGH, 0.5, "does not hold here"),
        # The difference of 1 is 12 errors, but less than the margin: by less than two errors, by
        # more than two.
        ("lower", LOW, HIGH, 1.1, "not shown"),
        ("lower", LOW, HIGH, 1.2, "does not hold here"),
        ("lower", LOW, HIGH, 0.99, "holds"),
        ("lower", LOW, HIGH, 1.01, "not shown"),
        # More than the margin, and less than two errors: 0.6 and 0.94.
        ("lower", (0.5, 1.0, 1.5), (0.8, 1.6, 2.4), 0.1, "not shown"),
        # 1.2 and 2 * 0.545; then 1.2 and 2 * 0.61.
        ("lower", (0.5, 1.0, 1.5), (1.4, 2.2, 3.0), 0.1, "holds"),
        ("lower", (0.4, 1.0, 1.6), (1.33, 2.2, 3.07), 0.1, "not shown"),
        # Without a margin, no difference is no difference.
        ("lower", LOW, LOW, 0, "not shown"),
        ("lower", (1, 1, 1), (1, 1, 1), 0, "not shown"),
        ("lower", (1, 1, 1), (2, 2, 2), 0, "holds"),
        ("lower", (2, 2, 2), (1, 1, 1), 0, "does not hold here"),
        ("lower", (1, 1, 1), (2, 2, 2), 1, "not shown"),
        # Any number of seeds from two on, and not the same on both sides.
        ("lower", (0.9, 1.1), HIGH, 0.5, "holds"),
        ("lower", (1.0,), HIGH, 0.5, "seen once"),
        ("lower", LOW, (2.0,), 0.5, "seen once"),
        ("lower", (), HIGH, 0.5, "not recorded yet"),
        ("lower", LOW, (), 0.5, "not recorded yet"),
        # What is not finite is as bad as can be: for certain if all are, else for nobody knows.
        ("lower", LOW, (None, None, None), 0.5, "holds"),
        ("higher", LOW, (None, None, None), 0.5, "holds"),
        ("lower", (None, None, None), LOW, 0.5, "does not hold here"),
        ("higher", (None, None, None), LOW, 0.5, "does not hold here"),
        ("lower", LOW, (2.0, None, 2.1), 0.5, "not shown"),
        ("lower", (None, 1.0, 1.0), HIGH, 0.5, "not shown"),
        ("lower", (None, None, None), (None, None, None), 0.5, "not shown"),
    ],
)
def test_ours_is_better_by_the_margin(
    better: str, ours: Values, control: Values, margin: float, word: Word
) -> None:
    assert verdict(better, ours, control, margin=margin) == word


@pytest.mark.parametrize(
    ("ours", "control", "within", "word"),
    [
        (LOW, LOW, 0.2, "holds"),
        (LOW, LOW, 0.16, "not shown"),
        (LOW, HIGH, 1.2, "holds"),
        (HIGH, LOW, 1.2, "holds"),
        (LOW, HIGH, 1.1, "not shown"),
        (LOW, HIGH, 0.9, "not shown"),
        (LOW, HIGH, 0.8, "does not hold here"),
        (HIGH, LOW, 0.8, "does not hold here"),
        ((1.0,), LOW, 0.2, "seen once"),
        (LOW, (1.0, None, 1.0), 0.2, "not shown"),
        (LOW, (None, None, None), 0.2, "does not hold here"),
    ],
)
@pytest.mark.parametrize("better", ["lower", "higher", ""])
def test_two_are_alike(
    better: str, ours: Values, control: Values, within: float, word: Word
) -> None:
    assert verdict(better, ours, control, within=within) == word


@pytest.mark.parametrize(
    ("better", "than", "ours", "word"),
    [
        ("lower", 1.5, LOW, "holds"),
        ("higher", 1.5, LOW, "does not hold here"),
        ("lower", 1.1, LOW, "not shown"),
        ("lower", 1.22, LOW, "holds"),
        ("higher", 0.0, LOW, "holds"),
        ("lower", 1.5, (1.0,), "seen once"),
        ("lower", 1.5, (), "not recorded yet"),
    ],
)
def test_against_a_number_the_error_is_ours_alone(
    better: str, than: float, ours: Values, word: Word
) -> None:
    claim = Claim("what", "where", run="a", metric="m", than=than, margin=0.1)
    assert judge(claim, better, ours, ()).word == word


def test_what_is_not_run() -> None:
    assert judge(Claim("what", "where", note="hours"), "", (), ()).word == "not run"


def test_difference_and_error_are_those_of_two_independent_samples() -> None:
    claim = Claim("what", "where", run="a", metric="m", control="b", margin=0)
    found = judge(claim, "lower", (1.0, 2.0, 3.0), (4.0, 8.0))
    assert found.difference == pytest.approx(4.0)
    assert found.error == pytest.approx(math.sqrt(1 / 3 + 8 / 2))
    # In pairs these would differ by 1 for certain.
    assert judge(claim, "lower", (1.0, 5.0, 9.0), (2.0, 6.0, 10.0)).word == "not shown"


def test_noise_alone_seldom_holds() -> None:
    """Two runs that are the same but for their seeds: the rule errs in one of twenty, or so."""
    draw = random.Random(0)

    def sample() -> tuple[float, ...]:
        return tuple(draw.gauss(0, 1) for _ in range(3))

    words = [verdict("lower", sample(), sample(), margin=0) for _ in range(4000)]
    assert 0.03 < words.count("holds") / 4000 < 0.08
    assert 0.03 < words.count("does not hold here") / 4000 < 0.08


def test_a_real_difference_mostly_does() -> None:
    draw = random.Random(1)
    words = [
        verdict(
            "higher",
            [draw.gauss(4, 1) for _ in range(3)],
            [draw.gauss(0, 1) for _ in range(3)],
            margin=1,
        )
        for _ in range(1000)
    ]
    assert words.count("holds") > 950
    assert words.count("does not hold here") == 0
