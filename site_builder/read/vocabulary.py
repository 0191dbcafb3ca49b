r"""
# Vocabulary

What the [names](names.py) in a file mean, and where each is [used](uses.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from site_builder.read.blocks import Parsed
from site_builder.read.names import References, imported_names, references
from site_builder.read.source import Source, split_lines
from site_builder.read.uses import Use, find_uses


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What names mean, and where they are used; without a syntax tree, nobody knows."""

    known: dict[str, str]
    imports: tuple[str, ...] = ()
    references: References = field(default_factory=dict)
    uses: tuple[Use, ...] = ()


def read_vocabulary(
    parsed: Parsed, source: Source, definitions: dict[str, str], roots: frozenset[str]
) -> Vocabulary:
    known = {name: f"{source.module}.{name}" for name in definitions if "." not in name}
    if not parsed.tree:
        return Vocabulary(known)
    imported = imported_names(parsed.tree, source.module, source.path.endswith("__init__.py"))
    known |= imported
    lines = [line.rstrip("\r\n") for line in split_lines(source.text)]
    used = references(parsed.tree, known, lines, roots)
    return Vocabulary(known, tuple(imported.values()), used, find_uses(parsed.tree, lines))
