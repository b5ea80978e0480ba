"""Inference of a series' frequency from its stamps, and correction of clocks that jitter."""

from __future__ import annotations

import numpy as np

from elman.errors import DataError
from elman.series.calendar import RETAIL_QUARTER_DAYS, day_of_month, month_number
from elman.series.frequency import FIXED_UNITS, HOUR, MINUTE, MONTH_UNITS, SECOND, Frequency

MIN_WEEKS = 3
"""Weeks that daily stamps must span before a weekday without stamps counts as closed."""
MIN_OPEN_SHARE = 0.5
"""Share of the open days that must have a stamp, or the series is merely sparse."""
MAX_JITTER = 5 * MINUTE
"""Microseconds that a stamp may be off its step, at most."""
# Steps that clocks usually keep: 1, 2, 5, ... milliseconds, seconds, minutes, hours.
_COUNTS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 50, 100, 125, 200, 250, 500)
_USUAL_STEPS = np.array([n * unit for unit in (1_000, SECOND, MINUTE, HOUR) for n in _COUNTS])


def _commonest(differences: np.ndarray) -> int:
    values, counts = np.unique(differences, return_counts=True)
    return int(values[np.argmax(counts)])


def without_jitter(
    times: np.ndarray, step: int = 0, start: np.datetime64 | None = None
) -> np.ndarray:
    """Move the ascending stamps ``[T]`` of a clock that jitters to whole steps; return others unchanged.

    Stamps jitter if each is less than a tenth of a step, and less than five minutes, off its step.

    Args:
        times: datetime64[us].
        step: the step in microseconds; 0 takes the usual step (whole ms, s, min or h) nearest to the median.
        start: a stamp that lies on a step (default: the stamps themselves show where the steps lie).

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
        around = [(ticks + half) % step - half for half in (step // 2, 0)]
        phase = int(np.median(min(around, key=np.ptp)))
        is_exact = not np.ptp(around[0])
        phase = 0 if abs(phase) <= step // 10 and not is_exact else phase
    else:
        phase = int(np.asarray(start, "datetime64[us]").astype(np.int64))
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
    step = _commonest(np.diff(times).astype(np.int64))
    if times.dtype.kind != "M":
        return Frequency(step, "steps")
    days = times.astype("datetime64[D]")
    if len(np.unique(times - days)) == 1:
        gaps = np.diff(days).astype(np.int64)
        frequency = _in_months(days, gaps) or _in_open_days(days, gaps)
        if frequency is not None:
            return frequency
    unit = next(unit for unit, (length, *_) in FIXED_UNITS.items() if step % length == 0)
    return Frequency(step // FIXED_UNITS[unit][0], unit)


def _in_months(days: np.ndarray, gaps: np.ndarray) -> Frequency | None:
    """Return the frequency of stamps on fixed days of their months; None for others."""
    months = days.astype("datetime64[M]")
    numbers = (days - months).astype(np.int64) + 1
    is_last = (days + 1).astype("datetime64[M]") > months
    if gaps.min() < 13:
        return None
    if gaps.min() < 28:
        halves = np.unique(np.where(is_last, 31, numbers))
        if len(halves) != 2 or len(days) < 4:
            return None
        return Frequency(1, "SM", f"{halves[0]}-{halves[1]}")
    count = _commonest(np.diff(months).astype(np.int64))
    letter = next(letter for letter, (size, *_) in MONTH_UNITS.items() if count % size == 0)
    highest = int(numbers.max())
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
        return Frequency(count // MONTH_UNITS[letter][0], unit, anchor)
    for start in days[1:][gaps == 35]:
        retail = Frequency(1, "4-4-5", str(start.astype(np.int64) % RETAIL_QUARTER_DAYS))
        if (day_of_month(month_number(days, retail), retail) == days).all():
            return retail
    return None


def _in_open_days(days: np.ndarray, gaps: np.ndarray) -> Frequency | None:
    """Return the frequency of daily stamps that leave out the same days of every week; None for others."""
    weekdays = (days.astype(np.int64) + 3) % 7  # 1970 began on a Thursday
    counts = np.bincount(weekdays, minlength=7)
    mask = "".join("01"[bool(count)] for count in counts)
    span = (days[-1] - days[0]).astype(int)
    if 1 < counts.astype(bool).sum() < 7 and span >= 7 * MIN_WEEKS:
        steps = np.busday_count(days[0], days[-1], weekmask=mask) + 1
        if len(days) > MIN_OPEN_SHARE * steps:
            return Frequency.of_open_days(mask)
    business = mask.endswith("00") and _commonest(gaps) == 1
    return Frequency(1, "B") if business and np.busday_count(days[0], days[-1]) < span else None
