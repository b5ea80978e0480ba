"""The time column of series: dates, numbers that are dates, counted steps, and the clocks of their zone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from elman.errors import DataError
from elman.series.calendar import DAY, Frequency
from elman.series.rows import Rows, SeriesOptions
from elman.series.stamps import NUMBER_FORMATS, may_be_days, number_format, times_of_numbers
from elman.series.zones import known_zone, local_days, one_clock, to_utc, usable_zone
from elman.tables.columns import quoted, row_name
from elman.tables.dates import form_note, looks_like_date, parse_times
from elman.tables.reader import Table

__all__ = ["TIME_WORDS", "count_steps", "is_date", "stamps_of"]

TIME_WORDS = (
    *("t", "time", "timestamp", "date", "datetime", "step", "index", "period"),
    *("second", "minute", "hour", "day", "week", "month", "quarter", "year"),
)
_DATE_WORDS = frozenset(("ds", "dates", "datum", "fecha", "dato", "yearmonth", *TIME_WORDS))


def is_date(name: str, column: np.ndarray, options: SeriesOptions) -> bool:
    """Return whether a column that nobody named is the time: stamps, or what can only be dates."""
    if column.dtype.kind in "if" and name.casefold() in _DATE_WORDS:
        try:
            return number_format(column, name, row_name) is not None
        except DataError:  # most of it are dates
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


def _read_times(
    column: np.ndarray, name: str, options: SeriesOptions, rows: Rows, where: Callable[[int], str]
) -> tuple[np.ndarray, str | None]:
    """Return the time column as stamps, or as counted steps, and the zone of stamps that are in UTC."""
    form = options.date_format
    if column.dtype.kind in "if":
        if form is None and not str(options.frequency).endswith("steps"):
            form = number_format(column, name, where)
            example = (
                f"column {quoted(name)}: numbers such as {column[np.isfinite(column)][0]:.15g}"
            )
            if form is not None:
                rows.notes.append(f"{example} are read as dates ({form})")
            elif column.dtype.kind == "i" and may_be_days(column):
                rows.notes.append(
                    f'{example} count the steps; date_format="excel" reads them as days'
                )
        if form is None and column.dtype.kind == "i":
            return column, None
        if form is not None:
            rows.reading["date_format"] = form
        if form in NUMBER_FORMATS:
            return times_of_numbers(column, form), "UTC"
    return parse_times(column, date_format=None if form in NUMBER_FORMATS else form, where=where)


def _inside(group: np.ndarray, where: Callable[[int], str]) -> Callable[[int], str]:
    return lambda row: where(int(group[row]))


def count_steps(rows: Rows, options: SeriesOptions) -> None:
    """Put the number of each row in its series in place of its date, where steps are asked for."""
    dated = rows.times is not None and rows.times.dtype.kind == "M"
    if rows.times is None or not dated or not str(options.frequency).endswith("steps"):
        return
    order = np.lexsort((rows.times, rows.codes))
    codes = rows.codes[order]
    counted = np.empty(len(codes), np.int64)
    counted[order] = np.arange(len(codes)) - np.searchsorted(codes, codes)
    rows.times, rows.names["time"] = counted, ()
    rows.reading.pop("zone", None)
    rows.notes.append('dates only order the rows, for frequency="steps" counts them')


def stamps_of(
    table: Table,
    name: str,
    options: SeriesOptions,
    groups: Sequence[np.ndarray],
    rows: Rows,
    where: Callable[[int], str],
) -> np.ndarray:
    """Return the time column; `groups` are the rows of each series, in order."""
    column = table.column(name)
    times, zone = _read_times(column, name, options, rows, where)
    rows.notes += form_note(column, times)
    if times.dtype.kind != "M":
        return times
    if np.isnat(times).any():
        raise DataError(f"no date, {where(int(np.argmax(np.isnat(times))))}", remedy="drop the row")
    zone = usable_zone(found) if (found := zone or table.zones.get(name)) else None
    if zone is not None and column.dtype.kind not in "if":
        rows.reading["zone"] = options.timezone or zone
    local = options.timezone or zone
    if local is None:
        return times
    known_zone(local)
    step = Frequency.parse(options.frequency).step if options.frequency else 0
    days = not 0 < step < DAY  # under a day stamps are kept in UTC
    if zone is None:
        if days and one_clock(times):  # dates, whatever the clocks do
            return times
        for group in groups:
            times[group] = to_utc(times[group], local, _inside(group, where))
    # A day is a day whatever the clocks do: of stamps at one hour of each day that hour is kept.
    whole = local_days(times, local) if days else None
    return times if whole is None else whole
