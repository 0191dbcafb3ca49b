r"""
---
title: What is logged
summary: Values wait on the device until somebody looks, so logging costs no synchronisation.
---

# What is logged

To read one number from a GPU, Python must wait until everything before it is done. So
`run.log(loss=loss)` only keeps the tensor, and twice a second we fetch all that have gathered in
one copy.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from papers.common.distributed import World


class Series:
    r"""
    ## A curve of at most 200 points

    A long run logs millions of values and a figure shows a few hundred. We keep the means of
    stretches of equal length, and where they become too many, we join neighbours. What results
    depends on the values alone, not on when we looked.
    """

    limit = 200

    def __init__(self) -> None:
        self.stretch = 1
        self.points: list[tuple[float, float]] = []
        self.open: tuple[int, float, float] = (0, 0.0, 0.0)

    def add(self, step: float, value: float) -> None:
        count, steps, values = self.open
        count, steps, values = count + 1, steps + step, values + value
        if count < self.stretch:
            self.open = (count, steps, values)
            return
        self.points.append((steps / count, values / count))
        self.open = (0, 0.0, 0.0)
        if len(self.points) == self.limit:
            pairs = zip(self.points[::2], self.points[1::2], strict=True)
            self.points = [((a + b) / 2, (v + w) / 2) for (a, v), (b, w) in pairs]
            self.stretch *= 2

    def curve(self) -> dict[str, list[float | None]]:
        r"""The points, and the mean of the stretch that is not full yet."""
        count, steps, values = self.open
        points = self.points + ([(steps / count, values / count)] if count else [])
        return {
            "steps": [step for step, _ in points],
            "values": [value if math.isfinite(value) else None for _, value in points],
        }


class Log:
    r"""
    ## The log

    `step` is the one that values belong to, counted over all loops of the run; `before` is how
    many steps the loops before this one took.
    """

    def __init__(self, world: World, device: torch.device) -> None:
        self.world, self.device = world, device
        self.step = self.before = 0
        self.waiting: list[tuple[int, str, float | Tensor]] = []
        self.series: dict[str, Series] = {}

    def add(self, values: dict[str, float | Tensor]) -> None:
        for name, value in values.items():
            if not isinstance(value, Tensor):
                kept: float | Tensor = float(value)
            elif value.grad_fn is None:
                # A weight, say: its value now, and not what it will have become when we look.
                kept = value.detach().clone()
            else:
                kept = value.detach()
            self.waiting.append((self.step, name, kept))

    def gather(self, *more: float) -> tuple[list[tuple[int, str, float]], list[float]]:
        r"""
        ## One copy for all

        Each process logs the mean over its own slice, and the mean of these is the batch's. What
        else the processes must agree on, `more`, travels in the same sum.
        """
        waiting, self.waiting = self.waiting, []
        tensors = [v.reshape(()).float() for _, _, v in waiting if isinstance(v, Tensor)]
        plain = [v for _, _, v in waiting if not isinstance(v, Tensor)] + list(more)
        fetched = torch.stack(tensors) if tensors else torch.empty(0, device=self.device)
        if self.world.size > 1:
            everything = torch.cat(
                [fetched.double(), torch.tensor(plain, dtype=torch.float64).to(self.device)]
            )
            both = self.world.total(everything).tolist()
            fetched_list, plain = both[: len(tensors)], both[len(tensors) :]
        else:
            fetched_list = fetched.tolist()
        floats, numbers = iter(fetched_list), iter(plain)
        rows = [
            (step, name, next(floats if isinstance(v, Tensor) else numbers) / self.world.size)
            for step, name, v in waiting
        ]
        for step, name, value in rows:
            self.series.setdefault(name, Series()).add(step, value)
        return rows, list(numbers)

    def state_dict(self) -> dict[str, Any]:
        return {name: dict(vars(series)) for name, series in self.series.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name, state in state_dict.items():
            self.series[name] = Series()
            vars(self.series[name]).update(state)
