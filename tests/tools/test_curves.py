"""What labml keeps of a run can be looked at with one command."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from papers.tools.curves import draw, main, read


def write(folder: Path, run: str, *lines: dict[str, list[list[object]]]) -> Path:
    log = folder / "labml" / "toy" / run / "log.jsonl"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("".join(json.dumps({"track": line}) + "\n" for line in lines))
    return log


def test_logs_of_a_resumed_run_are_one(tmp_path: Path) -> None:
    write(
        tmp_path, "a", {"loss": [[0, [4.0]], [1, [3.0]]]}, {"loss": [[2, [9.0]]], "lr": [[2, [1]]]}
    )
    later = write(tmp_path, "b", {"loss": [[2, [2.0]], [3, [1.0]]]})
    later.write_text(later.read_text() + '{"track": {"lo')
    assert read(tmp_path) == {"loss": {0: 4.0, 1: 3.0, 2: 2.0, 3: 1.0}, "lr": {2: 1.0}}


def test_a_curve_rises_and_falls_where_its_values_do() -> None:
    assert draw({step: float(step) for step in range(8)}) == "▁▂▃▄▅▆▇█"
    assert draw({step: -float(step) for step in reversed(range(8))}) == "█▇▆▅▄▃▂▁"
    assert draw({0: 5.0}) == draw({7: 0.0}) == "▁"
    assert draw({0: 1.0, 1: math.nan, 2: 3.0}) == "▁!█"
    # Stretches of equal length, and no step left out.
    long = draw({step: float(step % 100 == 99) for step in range(4800)})
    assert len(long) == 48
    assert set(long) == {"▁"}
    assert draw({step: float(step >= 2400) for step in range(4800)}) == "▁" * 24 + "█" * 24


def test_the_command_shows_each_value(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "a", {"loss": [[0, [4.0]], [9, [0.5]]], "accuracy": [[9, [0.75]]]})
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "accuracy: 0.75 at step 9, 0.75 at step 9",
        "▁",
        "loss: 4 at step 0, 0.5 at step 9",
        "█▁",
    ]
    assert main([str(tmp_path / "labml")]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "labml: no log there; give a run's folder" in err
