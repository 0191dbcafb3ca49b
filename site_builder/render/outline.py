r"""
# Outline

Which level a heading has on its page. The page's title is the only first level, and no level is
skipped on the way down: screen readers navigate by them.
"""

from __future__ import annotations


class Outline:
    r"""
    ## The headings that are open

    Pairs of levels, as written and on the page. A heading that opens a section stands among those
    of the sections before. Headings inside a docstring (`Parameters`, say) stand below its own, or,
    where it has none, below the last second level, and among themselves they stay as they were
    written.
    """

    def __init__(self) -> None:
        self._sections = [(0, 1)]
        self._inside = [(0, 1)]
        self._opens = False

    def begin(self, level: int) -> None:
        """A section, which opens with a heading of this level, or, at 0, with none."""
        self._opens = level > 0
        self._inside = [(0, min(self._sections[-1][1], 2))]

    def place(self, written: int) -> int:
        """The level on the page of the next heading."""
        around = self._sections if self._opens else self._inside
        while len(around) > 1 and around[-1][0] >= written:
            around.pop()
        level = min(around[-1][1] + 1, 6)
        around.append((written, level))
        if self._opens:
            self._opens, self._inside = False, [(0, level)]
        return level
