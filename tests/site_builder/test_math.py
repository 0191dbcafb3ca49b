"""Formulas: typeset once, whatever becomes of the cache, and a reason where it cannot be."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from site_builder import math
from site_builder.math import MathError, typeset

from .conftest import Command, Tree


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of our own, and no memory of formulas before."""
    monkeypatch.setenv("SITE_BUILDER_CACHE", str(tmp_path / "cache"))
    typeset.cache_clear()
    yield tmp_path / "cache"
    typeset.cache_clear()


def rendered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The formulas that KaTeX is asked for from here on."""
    asked: list[str] = []
    engine = math._render

    def count(tex: str, display: bool) -> str:
        asked.append(tex)
        return engine(tex, display)

    monkeypatch.setattr(math, "_render", count)
    return asked


def forget(folder: Path) -> None:
    """As a new process would."""
    connection = math._database(folder, os.getpid())
    if connection:
        connection.close()
    math._database.cache_clear()
    typeset.cache_clear()


def database(folder: Path) -> Path:
    return next(folder.glob("katex-*.sqlite"))


def test_once_for_all_builds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = rendered(monkeypatch)
    first = typeset("x^2", False)
    typeset.cache_clear()
    assert typeset("x^2", False) == first
    assert typeset("x^2", True) != first
    assert asked == ["x^2", "x^2"], "one inline, one display"
    rows = sqlite3.connect(database(folder)).execute("SELECT COUNT(*) FROM math").fetchone()
    assert rows == (2,)


@pytest.mark.parametrize(
    "damage", [b"", b"not a database at all" * 1000, b"SQLite format 3\0" * 500]
)
def test_a_damaged_cache_is_made_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, damage: bytes
) -> None:
    first = typeset("x^3", False)
    forget(folder)
    for file in folder.iterdir():
        file.write_bytes(damage)
    asked = rendered(monkeypatch)
    assert typeset("x^3", False) == first
    assert asked == ["x^3"]
    typeset.cache_clear()
    assert typeset("x^3", False) == first
    assert asked == ["x^3"], "the new cache works"


def test_a_cache_that_cannot_be(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write_text("a file where the folder should be")
    first = typeset("x^4", False)
    typeset.cache_clear()
    assert typeset("x^4", False) == first
    shutil.rmtree(folder, ignore_errors=True)


def test_a_cache_that_goes_away_in_the_middle(folder: Path) -> None:
    first = typeset("x^5", False)
    shutil.rmtree(folder)
    typeset.cache_clear()
    assert typeset("x^5", False) == first
    assert typeset("x^6", False)


def test_many_builds_share_it(tree: Tree, command: Command, folder: Path) -> None:
    root = tree({f"p{n}.py": f'r"""$x_{{{n}}} + {n}$"""\n' + "x = 1\n" * 3000 for n in range(12)})
    for _ in range(2):
        done = command("build", root, SITE_BUILDER_CACHE=str(folder))
        assert (done.returncode, done.stderr) == (0, "")
    rows = sqlite3.connect(database(folder)).execute("SELECT COUNT(*) FROM math").fetchone()
    assert rows == (12,)


@pytest.mark.parametrize(
    ("tex", "reason"),
    [
        (r"\frac{", "Unexpected end of input"),
        (r"\nope", r"Undefined control sequence: \nope"),
        (r"a & b", "Expected 'EOF', got '&'"),
        (r"\begin{x}", "No such environment: x"),
        (r"\def\a{\a\a}\a", "Too many expansions"),
        ("{" * 10_000 + "}" * 10_000, "make the formula simpler"),
        (r"\def\a#1{\a{#1#1}}\a{x}", ""),
    ],
)
def test_bad_formulas_have_reasons(folder: Path, tex: str, reason: str) -> None:
    begin = time.monotonic()
    with pytest.raises(MathError) as caught:
        typeset(tex, True)
    assert reason in str(caught.value)
    assert "\u0332" not in str(caught.value)
    assert time.monotonic() - begin < 20
    # The engine is none the worse for it.
    assert "katex" in typeset(r"\sum_i^n x", True)


def test_nothing_is_trusted(folder: Path) -> None:
    html = typeset(r"\href{https://x.org}{x} \htmlId{main}{y} \url{https://x.org}", False)
    assert "<a " not in html
    assert 'id="' not in html
