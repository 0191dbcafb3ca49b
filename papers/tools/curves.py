r"""
---
title: Curves in the terminal
summary: What labml has kept of a run, drawn in a line for each value, also while it still runs.
---

# Curves in the terminal

    python -m papers.tools.curves runs/transformers/gpt2

From Python, and in a notebook, `read("runs/transformers/gpt2")` gives the same curves, each from
step to value, for whatever draws there. One is
drawn as a [picture](picture.py) by `picture()`.

A run that was resumed has several logs in its folder. They are put together by step, and where
two have the same step, the later one counts.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
from pathlib import Path

from papers.common.errors import UserError
from papers.common.tracking import number

LEVELS = "▁▂▃▄▅▆▇█"
WIDTH = 48


def read(folder: Path | str) -> dict[str, dict[int, float]]:
    r"""
    ## Reading

    From the name of a value to its points. labml appends a line for each few seconds, and of a
    run that was killed the last one may be torn.
    """
    logs = sorted(
        Path(folder).glob("labml/*/*/log.jsonl"), key=lambda log: (log.stat().st_mtime, log)
    )
    if not logs:
        raise UserError(f"{folder}: no log there; give a run's folder, as runs/<topic>/<paper>")
    curves: dict[str, dict[int, float]] = {}
    for log in logs:
        for line in log.read_text(encoding="utf-8").splitlines():
            try:
                tracked = json.loads(line)["track"]
            except ValueError:
                continue
            for name, points in tracked.items():
                for step, values in points:
                    curves.setdefault(name, {})[int(step)] = float(values[0])
    return curves


def draw(points: dict[int, float]) -> str:
    r"""
    ## Drawing

    Each character is the mean of a stretch of steps, between the least of these means and the
    greatest.
    """
    values = [points[step] for step in sorted(points)]
    count = min(WIDTH, len(values))
    edges = [len(values) * i // count for i in range(count + 1)]
    means = [math.fsum(values[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
    finite = [mean for mean in means if math.isfinite(mean)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
    scale = (len(LEVELS) - 1) / (high - low) if high > low else 0.0
    return "".join(
        LEVELS[round((mean - low) * scale)] if math.isfinite(mean) else "!" for mean in means
    )


def main(given: list[str]) -> int:
    if len(given) != 1 or given[0].startswith("-"):
        print("usage: python -m papers.tools.curves runs/<topic>/<paper>")
        return int(not given)
    try:
        curves = read(Path(given[0]))
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    for name, points in sorted(curves.items()):
        first, last = min(points), max(points)
        ends = f"{number(points[first])} at step {first}, {number(points[last])} at step {last}"
        print(f"{name}: {ends}\n{draw(points)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
