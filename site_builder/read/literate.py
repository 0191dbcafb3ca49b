r"""
# Prose first

A file whose prose is its text, and whose code is what stands between: what `pylit` calls the text
source of a program. `pylit` turns comments of the first column into paragraphs and back, and knows
neither docstrings nor comments that are indented. So there are three forms, and this module goes
between the first two:

| form | prose | code |
|---|---|---|
| code | docstrings, comments | as Python has it |
| commented | comments in the first column, each ends in `::` | the same |
| text | paragraphs, each group of them ends in `::` | indented |

What becomes of a group of paragraphs follows from where it stands: the first one is the docstring
of the module, one below the header of a function or class is its docstring, and any other is a
comment, indented as the code below it. Prose that would come back different stays in the code.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from site_builder.read.blocks import Block, parse
from site_builder.read.source import split_lines

# Where the prose ends and code begins.
MARKER = "::"
HEADER = re.compile(r"[ \t]*(?:async[ \t]+def|def|class)\b")
INDENT = 4


@dataclass(frozen=True, slots=True)
class Literate:
    r"""
    ## Lines with their origin

    `lines` are those of the file, without their ends, and `origins` those of the other form from
    which each has come, counted from 1.
    """

    lines: tuple[str, ...]
    origins: tuple[int, ...]

    @property
    def text(self) -> str:
        return "".join(f"{line}\n" for line in self.lines)


def to_comments(code: str) -> str:
    r"""
    ## From code to comments

    Each block of prose that the way back would make from it again, and from what stands around it.
    """
    lines: list[str] = []
    before: list[str] = []
    blocks = parse(code).blocks
    raws = [[line.rstrip("\n") for line in split_lines(block.text)] for block in blocks]
    after_prose = False
    # Below the last there is nothing.
    for block, raw, below in zip(blocks, raws, [*raws, []][1:], strict=True):
        words = None if after_prose else _words(block, raw)
        after_prose = words is not None and _made(words, before, below) == raw
        # `pylit` takes a comment right below code for code.
        if raw[0].startswith("#") and before and before[-1]:
            after_prose = False
        if words is None or not after_prose:
            lines += raw
        else:
            lines += [""] if before and not raw[0].startswith("#") else []
            lines += [f"# {word}" if word else "#" for word in words]
            lines += ["#", f"# {MARKER}"] if below else []
            # Below the module's docstring a blank line is the file's own.
            lines += [""] if before and below else []
        before += raw
    return "".join(f"{line}\n" for line in lines)


def _words(block: Block, raw: Sequence[str]) -> list[str] | None:
    """The prose of a block without quotes, hashes and indentation, if it can be text."""
    stripped = [line.strip() for line in raw]
    column = len(raw[0]) - len(raw[0].lstrip())
    if block.kind == "comment":
        words = [line[2:] if line.startswith("# ") else line[1:] for line in stripped]
    elif block.kind == "docstring" and len(raw) > 1:
        words = [line[column:] for line in raw[1:-1]]
    elif block.kind == "docstring":
        words = [re.sub(r'^r?"""|"""$', "", stripped[0])]
    else:
        return None
    plain = words and words[0].strip() and words[-1].strip() and not words[0][0].isspace()
    return words if plain and not any(word.endswith(MARKER) for word in words) else None


def _made(words: Sequence[str], before: Sequence[str], below: Sequence[str]) -> list[str]:
    r"""
    ## What becomes of prose

    `before` is all code above, docstrings and comments with it, and `below` what follows.
    """
    indent = next((len(s) - len(s.lstrip()) for s in below if s.strip()), 0)
    header = _header(before)
    if not header and any(line.strip() for line in before):
        return [f"{' ' * indent}# {word}" if word else f"{' ' * indent}#" for word in words]
    if header and indent <= (least := len(header) - len(header.lstrip())):
        indent = least + INDENT
    space = " " * indent
    raw = "r" if len(words) > 1 or "\\" in words[0] else ""
    if len(words) == 1 and not words[0].startswith("#"):
        return [f'{space}{raw}"""{words[0]}"""']
    inside = [f"{space}{word}" if word else "" for word in words]
    return [f'{space}r"""', *inside, f'{space}"""']


def _header(before: Sequence[str]) -> str:
    """The line that begins the function or class whose header ends above."""
    end = len(before)
    start = next((n for n in range(end - 1, -1, -1) if HEADER.match(before[n])), end)
    last = before[-1].strip() if before else ""
    if start == end or not last.partition("#")[0].rstrip().endswith(":"):
        return ""
    try:
        body = ast.parse(textwrap.dedent("\n".join(before[start:])) + "\n" + " pass").body
    except (SyntaxError, ValueError):
        return ""
    return before[start] if len(body) == 1 else ""


def from_comments(commented: str) -> Literate:
    r"""
    ## From comments to code

    A blank line on each side of prose parts it from the code, and goes: not the one below the
    module's docstring, nor the one above a comment in the first column.
    """
    lines: list[str] = []
    origins: list[int] = []
    held = False
    parts = list(_parts([line.rstrip("\r\n") for line in split_lines(commented)]))
    for at, (kind, start, part) in enumerate(parts):
        below = parts[at + 1][2] if at + 1 < len(parts) else []
        if kind == "code":
            first = int(at > 0 and parts[at - 1][1] > 1 and not part[0].strip())
            held = bool(below) and len(part) > first and not part[-1].strip()
            last = len(part) - int(held)
            lines += part[first:last]
            origins += range(start + first, start + last)
        elif words := _unmarked(part):
            made = _made(words, lines, below)
            if held and made[0].startswith("#"):
                lines.append("")
                origins.append(start - 1)
            # Quotes on lines of their own are of the prose beside them.
            shift = (len(made) - len(words)) // 2
            lines += made
            origins += (start + min(max(n - shift, 0), len(words) - 1) for n in range(len(made)))
    return Literate(tuple(lines), tuple(origins))


def _parts(lines: Sequence[str]) -> Iterator[tuple[str, int, list[str]]]:
    """Runs of comments in the first column, and what stands between, each with its first line."""
    part: list[str] = []
    kind, start = "", 1
    for number, line in enumerate(lines, 1):
        now = "prose" if line == "#" or line.startswith("# ") else "code"
        if now != kind and part:
            yield kind, start, part
            part, start = [], number
        kind = now
        part.append(line)
    if part:
        yield kind, start, part


def _unmarked(part: Sequence[str]) -> list[str]:
    words = [line[2:] for line in part]
    if words and words[-1].endswith(MARKER):
        words[-1] = re.sub(r"(?:\s+|^)::$|(?<=:):$", "", words[-1])
    while words and not words[-1].strip():
        words.pop()
    return words
