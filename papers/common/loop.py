r"""
---
title: The loop behind the loop
summary: What happens between two steps (look, save, resume, stop), and mostly nothing.
topic: common
---

# The loop behind the loop

Between two steps almost always nothing happens, and that is the point: a GPU runs ahead of Python
as long as nobody asks it for a number. Twice a second we *look*: fetch what was logged, show it,
and decide together whether to go on.
"""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from papers.common.checkpoint import (
    Checkpoints,
    Stateful,
    bare,
    load,
    random_state,
    set_random_state,
)
from papers.common.errors import UserError
from papers.common.tracking import Progress, Tracker, number

if TYPE_CHECKING:
    from papers.common.run import Run


class Loop:
    r"""
    ## The loop

    A paper that trains in two stages has two loops, each with its own folder of checkpoints. A
    resumed run finds the first one finished, takes its weights and goes on in the second.
    """

    def __init__(self, run: Run, total: int, state: dict[str, Stateful]) -> None:
        self.run, self.total = run, total
        self.state = {name: bare(part) for name, part in state.items()}
        run.loops += 1
        folder = run.out / "checkpoints"
        self.store = Checkpoints(folder if run.loops == 1 else folder / f"loop-{run.loops}")
        self.asked_to_stop = self.saved = False

    def steps(self) -> Iterator[int]:
        r"""
        ## From step to step

        The next look is planned in steps and not in seconds, since all processes must look at the
        same step: the first one measures the rate and tells the others.
        """
        run, total, every = self.run, self.total, self.run.options.checkpoint_every
        start = self.restore() if run.options.resume else self.begin()
        progress = Progress(total, start, run.options.quiet or run.rank > 0)
        if run.tracker is None and run.rank == 0:
            run.tracker = Tracker(run.out, run.options.tensorboard, start)
        next_look, last_look, moment = start + 1, start, time.perf_counter()
        alone = run.world == 1
        try:
            with self.interruptible():
                for done in range(start + 1, total + 1):
                    run.step = run.before + done - 1
                    yield done - 1
                    due = done == total or (every > 0 and done % every == 0)
                    if done < next_look and not due and not (self.asked_to_stop and alone):
                        continue
                    now = time.perf_counter()
                    rate = (done - last_look) / max(now - moment, 1e-9)
                    last_look, moment = done, now
                    ahead, stop = self.look(progress, done, rate)
                    next_look = done + ahead
                    if due or stop:
                        self.save(done)
                    if stop and done < total:
                        progress.close()
                        run.say(f"stopped after step {done}; to go on: {run.resume_command}")
                        raise KeyboardInterrupt
        finally:
            progress.close()
            run.before += max(total, start)

    def look(self, progress: Progress, done: int, rate: float) -> tuple[int, bool]:
        r"""
        ## Looking

        A loss that is not a number has spoiled the weights, and every later step is wasted. We
        name the step at which it began.
        """
        run = self.run
        ahead = int(min(max(rate / 2, 1), 1000)) if run.rank == 0 else 0
        rows, (ahead_of_all, stops) = run.logged.gather(ahead, self.asked_to_stop)
        if run.tracker is not None:
            run.tracker.write(rows)
        latest = {name: value for _, name, value in rows}
        progress.show(done, rate, latest)
        before: dict[str, float] = {}
        for step, name, value in rows:
            if "loss" in name and not math.isfinite(value):
                self.fail(f"{name} is {value} at step {step - run.before}", before.get(name))
            before[name] = value
        return int(ahead_of_all), stops > 0

    def fail(self, what: str, before: float | None = None) -> None:
        was = "" if before is None else f" (it was {number(before)} one step earlier)"
        files = self.store.files()
        last = f"the last good checkpoint is {files[-1]}" if files else "there is no checkpoint yet"
        raise UserError(f"{what}{was}: try a smaller learning rate; {last}", shared=True)

    def save(self, done: int) -> None:
        r"""
        ## Saving

        The loss of a step is computed before its update, so it cannot tell that the update went
        wrong. The weights can, and we do not let bad ones push out a good checkpoint.
        """
        run = self.run
        for name, part in self.state.items():
            weights = list(part.parameters()) if isinstance(part, nn.Module) else []
            if weights:
                total = torch.stack([p.detach().float().abs().sum() for p in weights]).sum()
                if not total.isfinite():
                    self.fail(f"the weights of {name} are not finite after step {done - 1}")
                if not run.group.agree(total):
                    why = f"{name} differs between the processes: compute its loss by calling it"
                    raise UserError(f"{why}, so that the gradients are averaged", shared=True)
        if run.rank == 0:
            state = {
                "step": done,
                "config": run.settings(),
                "state": {name: part.state_dict() for name, part in self.state.items()},
                "random": random_state(run.device, run.generator),
                "scaler": run.scaler.state_dict(),
                "log": run.logged.state_dict(),
                "seconds": run.duration(),
            }
            path = self.store.save(done, state)
            # A state that `weights_only` refuses would look damaged on the day it is needed.
            if not self.saved and (damage := self.store.damage(path)):
                raise UserError(f"{path} cannot be read back: {damage}")
            self.saved = True

    def begin(self) -> int:
        self.run.group.from_first(self.store.put_away)
        return 0

    def restore(self) -> int:
        r"""
        ## Resuming

        Last of all comes the random state, since building the model has drawn from it. From here
        on, each number is the one that a run without a break would draw.
        """
        run = self.run
        path = run.group.from_first(lambda: self.store.newest(run.say))
        if path is None:
            run.say(f"no checkpoint in {self.store.folder}: starting at step 0")
            return 0
        saved = load(path)
        now = run.settings()
        changed = [f"{k} {v} → {now.get(k)}" for k, v in saved["config"].items() if v != now.get(k)]
        try:
            for name, part in self.state.items():
                part.load_state_dict(saved["state"][name])
        except (RuntimeError, ValueError, KeyError) as error:
            why = ", ".join(changed) or str(error)
            raise UserError(f"{path} does not fit this model: {why}"[:300], shared=True) from error
        run.scaler.load_state_dict(saved["scaler"])
        run.logged.load_state_dict(saved["log"])
        run.seconds = saved["seconds"]
        set_random_state(saved["random"], run.device, run.generator)
        run.say(f"resuming from {path}" + (f" with {', '.join(changed)}" if changed else ""))
        return int(saved["step"])

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        r"""
        ## Ctrl-C

        An interrupt in the middle of an update would leave half of the weights new. So it only
        raises a flag, and we stop where the step ends. Whoever presses twice means it.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def raise_flag(number: int, frame: FrameType | None) -> None:
            if self.asked_to_stop:
                raise KeyboardInterrupt
            self.asked_to_stop = True

        # torchrun ends the survivors of a dead process with SIGTERM: they cannot finish their
        # step and must not wait.
        signals = [signal.SIGINT] if self.run.world > 1 else [signal.SIGINT, signal.SIGTERM]
        old: dict[signal.Signals, Any] = {s: signal.signal(s, raise_flag) for s in signals}
        try:
            yield
        finally:
            for s, handler in old.items():
                signal.signal(s, handler)
