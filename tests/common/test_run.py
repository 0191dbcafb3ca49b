"""A run gives the same numbers whatever happens to it, and leaves them in its own folder."""

from __future__ import annotations

import dataclasses
import json
import math
import multiprocessing
import os
import pty
import random
import re
import resource
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock, Timeout
from torch import nn
from torch._dynamo.utils import counters
from torch._inductor.runtime.cache_dir_utils import cache_dir
from torch.utils._python_dispatch import TorchDispatchMode

from papers.common import Options, Run, UserError, device
from papers.common.checkpoint import Checkpoints, load
from tests.common import toy
from tests.common.test_checkpoint import CPU, equal

ROOT = Path(__file__).parents[2]
SCRIPT = Path(toy.__file__)


def saved(out: Path, step: int) -> dict[str, Any]:
    """What a checkpoint holds, less the time it took."""
    state = load(out / "checkpoints" / f"step-{step:06d}.pt")
    del state["state"]["run"]["seconds"]
    return state


def quiet(out: Path, **changes: Any) -> Options:
    return dataclasses.replace(Options(out=out, quiet=True, device="cpu"), **changes)


def written(out: Path) -> dict[Path, bytes]:
    """What a run leaves, less what a thread of labml's writes in its own time."""
    files = [path for path in out.rglob("*") if path.is_file()]
    return {p: p.read_bytes() for p in files if "labml" not in p.relative_to(out).parts}


def start(folder: Path, *words: str, **more: Any) -> subprocess.Popen[str]:
    """The toy as a person starts it."""
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), "--device", "cpu", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


