"""Parser of CSV and similar text; it detects the delimiter, the header and comments."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from elman.errors import DataError
from elman.tables.columns import is_number
from elman.tables.dates import looks_like_date
from elman.tables.numerals import is_written_number

if TYPE_CHECKING:
    import polars as pl

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_SAMPLE = 1 << 16
_SAMPLE_ROWS = 50
_DECLARED = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
_COMMENT = "#"
_YEARS = range(1000, 3000)
_INDEX_NAMES = ("", "Unnamed: 0")
"""Names of the index of a pandas frame in a CSV file, written once and written again."""


def _rows(text: str, delimiter: str) -> Iterator[list[str]]:
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)


def _delimiter(text: str, tabs: bool) -> str:
    """Return the delimiter by which all rows of a sample have the same number of fields, and the most."""
    sample = text[:_SAMPLE]
    if tabs and "\t" in sample.split("\n", 1)[0]:
        return "\t"
    best, choice = (False, False, 1), ","
    for delimiter in _DELIMITERS:
        rows = itertools.islice(_rows(sample, delimiter), _SAMPLE_ROWS)
        widths = [len(row) for row in rows if row and not row[0].startswith(_COMMENT)]
        if len(text) > _SAMPLE and 1 < len(widths) < _SAMPLE_ROWS:
            widths.pop()  # the end of the sample cuts the last row
        rank = (widths[0] > 1, len(set(widths)) == 1, widths[0]) if widths else best
        if rank > best:
            best, choice = rank, delimiter
    return choice


def _start(text: str) -> tuple[int, str, list[str]]:
    """Return the offset of the first row, a declared delimiter, and the comments before the first row."""
    offset = 0
    delimiter, comments = "", []
    for line in io.StringIO(text):
        stripped = line.strip()
        if declared := _DECLARED.fullmatch(stripped):
            delimiter = declared[1]
        elif stripped.startswith(_COMMENT):
            comments.append(stripped)
        elif stripped:
            break
        offset += len(line)
    return offset, delimiter, comments


def _is_header(comment: str, text: str, delimiter: str) -> bool:
    """Return whether a comment (``# date,value``) names the columns of the data below it."""
    header, row = next(_rows(comment, delimiter)), next(_rows(text, delimiter))
    named = len(header) == len(row) and not any(map(_kind_of_datum, header))
    alone = len(header) > 1 or not comment.startswith(f"{_COMMENT} ")
    return named and alone and any(map(_kind_of_datum, row))


def _split(text: str, delimiter: str) -> pl.DataFrame | None:
    """Return the fields of all rows; None if there are quotes or rows of unequal length.

    polars splits faster than the csv module, but it fills up short rows and reads some quotes that are not
    closed, both in silence. So it gets only texts without either.
    """
    import polars as pl

    # counting is needed because polars tells nothing of rows of unequal length
    lines = text.split("\n")
    width = lines[0].count(delimiter) + 1
    if width > 1:
        lines = list(filter(None, lines))
    unequal = {line.count(delimiter) + 1 for line in lines} != {width}
    if unequal or '"' in text or not delimiter.isascii():
        return None
    data = "\n".join(lines).encode("utf-8", "replace")
    return pl.read_csv(
        data, has_header=False, separator=delimiter, quote_char=None, infer_schema=False
    ).fill_null("")


def _read_strictly(
    text: str, name: str, delimiter: str, quoting: Literal[0, 3], line: int, notes: list[str]
) -> pl.DataFrame:
    """Return the fields of all rows, read by the csv module, which knows the line of every fault.

    Args:
        text: The text from its first row on; lone surrogates become question marks.
        name: The name of the file, for messages.
        delimiter: The delimiter.
        quoting: A constant of the csv module: QUOTE_MINIMAL or QUOTE_NONE.
        line: Number of lines of the file before the text.
        notes: A list to which notes are added.
    """
    import polars as pl

    text = text.encode("utf-8", "replace").decode()
    # a space before a quote would make the quote an ordinary character
    spaced = f'{delimiter} "' in text.split("\n", 1)[0]
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        strict=True,
        quoting=quoting,
        skipinitialspace=spaced,
    )
    rows: list[list[str]] = []
    begin = line + 1
    try:
        for row in reader:
            width = len(rows[0]) if rows else len(row)
            # programs write empty fields at the end of some rows
            if not any(row[width:]):
                del row[width:]
            if len(row) == width:
                rows.append(row)
            elif not row and width == 1:  # in a single column, an empty line is a missing value
                rows.append([""])
            elif len(row) == 1 and row[0].startswith(_COMMENT):
                notes.append(f"{name}, line {begin}: begins with # and is left out")
            elif row:
                got, expected = f"{len(row)} fields", f"{width}, as in its first line"
                remedy = 'put quotes around a field that contains the delimiter: "a, b"'
                raise DataError(f"{name}, line {begin}", got=got, expected=expected, remedy=remedy)
            begin = line + reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{name}, line {begin}: a quote is not closed", got=error) from None
    return pl.DataFrame(rows, _numbered(len(rows[0])), orient="row")


