r"""
# Inputs

A digest of all that decides the site: the settings, the sources, the files beside them, the
builder itself with the packages it uses, and the commit, which dates the pages. A build that finds
its digest in the manifest is done before it has imported a parser.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from site_builder.assets import HERE, TEMPLATES, static_files
from site_builder.settings import Settings


def digest_inputs(settings: Settings, python: dict[str, bytes], others: dict[str, Path]) -> str:
    total = hashlib.sha256(repr((settings, sys.version)).encode(errors="surrogateescape"))
    for path, raw in python.items():
        total.update(f"{path}\0{len(raw)}\0".encode(errors="surrogateescape") + raw)
    # Installing or removing a package changes the folder's time.
    packages = [Path(place) for place in sys.path if place.endswith("-packages")]
    ours = [*HERE.glob("*.py"), *TEMPLATES.iterdir(), *static_files().values()]
    total.update(marks([*others.values(), *ours, *packages]).encode(errors="surrogateescape"))
    total.update(commit_mark(settings.root).encode())
    return total.hexdigest()


def marks(files: Iterable[Path]) -> str:
    """Size and time of each file: what changes when its content does."""
    found = []
    for file in files:
        try:
            stat = os.stat(file)
            found.append(f"{file}\0{stat.st_size}\0{stat.st_mtime_ns}\0")
        except OSError:
            found.append(f"{file}\0")
    return "".join(found)


def commit_mark(root: Path) -> str:
    """When the checked-out commit last changed, by the time of its log."""
    here = root.resolve()
    for folder in (here, *here.parents):
        log = folder / ".git" / "logs" / "HEAD"
        if log.is_file():
            return str(log.stat().st_mtime_ns)
    return ""
