r"""
# Fonts

What is drawn while a site is built has only the letters that come with us: those of KaTeX's fonts.
Which those are stands in each font's character map, and how wide they are beside it.
"""

from __future__ import annotations

import functools
import struct
from pathlib import Path

from site_builder.assets import FONTS

# A map of Unicode for Windows, whose entries are runs of letters: every font of today has one.
UNICODE, RUNS = (3, 1), 4


@functools.cache
def letters() -> frozenset[str]:
    """All that one of the fonts has; none where they are not installed."""
    return frozenset().union(*(_of(font) for font in FONTS if font.is_file()))


def drawable(words: str) -> bool:
    """Whether we have all their letters; without fonts not even none are drawn."""
    known = letters()
    return bool(known) and known.issuperset(words)


def widths(name: str) -> dict[str, float]:
    """The letters of a font as `Main-Regular`, and what each takes of a line, in its size."""
    (font,) = (font for font in FONTS if font.stem.endswith(f"_{name}"))
    return _of(font)


@functools.cache
def _of(font: Path) -> dict[str, float]:
    r"""
    ## Of one font

    A font is a directory of tables. One has the size of its grid, one how many widths there are,
    one these widths, by the numbers of the drawings; and one the map.
    """
    data = font.read_bytes()
    (count,) = struct.unpack_from(">H", data, 4)
    directory = (struct.unpack_from(">4s4xI", data, 12 + 16 * n) for n in range(count))
    tables = dict(directory)
    (grid,) = struct.unpack_from(">H", data, tables[b"head"] + 18)
    (known,) = struct.unpack_from(">H", data, tables[b"hhea"] + 34)
    # Where many are as wide as the last, it is said once.
    wide = [
        width for width, _ in struct.iter_unpack(">HH", _part(data, tables[b"hmtx"], 4 * known))
    ]
    drawn = _map(data, tables[b"cmap"]).items()
    return {letter: wide[min(number, known - 1)] / grid for letter, number in drawn}


def _part(data: bytes, start: int, length: int) -> bytes:
    return data[start : start + length]


def _map(data: bytes, start: int) -> dict[str, int]:
    r"""
    ## The map

    From letters to the numbers of their drawings: the ends of all runs, two bytes, the beginnings
    of all runs, how far each is shifted, and where its numbers stand, if they are no run too.
    """
    (maps,) = struct.unpack_from(">H", data, start + 2)
    entries = (struct.unpack_from(">HHI", data, start + 4 + 8 * n) for n in range(maps))
    for platform, encoding, offset in entries:
        form, count = struct.unpack_from(">H4xH", data, start + offset)
        if (platform, encoding) == UNICODE and form == RUNS:
            at, each = start + offset + 14, f">{count // 2}H"
            ends = struct.unpack_from(each, data, at)
            begins, shifts, places = (
                struct.unpack_from(each, data, at + 2 + count * part) for part in (1, 2, 3)
            )
            found = {}
            for run, (first, last) in enumerate(zip(begins, ends, strict=True)):
                for code in range(first, last + 1):
                    number = code
                    if places[run]:
                        here = at + 2 + count * 3 + 2 * run
                        place = here + places[run] + 2 * (code - first)
                        (number,) = struct.unpack_from(">H", data, place)
                    found[chr(code)] = (number + shifts[run]) % 0x10000
            # The last run ends the map and is no letter's.
            found.pop("\uffff", None)
            return found
    return {}
