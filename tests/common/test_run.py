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
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from papers.common import Options, Run, UserError
from papers.common.checkpoint import Checkpoints, load
from tests.common import toy
from tests.common.test_checkpoint import equal

ROOT = Path(__file__).parents[2]
SCRIPT = Path(toy.__file__)


def saved(out: Path, step: int) -> dict[str, Any]:
    """What a checkpoint holds, less the time it took."""
    state = load(out / "checkpoints" / f"step-{step:06d}.pt")
    return {name: part for name, part in state.items() if name != "seconds"}


def quiet(out: Path, **changes: Any) -> Options:
    return dataclasses.replace(Options(out=out, quiet=True, device="cpu"), **changes)


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
    again = dataclasses.replace(options, out=tmp_path / "cut")
    toy.train(dataclasses.replace(config, steps=cut), again)
    resumed = toy.train(config, dataclasses.replace(again, resume=True))
    assert resumed == metrics
    assert equal(saved(tmp_path / "cut", 24), saved(tmp_path / "whole", 24))


def test_resuming_past_the_end_trains_no_more(tmp_path: Path) -> None:
    options = quiet(tmp_path)
    ours = toy.train(toy.Config(steps=20), options)
    before = (tmp_path / "checkpoints" / "step-000020.pt").read_bytes()
    theirs = toy.train(toy.Config(steps=10), dataclasses.replace(options, resume=True))
    assert ours == theirs
    assert (tmp_path / "checkpoints" / "step-000020.pt").read_bytes() == before


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
    process.stderr.readline()  # the first line of progress: it is training
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
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
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    line = said.splitlines()[-1]
    assert "Traceback" not in said
    assert "loss is nan at step 37 (it was " in line
    assert line.endswith("r/checkpoints/step-000030.pt")
    assert saved(tmp_path / "r", 30)["step"] == 30


def test_an_infinite_loss_stops_too(tmp_path: Path) -> None:
    run = Run(toy.Config(), quiet(tmp_path))

    def loop() -> None:
        for _ in run.steps(5):
            run.log(train_loss=float("inf"))

    with pytest.raises(UserError, match=r"train_loss is inf at step 0: .* no checkpoint yet"):
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
    toy.train(toy.Config(steps=4), quiet(tmp_path / "r"))

    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))

    words = ["--steps", "8", "--out", "r", "--resume", "--quiet"]
    process = start(tmp_path, *words, preexec_fn=little_room)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.count("\n") == 1
    assert "cannot write" in said
    assert sorted(os.listdir(tmp_path / "r" / "checkpoints")) == ["step-000004.pt"]


def test_another_size_of_model_is_one_line_with_the_reason(tmp_path: Path) -> None:
    toy.train(toy.Config(steps=2), quiet(tmp_path))
    with pytest.raises(UserError, match=r"does not fit this model: .*width 16 → 8") as error:
        toy.train(toy.Config(steps=4, width=8), quiet(tmp_path, resume=True))
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
def test_compiled_or_not_a_checkpoint_loads(tmp_path: Path) -> None:
    config = toy.Config(steps=3)
    toy.train(config, quiet(tmp_path, compile=True))
    plain = toy.train(dataclasses.replace(config, steps=6), quiet(tmp_path, resume=True))
    names = saved(tmp_path, 6)["state"]["model"].keys()
    assert list(names) == list(toy.Model(config).state_dict())
    toy.train(dataclasses.replace(config, steps=3), quiet(tmp_path))
    options = quiet(tmp_path, resume=True, compile=True)
    compiled = toy.train(dataclasses.replace(config, steps=6), options)
    assert compiled == pytest.approx(plain, abs=0.02)


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
    assert made == ["checkpoints", "labml", "result.json", "tensorboard"]
    # A log file is plain lines: no more than a dozen, and nothing that moves the cursor.
    assert "\r" not in err
    assert "\x1b" not in err
    assert 1 <= len(err.splitlines()) <= 12
    assert err.splitlines()[-1].startswith("step 20/20 · 0:00 left · ")
    assert out.count("\n") == 1
    assert "accuracy 0." in out


def test_no_connection_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> None:
        raise AssertionError("a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    toy.train(toy.Config(steps=3), quiet(tmp_path))


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
        "compile": False,
        "seed": 2,
        "checkpoint_every": 100,
        "data": "",
    }
    assert result["metrics"] == metrics
    assert result["steps"] == 450
    assert result["processes"] == 1
    assert result["torch"] == torch.__version__
    assert f"{torch.get_num_threads()} threads" in result["device"]
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
    run.image("grey", levels[None])
    run.image("colour", torch.stack([levels, levels.flip(0), levels * 99]))
    grey = Image.open(tmp_path / "grey.png")
    assert grey.size == (4, 3)
    assert list(grey.tobytes()) == list(range(0, 240, 20))
    pixel = Image.open(tmp_path / "colour.png").getpixel((1, 0))
    assert pixel == (20, 180, 255)


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
    assert text.count("\n") == 1
    assert text.count("\r\x1b[K") >= 3
    assert re.search(r"step \d+/100 · 0:0\d left · [\d.]+ steps/s · loss [\d.]+", text)


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


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
