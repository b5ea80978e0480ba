"""Calendars: the step between stamps found and counted, and what a date tells a network.

Stamps are datetime64[us], in UTC or without a zone; where a series has no dates they are int64.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman._errors import DataError, OptionError

__all__ = [
    "Frequency",
    "advance",
    "calendar_features",
    "infer_frequency",
    "positions",
    "season_candidates",
]

_SECOND = 1_000_000
_MINUTE = 60 * _SECOND
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
_YEAR_DAYS = 365.2425
# unit: (microseconds, the name of one, the name of a step of one); the longest first
_FIXED = {
    "W": (7 * _DAY, "week", "weekly"),
    "D": (_DAY, "day", "daily"),
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
_PLACES = {"": "", "S": " (start of month)", "E": " (end of month)"}
_OTHERS = {
    "B": (0, "business day", "business days (Monday to Friday)"),
    "steps": (1, "step", "without dates"),
}
_ALIASES = {"H": "h", "T": "min", "S": "s", "d": "D", "w": "W", "b": "B"}
_CODE = re.compile(r"(\d*)([A-Za-z]+)(?:-[A-Z]{3})?")


@dataclass(frozen=True)
class Frequency:
    """The step of a series: `count` times `unit`.

    The units are us, s, min, h, D, W; B (Monday to Friday); M, Q, Y (month, quarter, year, always
    on one day of the month), MS, QS, YS (on its first), ME, QE, YE (on its last); steps (no dates).

    >>> str(Frequency(30, "min")), Frequency(30, "min").words, Frequency(1, "MS").words
    ('30min', 'every 30 minutes', 'monthly (start of month)')
    """

    count: int
    unit: str

    def __post_init__(self) -> None:
        known = self.unit in _FIXED or self.unit in _OTHERS
        known = known or (self.unit[:1] in _MONTHS and self.unit[1:] in _PLACES)
        if not known or self.count < 1:
            raise OptionError(
                "frequency",
                got=self,
                expected="a step such as h, 30min, D, B, W, MS, ME, QS, YS or steps",
            )

    @classmethod
    def parse(cls, text: str | Frequency) -> Frequency:
        """Return the frequency of a word as pandas writes them; raises OptionError.

        >>> Frequency.parse("2h"), Frequency.parse("W-SUN")
        (Frequency(count=2, unit='h'), Frequency(count=1, unit='W'))
        """
        if isinstance(text, Frequency):
            return text
        found = _CODE.fullmatch(text.replace(" ", ""))
        if found is None:
            return cls(1, text)  # raises
        return cls(int(found[1] or 1), _ALIASES.get(found[2], found[2]))

    def __str__(self) -> str:
        return f"{'' if self.count == 1 else self.count}{self.unit}"

    @property
    def words(self) -> str:
        """How a person says it."""
        place = _PLACES[self.unit[1:]] if self.months else ""
        known = _MONTHS[self.unit[0]] if self.months else (_FIXED | _OTHERS)[self.unit]
        return (known[2] if self.count == 1 else f"every {self.count} {known[1]}s") + place

    @property
    def months(self) -> int:
        """The months of a step; 0 where it is not one of months."""
        return self.count * _MONTHS[self.unit[0]][0] if self.unit[0] in _MONTHS else 0

    @property
    def step(self) -> int:
        """The microseconds of a step, or its steps; 0 where they are not always as many."""
        return 0 if self.months else self.count * (_FIXED | _OTHERS)[self.unit][0]


def _at(start: Any, frequency: Frequency, steps: Any) -> Any:
    if frequency.step:
        return start + steps * frequency.step
    day = start.astype("datetime64[D]")
    clock = start - day
    if frequency.unit == "B":
        return np.busday_offset(day, steps * frequency.count, roll="backward") + clock
    month = start.astype("datetime64[M]")
    months = month + steps * frequency.months
    last = (months + 1).astype("datetime64[D]") - 1
    if frequency.unit.endswith("E"):
        return last + clock
    return np.minimum(months.astype("datetime64[D]") + (day - month), last) + clock


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
    elif frequency.unit == "B":
        days = times.astype("datetime64[D]")
        counted = np.asarray(np.busday_count(origin.astype("datetime64[D]"), days))
        counted = counted // frequency.count
    else:
        months = times.astype("datetime64[M]") - origin.astype("datetime64[M]")
        counted = months.astype(np.int64) // frequency.months
    return counted, _at(np.asarray(origin), frequency, counted) == times


def _commonest(differences: np.ndarray) -> int:
    values, counts = np.unique(differences, return_counts=True)
    return int(values[np.argmax(counts)])


def infer_frequency(times: np.ndarray) -> Frequency:
    """Return the frequency of ascending stamps ``[T]``: their commonest difference.

    Stamps on one day of the month, or on its last, are counted in months; days without one Saturday
    or Sunday, over at least one, are business days. Raises DataError for less than two stamps.

    >>> infer_frequency(np.array(["2020-01", "2020-02", "2020-04"], "datetime64[us]"))
    Frequency(count=1, unit='MS')
    """
    if len(times) < 2:
        raise DataError("one stamp tells no frequency", remedy="pass frequency= (such as D or h)")
    step = _commonest(np.diff(times).astype(np.int64))
    if times.dtype.kind != "M":
        return Frequency(step, "steps")
    days = times.astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    if np.diff(days).min() >= np.timedelta64(28, "D") and len(np.unique(times - days)) == 1:
        ends = (days + 1).astype("datetime64[M]") > months
        places = np.unique(days - months)
        if ends.all() or len(places) == 1:
            place = "E" if ends.all() else "" if places[0].astype(int) else "S"
            count = _commonest(np.diff(months).astype(np.int64))
            unit = next(unit for unit, known in _MONTHS.items() if count % known[0] == 0)
            return Frequency(count // _MONTHS[unit][0], unit + place)
    if step == _DAY and np.is_busday(days).all():
        span = (days[-1] - days[0]).astype(int)
        if np.busday_count(days[0], days[-1]) < span:
            return Frequency(1, "B")
    unit = next(unit for unit, known in _FIXED.items() if step % known[0] == 0)
    return Frequency(step // _FIXED[unit][0], unit)


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
        if 0 < frequency.step < _DAY:
            cycles.append((times - days).astype(np.int64) / _DAY)
        if frequency.unit == "B" or 0 < frequency.step <= _DAY:
            cycles.append((days.astype(np.int64) + 3) % 7 / 7)  # 1970 began on a Thursday
        if frequency.step > _DAY:
            cycles.append((days - days.astype("datetime64[Y]")).astype(np.int64) / _YEAR_DAYS)
        if frequency.unit[0] == "M":
            cycles.append(month / 12)
        if frequency.unit[0] == "Q":
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
    elif frequency.unit == "B":
        cycles = (5,)
    elif step < _MINUTE:
        cycles = (_MINUTE, _HOUR)
    elif step < _DAY:
        cycles = (_DAY, 7 * _DAY)
    else:
        cycles = (7 * _DAY,) if step < 7 * _DAY else (52 * 7 * _DAY,)
    return tuple(cycle // step for cycle in cycles if cycle % step == 0 and cycle > step)
