r"""
# Curves

The figure of a record: how a number went over the steps of a run, one line for each run. The
points become coordinates here, and a template draws them, in the colours of the reader's theme and
without a script.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from site_builder.records import RecordedRun, number

# The drawing's inside, in its own units; the template adds margins for the ticks.
WIDTH, HEIGHT = 560, 220
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


# A label and its points.
Curve = tuple[str, tuple[tuple[float, float], ...]]


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis: where, and what it says."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Line:
    """A run's line: its label, its SVG path, and the place and size of its last value."""

    label: str
    path: str
    end: tuple[float, float]
    last: str


@dataclass(frozen=True, slots=True)
class Figure:
    r"""
    ## A figure

    `width` and `height` are the size of the inside. `log` says that the vertical axis is
    logarithmic.
    """

    name: str
    lines: tuple[Line, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    log: bool
    width: int = WIDTH
    height: int = HEIGHT


def figures(runs: tuple[RecordedRun, ...], most: int = 6) -> tuple[Figure, ...]:
    r"""
    ## Figures of a record

    A series such as `loss` is one figure, in which the runs are compared. Series such as
    `loss/adam` and `loss/sgd` are compared within their run, so each run has a figure of its own.
    """
    drawings: dict[tuple[str, str], list[Curve]] = {}
    for run in runs:
        for name, points in run.series:
            group, slash, line = name.partition("/")
            key, label = ((group, run.label), line) if slash else ((group, ""), run.label)
            if len(points) > 1:
                drawings.setdefault(key, []).append((label, points))
    drawn = [
        _figure(f"{group}, {run}" if run else group, curves)
        for (group, run), curves in drawings.items()
    ]
    return tuple(drawn[:most])


def _figure(name: str, curves: list[Curve]) -> Figure:
    steps = [x for _, points in curves for x, _ in points]
    values = [y for _, points in curves for _, y in points]
    low, high = min(values), max(values)
    # A loss that falls by orders of magnitude is a flat line on a linear axis.
    log = low > 0 and high / low > 50
    scale = math.log10 if log else float
    bottom, top = scale(low), scale(high)
    spread = (top - bottom) or 1.0
    right = max(steps) or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        return round(x / right * WIDTH, 1), round((top - scale(y)) / spread * HEIGHT, 1)

    lines = []
    for label, points in curves:
        places = [place(x, y) for x, y in points]
        path = "M" + "L".join(f"{x:g} {y:g}" for x, y in places)
        lines.append(Line(label, path, places[-1], number(points[-1][1])))
    powers, ups = _powers(bottom, top), _round_values(low, high)
    up = (
        tuple(Tick(place(0, 10.0**p)[1], f"10{str(p).translate(RAISED)}") for p in powers)
        if log
        else tuple(Tick(place(0, y)[1], number(y)) for y in ups)
    )
    across = tuple(Tick(place(x, high)[0], number(x)) for x in _round_values(0, right))
    return Figure(name, tuple(lines), across, up, log)


def _round_values(low: float, high: float, about: int = 4) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, some `about` of them."""
    if high <= low:
        return [low]
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def _powers(bottom: float, top: float) -> range:
    """Exponents of the powers of ten in between, not more than some five."""
    first, last = math.ceil(bottom), math.floor(top)
    return range(first, last + 1, max(1, (last - first) // 4))
