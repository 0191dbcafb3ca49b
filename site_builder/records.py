r"""
# Records

What a paper's runs gave, read back as data. A record is written by `python -m
papers.common.record`; building a site never runs anything. It carries fingerprints of the code it
was recorded from, and when one no longer fits, the page says so.
"""

from __future__ import annotations

import functools
import hashlib
import json
import posixpath
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from site_builder.blocks import parse
from site_builder.front_matter import FrontMatter
from site_builder.names import imported_names
from site_builder.source import Source, split_lines


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """One run: how to repeat it, what it ran on, and what it gave."""

    label: str
    command: str
    recorded: str
    device: str
    seconds: float
    processor_seconds: float
    steps: int
    seed: int
    versions: tuple[tuple[str, str], ...]
    metrics: tuple[tuple[str, float | None], ...]
    series: tuple[tuple[str, tuple[tuple[float, float], ...]], ...]
    images: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """A row of the table that holds what a paper says against what we measured."""

    what: str
    paper: str
    measured: str
    where: str


@dataclass(frozen=True, slots=True)
class Record:
    r"""
    ## A record

    `changed` are the files whose code is no longer what was run; empty for a record that still
    holds.
    """

    runs: tuple[RecordedRun, ...]
    answers: tuple[Answer, ...]
    changed: tuple[str, ...]


def record_path(path: str) -> str:
    """Where the record of `papers/a/b.py` lies: `papers/a/records/b.json`."""
    folder, name = posixpath.split(path)
    return posixpath.join(folder, "records", name.removesuffix(".py") + ".json")


def fingerprint(source: Source) -> str:
    r"""
    ## Fingerprint

    Of the lines of code alone. Better prose does not make a result stale.
    """
    return _what_runs(source)[0]


# Papers import each other, and a build a moment later finds most of them as they were.
@functools.lru_cache(maxsize=4096)
def _what_runs(source: Source) -> tuple[str, tuple[str, ...]]:
    """The fingerprint, and the names that the code imports."""
    parsed = parse(source.text)
    code = "".join(block.text for block in parsed.blocks if block.kind == "code")
    lines = [line.rstrip() for line in split_lines(code) if line.strip()]
    digest = hashlib.sha256("\n".join(lines).encode(errors="surrogatepass")).hexdigest()[:16]
    names = imported_names(parsed.tree, source.module, False) if parsed.tree else {}
    return digest, tuple(names.values())


def fingerprints(source: Source, find: Callable[[str], Source | None]) -> dict[str, str]:
    r"""
    ## Fingerprints of all that was run

    The file's, and those of the papers that it imports parts from. What lies in `common` is about
    no paper and is left out: its own tests hold it to the same results. `find` gives the source at
    a path.
    """
    found: dict[str, str] = {}
    waiting = [source]
    while waiting:
        here = waiting.pop()
        if here.path in found:
            continue
        found[here.path], names = _what_runs(here)
        for name in names:
            for dotted in (name, name.rpartition(".")[0]):
                path = dotted.replace(".", "/") + ".py"
                imported = None if "/common/" in path else find(path)
                waiting += [imported] if imported else []
    return dict(sorted(found.items()))


def read_record(
    source: Source, meta: FrontMatter, text: str, find: Callable[[str], Source | None]
) -> Record:
    r"""
    ## Read

    Raises `ValueError` when the file is not a record; the message says why.
    """
    runs, recorded = read_runs(text)
    now = fingerprints(source, find)
    changed = [path for path in {**recorded, **now} if recorded.get(path) != now.get(path)]
    return Record(runs, _answers(meta, runs), tuple(sorted(changed)))


# Between two builds a record hardly ever changes.
@functools.lru_cache(maxsize=256)
def read_runs(text: str) -> tuple[tuple[RecordedRun, ...], dict[str, str]]:
    """The runs, and the fingerprints of the code that was run."""
    try:
        data = json.loads(text)
        return tuple(_run(entry) for entry in data["runs"]), dict(data["code"])
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
        command=str(entry["command"]),
        recorded=str(entry["recorded"]),
        device=str(entry["device"]),
        seconds=float(entry["seconds"]),
        processor_seconds=float(entry["processor_seconds"]),
        steps=int(entry["steps"]),
        seed=int(entry["seed"]),
        versions=tuple((str(k), str(v)) for k, v in entry["versions"].items()),
        metrics=tuple(entry["metrics"].items()),
        series=tuple(series),
        images=tuple(map(str, entry["images"])),
    )


def _answers(meta: FrontMatter, runs: tuple[RecordedRun, ...]) -> tuple[Answer, ...]:
    known = {(run.label, name): value for run in runs for name, value in run.metrics}
    answers = []
    for claim in meta.claims:
        if claim.run:
            value = known.get((claim.run, claim.metric))
            measured = f"{claim.metric} {number(value)}" if value is not None else "not recorded"
            answers.append(Answer(claim.what, claim.paper, measured, claim.run))
        else:
            answers.append(Answer(claim.what, claim.paper, claim.note, ""))
    return tuple(answers)


def number(value: float | None) -> str:
    """Four significant digits: `0.9876`, `12.35`, `1.200e-05`."""
    if value is None:
        return "–"
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.4g}" if 1e-3 <= abs(value) < 1e6 else f"{value:.3e}"
