r"""
# Shapes

What the lines of a file made when its example ran, read back as data, and what models of published
sizes need. Such a record is written by `python -m papers.tools.shapes`; building a site never runs
anything. It knows a line by its place among the [lines of code](../read/fingerprint.py), so prose
may change, and of other code nothing of it is shown.
"""

from __future__ import annotations

import functools
import json
import posixpath
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from site_builder.problem import Problem
from site_builder.read.blocks import parse
from site_builder.read.document import Document
from site_builder.read.fingerprint import Lines, lines_of_code
from site_builder.results.fits import Fit, fits
from site_builder.results.worked import Example, Given, given, transcript

# What numbers of Python are called, and how many numbers are said in the same breath.
PLAIN, FEW = ("bool", "float", "int"), 6


@dataclass(frozen=True, slots=True)
class Shapes:
    r"""
    ## What the template gets

    `data` leads from lines of the file, `12` or `12-15`, to what they made, as JSON for the
    script. `worked` are examples with numbers, by the anchors of what they stand beside. `changed`
    says that the record is of other code.
    """

    data: str
    fits: tuple[Fit, ...]
    worked: dict[str, tuple[Example, ...]] = field(default_factory=dict)
    changed: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """What one line of code, or a statement of several, made; `at` is its line in the record."""

    at: int
    first: int
    last: int
    made: tuple[str, ...]


def shapes_path(path: str) -> str:
    """The record of `papers/a/b.py`: `papers/a/records/b.shapes.json`."""
    folder, name = posixpath.split(path)
    return posixpath.join(folder, "records", name.removesuffix(".py") + ".shapes.json")


class Found(NamedTuple):
    """What there is to show, what is wrong with the record, and whether it is stale."""

    shapes: Shapes | None = None
    problems: tuple[Problem, ...] = ()
    lapses: tuple[Problem, ...] = ()


def read_shapes(
    document: Document, text_of: Callable[[str], str], others: dict[str, Path]
) -> Found:
    r"""
    ## Read

    Of most files there is no record, so what their lines are is not asked before.
    """
    source, meta = document.path, document.meta
    path = shapes_path(source)
    remedy = f"record it again: python -m papers.tools.shapes {source}"
    if path not in others:
        told = f"worked: not on record; {remedy.replace(' again', '')}"
        unrecorded = Problem(source, meta.line("worked"), told)
        return Found(lapses=(unrecorded,) if meta.worked else ())
    try:
        code, rows, fitting, examples = _read(others[path].read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return Found(problems=(Problem(path, 1, f"{error}; {remedy}"),))
    numbers, now = _lines(text_of(source))
    if code != now:
        told = f"recorded before {source} changed; {remedy}"
        return Found(Shapes("", fitting, changed=True), lapses=(Problem(path, 1, told),))
    data = {}
    for row in rows:
        if not 1 <= row.first <= row.last <= len(numbers):
            told = f"{source} has {len(numbers)} lines of code, and this is of line {row.last}"
            return Found(problems=(Problem(path, row.at, f"{told}; {remedy}"),))
        first, last = numbers[row.first - 1], numbers[row.last - 1]
        data[f"{first}-{last}" if last > first else f"{first}"] = "\n".join(row.made)
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    lapses, shown = [], dict[str, tuple[Example, ...]]()
    for at, worked in enumerate(meta.worked):
        anchor = document.definitions.get(worked.at, "")
        if made := examples.get(worked.code):
            shown[anchor] = (*shown.get(anchor, ()), Example(worked.told, transcript(worked, made)))
        else:
            told = f"worked: {worked.at} is not on record as it is now; {remedy}"
            lapses.append(Problem(source, meta.line("worked", at), told))
    shapes = Shapes(text.replace("<", "\\u003c"), fitting, shown)
    return Found(shapes, lapses=tuple(lapses))


# Between two builds neither changes often.
@functools.lru_cache(maxsize=256)
def _lines(text: str) -> Lines:
    return lines_of_code(parse(text))


@functools.lru_cache(maxsize=256)
def _read(text: str) -> tuple[str, tuple[Row, ...], tuple[Fit, ...], dict[str, Given]]:
    try:
        data = json.loads(text)
        # Each row stands on a line of its own.
        places = [at for at, line in enumerate(text.split("\n"), 1) if line.startswith('{"line"')]
        places += [1] * (len(data["lines"]) - len(places))
        rows = tuple(_row(at, row) for at, row in zip(places, data["lines"], strict=False))
        return str(data["code"]), rows, fits(data.get("published", [])), given(data)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a record of shapes ({error!r})") from None


def _row(at: int, row: dict[str, Any]) -> Row:
    first = int(row["line"])
    return Row(at, first, int(row.get("last", first)), tuple(map(_made, row["made"])))


def _made(made: dict[str, Any]) -> str:
    """Name, shape, what it is and its numbers; what is missing at the end is left out."""
    name, kind, values = (str(made.get(key, "")) for key in ("name", "dtype", "values"))
    if "parameters" in made:
        return f"{name}||{kind}, {int(made['parameters']):,} parameters"
    if kind == "bool" and not made["sizes"]:
        values = str(values == "1")
    if kind in PLAIN and not made["sizes"]:
        return f"{name}||= {values}"
    sizes = "×".join(str(int(size)) for size in made["sizes"])
    words = f"{sizes}, {kind}" if sizes else kind
    if values and len(made["sizes"]) < 2 and len(values.split()) <= FEW:
        words, values = f"{words} = {values}", ""
    return "|".join([name, str(made["shape"]), words, values]).rstrip("|")
