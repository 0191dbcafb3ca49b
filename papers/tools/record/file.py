r"""
---
title: The file of a record
summary: Written whole, small enough for everybody who clones the project.
---

# The file of a record
"""

from __future__ import annotations

import json
import re

from papers.common.checkpoint import write_whole
from papers.common.errors import UserError
from papers.tools.record.asked import Entry, Paper

# Bytes.
LIMITS = {"JSON": 150_000, "pictures": 300_000}
# A list of nothing but numbers, over several lines; no string of JSON holds a line's end.
NUMBERS = re.compile(r"\[\n\s*((?:[-+.\deE]+|null)(?:,\n\s*(?:[-+.\deE]+|null))*)\n\s*\]")


def write(paper: Paper, known: dict[str, Entry], pictures: dict[str, bytes]) -> None:
    r"""
    ## Write

    What is on record now, with the `pictures` that are new. Those that no run shows any more are
    removed.
    """
    folder = paper.target.parent
    entries = [known[label] for label in paper.runs if label in known]
    data = to_text({"code": paper.code, "runs": entries}).encode()
    shown = {name for entry in entries for name in entry["images"]}
    there = {file.name: file.stat().st_size for file in folder.glob(f"{paper.path.stem}.*.png")}
    sizes = there | {name: len(picture) for name, picture in pictures.items()}
    weight = {"JSON": len(data), "pictures": sum(sizes.get(name, 0) for name in shown)}
    for kind, limit in LIMITS.items():
        if weight[kind] > limit:
            told = f"{weight[kind] / 1000:.0f} kB of {kind}, and at most {limit // 1000} are kept"
            raise UserError(f"{paper.target}: {told}; log, say or show less")
    folder.mkdir(exist_ok=True)
    for name, picture in pictures.items():
        (folder / name).write_bytes(picture)
    write_whole(paper.target, lambda file: file.write(data))
    for name in there.keys() - shown:
        (folder / name).unlink()


def to_text(record: dict[str, object]) -> str:
    """JSON with a line for each value, but one line for a curve, which is less than half of it."""
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    return NUMBERS.sub(lambda found: "[" + re.sub(r",\s+", ", ", found[1]) + "]", text)
