r"""
# The scan

A text is read once from its beginning to its end, before Markdown reads it. Code and formulas go
to the [shelf](shelf.py), and so does each character that Markdown would take for its own and that
was meant as it stands. Addresses and anchors get a mark with their line: it is the last stage at
which a text has lines.
"""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from html import unescape

from site_builder.render.shelf import OURS, Aside, Kind, Shelf
from site_builder.render.signs import RUN, literal
from site_builder.render.spots import Spots

# All that begins something.
SPOT = re.compile(rf"[`~>$\\*_<&{{\[\]{OURS}]")
# What no page can hold, and what Markdown marks its own with.
UNSHOWN = re.compile("[\0\x02\x03\ud800-\udfff]")
LOST = "\ufffd"

FENCE = re.compile(
    r"(?P<fence>`{3,}+|~{3,}+)[ ]*+(?P<language>[\w+-]*+)[^\n`]*+\n"
    r"(?P<body>.*?)(?P<close>^[ ]*(?P=fence)[`~]*[ ]*$|\Z)",
    re.MULTILINE | re.DOTALL,
)
DOCTEST = re.compile(r">>>[ ][^\n]*(?:\n(?![ ]*$)[^\n]+)*", re.MULTILINE)
ENVIRONMENT = re.compile(r"\\begin\{((?:align|alignat|equation|gather)\*?)\}")
INLINE = re.compile(
    r"\$(?=[^\s$])(?P<tex>(?:[^$\\\n]|\\.|\n(?![ ]*\n))*?)(?<=[^\s\\])\$(?![\w$])", re.DOTALL
)
# Characters that stand for one of our marks, or for what no page can hold.
REFERENCE = re.compile(r"&#(?:0*(?:[023]|5734[456])|[xX]0*(?:[023]|[eE]00[012]))(?![\da-fA-F]);?")
BLANK = re.compile(r"\n[ ]*\n|\Z")
ENDING = re.compile(r"[ ]*$", re.MULTILINE)
UNCLOSED = "the formula $$ is not closed; end it with $$, with no blank line inside"


