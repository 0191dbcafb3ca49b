r"""
# Side by side

Drafts need nothing of each other, so each core makes its own. Whoever asked for them gets of each
what linking needs, and the whole of it packed, since that is most of what a build would keep.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

from site_builder.problem import Problem
from site_builder.read.cells import read_cells
from site_builder.read.document import read_document
from site_builder.read.source import Source, file_of
from site_builder.read.texts import read_page
from site_builder.render.draft import Stub, draft

# Bytes of source below which starting a process takes longer than the work.
ENOUGH = 200_000


class Task(NamedTuple):
    """
    A file, the folder that holds all files, what `read_document` asks, its package, and whether
    its [cells](../read/cells.py) are asked for.
    """

    path: str
    root: Path
    roots: frozenset[str]
    required: bool
    package: str = ""
    cells: bool = False


class Packed(NamedTuple):
    """What linking asks of the draft; the source, the draft and the cells as bytes."""

    stub: Stub
    source: bytes
    draft: bytes
    cells: bytes


def draft_all(tasks: list[Task]) -> Iterator[Packed | Problem]:
    """The draft of each file, or why there is none."""
    cores = min(os.cpu_count() or 1, len(tasks))
    if cores < 2 or sum(map(_size, tasks)) < ENOUGH:
        yield from map(_draft_one, tasks)
        return
    # A process that has threads must not be copied; one that is started anew takes a moment.
    copied = threading.active_count() == 1 and "fork" in multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("fork" if copied else "spawn")
    with ProcessPoolExecutor(cores, context, _follow) as pool:
        yield from pool.map(_draft_one, tasks, chunksize=4)


def _size(task: Task) -> int:
    file = file_of(task.path, task.root)
    return file.stat().st_size if file.is_file() else 0


def _draft_one(task: Task) -> Packed | Problem:
    source = read_page(task.path, task.root, task.package)
    if isinstance(source, Problem):
        return source
    reading = read_document(source, task.roots, task.required)
    made = draft(reading)
    cells = read_cells(reading) if task.cells else ()
    return Packed(made.stub, _bytes(source), _packed(made), _packed(cells))


def _packed(value: object) -> bytes:
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


def _bytes(source: Source) -> bytes:
    return source.text.encode(source.encoding)


def _follow() -> None:
    """
    A worker leaves Ctrl-C to the process that started it, and ends when that one does. Of itself it
    would not where that one was killed: it waits for work on a pipe that it holds open itself.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def end() -> None:
        if parent:
            parent.join()
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()
