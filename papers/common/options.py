r"""
---
title: Options common to every run
summary: Where a paper trains, in which precision, from which seed and into which folder.
---

# Options common to every run

The paper's `Config` says *what* is trained. These options say *how*, they mean the same in every
file, and none of them changes the algorithm.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Options:
    r"""## The options"""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    "cpu, cuda, mps; auto takes the fastest there is"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    "fp32, bf16, fp16 of the forward pass"
    threads: int = 0
    "of the CPU; 0 takes as many as cores are free"
    compile: bool = False
    "compile the model with torch.compile"
    seed: int = 0
    "of weights, data order and noise"
    out: Path | None = None
    "folder to write (None: runs/<topic>/<paper>)"
    resume: bool = False
    "go on from the last checkpoint, with the same values"
    checkpoint_every: int = 200
    "steps; 0 saves at the end only"
    data: str = ""
    "name of a data set instead of the bundled one"
    tensorboard: bool = False
    "also write TensorBoard files"
    quiet: bool = False
    "print nothing"
