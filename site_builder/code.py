r"""
# Code

A file is highlighted once, as a whole, and then cut by lines. Highlighting each section by itself
would be slower, and wrong wherever a string runs over several lines.
"""

from __future__ import annotations

import functools
import re
from html import escape

from pygments.token import STANDARD_TYPES, Comment, Name, _TokenType

from site_builder.lexer import PythonLexer

# What a trailing comment says when it states shapes: `# (B, T, D/2)` or `# (B, T), (B,)`.
CHIP = re.compile(r"(#\s*)(\([^()]*\)(?:,? *(?:->)? *\([^()]*\))*\s*)$")

# (line, column) of a name to the dotted name it stands for.
References = dict[tuple[int, int], str]


# By identity: every kind is one object, and a tuple that is slow to hash.
STYLES: dict[int, tuple[str, bool]] = {}


def _style(kind: _TokenType) -> tuple[str, bool]:
    """The opening tag of a token, empty for one without a colour, and whether it is a name."""
    style = next(STANDARD_TYPES[k] for k in reversed(kind.split()) if k in STANDARD_TYPES)
    # Plain names and white space have no colour of their own, and are half of all tokens.
    opening = f'<span class="{style}">' if style not in {"", "n", "w"} else ""
    return STYLES.setdefault(id(kind), (opening, Name in kind.split()))


def highlight(
    text: str, references: References, symbols: frozenset[str] = frozenset()
) -> list[str]:
    r"""
    ## Highlight

    One piece of HTML for each line of `text`, whose lines end in `\n`. A name in `references`
    becomes a link to `ref:dotted.name`, which [links](links.py) will turn into an address or take
    out again. Those in `symbols` are marked for the page's notation.
    """
    lines: list[str] = []
    line: list[str] = []
    begin = 0
    for at, kind, value in PythonLexer().get_tokens_unprocessed(text):
        opening, is_name = STYLES.get(id(kind)) or _style(kind)
        if "\n" in value:
            *whole, value = value.split("\n")
            for part in whole:
                line.append(_span(opening, part) if opening else part)
                lines.append("".join(line))
                line.clear()
                begin = at = at + len(part) + 1
        if not (opening or is_name):
            # White space, or a character that means nothing to Python, and nothing to HTML.
            line.append(value)
            continue
        html = _span('<span class="n">' if is_name and value in symbols else opening, value)
        if kind is Comment.Single and any(not piece.isspace() for piece in line):
            if chip := CHIP.match(value):
                shape = escape(chip[2], quote=False)
                # The hash is there for whoever copies the line, and hidden from whoever reads it.
                html = f'<span class="chip"><span class="hash">{chip[1]}</span>{shape}</span>'
        elif is_name and references and (key := (len(lines) + 1, at - begin)) in references:
            html = f'<a class="ref" href="ref:{references[key]}">{html}</a>'
        line.append(html)
    return lines


@functools.lru_cache(maxsize=8192)
def _span(opening: str, text: str) -> str:
    html = escape(text, quote=False)
    return f"{opening}{html}</span>" if opening and text else html


def highlight_fence(body: str, language: str) -> str:
    r"""
    ## Fences

    A block of code inside prose. A language that Pygments does not know is shown as plain text.
    """
    # Pages without a fence do not pay for the table of all languages.
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    try:
        lexer = get_lexer_by_name(language or "text", stripnl=False)
    except ClassNotFound:
        lexer = get_lexer_by_name("text", stripnl=False)
    parts = [_span(_style(kind)[0], value) for kind, value in lexer.get_tokens(body)]
    return f'<pre class="fence"><code>{"".join(parts)}</code></pre>'
