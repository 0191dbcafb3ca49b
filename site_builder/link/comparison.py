r"""
# Comparison

What a page about [what changed](changes.py) shows: two files, part by part.
"""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from site_builder.labels import later, say
from site_builder.link.order import Link
from site_builder.link.poster import Poster
from site_builder.read.counterparts import How
from site_builder.read.proofs import Proof
from site_builder.render.marks import Hunk, Line
from site_builder.render.pieces import Heading

# What became of a part, in a word.
BECAME = {
    "changed": later("changed"),
    "new": later("new"),
    "same": later("unchanged"),
    "imported": later("imported"),
}


@dataclass(frozen=True, slots=True)
class Side:
    """A part in one of the two files: where it is explained, its name, and its prose."""

    name: str
    url: str
    prose: Markup


@dataclass(frozen=True, slots=True)
class Setting:
    """A field of the settings that is not the same: its name, both defaults, what it is."""

    name: str
    before: str
    after: str
    help: str


@dataclass(frozen=True, slots=True)
class Compared:
    r"""
    ## A part of both

    Of one that is new there is no `before`, of one that is gone no `after`. Where nothing changed,
    or nothing is to be compared, `lines` are the code of either; else the `hunks`.
    """

    how: How
    anchor: str
    before: Side | None
    after: Side | None
    hunks: tuple[Hunk, ...] = ()
    lines: tuple[Line, ...] = ()
    settings: tuple[Setting, ...] = ()
    methods: tuple[Compared, ...] = ()
    kept: bool = False
    derived: bool = False

    @property
    def count(self) -> int:
        """Lines of code, with those of its methods."""
        return len(self.lines) + sum(method.count for method in self.methods)

    @property
    def name(self) -> str:
        side = self.after or self.before
        return side.name if side else ""


@dataclass(frozen=True, slots=True)
class Shown:
    """The proof as the page shows it, with where its code is published."""

    proof: Proof
    url: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    r"""
    ## What the template gets

    `parts` are the later file's, `imported` and `gone` the earlier one's that have no counterpart.
    """

    url: str
    root: str
    title: str
    summary: str
    math: bool
    before: Link
    after: Link
    years: tuple[int, int]
    parts: tuple[Compared, ...]
    imported: tuple[Compared, ...]
    gone: tuple[Compared, ...]
    proof: Shown | None
    contents: tuple[Heading, ...]
    paths: tuple[str, str]
    poster: Poster | None = None

    @property
    def told(self) -> str:
        """In a sentence what became of the parts."""
        counts = [
            (sum(p.how == how for p in self.parts), how) for how in ("changed", "new", "same")
        ]
        counts += [(len(self.imported), "imported"), (len(self.gone), "gone")]
        gone = say("only in {}").format(self.before.title)
        words = {how: say(word) for how, word in BECAME.items()} | {"gone": gone}
        told = [say("{} {}").format(number, words[how]) for number, how in counts if number]
        return say("Classes and functions: {}.").format(say(", ").join(told))
