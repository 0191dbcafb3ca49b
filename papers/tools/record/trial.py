r"""
---
title: A run with one seed
summary: In a process and a folder of its own, and then as a part of the record.
---

# A run with one seed
"""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from papers.common.errors import UserError
from papers.tools.record.asked import Entry, Paper

PACKAGES = ("torch", "numpy", "scikit-learn")
# What the record keeps of `result.json` for each seed.
KEPT = ("seed", "device", "threads", "seconds", "processor_seconds", "metrics")


def run(
    paper: Paper, label: str, seed: int, where: Path | None = None
) -> tuple[dict[str, Any], dict[str, bytes]]:
    r"""
    ## Run

    In a child process and a temporary folder, so that nothing of an earlier run can leak in.
    Returns what the run left, and its pictures by the names that they get. What runs is the
    project's own file, or that of a copy, `where`.
    """
    path = paper.path
    with tempfile.TemporaryDirectory() as folder:
        arguments = [*shlex.split(paper.runs[label]), "--seed", str(seed), "--out", folder]
        # With one thread the order of sums, and so the result, is the same on any number of cores.
        environment = {"OMP_NUM_THREADS": "1", **os.environ}
        before = os.times()
        command = [sys.executable, str(path), *arguments]
        if where:
            environment["PYTHONPATH"] = str(where)
        done = subprocess.run(command, stdout=sys.stderr, env=environment, cwd=where)
        after = os.times()
        if done.returncode:
            told = f"the run {label!r} with seed {seed} ended with status {done.returncode}"
            raise UserError(f"{path}: {told}")
        result = json.loads((Path(folder) / "result.json").read_text(encoding="utf-8"))
        names = {name: f"{path.stem}.{slug(label)}.{name}" for name in result["images"]}
        pictures = {names[name]: (Path(folder) / name).read_bytes() for name in names}
    # What the run cost, whatever else the machine was doing at the time.
    user = after.children_user - before.children_user
    system = after.children_system - before.children_system
    result["processor_seconds"] = round(user + system, 1)
    result["images"] = list(pictures)
    return result, pictures


def slug(label: str) -> str:
    return "-".join(re.findall(r"[^\W_]+", label.lower()))


def add(paper: Paper, known: dict[str, Entry], label: str, result: dict[str, Any]) -> None:
    r"""
    ## Add

    The first seed brings curves, texts and pictures; every seed brings its numbers.
    """
    if label not in known:
        known[label] = {
            "label": label,
            "arguments": paper.runs[label],
            "steps": result["steps"],
            "seeds": [],
            "series": {name: _short(curve) for name, curve in result["series"].items()},
            "said": result["said"],
            "images": result["images"],
        }
    versions = {name: version(name) for name in PACKAGES} | {"python": platform.python_version()}
    trial = {name: result[name] for name in KEPT}
    trial |= {"recorded": datetime.now(UTC).date().isoformat(), "versions": versions}
    known[label]["seeds"].append(trial)


def _short(curve: dict[str, list[float | None]]) -> dict[str, list[float | None]]:
    """Nobody reads more than six digits off a curve."""
    return {
        name: [None if value is None else float(f"{value:.6g}") for value in values]
        for name, values in curve.items()
    }
