"""Numbers as text for tables: at most six significant digits."""

from __future__ import annotations

import math
from collections.abc import Iterable

_MAX_DIGITS, _MAX_DECIMALS = 6, 4


def significant(value: float) -> str:
    """Return a number with at most six significant digits; "?" stands for infinity and NaN.

    >>> significant(872962444.5), significant(2.0), significant(-0.12345678)
    ('872,962,000', '2', '-0.123457')
    """
    if not math.isfinite(value):
        return "?"
    # Large numbers are rounded first and then written out with commas.
    if 1e6 <= abs(value) < 1e15:
        return f"{float(f'{value:.{_MAX_DIGITS}g}'):,.0f}"
    return f"{value:.{_MAX_DIGITS}g}"


def aligned(values: Iterable[float], *, plus: bool = False) -> list[str]:
    """Return numbers that all have as many decimals, at most four; the largest has at most six digits.

    With `plus`, positive numbers have a sign. Infinity and NaN are "?".

    >>> aligned([0.5, -12.25], plus=True), aligned([123456.789, 0.5]), aligned([2e-7, 1e-7])
    (['+0.5000', '-12.2500'], ['123457', '0'], ['2e-07', '1e-07'])
    """
    numbers = [float(value) for value in values]
    largest = max((abs(value) for value in numbers if math.isfinite(value)), default=0.0)
    form = "." + str(_MAX_DIGITS - 2) + "g"
    if not largest or 10.0**-_MAX_DECIMALS <= largest < 10.0**_MAX_DIGITS:
        before = 1 + max(0, math.floor(math.log10(largest))) if largest else 1
        form = f".{max(0, min(_MAX_DECIMALS, _MAX_DIGITS - before))}f"
    return [
        f"{value:{'+' if plus else ''}{form}}" if math.isfinite(value) else "?" for value in numbers
    ]
