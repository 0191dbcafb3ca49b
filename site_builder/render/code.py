r"""
# Code

A file is highlighted once, as a whole, and then cut by lines. Highlighting each section by itself
would be slower, and wrong wherever a string runs over several lines.
"""

from __future__ import annotations

import functools
import re
from html import escape

from pygments.lexers import get_lexer_by_name
from pygments.token import STANDARD_TYPES, Comment, _TokenType
from pygments.token import Name as NameToken
from pygments.util import ClassNotFound

from site_builder.read.names import References
from site_builder.render.lexer import QuickLexer
from site_builder.render.pieces import Name, Piece, merged

# What a trailing comment says when it states shapes: `# (B, T, D/2)` or `# (B, T), (B,)`.
CHIP = re.compile(r"(#\s*)(\([^()]*\)(?:,? *(?:->)? *\([^()]*\))*\s*)$")

# By identity: every kind is one object, and a tuple that is slow to hash.
STYLES: dict[int, tuple[str, bool]] = {}


def _style(kind: _TokenType) -> tuple[str, bool]:
    """The opening tag of a token, empty for one without a colour, and whether it is a name."""
    style = next(STANDARD_TYPES[k] for k in reversed(kind.split()) if k in STANDARD_TYPES)
    # Plain names and white space have no colour of their own, and are half of all tokens.
    opening = f'<span class="{style}">' if style not in {"", "n", "w", "err"} else ""
    return STYLES.setdefault(id(kind), (opening, NameToken in kind.split()))


def highlight(text: str, references: References) -> list[tuple[Piece, ...]]:
    r"""
    ## Highlight

    The pieces of each line of `text`, whose lines end in `\n`. A name in `references` may lead to a
    definition.
    """
    lines: list[tuple[Piece, ...]] = []
    line: list[Piece] = []
    begin = 0
    for at, kind, value in _lexer().get_tokens_unprocessed(text):
        opening, is_name = STYLES.get(id(kind)) or _style(kind)
        if kind is NameToken.Decorator and value[0] == "@":
            # The sign of a decorator is no part of its name.
            line.append(_span(opening, "@"))
            at, value = at + 1, value[1:]
        if "\n" in value:
            *whole, value = value.split("\n")
            for part in whole:
                line.append(_span(opening, part))
                lines.append(merged(line))
                line.clear()
                begin = at = at + len(part) + 1
        if is_name and references and (key := (len(lines) + 1, at - begin)) in references:
            line.append(Name(references[key], _span(opening, value)))
        elif kind is Comment.Single and any(not str(piece).isspace() for piece in line):
            line.append(_behind(opening, value))
        else:
            line.append(_span(opening, value))
    return lines


def _behind(opening: str, comment: str) -> str:
    """A comment behind code, which may state shapes."""
    chip = CHIP.match(comment)
    if not chip:
        return _span(opening, comment)
    shape = escape(chip[2], quote=False)
    # The hash is there for whoever copies the line, and hidden from whoever reads it.
    return f'<span class="chip"><span class="hash">{chip[1]}</span>{shape}</span>'


@functools.cache
def _lexer() -> QuickLexer:
    return QuickLexer()


@functools.lru_cache(maxsize=8192)
def _span(opening: str, text: str) -> str:
    html = escape(text, quote=False)
    return f"{opening}{html}</span>" if opening and text else html


def highlight_fence(body: str, language: str) -> str:
    r"""
    ## Fences

    A block of code inside prose. A language that Pygments does not know is shown as plain text.
    """
    try:
        lexer = get_lexer_by_name(language or "text", stripnl=False)
    except ClassNotFound:
        lexer = get_lexer_by_name("text", stripnl=False)
    parts = [_span(_style(kind)[0], value) for kind, value in lexer.get_tokens(body)]
    return f'<pre class="fence"><code>{"".join(parts)}</code></pre>'


def tokens(text: str) -> list[list[tuple[str, str]]]:
    r"""
    ## Tokens

    Of each line, for whoever marks some of them: the opening tag, which may be empty, and the text.
    """
    lines: list[list[tuple[str, str]]] = [[]]
    for _, kind, value in _lexer().get_tokens_unprocessed(text):
        for at, part in enumerate(value.split("\n")):
            if at:
                lines.append([])
            if part:
                lines[-1].append((_style(kind)[0], part))
    return lines


def span(opening: str, text: str) -> str:
    """A token in its colour."""
    return _span(opening, text)
