"""Parser of CSV and similar text; it detects the delimiter, the header and comments."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Sequence
from typing import Any, Literal

from elman.errors import DataError
from elman.tables.columns import is_number
from elman.tables.dates import looks_like_date
from elman.tables.numerals import is_written_number

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_SAMPLE = 1 << 16
_SAMPLE_ROWS = 50
ROWS_PER_CHUNK = 1 << 12
"""Rows that are kept as lists before they are moved to columns: more lists slow down garbage collection."""
_DECLARED = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
_COMMENT = "#"
_YEARS = range(1000, 3000)
_INDEX_NAMES = ("", "Unnamed: 0")
"""Names of the index of a pandas frame in a CSV file, written once and written again."""


def _reader(text: str, delimiter: str, **options: Any) -> Any:
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, **options)


def _delimiter(text: str, tabs: bool) -> str:
    """Return the delimiter by which all rows of a sample have the same number of fields, and the most."""
    sample = text[:_SAMPLE]
    if tabs and "\t" in sample.split("\n", 1)[0]:
        return "\t"
    best, choice = (False, False, 1), ","
    for delimiter in _DELIMITERS:
        rows = itertools.islice(_reader(sample, delimiter), _SAMPLE_ROWS)
        widths = [len(row) for row in rows if row and not row[0].startswith(_COMMENT)]
        if len(text) > _SAMPLE and 1 < len(widths) < _SAMPLE_ROWS:
            widths.pop()  # the end of the sample cuts the last row
        rank = (widths[0] > 1, len(set(widths)) == 1, widths[0]) if widths else best
        if rank > best:
            best, choice = rank, delimiter
    return choice


def _start(text: str) -> tuple[int, int, str, list[str]]:
    """Return offset and line index of the first row, a declared delimiter, and the comments before it."""
    at = lines = 0
    delimiter, comments = "", []
    while at < len(text):
        end = text.find("\n", at) + 1 or len(text)
        line = text[at:end].strip()
        if declared := _DECLARED.fullmatch(line):
            delimiter = declared[1]
        elif line.startswith(_COMMENT):
            comments.append(line)
        elif line:
            break
        at, lines = end, lines + 1
    return at, lines, delimiter, comments


def _is_header(comment: str, text: str, delimiter: str) -> bool:
    """Return whether a comment (``# date,value``) names the columns of the data below it."""
    header, row = next(_reader(comment, delimiter)), next(_reader(text, delimiter))
    named = len(header) == len(row) and not any(map(_kind_of_datum, header))
    alone = len(header) > 1 or not comment.startswith(f"{_COMMENT} ")
    return named and alone and any(map(_kind_of_datum, row))


def _split(text: str, delimiter: str) -> tuple[list[str], list[list[str]]] | None:
    """Return the first row and the columns below it; None if there are quotes or rows of unequal length.

    This is the fast path for most files.
    """
    if '"' in text:
        return None
    lines = text.split("\n")
    width = lines[0].count(delimiter) + 1
    if width > 1:
        lines = list(filter(None, lines))
    else:
        lines.pop() if not lines[-1] else None
    if any(line.count(delimiter) + 1 != width for line in lines):
        return None
    fields = delimiter.join(lines).split(delimiter)
    return fields[:width], [fields[width + place :: width] for place in range(width)]


def _columns(
    text: str, name: str, delimiter: str, quoting: Literal[0, 3], line: int, notes: list[str]
) -> tuple[list[str], list[list[str]]]:
    """Return the first row and the columns below it, read by the csv module.

    Args:
        text: The text from its first row on.
        name: The name of the file, for messages.
        delimiter: The delimiter.
        quoting: A constant of the csv module: QUOTE_MINIMAL or QUOTE_NONE.
        line: Number of lines of the file before the text.
        notes: A list to which notes are added.
    """
    spaced = f'{delimiter} "' in text.split("\n", 1)[0]
    reader = _reader(text, delimiter, strict=True, quoting=quoting, skipinitialspace=spaced)
    begin, rows = 1, []
    try:
        first = next(reader)
        columns: list[list[str]] = [[] for _ in first]
        begin = reader.line_num + 1
        for row in reader:
            if len(row) > len(first) and not any(row[len(first) :]):
                del row[len(first) :]
            if len(row) == len(first):
                rows.append(row)
            elif len(row) == 1 and row[0].startswith(_COMMENT):
                notes.append(f"{name}, line {line + begin}: begins with # and is left out")
            elif row:
                raise DataError(
                    f"{name}, line {line + begin}",
                    got=f"{len(row)} fields",
                    expected=f"{len(first)}, as in its first line",
                    remedy='put quotes around a field that contains the delimiter: "a, b"',
                )
            elif (
                not row and len(first) == 1
            ):  # in a single column, an empty line is a missing value
                rows.append([""])
            begin = reader.line_num + 1
            if len(rows) == ROWS_PER_CHUNK:
                _add(columns, rows)
    except csv.Error as error:
        raise DataError(f"{name}, line {line + begin}: a quote is not closed", got=error) from None
    _add(columns, rows)
    return first, columns


def _add(columns: list[list[str]], rows: list[list[str]]) -> None:
    for column, values in zip(columns, zip(*rows, strict=True), strict=bool(rows)):
        column.extend(values)
    rows.clear()


def _kind_of_datum(text: str) -> str:
    """Return "number", "date", or "" for a text that may be a name."""
    if is_number(text) or is_written_number(text):
        return "number"
    return "date" if looks_like_date(text) else ""


def _has_header(first: Sequence[str], columns: Sequence[Sequence[str]]) -> bool:
    """Return whether the first row names the columns.

    It does not if it holds only numbers. Nor does it if its fields are of the same kinds as those below and
    one of them is hardly a name: a date, a number with decimals, or a number that occurs again in its column
    or is followed by the next number.
    """
    if list(first) == [str(place) for place in range(len(first))] and len(first) > 1:
        return True  # pandas writes these names for a frame without names
    kinds = [_kind_of_datum(text) for text in first]
    if all(kind == "number" for kind in kinds):
        return False
    if not all(text.strip() for text in first) or not all(columns):
        return True
    below = [_kind_of_datum(next(filter(None, column), "")) for column in columns]
    return kinds != below or not any(
        kind == "date"
        or (
            kind == "number"
            and (not text.isdigit() or text in column or column[0] == str(int(text) + 1))
        )
        for kind, text, column in zip(kinds, first, columns, strict=True)
    )


def _counts_rows(column: Sequence[str]) -> bool:
    """Return whether a column only numbers the rows; it may start again at 0 where frames were joined.

    Numbers that may be years do not count.
    """
    if not all(text.isdigit() for text in column):
        return False
    numbers = [*map(int, column)]
    if numbers[0] in _YEARS or (len(numbers) == 1 and numbers != [0]):
        return False
    return all(after in (0, before + 1) for before, after in itertools.pairwise(numbers))


def _tidy(
    header: list[str], columns: list[list[str]], name: str, notes: list[str]
) -> tuple[list[str], list[list[str]]]:
    """Return the columns without empty ones, without a pandas index, and without empty rows at the end."""
    if len(columns) > 1:
        rows = len(columns[0])
        while rows and not any(column[rows - 1] for column in columns):
            rows -= 1
        for column in columns:
            del column[rows:]
        kept = [k for k, title in enumerate(header) if title.strip() or any(columns[k])]
        kept = kept or [*range(len(header))]
        index = header[0].strip() in _INDEX_NAMES and 0 in kept and len(kept) > 1
        if index and columns[0] and _counts_rows(columns[0]):
            notes.append(f"{name}: its first column only numbers the rows and is left out")
            kept.remove(0)
        header, columns = [header[k] for k in kept], [columns[k] for k in kept]
    return header, columns


def parse_delimited(
    text: str, name: str, *, tabs: bool = False, header: bool | None = None
) -> tuple[list[str], list[list[str]], list[str]]:
    r"""Return the header, the columns, and notes on how the text was read.

    Lines that begin with ``#`` and do not have the table's fields are comments. Empty rows at the end,
    columns without a name and values, and a nameless first column that numbers the rows are left out.

    Args:
        text: The content of the file, with ``"\n"`` as line end.
        name: The name of the file, for messages.
        tabs: Whether the name ends in .tsv.
        header: Whether the first row names the columns (default: detected). Without a header they are called
            "0", "1", ...

    Raises:
        DataError: Rows are of unequal length, or a quote is not closed; the message names file and line.

    >>> parse_delimited("a;b\n1,5;2\n", "x.csv")
    (['a', 'b'], [['1,5'], ['2']], ['x.csv: fields are separated by semicolons'])
    """
    at, line, declared, comments = _start(text)
    body = text[at:]
    delimiter = declared or _delimiter(body, tabs)
    notes = []
    if delimiter != ",":
        separated = _DELIMITERS.get(delimiter, repr(delimiter))
        notes.append(f"{name}: fields are separated by {separated}")
    if comments and body and _is_header(comments[-1], body, delimiter):
        body = f"{comments.pop().removeprefix('# ')}\n{body}"
        line -= 1
    if comments:
        notes.append(f"{name}: lines that begin with # are comments")
    limit = csv.field_size_limit(max(len(body), 1))
    try:
        first, columns = _split(body, delimiter) or _columns(
            body, name, delimiter, csv.QUOTE_MINIMAL, line, notes
        )
    except DataError:
        # in tab-separated text a quote is usually an ordinary character
        if delimiter != "\t":
            raise
        first, columns = _columns(body, name, delimiter, csv.QUOTE_NONE, line, notes)
        notes.append(f"{name}: quotes are read as ordinary characters, because some are not closed")
    finally:
        csv.field_size_limit(limit)
    if body.endswith("\n\n") and len(first) == 1:
        while columns[0] and not columns[0][-1]:
            columns[0].pop()
    if _has_header(first, columns) if header is None else header:
        return *_tidy(first, columns, name, notes), notes
    for column, value in zip(columns, first, strict=True):
        column.insert(0, value)
    names = [str(place) for place in range(len(first))]
    if header is None:
        called = "0" if len(names) == 1 else f"0 to {len(names) - 1}"
        notes.append(
            f"{name}: its first row is data, so it has no header; its columns are called {called}"
        )
    return *_tidy(names, columns, name, notes), notes
