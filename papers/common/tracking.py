r"""
---
title: Progress, tracking and results
summary: What a run tells while it trains, and what it writes into its own folder.
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
from typing import Any, NoReturn

from tqdm import tqdm

from papers.common import pace
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

    On a terminal tqdm draws its bar. In a file that would be one endless line, so there we print
    a plain one each tenth of the way, or each minute if that is sooner. What is over before
    `delay` seconds have passed needs no line at all.
    """

    line = "{unit} {n_fmt}/{total_fmt} · {remaining} left · {rate_fmt}"

    def __init__(
        self,
        total: int,
        start: int,
        quiet: bool,
        unit: str = "step",
        delay: float = 0,
        recorded: float = 0,
    ) -> None:
        self.quiet, self.began = quiet, time.perf_counter()
        self.start, self.recorded = start, recorded
        self.told, self.next_tenth = self.began, start
        self.total, self.unit, self.delay = total, unit, delay
        # A terminal may say that it has no room at all, and tqdm would believe it.
        columns, rows = shutil.get_terminal_size()
        self.bar = tqdm(
            total=total,
            initial=start,
            unit=unit,
            disable=quiet or not sys.stderr.isatty(),
            delay=delay,
            ncols=columns - 1,
            nrows=rows,
        )

    def show(self, step: int, rate: float, values: Mapping[str, float]) -> None:
        self.compare(step)
        told = [f"{name} {number(value)}" for name, value in values.items()]
        if not self.bar.disable:
            self.bar.set_postfix_str(" · ".join(told), refresh=False)
            self.bar.update(step - self.bar.n)
            return
        now = time.perf_counter()
        elapsed = now - self.began
        due = step >= self.total or step >= self.next_tenth or now - self.told > 60
        if self.quiet or not due or elapsed < self.delay:
            return
        self.told, self.next_tenth = now, step + max(self.total // 10, 1)
        place = tqdm.format_meter(
            step, self.total, elapsed, rate=rate, unit=self.unit, bar_format=self.line
        )
        print(place, *told, sep=" · ", file=sys.stderr, flush=True)

    def compare(self, step: int) -> None:
        r"""
        ### Far behind its record

        Said once, and of the mean [rate](pace.py): a single step may wait for anything.
        """
        elapsed = time.perf_counter() - self.began
        if self.quiet or not self.recorded or elapsed < pace.WHILE:
            return
        rate = (step - self.start) / elapsed
        if rate * pace.FAR < self.recorded:
            self.bar.write(pace.slow(rate, self.recorded), file=sys.stderr)
            self.recorded = 0

    def close(self) -> None:
        self.bar.close()


class Tracker:
    r"""
    ## labml, kept in one place

    labml greets on the screen, registers the project in the home folder and warns where there is
    no repository. It does none of that for a process which is not the main one of its group, so
    we say that we are not; what it still prints, we swallow. In a notebook it would write into the
    cell, by a function that IPython no longer has, so it is not told of the notebook.
    """

    current: Tracker | None = None

    def __init__(self, out: Path, tensorboard: bool, start: int) -> None:
        if Tracker.current is not None:
            Tracker.current.close("replaced")
        out.mkdir(parents=True, exist_ok=True)
        with contextlib.redirect_stdout(io.StringIO()):
            from labml.internal import util

            util.get_ipython = no_notebook
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


def no_notebook() -> NoReturn:
    """What Python says of a name that is not there, as `get_ipython` is not elsewhere."""
    raise NameError("get_ipython")


def close_at_exit() -> None:
    r"""
    ## Nobody waits for us

    labml writes its file from a thread that ends only when it is told to. A script that fails
    after its loop would never end. So we wait for the main thread to end, however it does, and
    tell it.
    """
    threading.main_thread().join()
    close()


def close() -> None:
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
