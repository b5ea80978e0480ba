"""The time column of series: dates, numbers that are dates, or counted steps, and their time zone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from elman.errors import DataError
from elman.series.frequency import DAY, Frequency
from elman.series.numeric_dates import (
    NUMBER_FORMATS,
    may_be_spreadsheet_days,
    number_format,
    times_of_numbers,
)
from elman.series.read_options import SeriesOptions
from elman.series.rows import Rows
from elman.series.time_zones import has_one_time_of_day, known_zone, local_days, to_utc, usable_zone
from elman.tables.columns import quoted, row_name
from elman.tables.dates import form_note, looks_like_date, parse_times
from elman.tables.reader import Table

TIME_WORDS = (
    *("t", "time", "timestamp", "date", "datetime", "step", "index", "period"),
    *("second", "minute", "hour", "day", "week", "month", "quarter", "year"),
)
"""Names of columns that probably hold the time."""
_DATE_WORDS = frozenset(("ds", "dates", "datum", "fecha", "dato", "yearmonth", *TIME_WORDS))


def is_date(name: str, column: np.ndarray, options: SeriesOptions) -> bool:
    """Return whether a column without a role holds stamps, or texts or numbers that can only be dates."""
    if column.dtype.kind in "if" and name.casefold() in _DATE_WORDS:
        try:
            return number_format(column, name, row_name) is not None
        except DataError:  # most of the column are dates
            return True
    if column.dtype.kind != "O":
        return column.dtype.kind == "M"
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


def _where_in(group: np.ndarray, where: Callable[[int], str], row: int) -> str:
    return where(int(group[row]))


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
        table: the table; it may know the time zone of the column.
        name: the column.
        options: format, zone and step of the stamps.
        codes: ``[R]`` the series of each row.
        rows: takes the notes, and how the stamps were written.
        where: names a row in an error.

    Returns:
        datetime64[us] ``[R]`` in UTC for steps under a day and local for longer steps, or int64 steps.

    Raises:
        DataError: a date is missing or cannot be read.
        OptionError: there is no such time zone.
    """
    column = table.column(name)
    times, zone = _parse(column, name, options, rows, where)
    rows.notes += form_note(column, times)
    if times.dtype.kind != "M":
        return times
    if np.isnat(times).any():
        raise DataError(f"no date, {where(int(np.argmax(np.isnat(times))))}", remedy="drop the row")
    zone = zone or table.zones.get(name)
    zone = usable_zone(zone) if zone else None
    if zone is not None and column.dtype.kind not in "if":
        rows.reading["zone"] = options.timezone or zone
    local = options.timezone or zone
    if local is None:
        return times
    known_zone(local)  # raises if there is no such zone
    # Under a day, stamps are kept in UTC.
    step = Frequency.parse(options.frequency).step if options.frequency else 0
    may_be_days = not 0 < step < DAY
    if zone is None:
        if may_be_days and has_one_time_of_day(times):
            return times  # these are dates: they stay, even if clocks skip a midnight
        order = np.argsort(codes, kind="stable")
        for group in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1):
            # The order within a series shows which stamps are in the hour that clocks show twice.
            times[group] = to_utc(times[group], local, partial(_where_in, group, where))
    # A local day may have 23 or 25 hours, so daily stamps keep their local time of day instead of UTC.
    days = local_days(times, local) if may_be_days else None
    return times if days is None else days
