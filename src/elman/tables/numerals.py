r"""Parser of numbers as people write them: decimal commas, thousands separators, currency and per cent signs.

A column is read this way if all its values allow it. The whole table decides whether a point or a comma is
the decimal mark:

| text | number |
|---|---|
| ``1.234,50``, ``1,5`` | 1234.5 and 1.5: only a decimal comma fits |
| ``1,234.50``, ``1,234,567`` | 1234.5 and 1234567: only a decimal point fits |
| ``1,234`` alone | none, because it may be 1234 or 1.234; the option `decimal` decides |
| ``12.345`` in a table whose other numbers have decimal commas | 12345 |
| ``$12.50``, ``€ 3``, ``12 %`` in all rows | 12.5, 3 and 12 |
| ``1'234.50``, and the same with narrow or no-break spaces | 1234.5 |
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from elman.errors import DataError, OptionError, printable
from elman.tables.columns import MISSING, column_of, quoted

# apostrophes, a no-break space and a narrow one
_GROUPING = "'’\u00a0\u202f"
_UNIT = re.compile(
    r"(?P<sign>[+\-−]?)\s*(?P<before>[$€£¥₹]?)\s*"
    rf"(?P<number>[+\-−]?[\d.,{_GROUPING}]+(?:[eE][+-]?\d+)?)\s*(?P<after>[%$€£¥₹]?)"
)


def _pattern(mark: str, other: str) -> re.Pattern[str]:
    groups = rf"[1-9]\d{{0,2}}(?P<group>[{_GROUPING}{other}])\d{{3}}(?:(?P=group)\d{{3}})*"
    return re.compile(rf"[+-]?(?:(?:{groups}|0|[1-9]\d*)(?:{mark}\d*)?|{mark}\d+)(?:[eE][+-]?\d+)?")


_FITS = {".": _pattern(r"\.", ","), ",": _pattern(",", ".")}
_PLAIN = {
    mark: str.maketrans({mark: "."} | dict.fromkeys(_GROUPING + other))
    for mark, other in ((".", ","), (",", "."))
}


def _without_unit(texts: Sequence[str | None]) -> tuple[list[str], set[str]]:
    """Return the numbers of a column, "" where missing, and the decimal marks that fit all of them."""
    numbers, units = [], set()
    for text in texts:
        plain = (text or "").strip()
        match = None if plain.lower() in MISSING else _UNIT.fullmatch(plain)
        if match is not None:
            units.add(match["before"] or match["after"])
        elif plain.lower() not in MISSING:
            return [], set()
        numbers.append((match["sign"] + match["number"]).replace("−", "-") if match else "")
    # both marks fit numbers such as 1,234 and 12, which have no other mark
    held = list(filter(None, numbers))
    marks = {mark for mark, form in _FITS.items() if all(map(form.fullmatch, held))}
    return numbers, marks if len(units) == 1 else set()


def is_written_number(text: str) -> bool:
    """Return whether `text` can be read as a number, with or without a unit.

    >>> is_written_number("1.234,50"), is_written_number("12 %"), is_written_number("a1")
    (True, True, False)
    """
    return bool(_without_unit([text])[1])


def read_written_numbers(
    columns: Mapping[str, np.ndarray],
    texts: Mapping[str, Sequence[str | None]],
    decimal: str | None = None,
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the columns that hold numbers as people write them, and notes on how they were read.

    Args:
        columns: The table's columns, as `column_of` returns them.
        texts: The values of the columns that came as texts.
        decimal: The decimal mark, "." or "," (default: the one that fits, if only one does).

    Raises:
        OptionError: `decimal` is neither of both.
        DataError: A column does not fit `decimal`.

    >>> texts = {"y": ["1.234,50", "7"], "n": ["2.500", "3.000"]}
    >>> columns, notes = read_written_numbers({k: column_of(v)[0] for k, v in texts.items()}, texts)
    >>> columns["y"].tolist(), columns["n"].tolist(), notes
    ([1234.5, 7.0], [2500, 3000], ["'y' 1.234,50 is read as 1234.5", "'n' 2.500 is read as 2500"])
    """
    if decimal not in (None, *_FITS):
        raise OptionError("decimal", got=decimal, expected='"." or ","')
    kinds = {name: columns[name].dtype.kind for name in texts}
    written = {name: _without_unit(texts[name]) for name in texts if kinds[name] == "O"}
    if decimal == "," or any("," in marks for _, marks in written.values()):
        # in such a table, the point of a plain number may separate thousands
        written |= {name: _without_unit(texts[name]) for name in texts if kinds[name] in "if"}
    # columns that only one mark fits decide for the others
    sole = {mark for _, marks in written.values() if len(marks) == 1 for mark in marks}
    of_table = decimal or (next(iter(sole)) if len(sole) == 1 else "")
    numeric: dict[str, np.ndarray] = {}
    notes = []
    for name, (numbers, marks) in written.items():
        # the note quotes the value with the most marks, which shows best how the column was read
        counts = [sum(map(number.count, _FITS)) + bool(number) for number in numbers]
        row = counts.index(max(counts)) if counts else 0
        if decimal and marks and decimal not in marks:
            got, expected = texts[name][row], f"a number with decimal {decimal!r}"
            raise DataError(f"column {name!r}, row {row + 1}", got=got, expected=expected)
        mark = of_table if of_table in marks else "".join(marks)[:1]
        # numbers without a point or comma are the same numbers in both readings
        same = bool(counts) and counts[row] == 1
        clear = mark == of_table or len(marks) == 1 or same
        if marks and clear and (kinds[name] == "O" or (mark == "," and not same)):
            numeric[name] = column_of([number.translate(_PLAIN[mark]) for number in numbers])[0]
            text, value = printable(texts[name][row], 24), numeric[name][row].item()
            notes.append(f"{quoted(name)} {text} is read as {value!r}")
    return numeric, notes
