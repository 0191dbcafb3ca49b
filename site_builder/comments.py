r"""
# Comments

Where the comments of a file are, and what they say. What is a comment cannot be told by looking for
`#`, which also occurs inside strings, so the text is read from the top, one string or comment after
the other.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from itertools import groupby

# Comments that speak to a tool, not to a reader, stay with the code.
DIRECTIVE = re.compile(
    r"#(:?\s*(type:|noqa|fmt:|ruff:|isort:|pragma|pylint:|mypy:|pyright:|-\*-|vim?:|%%))"
)
# What the first two lines may say to the system and to Python.
PREAMBLE = re.compile(r"#!|.*coding[:=]")
# Strings and comments, whichever begins first; and a quote that belongs to neither.
SCAN = re.compile(
    r"""
      \#[^\n]*
    | \"\"\"[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*\"\"\"
    | '''[^'\\]*(?:(?:\\.|'(?!''))[^'\\]*)*'''
    | "(?:[^"\\\n]|\\.)*"
    | '(?:[^'\\\n]|\\.)*'
    | ["']
    """,
    re.VERBOSE | re.DOTALL,
)


def find_comments(text: str) -> Iterator[tuple[int, int, str]]:
    r"""
    ## Find

    Yields start, end and text of each comment that has its lines to itself. Neighbouring lines at
    the same indentation are one comment. Lines of `text` end in `\n`, and it is valid Python.
    """
    alone = [
        (line, column, comment)
        for line, column, comment in _one_by_one(text)
        if not DIRECTIVE.match(comment) and not (line < 3 and PREAMBLE.match(comment))
    ]
    runs = groupby(enumerate(alone), key=lambda item: (item[1][0] - item[0], item[1][1]))
    for _, run in runs:
        found = [token for _, token in run]
        yield found[0][0], found[-1][0], "\n".join(_text(token[2]) for token in found)


def _one_by_one(text: str) -> Iterator[tuple[int, int, str]]:
    r"""
    ## One by one

    Yields line, column and text of each that has its line to itself. The scan takes a twentieth of
    the time of `tokenize`, which decides where the scan cannot: where an f-string holds its own
    quotes, as it may since Python 3.12.
    """
    found = []
    line, counted = 1, 0
    for match in SCAN.finditer(text):
        at, value = match.start(), match[0]
        if value[0] == "#":
            begin = text.rfind("\n", 0, at) + 1
            if not text[begin:at].strip():
                line, counted = line + text.count("\n", counted, at), at
                found.append((line, at - begin, value))
        elif len(value) == 1 or _uneven(text[max(0, at - 2) : at], value):
            import tokenize

            tokens = tokenize.generate_tokens(io.StringIO(text).readline)
            comments = (token for token in tokens if token.type == tokenize.COMMENT)
            return (
                (*token.start, token.string)
                for token in list(comments)
                if not token.line[: token.start[1]].strip()
            )
    return iter(found)


def _uneven(prefix: str, string: str) -> bool:
    """Whether the string may be an f-string that has not ended where the scan thinks."""
    if not re.search(r"[fFtT][rR]?$", prefix):
        return False
    braces = string.replace("{{", "").replace("}}", "")
    return braces.count("{") != braces.count("}")


def _text(comment: str) -> str:
    r"""
    A heading is written with its blank, `# ## Heading`: rows of hashes, boxes drawn with them, and
    code that was commented out twice are not headings.
    """
    text = re.sub(r"^#+:?[ ]?|^#", "", comment)
    return re.sub(r"^#(?!#)", r"\\#", text)
