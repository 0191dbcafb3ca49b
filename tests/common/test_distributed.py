"""Two processes are one with a batch of the same size, until one of them dies."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.common import toy
from tests.common.test_checkpoint import equal
from tests.common.test_run import quiet, saved

SCRIPT = str(Path(toy.__file__))
pytestmark = pytest.mark.slow


def torchrun(folder: Path, *words: str) -> subprocess.Popen[str]:
    """As a person starts it."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return subprocess.Popen(
        [*command, "--nproc-per-node", "2", SCRIPT, "--device", "cpu", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def pair(
    folder: Path, *words: str, script: str = SCRIPT, **more: str
) -> list[subprocess.Popen[str]]:
    """The same two processes with nobody who watches over them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    both = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port} | more
    return [
        subprocess.Popen(
            [sys.executable, script, "--device", "cpu", *words],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | both | {"RANK": rank, "LOCAL_RANK": rank, "OMP_NUM_THREADS": "1"},
        )
        for rank in ("0", "1")
    ]


def ends(processes: list[subprocess.Popen[str]], limit: float = 90) -> list[tuple[int, str, str]]:
    ended = []
    try:
        for process in processes:
            out, err = process.communicate(timeout=limit)
            ended.append((process.returncode, out, err))
    finally:
        for process in processes:
            process.kill()
    return ended


def losses(out: Path) -> list[float]:
    series: dict[str, Any] = json.loads((out / "result.json").read_text())["series"]["loss"]
    values: list[float] = series["values"]
    return values


@pytest.mark.training
def test_two_processes_are_one_and_resume(tmp_path: Path) -> None:
    config = toy.Config(steps=60, cosine=False)
    whole = toy.train(config, quiet(tmp_path / "one"))
    words = ["--no-cosine", "--out", "two", "--steps"]
    ((code, _, err),) = ends([torchrun(tmp_path, *words, "25")])
    assert code == 0, err
    ((code, out, err),) = ends([torchrun(tmp_path, *words, "60", "--resume")])
    assert code == 0, err
    # Only the first process speaks.
    assert out.count("\n") == 1
    assert err.count("resuming from") == 1
    assert err.count("step 60/60") == 1
    assert len(list((tmp_path / "two").glob("labml/*/*"))) == 2
    ours, theirs = losses(tmp_path / "two"), losses(tmp_path / "one")
    assert len(ours) == len(theirs) == 60
    assert ours == pytest.approx(theirs, abs=1e-6)
    result = json.loads((tmp_path / "two" / "result.json").read_text())
    assert result["metrics"] == whole
    assert result["processes"] == 2
    assert result["command"].startswith("torchrun --nproc-per-node 2 ")
    # What two saved, one loads.
    ours, theirs = (saved(tmp_path / name, 60) for name in ("two", "one"))
    assert ours["state"]["model"].keys() == theirs["state"]["model"].keys()
    assert equal(ours["state"]["run"]["random"], theirs["state"]["run"]["random"])
    for name, weight in ours["state"]["model"].items():
        assert torch.allclose(weight, theirs["state"]["model"][name], atol=1e-5)
    options = quiet(tmp_path / "two", resume=True)
    assert toy.train(config, options) == whole


@pytest.mark.training
def test_without_the_average_the_losses_differ(tmp_path: Path) -> None:
    """The control: a process that trains on its slice alone is not within 1e-6."""
    toy.train(toy.Config(steps=10), quiet(tmp_path / "one"))
    toy.train(toy.Config(steps=10, batch=6), quiet(tmp_path / "half"))
    assert losses(tmp_path / "half") != pytest.approx(losses(tmp_path / "one"), abs=1e-3)


def test_under_torchrun_a_dead_process_ends_the_run(tmp_path: Path) -> None:
    began = time.monotonic()
    ((code, _, err),) = ends([torchrun(tmp_path, "--steps", "500", "--die", "20", "--quiet")])
    assert code == 1
    assert time.monotonic() - began < 240
    assert re.search(r"exitcode *: 7", err), err


def test_a_dead_process_leaves_a_message_and_no_hang(tmp_path: Path) -> None:
    words = ["--steps", "500", "--die", "20", "--quiet", "--checkpoint-every", "10"]
    (code, _, err), (lost, _, _) = ends(pair(tmp_path, *words))
    assert lost == 7
    assert code == 1
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("another process of this run ended")
    # What was saved before is whole.
    assert saved(tmp_path / "runs" / "common" / "toy", 20)["step"] == 20


def test_a_process_that_hangs_is_not_waited_for(tmp_path: Path) -> None:
    words = ["--steps", "100000", "--quiet", "--checkpoint-every", "0", "--pause", "0.01"]
    processes = pair(tmp_path, *words, PAPERS_TIMEOUT="8")
    time.sleep(12)
    processes[1].send_signal(signal.SIGSTOP)
    began = time.monotonic()
    try:
        _, err = processes[0].communicate(timeout=180)
    finally:
        processes[1].kill()
        processes[1].communicate()
    assert processes[0].returncode == 1
    assert err.splitlines()[-1].startswith("another process of this run ended")
    assert time.monotonic() - began < 120


def test_ctrl_c_stops_all_at_one_step(tmp_path: Path) -> None:
    words = ["--steps", "100000", "--pause", "0.005", "--checkpoint-every", "0"]
    processes = pair(tmp_path, *words)
    assert processes[0].stderr is not None
    processes[0].stderr.readline()  # what it runs on
    processes[0].stderr.readline()  # the first line of progress
    for process in processes:
        process.send_signal(signal.SIGINT)
    (code, _, err), (other, _, said) = ends(processes)
    assert code == other == 130
    assert said == ""
    assert "to go on: torchrun --nproc-per-node 2 " in err.splitlines()[-1]
    (path,) = (tmp_path / "runs/common/toy/checkpoints").glob("step-*.pt")
    assert f"stopped after step {int(path.stem[5:])};" in err


def test_who_cannot_reach_the_others_says_so(tmp_path: Path) -> None:
    ours, theirs = pair(tmp_path, "--quiet", PAPERS_TIMEOUT="3", MASTER_ADDR="127.0.0.1")
    ours.kill()
    ours.communicate()
    ((code, out, err),) = ends([theirs])
    assert code == 1
    assert out == ""
    line = err.splitlines()[-1]
    assert line.startswith("rank 1: the processes of this run cannot reach each other at 127.0.0.1")
    assert "Traceback" not in err


def test_errors_that_all_meet_are_told_once(tmp_path: Path) -> None:
    (code, _, err), (other, _, said) = ends(pair(tmp_path, "--batch", "15"))
    assert code == other == 1
    assert err == ("a batch of 15 rows does not divide by 2 processes: choose a multiple of 2\n")
    assert said == ""
    (code, _, err), (other, _, said) = ends(pair(tmp_path, "--poison", "3", "--quiet"))
    assert code == other == 1
    assert err.startswith("loss is nan at step 3 ")
    assert said == ""


def test_a_loss_past_the_wrapper_is_found_out(tmp_path: Path) -> None:
    source = Path(SCRIPT).read_text().replace("F.cross_entropy(model(x), y)", "nll(model, x, y)")
    source = source.replace(
        "def task()",
        "def nll(model: Any, x: Tensor, y: Tensor) -> Tensor:\n"
        "    return F.cross_entropy(getattr(model, 'module', model).forward(x), y)\n\n\n"
        "def task()",
    )
    script = tmp_path / "past.py"
    script.write_text(source)
    processes = pair(tmp_path, "--steps", "20", "--quiet", script=str(script))
    (code, _, err), (other, _, said) = ends(processes)
    assert code == other == 1
    assert err.startswith("model differs between the processes")
    assert said == ""
