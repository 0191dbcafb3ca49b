r"""
# Paint

A [poster](../link/poster.py) as pixels. It takes a tenth of a second, which is as long as a page
takes, so what was painted once is kept beside the [formulas](../render/math.py).
"""

from __future__ import annotations

import contextlib
import hashlib
from typing import Any

import resvg_py

from site_builder.assets import FONTS
from site_builder.publish.keep import keep
from site_builder.render.math import cache_folder, version

# In no fonts but ours. A family that we do not have stands for another; a letter that it lacks is
# looked for in all of ours.
OPTIONS: dict[str, Any] = {
    "skip_system_fonts": True,
    "font_family": "KaTeX_SansSerif",
    "sans_serif_family": "KaTeX_SansSerif",
    "serif_family": "KaTeX_Main",
    "monospace_family": "KaTeX_Typewriter",
}


def paint(svg: str) -> bytes:
    r"""
    ## An SVG as a PNG

    The same on every machine.
    """
    # KaTeX's version is that of its fonts.
    asked = repr((resvg_py.__version__, OPTIONS, version(), [font.name for font in FONTS], svg))
    key = hashlib.sha256(asked.encode()).hexdigest()
    kept = cache_folder() / "posters" / f"{key}.png"
    with contextlib.suppress(OSError):
        return kept.read_bytes()
    painted = resvg_py.svg_to_bytes(svg, font_files=[str(font) for font in FONTS], **OPTIONS)
    keep(kept, painted)
    return painted
