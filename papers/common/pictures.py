r"""
---
title: Pictures
summary: A tensor of pixels becomes a PNG file.
---

# Pictures
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from papers.common.checkpoint import write_whole


def write_picture(path: Path, pixels: Tensor) -> None:
    r"""
    ## From 0 to 1

    Grey as `(H, W)` or `(1, H, W)`, colour as `(3, H, W)`. What a network drew may lie a little
    outside of the range, and is cut to it.
    """
    from PIL import Image

    levels = pixels.detach().float().cpu().clamp(0, 1).mul(255).round().byte()
    if levels.dim() == 3:
        levels = levels[0] if len(levels) == 1 else levels.movedim(0, -1)
    picture = Image.fromarray(levels.numpy())
    write_whole(path, lambda file: picture.save(file, "PNG"))
