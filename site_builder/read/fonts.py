r"""
# Fonts

What is drawn while a site is built has only the letters that come with us: those of KaTeX's fonts.
Which those are stands in each font's character map.
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


def _of(font: Path) -> frozenset[str]:
    r"""
    ## Of one font

    A font is a directory of tables. One of them holds the map: the ends of all runs, two bytes, the
    beginnings of all runs.
    """
    data = font.read_bytes()
    (tables,) = struct.unpack_from(">H", data, 4)
    directory = (struct.unpack_from(">4s4xI", data, 12 + 16 * n) for n in range(tables))
    start = next(place for tag, place in directory if tag == b"cmap")
    (maps,) = struct.unpack_from(">H", data, start + 2)
    entries = (struct.unpack_from(">HHI", data, start + 4 + 8 * n) for n in range(maps))
    for platform, encoding, offset in entries:
        form, count = struct.unpack_from(">H4xH", data, start + offset)
        if (platform, encoding) == UNICODE and form == RUNS:
            at, each = start + offset + 14, f">{count // 2}H"
            ends = struct.unpack_from(each, data, at)
            begins = struct.unpack_from(each, data, at + count + 2)
            runs = zip(begins, ends, strict=True)
            # The last run ends the map and is no letter's.
            return frozenset(chr(n) for a, b in runs for n in range(a, b + 1) if n < 0xFFFF)
    return frozenset()