def _read_quoted(text: str, name: str, delimiter: str, line: int, notes: list[str]) -> pl.DataFrame:
    """Return what `_read_strictly` does; in tab-separated text a quote may be an ordinary character."""
    # the csv module has one limit of a field's length for the whole process
    limit = csv.field_size_limit(len(text))
    try:
        return _read_strictly(text, name, delimiter, csv.QUOTE_MINIMAL, line, notes)
    except DataError:
        if delimiter != "\t":
            raise
        frame = _read_strictly(text, name, delimiter, csv.QUOTE_NONE, line, notes)
        notes.append(f"{name}: quotes are read as ordinary characters, because some are not closed")
        return frame
    finally:
        csv.field_size_limit(limit)


def _kind_of_datum(text: str) -> str:
    """Return "number", "date", or "" for a text that may be a name."""
    if is_number(text) or is_written_number(text):
        return "number"
    return "date" if looks_like_date(text) else ""


def _has_header(first: Sequence[str], below: pl.DataFrame) -> bool:
    """Return whether the first row names the columns.

    It does not if it holds only numbers. Nor does it if its fields are of the same kinds as those below and
    one of them is hardly a name: a date, a number with decimals, or a number that occurs again in its column
    or is followed by the next number.
    """
    if len(first) > 1 and list(first) == _numbered(len(first)):
        return True  # pandas writes these names for a frame without names
    kinds = [_kind_of_datum(text) for text in first]
    if all(kind == "number" for kind in kinds):
        return False
    if not all(text.strip() for text in first) or below.is_empty():
        return True
    if kinds != [_kind_of_datum(next(filter(None, column), "")) for column in below]:
        return True
    return not any(
        kind == "date"
        or (
            kind == "number"
            and (not text.isdigit() or text in column or column[0] == str(int(text) + 1))
        )
        for kind, text, column in zip(kinds, first, below, strict=True)
    )


def _numbered(count: int) -> list[str]:
    """Return the names of columns without names."""
    return [str(place) for place in range(count)]


def _without_empty_end(rows: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    filled = rows.select(pl.any_horizontal(pl.all() != "")).to_series().arg_true()
    return rows.head(filled[-1] + 1 if len(filled) else 0)


def _is_index(title: str, column: pl.Series) -> bool:
    """Return whether a column only numbers the rows; it may start again at 0 where frames were joined.

    Numbers that may be years do not count.
    """
    texts = column.to_list()
    if title.strip() not in _INDEX_NAMES or not texts or not all(map(str.isdigit, texts)):
        return False
    numbers = [*map(int, texts)]
    if numbers[0] in _YEARS or (len(numbers) == 1 and numbers != [0]):
        return False
    return all(after in (0, before + 1) for before, after in itertools.pairwise(numbers))


def _read_rows(text: str, name: str, tabs: bool) -> tuple[pl.DataFrame, str, list[str]]:
    """Return the fields of all rows, the text from its first row on, and notes on how it was read."""
    offset, declared, comments = _start(text)
    line = text.count("\n", 0, offset)
    text = text[offset:]
    if not text:
        raise DataError(f"{name} is empty")
    delimiter = declared or _delimiter(text, tabs)
    notes = []
    if delimiter != ",":
        separated = _DELIMITERS.get(delimiter, repr(delimiter))
        notes.append(f"{name}: fields are separated by {separated}")
    if comments and _is_header(comments[-1], text, delimiter):
        text = f"{comments.pop().removeprefix('# ')}\n{text}"
        line -= 1
    if comments:
        notes.append(f"{name}: lines that begin with # are comments")
    frame = _split(text, delimiter)
    if frame is None:
        frame = _read_quoted(text, name, delimiter, line, notes)
    return frame, text, notes


def parse_delimited(
    text: str, name: str, *, tabs: bool = False, header: bool | None = None
) -> tuple[list[tuple[str, pl.Series]], list[str]]:
    r"""Return pairs of name and texts of the columns, and notes on how the text was read.

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

    >>> columns, notes = parse_delimited("a;b\n1,5;2\n", "x.csv")
    >>> [(title, texts.to_list()) for title, texts in columns], notes
    ([('a', ['1,5']), ('b', ['2'])], ['x.csv: fields are separated by semicolons'])
    """
    frame, text, notes = _read_rows(text, name, tabs)
    titles, rows = list(frame.row(0)), frame[1:]
    if not (_has_header(titles, rows) if header is None else header):
        titles, rows = _numbered(len(titles)), frame
        if header is None:
            called = "0" if len(titles) == 1 else f"0 to {titles[-1]}"
            notes.append(
                f"{name}: its first row is data, so it has no header; its columns are called {called}"
            )
    # in a single column, an empty last row may be a missing value: a file ends with it in quotes
    if len(titles) > 1 or text.endswith("\n\n"):
        rows = _without_empty_end(rows)
    # spreadsheets write empty columns beside the table
    columns = [*zip(titles, rows, strict=True)]
    columns = [pair for pair in columns if pair[0].strip() or (pair[1] != "").any()] or columns
    if len(columns) > 1 and _is_index(*columns[0]):
        notes.append(f"{name}: its first column only numbers the rows and is left out")
        del columns[0]
    return columns, notes
