r"""
# The map

All pages that need or lead to another, drawn: what is read before stands to the left. A page stands
one column behind the last that it needs, and within a column beside what it is joined to.
"""

from __future__ import annotations

import itertools
import textwrap
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from site_builder.link.cards import Card
from site_builder.read.document import Document

# A box, and the room from one to the next.
WIDE, HIGH = 156, 40
ACROSS, DOWN = 204, 52
LETTERS = 20
# So often columns are put in order after the others.
SWEEPS = 8
# A page, or the place at which a line passes a column.
Node = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Box:
    """A page on the map: the middle of its left side, and the lines of its name with heights."""

    x: int
    y: int
    lines: tuple[tuple[str, float], ...]
    card: Card


@dataclass(frozen=True, slots=True)
class Map:
    r"""
    ## What the template gets

    `said` is the same in words: each page with what it needs.
    """

    width: int
    height: int
    boxes: tuple[Box, ...]
    lines: tuple[str, ...]
    said: tuple[tuple[Card, tuple[Card, ...]], ...]


def draw(needs: Mapping[str, list[Document]], cards: Mapping[str, Card]) -> Map | None:
    r"""
    ## Draw

    `needs` has what each path is built upon.
    """
    upon = {path: [document.path for document in near] for path, near in needs.items() if near}
    joined = dict.fromkeys([*upon, *(path for near in upon.values() for path in near)])
    if not joined:
        return None
    ordered = [path for path in cards if path in joined]
    level = _levels(ordered, upon)
    columns, chains = _columns(ordered, upon, level)
    _untangle(columns, chains)
    most = max(map(len, columns))
    place = {
        node: (ACROSS * at, round((row + (most - len(column)) / 2) * DOWN) + HIGH // 2)
        for at, column in enumerate(columns)
        for row, node in enumerate(column)
    }
    boxes = tuple(_box(*place[path, level[path]], cards[path]) for path in ordered)
    lines = tuple(_line([place[node] for node in chain]) for chain in chains)
    said = tuple(
        (cards[path], tuple(cards[p] for p in upon[path])) for path in ordered if path in upon
    )
    return Map(ACROSS * len(columns) - ACROSS + WIDE, DOWN * most - DOWN + HIGH, boxes, lines, said)


def _levels(paths: list[str], upon: Mapping[str, list[str]]) -> dict[str, int]:
    """The longest way to each page; of pages that need each other the first counts."""
    level: dict[str, int] = {}

    def visit(path: str, above: frozenset[str]) -> int:
        if path not in level:
            near = [p for p in upon.get(path, ()) if p not in above]
            level[path] = max((visit(p, above | {path}) + 1 for p in near), default=0)
        return level[path]

    for path in paths:
        visit(path, frozenset())
    return level


def _columns(
    paths: list[str], upon: Mapping[str, list[str]], level: Mapping[str, int]
) -> tuple[list[list[Node]], list[list[Node]]]:
    """What stands in each column, and each line as the places that it passes."""
    columns: list[list[Node]] = [[] for _ in range(max(level.values()) + 1)]
    for path in paths:
        columns[level[path]].append((path, level[path]))
    chains = []
    for path in paths:
        for other in upon.get(path, ()):
            between = range(level[other] + 1, level[path])
            passed: list[Node] = [(f"{other} {path}", at) for at in between]
            for node in passed:
                columns[node[1]].append(node)
            if level[other] < level[path]:
                chains.append([(other, level[other]), *passed, (path, level[path])])
    return columns, chains


def _untangle(columns: list[list[Node]], chains: list[list[Node]]) -> None:
    """Puts each thing where the middle of its neighbours is, there and back again."""
    beside: dict[Node, list[Node]] = defaultdict(list)
    for chain in chains:
        for one, other in itertools.pairwise(chain):
            beside[one].append(other)
            beside[other].append(one)
    for sweep in range(SWEEPS):
        for at in range(len(columns)) if sweep % 2 == 0 else reversed(range(len(columns))):
            row = {n: i - len(c) / 2 for c in columns for i, n in enumerate(c)}
            toward = -1 if sweep % 2 == 0 else 1

            def middle(node: Node, row: Mapping[Node, float] = row, to: int = at + toward) -> float:
                near = [row[other] for other in beside[node] if other[1] == to]
                return sum(near) / len(near) if near else row[node]

            columns[at].sort(key=middle)


def _box(x: int, y: int, card: Card) -> Box:
    words = textwrap.wrap(card.title, LETTERS)
    if len(words) > 2:
        short = card.acronyms[0] if card.acronyms else ""
        words = [short] if short else [words[0], f"{words[1][: LETTERS - 1]}…"]
    middle = (len(words) - 1) / 2
    return Box(x, y, tuple((word, y + 15 * (at - middle)) for at, word in enumerate(words)), card)


def _line(places: list[tuple[int, int]]) -> str:
    """From the right side of the first to the left of the last, level at each."""
    (x, y), *rest = places
    path = [f"M{x + WIDE} {y}"]
    x += WIDE
    for at, (to, height) in enumerate(rest):
        half = (to - x) / 2
        path.append(f"C{x + half:g} {y} {to - half:g} {height} {to} {height}")
        x, y = to, height
        if at < len(rest) - 1:
            path.append(f"H{to + WIDE}")
            x += WIDE
    return "".join(path)
