"""Highlighting: our lexer is quicker than that of Pygments, and finds the same."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from pygments.lexers.python import PythonLexer

from site_builder.read.document import read_document
from site_builder.read.source import Source
from site_builder.render import rows
from site_builder.render.code import highlight
from site_builder.render.lexer import QuickLexer
from site_builder.render.touch import Touch

from .test_lossless import LIBRARY, ODD, library, sources

# All that the rules in front of the others look at, and its neighbours.
PARTS = [
    "a", "é", "_", "__init__", "print", "match", "case _", "type", "if", "in", "is not", "def f",
    "class C", "from", "import", "as", "lazy", "self", "None", "rb", "f", "@", ".", ":", ":=", "=",
    "->", "(", ")", "[", "]", "{", "}", ",", ";", "'", '"', '"""', "#", "\\", "1", "1.", "e5", "x1",
    " ", "  ", "\t", "\f", "\n", "\n    ", "²", "*", "$",
]  # fmt: skip


@settings(max_examples=300)
@given(st.lists(st.sampled_from(PARTS), max_size=20).map("".join))
def test_the_tokens_are_those_of_pygments(text: str) -> None:
    theirs = list(PythonLexer().get_tokens_unprocessed(text))
    assert list(QuickLexer().get_tokens_unprocessed(text)) == theirs


def test_the_tokens_of_files_are_those_of_pygments() -> None:
    files = [*(LIBRARY / name for name in ODD), *library()[::80]]
    for source in sources([file for file in files if file.is_file()], LIBRARY):
        theirs = list(PythonLexer().get_tokens_unprocessed(source.text))
        assert list(QuickLexer().get_tokens_unprocessed(source.text)) == theirs, source.path


PROSE = '''"""Of a file."""
class C:
    """
    It's a class: "quoted.
    """
    x = """
    # no comment
    """
    # It's a comment.
    y = "' # "  # (B, T)
'''


def test_code_looks_the_same_without_the_prose_around_it() -> None:
    document = read_document(Source("a.py", PROSE, "utf-8"), frozenset({"a"}), False)
    done, _ = rows.render_rows(document, Touch(document))
    every = highlight(PROSE, document.references)
    assert [(n, every[n - 1]) for row in done for n in row.numbers] == [
        pair for row in done for pair in zip(row.numbers, row.code, strict=True)
    ]
    assert [n for row in done for n in row.numbers] == [2, 6, 7, 8, 10]
