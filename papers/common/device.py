r"""
---
title: Device and precision
summary: The fastest device there is, and half precision in the forward pass on request.
---

# Device and precision
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from torch import nn

from papers.common.distributed import World
from papers.common.errors import UserError
from papers.common.options import Options


def find_device(options: Options, world: World) -> torch.device:
    r"""
    ## The fastest there is

    Under `torchrun`, each process takes the card that its local rank numbers.
    """
    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if world.size > 1:
        present["mps"] = False
    name = options.device
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if present[kind])
    if not present[name]:
        raise UserError(
            f"--device {name}: there is none here; leave it out to use what there is", True
        )
    if name == "cuda":
        if world.local >= torch.cuda.device_count():
            cards = torch.cuda.device_count()
            raise UserError(f"--nproc-per-node: {cards} cards take at most {cards} processes")
        torch.cuda.set_device(world.local)
    if options.precision == "bf16" and name == "cuda" and not torch.cuda.is_bf16_supported():
        raise UserError("--precision bf16: this card has no bf16; use fp16", True)
    return torch.device(f"cuda:{world.local}" if name == "cuda" else name)


def autocast(device: torch.device, options: Options) -> AbstractContextManager[None]:
    r"""
    ## Half precision where it is safe

    Matrix products run in 16 bits, sums and norms stay in 32, and so do the weights. Half of the
    bits are half of the memory traffic, and tensor cores multiply them many times faster.
    """
    if options.precision == "fp32":
        return contextlib.nullcontext()
    dtype = torch.bfloat16 if options.precision == "bf16" else torch.float16
    return torch.autocast(device.type, dtype=dtype)


def compiled(model: nn.Module, device: torch.device) -> nn.Module:
    r"""
    ## Compiled in place

    `torch.compile(model)` would wrap the model and rename its weights. `model.compile()` leaves
    both as they are.
    """
    if device.type == "cpu" and not shutil.which(os.environ.get("CXX", "g++")):
        raise UserError("--compile on the CPU needs a C++ compiler: install g++ or set CXX", True)
    model.compile()
    return model


def use_threads(asked: int, before: int | None = None) -> None:
    r"""
    ## Threads

    The threads of a sum wait for the slowest of them, many times in each step. Where something
    else runs on one of their cores, that one comes late each time: with two threads on two busy
    cores a step can take thirty times as long as with one. So we take no more than are free, and
    a run that goes on from a checkpoint takes as many as `before`.

    The load of the last minute still counts what has ended, and the number of those that wait at
    this moment is a matter of luck: a core is busy where both say so.
    """
    if not 0 <= asked <= 1024:
        raise UserError(f"--threads {asked}: give a number from 0 to 1024", shared=True)
    if not asked and "OMP_NUM_THREADS" in os.environ:
        return
    torch.set_num_threads(asked or before or max(1, cores() - busy()))


def cores() -> int:
    # Knows what a container may use, where the system would tell of the whole machine.
    from joblib import cpu_count

    return int(cpu_count())


def busy() -> int:
    if not hasattr(os, "getloadavg"):
        return 0
    load = os.getloadavg()[0]
    with contextlib.suppress(OSError):
        running = Path("/proc/loadavg").read_text().split()[3]
        load = min(load, int(running.partition("/")[0]) - 1)
    return round(load)


def threads_in_words() -> str:
    used = torch.get_num_threads()
    return f"{used} thread" + "s" * (used > 1)


def describe(device: torch.device) -> str:
    r"""
    ## What a time was measured on
    """
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(
            (line.partition(": ")[2] for line in lines if line.startswith("model name")), name
        )
    return name if device.type == "cpu" else f"{name}, mps"
