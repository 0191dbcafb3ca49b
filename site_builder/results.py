r"""
# Results

A record as the page shows it: curves, a table of final numbers with one column for each run,
pictures, and what the paper says.
"""

from __future__ import annotations

import functools
import posixpath
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from site_builder.curves import Figure, figures
from site_builder.front_matter import FrontMatter
from site_builder.problem import Problem
from site_builder.records import (
    Answer,
    Record,
    RecordedRun,
    number,
    read_record,
    read_runs,
    record_path,
)
from site_builder.source import Source


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of a run, with its size, so that the page does not jump when it arrives."""

    url: str
    label: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Results:
    r"""
    ## What the template gets

    `table` has a row for each metric: its name, and its value in each of `runs`.
    """

    runs: tuple[RecordedRun, ...]
    figures: tuple[Figure, ...]
    table: tuple[tuple[str, tuple[str, ...]], ...]
    answers: tuple[Answer, ...]
    pictures: tuple[Picture, ...]
    changed: tuple[str, ...]

    @property
    def stale(self) -> str:
        """What the page and the check say of a record that no longer holds; empty if it does."""
        if not self.changed:
            return ""
        return f"recorded before {', '.join(self.changed)} changed; record it again"


def read_results(
    source: Source,
    meta: FrontMatter,
    others: dict[str, Path],
    find: Callable[[str], Source | None],
) -> tuple[Results | None, tuple[str, ...], list[Problem]]:
    r"""
    ## Read

    Returns the results of a paper, if it has any, the pictures that its page shows, and what is
    wrong.
    """
    path = record_path(source.path)
    if path not in others:
        return None, (), []
    try:
        text = others[path].read_text(encoding="utf-8")
        record = read_record(source, meta, text, find)
    except (OSError, ValueError) as error:
        return None, (), [Problem(path, 1, str(error))]
    folder = posixpath.dirname(path)
    problems, pictures, shown = [], [], []
    for run in record.runs:
        for name in run.images:
            place = posixpath.join(folder, name)
            size = _size(others[place]) if place in others else None
            if size is None:
                problems.append(Problem(path, 1, f"{name} is missing; record the paper again"))
                continue
            title = name.removesuffix(".png").split(".")[-1]
            pictures.append(Picture(f"records/{name}", f"{title}, {run.label}", *size))
            shown.append(place)
    results = Results(
        record.runs,
        _figures(text),
        _table(record),
        record.answers,
        tuple(pictures),
        record.changed,
    )
    return results, tuple(shown), problems


@functools.lru_cache(maxsize=256)
def _figures(text: str) -> tuple[Figure, ...]:
    return figures(read_runs(text)[0])


def _table(record: Record) -> tuple[tuple[str, tuple[str, ...]], ...]:
    names = dict.fromkeys(name for run in record.runs for name, _ in run.metrics)
    values = [dict(run.metrics) for run in record.runs]
    return tuple(
        (name, tuple(number(value.get(name)) if name in value else "" for value in values))
        for name in names
    )


def _size(path: Path) -> tuple[int, int] | None:
    """Width and height of a PNG, which stand in its first bytes."""
    try:
        with path.open("rb") as file:
            head = file.read(24)
        width, height = struct.unpack(">II", head[16:24])
        return (width, height) if head.startswith(b"\x89PNG") else None
    except (OSError, struct.error):
        return None
