r"""
---
title: The process that imports
summary: Watch what the import of each paper does, and who does it.
---

# The process that imports

Blame falls on the innermost line of a paper that was being executed, so that one which imports
another does not answer for it.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import random
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

NETWORK = ("socket.connect", "socket.getaddrinfo", "urllib.Request")


class Watch:
    r"""
    ## The watch

    `told` has what was found, by the place in a paper. Findings go where nothing that a paper
    prints goes, be it past Python: that ends in a file, which grows.
    """

    def __init__(self, paths: list[str]) -> None:
        self.papers = {str(Path(path).resolve()): path for path in paths}
        self.out = os.fdopen(os.dup(1), "w")
        self.past = tempfile.TemporaryFile()  # noqa: SIM115
        for number in (1, 2):
            os.dup2(self.past.fileno(), number)
        self.told: set[tuple[str, int]] = set()
        self.at = paths[0]

    def tell(self, message: str, place: tuple[str, int] | None = None) -> None:
        path, line = place or self.blamed() or (self.at, 1)
        if (path, line) not in self.told:
            self.told.add((path, line))
            print(json.dumps([path, line, message]), file=self.out, flush=True)

    def blamed(self) -> tuple[str, int] | None:
        frame = sys._getframe(1)
        while frame and frame.f_code.co_filename not in self.papers:
            frame = frame.f_back  # type: ignore[assignment]
        return (self.papers[frame.f_code.co_filename], frame.f_lineno) if frame else None

    def printed(self) -> int:
        return os.fstat(self.past.fileno()).st_size

    def audit(self, event: str, _: tuple[Any, ...]) -> None:
        if event in NETWORK:
            self.tell("importing it asks the network; load data where it is used")
            raise OSError("no network while a paper is imported")


class Printed(io.TextIOBase):
    """Whoever writes here is told of."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def write(self, text: str) -> int:
        if text.strip():
            self.watch.tell("importing it prints; print in train or not at all")
        return len(text)


# What an import must not set for all.
SEEDS = ((torch, "manual_seed"), (random, "seed"), (np.random, "seed"))
SEED = "importing it sets a seed; a Run has a generator of its own"
GLOBAL = ("set_num_threads", "set_default_dtype", "set_default_device")


def telling(watch: Watch, function: Callable[..., object], told: str) -> Callable[..., object]:
    def watched(*args: Any, **kwargs: Any) -> object:
        watch.tell(told)
        return function(*args, **kwargs)

    return watched


def drawn() -> tuple[object, ...]:
    return torch.get_rng_state().sum().item(), random.getstate(), str(np.random.get_state())


def main(paths: list[str]) -> None:
    watch = Watch(paths)
    sys.stdout = sys.stderr = Printed(watch)
    settings = [
        (torch, name, f"importing it calls {name}; leave that to who runs it") for name in GLOBAL
    ]
    for module, name, told in [*((*seed, SEED) for seed in SEEDS), *settings]:
        setattr(module, name, telling(watch, getattr(module, name), told))
    sys.addaudithook(watch.audit)
    for path in paths:
        watch.at, before, count, printed = path, drawn(), len(watch.told), watch.printed()
        try:
            importlib.import_module(".".join(Path(path).with_suffix("").parts))
        except BaseException as error:
            if len(watch.told) == count:
                frames = traceback.extract_tb(error.__traceback__)
                lines = [f.lineno or 1 for f in frames if f.filename == str(Path(path).resolve())]
                told = f"cannot be imported ({type(error).__name__}: {error}); mend that"
                watch.tell(told, (path, lines[-1] if lines else 1))
        if watch.printed() > printed:
            watch.tell("importing it prints, past Python; take that out", (path, 1))
        if drawn() != before and len(watch.told) == count:
            watch.tell("importing it draws random numbers; draw them in train", (path, 1))
    print("null", file=watch.out, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
