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

import datetime
import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from numbers import Integral, Number
from typing import Any

import numpy as np

from elman.errors import DataError, printable

MISSING = frozenset(("", "na", "n/a", "#n/a", "<na>", "nan", "nat", "null", "none", "-", ".", "?"))
_TEXTS = frozenset((str, type(None)))
_BOOLEANS = {"true", "false"}
# float() accepts these texts, but people do not mean numbers by them
_NO_NUMBER = re.compile(r"_|^[+-]?0\d|[^\x00-\x7f]", re.MULTILINE)
_NOT_PLAIN = re.compile(r"[^0-9+\-.eE\n]")
_LEADING_ZERO = re.compile(r"\n[+-]?0\d")
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
    column = np.empty(len(listed), object)
    column[:] = listed
    return column


def _normal(values: np.ndarray) -> np.ndarray:
    """Return float64 `values` as int64 if all of them are whole numbers that float64 holds exactly."""
    whole = (np.abs(values) <= MAX_EXACT_FLOAT) & (values == np.trunc(values))
    if len(values) and (whole & ~(np.signbit(values) & (values == 0))).all():
        return values.astype(np.int64)
    return values


def _spread(values: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Return a column with `values` where `present` is set, and NaN elsewhere."""
    if present.all():
        return values if values.dtype.kind in "bi" else _normal(values)
    column = np.full(len(present), np.nan)
    column[present] = values
    return column


def _float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return float(str(value))  # infinity, as for the same digits in a file


def _of_numbers(values: Sequence[Any]) -> np.ndarray:
    if all(isinstance(value, Integral) for value in values):
        try:
            return np.array(list(map(int, values)), np.int64)
        except OverflowError:
            pass
    return np.array(list(map(_float, values)), np.float64)


def _parsed(texts: Sequence[str]) -> np.ndarray | None:
    """Return texts as int64 or float64; None if one of them is no number."""
    for kind, dtype in ((int, np.int64), (float, np.float64)):
        try:
            return _normal(np.array([*map(kind, texts)], dtype))
        except (ValueError, OverflowError):
            continue
    return None


def _of_plain_numbers(texts: Sequence[str | None]) -> np.ndarray | None:
    """Return texts as numbers if all are plain numbers, else None: a fast path for most large columns."""
    plain = [text for text in texts if text is not None]
    if not plain or len(plain) < len(texts) or not is_number(plain[0]):
        return None
    joined = "\n".join(plain)
    if _NOT_PLAIN.search(joined) or _LEADING_ZERO.search("\n" + joined):
        return None
    return _parsed(plain)


def _of_texts(texts: Sequence[str | None]) -> np.ndarray:
    if (numbers := _of_plain_numbers(texts)) is not None:
        return numbers
    first = (texts[0] or "").strip().lower() if texts else ""
    if first not in MISSING | _BOOLEANS and not is_number(first):
        return objects(text if text and text.strip() else None for text in texts)
    plain = ["" if text is None else text.strip().lower() for text in texts]
    present = np.array([text not in MISSING for text in plain], bool)
    held = list(itertools.compress(plain, present))
    if not any(plain):
        return np.full(len(texts), np.nan)
    if held and _BOOLEANS.issuperset(held):
        return _spread(np.array([text == "true" for text in held]), present)
    # in most columns of texts the first value is no number, which saves looking at the others
    if held and is_number(held[0]) and not _NO_NUMBER.search("\n".join(held)):
        numbers = _parsed(held)
        if numbers is not None:
            return _spread(numbers, present)
    return objects(text if key else None for text, key in zip(texts, plain, strict=True))


def _kind(value: type) -> str:
    if issubclass(value, (bool, np.bool_)):
        return "bool"
    if issubclass(value, Number) and not issubclass(value, (complex, np.complexfloating)):
        return "number"
    return "time" if issubclass(value, (datetime.date, np.datetime64)) else "text"


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def is_missing(value: Any) -> bool:
    """Return whether a value is None, NaN, or another marker of a missing value.

    >>> is_missing(None), is_missing(float("nan")), is_missing("")
    (True, True, False)
    """
    if isinstance(value, (float, np.floating, np.datetime64, Decimal)):
        return bool(value != value)
    # the markers of pandas and numpy cannot be compared
    return value is None or type(value).__name__ in ("NAType", "NaTType", "MaskedConstant")


def utc_stamps(
    values: Sequence[Any], where: Callable[[int], str] = row_name
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


def _of_array(values: np.ndarray) -> np.ndarray | None:
    match values.dtype.kind:
        case "b":
            return values.astype(bool)
        case "i" | "u":
            exact = not len(values) or values.max() <= np.iinfo(np.int64).max
            return values.astype(np.int64 if exact else np.float64)
        case "f":
            return _normal(values.astype(np.float64))
        case "M":
            return values.astype("datetime64[us]")
    return None


def column_of(values: np.ndarray | Iterable[Any]) -> tuple[np.ndarray, str | None]:
    """Return `values` as a column, and the time zone of dates, which are converted to UTC.

    Masked values of a masked array are missing. Raises DataError for a mixture of dates with and without a
    time zone.

    >>> column_of(["1", None, "NA"])[0], column_of([1.0, 2.0])[0]
    (array([ 1., nan, nan]), array([1, 2]))
    """
    if isinstance(values, np.ndarray) and not isinstance(values, np.ma.MaskedArray):
        column = _of_array(values)
        if column is not None:
            return column, None
    values = values.tolist() if isinstance(values, np.ndarray) else list(values)
    if _TEXTS.issuperset(map(type, values)):
        return _of_texts(values), None
    values = [None if is_missing(value) else value for value in values]
    held = [value for value in values if value is not None]
    kinds = {_kind(kind) for kind in set(map(type, held))}
    if kinds == {"time"}:
        return utc_stamps(values)
    if kinds <= {"bool"} or kinds == {"number"}:
        present = np.array([value is not None for value in values], bool)
        array = _of_numbers(held) if kinds == {"number"} else np.array(held, bool)
        return _spread(array, present), None
    return _of_texts([None if value is None else _text(value) for value in values]), None


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
