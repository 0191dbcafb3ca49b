r"""
# References

Which libraries a page's code is compared with: those that its [tests](proofs.py) import and that no
page needs.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Collection, Iterable
from pathlib import Path

from site_builder.read.imports import imported_packages
from site_builder.read.proofs import tests_below, tests_of

# What runs tests or makes up their inputs is no reference.
TOOLS = {"pytest", "hypothesis"}
# Between two builds a test hardly ever changes.
_packages = functools.lru_cache(maxsize=256)(imported_packages)


def read_references(
    root: Path, tests: str, pages: Iterable[tuple[str, Collection[str]]]
) -> dict[str, tuple[str, ...]]:
    r"""
    ## Read

    `pages` are all files that have a page, each with the packages that it imports. By library, the
    paths of the pages.
    """
    if not tests:
        return {}
    there = {path.relative_to(root).as_posix() for path in tests_below(root, tests)}
    known, imported = {*TOOLS, *sys.stdlib_module_names, tests}, {}
    for path, packages in pages:
        known |= {path.partition("/")[0], *packages}
        if name := tests_of(path, tests, there):
            imported[path] = (root / name).read_text(encoding="utf-8", errors="replace")
    found: dict[str, list[str]] = {}
    for path, text in imported.items():
        for library in sorted(_packages(text) - known):
            found.setdefault(library, []).append(path)
    return {library: tuple(paths) for library, paths in found.items()}
