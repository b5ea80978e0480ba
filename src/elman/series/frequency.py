"""Frequency of a series: the step between its stamps, as a count of a unit such as a day or a month."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from elman.errors import OptionError

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
"""Microseconds of a day."""
BUSINESS_WEEK = "1111100"
"""The open days of a business week, from Monday on."""


class Unit(NamedTuple):
    """A unit in which steps are counted."""

    length: int
    """Microseconds, or counted steps; 0 if the length varies."""
    name: str
    words: str
    """The name of a step of one unit."""
    months: int = 0
    """Months of the unit, for units of whole months."""
    day: str = ""
    """The day of the month that a unit of months fixes: S and E are its first and last day, BS and BE its
    first and last business day."""


FIXED_UNITS = {
    "W": Unit(7 * DAY, "week", "weekly"),
    "D": Unit(DAY, "day", "daily"),
    "h": Unit(HOUR, "hour", "hourly"),
    "min": Unit(MINUTE, "minute", "every minute"),
    "s": Unit(SECOND, "second", "every second"),
    "us": Unit(1, "microsecond", "every microsecond"),
}
"""Units of constant length, longest first."""
MONTH_UNITS = {
    "Y": Unit(0, "year", "yearly", 12),
    "Q": Unit(0, "quarter", "quarterly", 3),
    "M": Unit(0, "month", "monthly", 1),
}
"""Units of whole months, longest first."""
_DAY_OF_MONTH_WORDS = {
    "S": "start of month",
    "E": "end of month",
    "BS": "first business day",
    "BE": "last business day",
}
UNITS = {
    **FIXED_UNITS,
    **MONTH_UNITS,
    "B": Unit(0, "business day", "business days (Monday to Friday)"),
    "C": Unit(0, "open day", "daily"),
    "SM": Unit(0, "half month", "twice a month"),
    "4-4-5": Unit(0, "retail month", "retail months of 4, 4 and 5 weeks"),
    "steps": Unit(1, "step", "without dates"),
    **{
        # as MS, ME, BMS, BME
        f"{day[:-1]}{letter}{day[-1]}": unit._replace(day=day)
        for letter, unit in MONTH_UNITS.items()
        for day in _DAY_OF_MONTH_WORDS
    },
}
# The anchors that a unit takes; units without an entry take none.
_ANCHORS = {
    "C": r"(?=.*1)[01]{7}",
    "SM": r"([1-9]|1\d|2[0-7])-([2-9]|[12]\d|3[01])",
    "4-4-5": r"\d|[1-8]\d|90",
    **dict.fromkeys(MONTH_UNITS, r"(29|30)?"),
}
# Pandas changed the case of some codes in version 2.2; both are accepted.
# Spellings of pandas that differ from ours.
_ALIASES = {"H": "h", "T": "min", "S": "s", "d": "D", "w": "W", "b": "B"}
_HALF_MONTHS = {"SMS": "1-15", "SME": "15-31", "SM": "15-31"}
_CODE = re.compile(r"(\d*)(4-4-5|[A-Za-z]+)(?:-([A-Z]{3}|[\d-]+))?")
_WEEK = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_OPEN_DAYS = re.compile(r"([A-Z][a-z]{2})-([A-Z][a-z]{2})")


@dataclass(frozen=True)
class Frequency:
    """The step of a series: `count` times `unit`.

    The units are us, s, min, h, D, W; B (Monday to Friday); C (the open days of each week); M, Q, Y
    (month, quarter, year, always on the same day of the month), MS, QS, YS (on its first day), ME, QE, YE
    (on its last day), BMS, BME and so on (on its first or last business day); SM (on two days of each
    month); 4-4-5 (months of whole weeks, as in retail); steps (no dates).

    Raises:
        OptionError: there is no such unit, or the anchor does not fit it.

    >>> str(Frequency(30, "min")), Frequency(30, "min").words, Frequency(1, "MS").words
    ('30min', 'every 30 minutes', 'monthly (start of month)')
    """

    count: int
    unit: str
    anchor: str = ""
    """C: the open days from Monday on, as 1111110. M, Q, Y: the day of the month, if it is above 28. SM: both
    days, as 1-15. 4-4-5: the day on which a quarter begins, from 0 to 90, counted from 1970."""

    def __post_init__(self) -> None:
        valid = self.unit in UNITS and self.count >= 1
        valid = valid and re.fullmatch(_ANCHORS.get(self.unit, ""), self.anchor) is not None
        if valid and self.unit == "SM":
            # The two days of a half month must be in order.
            first, second = map(int, self.anchor.split("-"))
            valid = first < second
        if not valid:
            raise OptionError(
                "frequency",
                got=self,
                expected="a step such as h, 30min, D, B, Mon-Sat, W, MS, ME, BME, SMS, QS, YS or steps",
            )

    @classmethod
    def parse(cls, text: str | Frequency) -> Frequency:
        """Parse a frequency as pandas writes it, or a range of open days; raises OptionError.

        >>> Frequency.parse("2h"), Frequency.parse("W-SUN").unit, Frequency.parse("Mon-Sat").anchor
        (Frequency(count=2, unit='h', anchor=''), 'W', '1111110')
        """
        if isinstance(text, Frequency):
            return text
        days = [day[:3] for day in _WEEK]
        # A range of open days, such as Mon-Sat; it may run over the end of the week.
        span = _OPEN_DAYS.fullmatch(text)
        if span is not None and span[1] in days and span[2] in days:
            first, last = days.index(span[1]), days.index(span[2])
            return cls.of_open_days(
                "".join("01"[(day - first) % 7 <= (last - first) % 7] for day in range(7))
            )
        code = _CODE.fullmatch(text.replace(" ", ""))
        if code is None:
            return cls(1, text)  # raises
        count, unit, anchor = int(code[1] or 1), code[2], code[3] or ""
        if unit in _HALF_MONTHS and not anchor:
            return cls(count, "SM", _HALF_MONTHS[unit])
        # Drop the anchor of a week or year (W-SUN, YS-APR): the stamps themselves show where it begins.
        return cls(count, _ALIASES.get(unit, unit), "" if anchor.isalpha() else anchor)

    @classmethod
    def of_open_days(cls, mask: str) -> Frequency:
        """Return the daily frequency of the open days in `mask`, from Monday on, as 1111110."""
        if mask in (BUSINESS_WEEK, "1111111"):
            return cls(1, "B" if mask == BUSINESS_WEEK else "D")
        return cls(1, "C", mask)

    def __str__(self) -> str:
        anchor = f"-{self.anchor}" if self.anchor else ""
        return f"{'' if self.count == 1 else self.count}{self.unit}{anchor}"

    @property
    def words(self) -> str:
        """The frequency in words, for messages."""
        if self.unit == "us" and self.count >= 1000:
            return f"every {self.count / SECOND:.6g} seconds"
        unit = UNITS[self.unit]
        text = unit.words if self.count == 1 else f"every {self.count} {unit.name}s"
        note = _DAY_OF_MONTH_WORDS.get(unit.day, "")
        if self.unit == "C":
            note = self._open_days()
        elif self.unit == "SM":
            note = f"days {self.anchor.replace('-', ' and ').replace('31', 'last')}"
        elif unit.months and self.anchor:
            note = f"day {self.anchor}"
        return f"{text} ({note})" if note else text

    def _open_days(self) -> str:
        mask, count = self.anchor, self.anchor.count("1")
        # Turn the week until the open days stand at its start: then they are a range of neighbours.
        for first in range(7):
            turned = mask[first:] + mask[:first]
            if count > 2 and turned.startswith("1" * count):
                return f"{_WEEK[first]} to {_WEEK[(first + count - 1) % 7]}"
        return ", ".join(day for day, is_open in zip(_WEEK, mask, strict=True) if is_open == "1")

    @property
    def week(self) -> str:
        """The days of a week that have a step, from Monday on, as 1111100 for B; "" for other units."""
        return BUSINESS_WEEK if self.unit == "B" else self.anchor if self.unit == "C" else ""

    @property
    def months(self) -> int:
        """The months of a step; 0 if the unit is not one of months."""
        return self.count * UNITS[self.unit].months

    @property
    def step(self) -> int:
        """The length of a step, in microseconds or in counted steps; 0 if the length varies."""
        return self.count * UNITS[self.unit].length
