"""The benchmark's corpus: copies of our files that share no formula and have nothing wrong."""

from __future__ import annotations

from pathlib import Path

from site_builder.read.blocks import parse
from site_builder.read.source import decode
from tests.bench_site import formulas, make_corpus

from .conftest import Command


def all_formulas(files: list[Path]) -> set[str]:
    blocks = (block for file in files for block in parse(file.read_text()).blocks)
    return {tex for block in blocks for tex in formulas(block.prose)}


def test_every_formula_of_every_copy_is_another(tmp_path: Path) -> None:
    one = make_corpus(tmp_path / "one", 1)
    two = make_corpus(tmp_path / "two", len(one) + 1)[len(one) :]
    assert len(one) == len(two)
    first, second = all_formulas(one), all_formulas(two)
    assert len(first) > 50
    assert not first & second
    assert abs(len(first) - len(second)) <= len(first) // 50
    assert all(parse(file.read_text()).tree for file in one + two)
    assert decode("a.py", two[0].read_bytes())


def test_the_corpus_builds(tmp_path: Path, command: Command) -> None:
    make_corpus(tmp_path / "corpus", 1)
    done = command("build", tmp_path / "corpus", "--out", tmp_path / "out")
    assert "Expected" not in done.stderr, "a formula was spoilt"
    assert "Undefined control sequence" not in done.stderr
    assert "leads nowhere: copy" not in done.stderr
