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
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass, field, fields, replace
from pathlib import Path

from site_builder.problem import BuildError, Problem
from site_builder.read.source import MANIFEST

# By its name, how each file is made.
Made = Mapping[str, Callable[[], bytes]]
# The size and time of a file that is not there.
MISSING = (-1, -1)


@dataclass(frozen=True, slots=True)
class Manifest:
    r"""
    ## The manifest

    What the last build was made of (`inputs`), the files that it wrote with (digest, size, time),
    the names of those that it was about to write if it did not come to its end (`planned`), the
    problems it found, and the pages that were written in spite of one. It is how a build knows
    that nothing has changed, and that a file in the folder is ours.
    """

    inputs: str = ""
    files: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    planned: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    flawed: tuple[str, ...] = ()

    def is_ours(self, name: str) -> bool:
        return name in self.files or name in self.planned

    def has(self, name: str, out: Path) -> bool:
        """Whether the file is there as it was written, or as a killed build may have written it."""
        found = _stat(out / name)
        known = name in self.files and self.files[name][1:] == found
        return known or (name in self.planned and found != MISSING)

    def intact(self, out: Path) -> bool:
        """Whether every file is still as it was written."""
        return all(_stat(out / name) == entry[1:] for name, entry in self.files.items())


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
            name: (str(mark), int(size), int(written))
            for name, (mark, size, written) in data["files"].items()
            if _is_inside(name)
        }
        planned = tuple(name for name in data["planned"] if _is_inside(name))
        problems = tuple(Problem(*problem) for problem in data["problems"])
        flawed = tuple(map(str, data["flawed"]))
        return Manifest(str(data["inputs"]), files, planned, problems, flawed)
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


def _is_inside(name: str) -> bool:
    return ".." not in name.split("/") and not name.startswith("/")


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


def write_site(
    out: Path,
    files: Made,
    kept: Iterable[str],
    old: Manifest,
    new: Manifest,
    later: Callable[[], Made] = dict,
) -> list[str]:
    r"""
    ## Write the site

    `files` are new or may be: their names are known, their contents are made one after the other,
    so that a large site needs no more memory than its largest page. What comes `later` is asked for
    when they are written. Those in `kept` stay as they are; all other files of the old manifest go.
    Returns the names of the files that changed.

    Before anything else the manifest says what will be written. A build that is killed then leaves
    nothing in the folder that the next one would not know as its own, and nothing that it would
    take for written.
    """
    entries = {name: _entry(out / name, old.files.get(name)) for name in kept if old.is_ours(name)}
    _clear(out)
    flawed = {*old.flawed, *new.flawed}
    # Should this build be killed too, what the one before was about to write is ours still.
    planned = {*old.planned}
    begun = replace(old, inputs="", flawed=tuple(flawed))
    changed = []
    for made in _in_turn(files, later):
        _refuse_strangers(out, made, old)
        planned |= made.keys()
        _write_manifest(out, replace(begun, planned=tuple(planned)))
        for name, make in made.items():
            data, path = make(), out / name
            mark, known = digest(data), old.files.get(name)
            if known is None or known != (mark, *_stat(path)):
                _replace_file(out, path, data)
                changed.append(name)
            entries[name] = mark, *_stat(path)
    for name in {*old.files, *old.planned} - entries.keys():
        with contextlib.suppress(OSError):
            (out / name).unlink()
            changed.append(name)
        with contextlib.suppress(OSError):
            # Up to the first folder that still holds something.
            for folder in (out / name).parents:
                folder.rmdir()
    _write_manifest(out, replace(new, files=dict(sorted(entries.items()))))
    return changed


def _in_turn(files: Made, later: Callable[[], Made]) -> Iterator[Made]:
    yield files
    yield later()


def _entry(path: Path, known: tuple[str, int, int] | None) -> tuple[str, int, int]:
    """What the manifest says of a file that stays; of a killed build's, no digest is known."""
    found = _stat(path)
    return known if known and known[1:] == found else ("", *found)


def _clear(out: Path) -> None:
    """What a killed build was about to write. A build that runs now is given its minute."""
    for aside in out.glob(MANIFEST + ".*"):
        with contextlib.suppress(OSError):
            if time.time() - aside.stat().st_mtime > 60:
                aside.unlink()


def _refuse_strangers(out: Path, names: Iterable[str], old: Manifest) -> None:
    """A file that no build wrote is somebody's, also where a page would have its name."""
    for name in names if old.files or old.planned else ():
        if not old.is_ours(name) and os.path.lexists(out / name):
            raise BuildError(f"{out / name} is not from a build; move it out of the way")


def _write_manifest(out: Path, manifest: Manifest) -> None:
    content = {each.name: getattr(manifest, each.name) for each in fields(manifest)}
    content["problems"] = [astuple(problem) for problem in manifest.problems]
    _replace_file(out, out / MANIFEST, json.dumps(content, indent=0).encode())


def _replace_file(out: Path, path: Path, data: bytes) -> None:
    """The new content is written aside and takes the file's name in one step."""
    aside = out / f"{MANIFEST}.{os.getpid()}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
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
        return MISSING
    return stat.st_size, stat.st_mtime_ns
