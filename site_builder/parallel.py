r"""
# Side by side

Work on many files that need nothing of each other is shared by as many processes as there are
cores.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

# What fits into a pipe without a reader, four bytes for each.
SHARES = 8192


def side_by_side(work: Callable[[T], R], items: Sequence[T], few: int = 1) -> list[R]:
    r"""
    ## Share the work

    `[work(item) for item in items]`. Copies of this process, which hold all that it knows, draw the
    next item from a pipe, so that no core waits while there is anything left; their results come
    back through pipes of their own. For no more than `few` items, making a copy takes longer than
    the work. A process with threads must not be copied, and on macOS none should be: there, one
    does everything.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    copies = min(cores, len(items)) - 1
    if copies < 1 or len(items) <= few or threading.active_count() > 1 or sys.platform == "darwin":
        return [work(item) for item in items]
    size = -(-len(items) // SHARES)
    shares = [range(at, min(at + size, len(items))) for at in range(0, len(items), size)]
    draw, fill = os.pipe()
    os.write(fill, b"".join(number.to_bytes(4, "big") for number in range(len(shares))))
    os.close(fill)
    parent = os.getpid()

    def do() -> dict[int, R]:
        done = {}
        # Whoever outlives the process that asked has no one to work for.
        while (number := os.read(draw, 4)) and parent in (os.getpid(), os.getppid()):
            for index in shares[int.from_bytes(number, "big")]:
                done[index] = work(items[index])
        return done

    workers: list[tuple[int, int]] = []
    try:
        workers += [_copy(do) for _ in range(copies)]
        results = do()
        for _, answer in workers:
            with os.fdopen(answer, "rb", closefd=False) as pipe:
                answered = pickle.load(pipe)
            if isinstance(answered, BaseException):
                raise answered
            results |= answered
    finally:
        os.close(draw)
        for process, answer in workers:
            os.close(answer)
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
    return [results[index] for index in range(len(items))]


def _copy(do: Callable[[], object]) -> tuple[int, int]:
    """A copy of this process that does its share; its number, and the pipe with its results."""
    answer, tell = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    process = os.fork()
    if process:
        os.close(tell)
        return process, answer
    try:
        try:
            told = pickle.dumps(do(), protocol=5)
        except BaseException as error:
            told = pickle.dumps(error)
        with os.fdopen(tell, "wb") as pipe:
            pipe.write(told)
    finally:
        # Not by way of the copied program's own ending.
        os._exit(0)
