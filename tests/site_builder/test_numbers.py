"""Numbers as people write them."""

from __future__ import annotations

import pytest

from site_builder.results.numbers import measured, number


@pytest.mark.parametrize(
    ("value", "unit", "told"),
    [
        (0.98765, "", "0.9877"),
        (12.3456, "", "12.35"),
        (-12.3456, "", "−12.35"),
        (123456.7, "", "123,457"),
        (600, "", "600"),
        (1199360.0, "bytes", "1,199,360"),
        (0.0, "", "0"),
        (-3, "", "−3"),
        (6.518e-07, "nats", "6.5 × 10⁻⁷"),
        (1.2e-5, "", "1.2 × 10⁻⁵"),
        (0.00123456, "", "0.001235"),
        (3.2e12, "", "3.2 × 10¹²"),
        (0.92222, "%", "92.22"),
        (1.0, "%", "100"),
        (0.0000071, "%", "7.1 × 10⁻⁴"),
        (None, "", "not finite"),
        (float("inf"), "", "not finite"),
    ],
)
def test_one_number(value: float | None, unit: str, told: str) -> None:
    assert number(value, unit) == told


@pytest.mark.parametrize(
    ("values", "unit", "told"),
    [
        ((1.676,), "", "1.676"),
        ((1.66, 1.68, 1.70), "", "1.680 ± 0.020"),
        ((0.915, 0.922, 0.929), "%", "92.20 ± 0.70"),
        ((100.0, 120.0, 140.0), "", "120 ± 20"),
        ((1e-7, 2e-7, 3e-7), "", "(2.0 ± 1.0) × 10⁻⁷"),
        ((1e-7, 2.0, 4.0), "", "2.0 ± 2.0"),
        ((1.0, 1.0002, 1.0004), "", "1.0002 ± 0.0002"),
        ((5.0, 5.0, 5.0), "", "5"),
        ((-1.0, 0.0, 1.0), "", "0.0 ± 1.0"),
        ((1.0, 1.0 + 1e-12, 1.0), "", "1"),
        ((None,), "", "not finite"),
        ((1.0, None, 2.0), "", "1.5 (1 of 3 not finite)"),
        ((None, None), "", "not finite"),
    ],
)
def test_several_seeds(values: tuple[float | None, ...], unit: str, told: str) -> None:
    assert measured(values, unit) == told
