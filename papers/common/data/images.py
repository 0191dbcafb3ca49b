r"""
---
title: Images
summary: Pictures and their classes as tensors.
topic: common
---

# Images

One rule holds for every set: `images` are 32-bit floats in $[0, 1]$ and `labels` are
64-bit integers. Grey images are `(N, H, W)` and colour images `(N, C, H, W)`.

| size | meaning | size | meaning |
|------|---------|------|---------|
| `N` | images | `C` | channels |
| `H` | height | `W` | width |
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Images:
    r"""
    ## A set of images

    The two tensors go together row by row.
    """

    images: Tensor
    labels: Tensor


def digits() -> Images:
    r"""
    ## Digits

    1797 hand-written digits of 8 by 8 pixels with 17 levels of grey come inside
    scikit-learn. They are the default of every paper here that sees: they need no
    download and train in seconds.
    """
    # Imported here, because scikit-learn takes longer to import than the digits to
    # read.
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.tensor(bunch.images, dtype=torch.float32) / 16  # (N, 8, 8)
    return Images(images, torch.tensor(bunch.target, dtype=torch.long))
