"""Calendars: the step between stamps found and counted, and what a date tells a network.

Stamps are datetime64[us], in UTC or without a zone; where a series has no dates they are int64.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman.errors import DataError, OptionError

__all__ = [
    "DAY",
    "Frequency",
    "advance",
    "calendar_features",
    "infer_frequency",
    "positions",
    "season_candidates",
    "steadied",
]

_SECOND = 1_000_000
_MINUTE = 60 * _SECOND
_HOUR = 60 * _MINUTE
DAY = 24 * _HOUR
"""Microseconds of a day."""
_YEAR_DAYS = 365.2425
# unit: (microseconds, the name of one, the name of a step of one); the longest first
_FIXED = {
    "W": (7 * DAY, "week", "weekly"),
    "D": (DAY, "day", "daily"),
    "h": (_HOUR, "hour", "hourly"),
    "min": (_MINUTE, "minute", "every minute"),
    "s": (_SECOND, "second", "every second"),
    "us": (1, "microsecond", "every microsecond"),
}
# unit: (months, the name of one, the name of a step of one)
_MONTHS = {
    "Y": (12, "year", "yearly"),
    "Q": (3, "quarter", "quarterly"),
    "M": (1, "month", "monthly"),
}
_PLACES = {
    "": "",
    "S": " (start of month)",
    "E": " (end of month)",
    "BS": " (first business day)",
    "BE": " (last business day)",
}
_OTHERS = {
    "B": (0, "business day", "business days (Monday to Friday)"),
    "C": (0, "open day", "daily"),
    "SM": (0, "half month", "twice a month"),
    "4-4-5": (0, "retail month", "retail months of 4, 4 and 5 weeks"),
    "steps": (1, "step", "without dates"),
}
_ALIASES = {"H": "h", "T": "min", "S": "s", "d": "D", "w": "W", "b": "B"}
_HALVES = {"SMS": "1-15", "SME": "15-31", "SM": "15-31"}
_CODE = re.compile(r"(\d*)(4-4-5|[A-Za-z]+)(?:-([A-Z]{3}|[\d-]+))?")
_WEEK = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_SPAN = re.compile(r"([A-Z][a-z]{2})-([A-Z][a-z]{2})")
_BUSINESS = "1111100"
# the first days of the months of a retail quarter
_RETAIL = np.array([0, 28, 56])
_RETAIL_DAYS = 91
_MIN_WEEKS = 3
_MIN_OPEN = 0.5
# what a person's clock ticks in: 1, 2, 5, ... milliseconds, seconds, minutes, hours
_COUNTS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 50, 100, 125, 200, 250, 500)
_TICKS = np.array([n * unit for unit in (1_000, _SECOND, _MINUTE, _HOUR) for n in _COUNTS])
_MAX_JITTER = 5 * _MINUTE


def _month_parts(unit: str) -> tuple[str, str]:
    """Return the letter of a unit of months and its place, as "M" and "BE" of BME; "" for other units."""
    letter, place = unit[-2:-1] or unit, unit[-1] if len(unit) > 1 else ""
    found = {letter + place: (letter, place), f"B{letter}{place}": (letter, f"B{place}")}
    return found.get(unit, ("", "")) if letter in _MONTHS and place in ("", "S", "E") else ("", "")


@dataclass(frozen=True)
class Frequency:
    """The step of a series: `count` times `unit`.

    The units are us, s, min, h, D, W; B (Monday to Friday); C (the open days of each week); M, Q, Y
    (month, quarter, year, always on one day of the month), MS, QS, YS (on its first), ME, QE, YE (on
    its last), BMS, BME and so on (on its first or last business day); SM (on two days of each
    month); 4-4-5 (months of whole weeks); steps (no dates).

    >>> str(Frequency(30, "min")), Frequency(30, "min").words, Frequency(1, "MS").words
    ('30min', 'every 30 minutes', 'monthly (start of month)')
    """

    count: int
    unit: str
    anchor: str = ""
    """C: 1 for each open day from Monday on, as 1111110; M, Q, Y: the day of the month above 28; SM: both
    days, as 1-15; 4-4-5: a day from 0 to 90 on which a quarter begins, counted from 1970."""

    def __post_init__(self) -> None:
        letter, place = _month_parts(self.unit)
        forms = {"C": r"(?=.*1)[01]{7}", "SM": r"([1-9]|1\d|2[0-7])-([2-9]|[12]\d|3[01])"}
        forms |= {"4-4-5": r"\d|[1-8]\d|90", letter: r"(29|30)?"}
        form = "" if place else forms.get(letter or self.unit, "")
        known = self.unit in _FIXED or self.unit in _OTHERS or bool(letter)
        known = known and re.fullmatch(form, self.anchor) is not None
        if known and self.unit == "SM":
            first, second = map(int, self.anchor.split("-"))
            known = first < second
        if not known or self.count < 1:
            raise OptionError(
                "frequency",
                got=self,
                expected="a step such as h, 30min, D, B, Mon-Sat, W, MS, ME, BME, SMS, QS, YS or steps",
            )

    @classmethod
    def parse(cls, text: str | Frequency) -> Frequency:
        """Return the frequency of a word as pandas writes them, or of the open days; raises OptionError.

        >>> Frequency.parse("2h"), Frequency.parse("W-SUN").unit, Frequency.parse("Mon-Sat").anchor
        (Frequency(count=2, unit='h', anchor=''), 'W', '1111110')
        """
        if isinstance(text, Frequency):
            return text
        days = [day[:3] for day in _WEEK]
        span = _SPAN.fullmatch(text)
        if span is not None and span[1] in days and span[2] in days:
            first, last = days.index(span[1]), days.index(span[2])
            return cls._open(
                "".join("01"[(day - first) % 7 <= (last - first) % 7] for day in range(7))
            )
        found = _CODE.fullmatch(text.replace(" ", ""))
        if found is None:
            return cls(1, text)  # raises
        count, unit, anchor = int(found[1] or 1), found[2], found[3] or ""
        if unit in _HALVES and not anchor:
            return cls(count, "SM", _HALVES[unit])
        # of a week or year that begins elsewhere the stamps themselves tell
        return cls(count, _ALIASES.get(unit, unit), "" if anchor.isalpha() else anchor)

    @classmethod
    def _open(cls, mask: str) -> Frequency:
        if mask in (_BUSINESS, "1111111"):
            return cls(1, "B" if mask == _BUSINESS else "D")
        return cls(1, "C", mask)

    def __str__(self) -> str:
        anchor = f"-{self.anchor}" if self.anchor else ""
        return f"{'' if self.count == 1 else self.count}{self.unit}{anchor}"

    @property
    def words(self) -> str:
        """How a person says it."""
        if self.unit == "us" and self.count >= 1000:
            return f"every {self.count / _SECOND:.6g} seconds"
        letter, place = _month_parts(self.unit)
        known = _MONTHS[letter] if letter else (_FIXED | _OTHERS)[self.unit]
        text = known[2] if self.count == 1 else f"every {self.count} {known[1]}s"
        if self.unit == "C":
            return f"{text} ({self._open_days()})"
        if self.unit == "SM":
            return f"{text} (days {self.anchor.replace('-', ' and ').replace('31', 'last')})"
        return text + (f" (day {self.anchor})" if letter and self.anchor else _PLACES[place])

    def _open_days(self) -> str:
        mask, count = self.anchor, self.anchor.count("1")
        for first in range(7):
            turned = mask[first:] + mask[:first]
            if count > 2 and turned.startswith("1" * count):
                return f"{_WEEK[first]} to {_WEEK[(first + count - 1) % 7]}"
        return ", ".join(day for day, is_open in zip(_WEEK, mask, strict=True) if is_open == "1")

    @property
    def week(self) -> str:
        """The days of a week that have a step, from Monday on, as 1111100 of B; "" for other steps."""
        return _BUSINESS if self.unit == "B" else self.anchor if self.unit == "C" else ""

    @property
    def months(self) -> int:
        """The months of a step; 0 where it is not one of months."""
        letter, _ = _month_parts(self.unit)
        return self.count * _MONTHS[letter][0] if letter else 0

    @property
    def step(self) -> int:
        """The microseconds of a step, or its steps; 0 where they are not always as many."""
        return 0 if self.months else self.count * (_FIXED | _OTHERS)[self.unit][0]


def _index(days: Any, frequency: Frequency) -> Any:
    """Return the number of the month, half month or retail month that each day is in."""
    if frequency.unit == "4-4-5":
        quarter, rest = np.divmod(days.astype(np.int64) - int(frequency.anchor), _RETAIL_DAYS)
        return 3 * quarter + np.searchsorted(_RETAIL, rest, side="right") - 1
    month = days.astype("datetime64[M]").astype(np.int64)
    if frequency.unit != "SM":
        return month
    first, second = (_day_of(2 * month + half, frequency) for half in (0, 1))
    return 2 * month + (days >= second) - (days < first)


def _day_of(index: Any, frequency: Frequency, within: Any = 0) -> Any:
    """Return the day of a step in the months that `_index` counts.

    Where nothing else says which day of a month it is, it is `within` days after the first.
    """
    if frequency.unit == "4-4-5":
        day = index // 3 * _RETAIL_DAYS + _RETAIL[index % 3] + int(frequency.anchor)
        return day.astype("datetime64[D]")
    halves = frequency.unit == "SM"
    month = (index // 2 if halves else index).astype("datetime64[M]")
    first, last = month.astype("datetime64[D]"), (month + 1).astype("datetime64[D]") - 1
    place = _month_parts(frequency.unit)[1]
    if place == "BS":
        return np.busday_offset(first, 0, roll="forward")
    if place == "BE":
        return np.busday_offset(last, 0, roll="backward")
    if place == "E":
        return last
    if halves:
        within = np.array([int(day) - 1 for day in frequency.anchor.split("-")])[index % 2]
    elif frequency.anchor:
        within = int(frequency.anchor) - 1
    return np.minimum(first + within, last)


def _at(start: Any, frequency: Frequency, steps: Any) -> Any:
    if frequency.step:
        return start + steps * frequency.step
    day = start.astype("datetime64[D]")
    steps = np.asarray(steps)
    if frequency.week:
        count = steps * frequency.count
        moved = np.busday_offset(day, count, roll="backward", weekmask=frequency.week)
    else:
        index = _index(day, frequency) + steps * (frequency.months or frequency.count)
        moved = _day_of(index, frequency, day - day.astype("datetime64[M]"))
    return moved + (start - day)


def advance(
    time: np.datetime64 | np.int64, frequency: Frequency, steps: int | np.ndarray
) -> np.ndarray:
    """Return the next `steps` stamps after `time`, or those that an array of steps leads to.

    >>> advance(np.datetime64("2020-01-31", "us"), Frequency(1, "ME"), 2).astype("M8[D]").astype(str)
    array(['2020-02-29', '2020-03-31'], dtype='<U28')
    """
    start = np.asarray(time)
    if start.dtype.kind == "M":
        start = start.astype("datetime64[us]")
    counted = np.arange(1, steps + 1) if isinstance(steps, int) else steps
    stamps: np.ndarray = _at(start, frequency, counted)
    return stamps


def positions(
    times: np.ndarray, frequency: Frequency, start: np.datetime64 | np.int64 | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return how many steps each stamp is from `start` (the first), and whether it is so exactly.

    >>> times = np.array([0, 2, 5])
    >>> positions(times, Frequency(2, "steps"))
    (array([0, 1, 2]), array([ True,  True, False]))
    """
    if not len(times):
        return np.zeros(0, np.int64), np.zeros(0, bool)
    origin = times[0] if start is None else np.asarray(start).astype(times.dtype)
    if frequency.step:
        counted = (times - origin).astype(np.int64) // frequency.step
    elif frequency.week:
        days, first = times.astype("datetime64[D]"), origin.astype("datetime64[D]")
        counted = np.asarray(np.busday_count(first, days, weekmask=frequency.week))
        counted = counted // frequency.count
    else:
        days, first = times.astype("datetime64[D]"), np.asarray(origin).astype("datetime64[D]")
        counted = _index(days, frequency) - _index(first, frequency)
        counted = counted // (frequency.months or frequency.count)
    return counted, _at(np.asarray(origin), frequency, counted) == times


