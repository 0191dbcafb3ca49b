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
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, astuple, dataclass, field, replace
from pathlib import Path

from site_builder.parallel import side_by_side
from site_builder.problem import BuildError, Problem
from site_builder.source import MANIFEST

# The digest, size and time of a file that may not have been written yet.
UNKNOWN = ("", -1, -1)


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
        for name, (_, size, written) in self.files.items():
            try:
                stat = os.stat(out / name)
            except OSError:
                return False
            if (stat.st_size, stat.st_mtime_ns) != (size, written):
                return False
        return True


def read_manifest(out: Path) -> Manifest:
    r"""
    ## Read the manifest

    Raises `BuildError` for a folder that holds files but no manifest: they are somebody's, and a
    build would replace them.
    """
    try:
        data = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
        # A manifest that somebody edited must not make us remove a file elsewhere.
        files = {
            str(name): (str(mark), int(size), int(written))
            for name, (mark, size, written) in data["files"].items()
            if ".." not in name.split("/") and not name.startswith("/")
        }
        problems = tuple(Problem(*problem) for problem in data["problems"])
        return Manifest(str(data["inputs"]), files, problems, tuple(map(str, data["flawed"])))
    except NotADirectoryError:
        raise BuildError(f"{out} is a file; name a folder with --out") from None
    except OSError:
        if out.is_dir() and any(not p.name.startswith(MANIFEST) for p in out.iterdir()):
            raise BuildError(
                f"{out} holds files that no build wrote; name another folder with --out"
            ) from None
        return Manifest()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        # A damaged manifest costs one full build, no more.
        return Manifest()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


def write_site(
    out: Path,
    files: Mapping[str, Callable[[], bytes]],
    unchanged: Iterable[str],
    old: Manifest,
    new: Manifest,
) -> list[str]:
    r"""
    ## Write the site

    `files` are new or may be: their names are known, their contents are made one after the other,
    so that a large site needs no more memory than its largest page. Those in `unchanged` stay as
    the old manifest has them; all other files of the old manifest go. Returns the names of the
    files that changed.

    Before anything else the manifest says what will be written. A build that is killed then leaves
    nothing in the folder that the next one would not know as its own.
    """
    entries = {name: old.files[name] for name in unchanged if name in old.files}
    _clear(out)
    _refuse_strangers(out, [name for name in files if name not in old.files], old)
    if files.keys() - old.files.keys():
        planned = dict.fromkeys(files, UNKNOWN) | old.files
        _write_manifest(out, replace(old, inputs="", files=planned))
    folders: set[Path] = set()

    def write(name: str) -> tuple[bool, tuple[str, int, int]]:
        data = files[name]()
        path = out / name
        known = old.files.get(name)
        mark = digest(data)
        same = known is not None and known[0] == mark and _stat(path) == known[1:]
        if not same:
            if path.parent not in folders:
                path.parent.mkdir(parents=True, exist_ok=True)
                folders.add(path.parent)
            _replace_file(out, path, data)
        return not same, (mark, *_stat(path))

    done = dict(zip(files, side_by_side(write, list(files), few=60), strict=True))
    entries |= {name: entry for name, (_, entry) in done.items()}
    changed = [name for name, (new_one, _) in done.items() if new_one]
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
        _write_manifest(out, manifest)
    return changed


def _clear(out: Path) -> None:
    """What a killed build was about to write. A build that runs now is given its minute."""
    for aside in out.glob(MANIFEST + ".*"):
        with contextlib.suppress(OSError):
            if time.time() - aside.stat().st_mtime > 60:
                aside.unlink()


def _refuse_strangers(out: Path, names: Iterable[str], old: Manifest) -> None:
    """A file that no build wrote is somebody's, also where a page would have its name."""
    for name in names if old.files else ():
        if os.path.lexists(out / name):
            raise BuildError(f"{out / name} is not from a build; move it out of the way")


def _write_manifest(out: Path, manifest: Manifest) -> None:
    out.mkdir(parents=True, exist_ok=True)
    content = asdict(manifest) | {"problems": [astuple(p) for p in manifest.problems]}
    _replace_file(out, out / MANIFEST, json.dumps(content, indent=0).encode())


def _replace_file(out: Path, path: Path, data: bytes) -> None:
    """The new content is written aside and takes the file's name in one step."""
    aside = out / f"{MANIFEST}.{os.getpid()}"
    try:
        aside.write_bytes(data)
        os.replace(aside, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise BuildError(f"{path} cannot be written: {error.strerror}") from None


def _stat(path: Path) -> tuple[int, int]:
    try:
        stat = os.stat(path)
    except OSError:
        return (-1, -1)
    return stat.st_size, stat.st_mtime_ns
