r"""
# Keep

What took long to make, for the next build.
"""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path


def keep(place: Path, data: bytes) -> None:
    """Whole or not at all. Where there is no room for it, the next build makes it again."""
    aside = place.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        aside.write_bytes(data)
        os.replace(aside, place)
