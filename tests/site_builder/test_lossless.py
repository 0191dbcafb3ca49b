r"""
# Lossless and once

On the files of Python's standard library, with its tests, its odd encodings and its files that are
broken on purpose, and on every file of ours. Of the library a third is read here, and all of it by
`make fuzz`.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from site_builder.problem import Problem
from site_builder.read.blocks import parse
from site_builder.read.source import Source, decode

from .invariants import check

ROOT = Path(__file__).parents[2]
LIBRARY = Path(sysconfig.get_paths()["stdlib"])
CHUNKS = 8
SHARE = 1 if "FUZZ_EXAMPLES" in os.environ else 3

# What Python itself cannot decode is a problem and has no page.
UNDECODABLE = {
    "test/tokenizedata/bad_coding.py",
    "test/tokenizedata/bad_coding2.py",
    "test/tokenizedata/badsyntax_pep3120.py",
}
# A few that once needed care: every kind of string, of ending, of encoding, of comment.
ODD = """
    ast.py http/client.py typing.py random.py turtle.py this.py heapq.py dataclasses.py
    encodings/cp1252.py sqlite3/dump.py json/decoder.py asyncio/base_events.py test/test_grammar.py
    test/test_source_encoding.py test/test_fstring.py test/badsyntax_3131.py
    test/test_string_literals.py test/encoded_modules/module_koi8_r.py
    test/encoded_modules/module_iso_8859_1.py
    lib2to3/tests/data/bom.py lib2to3/tests/data/crlf.py lib2to3/tests/data/py2_test_grammar.py
    lib2to3/tests/data/different_encoding.py test/test_typing.py
""".split()  # noqa: SIM905


def library() -> list[Path]:
    files = LIBRARY.rglob("*.py")
    return sorted(file for file in files if "site-packages" not in file.parts)


def sources(files: list[Path], root: Path) -> Iterator[Source]:
    for file in files:
        path = file.relative_to(root).as_posix()
        source = decode(path, file.read_bytes())
        if isinstance(source, Problem):
            assert path in UNDECODABLE, source
        else:
            assert source.text.encode(source.encoding) == file.read_bytes()
            yield source


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_the_standard_library(chunk: int) -> None:
    files = library()[chunk :: CHUNKS * SHARE]
    assert len(files) > 150 / SHARE
    for source in sources(files, LIBRARY):
        check(source)


def test_what_once_needed_care() -> None:
    files = [LIBRARY / name for name in ODD if (LIBRARY / name).is_file()]
    assert len(files) > len(ODD) / 2
    for source in sources(files, LIBRARY):
        check(source)


def test_a_sample_of_the_standard_library() -> None:
    for source in sources(library()[::40], LIBRARY):
        check(source)


def test_our_own_tree() -> None:
    files = [
        file for name in ("papers", "site_builder", "tests") for file in (ROOT / name).rglob("*.py")
    ]
    assert len(files) > 50
    for source in sources(files, ROOT):
        check(source)


NESTED = [
    'x = f"{d["#"]}"\n# after\ny = 1\n',
    "x = f'{d['a']}' '#'\n# after\n",
    'x = f"{"{"}"\n# after\n',
    'x = f"{"{"}#{"}"}"\n# after\n',
    'x = f"""{"""#"""}\n# not one\n"""\n# after\n',
    'x = rf"{d["d#"]}" "#"\n# after\n',
    'x = f"{\n# inside\ny}"\n# after\n',
    'x = f"{{{x}}}#"\n# after\n',
]


@pytest.mark.parametrize("text", NESTED)
def test_strings_in_strings(text: str) -> None:
    """Since 3.12 these are Python; before, what matters is that no comment is made up."""
    check(Source("a.py", text, "utf-8"))
    comments = {block.prose for block in parse(text).blocks if block.kind == "comment"}
    assert comments <= {"after", "inside", "not one"}
    assert sys.version_info < (3, 12) or comments <= {"after", "inside"}
