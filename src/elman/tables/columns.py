"""Conversion of the values of a column to one array, in the same way for files and for data frames.

| values of the column | resulting array |
|---|---|
| whole numbers, none missing (also floats up to 2^53, except -0.0) | int64 |
| other numbers; whole numbers of which some are missing | float64, NaN where missing |
| true and false | bool; if some are missing, float64 with 1.0, 0.0 and NaN |
| texts that are all numbers, or all true or false | as above, because all values of a CSV file are texts |
| nothing at all | float64, all NaN |
| dates of a data frame | datetime64[us], in UTC if they have a time zone |
| anything else | text, None where missing or blank; dates that are text stay text |

A text counts as a number if Python reads it as one, except ``1_000`` and texts with leading zeros, which are
ids (``007``). In a column of numbers, ``NA``, ``N/A``, ``NaN``, ``null``, ``None``, ``-``, ``.`` and ``?``
mark missing values; in a column of texts they are texts.
"""

from __future__ import annotations

import contextlib
import datetime
import math
import re
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from numbers import Integral, Number
from typing import TYPE_CHECKING, Any, SupportsFloat

import numpy as np

from elman.errors import DataError, printable

if TYPE_CHECKING:
    import polars as pl

MISSING = frozenset(("", "na", "n/a", "#n/a", "<na>", "nan", "nat", "null", "none", "-", ".", "?"))
_TEXTS = frozenset((str, type(None)))
_BOOLEANS = {"true", "false"}
_LEADING_ZERO = r"^[+-]?0\d"
# float() accepts these texts, but people do not mean numbers by them
_NO_NUMBER = re.compile(rf"_|{_LEADING_ZERO}|[^\x00-\x7f]")
_AMBIGUOUS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
MAX_EXACT_FLOAT = 2.0**53
"""Up to this size, float64 represents every whole number exactly."""


def row_name(row: int) -> str:
    """Return the name of a row in messages: counted from 1, without the header.

    >>> row_name(0)
    'row 1'
    """
    return f"row {row + 1}"


def quoted(name: str) -> str:
    """Return an id or a column's name in quotes, shortened, as messages show it.

    >>> quoted("a")
    "'a'"
    """
    return f"'{printable(name, 40)}'"


def several(names: Sequence[str], most: int = 4) -> str:
    """Return the first `most` names in quotes, as messages show them.

    >>> several(["a", "b", "c", "d", "e"])
    "'a', 'b', 'c', 'd', …"
    """
    return ", ".join(map(quoted, names[:most])) + (", …" if len(names) > most else "")


def of_series(ids: Sequence[str]) -> str:
    """Return the name of some series in a note.

    >>> of_series(["a"]), of_series(["a", "b"])
    ("series 'a'", "2 series: 'a', 'b'")
    """
    count = "series" if len(ids) == 1 else f"{len(ids)} series:"
    return f"{count} {several(ids)}"


def is_number(text: str) -> bool:
    """Return whether `text` is a number.

    >>> is_number("1e3"), is_number("007"), is_number("1_000")
    (True, False, False)
    """
    try:
        float(text)
    except ValueError:
        return False
    return not _NO_NUMBER.search(text.strip())


def objects(values: Iterable[object]) -> np.ndarray:
    """Return `values` as an array of objects ``[R]``."""
    listed = list(values)
    # np.array would make a matrix of lists of one length
    column = np.empty(len(listed), object)
    column[:] = listed
    return column


def _normal(values: np.ndarray) -> np.ndarray:
    """Return float64 `values` as int64 if all of them are whole numbers that float64 holds exactly."""
    # -0.0 stays a float, because int64 has no negative zero
    whole = (np.abs(values) <= MAX_EXACT_FLOAT) & (values == np.trunc(values))
    if len(values) and (whole & ~(np.signbit(values) & (values == 0))).all():
        return values.astype(np.int64)
    return values


def _float(value: SupportsFloat | None) -> float:
    if value is None:
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return float(str(value))  # infinity, as for the same digits in a file


def _of_numbers(values: Sequence[SupportsFloat | None]) -> np.ndarray:
    # int64 keeps whole numbers above 2^53 exact, which float64 would round
    integers = [value for value in values if isinstance(value, Integral)]
    if len(integers) == len(values):
        try:
            return np.array([int(value) for value in integers], np.int64)
        except OverflowError:
            pass
    return _normal(np.array(list(map(_float, values)), np.float64))


def text_column(texts: pl.Series) -> np.ndarray:
    """Return a column of texts as numbers, or as true and false, if all can be read so; else as texts.

    >>> import polars as pl
    >>> text_column(pl.Series(["1", "NA"])), text_column(pl.Series(["1", "x"]))
    (array([ 1., nan]), array(['1', 'x'], dtype=object))
    """
    import polars as pl

    # a null in `plain` is a missing value
    stripped = texts.str.strip_chars()
    plain = stripped.str.to_lowercase().replace([*MISSING], None)
    missing = plain.null_count()
    # "NA" alone may be a text, so a column is empty only if all texts are blank
    blank = stripped.fill_null("") == ""
    if blank.all():
        return np.full(len(texts), np.nan)
    if missing < len(texts) and plain.is_in(_BOOLEANS).all():
        flags = plain == "true"
        return (flags.cast(pl.Float64) if missing else flags).to_numpy(writable=True)
    # a single leading zero shows that the texts are ids
    if missing < len(texts) and not plain.str.contains(_LEADING_ZERO).any():
        # whole numbers first: they stay exact above 2^53
        for dtype in (pl.Int64, pl.Float64):
            numbers = plain.cast(dtype, strict=False)
            if numbers.null_count() == missing:
                return _normal(numbers.to_numpy(writable=True))
    return texts.set(blank, None).to_numpy(writable=True)


