r"""
---
title: Many processes
summary: Data parallel training under torchrun, one process for each slice of the batch.
---

# Many processes

`torchrun --nproc-per-node 4 papers/<topic>/<paper>.py` starts the same file four times. Each
process holds all of the weights and a quarter of the batch, and the gradients are averaged before
the step. The mean of the slices' means is the mean of the batch, as long as the slices are of
equal size, so we insist on that and get the losses of one process.

All processes draw the *same* random numbers: a paper that draws noise for the whole batch takes
its own rows of it with `run.share`, and the state of one generator, saved once, resumes any
number of processes. The price is that dropout repeats its mask from slice to slice.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from papers.common.errors import UserError

T = TypeVar("T")


class Parallel(DistributedDataParallel):
    r"""
    ## A wrapper that is not in the way

    PyTorch's wrapper hides what the model defines besides `forward`. We pass such names through,
    so that `model.generate(...)` works in one process and in many.
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("module"), name)


class World:
    r"""
    ## The world

    `torchrun` tells each process its rank and the size of the world through the environment.
    Without it we are alone, and everything below costs nothing.
    """

    def __init__(self) -> None:
        self.rank = int(os.environ.get("RANK", "0"))
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self.local = int(os.environ.get("LOCAL_RANK", "0"))

    def join(self, device: torch.device) -> None:
        r"""
        ## Meeting the others

        A process that waits for another longer than five minutes (or `PAPERS_TIMEOUT` seconds)
        ends with an error, so a lost one never means a silent wait for ever.
        """
        if self.size > 1 and not joined():
            limit = timedelta(seconds=float(os.environ.get("PAPERS_TIMEOUT", "300")))
            backend = "nccl" if device.type == "cuda" else "gloo"
            dist.init_process_group(backend, timeout=limit)

    def parallel(self, model: nn.Module) -> nn.Module:
        return model if self.size == 1 else Parallel(model)

    def rows(self, total: int) -> slice:
        r"""
        ## Our slice of the batch

        Contiguous, so that the slices laid end to end are the batch of one process.
        """
        if total % self.size:
            raise UserError(
                f"a batch of {total} rows does not divide by {self.size} processes: "
                f"choose a multiple of {self.size}",
                shared=True,
            )
        share = total // self.size
        return slice(self.rank * share, (self.rank + 1) * share)

    def total(self, vector: Tensor) -> Tensor:
        if self.size > 1 and len(vector):
            dist.all_reduce(vector)
        return vector

    def agree(self, value: Tensor) -> bool:
        r"""
        ## Are we still the same?

        A loss that goes past the wrapper averages no gradients, and the processes drift apart
        without an error. Comparing one number from each finds that out.
        """
        if self.size == 1:
            return True
        bounds = torch.stack([value, -value])
        dist.all_reduce(bounds, dist.ReduceOp.MAX)
        return bool(bounds[0] == -bounds[1])

    def from_first(self, ask: Callable[[], T]) -> T:
        r"""
        ## What only the first process may do

        It alone touches the folder; the others get its answer, or the error it met.
        """
        if self.size == 1:
            return ask()
        answer: list[Any] = [None, None]
        if self.rank == 0:
            try:
                answer[0] = ask()
            except UserError as error:
                answer[1] = str(error)
        dist.broadcast_object_list(answer)
        if answer[1] is not None:
            raise UserError(answer[1], shared=True)
        return cast(T, answer[0])


def joined() -> bool:
    return dist.is_initialized()


def leave() -> None:
    r"""
    ## Leaving together

    Only when all went well: the connections of a broken group can block whoever closes them.
    """
    if joined():
        dist.destroy_process_group()


def broken_group(error: Exception) -> str | None:
    r"""
    ## When they lose each other

    Some never meet, where a machine cannot reach its own address. Others notice in the middle of
    a sum that one has died: the connection is closed, or the time limit passes. The libraries
    below say so in many words, each its own.
    """
    words = str(error).lower()
    ours = isinstance(error, dist.DistError) or "gloo" in words or "nccl" in words
    if ours and any(name in words for name in ("unable to find", "connect to", "getaddrinfo")):
        where = os.environ.get("MASTER_ADDR", "this machine")
        why = "is its loopback interface up, and did all of them start?"
        return f"the processes of this run cannot reach each other at {where}: {why}"
    if ours or "connection closed" in words:
        return "another process of this run ended; its own message says why, and --resume goes on"
    return None