@pytest.fixture(scope="session")
def servant() -> ForkServerContext:
    """Forks real processes that have PyTorch loaded, so that killing many takes seconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.common.toy", "torch._dynamo", "labml.tracker"])
    return context


# --- killed, damaged, stopped -------------------------------------------------------------


@pytest.mark.slow
def test_killed_anywhere_it_ends_in_the_same_bits(
    tmp_path: Path, servant: ForkServerContext
) -> None:
    config = toy.Config(steps=150, dropout=0.2, pause=0.002)
    toy.train(config, quiet(tmp_path / "whole", checkpoint_every=0))
    whole = saved(tmp_path / "whole", 150)
    moments = random.Random(0)
    kills, resumed_from, rounds = 0, set(), 0
    while kills < 14:
        rounds += 1
        out = tmp_path / f"killed-{rounds}"
        options = quiet(out, checkpoint_every=3, resume=True)
        while True:
            resumed_from.update(p.name for p in Checkpoints(out / "checkpoints").files()[-1:])
            process = servant.Process(target=toy.child, args=(config, options, tmp_path))
            process.start()
            # Once it saves, any moment may be in the middle of a step or of a checkpoint.
            mark = Checkpoints(out / "checkpoints").files()
            while process.is_alive() and Checkpoints(out / "checkpoints").files() == mark:
                time.sleep(0.001)
            time.sleep(moments.uniform(0, 0.25) if kills < 14 else 0)
            if kills < 14:
                process.kill()
            process.join()
            if process.exitcode == 0:
                break
            assert process.exitcode == -signal.SIGKILL
            kills += 1
        assert equal(saved(out, 150), whole)
    assert len(resumed_from) > 5


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("cut", [1, 17])
def test_resuming_changes_no_bit(tmp_path: Path, cut: int, precision: Any) -> None:
    config = toy.Config(steps=24, dropout=0.2)
    options = quiet(tmp_path / "whole", precision=precision)
    metrics = toy.train(config, options)
    again = dataclasses.replace(options, out=tmp_path / "cut", checkpoint_every=cut)
    with pytest.raises(KeyboardInterrupt):
        toy.train(config, again, cut=cut)
    resumed = toy.train(config, dataclasses.replace(again, resume=True))
    assert resumed == metrics
    assert equal(saved(tmp_path / "cut", 24), saved(tmp_path / "whole", 24))


def test_resuming_at_the_end_trains_no_more(tmp_path: Path) -> None:
    options = quiet(tmp_path)
    ours = toy.train(toy.Config(steps=20), options)
    before = (tmp_path / "checkpoints" / "step-000020.pt").read_bytes()
    theirs = toy.train(toy.Config(steps=20), dataclasses.replace(options, resume=True))
    assert ours == theirs
    assert (tmp_path / "checkpoints" / "step-000020.pt").read_bytes() == before


CHANGES: list[tuple[str, Any, str]] = [
    ("lr", 0.5, "--lr 0.01, not 0.5"),
    ("width", 8, "--width 16, not 8"),
    ("batch", 20, "--batch 12, not 20"),
    ("betas", (0.8, 0.9), "--betas 0.9 0.99, not 0.8 0.9"),
    ("dropout", 0.5, "--dropout 0.0, not 0.5"),
    ("noise", False, "--noise on, not off"),
    ("cosine", False, "--cosine on, not off"),
    ("pause", 0.001, "--pause 0.0, not 0.001"),
    ("poison", 1, "--poison -1, not 1"),
    ("die", 1, "--die -1, not 1"),
    ("steps", 9, "--steps 6, not 9"),
    ("steps", 4, "--steps 6, not 4"),
    ("seed", 1, "--seed 0, not 1"),
    ("precision", "fp16", "--precision fp32, not fp16"),
    ("data", "other", '--data "", not other'),
]


@pytest.mark.parametrize(("name", "value", "said"), CHANGES)
def test_a_changed_value_is_refused(tmp_path: Path, name: str, value: Any, said: str) -> None:
    config, options = toy.Config(steps=6), quiet(tmp_path)
    toy.train(config, options)
    (path,) = Checkpoints(tmp_path / "checkpoints").files()
    files = written(tmp_path)
    changes = {name: value}
    if name in vars(config):
        config = dataclasses.replace(config, **changes)
        changes = {}
    with pytest.raises(UserError) as error:
        toy.train(config, dataclasses.replace(options, resume=True, **changes))
    how = "--resume goes on with the same values, another --out starts afresh"
    assert str(error.value) == f"{path} was made with {said}: {how}"
    assert files == written(tmp_path)
    # Nothing is lost: the same values go on, and without --resume the new ones start afresh.
    toy.train(toy.Config(steps=6), dataclasses.replace(options, resume=True))


def test_every_value_is_tried() -> None:
    free = {
        "device",
        "threads",
        "compile",
        "out",
        "resume",
        "checkpoint_every",
        "tensorboard",
        "quiet",
    }
    fields = vars(toy.Config()).keys() | vars(Options()).keys()
    assert {name for name, _, _ in CHANGES} == fields - free


def test_what_does_not_change_the_result_may_change(tmp_path: Path) -> None:
    config = toy.Config(steps=6)
    metrics = toy.train(config, quiet(tmp_path))
    other = Options("auto", out=tmp_path, resume=True, checkpoint_every=1, quiet=False)
    assert toy.train(config, other) == pytest.approx(metrics)


def test_a_run_without_a_schedule_may_become_longer(tmp_path: Path) -> None:
    config = toy.Config(steps=12, cosine=False)
    metrics = toy.train(config, quiet(tmp_path / "whole"))
    toy.train(dataclasses.replace(config, steps=7), quiet(tmp_path / "more"))
    assert toy.train(config, quiet(tmp_path / "more", resume=True)) == metrics
    ours, whole = saved(tmp_path / "more", 12), saved(tmp_path / "whole", 12)
    assert equal(ours, whole)
    with pytest.raises(UserError, match="--steps 12, not 11:"):
        toy.train(dataclasses.replace(config, steps=11), quiet(tmp_path / "more", resume=True))


def test_nor_where_the_loop_itself_moves_the_rate(tmp_path: Path) -> None:
    def train(steps: int, **changes: Any) -> None:
        run = Run(toy.Config(steps=steps), quiet(tmp_path, **changes))
        model = run.prepare(toy.Model(toy.Config()))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for step in run.steps(steps, model=model, optimizer=optimizer):
            optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / steps)

    train(4)
    with pytest.raises(UserError, match="--steps 4, not 5:"):
        train(5, resume=True)


def test_a_checkpoint_of_another_paper_is_refused(tmp_path: Path) -> None:
    toy.train(toy.Config(steps=2), quiet(tmp_path))
    run = Run(Scale(), quiet(tmp_path, resume=True))
    with pytest.raises(UserError, match=r"step-000002\.pt was made by common/toy: give "):
        next(run.steps(2))
    torch.save({"step": 2}, tmp_path / "checkpoints" / "step-000002.pt")
    with pytest.raises(UserError, match="was made by an older version of this program"):
        toy.train(toy.Config(steps=2), quiet(tmp_path, resume=True))


def test_a_damaged_checkpoint_costs_steps_and_no_bits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = toy.Config(steps=20)
    options = Options(out=tmp_path, device="cpu", checkpoint_every=8)
    toy.train(config, options)
    whole = saved(tmp_path, 20)
    newest = tmp_path / "checkpoints" / "step-000020.pt"
    newest.write_bytes(newest.read_bytes()[:-2000])
    capsys.readouterr()
    toy.train(config, dataclasses.replace(options, resume=True))
    said = capsys.readouterr().err.splitlines()
    assert "step-000020.pt is damaged" in said[0]
    assert "resuming from" in said[1]
    assert "step-000016.pt" in said[1]
    assert equal(saved(tmp_path, 20), whole)


@pytest.mark.slow
def test_ctrl_c_saves_and_prints_the_line_that_resumes(tmp_path: Path) -> None:
    words = ["--steps", "150", "--pause", "0.01", "--out", "kept here", "--seed", "5"]
    process = start(tmp_path, *words)
    assert process.stderr is not None
    process.stderr.readline()  # what it runs on
    process.stderr.readline()  # the first line of progress: it is training
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=180)
    assert process.returncode == 130
    assert "Traceback" not in said
    found = re.search(r"stopped after step (\d+); to go on: python (.*)", said.splitlines()[-1])
    assert found is not None, said
    step, line = int(found[1]), shlex.split(found[2])
    assert 0 < step < 150
    assert (tmp_path / "kept here" / "checkpoints" / f"step-{step:06d}.pt").exists()
    done = subprocess.run(
        [sys.executable, *line], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert f"step-{step:06d}.pt" in done.stderr.splitlines()[0]
    toy.train(toy.Config(steps=150, pause=0), quiet(tmp_path / "whole", seed=5))
    ours, whole = saved(tmp_path / "kept here", 150), saved(tmp_path / "whole", 150)
    assert equal(ours["state"], whole["state"])


@pytest.fixture
def _heard() -> Iterator[None]:
    """A shell that starts the tests in the background has them ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_heard")
