r"""
# Literals

The text of a docstring as its author wrote it: without quotes and indentation, one line for each
line of the file, so that what is wrong in it can be given its place.
"""

from __future__ import annotations

import ast
import re
import warnings
from dataclasses import dataclass

# One string literal: prefix, quotes, what lies between them.
LITERAL = re.compile(r"""([rRuU]?)("{3}|'{3}|"|')(.*)\2""", re.DOTALL)
ESCAPE = re.compile(
    r"\\(?:\n|[0-7]{1,3}|x[\da-fA-F]{2}|u[\da-fA-F]{4}|U[\da-fA-F]{8}|N\{[^}]*\}|.)", re.DOTALL
)
# Escapes that a formula's commands begin with, and what Python makes of them.
LETTER = re.compile(r"\\([abfnrtv])[a-zA-Z]+")
MEANING = {
    "a": "a bell", "b": "a backspace", "f": "a form feed", "n": "a line break",
    "r": "a carriage return", "t": "a tab", "v": "a vertical tab",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Docstring:
    """The text, the line of the file on which it begins, and (line, message) for each mistake."""

    text: str
    line: int
    mistakes: tuple[tuple[int, str], ...] = ()


def read_docstring(lines: list[str], start: int) -> Docstring | None:
    r"""
    ## Read

    `lines` are those of the file from its line `start` on that the literal takes; `None` where
    they hold more than one literal, which are one docstring to Python and two strings to a reader.
    """
    found = LITERAL.fullmatch("\n".join(lines).strip())
    if not found or re.search(rf"(?<!\\){found[2]}", found[3].replace(r"\\", "")):
        return None
    prefix, _, inside = found.groups()
    mistakes: list[tuple[int, str]] = []
    if "r" not in prefix.lower():
        for escape in ESCAPE.finditer(inside):
            command = LETTER.match(inside, escape.start())
            if command and not mistakes:
                line = start + inside.count("\n", 0, escape.start())
                message = f"to Python, {command[0]} begins with {MEANING[command[1]]}"
                mistakes.append((line, message + '; begin the docstring with r"""'))
        inside = ESCAPE.sub(_as_written, inside)
    text, dropped = _dedented(inside)
    return Docstring(text, start + dropped, tuple(mistakes))


def _as_written(escape: re.Match[str]) -> str:
    r"""
    ## Escapes

    What stands for something that can be seen is shown as that. The others, such as `\\n`, stay as
    they are written, and so does a line that a backslash joins to the next.
    """
    if escape[0] == "\\\n":
        return "\n"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = str(ast.literal_eval(f'"{escape[0]}"'))
    return value if value.isprintable() else escape[0]


def _dedented(text: str) -> tuple[str, int]:
    """As `inspect.cleandoc` has it, and how many blank lines that left out at the top."""
    first, *others = text.expandtabs().split("\n")
    depths = [len(line) - len(line.lstrip()) for line in others if line.strip()]
    margin = min(depths, default=0)
    lines = [first.lstrip(), *(line[margin:] if line.strip() else "" for line in others)]
    whole = "\n".join(lines)
    kept = whole.lstrip("\n")
    return kept.rstrip(), len(whole) - len(kept)
