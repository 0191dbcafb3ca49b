r"""
# Curves

The figure of a record: how a number went over the steps of a run, one line for each run. The
points become coordinates here, and a template draws them, in the colours of the reader's theme and
without a script. An axis is logarithmic where front matter says so of the metric, and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from site_builder.labels import say
from site_builder.read.claims import Metric, metric_of
from site_builder.results.axes import HEIGHT, WIDTH, Frame, Tick
from site_builder.results.findings import Course, finding
from site_builder.results.lines import apart, course
from site_builder.results.numbers import number, scaled
from site_builder.results.record import Points, RecordedRun

# The height of a label at the end of a line.
LABEL = 17

# So many points are a sketch.
FEW = 30

# A label, its points, and how many steps the run took.
Curve = tuple[str, Points, int]


@dataclass(frozen=True, slots=True)
class Line:
    r"""
    ## A line

    Its label, the SVG path of its course and, where that smooths over noise, of the `raw` values;
    where the course ends, what it ends at, and how high its label stands. A `sketch` is its course
    at a few points.
    """

    label: str
    path: str
    raw: str
    sketch: str
    end: tuple[float, float]
    last: str
    height: float


@dataclass(frozen=True, slots=True)
class Plot:
    r"""
    ## A plot

    `name` and `unit` are those of what is drawn, `run` is the label of the one run that all lines
    are of, or the data of all, if they are not the usual, and `finding` says what is to be seen.
    `width` and `height` are the size of the inside.
    """

    name: str
    unit: str
    run: str
    finding: str
    lines: tuple[Line, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    log: bool
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def smoothed(self) -> bool:
        return any(line.raw for line in self.lines)


def plots(
    runs: Iterable[RecordedRun], metrics: Mapping[str, Metric], most: int = 6
) -> tuple[Plot, ...]:
    r"""
    ## Figures of a record

    A series such as `loss` is one figure, in which the runs are compared. Series such as
    `loss/adam` and `loss/sgd` are compared within their run, so each run has a figure of its own.
    So have runs on other data, which compare with nothing but each other. Names and units are those
    of the metrics `loss`, `loss/adam` and `loss/sgd`.
    """
    drawings: dict[tuple[str, str], list[Curve]] = {}
    for run in runs:
        for name, points in run.series:
            group, slash, _ = name.partition("/")
            line = metric_of(name, metrics).name
            key, label = ((group, run.label), line) if slash else ((group, data(run)), run.label)
            if len(points) > 1:
                unit = metric_of(group, metrics).unit
                shown = tuple((x, scaled(y, unit)) for x, y in points)
                drawings.setdefault(key, []).append((label, shown, run.steps))
    drawn = [
        _figure(metric_of(group, metrics), run, curves) for (group, run), curves in drawings.items()
    ]
    return tuple(drawn[:most])


def data(run: RecordedRun) -> str:
    """What a run says of the data that it asks for; nothing where it takes the usual."""
    asked = re.search(r"--data[ =](\S+)", run.arguments)
    return say("on {}").format(asked[1]) if asked else ""


def _figure(metric: Metric, run: str, curves: list[Curve]) -> Plot:
    values = [y for _, points, _ in curves for _, y in points]
    low, high = min(values), max(values)
    right = max(x for _, points, _ in curves for x, _ in points) or 1.0
    log = metric.scale == "log" and low >= 0 and high > 0
    # A loss can be too small for its floats; on a scale of powers zero lies at the lower edge.
    low = min(y for y in values if y > 0) if log else low
    frame = Frame(right, low, high, log)
    drawn = [_line(*curve, frame) for curve in curves]
    heights = apart([line.end[1] for line, _ in drawn], LABEL, HEIGHT)
    return Plot(
        name=metric.name,
        unit=metric.unit,
        run=run,
        finding=finding([ends for _, ends in drawn], metric),
        lines=tuple(
            replace(line, height=height) for (line, _), height in zip(drawn, heights, strict=True)
        ),
        across=frame.across(),
        up=frame.up(),
        log=frame.log,
    )


def _line(label: str, points: Points, took: int, frame: Frame) -> tuple[Line, Course]:
    steps, raw = [x for x, _ in points], [frame.scale(y) for _, y in points]
    mean = course(raw)
    places = list(map(frame.place, steps, mean))
    first, last = (10**y if frame.log else y for y in (mean[0], mean[-1]))
    told = Line(
        label=label,
        path=_path(places),
        raw=_path(list(map(frame.place, steps, raw))) if mean != raw else "",
        sketch=_path(
            [(round(x), round(y)) for x, y in [*places[:: len(places) // FEW + 1], places[-1]]]
        ),
        end=places[-1],
        last=number(last),
        height=places[-1][1],
    )
    return told, Course(label, first, last, steps[-1], took)


def _path(places: list[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in places)
