"""Calendar arithmetic: stamps and their steps, calendar features, and the frequency that stamps show.

Stamps are datetime64[us], in UTC or without a time zone; for series without dates they are int64.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from elman.errors import DataError
from elman.series.frequency import (
    DAY,
    FIXED_UNITS,
    HOUR,
    MINUTE,
    MONTH_UNITS,
    SECOND,
    UNITS,
    Frequency,
)

Stamp: TypeAlias = "np.datetime64 | np.int64"

RETAIL_QUARTER_DAYS = 91
# The days of a retail quarter on which its months of 4, 4 and 5 weeks begin.
_RETAIL_MONTHS = np.array([0, 28, 56])
_YEAR_DAYS = 365.2425
MIN_WEEKS = 3
"""Weeks that daily stamps must span before a weekday without stamps counts as closed."""
MIN_OPEN_SHARE = 0.5
"""Share of the open days that must have a stamp, or the series is merely sparse."""
MAX_JITTER = 5 * MINUTE
"""Microseconds that a stamp may be off its step, at most."""
# Steps that clocks usually keep: 1, 2, 5, ... milliseconds, seconds, minutes, hours.
_COUNTS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 50, 100, 125, 200, 250, 500)
_USUAL_STEPS = np.array([n * unit for unit in (1_000, SECOND, MINUTE, HOUR) for n in _COUNTS])


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
    # Days before the first one belong to the last half of the month before.
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
    # `number` counts half months for SM and months for all other units, both from January 1970.
    halves = frequency.unit == "SM"
    months = (number // 2 if halves else number).astype("datetime64[M]")
    first, last = months.astype("datetime64[D]"), (months + 1).astype("datetime64[D]") - 1
    match UNITS[frequency.unit].day:
        case "BS":
            return np.asarray(np.busday_offset(first, 0, roll="forward"))
        case "BE":
            return np.asarray(np.busday_offset(last, 0, roll="backward"))
        case "E":
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
        # A start on a closed day counts from the open day before it.
        count = steps * frequency.count
        moved = np.busday_offset(day, count, roll="backward", weekmask=frequency.week)
    else:
        number = month_number(day, frequency) + steps * (frequency.months or frequency.count)
        moved = day_of_month(number, frequency, day - day.astype("datetime64[M]"))
    # Keep the time of day of the start.
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
    # Both must have one unit of time, or their difference would be rounded.
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


def calendar_cycles(frequency: Frequency) -> list[str]:
    """Return the cycles of the calendar that a forecaster reads, in the order of its features.

    They are the day (for steps under a day), the week (for steps up to a day), the year (for steps over a day
    that are not months), the months of the year and the quarters of the year; yearly series and series
    without dates have none.

    >>> calendar_cycles(Frequency.parse("h")), calendar_cycles(Frequency.parse("MS"))
    (['day', 'week'], ['month'])
    """
    if frequency.unit == "steps":
        return []
    months = UNITS[frequency.unit].months
    cycles = {
        "day": 0 < frequency.step < DAY,
        "week": bool(frequency.week) or 0 < frequency.step <= DAY,
        "year": frequency.step > DAY or frequency.unit in ("SM", "4-4-5"),
        "month": months == 1,
        "quarter": months == 3,
    }
    return [name for name, is_read in cycles.items() if is_read]


def calendar_features(times: np.ndarray, frequency: Frequency) -> np.ndarray:
    """Return the phase of each stamp in its `calendar_cycles` as sine and cosine: float64 ``[T, C]``.

    >>> calendar_features(np.array(["2020-04-01"], "datetime64[us]"), Frequency(1, "MS")).round(6)
    array([[1., 0.]])
    """
    names, cycles = calendar_cycles(frequency), list[np.ndarray]()
    if names:
        days = times.astype("datetime64[D]")
        month = days.astype("datetime64[M]").astype(np.int64) % 12
        phases = {
            "day": (times - days).astype(np.int64) / DAY,
            "week": (days.astype(np.int64) + 3) % 7 / 7,  # 1970 began on a Thursday
            "year": (days - days.astype("datetime64[Y]")).astype(np.int64) / _YEAR_DAYS,
            "month": month / 12,
            "quarter": month // 3 / 4,
        }
        # Each cycle is a phase from 0 to 1, at every stamp.
        cycles = [phases[name] for name in names]
    # [C, T] → [T, 2·C]: sine and cosine of each cycle stand side by side.
    angles = 2 * np.pi * np.array(cycles).reshape(len(cycles), len(times))
    return np.stack([np.sin(angles), np.cos(angles)], -1).transpose(1, 0, 2).reshape(len(times), -1)


def season_candidates(frequency: Frequency) -> tuple[int, ...]:
    """Return the seasons that the calendar suggests for this frequency, in steps, shortest first.

    >>> [season_candidates(Frequency.parse(word)) for word in ("h", "30min", "B", "MS", "YS")]
    [(24, 168), (48, 336), (5,), (12,), ()]
    """
    # Step and cycles are in the same unit: months, microseconds, or counted steps.
    step = frequency.months or frequency.step or frequency.count
    cycles: tuple[int, ...] = (7 * DAY,) if step < 7 * DAY else (52 * 7 * DAY,)
    if frequency.unit in ("SM", "4-4-5") or frequency.months:
        cycles = (24 if frequency.unit == "SM" else 12,)
    elif frequency.unit == "steps":
        cycles = ()
    elif frequency.week:
        cycles = (frequency.week.count("1"),)
    elif step < DAY:
        cycles = (MINUTE, HOUR) if step < MINUTE else (DAY, 7 * DAY)
    return tuple(cycle // step for cycle in cycles if cycle % step == 0 and cycle > step)


def _commonest(differences: np.ndarray) -> int:
    values, counts = np.unique(differences, return_counts=True)
    return int(values[np.argmax(counts)])


def without_jitter(
    times: np.ndarray, step: int = 0, start: np.datetime64 | None = None
) -> np.ndarray:
    """Move the ascending stamps ``[T]`` of a clock that jitters to whole steps; return others unchanged.

    Stamps jitter if each is less than a tenth of a step, and less than five minutes, off its step.

    Args:
        times: Datetime64[us].
        step: The step in microseconds; 0 takes the usual step (whole ms, s, min or h) nearest to the median.
        start: A stamp that lies on a step (default: the stamps themselves show where the steps lie).

    >>> without_jitter(np.array([10_000, 1_000_000, 1_980_000], "datetime64[us]")).astype(int).tolist()
    [0, 1000000, 2000000]
    """
    if not len(times) or (not step and len(times) < 3):
        return times
    ticks = times.astype(np.int64)
    if not step:
        usual = float(np.median(np.diff(ticks)))
        step = int(_USUAL_STEPS[np.argmin(abs(_USUAL_STEPS - usual))])
        if abs(usual - step) > step / 20:
            return times
    if start is None:
        # Measured from -step/2 to step/2 and from 0 to step: in the narrower of both, no stamps wrap around.
        around = [(ticks + half) % step - half for half in (step // 2, 0)]
        phase = int(np.median(min(around, key=np.ptp)))
        is_exact = not np.ptp(around[0])
        phase = 0 if abs(phase) <= step // 10 and not is_exact else phase
    else:
        phase = int(np.asarray(start, "datetime64[us]").astype(np.int64))
    # From -step/2 to step/2: how far each stamp is off its step.
    off = (ticks - phase + step // 2) % step - step // 2
    moved: np.ndarray = times - off
    too_far = abs(off).max() > min(step // 10, MAX_JITTER)
    return times if too_far or (np.diff(moved) <= 0).any() else moved


def infer_frequency(times: np.ndarray) -> Frequency:
    """Return the frequency of ascending stamps ``[T]``: their commonest difference.

    Stamps on the same day of each month, on its last day, or on its first or last business day are counted
    in months, and stamps on two days of each month in half months. Daily stamps that leave out the same
    weekdays in each of several weeks are counted in open days.

    Raises:
        DataError: there are fewer than two stamps.

    >>> infer_frequency(np.array(["2020-01", "2020-02", "2020-04"], "datetime64[us]")).unit
    'MS'
    """
    if len(times) < 2:
        raise DataError("one stamp shows no frequency", remedy="pass frequency= (such as D or h)")
    # Gaps make some differences longer, so the commonest one is the step.
    step = _commonest(np.diff(times).astype(np.int64))
    if times.dtype.kind != "M":
        return Frequency(step, "steps")
    days = times.astype("datetime64[D]")
    if len(np.unique(times - days)) == 1:
        gaps = np.diff(days).astype(np.int64)
        frequency = _in_months(days, gaps) or _in_open_days(days, gaps)
        if frequency is not None:
            return frequency
    unit = next(unit for unit in FIXED_UNITS if step % FIXED_UNITS[unit].length == 0)
    return Frequency(step // FIXED_UNITS[unit].length, unit)


def _in_months(days: np.ndarray, gaps: np.ndarray) -> Frequency | None:
    """Return the frequency of stamps on fixed days of their months; None for others."""
    months = days.astype("datetime64[M]")
    # The day of the month of each stamp, from 1.
    numbers = (days - months).astype(np.int64) + 1
    is_last = (days + 1).astype("datetime64[M]") > months
    # Half months are 13 days or longer, and months are 28 days or longer.
    if gaps.min() < 13:
        return None
    if gaps.min() < 28:
        halves = np.unique(np.where(is_last, 31, numbers))
        if len(halves) != 2 or len(days) < 4:
            return None
        return Frequency(1, "SM", f"{halves[0]}-{halves[1]}")
    count = _commonest(np.diff(months).astype(np.int64))
    letter = next(letter for letter in MONTH_UNITS if count % MONTH_UNITS[letter].months == 0)
    highest = int(numbers.max())
    # The first entry that fits wins: a whole-month rule before a business day, and that before day 29 or 30.
    fits = {"E": bool(is_last.all()), "S": highest == 1, "": len(np.unique(numbers)) == 1}
    if len(days) > 2:
        for edge in ("E", "S"):
            business = Frequency(1, f"B{letter}{edge}")
            expected = day_of_month(months.astype(np.int64), business)
            fits[f"B{edge}"] = bool((expected == days).all())
        # The 29th or 30th, or the last day of a month that is too short for it.
        fits["last"] = highest > 28 and bool((is_last | (numbers == highest)).all())
    rule = next((rule for rule, is_fit in fits.items() if is_fit), None)
    if rule is not None:
        anchor = str(highest) if rule == "last" or (rule == "" and highest > 28) else ""
        unit = f"B{letter}{rule[1]}" if rule[:1] == "B" else letter + rule.removesuffix("last")
        return Frequency(count // MONTH_UNITS[letter].months, unit, anchor)
    # Only the last month of a retail quarter has 35 days, so a quarter begins behind such a gap.
    for start in days[1:][gaps == 35]:
        retail = Frequency(1, "4-4-5", str(start.astype(np.int64) % RETAIL_QUARTER_DAYS))
        if (day_of_month(month_number(days, retail), retail) == days).all():
            return retail
    return None


def _in_open_days(days: np.ndarray, gaps: np.ndarray) -> Frequency | None:
    """Return the frequency of daily stamps that leave out the same days of every week; None for others."""
    weekdays = (days.astype(np.int64) + 3) % 7  # 1970 began on a Thursday
    counts = np.bincount(weekdays, minlength=7)
    # "1" for each weekday with a stamp, from Monday on.
    mask = "".join("01"[bool(count)] for count in counts)
    span = (days[-1] - days[0]).astype(int)
    if 1 < counts.astype(bool).sum() < 7 and span >= 7 * MIN_WEEKS:
        steps = np.busday_count(days[0], days[-1], weekmask=mask) + 1
        if len(days) > MIN_OPEN_SHARE * steps:
            return Frequency.of_open_days(mask)
    # Too short to show which weekdays are closed: take a week without weekends if it fits.
    business = mask.endswith("00") and _commonest(gaps) == 1
    return Frequency(1, "B") if business and np.busday_count(days[0], days[-1]) < span else None
