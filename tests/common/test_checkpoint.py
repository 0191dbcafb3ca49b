"""A checkpoint is whole or it is not there."""

from __future__ import annotations

import os
import pickle
import random
import re
import stat
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
import torch

from papers.common import UserError, checkpoint
from papers.common.checkpoint import (
    Checkpoints,
    bare,
    load,
    random_state,
    set_random_state,
    write_whole,
)

CPU = torch.device("cpu")


def equal(ours: Any, theirs: Any) -> bool:
    """The same down to the last bit, in whatever is nested."""
    if isinstance(ours, torch.Tensor):
        return torch.equal(ours, theirs)
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(equal(v, theirs[k]) for k, v in ours.items())
    if isinstance(ours, list | tuple):
        return len(ours) == len(theirs) and all(map(equal, ours, theirs))
    return bool(ours == theirs)


def fill(store: Checkpoints, *steps: int) -> None:
    for step in steps:
        store.save(step, {"step": step, "weights": torch.arange(1000.0) + step})


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, lambda file: file.write(b"old"))

    def fail(file: IO[bytes]) -> None:
        file.write(b"ne")
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match=r"cannot write: No space left"):
        write_whole(path, fail)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_name_moves_in_one_step_after_the_content_is_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_whole(path, lambda file: file.write(b"old"))
    seen: list[tuple[bytes, bool]] = []

    def fsync(descriptor: int) -> None:
        seen.append((path.read_bytes(), stat.S_ISDIR(os.fstat(descriptor).st_mode)))

    monkeypatch.setattr(os, "fsync", fsync)
    with path.open("rb") as before:
        write_whole(path, lambda file: file.write(b"new"))
        # Whoever had it open still reads the old content to its end: nothing was overwritten.
        assert before.read() == b"old"
    assert seen == [(b"old", False), (b"new", True)]
    assert list(tmp_path.iterdir()) == [path]


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path)
    fill(store, 5, 10, 15, 1000000)
    assert [p.name for p in store.files()] == ["step-000015.pt", "step-1000000.pt"]


def test_a_damaged_file_is_named_and_the_one_before_taken(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path)
    fill(store, 10, 20)
    newest = store.files()[-1]
    newest.write_bytes(newest.read_bytes()[:-100])
    said: list[str] = []
    path = store.newest(said.append)
    assert path is not None
    assert load(path)["step"] == 10
    assert len(said) == 1
    assert "step-000020.pt is damaged" in said[0]
    # It no longer counts as one of the two, so the good one is not pushed out by the next.
    fill(store, 15)
    assert [p.stem for p in store.files()] == ["step-000010", "step-000015"]


def test_all_damaged_stops(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path)
    fill(store, 10, 20)
    for path in store.files():
        path.write_bytes(b"")
    with pytest.raises(UserError, match="every checkpoint is damaged"):
        store.newest(lambda line: None)


def test_a_flipped_bit_is_found_or_changes_nothing(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path)
    fill(store, 1)
    (path,) = store.files()
    whole, good = path.read_bytes(), load(path)
    places = random.Random(0)
    found = 0
    for _ in range(200):
        place = places.randrange(len(whole))
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        if store.damage(path) is None:
            assert equal(load(path), good), f"a flip at {place} went unseen"
        else:
            found += 1
    assert found > 100


class Trap:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (print, ("sprung",))


def test_a_checkpoint_runs_no_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "step-000001.pt"
    torch.save({"step": 1, "trap": Trap()}, path)
    assert Checkpoints.damage(path) is not None
    with pytest.raises(pickle.UnpicklingError):
        load(path)
    assert "sprung" not in capsys.readouterr().out


def test_chance_goes_on_where_it_was(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(3)

    def draw() -> list[Any]:
        # An odd number of normal draws leaves one waiting inside each of the generators.
        return [
            torch.randn(3),
            torch.randn(3, generator=generator),
            random.gauss(),
            np.random.randn(3).tolist(),
        ]

    draw()
    store = Checkpoints(tmp_path)
    store.save(1, random_state(CPU, generator))
    expected = draw()
    (path,) = store.files()
    set_random_state(load(path), CPU, generator)
    assert equal(draw(), expected)


def test_a_new_run_puts_the_old_checkpoints_away(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path / "checkpoints")
    fill(store, 10)
    store.put_away()
    assert not store.files()
    assert [p.name for p in Checkpoints(tmp_path / "checkpoints.previous").files()] == [
        "step-000010.pt"
    ]
    store.put_away()
    assert Checkpoints(tmp_path / "checkpoints.previous").files()


def test_wrappers_leave_no_prefix() -> None:
    model = torch.nn.Linear(2, 2)
    assert bare(model) is model
    wrapped = torch.nn.Module()
    wrapped._orig_mod = model  # what torch.compile puts around a model
    assert bare(wrapped) is model


# Of the modules and names that the standard library has on POSIX alone.
POSIX = (
    r"import (fcntl|grp|pty|pwd|resource|termios|tty)\b|"
    r"os\.(fork|getpgid|getuid|killpg|setsid|wait\w*|WNOHANG|O_DIRECTORY)\b|"
    r"signal\.(SIGKILL|SIGSTOP|SIGHUP|SIGALRM|SIGCHLD|alarm|pause|setitimer)\b"
)


def test_no_paper_needs_what_windows_lacks() -> None:
    assert re.search(POSIX, "os.fork()")
    for path in (Path(__file__).parents[2] / "papers").rglob("*.py"):
        # The tools are for authors, and ask the system for what it has.
        if "tools" in path.parts:
            continue
        found = re.search(POSIX, path.read_text(encoding="utf-8"))
        assert found is None, f"{path}: {found}"


def test_where_folders_cannot_be_opened_a_write_still_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Any, *more: Any) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(checkpoint.os, "open", refuse)
    with pytest.raises(UserError, match="cannot write: Permission denied"):
        write_whole(tmp_path / "file", lambda file: file.write(b"new"))
    monkeypatch.setattr(checkpoint, "system", "nt")
    write_whole(tmp_path / "file", lambda file: file.write(b"new"))
    assert (tmp_path / "file").read_bytes() == b"new"
