r"""
---
title: Checkpoints that survive
summary: A checkpoint is either whole or not there, whatever moment the power fails at.
---

# Checkpoints that survive

A run may be killed at any moment, also in the middle of saving. So a file is written aside,
forced to the disk, and only then given its name, which the file system does in one indivisible
step. The last two are kept, because a disk can damage what was whole, and then we take the one
before.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import torch

from papers.common.errors import UserError

# By a name of ours, so that a test can be on another one.
system = os.name


class Stateful(Protocol):
    r"""
    ## What can be saved

    Models, optimizers and schedules agree on two methods, and so may anything that a paper defines.
    """

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...


def bare(thing: Any) -> Any:
    r"""
    ## The thing inside its wrappers

    Data parallel and compiled models prefix the names of their weights. We save what is inside,
    so a checkpoint of four processes loads in one.
    """
    while inner := getattr(thing, "_orig_mod", None) or (
        isinstance(thing, torch.nn.parallel.DistributedDataParallel) and thing.module
    ):
        thing = inner
    return thing


def random_state(device: torch.device, generator: torch.Generator) -> dict[str, Any]:
    r"""
    ## The state of chance

    Every source that a paper may draw from, in plain numbers and tensors: a checkpoint that held
    other objects would have to be loaded with `pickle`, which runs whatever code the file
    contains.
    """
    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    state = {
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": (
            str(name),
            np.asarray(keys).tolist(),
            int(position),
            int(has_gauss),
            float(gauss),
        ),
        "generator": generator.get_state(),
    }
    if device.type != "cpu":
        state["device"] = getattr(torch, device.type).get_rng_state()
    return state


def set_random_state(
    state: dict[str, Any], device: torch.device, generator: torch.Generator
) -> None:
    torch.set_rng_state(state["torch"])
    random.setstate(state["python"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    generator.set_state(state["generator"])
    # A checkpoint of another kind of device has no state for ours; the seed set it already.
    if device.type != "cpu" and len(state.get("device", ())):
        getattr(torch, device.type).set_rng_state(state["device"])


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    r"""
    ## All or nothing

    `fsync` before the new name, since a file system may otherwise put the name on the disk first
    and the content later; and once more for the folder, which holds the name.
    """
    aside = path.with_name(f".{path.name}.writing")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        sync_folder(path.parent)
    except (OSError, RuntimeError) as error:
        aside.unlink(missing_ok=True)
        # PyTorch's writer hides the system's error behind one of its own.
        cause = error if isinstance(error, OSError) else error.__context__
        if not isinstance(cause, OSError):
            raise
        raise UserError(f"{path}: cannot write: {cause.strerror}") from error


def sync_folder(folder: Path) -> None:
    r"""
    Windows does not open folders, and keeps their names by itself.
    """
    if system == "nt":
        return
    place = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(place)
    finally:
        os.close(place)


class Checkpoints:
    r"""
    ## The folder of checkpoints

    One file for each saved step, named so that they sort: `step-000200.pt`.
    """

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder, self.keep = folder, keep

    def files(self) -> list[Path]:
        found = [p for p in self.folder.glob("step-*.pt") if re.fullmatch(r"step-\d+", p.stem)]
        return sorted(found, key=lambda path: int(path.stem[5:]))

    def put_away(self) -> None:
        r"""
        ## A new run beside an old one

        Whoever forgot `--resume` still has the old checkpoints, under another name. They must
        move, or a later resume would mistake them for its own.
        """
        if self.files():
            old = self.folder.with_name(self.folder.name + ".previous")
            shutil.rmtree(old, ignore_errors=True)
            self.folder.rename(old)

    def save(self, step: int, state: dict[str, Any]) -> Path:
        path = self.folder / f"step-{step:06d}.pt"
        write_whole(path, lambda file: torch.save(state, file))
        for old in self.files()[: -self.keep]:
            old.unlink()
        return path

    def newest(self, say: Callable[[str], object]) -> Path | None:
        r"""
        ## The newest that is whole

        A damaged file is named and set aside, and the one before it is taken. With none left we
        stop: starting again at step 0 in silence would hide the loss.
        """
        files = self.files()
        for path in reversed(files):
            damage = self.damage(path)
            if damage is None:
                return path
            path.rename(path.with_name(path.name + ".damaged"))
            say(f"{path} is damaged ({damage}): taking the one before it")
        if files:
            raise UserError(
                f"{self.folder}: every checkpoint is damaged; start again without --resume"
            )
        return None

    @staticmethod
    def damage(path: Path) -> str | None:
        r"""
        ## Is it whole?

        PyTorch writes a zip archive with a checksum of each part, but does not compare them when
        it loads: a flipped bit would become a wrong weight. The standard library does compare.
        """
        try:
            with zipfile.ZipFile(path) as archive:
                broken = archive.testzip()
            if broken is not None:
                return f"checksum of {broken}"
            torch.load(path, map_location="meta", weights_only=True)
        except Exception as error:  # what a damaged file can raise has no end
            return f"{type(error).__name__}: {' '.join(str(error).split())[:80]}"
        return None


def load(path: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state
