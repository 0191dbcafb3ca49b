r"""
# Paragraphs

A piece of prose in Markdown becomes units, in their order: paragraphs, headings, items of lists,
tables, and blocks of code and formulas. Of each it is known what in it is words, which a
[translation](translation.py) has in its language, and what around them stays: hashes, bullets,
bars, anchors. The units joined are the text, but for line breaks within a paragraph, which mean
nothing: who fills lines anew changes no words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

FENCE = re.compile(r"[ ]*(`{3,}|~{3,})")
# What opens a display, and what closes it.
DISPLAY = {"$$": "$$", r"\[": r"\]"}
ENVIRONMENT = re.compile(r"\\begin\{(\w+\*?)\}")
ITEM = re.compile(r"(?:[-*+]|\d{1,9}[.)])[ \t]+(?=\S)")
HEADLINE = re.compile(r"(#{1,6}[ \t]+)(.+?)((?:[ \t]+#+)?[ \t]*(?:\{:?[ ]*#[^}\n]*\})?[ \t]*)")
ROW = re.compile(r"[ ]*\|.*\|[ ]*")
RULE = re.compile(r"[ ]*\|?[ :|-]+\|?[ ]*")
BAR = re.compile(r"((?:`[^`]*`|\\.|[^|\\`])*)(\||$)")
# Line breaks that mean something: hard ones, and those of what is no plain paragraph.
LINED = re.compile(
    r"(?:[ ]{2}|\\)\n|\n(?:[ ]*(?:[-*+>|]|\d+[.)]|`{3}|~{3}|\$\$|:{3})|[ ]{4})|\n[ ]*\n"
)
# Neither code nor formulas are words, but for what stands in a formula's `\text`.
WORDLESS = re.compile(
    r"(?<!`)(`++).+?\1|\$\$.*?\$\$|\\\[.*?\\\]|\\begin\{(\w+\*?)\}.*?\\end\{\2\}|\$[^$\n]+\$",
    re.DOTALL,
)
IN_TEXT = re.compile(r"\\text(?:rm|it|bf)?\{([^{}]*)\}")
# What means something to another paragraph, so that its piece of prose stays together.
TOGETHER = re.compile(r"^[ ]{0,3}(?:\[[^\]\n]+\]:|</?[a-z][\w-]*[\s>])|\[\^", re.MULTILINE | re.I)


@dataclass(frozen=True, slots=True)
class Words:
    """A message: what is to be said in another language. Lines after its first stand further in."""

    text: str
    margin: int = 0


@dataclass(frozen=True, slots=True)
class Unit:
    r"""
    ## A unit

    `parts` are words and what stays around them, and `gap` what parts the unit from the one before.
    """

    parts: tuple[Words | str, ...]
    gap: str = ""

    @property
    def words(self) -> list[str]:
        return [part.text for part in self.parts if isinstance(part, Words)]


def units(text: str) -> list[Unit]:
    found: list[Unit] = []
    is_list = False
    for chunk, gap in _chunks(text):
        indent = re.match(" *", chunk)[0]  # type: ignore[index]
        if is_list and indent:
            # It goes on with the item above.
            plain = re.sub(rf"^{indent}", "", chunk, flags=re.MULTILINE)
            more = (gap, indent, *_said(plain, len(indent)))
            found[-1] = Unit((*found[-1].parts, *more), found[-1].gap)
            continue
        is_list = ITEM.match(chunk) is not None
        found += _units(chunk, gap)
    return found


def is_words(text: str) -> bool:
    """Whether there is anything to say."""
    told = " ".join(IN_TEXT.findall(text)) + WORDLESS.sub("", text)
    return any(letter.isalpha() for letter in told)


def _chunks(text: str) -> Iterator[tuple[str, str]]:
    """What blank lines part, with them; inside code and formulas they part nothing."""
    held: list[str] = []
    gap, closing = "", ""
    for line in text.split("\n"):
        if not closing and not line.strip():
            if held:
                yield "\n".join(held), gap
                held, gap = [], "\n"
            gap += line + "\n"
            continue
        held.append(line)
        closing = _after(line, closing)
    if held:
        yield "\n".join(held), gap
    elif gap:
        yield "", gap.removesuffix("\n")


def _after(line: str, closing: str) -> str:
    """What has to come before a blank line parts again."""
    bare = line.strip()
    if closing:
        return (
            "" if bare.startswith(closing) or (closing[0] in "$\\" and closing in bare) else closing
        )
    if fence := FENCE.match(line):
        return fence[1]
    if environment := ENVIRONMENT.match(bare):
        end = rf"\end{{{environment[1]}}}"
        return "" if end in bare else end
    for opens, closes in DISPLAY.items():
        if bare.startswith(opens) and closes not in bare[len(opens) :]:
            return closes
    return ""


def _units(chunk: str, gap: str) -> Iterator[Unit]:
    first, _, rest = chunk.partition("\n")
    if heading := HEADLINE.fullmatch(first):
        yield Unit((heading[1], *_said(heading[2]), heading[3]), gap)
        if rest:
            yield from _units(rest, "\n")
    elif ITEM.match(chunk):
        for item, apart in _items(chunk):
            mark = ITEM.match(item)
            margin = mark.end() if mark else 0
            lines = re.sub(rf"\n[ ]{{1,{margin}}}", "\n", item[margin:]) if margin else item
            yield Unit((item[:margin], *_said(lines, margin)), apart or gap)
    elif ROW.fullmatch(first) and RULE.fullmatch(rest.partition("\n")[0]):
        yield Unit(tuple(_cells(chunk)), gap)
    elif FENCE.match(first) or first.startswith("    "):
        yield Unit((chunk,), gap)
    else:
        yield Unit(tuple(_said(chunk)), gap)


def _items(chunk: str) -> Iterator[tuple[str, str]]:
    """The items of a list, each with what parts it from the one before in the same list."""
    lines, apart = list[str](), ""
    for line in chunk.split("\n"):
        if lines and ITEM.match(line):
            yield "\n".join(lines), apart
            lines, apart = [], "\n"
        lines.append(line)
    yield "\n".join(lines), apart


def _cells(table: str) -> Iterator[Words | str]:
    for number, line in enumerate(table.split("\n")):
        yield "\n" if number else ""
        if number == 1:
            yield line
            continue
        for cell, bar in BAR.findall(line):
            blank = len(cell) - len(cell.lstrip())
            yield cell[:blank]
            yield from _said(cell.strip())
            yield cell[blank + len(cell.strip()) :] + bar


def _said(text: str, margin: int = 0) -> Iterator[Words | str]:
    if not is_words(text) or FENCE.match(text):
        yield text.replace("\n", "\n" + " " * margin)
    elif LINED.search(text):
        yield Words(text, margin)
    else:
        yield Words(" ".join(text.split()), margin)
