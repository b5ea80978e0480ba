"""Dates written as numbers: 20240131, 202401, weeks, spreadsheet days, seconds since 1970."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from elman.errors import DataError
from elman.series.frequency import DAY

NUMBER_FORMATS = {
    "epoch_s": (1_000_000, 0),
    "epoch_ms": (1_000, 0),
    "epoch_us": (1, 0),
    "epoch_ns": (0.001, 0),
    "excel": (DAY, -25_569 * DAY),
}
"""Each `date_format` of counted units: microseconds of a unit, and of its zero from 1970."""
EPOCH_SECONDS = (631_152_000, 4_102_444_800)
"""Seconds since 1970 that count as dates: the years 1990 to 2100."""
SPREADSHEET_DAYS = (25_569, 73_050)
"""Days of a spreadsheet that count as dates: the years 1970 to 2099."""
YEARS = (1900, 2100)
"""Years that numbers such as 20240131 may begin with."""
MIN_VALID_SHARE = 0.5
"""Share of a column that must be valid dates before the others count as mistyped."""
_SPREADSHEET_NAMES = ("date", "datum", "fecha", "dato", "data")


def may_be_spreadsheet_days(numbers: np.ndarray) -> bool:
    """Return whether numbers lie in the range of a spreadsheet's days.

    >>> may_be_spreadsheet_days(np.array([45292])), may_be_spreadsheet_days(np.array([1, 2]))
    (True, False)
    """
    first, last = SPREADSHEET_DAYS
    return bool(numbers.min() >= first and numbers.max() <= last)


def number_format(column: np.ndarray, name: str, where: Callable[[int], str]) -> str | None:
    """Return the `date_format` of numbers that can only be dates, None for other numbers.

    Args:
        column: the numbers ``[R]``, NaN where missing.
        name: the column's name; spreadsheet days need a name such as "date".
        where: names a row in an error.

    Raises:
        DataError: most numbers are dates such as 20240131, but not all.

    >>> number_format(np.array([20240131, 20240201]), "t", str), number_format(np.arange(9), "t", str)
    ('%Y%m%d', None)
    """
    rows = np.flatnonzero(np.isfinite(column))
    numbers = column[rows]
    if not len(numbers):
        return None
    low, high, median = float(numbers.min()), float(numbers.max()), float(np.median(numbers))
    for date_format in ("epoch_s", "epoch_ms", "epoch_us", "epoch_ns"):
        scale = NUMBER_FORMATS["epoch_s"][0] / NUMBER_FORMATS[date_format][0]
        if low >= EPOCH_SECONDS[0] * scale and high <= EPOCH_SECONDS[1] * scale:
            return date_format
    if may_be_spreadsheet_days(numbers) and name.casefold().startswith(_SPREADSHEET_NAMES):
        return "excel"
    # Judge by the median: a mistyped year would lie outside the range.
    sizes = [size for size in (10_000, 100) if YEARS[0] <= median // size <= YEARS[1]]
    if not sizes or (numbers % 1).any():
        return None
    year, rest = np.divmod(numbers.astype(np.int64), sizes[0])
    date_format, valid = "%Y%m", _are_days(year, rest, np.ones_like(rest))
    if sizes[0] == 10_000:
        date_format, valid = "%Y%m%d", _are_days(year, *np.divmod(rest, 100))
    elif ((rest >= 1) & (rest <= 53)).all() and (rest > 12).mean() > MIN_VALID_SHARE:
        return "%G%V"
    if valid.mean() <= MIN_VALID_SHARE:
        return None
    if not valid.all():
        row = int(np.argmin(valid))
        raise DataError(
            f"{where(int(rows[row]))}: {numbers[row]:.0f} is not a date, but most of the column is",
            expected=f"the format {date_format}",
            remedy='correct it, or pass frequency="steps" if these are counted steps',
        )
    return date_format


def _are_days(year: np.ndarray, month: np.ndarray, day: np.ndarray) -> np.ndarray:
    """Return which of the numbers are days of the calendar, bool ``[R]``."""
    first = ((year - 1970) * 12 + (month - 1)).clip(-24_000, 99_000).astype("datetime64[M]")
    valid = (year >= 1) & (year <= 9999) & (month >= 1) & (month <= 12) & (day >= 1)
    # A day beyond the end of its month falls into the next month.
    return np.asarray(valid & ((first.astype("M8[D]") + (day - 1)).astype("M8[M]") == first))


def times_of_numbers(column: np.ndarray, date_format: str) -> np.ndarray:
    """Convert numbers ``[R]`` to stamps in UTC, datetime64[us], NaT where missing.

    `date_format` is one of `NUMBER_FORMATS`.

    >>> times_of_numbers(np.array([45292.5]), "excel").astype("datetime64[h]").tolist()
    [datetime.datetime(2024, 1, 1, 12, 0)]
    """
    unit, zero = NUMBER_FORMATS[date_format]
    if column.dtype.kind == "i" and unit >= 1:
        return (column * int(unit) + zero).astype("datetime64[us]")
    known = np.isfinite(column)
    exact = np.rint(np.where(known, column, 0) * unit).astype(np.int64) + zero
    if date_format == "excel":
        # A float holds the time of day of a spreadsheet to a few microseconds only.
        exact = (exact + 500) // 1_000 * 1_000
    return np.where(known, exact.astype("datetime64[us]"), np.datetime64("NaT"))
