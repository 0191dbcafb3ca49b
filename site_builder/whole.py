r"""
# Whole

A file is written whole or not at all, whatever happens in between.
"""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path


def write_whole(file: Path, data: bytes) -> None:
    """
    The new content is written aside and takes the file's name in one step. Where it cannot be
    written this raises `OSError`, and what was there stays.
    """
    aside = file.with_name(f".{file.name}.{os.getpid()}-{threading.get_ident()}")
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        aside.write_bytes(data)
        os.replace(aside, file)
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink()
        # By the name that is known to whoever asked.
        raise OSError(error.errno, error.strerror, str(file)) from None
