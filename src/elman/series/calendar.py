"""Calendar arithmetic: the stamps at given steps, the steps of given stamps, and calendar features.

Stamps are datetime64[us], in UTC or without a time zone; for series without dates they are int64.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from elman.series.frequency import DAY, HOUR, MINUTE, Frequency, month_unit

Stamp: TypeAlias = "np.datetime64 | np.int64"

RETAIL_QUARTER_DAYS = 91
# The days of a retail quarter on which its months of 4, 4 and 5 weeks begin.
_RETAIL_MONTHS = np.array([0, 28, 56])
_YEAR_DAYS = 365.2425


def month_number(days: np.ndarray, frequency: Frequency) -> np.ndarray:
    """Return the number of the month, half month or retail month that contains each day."""
    if frequency.unit == "4-4-5":
        quarter, rest = np.divmod(
            days.astype(np.int64) - int(frequency.anchor), RETAIL_QUARTER_DAYS
        )
        return np.asarray(3 * quarter + np.searchsorted(_RETAIL_MONTHS, rest, side="right") - 1)
    month = days.astype("datetime64[M]").astype(np.int64)
    if frequency.unit != "SM":
        return np.asarray(month)
    first, second = (day_of_month(2 * month + half, frequency) for half in (0, 1))
    return np.asarray(2 * month + (days >= second) - (days < first))


def day_of_month(
    number: np.ndarray, frequency: Frequency, days_after_first: np.ndarray | int = 0
) -> np.ndarray:
    """Return the day on which the step with this `month_number` falls.

    `days_after_first` is the day of the month, from 0, for frequencies that do not fix it themselves.
    """
    if frequency.unit == "4-4-5":
        quarter, month = number // 3, number % 3
        day = quarter * RETAIL_QUARTER_DAYS + _RETAIL_MONTHS[month] + int(frequency.anchor)
        return np.asarray(day.astype("datetime64[D]"))
    halves = frequency.unit == "SM"
    months = (number // 2 if halves else number).astype("datetime64[M]")
    first, last = months.astype("datetime64[D]"), (months + 1).astype("datetime64[D]") - 1
    place = month_unit(frequency.unit)[1]
    if place == "BS":
        return np.asarray(np.busday_offset(first, 0, roll="forward"))
    if place == "BE":
        return np.asarray(np.busday_offset(last, 0, roll="backward"))
    if place == "E":
        return np.asarray(last)
    if halves:
        both = [int(day) - 1 for day in frequency.anchor.split("-")]
        days_after_first = np.array(both)[number % 2]
    elif frequency.anchor:
        days_after_first = int(frequency.anchor) - 1
    # The 30th of a shorter month is its last day.
    return np.asarray(np.minimum(first + days_after_first, last))


def _stamps_at(start: np.ndarray, frequency: Frequency, steps: np.ndarray) -> np.ndarray:
    if frequency.step:
        return np.asarray(start + steps * frequency.step)
    day = start.astype("datetime64[D]")
    if frequency.week:
        count = steps * frequency.count
        moved = np.busday_offset(day, count, roll="backward", weekmask=frequency.week)
    else:
        number = month_number(day, frequency) + steps * (frequency.months or frequency.count)
        moved = day_of_month(number, frequency, day - day.astype("datetime64[M]"))
    return np.asarray(moved + (start - day))


def advance(time: Stamp, frequency: Frequency, steps: int | np.ndarray) -> np.ndarray:
    """Return the next `steps` stamps after `time`, or the stamps at an array of steps from it.

    >>> advance(np.datetime64("2020-01-31", "us"), Frequency(1, "ME"), 2).astype("M8[D]").astype(str)
    array(['2020-02-29', '2020-03-31'], dtype='<U28')
    """
    start = np.asarray(time)
    if start.dtype.kind == "M":
        start = start.astype("datetime64[us]")
    counted = np.arange(1, steps + 1) if isinstance(steps, int) else np.asarray(steps)
    return _stamps_at(start, frequency, counted)


def positions(
    times: np.ndarray, frequency: Frequency, start: Stamp | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Count the steps from `start` (default: the first stamp) to each stamp.

    Returns:
        The steps as int64 ``[T]``, and whether each stamp lies exactly on its step, bool ``[T]``.

    >>> times = np.array([0, 2, 5])
    >>> positions(times, Frequency(2, "steps"))
    (array([0, 1, 2]), array([ True,  True, False]))
    """
    if not len(times):
        return np.zeros(0, np.int64), np.zeros(0, bool)
    origin = np.asarray(times[0] if start is None else start).astype(times.dtype)
    if frequency.step:
        counted = (times - origin).astype(np.int64) // frequency.step
    else:
        days, first = times.astype("datetime64[D]"), origin.astype("datetime64[D]")
        if frequency.week:
            counted = np.asarray(np.busday_count(first, days, weekmask=frequency.week))
        else:
            counted = month_number(days, frequency) - month_number(first, frequency)
        counted = counted // (frequency.months or frequency.count)
    return counted, _stamps_at(origin, frequency, counted) == times


