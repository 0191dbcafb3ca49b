r"""
# Inventories

Where other projects document their names. Sphinx writes an inventory, `objects.inv`, beside each
documentation that it makes; we keep what we need of it as text, sorted by page, so that a build
asks nobody:

    https://docs.python.org/3.11/
    library/math.html math=module-math math.inf math.pi

A name is its own anchor unless another is given. The standard library's comes with us, and a
project names others in its settings. One is made, or made anew, by

    python -m site_builder.read.inventory https://docs.python.org/3.11/ python.txt

where a third argument names an `objects.inv` that is on the disk already.
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

PYTHON = HERE / "inventories" / "python.txt"
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
def _of_python() -> dict[str, str]:
    return unpack(PYTHON.read_text(encoding="utf-8"))


def read_inventories(settings: Settings) -> tuple[dict[str, str], list[Problem]]:
    """The addresses of all names that an inventory knows, and what is wrong with the project's."""
    found, problems = dict(_of_python()), []
    for name in settings.inventories:
        try:
            found |= unpack((settings.root / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            message = f"inventories: {name} cannot be read: {reason}; name a file that is one"
            problems.append(Problem("pyproject.toml", settings.lines["inventories"], message))
    return found, problems


def main(given: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m site_builder.read.inventory")
    parser.description = "Keep where another project documents its names."
    parser.add_argument("address", help="of a documentation that Sphinx made")
    parser.add_argument("file", help="what is written")
    parser.add_argument("local", nargs="?", help="its objects.inv, if it is on the disk already")
    args = parser.parse_args(given)
    base = args.address.rstrip("/") + "/"
    place = args.local or f"{base}objects.inv"
    try:
        raw = Path(place).read_bytes() if args.local else _fetched(place)
        text = pack(base, read_objects(raw))
        unpack(text)
        place = args.file
        # Whoever stops us finds the old file or the new one.
        fresh = Path(f"{args.file}.new")
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(args.file)
    except (OSError, ValueError, zlib.error) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        print(f"{place}: {reason}; name an inventory and a file for it", file=sys.stderr)
        return 1
    return 0


def _fetched(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=60) as answer:
        raw: bytes = answer.read()
    return raw


if __name__ == "__main__":
    sys.exit(main())
