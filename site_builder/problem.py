r"""
# Problems

What a person got wrong is data, not an exception: a stage that meets a mistake writes it down and
goes on, so that one run names every mistake and the pages without one are built all the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    r"""
    ## One line that points

    `path:line: message`, the form that editors turn into a link. The message says what is wrong
    and what to do.
    """

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        # KaTeX and YAML explain themselves over several lines; a problem is one.
        path = self.path if self.path.isprintable() else ascii(self.path)[1:-1]
        return f"{path}:{self.line}: {' '.join(self.message.split())}"


def in_order(found: Iterable[Problem], once: str) -> tuple[Problem, ...]:
    """Sorted; of those that say `once`, which one step mends, only the first."""
    done = sorted(found)
    first = next((problem for problem in done if once in problem.message), None)
    return tuple(problem for problem in done if problem is first or once not in problem.message)


class BuildError(Exception):
    """Nothing can be built; the message says why and what to do."""
