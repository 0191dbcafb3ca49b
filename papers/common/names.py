r"""
---
title: Names of weights
summary: A table of their names and ours, which is read in both directions.
---

# Names of weights

The hub calls a weight `h.3.attn.c_attn.weight` and we call it `blocks.3.attention.qkv.weight`. A
table of such pairs, with `*` for a number, says it for all layers. What follows, here `.weight`,
stays as it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Names:
    r"""
    ## The table

    `prefix` stands before some files' names and is missing in others. `unused` is a regular
    expression for tensors that have no place here: a mask, or the copy of a matrix that serves
    twice.
    """

    table: dict[str, str]
    prefix: str = ""
    unused: str = r"(?!)"

    def ours(self, name: str) -> str:
        r"""
        The name here of what a folder calls `name`: empty for what is unused.
        """
        bare = name.removeprefix(self.prefix)
        return "" if re.search(self.unused, bare) else translated(bare, self.table)

    def theirs(self, name: str) -> str:
        return translated(name, {ours: theirs for theirs, ours in self.table.items()})


def translated(name: str, table: dict[str, str]) -> str:
    r"""
    ## Translating one

    A name that the table does not have stays what it is, so that whoever reads the weights can say
    which one was not expected.
    """
    for known, other in table.items():
        pattern = re.escape(known).replace(r"\*", r"(\d+)")
        if found := re.match(rf"{pattern}(?=\.|$)", name):
            return other.replace("*", "{}").format(*found.groups()) + name[found.end() :]
    return name
