r"""
# Numbers

As people write them: no more digits than are known, a power of ten rather than `6.518e-07`, a
share in percent.
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Sequence

from site_builder.labels import say

RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def scaled(value: float, unit: str) -> float:
    return 100 * value if unit == "%" else value


def number(value: float | None, unit: str = "") -> str:
    """Four digits: `0.9876`, `12.35`, `1,199,360`, `1.2 × 10⁻⁵`."""
    if value is None or not math.isfinite(value):
        return say("not finite")
    value = scaled(value, unit)
    if value == int(value) and abs(value) < 1e9:
        return _signed(f"{int(value):,}")
    if power := _power(value):
        return _times(_signed(f"{value / 10.0**power:.1f}"), power)
    return _signed(f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}")


@functools.lru_cache(maxsize=4096)
def spread(values: tuple[float, ...]) -> float:
    """The standard deviation; that of one number is none. It takes time, and is asked for often."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def measured(values: Sequence[float | None], unit: str = "") -> str:
    r"""
    ## Mean and spread

    Of a number that several seeds gave: `1.676 ± 0.012`, with the standard deviation.
    """
    finite = tuple(value for value in values if value is not None)
    if not finite:
        return number(None)
    mean, lost = statistics.fmean(finite), len(values) - len(finite)
    if lost:
        told = say("{} ({} of {} not finite)")
        return told.format(number(mean, unit), lost, len(values))
    return uncertain(mean, spread(finite), unit)


def uncertain(value: float, error: float, unit: str = "") -> str:
    """To the digits that the error leaves: two of its own, and not more than five of the value."""
    value, error = scaled(value, unit), scaled(error, unit)
    # What is smaller than that is rounding.
    if error < 1e-5 * abs(value) or not 0 < error < math.inf:
        return number(value)
    power = _power(max(abs(value), error))
    value, error = value / 10.0**power, error / 10.0**power
    digits = max(0, min(1 - _exponent(error), 4 - _exponent(value)))
    both = f"{_signed(f'{value:,.{digits}f}')} ± {error:,.{digits}f}"
    return _times(f"({both})", power) if power else both


def _signed(told: str) -> str:
    return told.replace("-", "−")


def _exponent(value: float) -> int:
    """Of the first digit, after rounding to two."""
    return int(f"{value:.1e}".partition("e")[2])


def _power(value: float) -> int:
    """The power of ten that is written out; 0 where the number is readable without."""
    exponent = _exponent(value)
    return exponent if exponent < -3 or exponent > 8 else 0


def _times(told: str, power: int) -> str:
    return f"{told} × 10{str(power).translate(RAISED)}"
