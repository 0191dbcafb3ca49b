"""What a reader sees of each file has every word that its author wrote: see `tests/words.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from site_builder.read.source import Source

from ..words import compare, missing
from .test_lossless import CHUNKS, LIBRARY, ROOT, library, sources


def lost(files: list[Path], root: Path) -> list[tuple[str, int, str]]:
    return [(s.path, *place) for s in sources(files, root) for place in compare(s).lost]


def test_no_word_of_a_sample_is_lost() -> None:
    assert lost(library()[::80], LIBRARY) == []


def test_no_word_of_ours_is_lost() -> None:
    assert lost(sorted((ROOT / "site_builder").rglob("*.py")), ROOT) == []


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_no_word_of_the_standard_library_is_lost(chunk: int) -> None:
    assert lost(library()[chunk::CHUNKS], LIBRARY) == []


@pytest.mark.parametrize(
    ("written", "page", "gone"),
    [
        ("Copy <path> to it.", "Copy", ["<path to it"]),
        ("one two three", "one three", ["two"]),
        ("one two", "two one", ["two"]),
        ("one two", "onetwo", ["one two"]),
        ("the `reverse`d [x](y.py)", "the reversed x", []),
        (":class:`~a.b.C` in `d <e>`_", "C in d", []),
        ("__init__", "init", ["__init__"]),
        ("2**n", "2n", ["2**n"]),
        ("get_*all*()", "get_all()", ["get*all*"]),
        ("*.py and *.txt", ".py and .txt", ["*", "*"]),
        ("*one* **two** (*three*), *four\nfive*", "one two (three), four five", []),
        ("* an item\n\n***", "an item", []),
        ("*scale_* *__init__*", "scale_ __init__", []),
        ("a *.x_* file", "a .x_ file", ["*", "*"]),
        ("*`one two`_* three", "one two three", []),
        ("+---+---+\n| a | c |\n| b | d |\n+---+---+\n| e | f |\n+---+---+", "a b c d e f", []),
        ("+---+---+\n| a | c |\n| b | d |\n+---+---+", "a b c", ["d"]),
        ("+---+---+\n| a   b |\n+---+---+\n| c | d |\n+---+---+", "a b c d", []),
        ("ﬁne", "fine", []),
    ],
)
def test_the_comparison_sees_what_is_lost(written: str, page: str, gone: list[str]) -> None:
    assert missing(written, page) == gone


def test_a_file_has_its_words_counted() -> None:
    assert (
        compare(Source("a.py", '"""Two words."""\n# Then three.\nx = "# none"\n', "utf-8")).words
        == 4
    )
