"""The time column of series: dates, numbers that are dates, or step numbers, and their time zone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from elman.errors import DataError
from elman.series.frequency import DAY, Frequency
from elman.series.read_options import SeriesOptions
from elman.series.rows import Rows
from elman.series.time_zones import has_one_time_of_day, known_zone, local_days, to_utc, usable_zone
from elman.tables.columns import quoted, row_name
from elman.tables.dates import form_note, looks_like_date, parse_times
from elman.tables.reader import Table

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

TIME_WORDS = (
    *("t", "time", "timestamp", "date", "datetime", "step", "index", "period"),
    *("second", "minute", "hour", "day", "week", "month", "quarter", "year"),
)
"""Names of columns that probably hold the time."""
_DATE_WORDS = frozenset(("ds", "dates", "datum", "fecha", "dato", "yearmonth", *TIME_WORDS))


def may_be_spreadsheet_days(numbers: np.ndarray) -> bool:
    """Return whether numbers lie in the range of a spreadsheet's days.

    >>> may_be_spreadsheet_days(np.array([45292])), may_be_spreadsheet_days(np.array([1, 2]))
    (True, False)
    """
    # Spreadsheets count days from 30 December 1899.
    first, last = SPREADSHEET_DAYS
    return bool(numbers.min() >= first and numbers.max() <= last)


def number_format(column: np.ndarray, name: str, where: Callable[[int], str]) -> str | None:
    """Return the `date_format` of numbers that can only be dates, None for other numbers.

    Args:
        column: The numbers ``[R]``, NaN where missing.
        name: The column's name; spreadsheet days need a name such as "date".
        where: Names a row in an error.

    Raises:
        DataError: most numbers are dates such as 20240131, but not all.

    >>> number_format(np.array([20240131, 20240201]), "t", str), number_format(np.arange(9), "t", str)
    ('%Y%m%d', None)
    """
    # Missing numbers neither confirm nor rule out a format.
    rows = np.flatnonzero(np.isfinite(column))
    numbers = column[rows]
    if not len(numbers):
        return None
    low, high, median = float(numbers.min()), float(numbers.max()), float(np.median(numbers))
    for date_format in ("epoch_s", "epoch_ms", "epoch_us", "epoch_ns"):
        # How many of these units are in a second.
        scale = NUMBER_FORMATS["epoch_s"][0] / NUMBER_FORMATS[date_format][0]
        if low >= EPOCH_SECONDS[0] * scale and high <= EPOCH_SECONDS[1] * scale:
            return date_format
    if may_be_spreadsheet_days(numbers) and name.casefold().startswith(_SPREADSHEET_NAMES):
        return "excel"
    # Judge by the median: a mistyped year would lie outside the range.
    sizes = [size for size in (10_000, 100) if YEARS[0] <= median // size <= YEARS[1]]
    if not sizes or (numbers % 1).any():
        return None
    # 20240131 → 2024 and 131, 202401 → 2024 and 1
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
    # int64 holds every microsecond of these years exactly, which float64 does not.
    known = np.isfinite(column)
    exact = np.rint(np.where(known, column, 0) * unit).astype(np.int64) + zero
    if date_format == "excel":
        # A float holds the time of day of a spreadsheet to a few microseconds only.
        exact = (exact + 500) // 1_000 * 1_000
    return np.where(known, exact.astype("datetime64[us]"), np.datetime64("NaT"))


def is_date(name: str, column: np.ndarray, options: SeriesOptions) -> bool:
    """Return whether a column without a role holds stamps, or texts or numbers that can only be dates."""
    if column.dtype.kind in "if" and name.casefold() in _DATE_WORDS:
        try:
            return number_format(column, name, row_name) is not None
        except DataError:  # most of the column are dates
            return True
    if column.dtype.kind != "O":
        return column.dtype.kind == "M"
    # One date shows the form; the rest of the column is checked when it is read.
    first = next((text for text in column if text is not None), "")
    if options.date_format is None or options.date_format in NUMBER_FORMATS:
        return looks_like_date(first)
    try:
        parse_times(column[column == first][:1], date_format=options.date_format)
    except DataError:
        return False
    return True


def counts_steps(options: SeriesOptions) -> bool:
    """Return whether the options count the rows as steps, instead of reading dates."""
    return str(options.frequency).endswith("steps")


def _parse(
    column: np.ndarray, name: str, options: SeriesOptions, rows: Rows, where: Callable[[int], str]
) -> tuple[np.ndarray, str | None]:
    """Return the column as stamps or as counted steps, and the zone of stamps that are now in UTC."""
    date_format = options.date_format
    if column.dtype.kind in "if":
        if date_format is None and not counts_steps(options):
            date_format = number_format(column, name, where)
            what = f"column {quoted(name)}: numbers such as {column[np.isfinite(column)][0]:.15g}"
            if date_format is not None:
                rows.notes.append(f"{what} are read as dates ({date_format})")
            elif column.dtype.kind == "i" and may_be_spreadsheet_days(column):
                note = f'{what} count the steps; date_format="excel" reads them as days'
                rows.notes.append(note)
        if date_format is not None:
            rows.reading["date_format"] = date_format
        elif column.dtype.kind == "i":
            return column, None
        if date_format in NUMBER_FORMATS:
            return times_of_numbers(column, date_format), "UTC"
    date_format = None if date_format in NUMBER_FORMATS else date_format
    return parse_times(column, date_format=date_format, where=where)


def _series_to_utc(
    times: np.ndarray, zone: str, codes: np.ndarray, where: Callable[[int], str]
) -> np.ndarray:
    """Convert the local stamps of each series: their order shows the hour that clocks show twice."""

    def where_in(group: np.ndarray, row: int) -> str:
        return where(int(group[row]))

    utc, order = times.copy(), np.argsort(codes, kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1):
        utc[group] = to_utc(times[group], zone, partial(where_in, group))
    return utc


def read_time_column(
    table: Table,
    name: str,
    options: SeriesOptions,
    codes: np.ndarray,
    rows: Rows,
    where: Callable[[int], str],
) -> np.ndarray:
    """Read a column as the time of all rows.

    Args:
        table: The table; it may know the time zone of the column.
        name: The column.
        options: Format, zone and step of the stamps.
        codes: ``[R]`` the series of each row.
        rows: Takes the notes, and how the stamps were written.
        where: Names a row in an error.

    Returns:
        datetime64[us] ``[R]`` in UTC for steps under a day and local for longer steps, or int64 steps.

    Raises:
        DataError: a date is missing or cannot be read.
        OptionError: there is no such time zone.
    """
    column = table.column(name)
    times, zone = _parse(column, name, options, rows, where)
    rows.notes += form_note(column, times)
    if times.dtype.kind != "M":  # counted steps
        return times
    if (missing := np.isnat(times)).any():
        raise DataError(f"no date, {where(int(np.argmax(missing)))}", remedy="drop the row")
    # Without a zone in the stamps or the table, the option `timezone` says where they are local.
    if zone := zone or table.zones.get(name):
        zone = usable_zone(zone)
    if zone is not None and column.dtype.kind not in "if":
        rows.reading["zone"] = options.timezone or zone
    if (local := options.timezone or zone) is None:
        return times
    known_zone(local)  # raises if there is no such zone
    # Under a day, stamps are kept in UTC.
    may_be_days = not options.frequency or not 0 < Frequency.parse(options.frequency).step < DAY
    if zone is None:
        if may_be_days and has_one_time_of_day(times):
            return times  # these are dates: they stay, even if clocks skip a midnight
        times = _series_to_utc(times, local, codes, where)
    # A local day may have 23 or 25 hours, so daily stamps keep their local time of day instead of UTC.
    days = local_days(times, local) if may_be_days else None
    return times if days is None else days
