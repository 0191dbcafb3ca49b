"""Recording: a process of its own, one file, and a fingerprint that knows code from prose."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from papers.common.record import main, record
from site_builder.records import fingerprint
from site_builder.source import Source

PAPER = '''r"""
---
title: Line
summary: Fits a line.
topic: toy
runs: {fitted: "", without slope: --slope 0}
claims:
  - {what: a slope helps, paper: "yes, table 1", run: fitted, metric: loss}
---

# Line
"""

from dataclasses import dataclass

import torch

from papers.common import Options, Run, main


@dataclass(frozen=True)
class Config:
    # how fast
    slope: float = 0.1
    steps: int = 30


def train(config: Config, options: Options | None = None) -> dict[str, float]:
    run = Run(config, options)
    weight = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(weight.parameters(), lr=config.slope)
    for step in run.steps(config.steps, weight=weight, optimizer=optimizer):
        x = torch.randn(16, 1, generator=run.generator)
        loss = (weight(x) - 3 * x).square().mean()
        optimizer.zero_grad()
        run.backward(loss)
        run.update(optimizer)
        run.log(loss=loss)
    run.image("line", torch.rand(1, 4, 6, generator=run.generator))
    return run.finish(loss=loss)


if __name__ == "__main__":
    main(train)
'''


@pytest.fixture
def paper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = Path("papers/toy/line.py")
    path.parent.mkdir(parents=True)
    path.write_text(PAPER)
    return path


@pytest.mark.slow
def test_a_record_holds_the_runs_and_repeats_exactly(paper: Path) -> None:
    first = json.loads(record(paper, []).read_text())
    again = json.loads(record(paper, []).read_text())
    assert [run["label"] for run in first["runs"]] == ["fitted", "without slope"]
    assert first["runs"][0]["metrics"]["loss"] < 0.1 < first["runs"][1]["metrics"]["loss"]
    assert first["runs"][1]["command"] == "python papers/toy/line.py --slope 0"
    assert first["runs"][0]["images"] == ["line.fitted.line.png"]
    assert (paper.parent / "records" / "line.fitted.line.png").stat().st_size > 50
    for one, other in zip(first["runs"], again["runs"], strict=True):
        assert one["metrics"] == other["metrics"]
        assert one["series"] == other["series"]


@pytest.mark.slow
def test_recording_one_run_keeps_the_others_of_the_same_code(paper: Path) -> None:
    record(paper, ["fitted"])
    both = json.loads(record(paper, ["without slope"]).read_text())
    assert [run["label"] for run in both["runs"]] == ["fitted", "without slope"]
    paper.write_text(PAPER.replace("3 * x", "4 * x"))
    one = json.loads(record(paper, ["fitted"]).read_text())
    assert [run["label"] for run in one["runs"]] == ["fitted"]


def test_what_a_person_gets_wrong_is_one_line(
    paper: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for given, said in [
        (["papers/toy/none.py"], "papers/toy/none.py: cannot be read: No such file or directory"),
        (
            [str(paper), "other"],
            "papers/toy/line.py: no run 'other'; runs has: fitted, without slope",
        ),
    ]:
        assert main(given) == 1
        assert capsys.readouterr().err.strip() == said
    paper.write_text(PAPER.replace("title: Line", "titel: Line"))
    assert main([str(paper)]) == 1
    assert "papers/toy/line.py:3: unknown key 'titel'" in capsys.readouterr().err


def test_a_run_that_fails_leaves_no_record(paper: Path) -> None:
    paper.write_text(PAPER.replace("run.finish(loss=loss)", "run.finish(loss=1 / 0)"))
    done = subprocess.run(
        [sys.executable, "-m", "papers.common.record", str(paper)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 1
    assert done.stderr.strip().endswith("the run 'fitted' ended with status 1")
    assert not (paper.parent / "records").exists()


def test_prose_does_not_change_a_fingerprint_and_code_does() -> None:
    def of(text: str) -> str:
        return fingerprint(Source("a.py", text, "utf-8"))

    plain = of(PAPER)
    assert of(PAPER.replace("# how fast", "# how quickly it goes\n    # and why")) == plain
    assert of(PAPER.replace("# Line\n", "# A line\n\nMore words.\n")) == plain
    assert of(PAPER.replace("\n", "\r\n")) == plain
    assert of(PAPER.replace("3 * x", "-3 * x")) != plain
