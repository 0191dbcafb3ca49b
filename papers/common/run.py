r"""
---
title: The run
summary: One object that gives a training loop device, data order, checkpoints and record.
---

# The run

A training loop is short. What grows around it (devices, precision, checkpoints, progress, many
processes) is the same for every paper, and none of it is about the paper. The run holds it, and
the loop calls it by name. It is no base class and knows nothing of the model: remove its calls,
and a plain PyTorch loop is left.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import platform
import random
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from filelock import BaseFileLock
from torch import Tensor, nn

from papers.common.batches import Batches, Windows
from papers.common.checkpoint import (
    Checkpoints,
    Stateful,
    random_state,
    set_random_state,
    write_whole,
)
from papers.common.device import (
    autocast,
    compiled,
    describe,
    find_device,
    threads_in_words,
    use_threads,
)
from papers.common.distributed import World
from papers.common.flags import call, command_line
from papers.common.folder import take
from papers.common.keeper import Keeper
from papers.common.limits import chance, check
from papers.common.log import Log
from papers.common.loop import Loop, Stopped
from papers.common.options import Options
from papers.common.pace import rate_on_record
from papers.common.pictures import write_picture
from papers.common.tracking import Progress, Tracker, clock, number

# The options that say where a run writes and not what it does: no part of the result.
WHERE = ("out", "resume", "quiet", "tensorboard")

M = TypeVar("M", bound=nn.Module)


class Run:
    r"""
    ## The run

    `Run(config, options)` [checks](limits.py) the values, seeds every source of chance, finds the
    device and names the folder: `runs/<topic>/<paper>`, after the file that defines the class of
    `config`.
    """

    def __init__(self, config: Any, options: Options | None = None) -> None:
        check(config)
        self.config, self.options = config, options or Options()
        seed = self.options.seed
        self.generator = chance(seed)
        self.group = World()
        self.rank, self.world = self.group.rank, self.group.size
        self.device = find_device(self.options, self.group)
        use_threads(self.options.threads)
        self.group.join(self.device)
        file = getattr(sys.modules.get(type(config).__module__), "__file__", None)
        self.script = Path(file or "interactive/run.py").resolve()
        self.name = f"{self.script.parent.name}/{self.script.stem}"
        self.out = self.options.out or Path("runs") / self.name
        self.lock: BaseFileLock | None = None
        self.group.from_first(self.take_folder)
        self.command = command_line(os.path.relpath(self.script), config, self.options, self.world)
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        scaled = self.options.precision == "fp16"
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=scaled)
        self.logged = Log(self.group, self.device)
        self.tracker: Tracker | None = None
        self.said: dict[str, str] = {}
        self.images: dict[str, str] = {}
        self.loops = self.streams = 0
        self.seconds, self.began = 0.0, time.perf_counter()

    def take_folder(self) -> None:
        self.lock = take(self.out)

    def say(self, line: str) -> None:
        if self.rank == 0 and not self.options.quiet:
            print(line, file=sys.stderr, flush=True)

    def duration(self) -> float:
        return self.seconds + time.perf_counter() - self.began

    def settings(self) -> dict[str, Any]:
        r"""
        ## What makes it this run

        And no other: a checkpoint made with other values is not its own.
        """
        options = {name: getattr(self.options, name) for name in ("seed", "precision", "data")}
        return {"paper": self.name} | options | plain(self.config)

    @property
    def resume_command(self) -> str:
        """A call for those who called, in a notebook say, and a command for those who typed one."""
        main = getattr(sys.modules["__main__"], "__file__", None)
        if main is None or Path(main).resolve() != self.script:
            return call(self.config, dataclasses.replace(self.options, resume=True))
        return f"{self.command} --resume"

    def batches(self, *tensors: Tensor, size: int) -> Batches:
        r"""
        ## Data

        `batches[step]` is a tuple of this process's rows of each tensor, on the device.
        """
        self.streams += 1
        return Batches(tensors, size, self.device, self.group, self.options.seed, self.streams)

    def windows(self, tokens: Tensor, length: int, size: int) -> Windows:
        self.streams += 1
        return Windows(
            tokens, length, size, self.device, self.group, self.options.seed, self.streams
        )

    def share(self, tensor: Tensor) -> Tensor:
        r"""
        ## Our rows of what was drawn for all

        Noise drawn for the whole batch is the same in every process, and each takes the rows that
        belong to its data.
        """
        return tensor[self.group.rows(len(tensor))]

    def prepare(self, model: M) -> M:
        r"""
        ## The model, made ready

        On the device, compiled if asked, wrapped if there are many processes: call it, and the
        gradients come out right.
        """
        ready: nn.Module = self.group.parallel(model.to(self.device))
        if self.options.compile:
            ready = compiled(ready, self.device)
        return ready  # type: ignore[return-value]

    def autocast(self) -> AbstractContextManager[None]:
        return autocast(self.device, self.options)

    def backward(self, loss: Tensor) -> None:
        r"""
        ## Backward and update

        In fp16 small gradients round to zero. So the loss is multiplied before the backward pass
        and the gradients are divided before they are clipped. A step whose gradients overflowed
        is left out, and to find that out we wait for the device. In fp32 and bf16 the scaler does
        nothing, and nobody waits.

        PyTorch's optimizers already update all weights on a GPU in a few kernels (`foreach`);
        `fused=True` makes it one, which pays off for many small weights.
        """
        self.scaler.scale(loss).backward()

    def update(self, optimizer: torch.optim.Optimizer, clip: float | None = None) -> None:
        if clip is not None:
            self.scaler.unscale_(optimizer)
            weights = [p for group in optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(weights, clip)
        self.scaler.step(optimizer)
        self.scaler.update()

    def log(self, **values: float | Tensor) -> None:
        self.logged.add(values)

    def steps(self, total: int, **parts: Stateful) -> Iterator[int]:
        r"""
        ## The loop

        Yields `0 … total-1`, from where the last checkpoint left off when resuming. `parts` names
        what a checkpoint must [hold](keeper.py) besides the state of the run: model, optimizer,
        schedule, averaged weights, whatever has `state_dict`. The [loop](loop.py) does the rest.

        A paper that trains in two stages has two loops, each with its own folder of checkpoints. A
        resumed run finds the first one finished, takes its weights and goes on in the second.
        """
        self.loops += 1
        folder = self.out / "checkpoints"
        store = Checkpoints(folder if self.loops == 1 else folder / f"loop-{self.loops}")
        keeper = Keeper(store, parts | {"run": self}, self.settings(), self.group, self.say)
        start = keeper.restore(total) if self.options.resume else keeper.begin()
        if self.loops == 1:
            self.say(f"{self.name} on {describe(self.device)}, {threads_in_words()}")
        if self.tracker is None and self.rank == 0:
            self.tracker = Tracker(self.out, self.options.tensorboard, start)
        recorded = rate_on_record(self.script, self.config, self.options)
        quiet = self.options.quiet or self.rank > 0
        progress = Progress(total, start, quiet, recorded=recorded)
        every = self.options.checkpoint_every
        loop = Loop(total, start, every, keeper, self.logged, progress, self.tracker)
        try:
            yield from loop.steps()
        except Stopped as end:
            self.say(f"stopped after step {end.step}; to go on: {self.resume_command}")
            raise

    def state_dict(self) -> dict[str, Any]:
        r"""
        ## The run has a state too

        What it draws from, how far it scales gradients, what was logged and how long it took.
        """
        return {
            "random": random_state(self.device, self.generator),
            "scaler": self.scaler.state_dict(),
            "log": self.logged.state_dict(),
            "seconds": self.duration(),
            "threads": torch.get_num_threads(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.scaler.load_state_dict(state_dict["scaler"])
        self.logged.load_state_dict(state_dict["log"])
        self.seconds = state_dict["seconds"]
        # Another number of threads adds up in another order.
        use_threads(self.options.threads, state_dict["threads"])
        set_random_state(state_dict["random"], self.device, self.generator)

    def show(self, name: str, what: str | Tensor) -> None:
        r"""
        ## What a run shows

        A number says how well, and seldom what. `run.show("continuation", text)` prints the text
        and keeps it in `result.json` as `said: {name: text}`. `run.show("samples", grid)` takes
        pixels from 0 to 1, `(H, W)`, `(1, H, W)` or `(3, H, W)`, writes `samples.png` into the
        folder and lists it in `result.json` under `images`.
        """
        if isinstance(what, Tensor):
            self.images[name] = f"{name}.png"
            if self.rank == 0:
                write_picture(self.out / f"{name}.png", what)
            return
        self.said[name] = what
        if self.rank == 0 and not self.options.quiet:
            lines = "\n" in what
            print(f"{name}:" + ("\n" if lines else " ") + what, flush=True)

    def finish(self, **metrics: float | Tensor) -> dict[str, float]:
        rows, sums = self.logged.gather(*map(scalar, metrics.values()))
        values = {name: value / self.world for name, value in zip(metrics, sums, strict=True)}
        if self.rank == 0:
            if self.tracker is not None:
                self.tracker.write(rows)
                self.tracker.close("completed")
            result = {
                "name": self.name,
                "command": self.command,
                "config": plain(self.config),
                "options": {k: v for k, v in plain(self.options).items() if k not in WHERE},
                "seed": self.options.seed,
                "device": describe(self.device),
                "threads": torch.get_num_threads(),
                "processes": self.world,
                "torch": torch.__version__,
                "python": platform.python_version(),
                "steps": self.logged.before,
                "seconds": round(self.duration(), 3),
                "metrics": {k: v if math.isfinite(v) else None for k, v in values.items()},
                "series": {name: series.curve() for name, series in self.logged.series.items()},
                "said": self.said,
                "images": list(self.images.values()),
            }
            text = json.dumps(result, indent=1, allow_nan=False)
            write_whole(self.out / "result.json", lambda file: file.write(text.encode() + b"\n"))
            if self.lock is not None:
                self.lock.release(force=True)
            if not self.options.quiet:
                told = [f"{name} {number(value)}" for name, value in values.items()]
                print(" · ".join([*told, f"{clock(self.duration())} · {self.out}/result.json"]))
        return values


def scalar(value: float | Tensor) -> float:
    return float(value.detach()) if isinstance(value, Tensor) else float(value)


def plain(values: Any) -> dict[str, Any]:
    r"""The fields of a dataclass in types that JSON and a checkpoint know."""
    words: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(values), default=str))
    return words
