r"""
---
title: The file of shapes
summary: A line for each line of code, small, and the same whenever it is made again.
---

# The file of shapes

`records/<paper>.shapes.json` has a fingerprint of the code with its shape comments, and for each
line what it made. Lines are counted among the lines of code, so a change of the prose leaves the
record as it was.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from papers.tools.shapes.journal import Journal
from papers.tools.shapes.made import Made
from papers.tools.shapes.worked import front_matter, recorded
from site_builder.read.blocks import parse
from site_builder.read.fingerprint import Lines, lines_of_code
from site_builder.results.shapes import shapes_path

LIMIT = 60_000
# How far apart numbers may be that two processors computed, as a share of the largest.
TOLERANCE = 2e-3
NOTHING = 1e-6

Row = dict[str, Any]


def lines_of(path: Path) -> Lines:
    return lines_of_code(parse(path.read_text(encoding="utf-8")))


def rows_of(path: Path, journal: Journal) -> list[Row]:
    """What the record holds of each line, by its place among the lines of code."""
    places = {number: at for at, number in enumerate(lines_of(path).numbers, 1)}
    rows = []
    for (first, last), mades in journal.rows().items():
        row: Row = {"line": places[first]}
        if last > first:
            row["last"] = places[last]
        rows.append(row | {"made": [entry(made) for made in mades]})
    return rows


def entry(made: Made) -> Row:
    found: Row = {"name": made.name, "dtype": made.dtype}
    if made.sizes is None:
        return found | {"parameters": made.parameters}
    if made.sizes or made.shape:
        found |= {"shape": made.shape, "sizes": list(made.sizes)}
    return found | ({"values": made.values} if made.values else {})


def common(rows: list[Row], others: list[Row]) -> list[Row]:
    r"""
    ## What two runs agree on

    A time, or a number that was drawn before the example began, differs and is left out.
    """
    theirs = {row["line"]: row for row in others}
    kept = []
    for row in rows:
        other = {made["name"]: made for made in theirs.get(row["line"], {"made": []})["made"]}
        made = [both for made in row["made"] if (both := agreed(made, other.get(made["name"])))]
        if made:
            kept.append(row | {"made": made})
    return kept


def agreed(made: Row, other: Row | None) -> Row | None:
    bare = {key: value for key, value in made.items() if key != "values"}
    if other is None or bare != {key: value for key, value in other.items() if key != "values"}:
        return None
    if not alike(made.get("values", ""), other.get("values", ""), TOLERANCE / 20):
        # A number of Python's that is not the same says nothing without it.
        return bare if bare.get("sizes") else None
    return made


def alike(values: str, others: str, tolerance: float) -> bool:
    ours, theirs = ([float(number) for number in each.split()] for each in (values, others))
    scale = max((abs(number) for number in ours if math.isfinite(number)), default=0)
    # What is left of a difference of equal numbers is rounding, another on each machine.
    allowed = max(tolerance * scale, NOTHING)
    return len(ours) == len(theirs) and all(
        a == b or abs(a - b) <= allowed or (math.isnan(a) and math.isnan(b))
        for a, b in zip(ours, theirs, strict=True)
    )


def differences(path: Path, journal: Journal) -> list[str]:
    r"""
    ## What a record no longer says rightly

    A line for each, `path:line: message`. A record of other code is stale, which is a matter of
    `check`; then nothing here can be compared.
    """
    target = Path(shapes_path(str(path)))
    if not target.is_file():
        return []
    data = json.loads(target.read_text(encoding="utf-8"))
    if data["code"] != lines_of(path).fingerprint:
        return []
    now = {row["line"]: row for row in rows_of(path, journal)}
    found = []
    numbers = lines_of(path).numbers
    for row in data["lines"]:
        names = {made["name"]: made for made in now.get(row["line"], {"made": []})["made"]}
        for made in row["made"]:
            told = differs(made, names.get(made["name"]))
            if told:
                line = numbers[row["line"] - 1] if 0 < row["line"] <= len(numbers) else 1
                where = f"{journal.claims.path}:{line}: {target.name} has {made['name']}"
                found.append(f"{where} {told}; record it again: {command(path)}")
    return [*found, *worked_differences(path, journal)]


def worked_differences(path: Path, journal: Journal) -> Iterator[str]:
    """The same of worked numbers; of an example that was changed since, nothing can be said."""
    meta, now = front_matter(path), {row["code"]: row["made"] for row in journal.worked}
    for row in recorded(path):
        for was, made in zip(row["made"], now.get(row["code"], ()), strict=False):
            if told := differs(was, made):
                at = [worked.code for worked in meta.worked].index(row["code"])
                where = f"{journal.claims.path}:{meta.line('worked', at)}: worked: {row['at']}"
                yield f"{where} is on record {told}; record it again: {command(path)}"


def command(path: Path) -> str:
    return f"python -m papers.tools.shapes {path.parent.name}/{path.name}"


def differs(made: Row, now: Row | None) -> str:
    if now is None:
        return "and the example does not make it"
    for key in ("dtype", "shape", "sizes", "parameters"):
        if made.get(key) != now.get(key):
            return f"as {made.get(key)} and it is {now.get(key)}"
    if "values" in made and not alike(made["values"], now.get("values", ""), TOLERANCE):
        return f"as {made['values'][:30]} and it is {now.get('values', '')[:30]}"
    return ""


def to_text(data: Row) -> str:
    """JSON with a line for each line of code, so that a change shows as one."""
    parts = []
    for key, value in data.items():
        if isinstance(value, list):
            shown = ",\n".join(json.dumps(row, ensure_ascii=False) for row in value)
            parts.append(f'"{key}": [\n{shown}\n]')
        else:
            parts.append(f'"{key}": {json.dumps(value, ensure_ascii=False)}')
    return "{" + ",\n".join(parts) + "}\n"
