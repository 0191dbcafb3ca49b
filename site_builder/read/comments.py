r"""
# Comments

The comments of a file, and what those say that have their lines to themselves. Python's own
tokenizer finds them, so that a hash inside a string is none.
"""

from __future__ import annotations

import contextlib
import io
import re
import tokenize
from collections.abc import Iterator
from itertools import groupby

# Comments that speak to a tool, not to a reader, stay with the code: linters, notebooks (`%%`,
# `In[1]:`, `<codecell>`, `+`, `-`), and what only a notebook can run (`!pip`, `%matplotlib`).
DIRECTIVE = re.compile(
    r"""\#(?: :?\s*(?:type:|noqa|fmt:|ruff:|isort:|pragma|pylint:|mypy:|pyright:|-\*-|vim?:)
         | \s*(?:%%|In\s?\[[\d\s]*\]:|![a-z]|%[a-z]\w)
         | \s*(?:<(?:code|markdown|raw|html|heading)cell\b[^<>]*>|<nbformat>[\d.]*</nbformat>)\s*$
         | \s*(?:\+\s*(?:\[\w+\].*|\{.*\})?|-)$ )""",
    re.VERBOSE,
)
CELL = re.compile(r"#\s*(%%|In\s?\[|<codecell>|\+\s*$)")
# What the first two lines may say to the system and to Python.
PREAMBLE = re.compile(r"#!|.*coding[:=]")
FENCE = re.compile(r"\s*(?:```|~~~)")

# Line, column and text of a comment.
Token = tuple[int, int, str]


def comment_tokens(text: str) -> tuple[list[Token], list[Token]]:
    r"""
    ## Find

    The comments that have their lines to themselves, and those behind code. Lines of `text` end in
    `\n`; where it stops being Python, so do its comments.
    """
    alone: list[Token] = []
    behind: list[Token] = []
    # A null byte is no Python, and 3.13's tokenizer gives tokens beside an error of its own there.
    readline = io.StringIO(text.replace("\0", "\ufffd")).readline
    with contextlib.suppress(tokenize.TokenError, SyntaxError, UnicodeError):
        for token in tokenize.generate_tokens(readline):
            if token.type == tokenize.COMMENT:
                place = behind if token.line[: token.start[1]].strip() else alone
                place.append((*token.start, token.string))
    return alone, behind


def prose_comments(found: list[Token]) -> Iterator[tuple[int, int, str]]:
    r"""
    ## Those that speak to a reader

    Yields start, end and text of each. Neighbouring lines at the same indentation are one comment.
    """
    header = _notebook_header(found)
    notebook = bool(header) or any(CELL.match(comment) for _, _, comment in found)
    prose = [
        (line, column, comment)
        for line, column, comment in found[header:]
        if not DIRECTIVE.match(comment) and not (line < 3 and PREAMBLE.match(comment))
    ]
    runs = groupby(enumerate(prose), key=lambda item: (item[1][0] - item[0], item[1][1]))
    for _, run in runs:
        tokens = [token for _, token in run]
        texts = _texts([comment for _, _, comment in tokens], notebook)
        yield tokens[0][0], tokens[-1][0], "\n".join(texts)


def _notebook_header(found: list[Token]) -> int:
    """How many comments at the top are what jupytext notes for itself, between two `# ---`."""
    texts = [comment for _, _, comment in found]
    top = sum(line < 3 and PREAMBLE.match(text) is not None for line, _, text in found[:2])
    if texts[top : top + 1] != ["# ---"] or found[top][0] > top + 2 or texts.count("# ---") < 2:
        return 0
    end = texts.index("# ---", top + 1) + 1
    return end if any("jupytext" in text for text in texts[:end]) else 0


def _texts(comments: list[str], notebook: bool) -> Iterator[str]:
    r"""
    ## Without their hashes

    A heading is written with its blank, `# ## Heading`: rows of hashes, boxes drawn with them, and
    code that was commented out twice are not headings, unless they open a notebook's paragraph.
    """
    fenced, before = False, ""
    for comment in comments:
        text = re.sub(r"^#+:?[ ]?|^#", "", comment)
        fenced ^= FENCE.match(text) is not None
        titled = notebook and not before and text.startswith("# ")
        before = text
        yield text if fenced or titled else re.sub(r"^#(?!#)", r"\\#", text)
