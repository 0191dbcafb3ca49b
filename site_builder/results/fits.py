r"""
# Does it fit

What a model of a published size needs to run and to be trained, and on which memory it has it.
Nothing is measured here: parameters and what is kept of an example come from the record.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

GIB = 2**30
# What graphics cards have, in GiB.
CARDS = (8, 24, 80)
# Bytes a parameter: in 16 bits; and to train with Adam in mixed precision, where weights and
# gradients have 16 bits, and a copy of the weights and two moments have 32.
RUN, TRAIN = 2, 2 + 2 + 4 + 4 + 4


@dataclass(frozen=True, slots=True)
class Fit:
    r"""
    ## One size

    `run` is the weights in 16 bits and, of a decoder, the keys and values of `example`, and `train`
    the weights with gradients and Adam's state. `kept` is what the backward pass needs of one
    example, in 32 bits. `cards` says of each memory what fits there.
    """

    name: str
    example: str
    parameters: str
    modules: tuple[tuple[str, str], ...]
    flops: str
    run: str
    cache: str
    train: str
    kept: str
    cards: tuple[str, ...]


def fits(rows: Iterable[dict[str, Any]]) -> tuple[Fit, ...]:
    return tuple(map(_fit, rows))


def _fit(row: dict[str, Any]) -> Fit:
    parameters, flops, kept = int(row["parameters"]), row.get("flops"), row.get("kept")
    cache = 2 * int(row.get("cache", 0))
    run, train = RUN * parameters + cache, TRAIN * parameters
    return Fit(
        name=str(row["name"]),
        example=str(row.get("example", "")),
        parameters=short(parameters, ("", "k", "M", "B")),
        modules=tuple((str(name), f"{int(n):,}") for name, n in row.get("modules", {}).items()),
        flops=short(flops, ("", "k", "M", "G", "T", "P")) if flops else "",
        run=memory(run),
        cache=memory(cache) if cache else "",
        train=memory(train),
        kept=memory(kept) if kept else "",
        cards=tuple(_on(card * GIB, run, train, kept) for card in CARDS),
    )


def _on(room: int, run: int, train: int, kept: int | None) -> str:
    """`trains`, with how many examples at once where that is known, `runs` or `no`."""
    if train + (kept or 0) <= room:
        return f"trains, {number(room - train, kept)} at once" if kept else "trains"
    return "runs" if run <= room else "no"


def number(room: int, each: int) -> str:
    """For how many there is room, cut to two digits."""
    count = room // each
    step = 10 ** max(len(str(count)) - 2, 0)
    return f"{count // step * step:,}"


def memory(count: float) -> str:
    """Of 1,024 each, as memory is sold."""
    return scaled(count / 1024, 1024, ("kB", "MB", "GB", "TB"))


def short(count: float, units: tuple[str, ...]) -> str:
    return scaled(count, 1000, units)


def scaled(count: float, step: int, units: tuple[str, ...]) -> str:
    """Three digits and a unit, each of which is `step` times the one before."""
    power = 0
    while count >= 999.5 and power < len(units) - 1:
        count, power = count / step, power + 1
    shown = f"{count:,.0f}" if count >= 100 else f"{count:.3g}"
    return f"{shown} {units[power]}".rstrip()
