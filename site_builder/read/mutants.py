r"""
# Mutants

The mistakes that the tests of a topic are held to: `tests/<topic>/mutants.toml` lists, for each
file, the text that makes each mistake and the tests that must notice.
"""

from __future__ import annotations

import functools
import hashlib
import posixpath
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIST = "mutants.toml"


@dataclass(frozen=True, slots=True)
class Mutant:
    r"""
    ## A mutant

    What is replaced by what, in the page's file or in another, and the tests that must notice.
    """

    name: str
    replace: str
    by: str
    file: str
    tests: tuple[str, ...]
    line: int

    @property
    def mark(self) -> str:
        """What stands for the change in a record of it."""
        return hashlib.sha256(f"{self.replace}\0{self.by}\0{self.file}".encode()).hexdigest()[:16]


def list_of(path: str, tests: str) -> tuple[str, str]:
    """Of a page: the file that lists its mutants, and the name under which it does."""
    _, _, below = path.removesuffix(".py").partition("/")
    topic, _, name = below.partition("/")
    return posixpath.join(tests, topic, LIST), name.replace("/", ".")


# Between two builds a list hardly ever changes, and all pages of a topic have one.
_parsed = functools.lru_cache(maxsize=64)(tomllib.loads)


def entries(text: str, key: str) -> list[tuple[int, dict[str, Any]]]:
    """Those of one page, each with the line of its header. Raises `TOMLDecodeError`."""
    found: Any = _parsed(text)
    for part in key.split("."):
        found = found.get(part, {}) if isinstance(found, dict) else {}
    lines = [n for n, line in enumerate(text.splitlines(), 1) if line.strip() == f"[[{key}]]"]
    return list(zip(lines, found, strict=False))


def read_mutants(root: Path, tests: str, path: str) -> tuple[dict[str, Mutant], str, int]:
    r"""
    ## Those of a page

    By name; and what keeps the list from being read, with its line.
    """
    where, key = list_of(path, tests)
    try:
        listed = entries((root / where).read_text(encoding="utf-8"), key)
    except FileNotFoundError:
        return {}, "", 0
    except (OSError, ValueError) as error:
        place = re.search(r"line (\d+)", str(error))
        return {}, f"cannot be read: {error}", int(place[1]) if place else 1
    found = {}
    for line, entry in listed:
        name, old, new, file = (str(entry.get(k, "")) for k in ("name", "replace", "by", "file"))
        found[name] = Mutant(name, old, new, file, tuple(map(str, entry.get("tests", ()))), line)
    return found, "", 0
