r"""
# Axes

Where an axis has its marks, and what they say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from site_builder.results.numbers import RAISED, number

# The drawing's inside, in its own units; the template adds margins for ticks and titles.
WIDTH, HEIGHT = 560, 260


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis: where, and what it says."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Frame:
    r"""
    ## The frame

    From zero to `right` and from `low` to `high`, the upright axis divided evenly or by powers.
    """

    right: float
    low: float
    high: float
    log: bool

    def scale(self, y: float) -> float:
        return math.log10(max(y, self.low)) if self.log else y

    def place(self, x: float, scaled: float) -> tuple[float, float]:
        bottom, top = self.scale(self.low), self.scale(self.high)
        spread = (top - bottom) or 1.0
        return round(x / self.right * WIDTH, 1), round((top - scaled) / spread * HEIGHT, 1)

    def height(self, y: float) -> float:
        return self.place(0, self.scale(y))[1]

    def up(self) -> tuple[Tick, ...]:
        exponents = powers(math.log10(self.low), math.log10(self.high)) if self.log else range(0)
        if len(exponents) > 1:
            return tuple(
                Tick(self.height(10.0**p), f"10{str(p).translate(RAISED)}") for p in exponents
            )
        return tuple(Tick(self.height(y), short(y)) for y in round_values(self.low, self.high))

    def across(self) -> tuple[Tick, ...]:
        return tuple(Tick(self.place(x, 0)[0], short(x)) for x in round_values(0, self.right))


def short(value: float) -> str:
    """A round number beside an axis, where there is room for few letters: `50 k`, `2 M`."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= max(size, 1e4):
            return f"{number(value / size)}\u202f{letter}"
    return number(value)


def round_values(low: float, high: float, about: int = 4) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, some `about` of them."""
    if high <= low:
        return [low]
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def powers(bottom: float, top: float) -> range:
    """Exponents of the powers of ten in between, not more than some five."""
    first, last = math.ceil(bottom), math.floor(top)
    return range(first, last + 1, max(1, (last - first) // 4))
