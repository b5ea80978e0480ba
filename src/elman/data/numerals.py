r"""Numbers as people write them: decimal commas, thousands separators, currency and per cent signs.

A column is read so where each of its values allows it, and its table decides what a point and a comma mean:

| written | read as |
|---|---|
| ``1.234,50``, ``1,5`` | 1234.5 and 1.5: only a decimal comma fits |
| ``1,234.50``, ``1,234,567`` | 1234.5 and 1234567: only a decimal point fits |
| ``1,234`` alone | text, because it may be 1234 or 1.234; `decimal` says which |
| ``12.345`` in a table whose other numbers have decimal commas | 12345 |
| ``$12.50``, ``€ 3``, ``12 %`` in all rows | 12.5, 3 and 12 |
| ``1'234.50``, and the same with narrow or no-break spaces | 1234.5 |
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from elman._errors import DataError, OptionError, printable
from elman.data.columns import MISSING, column_of

__all__ = ["is_written_number", "read_written_numbers"]

_GROUPING = "'’\u00a0\u202f"
_UNIT = re.compile(
    r"(?P<sign>[+\-−]?)\s*(?P<before>[$€£¥₹]?)\s*(?P<number>[+\-−]?[\d.,].*?)\s*(?P<after>[%$€£¥₹]?)"
)


def _pattern(mark: str, other: str) -> re.Pattern[str]:
    groups = rf"[1-9]\d{{0,2}}(?P<group>[{_GROUPING}{other}])\d{{3}}(?:(?P=group)\d{{3}})*"
    return re.compile(rf"[+-]?(?:(?:{groups}|0|[1-9]\d*)(?:{mark}\d*)?|{mark}\d+)(?:[eE][+-]?\d+)?")


_FITS = {".": _pattern(r"\.", ","), ",": _pattern(",", ".")}


@dataclass(frozen=True)
class _Written:
    """The values of one column without their unit, "" where missing, and the decimal marks that fit all."""

    texts: tuple[str, ...]
    numbers: tuple[str, ...]
    marks: frozenset[str]

    @classmethod
    def of(cls, texts: Sequence[str | None]) -> _Written | None:
        """Return the column, or None where it is no column of numbers."""
        numbers, units, marks = [], set(), frozenset(_FITS)
        for text in texts:
            plain = "" if text is None else text.strip()
            if plain.lower() in MISSING:
                numbers.append("")
                continue
            found = _UNIT.fullmatch(plain)
            if found is None:
                return None
            number = (found["sign"] + found["number"]).replace("−", "-")
            units.add(found["before"] or found["after"])
            marks = frozenset(mark for mark in marks if _FITS[mark].fullmatch(number))
            if not marks or len(units) > 1:
                return None
            numbers.append(number)
        return cls(tuple(text or "" for text in texts), tuple(numbers), marks) if units else None

    @property
    def alike(self) -> bool:
        """Whether both marks read the same numbers."""
        return not any(mark in number for number in self.numbers for mark in _FITS)

    def read(self, mark: str) -> np.ndarray:
        """Return the numbers, with `mark` before the decimals."""
        other = "".join(_FITS.keys() - {mark}) + _GROUPING
        table = str.maketrans({mark: ".", **dict.fromkeys(other, "")})
        return column_of([number.translate(table) for number in self.numbers])[0]

    def example(self) -> int:
        """Return the row whose value needs an explanation most: the first with a mark, else with a unit."""
        return max(
            range(len(self.numbers)),
            key=lambda row: (
                bool(self.numbers[row]) * sum(map(self.numbers[row].count, _FITS)),
                bool(self.numbers[row]),
            ),
        )


def _held(
    columns: Mapping[str, np.ndarray], texts: Mapping[str, Sequence[str | None]], kinds: str
) -> dict[str, _Written]:
    named = {name: values for name, values in texts.items() if columns[name].dtype.kind in kinds}
    written = {name: _Written.of(values) for name, values in named.items()}
    return {name: one for name, one in written.items() if one is not None}


def is_written_number(text: str) -> bool:
    """Return whether `text` may be a number with its unit, in one way or several.

    >>> is_written_number("1.234,50"), is_written_number("12 %"), is_written_number("a1")
    (True, True, False)
    """
    return _Written.of([text]) is not None


def read_written_numbers(
    columns: Mapping[str, np.ndarray],
    texts: Mapping[str, Sequence[str | None]],
    decimal: str | None = None,
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the columns that are numbers written for people, as numbers, and how they were read.

    Args:
        columns: the table's columns as `column_of` reads them.
        texts: the values of those that came as texts.
        decimal: the mark before decimals, "." or ","; None finds it where only one fits.

    >>> texts = {"y": ["1.234,50", "7"], "n": ["2.500", "3.000"]}
    >>> found, notes = read_written_numbers({k: column_of(v)[0] for k, v in texts.items()}, texts)
    >>> found["y"].tolist(), found["n"].tolist(), notes
    ([1234.5, 7.0], [2500, 3000], ["'y' 1.234,50 is read as 1234.5", "'n' 2.500 is read as 2500"])
    """
    if decimal not in (None, *_FITS):
        raise OptionError("decimal", got=decimal, expected='"." or ","')
    held = _held(columns, texts, "O")
    if decimal == "," or any("," in one.marks for one in held.values()):
        # In such a table the point of a plain number may separate thousands.
        held |= _held(columns, texts, "if")
    sole = {next(iter(one.marks)) for one in held.values() if len(one.marks) == 1}
    table_mark = decimal or (next(iter(sole)) if len(sole) == 1 else None)
    found: dict[str, np.ndarray] = {}
    notes = []
    for name, one in held.items():
        marks = one.marks & {table_mark} if table_mark else one.marks
        if not marks and decimal is not None:
            row = one.example()
            raise DataError(
                f"column '{printable(name, 40)}', row {row + 1}",
                got=one.texts[row],
                expected=f"a number with decimal {decimal!r}",
            )
        mark = next(iter(marks or one.marks))
        clear = len(marks or one.marks) == 1 or one.alike
        if not clear or (columns[name].dtype.kind in "if" and (mark == "." or one.alike)):
            continue
        found[name] = one.read(mark)
        row = one.example()
        value = found[name][row].item()
        notes.append(
            f"'{printable(name, 40)}' {printable(one.texts[row], 24)} is read as {value!r}"
        )
    return found, notes
