"""Numbers as dates: days written as 20240131, months, weeks, spreadsheet days, seconds since 1970."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from elman.errors import DataError

__all__ = ["NUMBER_FORMATS", "may_be_days", "number_format", "times_of_numbers"]

# date_format: (microseconds of one, microseconds from 1970 to its zero)
_DAY = 86_400_000_000
NUMBER_FORMATS = {
    "epoch_s": (1_000_000, 0),
    "epoch_ms": (1_000, 0),
    "epoch_us": (1, 0),
    "epoch_ns": (0.001, 0),
    "excel": (_DAY, -25_569 * _DAY),
}
_EPOCH = (631_152_000, 4_102_444_800)  # seconds of the years 1990 to 2100
_EXCEL = (25_569, 73_050)  # days of the years 1970 to 2099
_YEARS = (1900, 2100)
_DATE_NAMES = ("date", "datum", "fecha", "dato", "data")
_MOSTLY = 0.5


def may_be_days(numbers: np.ndarray) -> bool:
    """Return whether numbers may be the days of a spreadsheet.

    >>> may_be_days(np.array([45292])), may_be_days(np.array([1, 2]))
    (True, False)
    """
    return bool(numbers.min() >= _EXCEL[0] and numbers.max() <= _EXCEL[1])


def number_format(column: np.ndarray, name: str, where: Callable[[int], str]) -> str | None:
    """Return the `date_format` of numbers that can only be dates, None for other numbers.

    Raises DataError where most of the numbers are dates such as 20240131 and one is none; `where` names
    a row.

    >>> number_format(np.array([20240131, 20240201]), "t", str), number_format(np.arange(9), "t", str)
    ('%Y%m%d', None)
    """
    rows = np.flatnonzero(np.isfinite(column))
    numbers = column[rows]
    if not len(numbers):
        return None
    low, high = float(numbers.min()), float(numbers.max())
    for form in ("epoch_s", "epoch_ms", "epoch_us", "epoch_ns"):
        scale = NUMBER_FORMATS["epoch_s"][0] / NUMBER_FORMATS[form][0]
        if low >= _EPOCH[0] * scale and high <= _EPOCH[1] * scale:
            return form
    if may_be_days(numbers) and name.casefold().startswith(_DATE_NAMES):
        return "excel"
    if (numbers % 1).any():
        return None
    for digits, form in ((10_000, "%Y%m%d"), (100, "%Y%m")):
        # A mistyped year is outside the range, so that the median tells what the numbers are.
        if not _YEARS[0] <= float(np.median(numbers)) // digits <= _YEARS[1]:
            continue
        year, rest = np.divmod(numbers.astype(np.int64), digits)
        month, day = np.divmod(rest, 100) if digits == 10_000 else (rest, np.ones_like(rest))
        valid = (year >= 1) & (year <= 9999) & (month >= 1) & (month <= 12) & (day >= 1)
        first = ((year - 1970) * 12 + (month - 1)).clip(-24_000, 99_000).astype("datetime64[M]")
        valid &= (first.astype("datetime64[D]") + (day - 1)).astype("datetime64[M]") == first
        if valid.all():
            return form
        weeks = digits == 100 and ((rest >= 1) & (rest <= 53)).all()
        if weeks and (rest > 12).mean() > _MOSTLY:
            return "%G%V"
        if valid.mean() > _MOSTLY:
            at = int(np.argmin(valid))
            raise DataError(
                f"{where(int(rows[at]))}: {numbers[at]:.0f} is no date, and most of the column are dates",
                expected=f"the form {form}",
                remedy='mend it, or pass frequency="steps" where these are counted steps',
            )
    return None


def times_of_numbers(column: np.ndarray, form: str) -> np.ndarray:
    """Return numbers ``[R]`` as stamps datetime64[us] in UTC, NaT where missing, by one of NUMBER_FORMATS.

    >>> times_of_numbers(np.array([45292.5]), "excel").astype("datetime64[h]").tolist()
    [datetime.datetime(2024, 1, 1, 12, 0)]
    """
    unit, zero = NUMBER_FORMATS[form]
    if column.dtype.kind == "i" and unit >= 1:
        return (column * int(unit) + zero).astype("datetime64[us]")
    known = np.isfinite(column)
    exact = np.rint(np.where(known, column, 0) * unit).astype(np.int64) + zero
    if form == "excel":  # a float holds the time of a day to some microseconds
        exact = (exact + 500) // 1_000 * 1_000
    return np.where(known, exact.astype("datetime64[us]"), np.datetime64("NaT"))
