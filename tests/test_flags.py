"""Every paper's flags, given a value that makes no sense, are one line before any work is done."""

from __future__ import annotations

import dataclasses
import importlib
import runpy
import sys
import typing
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from papers.common import Options, Share, UserError
from papers.common.flags import flag

ROOT = Path(__file__).parents[1]


def papers() -> Iterator[str]:
    for path in sorted(ROOT.glob("papers/**/*.py")):
        name = path.relative_to(ROOT).as_posix()
        ours = not name.startswith(("papers/common/", "papers/tools/"))
        if ours and "main(" in path.read_text(encoding="utf-8"):
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
            # What is below zero as it comes, such as a bias, may be.
            if default >= 0:
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


def test_a_paper_that_reads_data_names_the_sets() -> None:
    for paper in papers():
        source = (ROOT / paper.replace(".", "/")).with_suffix(".py").read_text(encoding="utf-8")
        if "options.data" in source:
            assert "main(train, data=" in source, paper


@pytest.mark.parametrize("paper", list(papers()))
def test_help_fits_a_screen_of_80_columns(
    paper: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = ROOT / paper.replace(".", "/")
    monkeypatch.setattr(sys, "argv", [f"papers/x/{path.name}.py", "--help"])
    runpy.run_path(str(path.with_suffix(".py")), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"usage: python {path.name}.py [--flag value ...]"
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 40
    # A flag without a line of help would say nothing. Behind a long one it is on the next line.
    pairs = pairwise([*lines, ""])
    bare = [one for one, after in pairs if one.startswith("  --") and len(one.split()) < 3
            and not after.startswith(" " * 20)]  # fmt: skip
    assert not bare


@pytest.mark.parametrize("value", [float("nan"), -0.1])
def test_what_is_not_a_number_is_no_share(value: float) -> None:
    module = importlib.import_module("papers.transformers.bert")
    with pytest.raises(UserError, match=r"--dropout .*: give a share from 0 to 1"):
        module.train(module.Config(dropout=value), Options(device="cpu", quiet=True))


@pytest.mark.parametrize(
    ("paper", "flags", "said"),
    [
        ("diffusion.ddim", {"steps": 1, "number": 1}, "two images or more"),
        ("diffusion.ddpm", {"width": 7}, "--width 7: give a multiple of 4"),
        ("diffusion.ddpm", {"width": 132}, "on one of 32"),
        ("diffusion.ddpm", {"multipliers": (0, 1)}, "--multipliers from 1 on"),
        ("diffusion.ddpm", {"multipliers": ()}, "and at least one"),
        (
            "diffusion.ddpm",
            {"multipliers": (1,) * 5},
            "halved, which this network does 4 times",
        ),
        ("optimizers.adam", {"beta2": 1.0}, "beta2 is 1.0: give a value in"),
        ("training.checkpointing", {"batch": 1}, "two images or more"),
        ("training.loop", {"batch": 1}, "two images or more"),
        ("transformers.bert", {"share": 0.0}, "raise --share or --batch"),
        ("transformers.bert", {"context": 3}, "a context of 3 makes segments of 0 tokens"),
        ("transformers.gpt2", {"heads": 3}, "width 64 does not divide into 3 heads"),
        ("transformers.gpt2", {"lr": 1e9}, "start again with a smaller learning rate"),
        ("vision.vit", {"patch": 3}, "does not divide into patches of 3 by 3"),
    ],
)
def test_what_cannot_be_is_one_line(
    paper: str, flags: dict[str, Any], said: str, tmp_path: Path
) -> None:
    module: Any = importlib.import_module(f"papers.{paper}")
    config = module.Config(**({"steps": 3} if paper != "training.loop" else {}) | flags)
    with pytest.raises(UserError) as error:
        module.train(config, Options(device="cpu", out=tmp_path, quiet=True))
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("paper", "flags"),
    [
        ("transformers.gpt2", {"context": 1}),
        ("transformers.llama", {"context": 1, "layers": 1}),
        ("transformers.sampling.temperature", {"texts": 1}),
        ("transformers.bert", {"dropout": 1.0, "layers": 1}),
    ],
)
def test_the_last_that_can_be_runs(paper: str, flags: dict[str, Any], tmp_path: Path) -> None:
    module: Any = importlib.import_module(f"papers.{paper}")
    config = module.Config(**({} if "length" in flags else {"steps": 1}) | flags)
    assert module.train(config, Options(device="cpu", out=tmp_path, quiet=True))
