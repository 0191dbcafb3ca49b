r"""
# Paint

A [poster](../link/poster.py) as pixels. It takes a tenth of a second, which is as long as a page
takes, so what was painted once is kept beside the [formulas](../render/math.py).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from site_builder.assets import FONTS
from site_builder.render.math import cache_folder


def paint(svg: str) -> bytes:
    r"""
    ## An SVG as a PNG

    In no font but ours: another machine would make another picture.
    """
    # Only builds that paint pay for the import.
    import resvg_py

    key = hashlib.sha256(f"{resvg_py.__version__}\0{svg}".encode()).hexdigest()
    kept = cache_folder() / "posters" / f"{key}.png"
    with contextlib.suppress(OSError):
        return kept.read_bytes()
    painted = resvg_py.svg_to_bytes(
        svg,
        skip_system_fonts=True,
        font_files=[str(font) for font in FONTS],
        # What a family that we do not have stands for; letters are looked for in all of ours.
        font_family="KaTeX_SansSerif",
        sans_serif_family="KaTeX_SansSerif",
        serif_family="KaTeX_Main",
        monospace_family="KaTeX_Typewriter",
    )
    _keep(kept, painted)
    return painted


def _keep(place: Path, data: bytes) -> None:
    """Where there is no room for it, the next build paints again."""
    aside = place.with_suffix(f".{os.getpid()}")
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        aside.write_bytes(data)
        os.replace(aside, place)