class Scan:
    r"""
    ## Scan

    `marked` is the text with marks. `line` is where it begins in its file, and `loose` are the
    lines with a `$` that begins no formula.
    """

    def __init__(self, text: str, line: int, shelf: Shelf) -> None:
        self.text = UNSHOWN.sub(LOST, text)
        self.shelf = shelf
        self._line, self._counted = line, 0
        self.loose: list[int] = []
        self._is_code = _is_code(text)
        # What is not closed before the paragraph ends need not be sought again.
        self._paragraph, self._hopeless = 0, set[str]()
        self._spots = Spots(self.text, shelf)
        self.marked = self._marked()

    def _marked(self) -> str:
        take = {
            **dict.fromkeys("`~", self._fence),
            ">": self._doctest,
            **dict.fromkeys("$\\", self._math),
            **dict.fromkeys("*_&", self._sign),
            **dict.fromkeys("<[]{", self._spot),
        }
        # By its place, what stands there now, and the text before it.
        found: dict[int, str] = {}
        before: dict[int, str] = {}
        at = 0
        while spot := SPOT.search(self.text, at):
            start = spot.start()
            self._line += self.text.count("\n", self._counted, start)
            self._counted = start
            before[start] = self.text[at:start]
            found[start], at = take.get(spot[0], self._ours)(start)
        found |= self._spots.settle()
        return "".join(before[place] + found[place] for place in found) + self.text[at:]

    def _spot(self, at: int) -> tuple[str, int]:
        margin = self._margin(at) if self.text[at] == "[" else None
        return self._spots.take(at, self._line, margin is not None and len(margin) < 4)

    def _margin(self, at: int) -> str | None:
        """The blanks before the first character of a line; nothing where it is not the first."""
        if self.text[at - 1 : at] not in {"", " ", "\n"}:
            return None
        begin = self.text.rfind("\n", 0, at) + 1
        return None if self.text[begin:at].strip(" ") else self.text[begin:at]

    def _follows_blank(self, begin: int) -> bool:
        """A row of tildes right below a line is what reStructuredText underlines it with."""
        return not self.text[max(0, begin - 2) : begin].strip("\n")

    def _plain(self, at: int) -> tuple[str, int]:
        return self.text[at], at + 1

    def _fence(self, at: int) -> tuple[str, int]:
        margin, ticked = self._margin(at), self.text[at] == "`"
        match = None if margin is None else FENCE.match(self.text, at)
        if margin is None or not match or not (ticked or self._follows_blank(at - len(margin))):
            return self._code(at) if ticked else self._plain(at)
        if not match["close"]:
            message = f"the fence {match['fence']} is not closed; end it with a line of it"
            return self._put("mistake", message, at, match.end())
        mark, end = self._put(
            "fence", _dedented(match["body"], margin), at, match.end(), match["language"]
        )
        return f"\n\n{margin}{mark}\n\n", end

    def _doctest(self, at: int) -> tuple[str, int]:
        margin, match = self._margin(at), DOCTEST.match(self.text, at)
        if margin is None or not match:
            return self._plain(at)
        mark, end = self._put("fence", _dedented(match[0], margin) + "\n", at, match.end(), "pycon")
        return f"\n\n{margin}{mark}\n\n", end

    def _put(self, kind: Kind, text: str, at: int, end: int, language: str = "") -> tuple[str, int]:
        return self.shelf.put(Aside(kind, text, self.text[at:end], self._line, language)), end

    def _code(self, at: int) -> tuple[str, int]:
        ticks = re.compile("`+").match(self.text, at)[0]  # type: ignore[index]
        return self._closed("code", at, ticks, rf"(?<!`){ticks}(?!`)")

    def _closed(self, kind: Kind, at: int, opening: str, closing: str) -> tuple[str, int]:
        """What ends with a match of `closing`, in the paragraph where it begins."""
        inside = at + len(opening)
        if self._paragraph <= at:
            self._paragraph = BLANK.search(self.text, at).start()  # type: ignore[union-attr]
            self._hopeless.clear()
        end = None
        if closing not in self._hopeless:
            end = re.compile(closing).search(self.text, inside, self._paragraph)
        if end is None:
            self._hopeless.add(closing)
            return opening, inside
        text = self.text[inside : end.start()]
        # A blank may part words, where the signs around them are not in pairs.
        if kind != "code" or not re.match(r"\w", self.text[at - 1 : at]):
            text = text.lstrip()
        if kind != "code" or not re.match(r"\w", self.text[end.end() : end.end() + 1]):
            text = text.rstrip()
        if any(end.groups()):
            # The brackets of a regular expression, or of a link that was escaped.
            return opening, inside
        if not text.strip():
            return self.text[at : end.end()], end.end()
        # An environment is named by what it begins and ends with.
        whole = self.text[at : end.end()] if opening.startswith(r"\begin") else text
        return self._put(kind, whole, at, end.end())

    def _math(self, at: int) -> tuple[str, int]:
        before = self.text[at - 1 : at]
        apart = not re.match(r"[\w\"']", before)
        pair = self.text[at : at + 2]
        if pair == "$$" and not self._is_code:
            mark, end = self._closed("display", at, "$$", r"(?<!\\)\$\$")
            if mark == "$$" and self._margin(at) is not None and ENDING.match(self.text, end):
                return self._put("mistake", UNCLOSED, at, end)
            return mark, end
        if pair[0] == "$":
            match = INLINE.match(self.text, at)
            if self._is_code or not match or re.match(r"[$\w]", before):
                self.loose += [] if self._is_code else [self._line]
                return self._plain(at)
            return self._put("formula", match["tex"], at, match.end())
        if pair == r"\(" and apart:
            return self._closed("formula", at, pair, r"\\\)([\w\"']?)")
        if pair == r"\[" and apart:
            return self._closed("display", at, pair, r"\\\]([\w\"'(]?)")
        if environment := ENVIRONMENT.match(self.text, at):
            closing = re.escape(rf"\end{{{environment[1]}}}")
            return self._closed("display", at, environment[0], closing)
        # What is escaped begins nothing.
        length = 2 if re.match(r"\\[\\`$(\[*_]", pair) else 1
        return pair[:length], at + length

    def _sign(self, at: int) -> tuple[str, int]:
        if text := literal(self.text, at):
            return self.shelf.character(text), at + len(text)
        if self.text[at] == "&":
            return self._ours(at)
        run = RUN.match(self.text, at)[0]  # type: ignore[index]
        return run, at + len(run)

    def _ours(self, at: int) -> tuple[str, int]:
        match = REFERENCE.match(self.text, at)
        if self.text[at] == "&" and not match:
            return self._plain(at)
        end = match.end() if match else at + 1
        return self._put("character", unescape(self.text[at:end]) or LOST, at, end)


def _dedented(text: str, margin: str) -> str:
    return re.sub(rf"^ {{0,{len(margin)}}}", "", text, flags=re.MULTILINE)


def _is_code(text: str) -> bool:
    """Code that was commented out holds no formulas: a `$` in it stands in a string."""
    lines = [line for line in text.split("\n") if not line.lstrip().startswith("#")]
    code = textwrap.dedent("\n".join(lines))
    if "$" not in code:
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for ending in ("", "\n    pass"):
            try:
                return bool(ast.parse(code + ending).body)
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                continue
    return False
