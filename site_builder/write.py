r"""
# Write

The last stage, and the only one that changes anything. Each file is replaced whole: a reader, or a
build that is killed, sees the old page or the new one and never half of one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, astuple, dataclass, field, replace
from pathlib import Path

from site_builder.problem import Problem

MANIFEST = ".site_builder.json"


class OutputError(Exception):
    """The output folder cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Manifest:
    r"""
    ## The manifest

    What the last build was made of (`inputs`), the files that it wrote with (digest, size, time),
    the problems it found, and the pages that were written in spite of one. It is how a build knows
    that nothing has changed, and that a file in the folder is ours.
    """

    inputs: str = ""
    files: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    flawed: tuple[str, ...] = ()

    def intact(self, out: Path) -> bool:
        """Whether every file is still as it was written."""
        for name, (_, size, time) in self.files.items():
            try:
                stat = os.stat(out / name)
            except OSError:
                return False
            if (stat.st_size, stat.st_mtime_ns) != (size, time):
                return False
        return True


def read_manifest(out: Path) -> Manifest:
    r"""
    ## Read the manifest

    Raises `OutputError` for a folder that holds files but no manifest: they are somebody's, and a
    build would replace them.
    """
    try:
        data = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
        return Manifest(
            data["inputs"],
            # A manifest that somebody edited must not make us remove a file elsewhere.
            {name: tuple(entry) for name, entry in data["files"].items() if ".." not in name},
            tuple(Problem(*problem) for problem in data["problems"]),
            tuple(data["flawed"]),
        )
    except NotADirectoryError:
        raise OutputError(f"{out} is a file; name a folder with --out") from None
    except OSError:
        if out.is_dir() and any(out.iterdir()):
            raise OutputError(
                f"{out} holds files that no build wrote; name another folder with --out"
            ) from None
        return Manifest()
    except (ValueError, KeyError, TypeError, IndexError):
        # A damaged manifest costs one full build, no more.
        return Manifest()


def replace_file(path: Path, data: bytes) -> None:
    r"""
    ## Replace a file

    The new content is written beside the file and takes its name in one step.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        aside.write_bytes(data)
        os.replace(aside, path)
    except OSError:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


def write_site(
    out: Path, files: Mapping[str, bytes], unchanged: Iterable[str], old: Manifest, new: Manifest
) -> tuple[Manifest, list[str]]:
    r"""
    ## Write the site

    `files` are new or may be; those in `unchanged` stay as the old manifest has them; all other
    files of the old manifest go. Returns the new manifest with its files filled in, and the names
    of the files that changed.
    """
    entries = {name: old.files[name] for name in unchanged if name in old.files}
    changed = []
    for name, data in files.items():
        path = out / name
        known = old.files.get(name)
        mark = digest(data)
        if not (known and known[0] == mark and _stat(path) == known[1:]):
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, data)
            changed.append(name)
        entries[name] = (mark, *_stat(path))
    for name in old.files.keys() - entries.keys():
        with contextlib.suppress(OSError):
            (out / name).unlink()
            changed.append(name)
        with contextlib.suppress(OSError):
            # Up to the first folder that still holds something.
            for folder in (out / name).parents:
                folder.rmdir()
    manifest = replace(new, files=dict(sorted(entries.items())))
    if manifest != old:
        out.mkdir(parents=True, exist_ok=True)
        content = asdict(manifest) | {"problems": [astuple(p) for p in manifest.problems]}
        replace_file(out / MANIFEST, json.dumps(content, indent=0).encode())
    return manifest, changed


def _stat(path: Path) -> tuple[int, int]:
    try:
        stat = os.stat(path)
    except OSError:
        return (-1, -1)
    return stat.st_size, stat.st_mtime_ns