def calendar_features(times: np.ndarray, frequency: Frequency) -> np.ndarray:
    """Return the phase of each stamp in its calendar cycles as sine and cosine: float64 ``[T, C]``.

    The cycles are the day (for steps under a day), the week (for steps up to a day), the year (for steps
    over a day that are not months), the months of the year and the quarters of the year; yearly series
    and series without dates have none.

    >>> calendar_features(np.array(["2020-04-01"], "datetime64[us]"), Frequency(1, "MS")).round(6)
    array([[1., 0.]])
    """
    cycles: list[np.ndarray] = []
    if frequency.unit != "steps":
        days = times.astype("datetime64[D]")
        month = days.astype("datetime64[M]").astype(np.int64) % 12
        if 0 < frequency.step < DAY:
            cycles.append((times - days).astype(np.int64) / DAY)
        if frequency.week or 0 < frequency.step <= DAY:
            cycles.append((days.astype(np.int64) + 3) % 7 / 7)  # 1970 began on a Thursday
        if frequency.step > DAY or frequency.unit in ("SM", "4-4-5"):
            cycles.append((days - days.astype("datetime64[Y]")).astype(np.int64) / _YEAR_DAYS)
        letter, _ = month_unit(frequency.unit)
        if letter == "M":
            cycles.append(month / 12)
        if letter == "Q":
            cycles.append(month // 3 / 4)
    angles = 2 * np.pi * np.array(cycles).reshape(len(cycles), len(times))
    return np.stack([np.sin(angles), np.cos(angles)], -1).transpose(1, 0, 2).reshape(len(times), -1)


def season_candidates(frequency: Frequency) -> tuple[int, ...]:
    """Return the seasons that the calendar suggests for this frequency, in steps, shortest first.

    >>> [season_candidates(Frequency.parse(word)) for word in ("h", "30min", "B", "MS", "YS")]
    [(24, 168), (48, 336), (5,), (12,), ()]
    """
    step = frequency.months or frequency.step or frequency.count
    cycles: tuple[int, ...]
    if frequency.unit == "steps":
        cycles = ()
    elif frequency.months:
        cycles = (12,)
    elif frequency.week:
        cycles = (frequency.week.count("1"),)
    elif frequency.unit in ("SM", "4-4-5"):
        cycles = (24 if frequency.unit == "SM" else 12,)
    elif step < MINUTE:
        cycles = (MINUTE, HOUR)
    elif step < DAY:
        cycles = (DAY, 7 * DAY)
    else:
        cycles = (7 * DAY,) if step < 7 * DAY else (52 * 7 * DAY,)
    return tuple(cycle // step for cycle in cycles if cycle % step == 0 and cycle > step)
