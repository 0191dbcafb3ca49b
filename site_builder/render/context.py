r"""
# Context

What the pieces of prose on a page share, though each is rendered by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from site_builder.render.math import NO_MACROS
from site_builder.render.outline import Outline


@dataclass(slots=True)
class Context:
    """What the file's names stand for, its symbols, the headings that are open, macros as JSON."""

    names: dict[str, str] = field(default_factory=dict)
    symbols: tuple[str, ...] = ()
    outline: Outline = field(default_factory=Outline)
    macros: str = NO_MACROS
