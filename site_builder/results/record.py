r"""
# Records

What a paper's runs gave, read back as data. A record is written by `python -m
papers.tools.record`; building a site never runs anything. It carries fingerprints of the code it
was recorded from, and when one no longer fits, the page says so.
"""

from __future__ import annotations

import functools
import json
import posixpath
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from site_builder.read.document import Document
from site_builder.read.front_matter import FrontMatter

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Trial:
    """A run with one seed: when and on what it ran, and the numbers that it ended with."""

    seed: int
    recorded: str
    device: str
    threads: int
    seconds: float
    processor_seconds: float
    versions: tuple[tuple[str, str], ...]
    metrics: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class RecordedRun:
    r"""
    ## A run

    What was run under one label, with each of its seeds. Curves, texts and pictures are those of
    the first.
    """

    label: str
    arguments: str
    steps: int
    trials: tuple[Trial, ...]
    series: tuple[tuple[str, Points], ...]
    said: tuple[tuple[str, str], ...]
    images: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """
        How long one trial takes, on average, where nothing else runs: what its threads computed, if
        that is less than what the clock showed.
        """
        times = (min(t.seconds, t.processor_seconds / t.threads) for t in self.trials)
        return fmean(times)

    @property
    def metrics(self) -> dict[str, tuple[float | None, ...]]:
        """Each number that any trial ended with; `None` is one that did not stay finite."""
        names = dict.fromkeys(name for trial in self.trials for name in trial.metrics)
        return {
            name: tuple(trial.metrics[name] for trial in self.trials if name in trial.metrics)
            for name in names
        }


@dataclass(frozen=True, slots=True)
class Record:
    r"""
    ## A record

    `runs` are those that front matter still asks for, under the same label with the same
    arguments. `changed` are the files whose code is no longer what was run; empty for a record
    that still holds.
    """

    runs: dict[str, RecordedRun]
    changed: tuple[str, ...] = ()


def record_path(path: str) -> str:
    """Where the record of `papers/a/b.py` lies: `papers/a/records/b.json`."""
    folder, name = posixpath.split(path)
    return posixpath.join(folder, "records", name.removesuffix(".py") + ".json")


def planned(meta: FrontMatter) -> dict[str, str]:
    """From label to arguments: a file that names no runs has one, with its defaults."""
    return meta.runs or {"default": ""}


def fingerprints(document: Document, find: Callable[[str], Document | None]) -> dict[str, str]:
    r"""
    ## Fingerprints of all that was run

    The file's, and those of the files that it imports parts from. `find` gives the document at a
    path, and none for what may change: its own tests hold that to the same results.
    """
    found: dict[str, str] = {}
    waiting = [document]
    while waiting:
        here = waiting.pop()
        if here.path in found:
            continue
        found[here.path] = here.fingerprint
        for name in here.imports:
            for dotted in (name, name.rpartition(".")[0]):
                path = dotted.replace(".", "/") + ".py"
                imported = find(path)
                waiting += [imported] if imported else []
    return dict(sorted(found.items()))


def read_record(document: Document, text: str, find: Callable[[str], Document | None]) -> Record:
    r"""
    ## Read

    Raises `ValueError` when the file is not a record; the message says why.
    """
    runs, recorded = read_runs(text)
    now = fingerprints(document, find)
    changed = [path for path in {**recorded, **now} if recorded.get(path) != now.get(path)]
    # What cannot be read may still be what was run: that is said first.
    changed = [] if "" in now.values() else changed
    wanted = planned(document.meta)
    known = {run.label: run for run in runs if wanted.get(run.label) == run.arguments}
    ordered = {label: known[label] for label in wanted if label in known}
    return Record(ordered, tuple(sorted(changed)))


# Between two builds a record hardly ever changes.
@functools.lru_cache(maxsize=256)
def read_runs(text: str) -> tuple[tuple[RecordedRun, ...], dict[str, str]]:
    """The runs, and the fingerprints of the code that was run."""
    try:
        data = json.loads(text)
        return tuple(map(_run, data["runs"])), dict(data["code"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a record ({error!r}); record the paper again") from None


def _run(entry: dict[str, Any]) -> RecordedRun:
    series = []
    for name, curve in entry["series"].items():
        pairs = zip(curve["steps"], curve["values"], strict=True)
        points = tuple((float(x), float(y)) for x, y in pairs if y is not None)
        series.append((str(name), points))
    return RecordedRun(
        label=str(entry["label"]),
        arguments=str(entry["arguments"]),
        steps=int(entry["steps"]),
        trials=tuple(_trial(seed) for seed in entry["seeds"]) or _no_trial(),
        series=tuple(series),
        said=tuple((str(name), str(text)) for name, text in entry["said"].items()),
        images=tuple(map(str, entry["images"])),
    )


def _trial(entry: dict[str, Any]) -> Trial:
    return Trial(
        seed=int(entry["seed"]),
        recorded=str(entry["recorded"]),
        device=str(entry["device"]),
        threads=int(entry["threads"]),
        seconds=float(entry["seconds"]),
        processor_seconds=float(entry["processor_seconds"]),
        versions=tuple((str(name), str(version)) for name, version in entry["versions"].items()),
        metrics={
            str(name): None if value is None else float(value)
            for name, value in entry["metrics"].items()
        },
    )


def _no_trial() -> tuple[Trial, ...]:
    raise ValueError("a run without a seed")