def _of_texts(texts: Sequence[str | None]) -> np.ndarray:
    first = next((text for text in texts if text and text.strip()), "").strip().lower()
    if not first or first in MISSING | _BOOLEANS or is_number(first):
        import polars as pl  # takes longer than the rest, so texts that cannot be numbers skip it

        with contextlib.suppress(UnicodeEncodeError):  # a lone surrogate, which no number has
            return text_column(pl.Series(texts, dtype=pl.String))
    return objects(text if text and text.strip() else None for text in texts)


def _kind(value: type) -> str:
    # bool is a subclass of int, so test for it first
    if issubclass(value, (bool, np.bool_)):
        return "bool"
    if issubclass(value, Number) and not issubclass(value, (complex, np.complexfloating)):
        return "number"
    return "time" if issubclass(value, (datetime.date, np.datetime64)) else "text"


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def is_missing(value: object) -> bool:
    """Return whether a value is None, NaN, or another marker of a missing value.

    >>> is_missing(None), is_missing(float("nan")), is_missing("")
    (True, True, False)
    """
    if isinstance(value, (float, np.floating, np.datetime64, Decimal)):
        return bool(value != value)
    # the markers of pandas and numpy cannot be compared
    return value is None or type(value).__name__ in ("NAType", "NaTType", "MaskedConstant")


def utc_stamps(
    values: Sequence[datetime.datetime | None], where: Callable[[int], str] = row_name
) -> tuple[np.ndarray, str | None]:
    """Return datetimes as datetime64[us] ``[R]``, NaT for None, and the name of their time zone.

    Datetimes with a time zone are converted to UTC. The zone is None if they have none, and "UTC" if they
    have several. `where` names a row in the error for a mixture of dates with and without a time zone.

    >>> utc_stamps([datetime.datetime(2020, 1, 1, 12, tzinfo=datetime.UTC), None])[1]
    'UTC'
    """
    zones = {
        row: getattr(value, "tzinfo", None) for row, value in enumerate(values) if value is not None
    }
    aware = [row for row, zone in zones.items() if zone is not None]
    if not aware:
        return np.array(values, "datetime64[us]"), None
    if len(aware) < len(zones):
        naive = next(row for row, zone in zones.items() if zone is None)
        raise DataError(
            f"dates with a time zone ({where(aware[0])}) and without one ({where(naive)})",
            remedy="give all of them a time zone, or none",
        )
    stamps = [value and value.astimezone(datetime.UTC).replace(tzinfo=None) for value in values]
    names = {str(zone) for zone in zones.values()}
    return np.array(stamps, "datetime64[us]"), "UTC" if len(names) > 1 else names.pop()


def _of_array(values: np.ndarray) -> np.ndarray:
    match values.dtype.kind:
        case "i" | "u":
            # uint64 reaches beyond int64
            exact = not len(values) or values.max() <= np.iinfo(np.int64).max
            return values.astype(np.int64 if exact else np.float64)
        case "f":
            return _normal(values.astype(np.float64))
        case "M":
            return values.astype("datetime64[us]")
    return values.astype(bool)


def column_of(values: Iterable[object]) -> tuple[np.ndarray, str | None]:
    """Return `values` as a column, and the time zone of dates, which are converted to UTC.

    Masked values of a masked array are missing. Raises DataError for a mixture of dates with and without a
    time zone.

    >>> column_of(["1", None, "NA"])[0], column_of([1.0, 2.0])[0]
    (array([ 1., nan, nan]), array([1, 2]))
    """
    if isinstance(values, np.ndarray):
        if values.dtype.kind in "biufM" and not isinstance(values, np.ma.MaskedArray):
            return _of_array(values), None
        values = values.tolist()
    listed: list[Any] = list(values)
    if _TEXTS.issuperset(map(type, listed)):
        return _of_texts(listed), None
    listed = [None if is_missing(value) else value for value in listed]
    kinds = {_kind(kind) for kind in {*map(type, listed)} - {type(None)}}
    if kinds == {"time"}:
        return utc_stamps(listed)
    # a bool array cannot say that a value is missing
    if kinds == {"bool"} and None not in listed:
        return np.array(listed, bool), None
    if len(kinds) < 2 and "text" not in kinds:
        return _of_numbers(listed), None
    return _of_texts([None if value is None else _text(value) for value in listed]), None


def may_be_number(column: np.ndarray) -> bool:
    """Return whether the comma in a column's first text may mark thousands or decimals, as in "1,234"."""
    return bool(
        _AMBIGUOUS.fullmatch(next((text for text in column if text is not None), "").strip())
    )


def numbers_of(column: np.ndarray, what: str, where: Callable[[int], str]) -> np.ndarray:
    """Return `column` as float64 ``[R]``, NaN where missing.

    Raises DataError for the first value that is no number. In the message, `what` is the name of the column
    and `where` gives the name of a row.

    >>> numbers_of(column_of(["NA", "NA"])[0], "y", row_name)
    array([nan, nan])
    """
    if column.dtype.kind in "bif":
        return column.astype(np.float64)
    if column.dtype.kind == "M":
        raise DataError(f"{what} holds dates", expected="numbers")
    values = np.full(len(column), np.nan)
    # a column of texts holds something that is no number, which the error names
    for row, text in enumerate(column):
        plain = "" if text is None else text.strip()
        if plain.lower() in MISSING:
            continue
        if not is_number(plain):
            raise DataError(
                f"{what}, {where(row)}",
                got=repr(text),
                expected="a number",
                remedy=f'pass decimal="." or decimal=",": the comma of {plain} is ambiguous'
                if _AMBIGUOUS.fullmatch(plain)
                else "correct it, or leave it empty if the value is missing",
            )
        values[row] = float(plain)
    return values