def test_ctrl_c_never_cuts_a_step_in_two(tmp_path: Path) -> None:
    run = Run(toy.Config(), quiet(tmp_path))
    model = run.prepare(toy.Model(toy.Config()))
    ended = []

    def loop() -> None:
        for step in run.steps(10, model=model):
            if step == 3:
                os.kill(os.getpid(), signal.SIGINT)
            ended.append(step)

    with pytest.raises(KeyboardInterrupt):
        loop()
    assert ended == [0, 1, 2, 3]
    assert saved(tmp_path, 4)["step"] == 4
    # After the loop the key does what it does everywhere.
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("_heard")
def test_ctrl_c_in_a_notebook_prints_the_call_that_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = toy.Config(steps=20, betas=(0.8, 0.9), cosine=False)
    options = Options(out=tmp_path / "it's", device="cpu", seed=5)
    # The key is pressed while the first step rests.
    monkeypatch.setattr(toy.time, "sleep", lambda _: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        toy.train(config, options)
    monkeypatch.undo()
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("stopped after step 1; to go on: train(Config(steps=20, "), line
    names = {"train": toy.train, "Config": toy.Config, "Options": Options, "Path": Path}
    eval(line.partition("to go on: ")[2], names)
    assert "resuming from" in capsys.readouterr().err
    toy.train(config, quiet(tmp_path / "whole", seed=5))
    ours, whole = saved(tmp_path / "it's", 20), saved(tmp_path / "whole", 20)
    assert equal(ours["state"], whole["state"])


NOTEBOOK = """
import builtins


class Shell:
    config = {"IPKernelApp": {"connection_file": "kernel.json"}}


builtins.get_ipython = Shell
from papers.common import Options
from papers.tools.curves import read
from tests.common.toy import Config, train

train(Config(steps=5), Options(device="cpu"))
assert sorted(read("runs/common/toy")["loss"]) == [0, 1, 2, 3, 4]
"""


def test_a_run_in_a_notebook_writes_into_its_folder_alone(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", NOTEBOOK], cwd=tmp_path, env=environment, capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


@pytest.mark.usefixtures("_heard")
def test_pressed_twice_it_stops_at_once(tmp_path: Path) -> None:
    run = Run(toy.Config(), quiet(tmp_path))
    ended = []

    def loop() -> None:
        for step in run.steps(10):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            ended.append(step)

    with pytest.raises(KeyboardInterrupt):
        loop()
    assert not ended


@pytest.mark.slow
def test_a_loss_that_is_no_number_stops_with_step_and_cause(tmp_path: Path) -> None:
    words = ["--steps", "60", "--poison", "37", "--checkpoint-every", "10", "--out", "r"]
    process = start(tmp_path, *words)
    _, said = process.communicate(timeout=180)
    assert process.returncode == 1
    line = said.splitlines()[-1]
    assert "Traceback" not in said
    assert "loss is nan at step 37 (it was " in line
    assert line.endswith(" one step earlier): start again with a smaller learning rate")
    assert saved(tmp_path / "r", 30)["step"] == 30


def test_an_infinite_loss_stops_too(tmp_path: Path) -> None:
    run = Run(toy.Config(), quiet(tmp_path))

    def loop() -> None:
        for _ in run.steps(5):
            run.log(train_loss=float("inf"))

    with pytest.raises(UserError, match=r"train_loss is inf at step 0: start again with"):
        loop()


def test_weights_gone_bad_push_out_no_good_checkpoint(tmp_path: Path) -> None:
    run = Run(toy.Config(), quiet(tmp_path, checkpoint_every=2))
    model = run.prepare(toy.Model(toy.Config()))

    def loop() -> None:
        for step in run.steps(10, model=model):
            run.log(loss=1.0)
            if step == 5:
                model.up.bias.data[3] = float("nan")

    with pytest.raises(UserError, match=r"weights of model are not finite after step 5"):
        loop()
    steps = [path.stem for path in Checkpoints(tmp_path / "checkpoints").files()]
    assert steps == ["step-000002", "step-000004"]


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_spoils_nothing(tmp_path: Path) -> None:
    toy.train(toy.Config(steps=4, cosine=False), quiet(tmp_path / "r"))

    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))

    words = ["--steps", "8", "--no-cosine", "--out", "r", "--resume", "--quiet"]
    process = start(tmp_path, *words, preexec_fn=little_room)
    _, said = process.communicate(timeout=180)
    assert process.returncode == 1
    assert said.count("\n") == 1
    assert "cannot write" in said
    assert sorted(os.listdir(tmp_path / "r" / "checkpoints")) == ["step-000004.pt"]


