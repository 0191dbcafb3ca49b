"""What the tests of papers begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from papers.common import Options


def randn(*shape: int) -> Tensor:
    """Normal numbers in float64."""
    return torch.randn(*shape, dtype=torch.float64)


def quiet(folder: Path, **more: Any) -> Options:
    """A run that says nothing, keeps nothing and ends in `folder`."""
    return Options(device="cpu", out=folder, quiet=True, checkpoint_every=0, **more)
