r"""
# A lexer for whole files

Pygments' own lexer for Python tries some thirty regular expressions at each token, which is most
of the time that a site takes. This one, of the same kind and with the same token types, tries one.
It is for colour only: what is a comment and what is a docstring has been settled by then, by
[Python itself](blocks.py).
"""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Iterator

from pygments.lexer import Lexer
from pygments.token import (
    Comment,
    Keyword,
    Name,
    Number,
    Operator,
    Punctuation,
    String,
    Text,
    _TokenType,
)

TOKEN = re.compile(
    r"""
      (?P<space> \s+ )
    | (?P<name> (?! [rbuft]{1,2} ["'] ) [^\W\d]\w* )
    | (?P<mark> [-()\[\]{},;:.=+*/%<>!&|^~]+? (?= \.\d | [^-()\[\]{},;:.=+*/%<>!&|^~] | \Z ) )
    | (?P<comment> \#[^\n]* )
    | (?P<string> [rbuft]{0,2} (?:
          \"\"\" (?: [^\\] | \\. )*? (?: \"\"\" | \Z ) | ''' (?: [^\\] | \\. )*? (?: ''' | \Z )
        | " (?: [^"\\\n] | \\. )* "? | ' (?: [^'\\\n] | \\. )* '? ) )
    | (?P<number> \.?\d (?: [_.\w] | (?<=[eE]) [-+] )* )
    | (?P<other> . )
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
ESCAPE = re.compile(
    r"\\(?:[0-7]{1,3}|x[\da-fA-F]{2}|u[\da-fA-F]{4}|U[\da-fA-F]{8}|N\{[^}]*\}|.)", re.DOTALL
)
# A field of an f-string, with one pair of braces or of quotes inside it.
FIELD = re.compile(r"\{\{|\}\}|\{(?:[^{}\n]|\{[^{}\n]*\})*\}")
BOTH = re.compile(f"{FIELD.pattern}|{ESCAPE.pattern}", re.DOTALL)
FORMAT = re.compile(r"(?:![rsa])?(?::[^'\"\[\](]*)?\}$")
SOFT = re.compile(r"[ \t]+(?!(?:and|or|in|is|not|if|else)\b)[\w\"'(\[{*-]")

WORDS: dict[str, _TokenType] = {
    name: (
        Name.Exception
        if isinstance(value, type) and issubclass(value, BaseException)
        else Name.Builtin
    )
    for name, value in vars(builtins).items()
    if not name.startswith("_")
}
WORDS |= dict.fromkeys(("self", "cls", "Ellipsis", "NotImplemented"), Name.Builtin.Pseudo)
WORDS |= dict.fromkeys(keyword.kwlist, Keyword)
WORDS |= dict.fromkeys(("True", "False", "None"), Keyword.Constant)
WORDS |= dict.fromkeys(("and", "in", "is", "not", "or"), Operator.Word)
WORDS |= dict.fromkeys(("import", "from"), Keyword.Namespace)
DEFINED = {"def": Name.Function, "class": Name.Class}
# What says of the name after it what that is.
AHEAD = {"@", "from", "import", *DEFINED}


class PythonLexer(Lexer):
    r"""
    ## The lexer

    Any text has tokens, and the tokens joined are the text.
    """

    name = "Python"

    def get_tokens_unprocessed(self, text: str) -> Iterator[tuple[int, _TokenType, str]]:
        before = ""
        fresh = True
        for match in TOKEN.finditer(text):
            group, value, at = match.lastgroup, match[0], match.start()
            if group == "space":
                if "\n" in value:
                    fresh, before = True, ""
                yield at, Text, value
                continue
            if group == "name":
                if before in AHEAD or fresh or value[:2] == "__" or before[-1:] == ".":
                    yield at, _kind(value, before, fresh, text, match.end()), value
                else:
                    yield at, WORDS.get(value, Name), value
            elif group == "mark":
                yield at, Operator if value[0] in "=+-*/%<>!&|^~" else Punctuation, value
            elif group == "comment":
                yield at, Comment.Single, value
                continue
            elif group == "string":
                if value[0] in "\"'" and "\\" not in value and not fresh:
                    yield at, String.Double if value[0] == '"' else String.Single, value
                else:
                    yield from _string(value, at, fresh)
            elif group == "number":
                yield at, Number, value
            else:
                decorates = value == "@" and fresh
                kind = Name.Decorator if decorates else Operator if value == "@" else Text
                yield at, kind, value
                before, fresh = "@" if decorates else "", False
                continue
            # A decorator's name may be dotted.
            if not (before == "@" and (group == "name" or value == ".")):
                before = value
            fresh = False


def _kind(word: str, before: str, fresh: bool, text: str, end: int) -> _TokenType:
    if before == "@":
        return Name.Decorator
    if before in DEFINED:
        return DEFINED[before]
    if word.startswith("__") and word.endswith("__") and before not in {"from", "import"}:
        return Name.Function.Magic if text.startswith("(", end) else Name.Variable.Magic
    if before.endswith("."):
        return Keyword.Namespace if word == "import" else Name
    if word in {"match", "case", "type"} and fresh and SOFT.match(text, end):
        return Keyword
    return WORDS.get(word, Name)


def _string(value: str, at: int, fresh: bool) -> Iterator[tuple[int, _TokenType, str]]:
    """A string, with its escapes and, in an f-string, its fields set apart."""
    opening = re.match(r"\w*", value)[0].lower()  # type: ignore[index]
    quote = value[len(opening)]
    long = value.startswith(quote * 3, len(opening))
    kind = String.Doc if fresh and long else String.Double if quote == '"' else String.Single
    if "f" in opening or "t" in opening:
        pattern = FIELD if "r" in opening else BOTH
    elif "\\" in value and "r" not in opening:
        pattern = ESCAPE
    else:
        yield at, kind, value
        return
    done = 0
    for match in pattern.finditer(value):
        if match.start() > done:
            yield at + done, kind, value[done : match.start()]
        done = match.end()
        if match[0][0] == "\\" or match[0] in {"{{", "}}"}:
            yield at + match.start(), String.Escape, match[0]
            continue
        yield at + match.start(), String.Interpol, "{"
        tail = FORMAT.search(match[0])
        close = tail.start() if tail else len(match[0]) - 1
        inside = match[0][1:close]
        for offset, inner, piece in PythonLexer().get_tokens_unprocessed(inside):
            yield at + match.start() + 1 + offset, inner, piece
        yield at + match.start() + close, String.Interpol, match[0][close:]
    if done < len(value):
        yield at + done, kind, value[done:]
