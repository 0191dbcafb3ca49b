r"""
# Sources

The first stage, and with [writing](write.py) the only one that touches the disk: a folder becomes
frozen `Source` values.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import tokenize
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from site_builder.problem import Problem
from site_builder.settings import Settings

# Folders that hold no one's own writing.
SKIPPED = re.compile(r"^(\..*|__pycache__|node_modules|.*\.egg-info)$")

# Python ends a line at `\n`, `\r\n` and a lone `\r`, and nowhere else. `str.splitlines` also ends
# one at form feeds and at half a dozen Unicode separators, which would shift every line number
# below them.
LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+$")


@dataclass(frozen=True, slots=True)
class Source:
    r"""
    ## A file as it was read

    `text.encode(encoding)` is the file, byte for byte: line endings, form feeds and a byte order
    mark stay as they are.
    """

    path: str
    text: str
    encoding: str

    @property
    def module(self) -> str:
        """The name under which Python imports the file: `papers/a/__init__.py` is `papers.a`."""
        parts = self.path.removesuffix(".py").split("/")
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def url(self) -> str:
        """Where its page stands: a package's page is the `index.html` of its folder."""
        return re.sub(r"(^|/)__init__\.py$", r"\1index.py", self.path).removesuffix(".py") + ".html"


def find_files(settings: Settings, out: Path | None = None) -> list[tuple[str, Path]]:
    r"""
    ## Find

    All files of the project's source folders, sorted, each once, as (path below the root, path on
    the disk). The output folder may lie inside a source folder; the copies of the files that it
    holds are not sources.
    """
    outside = out.resolve() if out else None
    found: dict[str, Path] = {}
    for name in settings.sources:
        start = settings.root / name
        if start.is_file():
            found[Path(name).as_posix()] = start
        for folder, folders, files in os.walk(start):
            here = Path(folder)
            folders[:] = [
                f for f in folders if not SKIPPED.match(f) and (here / f).resolve() != outside
            ]
            relative = here.relative_to(settings.root).as_posix()
            prefix = "" if relative == "." else relative + "/"
            found |= {prefix + file: here / file for file in files if not file.startswith(".")}
    return sorted(found.items())


def decode(path: str, raw: bytes) -> Source | Problem:
    r"""
    ## Decode

    The encoding is what Python itself would take: a byte order mark, else a cookie in the first
    two lines, else UTF-8.
    """
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(raw).readline)
        text = raw.decode(encoding)
        # Some codecs (UTF-7, escapes) forgive input that they would not write.
        if text.encode(encoding) != raw:
            raise UnicodeError(f"does not round-trip through {encoding}")
        return Source(path, text, encoding)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        return Problem(path, line, f"not {error.encoding}: {error.reason}; save the file as UTF-8")
    except (SyntaxError, UnicodeError, LookupError) as error:
        return Problem(path, 1, f"cannot be decoded: {error}; save the file as UTF-8")


def read_files(
    settings: Settings, out: Path | None = None
) -> tuple[dict[str, bytes], dict[str, Path], list[Problem]]:
    r"""
    ## Read

    The bytes of each Python file, the places of all other files, and what cannot be read.
    """
    python: dict[str, bytes] = {}
    others: dict[str, Path] = {}
    problems = []
    for path, file in find_files(settings, out):
        if not path.endswith(".py"):
            others[path] = file
            continue
        try:
            python[path] = file.read_bytes()
        except OSError as error:
            problems.append(Problem(path, 1, f"cannot be read: {error.strerror}"))
    return python, others, problems


def read_sources(files: dict[str, bytes]) -> tuple[list[Source], list[Problem]]:
    r"""
    ## Decode all

    Every file becomes a source or a problem.
    """
    results = [decode(path, raw) for path, raw in files.items()]
    sources = [result for result in results if isinstance(result, Source)]
    return sources, [result for result in results if isinstance(result, Problem)]


def read_dates(root: Path, paths: list[str]) -> dict[str, str]:
    r"""
    ## Date

    When each file was last committed, by one call to git; where git does not know it, when it was
    last written.
    """
    command = ["git", "-C", str(root), "log", "--format=%x00%cI", "--name-only", "--relative"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
        log = done.stdout
    except (OSError, subprocess.SubprocessError):
        log = ""
    dates: dict[str, str] = {}
    for commit in log.split("\0")[1:]:
        date, *changed = commit.split("\n")
        for path in filter(None, changed):
            dates.setdefault(path, date)
    return {path: dates.get(path) or _modified(root / path) for path in paths}


def _modified(path: Path) -> str:
    time = path.stat().st_mtime if path.exists() else 0
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="seconds")


def split_lines(text: str) -> list[str]:
    r"""
    ## Lines

    Each with its own ending, so that joining them gives the text back.
    """
    return LINE.findall(text)
