r"""
# Conventions

Docstrings of the world are written in Markdown or in reStructuredText, and many have sections in
the manner of NumPy or of Google. What is in which is decided for each docstring and each comment by
itself. Of what says nothing, Markdown is made, as of our own.

A maintained parser of such sections (griffe) gave us types and defaults without what an author had
written around them: in scikit-learn, a word or more of every fourth docstring. So sections stay
text, and only their items get the sign by which the markup knows an item.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from site_builder.read.blocks import Markup

MARKDOWN = re.compile(
    r"""
      ^\#{1,6}[ ]\S | ^[ ]*(?:```|~~~[ ]*\w)
    | \[[^\[\]\n]+\]\([^()\s]+\) | \[[^\[\]\n]*\]\[[^\[\]\n]*\]
    | ^\$\$ | ^[ ]*+\|?(?:[ ]*+:?-{3,}+:?[ ]*+\|)++ | ^!!![ ]\w | ^\[[^\[\]\n]+\]:[ ]
    """,
    re.VERBOSE | re.MULTILINE,
)
FIELDS = (
    "param|parameter|arg|argument|key|keyword|type|raises?|except|exception|var|ivar|cvar|vartype"
    "|returns?|rtype|yields?|meta"
)
REST = re.compile(
    rf"""
      (?<![\w`]):[a-zA-Z][\w:+.-]{{0,99}}:`[^`] | ^[ ]*\.\.[ ](?:\|[^|\n]+\|[ ])?[\w:+.-]+::
    | ^\.\.[ ](?:_[^\n]+:|\[[\w\#*.-]+\])(?:[ ]|$) | `__?(?!\w) | (?<![\w\]])\[[\w\#*.-]+\]_(?!\w)
    | ^[ ]*:(?:{FIELDS})\b[^:\n]*: | ::[ ]*\n[ ]*\n[ ]+\S
    | ^[ ]*={{3,}}(?:[ ]+={{3,}})+[ ]*$ | ^[ ]*\+(?:[-=]{{3,}}\+)+[ ]*$
    | ^\S[^\n]*\n[~^"'+]{{4,}}[ ]*$
    | ^([=~-])\1{{3,}}\n[^\n]*\n\1{{4,}}[ ]*$ | ^(?:\|[ ][^|\n]+\n){{2}}
    """,
    re.VERBOSE | re.MULTILINE,
)
NAMES = (
    "Args|Arguments|Attributes|Examples?|Keyword Arg(?:ument)?s|Methods|Notes?|Other Parameters"
    "|Parameters|Params|Raises|Receives|References|Returns?|See Also|Todo|Warnings?|Warns|Yields?"
)
# Those whose content is words or code, and no items.
WORDS = re.compile("Examples?|Notes?|References|Todo|Warnings?")
NUMPY = re.compile(rf"^({NAMES})[ ]*\n(?:-{{3,}}|={{3,}})[ ]*$", re.MULTILINE)
GOOGLE = re.compile(rf"({NAMES}):")
RULE = re.compile(r"[-=~^]{3,}[ ]*")
LINE = r"""([=\-~^"'*+#.:_])\{}{{2,}}[ ]*"""
TITLE_LINE = r"[ ]*(\S(?:[^\n]*[^ \n])?)[ ]*+\n"
TITLE = re.compile(rf"(?:{LINE.format(1)}\n)?{TITLE_LINE}{LINE.format(3)}(?:\n+|\Z)")
# `x : int`, `x, y`, `*args`: a name, or a few, and perhaps what they are.
NUMPY_ITEM = re.compile(r"\*{0,2}[\w.]+(?:, ?\*{0,2}[\w.]+)*(?: ?:(?: .*)?)?")
# `x (int): The x.`
GOOGLE_ITEM = re.compile(r"(\*{0,2}[\w.]+(?:, ?\*{0,2}[\w.]+)*(?: ?\(.*?\))?):(?= |$)")
# What begins something else than an item.
OTHER = re.compile(r"\.\.(?: |$)|>>>|[-*+|] |\d+[.)] |#\. |```|:\w")


def markup_of(text: str) -> Markup:
    """Markdown, unless it shows a sign of reStructuredText and none of Markdown."""
    if MARKDOWN.search(text):
        return "markdown"
    return "rest" if NUMPY.search(text) or REST.search(text) else "markdown"


def title_of(text: str) -> re.Match[str] | None:
    """The heading that a text in reStructuredText opens with; its second group is the title."""
    match = TITLE.match(text)
    return None if match is None or NUMPY.match(text) else match


def with_items(text: str, markup: Markup) -> list[tuple[int, str]]:
    r"""
    ## With items

    The text in pieces, each with the number of its first line, from 0. In reStructuredText it is
    one piece, line for line, with the items of its sections as fields. In Markdown a section begins
    a piece and so does its content, whose items are those of a list.
    """
    lines = text.split("\n")
    sections = list(_sections(lines))
    if markup == "rest":
        for start, end, name, style in sections:
            if not WORDS.fullmatch(name):
                lines[start:end] = _items(lines[start:end], style, markup)
        return [(0, "\n".join(lines))]
    if not sections or re.search(r"^\[[^\[\]\n]+\]:[ ]", text, re.MULTILINE):
        return [(0, text)]
    pieces, done = [], 0
    for start, end, name, style in sections:
        head = start - (2 if style == "numpy" else 1)
        pieces += [(done, lines[done:head]), (head, [f"## {name}"])]
        inside = _dedented(lines[start:end])
        if WORDS.fullmatch(name):
            pieces.append((start, inside))
        else:
            pieces += _lists(start, _items(inside, style, markup))
        done = end
    pieces.append((done, lines[done:]))
    return [(line, "\n".join(piece)) for line, piece in pieces if any(map(str.strip, piece))]


def _lists(start: int, lines: list[str]) -> Iterator[tuple[int, list[str]]]:
    """To Markdown, an item right below another's second paragraph is part of it: a list begins."""
    begin, blank = 0, False
    for number, line in enumerate(lines):
        if line.startswith("- "):
            if blank and lines[number - 1].strip():
                yield start + begin, lines[begin:number]
                begin = number
            blank = False
        blank |= not line.strip()
    yield start + begin, lines[begin:]


def _sections(lines: list[str]) -> Iterator[tuple[int, int, str, str]]:
    """First line of the content, the line after its last, name and style of each section."""
    heads: list[tuple[int, int, str, str]] = []
    fenced = False
    for number, (line, below) in enumerate(pairwise([*lines, ""])):
        fenced ^= line.lstrip().startswith("```")
        deeper = below.startswith(" ") and below.strip()
        google = GOOGLE.fullmatch(line.rstrip())
        if fenced:
            continue
        if RULE.fullmatch(below) and line[:1].strip() and not RULE.fullmatch(line):
            known = re.fullmatch(NAMES, line.rstrip())
            heads.append((number, number + 2, line.rstrip() if known else "", "numpy"))
        elif google and deeper:
            heads.append((number, number + 1, google[1], "google"))
        elif heads and heads[-1][3] == "google" and line[:1].strip():
            heads.append((number, number, "", ""))
    for (_, start, name, style), (end, *_) in pairwise([*heads, (len(lines), 0, "", "")]):
        if name:
            yield start, end, name, style


def _items(lines: list[str], style: str, markup: Markup) -> list[str]:
    r"""
    ## Items

    The lines of a section with its items marked. A line is one if it looks like it, or if what
    stands below is further in.
    """
    margin = min((_depth(line) for line in lines if line.strip()), default=0)
    done, shift = [], 0
    for line, below in pairwise([*lines, ""]):
        words, depth = line.strip(), _depth(line) - margin
        if not words or depth or OTHER.match(words):
            done.append(" " * shift + line if words and depth else line)
            continue
        google = GOOGLE_ITEM.match(words) if style == "google" else None
        numpy = style == "numpy" and (
            NUMPY_ITEM.fullmatch(words) or (below.strip() and _depth(below) > margin)
        )
        inner = _depth(below) - margin if below.strip() else 0
        # An item's own lines stand four further in, to Markdown.
        shift = max(4 - inner, 0) if inner and markup == "markdown" else 0
        if not google and not numpy:
            done.append(line)
        elif markup == "markdown":
            done.append(f"- {re.sub(r'^[*]+|(?<=, )[*]+', _escaped, words)}" + "  " * bool(numpy))
        else:
            name, said = (google[1], words[google.end() :]) if google else (words, "")
            done.append(f"{' ' * margin}:{_field(name)}:{said}")
    return done


def _escaped(match: re.Match[str]) -> str:
    return "".join("\\" + sign for sign in match[0])


def _field(name: str) -> str:
    """A field's name has no role and no colon of its own; a star or a line below means nothing."""
    plain = re.sub(r":[\w:+.-]{1,99}:(?=`)", "", name)
    return re.sub(r"[*|]|(?<=\w)_(?!\w)|:(?= |`|$)", _escaped, plain)


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip())


def _dedented(lines: list[str]) -> list[str]:
    margin = min((_depth(line) for line in lines if line.strip()), default=0)
    return [line[margin:] for line in lines]
