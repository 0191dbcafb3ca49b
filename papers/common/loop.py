r"""
---
title: The loop behind the loop
summary: What happens between two steps (look, save, stop), and mostly nothing.
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
from typing import Any

from papers.common.distributed import World
from papers.common.keeper import Keeper
from papers.common.log import Log
from papers.common.tracking import Progress, Tracker


class Stopped(KeyboardInterrupt):
    r"""
    ## Stopped

    By a person, between two steps, with a checkpoint saved.
    """

    def __init__(self, step: int) -> None:
        super().__init__(step)
        self.step = step


class Loop:
    r"""
    ## The loop
    """

    def __init__(
        self,
        total: int,
        start: int,
        every: int,
        keeper: Keeper,
        log: Log,
        progress: Progress,
        tracker: Tracker | None,
    ) -> None:
        self.total, self.start, self.every = total, start, every
        self.keeper, self.log, self.progress, self.tracker = keeper, log, progress, tracker
        self.world: World = log.world
        self.asked_to_stop = False

    def steps(self) -> Iterator[int]:
        r"""
        ## From step to step

        The next look is planned in steps and not in seconds, since all processes must look at the
        same step: the first one measures the rate and tells the others.
        """
        total, every, alone = self.total, self.every, self.world.size == 1
        next_look, last_look, moment = self.start + 1, self.start, time.perf_counter()
        try:
            with self.interruptible():
                for done in range(self.start + 1, total + 1):
                    self.log.step = self.log.before + done - 1
                    yield done - 1
                    due = done == total or (every > 0 and done % every == 0)
                    if done < next_look and not due and not (self.asked_to_stop and alone):
                        continue
                    now = time.perf_counter()
                    rate = (done - last_look) / max(now - moment, 1e-9)
                    last_look, moment = done, now
                    ahead, stop = self.look(done, rate)
                    next_look = done + ahead
                    if due or stop:
                        self.keeper.save(done)
                    if stop and done < total:
                        raise Stopped(done)
        finally:
            self.progress.close()
            self.log.before += max(total, self.start)

    def look(self, done: int, rate: float) -> tuple[int, bool]:
        r"""
        ## Looking

        A loss that is not a number has spoiled the weights, and every later step is wasted. We
        name the step at which it began.
        """
        ahead = int(min(max(rate / 2, 1), 1000)) if self.world.rank == 0 else 0
        rows, (ahead_of_all, stops) = self.log.gather(ahead, self.asked_to_stop)
        if self.tracker is not None:
            self.tracker.write(rows)
        self.progress.show(done, rate, {name: value for _, name, value in rows})
        before: dict[str, float] = {}
        for step, name, value in rows:
            if "loss" in name and not math.isfinite(value):
                what = f"{name} is {value} at step {step - self.log.before}"
                self.keeper.fail(what, before.get(name))
            before[name] = value
        return int(ahead_of_all), stops > 0

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
        signals = [signal.SIGINT] if self.world.size > 1 else [signal.SIGINT, signal.SIGTERM]
        old: dict[signal.Signals, Any] = {s: signal.signal(s, raise_flag) for s in signals}
        try:
            yield
        finally:
            for s, handler in old.items():
                signal.signal(s, handler)
