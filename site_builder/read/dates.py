r"""
# Dates

When each file last changed: what the feed and the site map say. One call to git answers for all
files, and as long as the commit stays the answer does.
"""

from __future__ import annotations

import functools
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path


@functools.lru_cache(maxsize=1)
def _committed(root: Path, _commit: str) -> dict[str, str]:
    command = ["git", "-C", str(root), "-c", "core.quotePath=false", "log"]
    command += ["--format=%x00%cI", "--name-only", "--relative", "-z"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return {}
    dates: dict[str, str] = {}
    date = ""
    # With `-z` all that git prints ends in a zero: two zeros, a date, names; a name is never empty.
    for part in os.fsdecode(done.stdout).split("\0"):
        words = part.strip("\n")
        if _is_date(words):
            date = words
        elif words:
            dates.setdefault(words, date)
    return dates


def _is_date(text: str) -> bool:
    try:
        return bool(datetime.fromisoformat(text)) and "T" in text
    except ValueError:
        return False


def read_dates(root: Path, paths: list[str], commit: str) -> dict[str, str]:
    r"""
    ## Date

    When each file was last committed; where git does not know it, when it was last written.
    `commit` stands for what is checked out: while it is the same, git is not asked again.
    """
    known = _committed(root.resolve(), commit)
    return {path: known.get(path) or _modified(root / path) for path in paths}


def _modified(path: Path) -> str:
    time = path.stat().st_mtime if path.exists() else 0
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="seconds")
