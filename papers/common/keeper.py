r"""
---
title: Saving and resuming
summary: What a checkpoint holds, and under which conditions a run goes on from it.
---

# Saving and resuming

A checkpoint holds the parts that the loop names, and the run itself, whose state is chance, the
scale of the gradients and what was logged.

It also holds the values that it was made with, and a resumed run must have the same. A learning
rate that is changed half-way gives neither the run with the old value nor the one with the new,
and an optimizer that is loaded brings the old one along without a word. Only what does not change
the result may differ: the device, the number of processes, how often we save.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from papers.common.checkpoint import Checkpoints, Stateful, bare, load
from papers.common.distributed import World
from papers.common.errors import UserError
from papers.common.flags import flag, shown
from papers.common.tracking import number


class Keeper:
    r"""
    ## The keeper

    One for each loop: it knows the folder of checkpoints and the parts that go into one.
    """

    def __init__(
        self,
        store: Checkpoints,
        parts: dict[str, Stateful],
        settings: dict[str, Any],
        world: World,
        say: Callable[[str], object],
    ) -> None:
        self.store, self.settings, self.world, self.say = store, settings, world, say
        self.parts = {name: bare(part) for name, part in parts.items()}
        self.first_rates = self.rates()
        self.saved = False

    def begin(self) -> int:
        self.world.from_first(self.store.put_away)
        return 0

    def save(self, done: int) -> None:
        r"""
        ## Saving

        The loss of a step is computed before its update, so it cannot tell that the update went
        wrong. The weights can, and we do not let bad ones push out a good checkpoint.
        """
        for name, part in self.parts.items():
            weights = list(part.parameters()) if isinstance(part, nn.Module) else []
            if weights:
                total = torch.stack([p.detach().float().abs().sum() for p in weights]).sum()
                if not total.isfinite():
                    self.fail(f"the weights of {name} are not finite after step {done - 1}")
                if not self.world.agree(total):
                    why = f"{name} differs between the processes: compute its loss by calling it"
                    raise UserError(f"{why}, so that the gradients are averaged", shared=True)
        if self.world.rank == 0:
            state = {name: part.state_dict() for name, part in self.parts.items()}
            saved = {"step": done, "settings": self.settings, "steady": self.steady()}
            path = self.store.save(done, saved | {"state": state})
            # A state that `weights_only` refuses would look damaged on the day it is needed.
            if not self.saved and (damage := self.store.damage(path)):
                raise UserError(f"{path} cannot be read back: {damage}")
            self.saved = True

    def fail(self, what: str, before: float | None = None) -> None:
        was = "" if before is None else f" (it was {number(before)} one step earlier)"
        raise UserError(f"{what}{was}: start again with a smaller learning rate", shared=True)

    def steady(self) -> bool:
        r"""
        ## May a run become longer?

        Where the learning rate has not moved, more steps are more of the same. A schedule is
        drawn for a number of steps: the beginning of a longer run would have had other rates.
        """
        scheduled = any(isinstance(part, LRScheduler) for part in self.parts.values())
        return not scheduled and self.rates() == self.first_rates

    def rates(self) -> list[float]:
        optimizers = [part for part in self.parts.values() if isinstance(part, Optimizer)]
        return [float(group["lr"]) for part in optimizers for group in part.param_groups]

    def restore(self, total: int) -> int:
        r"""
        ## Resuming

        The run comes last of the parts, with the random state: building the model has drawn from
        it. From here on, each number is the one that a run without a break would draw.
        """
        path = self.world.from_first(lambda: self.store.newest(self.say))
        if path is None:
            self.say(f"no checkpoint in {self.store.folder}: starting at step 0")
            return 0
        saved = load(path)
        self.compare(path, saved, total)
        try:
            for name, part in self.parts.items():
                part.load_state_dict(saved["state"][name])
        except (RuntimeError, ValueError, KeyError) as error:
            why = f"{path} does not fit this model: {error}"
            raise UserError(why[:300], shared=True) from error
        self.say(f"resuming from {path}")
        return int(saved["step"])

    def compare(self, path: Path, saved: dict[str, Any], total: int) -> None:
        r"""
        ## The same values
        """
        then, now = saved.get("settings", {}), self.settings
        if then.get("paper") != now["paper"]:
            whose = then.get("paper", "an older version of this program")
            raise UserError(f"{path} was made by {whose}: give another --out", shared=True)
        if saved["steady"] and saved["step"] <= total:
            then = then | {"steps": now.get("steps")}
        changed = [
            f"{flag(name)} {shown(then.get(name))}, not {shown(now.get(name))}"
            for name in then | now
            if then.get(name) != now.get(name)
        ]
        if changed:
            why = f"{path} was made with {'; '.join(changed)}"
            how = "--resume goes on with the same values, another --out starts afresh"
            raise UserError(f"{why}: {how}", shared=True)
