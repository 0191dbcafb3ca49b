r"""
---
title: What is asked for
summary: The runs that front matter names, less those that are on record as they are now.
---

# What is asked for
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from papers.common.errors import UserError
from site_builder.problem import Problem
from site_builder.read.document import Document, read_document
from site_builder.read.settings import Settings, read_settings
from site_builder.read.source import Source, decode
from site_builder.results.record import fingerprints, planned, read_runs, record_path

SEEDS = (0, 1, 2)
# Seconds: a run that takes longer is recorded with the first seed alone.
PATIENCE = 120

# A run as the record has it.
Entry = dict[str, Any]


@dataclass(frozen=True)
class Paper:
    r"""
    ## A paper and its runs

    `runs` leads from label to command-line arguments, and `code` are the fingerprints of the file
    and of the papers that it imports.
    """

    path: Path
    runs: dict[str, str]
    code: dict[str, str]

    @property
    def target(self) -> Path:
        return Path(record_path(self.path.as_posix()))


def read(path: Path) -> Paper:
    try:
        document = document_of(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    if isinstance(document, Problem):
        raise UserError(str(document))
    if document.problems:
        raise UserError(str(document.problems[0]))
    return Paper(path, planned(document.meta), fingerprints(document, imported))


def document_of(path: Path, required: bool = True) -> Document | Problem:
    return understood(path.as_posix(), path.read_bytes(), required)


# All ask about what they import: as long as the bytes are the same, so is the answer.
@lru_cache(maxsize=1024)
def understood(path: str, data: bytes, required: bool) -> Document | Problem:
    source = decode(path, data)
    return read_document(source, frozenset(), required) if isinstance(source, Source) else source


@lru_cache(maxsize=16)
def settings_of(root: Path, table: bytes) -> Settings:
    settings, _ = read_settings(root)
    return settings


def imported(path: str) -> Document | None:
    if not Path(path).is_file():
        return None
    table = Path("pyproject.toml")
    settings = settings_of(Path.cwd(), table.read_bytes() if table.is_file() else b"")
    found = None if settings.is_shared(path) else document_of(Path(path))
    return found if isinstance(found, Document) else None


def recorded(paper: Paper) -> dict[str, Entry]:
    r"""
    ## What is on record

    By label, as far as code and arguments are still the same: a record never mixes runs of two
    versions of a file.
    """
    try:
        text = paper.target.read_text(encoding="utf-8")
        read_runs(text)
    except (OSError, ValueError):
        return {}
    data = json.loads(text)
    if data["code"] != paper.code:
        return {}
    entries = {entry["label"]: entry for entry in data["runs"]}
    return {k: v for k, v in entries.items() if paper.runs.get(k) == v["arguments"]}


def missing(paper: Paper, known: dict[str, Entry]) -> list[tuple[str, int]]:
    r"""
    ## What is still to be run

    Label and seed, the first seed of all runs before the others. Whether a run is short is judged
    by its first seed.
    """
    wanted = []
    for seed in SEEDS:
        for label in paper.runs:
            trials = {trial["seed"]: trial for trial in known.get(label, {}).get("seeds", [])}
            first = trials.get(SEEDS[0])
            if seed not in trials and not (first and duration(first) > PATIENCE):
                wanted.append((label, seed))
    return wanted


def duration(trial: dict[str, Any]) -> float:
    """In seconds, as if the machine had had nothing else to do."""
    return float(min(trial["seconds"], trial["processor_seconds"] / trial["threads"]))


def stale(paths: list[Path]) -> list[Path]:
    r"""
    ## What is stale

    The papers, among these or all, that name runs which are not on record as they are now.
    """
    found = []
    for path in paths or sorted(Path("papers").rglob("*.py")):
        document = document_of(path)
        if isinstance(document, Document) and document.meta.runs:
            paper = read(path)
            if missing(paper, recorded(paper)):
                found.append(path)
    return found
