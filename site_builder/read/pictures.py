r"""
# Pictures

How large a picture is, so that the page does not jump when it arrives. Its size stands in the
first bytes of the file.
"""

from __future__ import annotations

import re
import struct

Size = tuple[int, int]

SVG = re.compile(rb"<svg\b[^<>]*>")
SIDES = [
    re.compile(rf"""\s{side}\s*=\s*["']\s*([\d.]+)(?:px)?\s*["']""") for side in ("width", "height")
]
VIEW = re.compile(r"""\sviewBox\s*=\s*["']\s*[-\d.]+[\s,]+[-\d.]+[\s,]+([\d.]+)[\s,]+([\d.]+)""")
# The segments of a JPEG that say how large it is; those left out hold tables.
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def size_of(data: bytes) -> Size | None:
    """Width and height in pixels of a PNG, JPEG, WebP or SVG; none of what says none."""
    try:
        if data.startswith(b"\x89PNG"):
            return _numbers(">II", data, 16)
        if data.startswith(b"\xff\xd8"):
            return _jpeg(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp(data)
        return _svg(data)
    except (struct.error, ValueError):
        return None


def _numbers(form: str, data: bytes, at: int) -> Size:
    first, second = struct.unpack_from(form, data, at)
    return first, second


def _jpeg(data: bytes) -> Size:
    at = 2
    while (segment := struct.unpack_from(">BBH", data, at))[1] not in FRAMES:
        if segment[0] != 0xFF:
            raise ValueError("no segment begins here")
        at += 2 + segment[2]
    height, width = _numbers(">HH", data, at + 5)
    return width, height


def _webp(data: bytes) -> Size:
    r"""
    ## WebP

    Three kinds: with loss, without, and with more than one part.
    """
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = _numbers("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    wide, high = struct.unpack_from("<3s3s", data, 24)
    return int.from_bytes(wide, "little") + 1, int.from_bytes(high, "little") + 1


def _svg(data: bytes) -> Size | None:
    found = SVG.search(data)
    root = found[0].decode(errors="replace") if found else ""
    sides = [match[1] for side in SIDES if (match := side.search(root))]
    view = VIEW.search(root)
    numbers = sides if len(sides) == 2 else list(view.groups()) if view else []
    return (round(float(numbers[0])), round(float(numbers[1]))) if numbers else None
