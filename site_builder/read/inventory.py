r"""
# Inventories

Where other projects document their names. Sphinx writes an inventory, `objects.inv`, beside each
documentation that it makes; we keep what we need of it as text, sorted by page, so that a build
asks nobody:

    https://docs.python.org/3.11/
    library/math.html math=module-math math.inf math.pi

A name is its own anchor unless another is given. Those of the standard library, of PyTorch and of
NumPy come with us; of the latter two it is what their own lists of contents name. A project names
others in its settings. The first line says where one is from, so that

    site-builder inventories names.txt
    site-builder inventories names.txt --of https://docs.python.org/3.11/ --local objects.inv

fetch it anew, and make one, here of an inventory that is on the disk already.
"""

from __future__ import annotations

import argparse
import functools
import re
import sys
import urllib.request
import zlib
from collections import defaultdict
from pathlib import Path

from site_builder.assets import HERE
from site_builder.problem import Problem
from site_builder.read.settings import Settings

OURS = tuple(sorted((HERE / "inventories").glob("*.txt")))
HEAD = re.compile(rb"# Sphinx inventory version 2\n(?:#[^\n]*\n){3}")
# Name, role, priority, address and what it is called; names of Python have no blanks.
ENTRY = re.compile(r"(\S+) py:(\w+) -?\d+ (\S+) ")
# What code can name without an instance.
ROLES = {"module", "function", "class", "exception", "data", "staticmethod", "classmethod"}


def read_objects(raw: bytes) -> dict[str, str]:
    """What an `objects.inv` says of Python's names: where each is, below the documentation."""
    head = HEAD.match(raw)
    if not head:
        raise ValueError("this is no inventory of Sphinx, version 2")
    lines = zlib.decompress(raw[head.end() :]).decode().splitlines()
    entries = filter(None, map(ENTRY.match, lines))
    return {
        name: re.sub(r"\$$", name, place) for name, role, place in (e.groups() for e in entries)
        if role in ROLES
    }  # fmt: skip


def pack(base: str, places: dict[str, str]) -> str:
    """As text, a line a page."""
    pages: dict[str, list[str]] = defaultdict(list)
    for name, place in sorted(places.items()):
        page, _, anchor = place.partition("#")
        pages[page].append(name if anchor == name else f"{name}={anchor}")
    return "\n".join([base, *(f"{page} {' '.join(pages[page])}" for page in sorted(pages)), ""])


def unpack(text: str) -> dict[str, str]:
    """Name to address."""
    base, *lines = text.splitlines() or [""]
    if not re.fullmatch(r"https?://\S+/", base):
        raise ValueError("its first line is no address that ends in a slash")
    found = {}
    for line in lines:
        page, *names = line.split(" ")
        for entry in names:
            name, given, anchor = entry.partition("=")
            mark = anchor if given else name
            found[name] = f"{base}{page}#{mark}" if mark else f"{base}{page}"
    return found


@functools.cache
def _ours() -> dict[str, str]:
    each = (unpack(file.read_text(encoding="utf-8")) for file in OURS)
    return {name: address for names in each for name, address in names.items()}


def read_inventories(settings: Settings) -> tuple[dict[str, str], list[Problem]]:
    """The addresses of all names that an inventory knows, and what is wrong with the project's."""
    found, problems = dict(_ours()), []
    for name in settings.inventories:
        try:
            found |= unpack((settings.root / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            message = f"inventories: {name} cannot be read: {reason}; name a file that is one"
            problems.append(Problem("pyproject.toml", settings.lines["inventories"], message))
    return found, problems


def main(given: list[str]) -> int:
    r"""
    ## The command

    What cannot be made is a line, and the file stays as it was.
    """
    parser = argparse.ArgumentParser(prog="site-builder inventories")
    parser.description = "Keep where other projects document their names."
    parser.add_argument("files", nargs="+", metavar="FILE", help="of names; each is made anew")
    parser.add_argument("--of", metavar="ADDRESS",
        help="of documentation that Sphinx made (default: the first line of the file)")  # fmt: skip
    parser.add_argument("--local", metavar="OBJECTS",
        help="its objects.inv, if it is on the disk already")  # fmt: skip
    args = parser.parse_args(given)
    failed = [file for file in args.files if _renew(Path(file), args.of, args.local)]
    return int(bool(failed))


def _renew(file: Path, address: str | None, local: str | None) -> bool:
    """Whether it failed."""
    place = str(file)
    try:
        base = (address or file.read_text(encoding="utf-8").partition("\n")[0]).rstrip("/") + "/"
        place = local or f"{base}objects.inv"
        raw = Path(local).read_bytes() if local else _fetched(place)
        text = pack(base, read_objects(raw))
        unpack(text)
        place = str(file)
        # Whoever stops us finds the old file or the new one.
        fresh = file.with_name(f"{file.name}.new")
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(file)
    except (OSError, ValueError, zlib.error) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        print(f"{place}: {reason}; name an inventory and a file for it", file=sys.stderr)
        return True
    return False


def _fetched(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=60) as answer:
        raw: bytes = answer.read()
    return raw
