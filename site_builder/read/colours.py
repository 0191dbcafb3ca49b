r"""
# Colours

A page uses few colours, by names. A project gives its own for any of them: one, or two, for light
and for dark.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

# Paper, and what lies on it; words; what leads somewhere and what is marked; code.
COLOURS = (
    "paper", "desk", "raised", "ink", "quiet", "line", "accent", "wash", "mark",
    "keyword", "name", "string", "number", "builtin",
)  # fmt: skip
COLOUR = re.compile(r"#(?:[\da-fA-F]{3}|[\da-fA-F]{6})|[a-z]+|(?:rgb|hsl|oklch)\([\d\s.,%/deg-]+\)")


def wrong_colours(value: object) -> str:
    """What is wrong with the setting, if anything."""
    if not isinstance(value, dict):
        return 'colours must be a table such as {accent = ["#a8381f", "#f2987b"]}'
    for name, colour in value.items():
        if name not in COLOURS:
            return f"colours: there is no {name!r}; there are {', '.join(COLOURS)}"
        given = colour if isinstance(colour, list) else [colour]
        if len(given) not in (1, 2) or not all(map(_is_colour, given)):
            how = 'as "#a8381f", or two, for light and dark, as ["#a8381f", "#f2987b"]'
            return f"colours: {name} must be a colour, written {how}"
    return ""


def _is_colour(value: object) -> bool:
    return isinstance(value, str) and COLOUR.fullmatch(value) is not None


def pairs(value: dict[str, str | list[str]]) -> Iterable[tuple[str, str, str]]:
    """Each with its colour in the light and in the dark."""
    for name, colour in value.items():
        given = [colour] if isinstance(colour, str) else colour
        yield name, given[0], given[-1]
