r"""
# Inputs

A digest of all that decides the site: the settings, the sources, the files beside them, the
builder itself with the packages it uses, and the commit, which dates the pages. A build that finds
its digest in the manifest is done before it has imported a parser.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from site_builder.assets import BOOK_SHEET, HERE, TEMPLATES, TYPESET, asset_files
from site_builder.labels import FOLDER as LABELS
from site_builder.read.inventory import OURS
from site_builder.read.look import look_files
from site_builder.read.mutants import LIST
from site_builder.read.proofs import tests_below
from site_builder.read.settings import Settings
from site_builder.read.source import file_of, read_file


def digest_around(settings: Settings, others: Iterable[Path], forms: Iterable[str]) -> str:
    """All but the sources; `forms` are what is asked for besides the pages."""
    asked = repr((settings, sys.version, sorted(forms)))
    # Installing or removing a package changes the folder's time.
    packages = [Path(place) for place in sys.path if place.endswith("-packages")]
    tests = tests_below(settings.root, settings.tests)
    tests += (settings.root / settings.tests).rglob(LIST) if settings.tests else ()
    inventories = [settings.root / name for name in settings.inventories]
    ours = [
        *HERE.rglob("*.py"),
        *TEMPLATES.iterdir(),
        *LABELS.glob("*.po"),
        TYPESET,
        BOOK_SHEET,
        *OURS,
        *asset_files(),
    ]
    files = marks([*others, *tests, *inventories, *look_files(settings), *ours, *packages])
    total = "\n".join([asked, files, commit_mark(settings.root)])
    return hashlib.sha256(total.encode(errors="surrogateescape")).hexdigest()


def digest_inputs(around: str, digests: dict[str, bytes]) -> str:
    """All, with the `digests` of the sources."""
    total = hashlib.sha256(around.encode())
    for path, digest in digests.items():
        total.update(f"{path}\0".encode(errors="surrogateescape") + digest)
    return total.hexdigest()


def digest_sources(paths: Iterable[str], root: Path) -> dict[str, bytes]:
    """By path."""
    found = dict.fromkeys(paths, b"")
    for path in found:
        digest = hashlib.sha256()
        with contextlib.suppress(OSError):
            # What was made of a text is compared with it.
            if (text := file_of(path, root)) != root / path:
                digest.update(read_file(text, root))
            digest.update(read_file(root / path, root))
        found[path] = digest.digest()
    return found


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
