"""What follows a training: the same numbers in batches, and a word on how it goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from papers.common import Options, Run, judging
from papers.common.judging import in_batches
from tests.common.toy import Config


def run(tmp_path: Path, quiet: bool = False) -> Run:
    return Run(Config(), Options(device="cpu", out=tmp_path, quiet=quiet))


def test_batches_are_joined_and_go_through_the_function_once(tmp_path: Path) -> None:
    seen: list[int] = []

    def double(x: Tensor, y: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        seen.append(len(x))
        return 2 * x + y

    x, y = torch.arange(23.0, requires_grad=True), torch.arange(23.0)
    assert torch.equal(in_batches(run(tmp_path), "image", double, x, y, size=10), 3 * y)
    assert seen == [10, 10, 3]


def test_what_takes_long_shows_how_far_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr(judging.time, "perf_counter", lambda: float(next(clock)))
    for quiet in (False, True):
        in_batches(run(tmp_path, quiet), "image", torch.neg, torch.zeros(40), size=20)
    told = capsys.readouterr().err.splitlines()
    assert [line.split(" · ")[0] for line in told] == ["image 20/40", "image 40/40"]


def test_what_is_soon_done_says_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    in_batches(run(tmp_path), "image", torch.neg, torch.zeros(40), size=20)
    assert capsys.readouterr().err == ""


def test_an_interrupt_says_that_nothing_is_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(x: Tensor) -> Tensor:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_batches(run(tmp_path), "image", interrupted, torch.zeros(40))
    (line,) = capsys.readouterr().err.splitlines()
    # The script of this run was not started, so its caller is told what to call.
    assert line.startswith("stopped after the training; for its results: train(Config(")
    assert line.endswith("resume=True))")
