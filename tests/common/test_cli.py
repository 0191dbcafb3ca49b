"""Flags come from the fields, and a mistake is one line."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papers.common import Options, UserError, main
from papers.common.flags import command_line
from tests.common import toy

seen: list[tuple[toy.Config, Options]] = []


def spy(config: toy.Config, options: Options | None = None) -> dict[str, float]:
    options = options or Options()
    assert options.data != "refused"
    seen.append((config, options))
    return {}


def call(monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[toy.Config, Options]:
    monkeypatch.setattr(sys, "argv", ["toy.py", *words])
    seen.clear()
    main(spy, data=("plain", "two words"), greet=toy.greet)
    return seen[0]


def fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as end:
        call(monkeypatch, *words)
    out, err = capsys.readouterr()
    assert end.value.code == 1
    assert out == ""
    assert err.count("\n") == 1
    return err


def test_no_flags_are_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(monkeypatch) == (toy.Config(), Options())


def test_flags_of_paper_and_run_stand_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    words = "--steps 5 --betas 0.5 0.6 --no-noise --checkpoint-every 0 --resume --device cpu"
    config, options = call(monkeypatch, *words.split(), "--out", "a b")
    assert config == toy.Config(steps=5, betas=(0.5, 0.6), noise=False)
    assert options == Options(checkpoint_every=0, resume=True, device="cpu", out=Path("a b"))


@pytest.mark.parametrize(
    ("words", "telling"),
    [
        ("--steps many", ["--steps", "'many'"]),
        ("--device tpu", ["--device", "'tpu'", "cuda"]),
        ("--precision int8", ["--precision", "bf16"]),
        ("--stesp 3", ["--stesp", "perhaps --steps"]),
        ("--betas 0.5", ["--betas"]),
        ("--steps", ["--steps"]),
        ("treat", ["treat"]),
        ("greet", ["--name"]),
        ("greet --name x --times 0", ["--times 0"]),
    ],
)
def test_a_mistake_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: str,
    telling: list[str],
) -> None:
    line = fails(monkeypatch, capsys, *words.split())
    assert all(part in line for part in telling), line
    assert not any(sign in line for sign in "│╭─")


def test_a_command_has_its_own_flags(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["toy.py", "greet", "--name", "Ada", "--times", "2"])
    main(spy, data=("plain", "two words"), greet=toy.greet)
    assert capsys.readouterr().out == "Ada Ada\n"


def test_help_fits_on_one_screen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["toy.py", "--help"])
    main(spy, data=("plain", "two words"), greet=toy.greet)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 80
    rows = {line.split()[0]: line for line in lines if line.startswith("  --")}
    assert "16" in rows["--width"]
    assert "features of the hidden layer" in rows["--width"]  # from a comment beside the field
    assert "updates of the weights" in rows["--steps"]  # from a string under it
    assert "0.9 0.99" in rows["--betas"]
    assert " on " in rows["--[no-]noise"]
    assert " off " in rows["--[no-]resume"]
    assert "auto" in rows["--device"]
    assert "200" in rows["--checkpoint-every"]
    assert len(rows) == len(toy.Config.__dataclass_fields__) + len(Options.__dataclass_fields__)
    assert any("greet" in line for line in lines)


word = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=8)


@given(
    changes=st.fixed_dictionaries(
        {},
        optional={
            "steps": st.integers(0, 10**9),
            "lr": st.floats(1e-9, 1e9),
            "betas": st.tuples(st.floats(0, 1), st.floats(0, 1)),
            "noise": st.booleans(),
        },
    ),
    more=st.fixed_dictionaries(
        {},
        optional={
            "seed": st.integers(0, 2**40),
            "precision": st.sampled_from(["fp32", "bf16", "fp16"]),
            "compile": st.booleans(),
            "data": st.sampled_from(["plain", "two words"]),
            "out": word.map(lambda text: Path("out " + text.replace("/", ""))),
        },
    ),
)
def test_the_printed_command_gives_the_same_values(
    changes: dict[str, Any], more: dict[str, Any]
) -> None:
    config, options = replace(toy.Config(), **changes), replace(Options(), **more)
    line = command_line("toy.py", config, options)
    with pytest.MonkeyPatch.context() as patch:
        assert call(patch, *shlex.split(line)[2:]) == (config, options)


def test_many_processes_are_started_by_torchrun() -> None:
    line = command_line("toy.py", toy.Config(steps=3), Options(), 4)
    assert line == "torchrun --nproc-per-node 4 toy.py --steps 3"


@dataclass(frozen=True)
class Bare:
    size: int = 1


def test_a_field_without_help_still_has_its_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def train(config: Bare, options: Options | None = None) -> dict[str, float]:
        return {}

    monkeypatch.setattr(sys, "argv", ["toy.py", "-h"])
    train.__annotations__["config"] = Bare
    main(train)
    assert "  --size 1\n" in capsys.readouterr().out


def bare(config: Bare, options: Options | None = None) -> dict[str, float]:
    assert options is not None
    print("trained on", options.data or "digits")
    return {}


def test_a_data_set_is_one_that_the_paper_names(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*words: str, data: tuple[str, ...] = ("digits", "fashion-mnist")) -> str:
        monkeypatch.setattr(sys, "argv", ["bare.py", *words])
        with contextlib.suppress(SystemExit):
            main(bare, data=data)
        out, err = capsys.readouterr()
        assert not (out and err)
        return out + err

    assert told() == "trained on digits\n"
    assert told("--data", "fashion-mnist") == "trained on fashion-mnist\n"
    line = "there is no data set 'FashionMNIST': perhaps fashion-mnist; "
    assert told("--data", "FashionMNIST") == line + "choose one of digits, fashion-mnist\n"
    line = "there is no data set 'x': choose one of digits, fashion-mnist\n"
    assert told("--data", "x") == line
    assert "  --data digits            one of digits, fashion-mnist\n" in told("--help")
    line = "--data digits: bare.py has data of its own: leave --data out\n"
    assert told("--data", "digits", data=()) == line
    assert "--data" not in told("--help", data=())


def test_a_seed_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    for seed in (2**63, -(2**63) - 1):
        with pytest.raises(UserError, match=f"--seed {seed}: give"):
            toy.train(toy.Config(steps=1), Options(seed=seed, out=tmp_path, quiet=True))


def test_importing_is_silent_and_loads_no_more_than_it_needs() -> None:
    heavy = ["tyro", "labml", "PIL", "tensorboard", "sklearn", "torch._dynamo"]
    code = f"import sys, papers.common; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_file_that_cannot_be_used_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def train(config: Bare, options: Options | None = None) -> dict[str, float]:
        return {"length": len((tmp_path / "none").read_text())}

    train.__annotations__["config"] = Bare
    monkeypatch.setattr(sys, "argv", ["bare.py"])
    with pytest.raises(SystemExit) as end:
        main(train)
    assert end.value.code == 1
    said = f"{tmp_path / 'none'}: No such file or directory; name a place that can be used\n"
    assert capsys.readouterr().err == said
