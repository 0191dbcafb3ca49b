r"""
---
title: The folder of a run
summary: One run writes into a folder at a time, and a folder that cannot be is one line.
---

# The folder of a run
"""

from __future__ import annotations

from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from papers.common.errors import UserError


def take(folder: Path) -> BaseFileLock:
    r"""
    ## Taking it

    Two runs that write into one folder mix their checkpoints. The system forgets the lock of a
    process that ended, however it did, so nothing has to be cleaned up after a crash. Within one
    process a second run may follow the first.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", is_singleton=True)
        lock.acquire(blocking=False)
    except Timeout:
        busy = "another run is writing into it; wait for that one, or give another folder"
        raise UserError(f"--out {folder}: {busy}", shared=True) from None
    except OSError as error:
        why = "that is a file" if isinstance(error, FileExistsError) else error.strerror
        raise UserError(f"--out {folder}: {why}; give another folder", shared=True) from None
    return lock
