r"""
---
title: Records
summary: Run a paper as its front matter says, and keep what came out as one small file beside it.
topic: common
---

# Records

A number on a page comes from a run. The front matter of a paper names its runs: the default,
and the controls without the idea. This command runs them, each in a process of its own,

    python -m papers.common.record papers/transformers/attention.py

and writes `records/attention.json` with the pictures beside it: command, configuration, seed,
hardware, versions, curves, final numbers, and a fingerprint of the code that gave them. The site
shows the record; when the code has changed since, the page says so.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from papers.common.checkpoint import write_whole
from papers.common.errors import UserError
from site_builder.front_matter import read_front_matter
from site_builder.records import fingerprints, record_path
from site_builder.source import Source, decode

PACKAGES = ("torch", "numpy", "scikit-learn")


def read(path: Path) -> tuple[Source, dict[str, str]]:
    r"""
    ## What a paper asks to be run

    From label to command-line arguments. A file that names no runs has one, with its defaults.
    """
    try:
        source = decode(path.as_posix(), path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    if not isinstance(source, Source):
        raise UserError(str(source))
    docstring = source.text.split('r"""\n', 1)[-1]
    meta, _, _, problems = read_front_matter(source.path, docstring, 2, required=True)
    if problems:
        raise UserError(str(problems[0]))
    return source, meta.runs or {"default": ""}


def run(path: Path, label: str, arguments: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    r"""
    ## One run

    In a child process and a temporary folder, so that nothing of an earlier run can leak in.
    Returns the record of the run, and the pictures that it made by file name.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(path), *shlex.split(arguments), "--out", folder]
        # With one thread the order of sums, and so the result, is the same on any number of cores.
        environment = {"OMP_NUM_THREADS": "1", **os.environ}
        before = os.times()
        done = subprocess.run(command, stdout=sys.stderr, env=environment)
        after = os.times()
        if done.returncode:
            raise UserError(f"{path}: the run {label!r} ended with status {done.returncode}")
        result = json.loads((Path(folder) / "result.json").read_text(encoding="utf-8"))
        names = {name: f"{path.stem}.{slug(label)}.{name}" for name in result.pop("images")}
        pictures = {names[name]: (Path(folder) / name).read_bytes() for name in names}
    versions = {name: version(name) for name in PACKAGES} | {"python": platform.python_version()}
    keep = ("config", "seed", "device", "processes", "steps", "seconds", "metrics", "series")
    record = {
        "label": label,
        "command": " ".join(["python", path.as_posix(), arguments]).strip(),
        "recorded": datetime.now(UTC).date().isoformat(),
        "versions": versions,
        "images": list(names.values()),
        # What the run cost, whatever else the machine was doing at the time.
        "processor_seconds": round(
            after.children_user
            + after.children_system
            - before.children_user
            - before.children_system,
            1,
        ),
        **{key: result[key] for key in keep},
    }
    return record, pictures


def slug(label: str) -> str:
    return "-".join("".join(c if c.isalnum() else " " for c in label.lower()).split())


def record(path: Path, labels: list[str]) -> Path:
    r"""
    ## The record

    Runs what `labels` name, or all. What was recorded before under other labels stays if the code
    is still the same; a record never mixes runs of two versions of a file.
    """
    source, runs = read(path)
    unknown = [label for label in labels if label not in runs]
    if unknown:
        raise UserError(f"{path}: no run {unknown[0]!r}; runs has: {', '.join(runs)}")
    code = fingerprints(source, lambda name: _source(Path(name)))
    target = path.parent / record_path(path.name)
    before = json.loads(target.read_text(encoding="utf-8")) if target.exists() else {}
    same = before.get("code") == code
    known = {entry["label"]: entry for entry in before.get("runs", [])} if same else {}
    for label in labels or list(runs):
        print(f"{path}: {label}", file=sys.stderr)
        known[label], pictures = run(path, label, runs[label])
        target.parent.mkdir(exist_ok=True)
        for name, data in pictures.items():
            (target.parent / name).write_bytes(data)
    entries = [known[label] for label in runs if label in known]
    text = json.dumps({"code": code, "runs": entries}, indent=1, ensure_ascii=False) + "\n"
    write_whole(target, lambda file: file.write(text.encode()))
    wanted = {name for entry in entries for name in entry["images"]}
    for picture in target.parent.glob(f"{path.stem}.*.png"):
        if picture.name not in wanted:
            picture.unlink()
    return target


def _source(path: Path) -> Source | None:
    found = decode(path.as_posix(), path.read_bytes()) if path.is_file() else None
    return found if isinstance(found, Source) else None


def main(given: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m papers.common.record", description=__doc__)
    parser.description = "Run a paper as its front matter says and keep the result."
    parser.add_argument("path", type=Path, help="papers/<topic>/<paper>.py")
    parser.add_argument("labels", nargs="*", help="the runs to record (default: all)")
    args = parser.parse_args(given)
    try:
        print(record(Path(os.path.relpath(args.path)), args.labels))
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
