r"""
# Code

A file is highlighted once, as a whole, and then cut by lines. Highlighting each section by itself
would be slower, and wrong wherever a string runs over several lines.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from html import escape

from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.lexers.python import PythonLexer
from pygments.token import STANDARD_TYPES, Comment, Name, Token, _TokenType
from pygments.util import ClassNotFound

# What a trailing comment says when it states shapes: `# (B, T, D/2)` or `# (B, T), (B,)`.
CHIP = re.compile(r"#\s*(\([^()]*\)(?:,? *(?:->)? *\([^()]*\))*)\s*$")

# (line, column) of a name to the dotted name it stands for.
References = dict[tuple[int, int], str]


@functools.cache
def _css_class(kind: _TokenType) -> str:
    return next(STANDARD_TYPES[k] for k in reversed(kind.split()) if k in STANDARD_TYPES)


def _pieces(lexer: Lexer, text: str) -> Iterator[tuple[_TokenType, str]]:
    """The lexer's tokens without its habit of editing the text first."""
    for _, kind, value in lexer.get_tokens_unprocessed(text):
        yield kind, value


def highlight(text: str, references: References) -> list[str]:
    r"""
    ## Highlight

    One piece of HTML for each line of `text`, whose lines end in `\n`. A name in `references`
    becomes a link to `ref:dotted.name`, which [links](links.py) will turn into an address or take
    out again.
    """
    lines: list[list[str]] = [[]]
    column = 0
    blank = True
    for kind, value in _pieces(PythonLexer(), text):
        style = _css_class(kind)
        parts = value.split("\n")
        for index, part in enumerate(parts):
            if index:
                lines.append([])
                column, blank = 0, True
            if not part:
                continue
            html = escape(part, quote=False)
            if Comment in kind.split() and not blank and (chip := CHIP.match(part)):
                shape = escape(chip[1], quote=False)
                # The hash is there for whoever copies the line, and hidden from whoever reads it.
                html = f'<span class="chip"><span class="hash"># </span>{shape}</span>'
            elif style:
                html = f'<span class="{style}">{html}</span>'
            if Name in kind.split() and (target := references.get((len(lines), column))):
                html = f'<a class="ref" href="ref:{target}">{html}</a>'
            lines[-1].append(html)
            column += len(part)
            blank = blank and part.isspace()
    return ["".join(line) for line in lines[:-1]]


def highlight_fence(body: str, language: str) -> str:
    r"""
    ## Fences

    A block of code inside prose. A language that Pygments does not know is shown as plain text.
    """
    try:
        lexer = get_lexer_by_name(language or "text", stripnl=False)
    except ClassNotFound:
        lexer = get_lexer_by_name("text", stripnl=False)
    parts = []
    for kind, value in lexer.get_tokens(body):
        style = _css_class(kind) if kind not in (Token.Text, Token) else ""
        html = escape(value, quote=False)
        parts.append(f'<span class="{style}">{html}</span>' if style else html)
    return f'<pre class="fence"><code>{"".join(parts)}</code></pre>'
