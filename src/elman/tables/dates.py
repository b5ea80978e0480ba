"""Parser of dates in text; `elman.series.numeric_dates` reads dates that are numbers.

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

import datetime
import re
from collections.abc import Callable, Iterable

import numpy as np

from elman.errors import DataError
from elman.tables.columns import MISSING, objects, row_name, utc_stamps

_ISO = re.compile(r"(\d{4})([-/])(\d{1,2})(?:\2(\d{1,2})([^\d/].*)?)?")
_PERIOD = re.compile(r"(\d{4}-\d\d-\d\d)/\d{4}-\d\d-\d\d")
_QUARTER = re.compile(r"(\d{4})[- /]?Q([1-4])|Q([1-4])[- /]?(\d{4})")
_WEEK = re.compile(r"(\d{4})-?W(\d{2})(?:-?([1-7]))?")
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_NAME = (
    r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?"
    + (r"|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?")
)
_NAMED = tuple(
    re.compile(form + r"(?P<rest>\D.*)?", re.IGNORECASE)
    for form in (
        rf"(?:(?P<day>\d{{1,2}})[- /]+)?{_NAME}[- ,/]+(?P<year>\d{{4}})",
        rf"{_NAME} +(?P<day>\d{{1,2}}),? +(?P<year>\d{{4}})",
        rf"(?P<year>\d{{4}})[- /]+{_NAME}(?:[- /]+(?P<day>\d{{1,2}}))?",
    )
)
_OTHER = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4}|\d{2})(\D.*)?")
_TIME_OF_DAY = re.compile(r" *\d{1,2}:\d{2}(:[\d.,]+)?( *[AP]M)? *", re.IGNORECASE)
_PLAIN = re.compile(r"(?!0000)\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)?")
_FIRST_YEAR = 1969  # two digits mean a year from 1969 to 2068, as in strptime and POSIX
_CLOCK = re.compile(r"[T ]+(\d{1,2})(:[\d:.,]+)? *([AP]M)? *(Z|UTC|[+-][\d:]+)?", re.IGNORECASE)


def _read(year: str, month: str, day: str | None, rest: str | None) -> datetime.datetime:
    """Return the datetime of year, month, day and the rest, a time of day; raises ValueError."""
    text = f"{year}-{month:0>2}-{day or '1':0>2}"
    if rest and rest.strip():
        clock = _CLOCK.fullmatch(rest)
        if clock is None:
            raise ValueError(rest)
        hour, minutes, half, zone = clock.groups()
        if half:
            if not 1 <= int(hour) <= 12:
                raise ValueError(rest)
            hour = str(int(hour) % 12 + (12 if half.lower() == "pm" else 0))
        zone = "+00:00" if zone and zone.isalpha() else zone or ""
        text += f"T{hour:0>2}{minutes or ''}{zone}"
    return datetime.datetime.fromisoformat(text)


def looks_like_date(text: str) -> bool:
    """Return whether `text` has the form of a date.

    >>> looks_like_date("1949-01"), looks_like_date("H1")
    (True, False)
    """
    forms = (_ISO, _PERIOD, _QUARTER, _OTHER, _WEEK, *_NAMED)
    return any(form.fullmatch(text.strip()) for form in forms)


def _read_name(text: str) -> datetime.datetime | None:
    """Return the datetime of a period, a quarter, a week or a named month; None for other texts."""
    if found := _PERIOD.fullmatch(text):
        return datetime.datetime.fromisoformat(found[1])
    if found := _QUARTER.fullmatch(text):
        year, quarter = found[1] or found[4], found[2] or found[3]
        return _read(year, str(3 * int(quarter) - 2), None, None)
    if found := _WEEK.fullmatch(text):
        return datetime.datetime.fromisocalendar(int(found[1]), int(found[2]), int(found[3] or 1))
    for form in _NAMED:
        if found := form.fullmatch(text):
            month = _MONTHS.index(found["month"][:3].lower()) + 1
            return _read(found["year"], str(month), found["day"], found["rest"])
    return None


def _full_year(year: str) -> str:
    """Return a year of two digits with its century; other years unchanged."""
    if len(year) > 2:
        return year
    return str(_FIRST_YEAR + (int(year) - _FIRST_YEAR) % 100)


def _day_first(texts: Iterable[str]) -> bool | None:
    """Return whether dates such as 31/01/2020 begin with the day; None if no date shows it.

    Raises DataError if some dates must begin with the day and others with the month.
    """
    first = second = ""
    undecided = False
    for text in texts:
        found = _OTHER.fullmatch(text)
        if found is not None and found[2] != ".":
            first = first or (text if int(found[1]) > 12 else "")
            second = second or (text if int(found[3]) > 12 else "")
            undecided = True
    if first and second:
        raise DataError(
            f"dates with the day first and with the month first: {first} and {second}",
            remedy="write them as 2020-01-31",
        )
    return bool(first) if first or second or not undecided else None


def _reader(texts: Iterable[str], date_format: str | None) -> Callable[[str], datetime.datetime]:
    """Return a function from the texts of a column to datetimes; it raises ValueError, DataError."""
    if date_format is not None:
        if "%V" in date_format and "%u" not in date_format:  # a week begins on Monday
            return lambda text: datetime.datetime.strptime(f"{text} 1", f"{date_format} %u")
        return lambda text: datetime.datetime.strptime(text, date_format)
    others = [found for found in map(_OTHER.fullmatch, texts) if found]
    year_first = any(int(found[1]) > 31 for found in others)  # as in 99-12-31
    day_first = None if year_first else _day_first(texts)

    def read(text: str) -> datetime.datetime:
        if found := _ISO.fullmatch(text):
            return _read(found[1], found[3], found[4], found[5])
        if named := _read_name(text):
            return named
        found = _OTHER.fullmatch(text)
        if found is None:
            raise ValueError(text)
        if year_first:
            return _read(_full_year(found[1]), found[3], found[4], found[5])
        if found[2] == "-" and len(found[4]) == 2 and int(found[4]) <= 31:
            raise DataError(
                f"{text} may begin or end with its year",
                remedy='pass date_format= to say which, such as "%y-%m-%d" or "%d-%m-%y"',
            )
        if found[2] != "." and day_first is None:
            mark, year = found[2], "%Y" if len(found[4]) == 4 else "%y"
            form, american = (mark.join([*pair, year]) for pair in (("%d", "%m"), ("%m", "%d")))
            raise DataError(
                f"{text} may begin with the day or the month, and no date of the column shows which",
                remedy=f'pass date_format="{form}", or date_format="{american}" for the month first',
            )
        day, month = (found[1], found[3]) if found[2] == "." or day_first else (found[3], found[1])
        return _read(_full_year(found[4]), month, day, found[5])

    return read


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
    if column.dtype.kind == "f":  # whole numbers of which some are missing
        column = objects(
            None if n != n else f"{n:.0f}" if n % 1 == 0 else n for n in column.tolist()
        )
    texts = ["" if value is None else str(value).strip() for value in column.tolist()]
    if date_format is None and all(map(_PLAIN.fullmatch, texts)):
        try:
            return np.array(texts, "datetime64[us]"), None  # a fast path for most files
        except ValueError:
            pass  # one text is no date: the loop below finds it
    rows: dict[str, int] = {}
    for row, text in enumerate(texts):
        rows.setdefault(text, row)
    known = {text: row for text, row in rows.items() if text.lower() not in MISSING}
    read = _reader(known, date_format)
    stamps: dict[str, datetime.datetime | None] = dict.fromkeys(rows)
    for text, row in known.items():
        try:
            stamps[text] = stamp = read(text)
            if stamp.tzinfo is not None:
                stamp.astimezone(datetime.UTC)  # raises if the date in UTC is out of range
        except DataError:
            raise
        except (ValueError, OverflowError):
            remedy = "correct it or the format"
            if date_format is None:
                remedy = 'correct it, or pass date_format= (such as "%d %b %Y")'
            raise DataError(
                f"no date, {where(row)}",
                got=repr(text),
                expected=f"the format {date_format}" if date_format else "such as 2020-01-31",
                remedy=remedy,
            ) from None
    first_rows = [*rows.values()]
    unique, zone = utc_stamps([*stamps.values()], lambda at: where(first_rows[at]))
    index = {text: at for at, text in enumerate(stamps)}
    return unique[[index[text] for text in texts]], zone


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
    >>> found, _ = join_clock({"day": column("2020-01-01"), "at": column("10:30")}, None)
    >>> found["day"].tolist()
    ['2020-01-01 10:30']
    """
    texts = {
        name: [text for text in column if text]
        for name, column in columns.items()
        if column.dtype == "O"
    }
    texts = {name: held for name, held in texts.items() if held}
    clocks = [name for name, held in texts.items() if all(map(_TIME_OF_DAY.fullmatch, held))]
    days = [
        name
        for name, held in texts.items()
        if named in (None, name) and looks_like_date(held[0]) and ":" not in "".join(held)
    ]
    if len(clocks) != 1 or len(days) != 1:
        return columns, []
    pairs = zip(columns[days[0]], columns[clocks[0]], strict=True)
    joined = objects(None if None in pair else " ".join(pair) for pair in pairs)
    kept = {
        name: joined if name == days[0] else column
        for name, column in columns.items()
        if name not in clocks
    }
    return kept, [f"columns {days[0]!r} and {clocks[0]!r} are read as one time"]