def test_a_checkpoint_of_other_code_is_one_line(tmp_path: Path) -> None:
    toy.train(toy.Config(steps=2), quiet(tmp_path))
    run = Run(toy.Config(steps=2), quiet(tmp_path, resume=True))
    with pytest.raises(UserError, match=r"does not fit this model: .*Missing key") as error:
        next(run.steps(2, model=nn.Linear(3, 3)))
    assert "\n" not in str(error.value)


def test_two_loops_resume_in_the_second(tmp_path: Path) -> None:
    def train(out: Path, stop: int | None, resume: bool) -> list[float]:
        run = Run(toy.Config(), quiet(out, resume=resume, checkpoint_every=1))
        x, y = (t[:10] for t in toy.task())
        model = run.prepare(toy.Model(toy.Config()))
        for stage in (1, 2):
            optimizer = torch.optim.Adam(model.parameters(), lr=0.01 * stage)
            for step in run.steps(5, model=model, optimizer=optimizer):
                if stage == 2 and step == stop:
                    return []
                loss = nn.functional.cross_entropy(model(x) + 0.1 * torch.randn(10, 4), y)
                optimizer.zero_grad()
                run.backward(loss)
                run.update(optimizer)
        return [p.sum().item() for p in model.parameters()]

    whole = train(tmp_path / "whole", None, False)
    assert train(tmp_path / "cut", 3, False) == []
    assert train(tmp_path / "cut", None, True) == whole


@pytest.mark.slow
@pytest.mark.training
def test_compiled_or_not_a_checkpoint_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The cache of `torch.compile` hands out what was compiled for another ATEN_CPU_CAPABILITY,
    # which computes something else.
    cache = f"{cache_dir()}-{torch.backends.cpu.get_cpu_capability()}"
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", cache)
    short = toy.Config(steps=3, cosine=False)
    long = dataclasses.replace(short, steps=6)
    counters.clear()
    weights = []
    for first in (True, False):
        out = tmp_path / str(first)
        toy.train(short, quiet(out, compile=first))
        toy.train(long, quiet(out, resume=True, compile=not first))
        weights.append(saved(out, 6)["state"]["model"])
    assert counters["stats"]["unique_graphs"] > 0
    assert list(weights[0]) == list(toy.Model(long).state_dict())
    # Every step moves a weight by about 1e-2.
    torch.testing.assert_close(weights[0], weights[1], rtol=0, atol=1e-4)


