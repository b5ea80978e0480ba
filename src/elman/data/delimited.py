"""Delimited text: CSV and its kin to rows of fields; the delimiter and the header are found out."""

from __future__ import annotations

import csv
import io
import itertools
from typing import Any, Literal

from elman._errors import DataError
from elman.data.columns import is_number

__all__ = ["parse_delimited"]

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_SAMPLE = 1 << 16
_SAMPLE_ROWS = 50
_CHUNK = 1 << 12  # rows that are lists, before they are columns: many slow the collector down


def _reader(text: str, delimiter: str, **options: Any) -> Any:
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, **options)


def _delimiter(text: str, tabs: bool) -> str:
    """Return the delimiter that makes rows of one length, the longest."""
    sample = text[:_SAMPLE]
    if tabs and "\t" in sample.split("\n", 1)[0]:
        return "\t"
    best, choice = (False, False, 1), ","
    for delimiter in _DELIMITERS:
        rows = itertools.islice(_reader(sample, delimiter), _SAMPLE_ROWS)
        widths = [len(row) for row in rows if row]
        if len(text) > _SAMPLE and 1 < len(widths) < _SAMPLE_ROWS:
            widths.pop()  # cut off
        rank = (widths[0] > 1, len(set(widths)) == 1, widths[0])
        if rank > best:
            best, choice = rank, delimiter
    return choice


def _columns(
    text: str, name: str, delimiter: str, quoting: Literal[0, 3]
) -> tuple[list[str], list[list[str]]]:
    """Return the first row, and the columns of those behind it."""
    spaced = f'{delimiter} "' in text.split("\n", 1)[0]
    reader = _reader(text, delimiter, strict=True, quoting=quoting, skipinitialspace=spaced)
    begin, rows = 1, []
    try:
        first = next(reader)
        columns: list[list[str]] = [[] for _ in first]
        begin = reader.line_num + 1
        for row in reader:
            if len(row) == len(first):
                rows.append(row)
            elif row:
                raise DataError(
                    f"{name}, line {begin}",
                    got=f"{len(row)} fields",
                    expected=f"{len(first)}, as in its first line",
                    remedy='put a field that holds the delimiter between quotes: "a, b"',
                )
            elif len(first) == 1:  # a missing value where there is one column, and else no row
                rows.append([""])
            begin = reader.line_num + 1
            if len(rows) == _CHUNK:
                _add(columns, rows)
    except csv.Error as error:
        raise DataError(f"{name}, line {begin}: a quote is not closed", got=error) from None
    _add(columns, rows)
    if text.endswith("\n\n") and len(first) == 1:
        while columns[0] and not columns[0][-1]:
            columns[0].pop()
    return first, columns


def _add(columns: list[list[str]], rows: list[list[str]]) -> None:
    for column, values in zip(columns, zip(*rows, strict=True), strict=bool(rows)):
        column.extend(values)
    rows.clear()


def parse_delimited(
    text: str, name: str, *, tabs: bool = False
) -> tuple[list[str], list[list[str]], list[str]]:
    r"""Return the header, the columns, and notes on what was found out.

    A first row of nothing but numbers is data: then the header is 0, 1, ... `name` is the file's,
    for messages; `tabs` that it ends in .tsv. Raises DataError for rows of unequal length and for
    quotes that are not closed, with file and line.

    >>> parse_delimited("a;b\n1,5;2\n", "x.csv")
    (['a', 'b'], [['1,5'], ['2']], ['x.csv: fields are separated by semicolons'])
    """
    text = text.strip("\n") + text[len(text.rstrip("\n")) :]
    delimiter = _delimiter(text, tabs)
    notes = []
    if delimiter != ",":
        notes.append(f"{name}: fields are separated by {_DELIMITERS[delimiter]}")
    limit = csv.field_size_limit(max(len(text), 1))
    try:
        first, columns = _columns(text, name, delimiter, csv.QUOTE_MINIMAL)
    except DataError:
        # between tabs a quote is mostly a letter like another
        if delimiter != "\t":
            raise
        first, columns = _columns(text, name, delimiter, csv.QUOTE_NONE)
        notes.append(f"{name}: quotes are read as letters, for some are not closed")
    finally:
        csv.field_size_limit(limit)
    if not all(map(is_number, first)):
        return first, columns, notes
    notes.append(f"{name}: its first row is numbers, so it has no header")
    for column, value in zip(columns, first, strict=True):
        column.insert(0, value)
    return [str(place) for place in range(len(first))], columns, notes
