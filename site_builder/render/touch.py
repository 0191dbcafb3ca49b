r"""
# Touch

Which names of a page's code are one thing, for the script that lights them up together. A name
gets no element of its own, since most of a page is names: a cell of code says in one attribute
where its names begin and which thing each is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from site_builder.read.document import Reading


class Touch:
    r"""
    ## The things of a page

    Those that stand at more than one place, or that a symbol or a size is tied to, by number.
    """

    def __init__(self, reading: Reading) -> None:
        notation = reading.meta.notation.values()
        self.things = [
            use
            for use in reading.uses
            if len(use.spots) > 1 or use.name in reading.sizes or any(map(use.is_called, notation))
        ]
        self.lines: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for number, use in enumerate(self.things):
            for line, column in use.spots:
                self.lines[line].append((column, number))

    def cell(self, lines: Iterable[int]) -> tuple[str, ...]:
        """Of each line, the column and the number of each name."""
        spots = (sorted(self.lines.get(line, ())) for line in lines)
        return tuple(" ".join(f"{column}.{number}" for column, number in line) for line in spots)

    def called(self, name: str) -> str:
        """The numbers of the things that a symbol is tied to."""
        return " ".join(str(n) for n, use in enumerate(self.things) if use.is_called(name))
