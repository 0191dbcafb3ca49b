"""Every paper's flags, given a value that makes no sense, are one line before any work is done."""

from __future__ import annotations

import dataclasses
import importlib
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from papers.common import Options, Share, UserError
from papers.common.cli import flag

ROOT = Path(__file__).parents[1]


def papers() -> Iterator[str]:
    for path in sorted(ROOT.glob("papers/**/*.py")):
        if "main(" in path.read_text(encoding="utf-8") and "/common/" not in path.as_posix():
            yield ".".join(path.relative_to(ROOT).with_suffix("").parts)


def cases() -> Iterator[tuple[str, str, float]]:
    for paper in papers():
        config = importlib.import_module(paper).Config
        hints = typing.get_type_hints(config, include_extras=True)
        for field in dataclasses.fields(config):
            default = field.default
            if isinstance(default, bool) or not isinstance(default, int | float):
                continue
            if isinstance(default, int) and default > 0:
                yield paper, field.name, 0
            yield paper, field.name, -1
            if isinstance(default, float):
                yield paper, field.name, float("inf")
            if hints[field.name] == Share:
                yield paper, field.name, 1.5


def test_every_paper_has_cases() -> None:
    assert {paper for paper, _, _ in cases()} == set(papers())
    assert len(list(papers())) >= 18


@pytest.mark.parametrize(("paper", "field", "value"), list(cases()))
def test_nonsense_is_refused(paper: str, field: str, value: float, tmp_path: Path) -> None:
    module: Any = importlib.import_module(paper)
    # What `main` calls: its name is `train`, but where nothing is trained.
    run = getattr(module, "train", None) or module.measure
    out = tmp_path / "out"
    with pytest.raises(UserError) as error:
        run(module.Config(**{field: value}), Options(device="cpu", out=out, quiet=True))
    assert str(error.value).startswith(f"{flag(field)} {value}: give ")
    assert not out.exists()


@pytest.mark.parametrize("value", [float("nan"), -0.1])
def test_what_is_not_a_number_is_no_share(value: float) -> None:
    module = importlib.import_module("papers.transformers.bert")
    with pytest.raises(UserError, match=r"--dropout .*: give a share from 0 to 1"):
        module.train(module.Config(dropout=value), Options(device="cpu", quiet=True))
