r"""
# Drawings

A figure that our own [tool](../../papers/tools/drawing/__init__.py) drew is an SVG that says what
it was drawn from. It becomes a part of the page, in whose colours it is seen and to whose sections
it leads. So it may hold shapes, words and links to anchors, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from xml.parsers import expat

# The attribute of the root that makes an SVG one of ours: `path=fingerprint` of each file.
MARK = "data-drawn-from"
SHAPES = frozenset({"circle", "ellipse", "line", "path", "polygon", "polyline", "rect"})
ELEMENTS = SHAPES | {"svg", "g", "a", "text", "tspan"}
# What a file needs where it stands alone, and a page has itself.
LEFT_OUT = frozenset({"style", "title", "desc", "defs"})
ATTRIBUTES = frozenset(
    """
    class cx cy d dx dy fill-opacity font-size height points r rx ry text-anchor transform viewBox
    width x x1 x2 y y1 y2
    """.split()  # noqa: SIM905
)
# Attributes of the root that the page's own `svg` has no use for.
ROOT = frozenset({"xmlns", "xmlns:xlink", "role", MARK})
REMEDY = "; draw it again"


@dataclass(frozen=True, slots=True)
class Lead:
    """Where a part of the drawing leads, and the line on which it says so."""

    anchor: str
    line: int


@dataclass(frozen=True, slots=True)
class Drawing:
    r"""
    ## What was drawn

    `html` is what stands inside the page's own `svg`. `mistakes` are (line, message); where there
    are any, the rest is not to be shown.
    """

    html: str
    view: str
    links: tuple[Lead, ...]
    drawn_from: dict[str, str]
    mistakes: tuple[tuple[int, str], ...]


def is_ours(data: bytes) -> bool:
    return MARK.encode() in data[:4000] and b"<svg" in data[:4000]


def read_drawing(data: bytes) -> Drawing:
    """What our own tool drew, as far as a page may show it."""
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda tag, given: reader.open(
        tag, given, parser.CurrentLineNumber
    )
    parser.EndElementHandler = reader.close
    parser.CharacterDataHandler = reader.say
    parser.EntityDeclHandler = lambda *_: reader.refuse("an entity", parser.CurrentLineNumber)
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        reader.mistakes.append(
            (error.lineno, f"is not XML: {expat.ErrorString(error.code)}{REMEDY}")
        )
    html = "".join(reader.html).strip()
    links, mistakes = tuple(reader.links), tuple(reader.mistakes)
    return Drawing(html, reader.view, links, reader.drawn_from, mistakes)


@dataclass(slots=True)
class _Reader:
    html: list[str] = field(default_factory=list)
    view: str = ""
    links: list[Lead] = field(default_factory=list)
    drawn_from: dict[str, str] = field(default_factory=dict)
    mistakes: list[tuple[int, str]] = field(default_factory=list)
    # What is open; below an element that is left out, nothing is shown.
    path: list[str] = field(default_factory=list)

    def refuse(self, what: str, line: int) -> None:
        self.mistakes.append((line, f"{what} is not for a page to show{REMEDY}"))

    def open(self, tag: str, given: dict[str, str], line: int) -> None:
        outside = not self.path
        self.path.append(tag)
        if LEFT_OUT & set(self.path):
            return
        if tag not in ELEMENTS or outside != (tag == "svg"):
            self.refuse(f"<{tag}>", line)
            return
        if outside:
            self.view = given.get("viewBox", "")
            pairs = (pair.rpartition("=") for pair in given.get(MARK, "").split())
            self.drawn_from = {path: mark for path, _, mark in pairs}
        known = ATTRIBUTES | (ROOT if outside else {"href"} if tag == "a" else set())
        for name in given.keys() - known:
            self.refuse(f"{name} of <{tag}>", line)
        if tag == "a":
            address = given.get("href", "")
            if not address.startswith("#"):
                self.refuse(f"a link to {address or 'nowhere'}", line)
            self.links.append(Lead(address[1:], line))
        if not outside:
            inside = "".join(f' {name}="{escape(value)}"' for name, value in given.items())
            self.html.append(f"<{tag}{inside}>")

    def close(self, tag: str) -> None:
        if not LEFT_OUT & set(self.path) and len(self.path) > 1:
            self.html.append(f"</{tag}>")
        self.path.pop()

    def say(self, text: str) -> None:
        if self.path and not LEFT_OUT & set(self.path):
            self.html.append(escape(text, quote=False))