# --- its folder and its threads -----------------------------------------------------------


@pytest.mark.slow
def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    words = ["--steps", "100000", "--pause", "0.01", "--out", "r", "--checkpoint-every", "0"]
    first = start(tmp_path, *words)
    assert first.stderr is not None
    first.stderr.readline()
    _, said = start(tmp_path, "--steps", "2", "--out", "r").communicate(timeout=180)
    busy = "another run is writing into it; wait for that one, or give another folder"
    assert said == f"--out r: {busy}\n"
    # However the first one ends, its folder is free again.
    first.kill()
    first.communicate()
    second = start(tmp_path, "--steps", "2", "--out", "r", "--quiet")
    assert second.communicate(timeout=180) == ("", "")
    assert second.returncode == 0


def test_in_one_process_runs_follow_each_other(tmp_path: Path) -> None:
    for _ in range(2):
        run = Run(toy.Config(), quiet(tmp_path))
    lock = FileLock(tmp_path / ".lock")
    with pytest.raises(Timeout):
        lock.acquire(blocking=False)
    run.finish()
    lock.acquire(blocking=False)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("file", "that is a file; give another folder"),
        ("file/r", "Not a directory; give another folder"),
        ("x" * 300, "File name too long; give another folder"),
    ],
)
def test_a_folder_that_cannot_be_is_one_line(tmp_path: Path, place: str, said: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError) as error:
        toy.train(toy.Config(), quiet(tmp_path / place))
    assert str(error.value) == f"--out {tmp_path / place}: {said}"


def test_threads_are_those_that_are_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def used(cores: int, busy: int, **changes: Any) -> int:
        monkeypatch.setattr(device, "cores", lambda: cores)
        monkeypatch.setattr(device, "busy", lambda: busy)
        options = quiet(tmp_path, quiet=False, **changes)
        toy.train(toy.Config(steps=1, cosine=False), options)
        words = "1 thread" if torch.get_num_threads() == 1 else f"{torch.get_num_threads()} threads"
        assert f"common/toy on {device.describe(CPU)}, {words}\n" in capsys.readouterr().err
        result = json.loads((tmp_path / "result.json").read_text())
        assert result["threads"] == torch.get_num_threads()
        return torch.get_num_threads()

    monkeypatch.delenv("OMP_NUM_THREADS")
    assert used(4, 0) == 4
    assert used(4, 2) == 2
    assert used(2, 9) == 1
    assert used(2, 9, threads=3) == 3
    # A checkpoint is gone on from with as many as before, unless a person says otherwise.
    assert used(2, 0, resume=True) == 3
    assert used(2, 0, resume=True, threads=2) == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    assert used(4, 0) == 1
    with pytest.raises(UserError, match="--threads -1: give a number from 0 to 1024"):
        used(4, 0, threads=-1)


def test_cores_and_load_are_those_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= device.cores() <= (os.cpu_count() or 1)
    monkeypatch.setattr(os, "getloadavg", lambda: (3.4, 9.0, 9.0))
    monkeypatch.setattr(Path, "read_text", lambda path: "0.1 0.1 0.1 6/99 7\n")
    assert device.busy() == 3
    monkeypatch.setattr(Path, "read_text", lambda path: "0.1 0.1 0.1 2/99 7\n")
    assert device.busy() == 1


# --- what it leaves behind ----------------------------------------------------------------


