r"""
---
title: Errors a person can act on
summary: One class of error, shown as one line, for whoever can do something about it.
---

# Errors a person can act on
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TypeVar

Choice = TypeVar("Choice")


class UserError(Exception):
    r"""
    ## One line, then the end

    A traceback speaks to whoever wrote the code. Where the cause lies outside the code (a flag, a
    file, a learning rate), we raise this with one line that names the place and the remedy, and
    `main` prints just that line and exits with status 1.

    Under `torchrun` every process may meet the same error. One that is `shared`, since all of
    them meet it alike, is told by the first process alone.
    """

    def __init__(self, message: str, shared: bool = False) -> None:
        super().__init__(" ".join(message.split()))
        self.shared = shared


def choose(kind: str, name: str, choices: Mapping[str, Choice]) -> Choice:
    r"""
    ## Choosing by name

    A name that we do not know is answered with the nearest that we do, and with all.
    """
    if name not in choices:
        near = difflib.get_close_matches(name.lower(), choices, n=1, cutoff=0.7)
        hint = f"perhaps {near[0]}; " if near else ""
        told = f"there is no {kind} {name!r}: {hint}choose one of {', '.join(choices)}"
        raise UserError(told, shared=True)
    return choices[name]
