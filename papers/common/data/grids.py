r"""
---
title: Image grids
summary: Many small images on one sheet, to look at what a model makes.
---

# Image grids

A number says how far a generative model is from its data, and only a look says in which
way. We lay a batch of images on one sheet.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `N` | images | `C` | channels, 1 or 3 |
| `H` | height | `W` | width |
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def grid(images: Tensor, columns: int | None = None, gap: int = 1) -> Tensor:
    r"""
    ## One sheet

    Images run in reading order: row by row. Without `columns` the sheet is as close to
    a square as the number of images allows. Values outside $[0, 1]$ are clipped rather
    than rescaled: a sample that is too bright should look too bright. Gaps and unused
    places are mid-grey, so that they differ from both the black and the white of a
    digit.
    """
    # Grey images may come without their channel, as data sets hold them.
    if images.dim() == 3:
        images = images.unsqueeze(1)
    if images.dim() != 4 or images.shape[0] == 0 or images.shape[1] not in (1, 3):
        raise ValueError(f"a grid takes (N, C, H, W) with C of 1 or 3, not {tuple(images.shape)}")
    N, C, H, W = images.shape
    columns = min(N, columns) if columns else -int(-(N**0.5) // 1)
    rows = -(-N // columns)
    tiles = images.detach().float().cpu().clamp(0, 1)
    tiles = F.pad(tiles, (0, gap, 0, gap), value=0.5)
    blank = torch.full((rows * columns - N, *tiles.shape[1:]), 0.5)
    tiles = torch.cat([tiles, blank]).view(rows, columns, C, H + gap, W + gap)
    sheet = tiles.permute(2, 0, 3, 1, 4).reshape(C, rows * (H + gap), columns * (W + gap))
    # Each tile carries the gap to its right and below: the sheet needs it above and to
    # the left too.
    return F.pad(sheet, (gap, 0, gap, 0), value=0.5)


def enlarged(images: Tensor, side: int = 48) -> Tensor:
    r"""
    ## Pixels one can see

    A digit of 8 by 8 pixels is a speck on today's screens. Each pixel becomes a square of pixels,
    so that the longer side of an image has `side` of them or a few more. Larger images stay.
    """
    factor = -(-side // max(images.shape[-2:]))
    return images.repeat_interleave(factor, -2).repeat_interleave(factor, -1)