def _commonest(differences: np.ndarray) -> int:
    values, counts = np.unique(differences, return_counts=True)
    return int(values[np.argmax(counts)])


def steadied(times: np.ndarray, step: int = 0, start: np.datetime64 | None = None) -> np.ndarray:
    """Return ascending stamps ``[T]`` of a clock that jitters, moved to whole steps; others as they are.

    Stamps jitter where each is less than a tenth of a step, and less than five minutes, from its place.

    Args:
        times: datetime64[us].
        step: the step in microseconds; 0 takes the whole number of ms, s, min or h nearest to the median.
        start: a stamp on the steps; the stamps themselves tell where they are by default.

    >>> steadied(np.array([10_000, 1_000_000, 1_980_000], "datetime64[us]")).astype(int).tolist()
    [0, 1000000, 2000000]
    """
    if not len(times) or (not step and len(times) < 3):
        return times
    ticks = times.astype(np.int64)
    if not step:
        usual = float(np.median(np.diff(ticks)))
        step = int(_TICKS[np.argmin(abs(_TICKS - usual))])
        if abs(usual - step) > step / 20:
            return times
    if start is None:
        around = [(ticks + half) % step - half for half in (step // 2, 0)]
        phase = int(np.median(min(around, key=np.ptp)))
        exact = not np.ptp(around[0])
        phase = 0 if abs(phase) <= step // 10 and not exact else phase
    else:
        phase = int(np.asarray(start, "datetime64[us]").astype(np.int64))
    off = (ticks - phase + step // 2) % step - step // 2
    moved: np.ndarray = times - off
    far = abs(off).max() > min(step // 10, _MAX_JITTER)
    return times if far or (np.diff(moved) <= 0).any() else moved


def infer_frequency(times: np.ndarray) -> Frequency:
    """Return the frequency of ascending stamps ``[T]``: their commonest difference.

    Stamps on one day of the month, on its last, or on its first or last business day are counted in
    months, those on two days of each month in half months; days that leave out the same days of each
    of several weeks are open days. Raises DataError for less than two stamps.

    >>> infer_frequency(np.array(["2020-01", "2020-02", "2020-04"], "datetime64[us]")).unit
    'MS'
    """
    if len(times) < 2:
        raise DataError("one stamp tells no frequency", remedy="pass frequency= (such as D or h)")
    step = _commonest(np.diff(times).astype(np.int64))
    if times.dtype.kind != "M":
        return Frequency(step, "steps")
    days = times.astype("datetime64[D]")
    if len(np.unique(times - days)) == 1:
        apart = np.diff(days).astype(np.int64)
        found = _of_months(days, apart) or _of_week(days, apart)
        if found is not None:
            return found
    unit = next(unit for unit, known in _FIXED.items() if step % known[0] == 0)
    return Frequency(step // _FIXED[unit][0], unit)


def _of_months(days: np.ndarray, apart: np.ndarray) -> Frequency | None:
    """Return the frequency of days that stand at certain places of the months; None for others."""
    months = days.astype("datetime64[M]")
    numbers = (days - months).astype(np.int64) + 1
    is_last = (days + 1).astype("datetime64[M]") > months
    if apart.min() < 13:
        return None
    if apart.min() < 28:
        halves = np.unique(np.where(is_last, 31, numbers))
        if len(halves) != 2 or len(days) < 4:
            return None
        return Frequency(1, "SM", f"{halves[0]}-{halves[1]}")
    count = _commonest(np.diff(months).astype(np.int64))
    letter = next(letter for letter, known in _MONTHS.items() if count % known[0] == 0)
    highest = int(numbers.max())
    places = {"E": bool(is_last.all()), "S": highest == 1, "": len(np.unique(numbers)) == 1}
    if len(days) > 2:
        for name in ("BE", "BS"):
            there = _day_of(months.astype(np.int64), Frequency(1, f"B{letter}{name[1]}"))
            places[name] = bool((there == days).all())
        places["last"] = highest > 28 and bool((is_last | (numbers == highest)).all())
    place = next((place for place, fits in places.items() if fits), None)
    if place is not None:
        anchor = str(highest) if place == "last" or (place == "" and highest > 28) else ""
        unit = f"B{letter}{place[1]}" if place[:1] == "B" else letter + place.removesuffix("last")
        return Frequency(count // _MONTHS[letter][0], unit, anchor)
    for start in days[1:][apart == 35]:
        retail = Frequency(1, "4-4-5", str(start.astype(np.int64) % _RETAIL_DAYS))
        if (_day_of(_index(days, retail), retail) == days).all():
            return retail
    return None


def _of_week(days: np.ndarray, apart: np.ndarray) -> Frequency | None:
    """Return the frequency of days that leave out some days of every week; None for others."""
    weekdays = (days.astype(np.int64) + 3) % 7  # 1970 began on a Thursday
    counts = np.bincount(weekdays, minlength=7)
    mask = "".join("01"[bool(count)] for count in counts)
    span = (days[-1] - days[0]).astype(int)
    if 1 < counts.astype(bool).sum() < 7 and span >= 7 * _MIN_WEEKS:
        steps = np.busday_count(days[0], days[-1], weekmask=mask) + 1
        if len(days) > _MIN_OPEN * steps:
            return Frequency._open(mask)
    business = mask.endswith("00") and _commonest(apart) == 1
    return Frequency(1, "B") if business and np.busday_count(days[0], days[-1]) < span else None


def calendar_features(times: np.ndarray, frequency: Frequency) -> np.ndarray:
    """Return where each stamp stands in its cycles, a sine and a cosine each: float64 ``[T, C]``.

    The cycles: the hour of the day (steps under a day), the day of the week (to a day), the day of
    the year (over a day, to weeks), the month of the year, the quarter; none for years and steps.

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
        letter, _ = _month_parts(frequency.unit)
        if letter == "M":
            cycles.append(month / 12)
        if letter == "Q":
            cycles.append(month // 3 / 4)
    angles = 2 * np.pi * np.array(cycles).reshape(len(cycles), len(times))
    return np.stack([np.sin(angles), np.cos(angles)], -1).transpose(1, 0, 2).reshape(len(times), -1)


def season_candidates(frequency: Frequency) -> tuple[int, ...]:
    """Return the steps after which a series of this frequency may repeat, the shortest first.

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
    elif step < _MINUTE:
        cycles = (_MINUTE, _HOUR)
    elif step < DAY:
        cycles = (DAY, 7 * DAY)
    else:
        cycles = (7 * DAY,) if step < 7 * DAY else (52 * 7 * DAY,)
    return tuple(cycle // step for cycle in cycles if cycle % step == 0 and cycle > step)
