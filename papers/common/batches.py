r"""
---
title: Batches as a function of the step
summary: Which rows a step trains on follows from seed and step, so nothing needs saving.
---

# Batches as a function of the step

A loader that remembers where it was has to be saved, restored and kept in step over processes. A
function of the seed and the step has nothing to remember: step 700 takes the same rows whether we
come from step 699, from a checkpoint or in eight processes.

The data live on the device when they fit, as the small sets of most papers do, and a batch is one
gather.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from papers.common.distributed import World
from papers.common.errors import UserError


def generator(*key: int) -> torch.Generator:
    r"""
    ## A generator for each key

    Neighbouring seeds must not give related streams, so we hash the key (seed, stream, epoch).
    """
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


def settle(tensor: Tensor, device: torch.device) -> Tensor:
    r"""
    ## On the device if it fits

    A quarter of the free memory is the most that data may take. A larger set stays in the
    computer's memory, and each batch is copied over.
    """
    if device.type == "cuda" and tensor.nbytes > torch.cuda.mem_get_info(device)[0] // 4:
        return tensor.cpu()
    return tensor.to(device)


class Batches:
    r"""
    ## Epochs without replacement

    We lay one permutation of the rows for each epoch end to end and cut the endless row of
    numbers into batches. Each row is seen exactly once in an epoch, and none is dropped where the
    size does not divide: such a batch takes the end of one epoch and the start of the next.
    """

    def __init__(
        self, tensors: tuple[Tensor, ...], size: int, device: torch.device, world: World, *key: int
    ) -> None:
        if not tensors or any(len(t) != len(tensors[0]) for t in tensors) or not len(tensors[0]):
            raise UserError(
                "batches: the tensors must have the same number of rows, and at least one"
            )
        self.tensors = [settle(t, device) for t in tensors]
        self.size, self.device, self.key = size, device, key
        self.mine = world.rows(size)
        self.orders: dict[int, Tensor] = {}

    def __len__(self) -> int:
        r"""The steps that an epoch takes, rounded up."""
        return -(-len(self.tensors[0]) // self.size)

    def order(self, epoch: int) -> Tensor:
        if epoch not in self.orders:
            # A batch may need the end of the epoch before this one, and nothing older.
            self.orders = {e: self.orders[e] for e in self.orders if abs(e - epoch) == 1}
            order = torch.randperm(len(self.tensors[0]), generator=generator(*self.key, epoch))
            self.orders[epoch] = order.to(self.tensors[0].device)
        return self.orders[epoch]

    def __getitem__(self, step: int) -> tuple[Tensor, ...]:
        rows = len(self.tensors[0])
        start, stop = step * self.size + self.mine.start, step * self.size + self.mine.stop
        parts = [
            self.order(epoch)[max(start - epoch * rows, 0) : stop - epoch * rows]
            for epoch in range(start // rows, (stop - 1) // rows + 1)
        ]
        picked = parts[0] if len(parts) == 1 else torch.cat(parts)
        # Several times as fast as `t[picked]` on rows as long as an image.
        chosen = (t.index_select(0, picked) for t in self.tensors)
        return tuple(t.to(self.device, non_blocking=True) for t in chosen)


class Windows:
    r"""
    ## Windows on a long text

    A language model trains on stretches of `length` tokens which start anywhere. The targets are
    the same stretch one token on.
    """

    def __init__(
        self, tokens: Tensor, length: int, size: int, device: torch.device, world: World, *key: int
    ) -> None:
        if len(tokens) <= length:
            raise UserError(
                f"windows: {len(tokens)} tokens are too few for windows of {length} + 1"
            )
        self.tokens = settle(tokens, device)
        self.size, self.device, self.key = size, device, key
        self.mine = world.rows(size)
        self.within = torch.arange(length + 1, device=self.tokens.device)

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        last = len(self.tokens) - len(self.within) + 1
        starts = torch.randint(last, (self.size,), generator=generator(*self.key, step))[self.mine]
        starts = starts.to(self.tokens.device, non_blocking=True)  # (B,)
        index = starts[:, None] + self.within  # (B, T + 1)
        window = self.tokens[index].to(self.device, non_blocking=True).long()  # (B, T + 1)
        return window[:, :-1], window[:, 1:]
