r"""
# Keep

What took long to make, for the next build.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from site_builder.whole import write_whole


def keep(place: Path, data: bytes) -> None:
    """Where there is no room for it, the next build makes it again."""
    with contextlib.suppress(OSError):
        write_whole(place, data)