@pytest.mark.slow
def test_nothing_is_written_outside_the_folder(tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("home", "temporary", "here")}
    for folder in folders.values():
        folder.mkdir()
    kept = {k: v for k, v in os.environ.items() if not k.startswith("XDG_")}
    env = kept | {"HOME": str(folders["home"]), "TMPDIR": str(folders["temporary"])}
    words = ["--steps", "20", "--tensorboard"]
    process = start(folders["here"], *words, env=env)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert not list(folders["home"].iterdir())
    assert not list(folders["temporary"].iterdir())
    assert [p.name for p in folders["here"].iterdir()] == ["runs"]
    assert os.listdir(folders["here"] / "runs") == ["common"]
    made = sorted(os.listdir(folders["here"] / "runs" / "common" / "toy"))
    assert made == [".lock", "checkpoints", "labml", "result.json", "tensorboard"]
    # A log file is plain lines: no more than a dozen, and nothing that moves the cursor.
    assert "\r" not in err
    assert "\x1b" not in err
    assert 1 <= len(err.splitlines()) <= 12
    assert err.splitlines()[-1].startswith("step 20/20 · 00:00 left · ")
    assert out.count("\n") == 1
    assert "accuracy 0." in out


def test_no_connection_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> None:
        raise AssertionError("a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    toy.train(toy.Config(steps=3), quiet(tmp_path))


@pytest.mark.training
def test_the_result_says_how_to_repeat_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    config = toy.Config(steps=450, lr=0.003)
    metrics = toy.train(config, quiet(tmp_path / "r", seed=2, checkpoint_every=100))
    text = (tmp_path / "r" / "result.json").read_text()
    assert str(tmp_path) not in text.replace(json.loads(text)["command"], "")
    result = json.loads(text)
    assert result["name"] == "common/toy"
    assert result["config"] == json.loads(json.dumps(dataclasses.asdict(config)))
    assert result["seed"] == 2
    assert result["options"] == {
        "device": "cpu",
        "precision": "fp32",
        "threads": 0,
        "compile": False,
        "seed": 2,
        "checkpoint_every": 100,
        "data": "",
    }
    assert result["metrics"] == metrics
    assert result["steps"] == 450
    assert result["processes"] == 1
    assert result["torch"] == torch.__version__
    assert result["threads"] == torch.get_num_threads()
    assert 0 < result["seconds"] < 600
    curve = result["series"]["loss"]
    assert 100 <= len(curve["steps"]) == len(curve["values"]) <= 200
    assert curve["steps"] == sorted(curve["steps"])
    assert curve["values"][-1] < curve["values"][0] / 2
    assert result["series"].keys() == {"loss", "lr"}
    words = shlex.split(result["command"])
    assert words[:2] == ["python", "tests/common/toy.py"]
    assert "--resume" not in words


def test_every_value_reaches_labml_and_tensorboard(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    toy.train(toy.Config(steps=30), quiet(tmp_path, tensorboard=True))
    rows: dict[str, list[list[Any]]] = {}
    deadline = time.monotonic() + 20
    while len(rows.get("loss", [])) < 30 and time.monotonic() < deadline:
        rows = {}
        for file in tmp_path.glob("labml/*/*/log.jsonl"):
            for line in file.read_text().splitlines():
                for name, values in json.loads(line)["track"].items():
                    rows.setdefault(name, []).extend(values)
        time.sleep(0.05)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    board = [(e.step, e.value) for e in events.Scalars("loss")]
    series = json.loads((tmp_path / "result.json").read_text())["series"]["loss"]
    ours = list(zip(series["steps"], series["values"], strict=True))
    assert [step for step, _ in ours] == list(range(30))
    assert [(step, values[0]) for step, values in rows["loss"]] == ours
    assert board == [(step, pytest.approx(value, rel=1e-6)) for step, value in ours]


def test_pictures_are_the_pixels(tmp_path: Path) -> None:
    from PIL import Image

    run = Run(toy.Config(), quiet(tmp_path))
    levels = torch.arange(12.0).view(3, 4) * 20 / 255
    run.show("grey", levels[None])
    run.show("colour", torch.stack([levels, levels.flip(0), levels * 99]))
    grey = Image.open(tmp_path / "grey.png")
    assert grey.size == (4, 3)
    assert list(grey.tobytes()) == list(range(0, 240, 20))
    pixel = Image.open(tmp_path / "colour.png").getpixel((1, 0))
    assert pixel == (20, 180, 255)
    run.show("flat", levels)
    assert Image.open(tmp_path / "flat.png").tobytes() == grey.tobytes()


def test_what_is_shown_is_printed_and_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for silent in (False, True):
        run = Run(toy.Config(), quiet(tmp_path, quiet=silent))
        run.show("guess", "draft")
        run.show("guess", "one line")
        run.show("verse", "two\nlines")
        for _ in range(2):
            run.show("square", torch.ones(2, 2))
        run.finish()
        result = json.loads((tmp_path / "result.json").read_text())
        assert result["said"] == {"guess": "one line", "verse": "two\nlines"}
        assert result["images"] == ["square.png"]
        printed = capsys.readouterr().out
        assert ("guess: one line\nverse:\ntwo\nlines\n" in printed) == (not silent)
        assert ("draft" in printed) == (not silent)


def test_of_many_processes_the_first_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(toy.Config(), quiet(tmp_path, quiet=False))
    run.rank = 1
    run.show("guess", "words")
    run.show("square", torch.ones(2, 2))
    assert capsys.readouterr().out == ""
    assert os.listdir(tmp_path) == [".lock"]


@pytest.mark.slow
def test_a_terminal_gets_one_line_that_moves(tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), "--steps", "100", "--pause", "0.02", "--device", "cpu"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=follower,
        env=os.environ | {"COLUMNS": "60"},
    )
    os.close(follower)
    said = b""
    while True:
        try:
            said += os.read(leader, 4096)
        except OSError:
            break
    os.close(leader)
    process.wait()
    text = said.decode()
    first, text = text.split("\n", 1)
    assert first.startswith("common/toy on ")
    assert text.count("\n") == 1
    assert text.count("\r") >= 4
    assert re.search(r"\| \d+/100 \[00:0\d<00:0\d, +[\d.]+step/s, loss [\d.]+", text)
    assert "100%|" in text.splitlines()[-1].split("\r")[-1]


@pytest.mark.slow
def test_a_script_that_fails_after_its_loop_ends(tmp_path: Path) -> None:
    script = tmp_path / "late.py"
    script.write_text(
        "import time\n"
        "from tests.common.toy import Config, Options, Run\n"
        "run = Run(Config(), Options(device='cpu'))\n"
        "for step in run.steps(300):\n"
        "    run.log(loss=1.0)\n"
        "    time.sleep(0.01)\n"
        "raise SystemExit(3)\n"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, env=env, timeout=60)
    assert done.returncode == 3
    (log,) = tmp_path.glob("runs/*/*/labml/*/*/log.jsonl")
    tracked = [json.loads(line)["track"].get("loss", []) for line in log.read_text().splitlines()]
    assert sum(map(len, tracked)) == 300


# --- what it costs ------------------------------------------------------------------------


class Fetches(TorchDispatchMode):
    """Counts the reads of a number, each of which would stop a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_a_step_fetches_no_number(tmp_path: Path) -> None:
    run = Run(toy.Config(), quiet(tmp_path, checkpoint_every=0))
    rows = run.batches(*toy.task(), size=10)
    model = run.prepare(toy.Model(toy.Config()))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    most = 0
    with Fetches() as fetches:
        for step in run.steps(200, model=model, optimizer=optimizer):
            before = fetches.count
            x, y = rows[step]
            with run.autocast():
                loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            run.backward(loss)
            run.update(optimizer, clip=1.0)
            run.log(loss=loss)
            most = max(most, fetches.count - before)
    assert most == 0


def test_two_data_sets_of_a_run_are_not_in_one_order(tmp_path: Path) -> None:
    run = Run(toy.Config(), quiet(tmp_path))
    data = torch.arange(50)
    assert not torch.equal(*(run.batches(data, size=50)[0][0] for _ in range(2)))
    assert not torch.equal(*(run.windows(data, length=1, size=50)[0][0] for _ in range(2)))


def test_a_weight_is_logged_as_it_was(tmp_path: Path) -> None:
    run = Run(toy.Config(), quiet(tmp_path))
    scale = torch.zeros(())
    for _ in run.steps(50):
        run.log(scale=scale)
        scale += 1
    run.finish()
    series = json.loads((tmp_path / "result.json").read_text())["series"]["scale"]
    assert series["values"] == list(range(50))


class Restless:
    """A part that draws while it is loaded."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        torch.rand(3)


def test_chance_is_restored_last(tmp_path: Path) -> None:
    def draws(out: str, cut: int = 9, **more: Any) -> list[float]:
        run = Run(toy.Config(), quiet(tmp_path / out, checkpoint_every=1, **more))
        found = []
        for step in run.steps(4, part=Restless()):
            if step == cut:
                break
            found.append(torch.rand(()).item())
        return found

    whole = draws("whole")
    assert draws("cut", cut=2) == whole[:2]
    assert draws("cut", resume=True) == whole[2:]


def test_two_loops_make_one_curve(tmp_path: Path) -> None:
    def result(**more: Any) -> dict[str, Any]:
        run = Run(toy.Config(), quiet(tmp_path, **more))
        for total in (5, 3):
            for step in run.steps(total):
                run.log(loss=float(step))
        run.finish()
        told: dict[str, Any] = json.loads((tmp_path / "result.json").read_text())
        return told

    told = result()
    assert told["series"]["loss"] == {
        "steps": list(range(8)),
        "values": [0, 1, 2, 3, 4, 0, 1, 2],
    }
    assert told["steps"] == 8
    again = result(resume=True)
    assert (again["series"], again["steps"]) == (told["series"], 8)


def test_the_time_before_a_break_counts(tmp_path: Path) -> None:
    run = Run(toy.Config(), quiet(tmp_path))
    run.load_state_dict(run.state_dict() | {"seconds": 1000.0})
    assert 1000 < run.duration() < 2000


def test_a_device_that_is_not_there(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        missing: Any = "mps"
    else:
        missing = "cuda"
    with pytest.raises(UserError, match=f"--device {missing}: there is none here"):
        Run(toy.Config(), quiet(tmp_path, device=missing))


@dataclass(frozen=True)
class Scale:
    value: float = 1.0


def test_small_gradients_survive_in_fp16(tmp_path: Path) -> None:
    def gradient(scaled: bool) -> float:
        run = Run(Scale(), quiet(tmp_path, precision="fp16"))
        weight = nn.Parameter(torch.ones(1, 1))
        with run.autocast():
            loss = (nn.functional.linear(torch.full((1, 1), 2e-5), weight).float() * 2e-4).sum()
        run.backward(loss) if scaled else loss.backward()  # type: ignore[no-untyped-call]
        optimizer = torch.optim.SGD([weight], lr=1.0)
        if scaled:
            run.scaler.unscale_(optimizer)
        assert weight.grad is not None
        return weight.grad.item()

    assert gradient(scaled=False) == 0
    assert math.isclose(gradient(scaled=True), 4e-9, rel_tol=0.02)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize(("clip", "step"), [(None, 2.5), (4.0, 2.5), (1.0, 1.0)])
def test_a_threshold_is_for_the_true_gradients(
    tmp_path: Path, precision: Any, clip: float | None, step: float
) -> None:
    run = Run(Scale(), quiet(tmp_path, precision=precision))
    weight = nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    run.backward(weight @ torch.tensor([1.5, 0.0, 2.0]))
    run.update(optimizer, clip=clip)
    assert weight.norm().item() == pytest.approx(step, rel=1e-5)
    assert weight[0].item() == pytest.approx(-0.6 * step, rel=1e-5)


def test_parts_of_a_batch_add_up_to_the_whole(tmp_path: Path) -> None:
    """What `papers/training/loop.py` says of a batch that is too large for the memory."""

    def weights(k: int) -> list[torch.Tensor]:
        run = Run(toy.Config(), quiet(tmp_path))
        rows = run.batches(*toy.task(), size=12)
        model = run.prepare(toy.Model(toy.Config()).double())
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
        for step in run.steps(5, model=model, optimizer=optimizer):
            x, y = rows[step]
            optimizer.zero_grad()
            for x_part, y_part in zip(x.chunk(k), y.chunk(k), strict=True):
                loss = nn.functional.cross_entropy(model(x_part.double()), y_part)
                run.backward(loss / k)
                run.log(loss=loss)
            run.update(optimizer, clip=0.3)
        return list(model.parameters())

    for ours, theirs in zip(weights(4), weights(1), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_step_whose_gradients_overflow_is_left_out(tmp_path: Path, clip: float | None) -> None:
    run = Run(Scale(), quiet(tmp_path, precision="fp16"))
    weight = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.Adam([weight], lr=0.1)
    for gradient, moved in [(3e38, False), (1.0, True)]:
        before, scale = weight.detach().clone(), run.scaler.get_scale()
        optimizer.zero_grad()
        run.backward(weight.sum() * gradient)
        run.update(optimizer, clip=clip)
        assert weight.isfinite().all()
        assert torch.equal(weight, before) != moved
        assert run.scaler.get_scale() == scale * (1.0 if moved else 0.5)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
