r"""
# Tags

What of a text is HTML, and what only looks like it: `List<int>` and *copy <path> to the target* are
words. A tag is one that a page may show, and that is closed where it stands. Every other `<` is a
character that was written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

TAG = re.compile(
    r"""
    <(?P<close>/?)(?P<name>[a-zA-Z][a-zA-Z0-9]*+)
     (?P<attributes>(?:\s+[^\s"'=<>/]++(?:\s*=\s*(?:"[^"<>]*+"|'[^'<>]*+'|[^\s"'=<>]++))?)*+)\s*/?>
    """,
    re.VERBOSE,
)
# What a page may show.
TAGS = frozenset(
    """
    a abbr b blockquote br caption cite code dd del details dfn div dl dt em figcaption figure
    h1 h2 h3 h4 h5 h6 hr i img ins kbd li mark ol p pre q s samp small span strong sub summary sup
    table tbody td tfoot th thead tr u ul var
    """.split()  # noqa: SIM905
)
HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
VOID = frozenset({"br", "hr", "img"})
# These may hold a blank line; the others are closed in their paragraph.
BLOCKS = frozenset(
    """
    blockquote dd details div dl dt figcaption figure li ol p pre summary table tbody td tfoot th
    thead tr ul
    """.split()  # noqa: SIM905
)
CELLS = frozenset({"caption", "tbody", "td", "tfoot", "th", "thead", "tr"})
# Deeper than anybody means it.
DEEPEST = 50


def real_tags(tags: Iterable[re.Match[str]]) -> set[int]:
    r"""
    ## Which are tags

    The places of those, among all that look like one, that are.
    """
    void: set[int] = set()
    pairs: list[tuple[re.Match[str], re.Match[str]]] = []
    opened: list[re.Match[str]] = []
    for tag in tags:
        name = _name(tag)
        if name in VOID:
            if not tag["close"] and (name != "img" or "src" in tag["attributes"]):
                void.add(tag.start())
        elif name in TAGS and not tag["close"]:
            opened.append(tag)
        elif name in (names := [_name(other) for other in opened[: -DEEPEST - 1 : -1]]):
            # What was opened inside and is still open never will be closed.
            del opened[len(opened) - names.index(name) :]
            pairs.append((opened.pop(), tag))
    found = set[int]()
    table = 0
    for opening, closing in sorted(pairs, key=lambda pair: pair[0].start()):
        name, start, end = _name(opening), opening.start(), closing.start()
        if name == "table":
            table = max(table, end)
        whole = name in BLOCKS or not re.compile(r"\n[ ]*\n").search(opening.string, start, end)
        if whole and (name not in CELLS or start < table):
            found |= {start, end}
    return found | void


def _name(tag: re.Match[str]) -> str:
    return tag["name"].lower()


def kept(tag: re.Match[str], line: int) -> str:
    """A tag as Markdown gets it: with its line, and without the page's own classes."""
    if tag["close"] or not tag["attributes"]:
        return tag[0]
    attributes = re.sub(r"\bclass(?=\s*=)", "data-class", tag["attributes"], flags=re.IGNORECASE)
    return f'<{tag["name"]} data-line="{line}"{attributes}>'
