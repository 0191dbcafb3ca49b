r"""
---
title: Judging
summary: What follows the training, in batches that fit the memory, with progress.
---

# Judging

A model may train for seconds and be judged for minutes, on ten thousand images in place of a batch.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from papers.common.tracking import Progress

if TYPE_CHECKING:
    from papers.common.run import Run


@torch.no_grad()
def in_batches(
    run: Run, unit: str, function: Callable[..., Tensor], *tensors: Tensor, size: int = 250
) -> Tensor:
    r"""
    ## In batches

    Calls `function` with `size` rows of each tensor at a time, on the device, and returns all that
    it gave, joined, where the first tensor lies. Until then it is kept in the computer's memory.
    What takes over five seconds shows how far it is.

    The last checkpoint holds all that the training has found, so Ctrl-C loses nothing here, and
    the run says how to be judged after all.
    """
    rows, began = len(tensors[0]), time.perf_counter()
    progress = Progress(rows, 0, run.options.quiet or run.rank > 0, unit, delay=5)
    parts = []
    try:
        for start in range(0, rows, size):
            parts.append(function(*(t[start : start + size].to(run.device) for t in tensors)).cpu())
            done, seconds = min(start + size, rows), time.perf_counter() - began
            progress.show(done, done / seconds, {})
    except KeyboardInterrupt:
        progress.close()
        run.say(f"stopped after the training; for its results: {run.resume_command}")
        raise
    progress.close()
    return torch.cat(parts).to(tensors[0].device)
