r"""
---
title: Ink
summary: Drawings that are steps of a pen, as lines, as pixels and as a file that any browser draws.
---

# Ink

A step of a drawing has [five numbers](../../variational/sketch_rnn.py#five-numbers-a-step): how far
the pen moves, and whether it then stays on the paper, is lifted, or has drawn all.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `T` | steps of a drawing | `L` | lines of a drawing |
| `S` | side of a picture | `B` | drawings |
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# The pen is down at the origin, where every drawing begins.
FIRST = (0.0, 0.0, 1.0, 0.0, 0.0)
# And what follows the last point.
END = (0.0, 0.0, 0.0, 0.0, 1.0)


def lines(x: Tensor) -> tuple[Tensor, Tensor]:
    r"""
    ## From steps to lines

    Of one drawing, where its lines start and end. A line is drawn if the pen was down before and
    the drawing is not over.
    """
    points = F.pad(x[:, :2].cumsum(0), (0, 0, 1, 0))  # (T+1, 2)
    down = torch.cat([x.new_tensor(FIRST)[None], x[:-1]])[:, 2] * (1 - x[:, 4]) == 1  # (T,)
    return points[:-1][down], points[1:][down]  # (L, 2), (L, 2)


def picture(x: Tensor, S: int = 56) -> Tensor:
    r"""
    ## As pixels

    White paper, and ink where a line is less than a pixel and a half away, paler at its edge. The
    drawing is as large as fits.
    """
    start, end = lines(x.cpu())
    if not len(start):
        return torch.ones(S, S)
    both = torch.cat([start, end])
    low, high = both.amin(0), both.amax(0)  # (2,), (2,)
    scale = (S - 8) / (high - low).amax().clamp_min(1e-6)
    start, end = ((each - (low + high) / 2) * scale + (S - 1) / 2 for each in (start, end))
    side = torch.arange(S, dtype=x.dtype)
    pixels = torch.cartesian_prod(side, side).flip(1)[:, None]  # (S*S, 1, 2)
    way = end - start  # (L, 2)
    along = ((pixels - start) * way).sum(2) / way.square().sum(1).clamp_min(1e-6)
    foot = start + along.clamp(0, 1)[..., None] * way  # (S*S, L, 2)
    away = (pixels - foot).norm(dim=2).amin(1)  # (S*S,)
    return 1 - (1.5 - away).clamp(0, 1).view(S, S)


def small(x: Tensor) -> Tensor:
    """Of 16 by 16 pixels, to be compared."""
    large = torch.stack([picture(each, 48) for each in x])  # (B, 48, 48)
    return F.avg_pool2d(large[:, None], 3).flatten(1)  # (B, 256)


def svg(x: Tensor) -> str:
    r"""
    ## As a file

    Lines have no pixels, and a file of paths can be drawn at any size.
    """
    start, end = lines(x.cpu())
    both = torch.cat([start, end, start.new_zeros(1, 2)])
    (left, top), (wide, high) = both.amin(0).tolist(), (both.amax(0) - both.amin(0)).tolist()
    edge = 0.05 * (max(wide, high) or 1.0)
    box = [left - edge, top - edge, wide + 2 * edge, high + 2 * edge]
    pairs = torch.cat([start, end], 1).tolist()
    d = " ".join("M{:.3f} {:.3f}L{:.3f} {:.3f}".format(*pair) for pair in pairs)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{" ".join(f"{n:.3f}" for n in box)}">'
        f'<path fill="none" stroke="black" stroke-linecap="round" stroke-width="{edge / 2:.3f}" '
        f'd="{d}"/></svg>\n'
    )
