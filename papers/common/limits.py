r"""
---
title: What a flag may be
summary: A count is at least one, a size is not negative, a share lies between 0 and 1.
---

# What a flag may be

The fields of a paper's `Config` have types, and a type lets `--layers 0` pass. What follows from
such a value shows much later, and far from the flag. So a run looks at its `Config` before it
does anything else.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from typing import Annotated, Any

import torch

from papers.common.errors import UserError
from papers.common.flags import flag

# A part of a whole, as `dropout: Share = 0.1` says.
Share = Annotated[float, "from 0 to 1"]


def chance(seed: int) -> torch.Generator:
    r"""
    ## Chance

    Any seed that fits 64 bits, below zero or not.
    """
    if not -(2**63) <= seed < 2**63:
        raise UserError(f"--seed {seed}: give a number of at most 63 bits", shared=True)
    return torch.Generator().manual_seed(seed)


def check(config: Any) -> None:
    r"""
    ## By the default

    Where a whole number is above zero by default, zero makes no sense: without a layer there is
    no model, without a step no training. Where zero does mean something, it is the default. And
    nothing that is at least zero by default can be below.
    """
    hints = typing.get_type_hints(type(config), include_extras=True)
    for field in dataclasses.fields(config):
        default, value = field.default, getattr(config, field.name)
        if isinstance(default, bool) or not isinstance(default, int | float):
            continue
        least = 1 if isinstance(default, int) and default > 0 else 0
        wanted = f"{least} or more"
        fits = value >= least or default < 0
        if hints[field.name] == Share:
            wanted, fits = "a share from 0 to 1", 0 <= value <= 1
        elif not math.isfinite(value):
            wanted, fits = "a number that is finite", False
        if not fits:
            raise UserError(f"{flag(field.name)} {value}: give {wanted}", shared=True)
