r"""
# Marks

Two pieces of code beside each other, with what is not in both marked word by word. What is the same
and what is not, `difflib` finds: first of the lines, then of the tokens of lines that differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby
from typing import Literal

from markupsafe import Markup

from site_builder.read.document import Reading
from site_builder.read.source import split_lines
from site_builder.render.code import span, tokens

# Lines that have less than this in common are not the same line, changed.
COMMON = 0.4
# More unchanged lines in a row are folded, but for so many at either end.
LONG, AROUND = 9, 3

Token = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Line:
    """A line with its number; whether it differs in some words, or in all."""

    number: int
    html: Markup
    mark: Literal["", "some", "whole"] = ""


@dataclass(frozen=True, slots=True)
class Hunk:
    """Lines of either side that stand level. Where they are the `same`, the marks are none."""

    before: tuple[Line, ...]
    after: tuple[Line, ...]
    same: bool = False
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """The tokens of each line of a file, and its lines of code as text."""

    tokens: dict[int, list[Token]]
    text: dict[int, str]

    @property
    def code(self) -> list[int]:
        """The numbers of its lines that are not blank."""
        return [number for number, line in self.text.items() if line.strip()]

    def lines(self, numbers: Iterable[int]) -> tuple[Line, ...]:
        return tuple(Line(n, Markup(_html(self.tokens[n], (), ""))) for n in numbers)


def listing(reading: Reading) -> Listing:
    """Prose is left out, so that what stands in docstrings and comments is no code."""
    lines = [line.rstrip("\r\n") for line in split_lines(reading.source.text)]
    code = {n for s in reading.sections for first, last in s.code for n in range(first, last + 1)}
    text = {n: line if n in code else "" for n, line in enumerate(lines, 1)}
    return _listing(text)


def snippet(lines: Sequence[str], start: int) -> Listing:
    """Some lines alone, which begin with the line `start`."""
    text = {n: line.rstrip("\r\n") for n, line in enumerate(lines, start)}
    return _listing(text)


def _listing(text: dict[int, str]) -> Listing:
    found = tokens("".join(f"{line}\n" for line in text.values()))
    return Listing(dict(zip(text, found, strict=False)), text)


def compare(
    before: Listing, its: Sequence[int], after: Listing, ours: Sequence[int]
) -> tuple[Hunk, ...]:
    r"""
    ## Compare

    Lines with the numbers `its` of one file and `ours` of another.
    """
    return tuple(_hunks(before, its, after, ours))


def _hunks(
    before: Listing, its: Sequence[int], after: Listing, ours: Sequence[int]
) -> Iterator[Hunk]:
    texts = [before.text[n] for n in its], [after.text[n] for n in ours]
    for tag, a, b, c, d in SequenceMatcher(None, *texts, autojunk=False).get_opcodes():
        if tag != "equal":
            yield Hunk(*_marked(before, its[a:b], after, ours[c:d]))
            continue
        pairs = [Hunk(before.lines([i]), after.lines([j]), True) for i, j in zip(
            its[a:b], ours[c:d], strict=True
        )]  # fmt: skip
        inside = pairs[AROUND:-AROUND] if len(pairs) > LONG else []
        if inside:
            yield _joined(pairs[:AROUND])
            yield _joined(inside, folded=True)
        yield _joined(pairs[-AROUND:] if inside else pairs)


def _joined(pairs: list[Hunk], folded: bool = False) -> Hunk:
    before = tuple(line for pair in pairs for line in pair.before)
    return Hunk(before, tuple(line for pair in pairs for line in pair.after), True, folded)


def _marked(
    before: Listing, its: Sequence[int], after: Listing, ours: Sequence[int]
) -> tuple[tuple[Line, ...], tuple[Line, ...]]:
    old = [token for n in its for token in _words(before.tokens[n])]
    new = [token for n in ours for token in _words(after.tokens[n])]
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    blocks = matcher.get_matching_blocks() if matcher.ratio() >= COMMON else []
    kept = {block.a + k for block in blocks for k in range(block.size)}
    stays = {block.b + k for block in blocks for k in range(block.size)}
    return (
        tuple(_lines(before, its, _smooth(old, kept), "del")),
        tuple(_lines(after, ours, _smooth(new, stays), "ins")),
    )


def _words(line: list[Token]) -> list[str]:
    return [text for _, text in line if not text.isspace()]


def _smooth(words: list[str], kept: set[int]) -> list[bool]:
    """Whether each word is marked. A comma that happens to stand on both sides is no island."""
    marked = [at not in kept for at in range(len(words))]
    at = 0
    for mark, group in groupby(list(marked)):
        size = len(list(group))
        island = words[at : at + size]
        inside = 0 < at < len(words) - size
        if not mark and inside and not any(letter.isalnum() for w in island for letter in w):
            marked[at : at + size] = [True] * size
        at += size
    return marked


def _lines(
    listing: Listing, numbers: Sequence[int], marked: list[bool], tag: str
) -> Iterator[Line]:
    at = 0
    for number in numbers:
        line = listing.tokens[number]
        mine = marked[at : at + len(_words(line))]
        at += len(mine)
        yield Line(number, Markup(_html(line, mine, tag)), "whole" if all(mine) else "some")


def _html(line: list[Token], marked: Sequence[bool], tag: str) -> str:
    r"""
    ## A line

    A blank is marked between two words that are.
    """
    flags, at = list[bool](), 0
    for _, text in line:
        blank = text.isspace()
        flags.append(not blank and at < len(marked) and marked[at])
        at += not blank
    for place in range(1, len(flags) - 1):
        if line[place][1].isspace():
            flags[place] = flags[place - 1] and flags[place + 1]
    html, here = "", 0
    for flag, group in groupby(flags):
        size = len(list(group))
        inner = "".join(span(*token) for token in line[here : here + size])
        html += f"<{tag}>{inner}</{tag}>" if flag else inner
        here += size
    return html
