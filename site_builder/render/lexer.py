r"""
# Lexer

That of Pygments, which tries some fifty patterns at each word, one after the other. Most of a file
are names, blanks, brackets, operators and whole numbers: five rules in front of all others find
those at once. The tokens are the same, as a test holds.
"""

from __future__ import annotations

from keyword import kwlist

from pygments.lexer import inherit, words
from pygments.lexers.python import PythonLexer
from pygments.token import Name, Number, Operator, Punctuation, Text

# What Pygments knows of names that are none, or not any name.
GROUPS = ("keywords", "expr-keywords", "soft-keywords", "builtins")
PATTERNS = (rule[0] for group in GROUPS for rule in PythonLexer.tokens[group])
KNOWN = "|".join(str(p.get()) if isinstance(p, words) else p for p in PATTERNS)  # type: ignore[no-untyped-call]
# The words that begin a rule of their own; `lazy` is a new one of Python's.
BEGINS = "|".join([*kwlist, "lazy"])


class QuickLexer(PythonLexer):
    """What may be the beginning of a string, or of a line, is left to the rules below."""

    tokens = {  # noqa: RUF012
        "root": [
            (r"(?<=\S)[^\S\n]+", Text),
            (r"[]{}(),;[]|:(?!=)", Punctuation),
            (rf"(?!(?:{BEGINS})\b|{KNOWN})[A-Za-z][A-Za-z0-9_]*+(?![\w\"'])", Name),
            (r"!=|==|<<|>>|:=|[-~+/*%=<>&^|]|\.(?!\d)", Operator),
            (r"\d++(?![\w.])", Number.Integer),
            inherit,
        ]
    }
