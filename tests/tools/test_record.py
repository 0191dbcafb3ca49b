"""Recording: processes of their own, three seeds, one file, and nothing is run twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from papers.tools.record import asked, file, record
from papers.tools.record.__main__ import main
from papers.tools.record.asked import Paper, missing
from papers.tools.record.trial import slug

PAPER = '''r"""
---
title: Line
summary: Fits a line.
metrics: {loss: {name: loss, better: lower}}
runs: {fitted: "", without slope: --slope 0}
claims:
  - {what: a slope helps, paper: "yes, table 1", run: fitted, metric: loss,
     control: without slope, margin: 1}
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
    run.show("line", torch.rand(1, 4, 6, generator=run.generator))
    run.show("slope", f"[ 1, 2 ]\\n{weight.weight.item():.1f}")
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


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Stands in for the processes: what was run, and results that need no training."""
    found: list[tuple[str, int]] = []

    def run(paper: Paper, label: str, seed: int) -> tuple[dict[str, Any], dict[str, bytes]]:
        found.append((label, seed))
        name = f"{paper.path.stem}.{slug(label)}.line.png"
        result = {
            "seed": seed, "device": "a CPU", "threads": 1, "seconds": 2.0, "steps": 30,
            "processor_seconds": 3.0, "metrics": {"loss": seed + 0.5}, "said": {"a": "b"},
            "series": {"loss": {"steps": [0, 1], "values": [1.23456789, None]}}, "images": [name],
        }  # fmt: skip
        return result, {name: f"{label}{seed}".encode()}

    monkeypatch.setattr("papers.tools.record.run", run)
    return found


def entries(path: Path) -> dict[str, dict[str, Any]]:
    return {entry["label"]: entry for entry in json.loads(path.read_text())["runs"]}


@pytest.mark.slow
def test_a_record_holds_every_seed_of_every_run_and_repeats_exactly(paper: Path) -> None:
    first = entries(record(paper, []))
    again = entries(record(paper, ["fitted"], again=True))
    assert list(first) == ["fitted", "without slope"]
    assert first["without slope"]["arguments"] == "--slope 0"
    losses = {k: [seed["metrics"]["loss"] for seed in v["seeds"]] for k, v in first.items()}
    assert max(losses["fitted"]) < 0.1 < 1 < min(losses["without slope"])
    assert len(set(losses["without slope"])) == 3
    for label, entry in first.items():
        assert [seed["seed"] for seed in entry["seeds"]] == [0, 1, 2]
        # One was run again; the other was left as it was.
        assert entry["series"] == again[label]["series"]
        assert [seed["metrics"]["loss"] for seed in again[label]["seeds"]] == losses[label]
    fitted = first["fitted"]
    assert fitted["series"]["loss"]["steps"] == list(range(30))
    assert fitted["said"] == {"slope": "[ 1, 2 ]\n3.0"}
    assert fitted["images"] == ["line.fitted.line.png"]
    assert (paper.parent / "records" / "line.fitted.line.png").stat().st_size > 50
    seed = fitted["seeds"][0]
    assert set(seed["versions"]) == {"torch", "numpy", "scikit-learn", "python"}
    assert seed["threads"] == int(os.environ.get("OMP_NUM_THREADS", 1))
    assert seed["processor_seconds"] > 0
    assert "thread" not in seed["device"]


def test_the_first_seed_of_all_runs_comes_first(paper: Path, ran: list[tuple[str, int]]) -> None:
    both = ["fitted", "without slope"]
    written = entries(record(paper, []))
    assert ran == [(label, seed) for seed in (0, 1, 2) for label in both]
    picture = paper.parent / "records" / "line.without-slope.line.png"
    assert picture.read_bytes() == b"without slope0"
    assert written["fitted"]["series"] == {"loss": {"steps": [0, 1], "values": [1.23457, None]}}
    assert [seed["metrics"]["loss"] for seed in written["fitted"]["seeds"]] == [0.5, 1.5, 2.5]


def test_what_is_on_record_is_not_run_again(paper: Path, ran: list[tuple[str, int]]) -> None:
    record(paper, ["fitted"])
    assert ran == [("fitted", seed) for seed in (0, 1, 2)]
    target = record(paper, [])
    assert len(ran) == 6
    before = target.read_bytes()
    assert record(paper, []).read_bytes() == before
    paper.write_text(PAPER.replace("# how fast", "# how quickly").replace("# Line", "# Lines"))
    assert record(paper, []).read_bytes() == before
    assert len(ran) == 6
    record(paper, ["fitted"], again=True)
    assert [label for label, _ in ran[6:]] == ["fitted"] * 3


def test_recording_goes_on_where_it_was_interrupted(
    paper: Path, ran: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from papers.tools.record import run

    def interrupted(paper: Paper, label: str, seed: int) -> tuple[dict[str, Any], dict[str, bytes]]:
        if len(ran) == 3:
            raise KeyboardInterrupt
        return run(paper, label, seed)

    monkeypatch.setattr("papers.tools.record.run", interrupted)
    assert main([str(paper)]) == 130
    monkeypatch.setattr("papers.tools.record.run", run)
    assert main([str(paper)]) == 0
    assert sorted(ran) == [(k, s) for k in ("fitted", "without slope") for s in (0, 1, 2)]


@pytest.mark.parametrize(
    ("changed", "runs"),
    [
        (("3 * x", "4 * x"), ["fitted", "without slope"]),
        (("--slope 0", "--slope 0.001"), ["without slope"]),
        (('fitted: ""', 'quick: --slope 1, fitted: ""'), ["quick"]),
    ],
)
def test_what_is_no_longer_the_same_is_run(
    paper: Path, ran: list[tuple[str, int]], changed: tuple[str, str], runs: list[str]
) -> None:
    record(paper, [])
    assert asked.stale([]) == []
    paper.write_text(PAPER.replace(*changed))
    assert asked.stale([]) == [paper]
    ran.clear()
    written = entries(record(paper, []))
    assert list(dict.fromkeys(label for label, _ in ran)) == runs
    assert {label: len(entry["seeds"]) for label, entry in written.items()} == dict.fromkeys(
        written, 3
    )


def test_a_label_that_is_gone_goes(paper: Path, ran: list[tuple[str, int]]) -> None:
    record(paper, [])
    text = PAPER.replace(", without slope: --slope 0", "").replace(
        "control: without slope", "than: 2"
    )
    paper.write_text(text)
    ran.clear()
    assert list(entries(record(paper, []))) == ["fitted"]
    assert ran == []
    assert [p.name for p in (paper.parent / "records").glob("*.png")] == ["line.fitted.line.png"]


@pytest.mark.parametrize(
    ("seconds", "processor", "threads", "seeds"),
    [(119, 119, 1, 3), (121, 121, 1, 1), (600, 100, 1, 3), (600, 300, 2, 1), (130, 200, 2, 3)],
)
def test_a_long_run_has_one_seed(
    seconds: float, processor: float, threads: int, seeds: int
) -> None:
    first = {"seed": 0, "seconds": seconds, "processor_seconds": processor, "threads": threads}
    wanted = missing(Paper(Path("a.py"), {"a": ""}, {}), {"a": {"seeds": [first]}})
    assert [seed for _, seed in wanted] == [1, 2][: seeds - 1]


def test_a_record_that_is_too_heavy_is_refused(
    paper: Path,
    ran: list[tuple[str, int]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for kind, limit, said in [
        ("JSON", 100, "1 kB of JSON, and at most 0 are kept"),
        ("pictures", 3, "0 kB of pictures, and at most 0 are kept"),
    ]:
        monkeypatch.setattr(file, "LIMITS", {**file.LIMITS, kind: limit})
        assert main([str(paper)]) == 1
        message = f"papers/toy/records/line.json: {said}; log, say or show less"
        assert capsys.readouterr().err.splitlines()[-1] == message
        assert not (paper.parent / "records").exists()
        monkeypatch.setattr(file, "LIMITS", {"JSON": 10**6, "pictures": 10**6})


def test_curves_stand_on_one_line_and_texts_as_they_are() -> None:
    given = {"values": [1, -2.5e-07, None, 3], "said": {"a": "[ 1,\n 2 ]"}, "names": ["1"], "n": []}
    text = file.to_text({"runs": [given]})
    assert json.loads(text) == {"runs": [given]}
    assert '"values": [1, -2.5e-07, null, 3]' in text


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
    for words in ([], ["fitted"], ["a.py", "b.py", "fitted"]):
        with pytest.raises(SystemExit):
            main(words)


@pytest.mark.slow
def test_a_run_that_fails_leaves_no_record_and_holds_up_no_other_paper(paper: Path) -> None:
    other = paper.with_name("dot.py")
    other.write_text(PAPER.replace("steps: int = 30", "steps: int = 2"))
    paper.write_text(PAPER.replace("run.finish(loss=loss)", "run.finish(loss=1 / 0)"))
    done = subprocess.run(
        [sys.executable, "-m", "papers.tools.record", str(paper), str(other)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 1
    assert "line.py: the run 'fitted' with seed 0 ended with status 1" in done.stderr
    assert done.stdout.splitlines() == ["papers/toy/records/dot.json"]
    assert {p.name for p in (paper.parent / "records").glob("*.json")} == {"dot.json"}
