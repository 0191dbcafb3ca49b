"""A run that is far below the rate of its record says so, once, and only where it can compare."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from papers.common import Options, pace
from tests.common import toy

RECORD = {
    "runs": [
        {
            "arguments": "",
            "steps": 60,
            "seeds": [{"seconds": 1, "processor_seconds": 120e-9, "threads": 2}],
        }
    ]
}


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The toy, as if its file lay in `tmp_path` beside a record of a billion steps a second."""
    script = tmp_path / "toy.py"
    shutil.copy(Path(str(toy.__file__)), script)
    monkeypatch.setattr(toy, "__file__", str(script))
    monkeypatch.setattr(pace, "WHILE", 0)
    record = tmp_path / "records" / "toy.json"
    record.parent.mkdir()
    record.write_text(json.dumps(RECORD))
    return record


def run(tmp_path: Path, config: toy.Config, module: ModuleType = toy, **options: Any) -> None:
    module.train(config, Options(out=tmp_path / "out", device="cpu", threads=1, **options))


def test_a_slow_run_says_so_once(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, toy.Config())
    told = [
        line for line in capsys.readouterr().err.splitlines() if "slower than on record" in line
    ]
    assert len(told) == 1
    assert "1e+09 steps a second" in told[0]
    assert "--threads 1" in told[0]


@pytest.mark.parametrize(
    ("config", "options"),
    [(toy.Config(width=8), {}), (toy.Config(), {"quiet": True}), (toy.Config(), {"data": "other"})],
)
def test_another_run_is_not_compared(
    config: toy.Config,
    options: dict[str, Any],
    recorded: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(tmp_path, config, **options)
    assert "slower" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"runs": []}', '{"runs": [{"arguments": "", "steps": 1, "seeds": []}]}'],
)
def test_a_record_that_cannot_be_read_is_none(text: str, recorded: Path, tmp_path: Path) -> None:
    recorded.write_text(text)
    assert pace.rate_on_record(tmp_path / "toy.py", toy.Config(), Options()) == 0


def test_a_run_at_its_pace_says_nothing(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = json.loads(json.dumps(RECORD))
    slow["runs"][0]["seeds"][0] |= {"seconds": 3600, "processor_seconds": 9999}
    recorded.write_text(json.dumps(slow))
    assert pace.rate_on_record(tmp_path / "toy.py", toy.Config(), Options()) == pytest.approx(
        1 / 60
    )
    run(tmp_path, toy.Config())
    assert "slower" not in capsys.readouterr().err
