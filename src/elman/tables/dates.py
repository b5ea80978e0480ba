"""Parser of dates in text; `elman.series.time_column` reads dates that are numbers.

| text | meaning |
|---|---|
| ``2020-01-31``, ``2020-01-31 14:00:05.25``, ``2020/1/31``, ``2020-01`` | the year comes first |
| ``2020Q1``, ``Q1 2020``, ``2020-W05``, ``2020-W05-3`` | the first day of the quarter or week, or the day |
| ``2020-01-27/2020-02-02``, as pandas writes a week | the first day |
| ``Jan-2015``, ``15 January 2015``, ``Jan 15, 2015 14:00``, ``2015 Jan`` | English names of months |
| ``2020-01-31T14:00Z``, ``2020-01-31 14:00+01:00`` | converted to UTC |
| ``31.01.2020``, with or without a time | the day comes first |
| ``31/01/2020``, ``01-31-2020``, ``1/31/2020 2:05 PM`` | the order that fits the whole column, or an error |
| ``31.01.20``, ``31/01/20``, ``99-01-31`` | the same for the years 1969 to 2068; ``20-01-31`` is an error |
| ``NA``, ``null``, nothing | missing |
| anything else | needs ``date_format`` |
"""

from __future__ import annotations

import contextlib
import datetime
import re
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from elman.errors import DataError
from elman.tables.columns import MISSING, objects, row_name, utc_stamps

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_NAME = (
    r"(?P<name>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?"
    r"|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
_YEAR, _DAY, _CLOCK = r"(?P<year>\d{4})", r"(?P<day>\d{1,2})", r"(?P<clock>\D.*)?"
_ISO, *_OTHER_FORMS = (
    re.compile(form, re.IGNORECASE)
    for form in (
        rf"{_YEAR}([-/])(?P<month>\d{{1,2}})(?:\2{_DAY}(?P<clock>[^\d/].*)?)?",
        rf"{_YEAR}-(?P<month>\d\d)-{_DAY}/\d{{4}}-\d\d-\d\d",
        rf"{_YEAR}[- /]?Q(?P<quarter>[1-4])",
        rf"Q(?P<quarter>[1-4])[- /]?{_YEAR}",
        rf"{_YEAR}-?W(?P<week>\d{{2}})(?:-?(?P<weekday>[1-7]))?",
        rf"(?:{_DAY}[- /]+)?{_NAME}[- ,/]+{_YEAR}{_CLOCK}",
        rf"{_NAME} +{_DAY},? +{_YEAR}{_CLOCK}",
        rf"{_YEAR}[- /]+{_NAME}(?:[- /]+{_DAY})?{_CLOCK}",
    )
)
# three numbers whose order the column decides
_NUMBERS = re.compile(rf"(\d{{1,2}})([-/.])(\d{{1,2}})\2(\d{{4}}|\d{{2}}){_CLOCK}")
_TIME_OF_DAY = re.compile(r" *\d{1,2}:\d{2}(:[\d.,]+)?( *[AP]M)? *", re.IGNORECASE)
# numpy reads exactly these; it would accept the year 0, which datetime does not have
_PLAIN = re.compile(r"(?!0000)\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)?")
_FIRST_YEAR = 1969  # two digits mean a year from 1969 to 2068, as in strptime and POSIX
_CLOCK_PARTS = re.compile(
    r"[T ]+(\d{1,2})(:[\d:.,]+)? *([AP]M)? *(Z|UTC|[+-][\d:]+)?", re.IGNORECASE
)


def _stamp(year: str, month: str | int, day: str | None, clock: str | None) -> datetime.datetime:
    """Return the datetime of year, month, day and time of day; raises ValueError."""
    if len(year) == 2:
        year = str(_FIRST_YEAR + (int(year) - _FIRST_YEAR) % 100)
    # the standard library checks the ranges, also of the time of day
    text = f"{year}-{month:0>2}-{day or '1':0>2}"
    if clock and clock.strip():
        parts = _CLOCK_PARTS.fullmatch(clock)
        if parts is None:
            raise ValueError(clock)
        hour, minutes, half, zone = parts.groups()
        if half:
            if not 1 <= int(hour) <= 12:
                raise ValueError(clock)
            hour = str(int(hour) % 12 + (12 if half.lower() == "pm" else 0))
        zone = "+00:00" if zone and zone.isalpha() else zone or ""
        text += f"T{hour:0>2}{minutes or ''}{zone}"
    return datetime.datetime.fromisoformat(text)


def looks_like_date(text: str) -> bool:
    """Return whether `text` has the form of a date.

    >>> looks_like_date("1949-01"), looks_like_date("H1")
    (True, False)
    """
    return any(form.fullmatch(text.strip()) for form in (_ISO, _NUMBERS, *_OTHER_FORMS))


def _read_named(text: str) -> datetime.datetime | None:
    """Return the datetime of a text whose form shows what year, month and day are; None for other texts."""
    for form in (_ISO, *_OTHER_FORMS):
        if match := form.fullmatch(text):
            parts = match.groupdict()
            if week := parts.get("week"):
                weekday = int(parts["weekday"] or 1)
                return datetime.datetime.fromisocalendar(int(parts["year"]), int(week), weekday)
            month = parts.get("month") or 0
            if quarter := parts.get("quarter"):
                month = 3 * int(quarter) - 2
            elif name := parts.get("name"):
                month = _MONTHS.index(name[:3].lower()) + 1
            return _stamp(parts["year"], month, parts.get("day"), parts.get("clock"))
    return None


def _order(texts: Iterable[str]) -> str:
    """Return the order of three numbers that fits a column: "ymd", "dmy", "mdy", or "" if several do.

    Raises DataError if some dates must begin with the day and others with the month.
    """
    first = second = ""
    for match in filter(None, map(_NUMBERS.fullmatch, texts)):
        # no day and no month reaches 32
        if int(match[1]) > 31:  # as in 99-12-31
            return "ymd"
        # with points, the day always comes first
        if match[2] != ".":
            first = first or (match[0] if int(match[1]) > 12 else "")
            second = second or (match[0] if int(match[3]) > 12 else "")
    if first and second:
        raise DataError(
            f"dates with the day first and with the month first: {first} and {second}",
            remedy="write them as 2020-01-31",
        )
    return "dmy" if first else "mdy" if second else ""


def _read(text: str, order: str, date_format: str | None) -> datetime.datetime:
    """Return the datetime of a text; raises ValueError, or DataError if it has several meanings."""
    if date_format is not None:
        if "%V" in date_format and "%u" not in date_format:  # a week begins on Monday
            text, date_format = f"{text} 1", f"{date_format} %u"
        return datetime.datetime.strptime(text, date_format)
    if stamp := _read_named(text):
        return stamp
    match = _NUMBERS.fullmatch(text)
    if match is None:
        raise ValueError(text)
    first, mark, second, third, clock = match.groups()
    if order == "ymd":
        return _stamp(first, second, third, clock)
    # 21-04-07 may be the seventh of April 2021 or the 21st of April 2007
    if mark == "-" and len(third) == 2 and int(third) <= 31:
        raise DataError(
            f"{text} may begin or end with its year",
            remedy='pass date_format= to say which, such as "%y-%m-%d" or "%d-%m-%y"',
        )
    if mark == "." or order == "dmy":
        return _stamp(third, second, first, clock)
    if order == "mdy":
        return _stamp(third, first, second, clock)
    year = "%Y" if len(third) == 4 else "%y"
    raise DataError(
        f"{text} may begin with the day or the month, and no date of the column shows which",
        remedy=f'pass date_format="%d{mark}%m{mark}{year}", or '
        f'date_format="%m{mark}%d{mark}{year}" for the month first',
    )


def parse_times(
    column: np.ndarray, *, date_format: str | None = None, where: Callable[[int], str] = row_name
) -> tuple[np.ndarray, str | None]:
    """Return a column of dates as datetime64[us] ``[R]``, NaT where missing, and their time zone.

    Args:
        column: Texts, datetimes, or with `date_format` numbers.
        date_format: A format of `datetime.strptime` (default: the forms in the table of this module).
        where: Gives the name of a row in messages.

    Returns:
        The dates, converted to UTC if they have a time zone, and the name of that zone: None if they have
        none, "UTC" if they have several.

    Raises:
        DataError: A value is no date or ambiguous, or only some dates have a time zone.

    >>> column = np.array(["2020-01", None, "2020-03-05 10:30"], object)
    >>> parse_times(column)[0].astype("datetime64[m]").astype(str).tolist()
    ['2020-01-01T00:00', 'NaT', '2020-03-05T10:30']
    """
    if column.dtype.kind == "M":
        return column.astype("datetime64[us]"), None
    if column.dtype.kind != "O" and (date_format is None or column.dtype.kind not in "if"):
        raise DataError(
            f"numbers in a column of dates, {where(0)}",
            got=column[0].item() if len(column) else None,
            remedy='name another time column, or pass date_format= (such as "%Y%m%d")',
        )
    texts = [*map(_plain_text, column.tolist())]
    if date_format is None and all(map(_PLAIN.fullmatch, texts)):
        # a fast path for most files; where one text is no date, the loop below says which
        with contextlib.suppress(ValueError):
            return np.array(texts, "datetime64[us]"), None
    first_rows: dict[str, int] = {}  # a text that occurs often is read once
    for row, text in enumerate(texts):
        first_rows.setdefault(text, row)
    stamps = _read_texts(first_rows, date_format, where)
    unique, zone = utc_stamps(stamps, lambda code: where([*first_rows.values()][code]))
    codes = {text: code for code, text in enumerate(first_rows)}
    return unique[[codes[text] for text in texts]], zone


def _plain_text(value: object) -> str:
    """Return a value of a column of dates as text, "" where it is missing."""
    # one missing value makes floats of whole numbers such as 20200131
    if isinstance(value, float) and (value % 1 == 0 or value != value):
        return "" if value != value else f"{value:.0f}"
    return "" if value is None else str(value).strip()


def _read_texts(
    rows: Mapping[str, int], date_format: str | None, where: Callable[[int], str]
) -> list[datetime.datetime | None]:
    """Return the datetimes of different texts, given with their rows; None where missing."""
    order = "" if date_format else _order(rows)
    stamps: list[datetime.datetime | None] = []
    for text, row in rows.items():
        try:
            stamp = None if text.lower() in MISSING else _read(text, order, date_format)
            if stamp is not None and stamp.tzinfo is not None:
                stamp.astimezone(datetime.UTC)  # raises if the date in UTC is out of range
        except DataError:
            raise
        except (ValueError, OverflowError):
            hint = "" if date_format else ', or pass date_format= (such as "%d %b %Y")'
            raise DataError(
                f"no date, {where(row)}",
                got=repr(text),
                expected=f"the format {date_format}" if date_format else "such as 2020-01-31",
                remedy="correct it" + (hint or " or the format"),
            ) from None
        stamps.append(stamp)
    return stamps


def form_note(column: np.ndarray, times: np.ndarray) -> list[str]:
    """Return a note on how the first date of a column was read, unless it is written as in ISO 8601."""
    row = next((row for row, text in enumerate(column.tolist()) if text is not None), None)
    if column.dtype.kind != "O" or row is None or _ISO.fullmatch(column[row].strip()):
        return []
    stamp = str(times[row].item()).removesuffix(" 00:00:00")
    return [f"dates such as {column[row].strip()} are read as {stamp}"]


def join_clock(
    columns: dict[str, np.ndarray], named: str | None
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the columns with a column of days and one of times of day joined, and a note if there were any.

    If `named` is given, only that column can be the one of days.

    >>> column = lambda *texts: np.array(texts, object)
    >>> joined, _ = join_clock({"day": column("2020-01-01"), "at": column("10:30")}, None)
    >>> joined["day"].tolist()
    ['2020-01-01 10:30']
    """
    clocks, days = [], []
    for name, column in columns.items():
        texts = [text for text in column if text] if column.dtype == "O" else []
        if not texts:
            continue
        # every text must be a time of day, but the first one shows whether there are days
        if all(map(_TIME_OF_DAY.fullmatch, texts)):
            clocks.append(name)
        elif named in (None, name) and looks_like_date(texts[0]) and ":" not in "".join(texts):
            days.append(name)
    if len(clocks) != 1 or len(days) != 1:
        return columns, []
    (clock,), (day,) = clocks, days
    pairs = zip(columns[day], columns[clock], strict=True)
    joined = objects(None if None in pair else " ".join(pair) for pair in pairs)
    kept = {name: column for name, column in columns.items() if name != clock}
    return kept | {day: joined}, [f"columns {day!r} and {clock!r} are read as one time"]
