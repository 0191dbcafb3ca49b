r"""
---
title: Pace
summary: How fast a run was when it was recorded, so that one which crawls can say so.
---

# Pace

A run that is many times slower than it should be has mostly to share its processor, and whoever
waits for it cannot know. The [record](../tools/record/__init__.py) beside the paper tells how long
the same run took, from its first step to its last number.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from papers.common.options import Options

# How many times slower than on record is worth a word, and after how many seconds.
FAR, WHILE = 4, 10


def rate_on_record(script: Path, config: Any, options: Options) -> float:
    r"""
    ## The rate on record

    In steps a second. Zero if the run has values of its own or there is no record: nothing to
    compare with.
    """
    if config != type(config)() or options.data or options.precision != "fp32":
        return 0.0
    try:
        text = (script.parent / "records" / f"{script.stem}.json").read_text(encoding="utf-8")
        default = next(run for run in json.loads(text)["runs"] if run["arguments"] == "")
        first = default["seeds"][0]
        # As fast as it was where nothing else ran.
        seconds = min(first["seconds"], first["processor_seconds"] / first["threads"])
        return float(default["steps"] / seconds)
    except (OSError, ValueError, LookupError, TypeError, StopIteration, ZeroDivisionError):
        return 0.0


def slow(rate: float, recorded: float) -> str:
    times, told = recorded / rate, f"{recorded:.3g} steps a second"
    return (
        f"this is {times:.0f} times slower than on record ({told}): is something else running? "
        "--threads 1 may be faster then"
    )
