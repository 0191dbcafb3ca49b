r"""
---
title: Progress, tracking and results
summary: What a run tells while it trains, and what it writes into its own folder.
topic: common
---

# Progress, tracking and results

labml records every logged value, TensorBoard does so on request, and a progress line says how
long it will take. None of them is in the paper's file.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import shutil
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from papers.common.errors import UserError


def number(value: float) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Progress:
    r"""
    ## One line that moves, or a few that stay

    On a terminal we rewrite one line. In a file that would be one endless line, so there we print
    a plain one each tenth of the way, or each minute if that is sooner.
    """

    def __init__(self, total: int, start: int, quiet: bool) -> None:
        self.total, self.start, self.quiet = total, start, quiet
        self.began = self.told = time.perf_counter()
        self.next_tenth = start
        self.terminal = sys.stderr.isatty()
        self.open = False

    def show(self, step: int, rate: float, values: Mapping[str, float]) -> None:
        now = time.perf_counter()
        last = step >= self.total
        due = self.terminal or last or step >= self.next_tenth or now - self.told > 60
        if self.quiet or not due:
            return
        self.told, self.next_tenth = now, step + max(self.total // 10, 1)
        speed = f"{rate:.3g} steps/s" if rate >= 1 else f"{1 / rate:.3g} s/step"
        parts = [f"step {step}/{self.total}", f"{clock((self.total - step) / rate)} left", speed]
        line = " · ".join(parts + [f"{name} {number(value)}" for name, value in values.items()])
        if self.terminal:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\x1b[K{line[:width]}", end="", file=sys.stderr, flush=True)
            self.open = True
        else:
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        if self.open:
            print(file=sys.stderr, flush=True)
            self.open = False


class Tracker:
    r"""
    ## labml, kept in one place

    labml greets on the screen, registers the project in the home folder and warns where there is
    no repository. It does none of that for a process which is not the main one of its group, so
    we say that we are not; what it still prints, we swallow.
    """

    current: Tracker | None = None

    def __init__(self, out: Path, tensorboard: bool, start: int) -> None:
        if Tracker.current is not None:
            Tracker.current.close("replaced")
        out.mkdir(parents=True, exist_ok=True)
        with contextlib.redirect_stdout(io.StringIO()):
            from labml import experiment, lab, tracker

            lab.configure({"path": str(out), "experiments_path": "labml", "app_url": None})
            experiment.create(
                uuid=f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-{time.monotonic_ns()}",
                name=out.name,
                python_file=f"{out.name}.py",
                writers={"file"},
                distributed_rank=1,
                distributed_main_rank=0,
            )
            self.watcher = experiment.start()
        self.save = tracker.save
        self.board = board(out / "tensorboard", start) if tensorboard else None
        if Tracker.current is None:
            threading.Thread(target=close_at_exit, daemon=True).start()
        Tracker.current = self

    def write(self, rows: list[tuple[int, str, float]]) -> None:
        for step, group in itertools.groupby(rows, key=lambda row: row[0]):
            values = {name: value for _, name, value in group}
            self.save(step, values)
            if self.board is not None:
                for name, value in values.items():
                    self.board.add_scalar(name, value, step)

    def close(self, status: str) -> None:
        if self.watcher is not None:
            self.watcher.exp.finish(status)
            self.watcher = None
        if self.board is not None:
            self.board.close()


def close_at_exit() -> None:
    r"""
    ## Nobody waits for us

    labml writes its file from a thread that ends only when it is told to. A script that fails
    after its loop would never end. So we wait for the main thread to end, however it does, and
    tell it.
    """
    threading.main_thread().join()
    if Tracker.current is not None:
        # The folder may be gone by now, with whoever wanted the log.
        with contextlib.suppress(OSError):
            Tracker.current.close("ended")


def board(folder: Path, start: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UserError("--tensorboard needs a package: pip install tensorboard", True) from error
    return SummaryWriter(str(folder), purge_step=start)
