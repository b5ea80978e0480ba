"""Labelled sequences in tables and tag files: what a person has, as sequences and what is said of each.

| a table | its sequences |
|---|---|
| a column of texts | one a row; an empty cell is an empty text |
| an id column | one an id: its rows in the order of the time column, else of the table |
| neither | one a row: its numbers, a channel whose steps are the columns from left to right |

A row of an id is its numbers or its text: a token where steps are tagged, else part of the whole text.

A label is text without the white space at its ends, a whole number, or true or false. One that is missing
is an error; within an id it may stand in one row alone, but two of them must be the same.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np

from elman.errors import DataError, OptionError, printable, warn
from elman.labels.conll import read_tags
from elman.labels.uea import read_ts
from elman.tables.columns import is_missing, row_name
from elman.tables.dates import parse_times
from elman.tables.reader import Table, read_table
from elman.text.encodings import STDIN
from elman.text.lines import pair_of, read_labelled_lines, read_paired_lines

__all__ = ["TABLES", "is_table", "read_sequences", "read_tags"]

TABLES = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson", ".json", ".ts")
"""How the names of files end that are no plain text."""

_FORMS = (".ts", ".ts.gz")

Examples: TypeAlias = tuple[list[Any], list[Any] | None]


def is_table(name: str) -> bool:
    """Return whether a file's name is that of a table, compressed or not.

    >>> is_table("sales.CSV.gz"), is_table("notes.txt")
    (True, False)
    """
    return name.lower().removesuffix(".gz").endswith(TABLES)


def read_sequences(
    source: Any,
    *,
    task: str = "classify",
    text: str | None = None,
    label: str | None = None,
    id_column: str | None = None,
    time_column: str | None = None,
    columns: str | Sequence[str] | None = None,
    labelled: bool = True,
    encoding: str | None = None,
    decimal: str | None = None,
    header: bool | None = None,
) -> Examples:
    """Return sequences and what is said of each, ready for an estimator's `fit`; None where nothing is.

    Args:
        source: a `.ts` file; a table or data frame, with a row for each sequence or, with `id_column`, for
            each step; for "tag" also a tag file, whose name is none of a table; two files
            ``"texts.txt,labels.txt"`` of a text and of a label a line; a file of lines
            ``LABEL TEXT``. "-" is standard input.
        task: "classify", "regress" or "tag": one label, one number, or a tag for each step.
        text: a table's column of texts or tokens; a tag file's column, by its number from 1.
        label: its column of labels, numbers or tags; or the file of labels beside a file of texts.
        id_column: its column that tells which rows are one sequence.
        time_column: its column that tells their order.
        columns: its columns of numbers.
        labelled: whether labels are read; without, `label` is only no part of the sequences.
        encoding: of a text file; None finds it.
        decimal: of a table, as `elman.read_table` takes it.
        header: likewise.

    Raises:
        OptionError: columns that do not go together, or are missing.
        DataError: what cannot be read, with its file and line or row.

    Warns:
        DataWarning: how a file was read, where that is not plain: its encoding, numbers, delimiter.

    >>> import elman
    >>> X, y = elman.read_sequences({"says": ["good tea", "bad"], "mood": ["+", "-"]}, label="mood")
    >>> X, y
    (['good tea', 'bad'], ['+', '-'])
    """
    path = os.fspath(source) if isinstance(source, str | os.PathLike) else None
    if path is not None and path.lower().endswith(_FORMS):
        return read_ts(path, encoding)
    if path is not None and not is_table(path):
        pair = pair_of(path)
        if pair is None and label is not None and os.path.isfile(label):
            pair = path, label
        if pair is not None:
            return read_paired_lines(*pair, encoding)
        # the steps of a table have an id
        if task == "tag" and id_column is None:
            return read_tags(path, text=text, label=label, encoding=encoding)
        plain = path != STDIN and text is label is id_column is columns is None
        if plain and (found := read_labelled_lines(path, encoding)) is not None:
            return found
    table = source
    if not isinstance(source, Table):
        table = read_table(source, encoding=encoding, decimal=decimal, header=header)
        warn(table.notes)
    if not table.rows:
        raise DataError(f"{table.name} has no rows")
    others = {name for name in (label, id_column, time_column) if name is not None}
    if labelled and label is not None:
        given = columns.split(",") if isinstance(columns, str) else columns or ()
        if label in {text, id_column, time_column, *(name.strip() for name in given)}:
            got = f"{printable(label, 40)}, which is read as input too"
            raise OptionError("label", got=got, expected="a column of its own")
    steps, texts = _steps(table, text, columns, others, described=id_column is not None)
    said = _labels(table, label, task) if labelled and label is not None else None
    if said is not None and (task == "tag" or id_column is None):
        _check_present(said, f"column '{label}' of {table.name}", "a label")
    if id_column is None:
        if task == "tag" or time_column is not None:
            expected = "the column that tells which rows are one sequence"
            raise OptionError("id_column", got="nothing", expected=expected)
        return [*steps], said
    groups = _groups(table, id_column, time_column)
    if said is not None:
        said = [
            [said[row] for row in rows] if task == "tag" else _one(said, name, rows)
            for name, rows in groups.items()
        ]
    if not texts:
        return [steps[rows] for rows in groups.values()], said
    parts = [[steps[row] for row in rows] for rows in groups.values()]
    return [part if task == "tag" else " ".join(part) for part in parts], said


def _steps(
    table: Table,
    text: str | None,
    columns: str | Sequence[str] | None,
    others: set[str],
    *,
    described: bool,
) -> tuple[Any, bool]:
    """Return what stands in each row, a text or numbers ``[C]``, and whether these are texts.

    Where rows are steps of a sequence (`described`), texts beside numbers only describe them.
    """
    if text is not None and columns is not None:
        raise OptionError("text and columns", got="both", expected="one of them")
    left = [name for name in table.columns if name not in others]
    if columns is not None:
        left = columns.split(",") if isinstance(columns, str) else [*columns]
    elif text is None:
        found = [name for name in left if table.columns[name].dtype.kind == "O"]
        if len(found) > 1 and not (described and len(found) < len(left)):
            got = "several: " + ", ".join(printable(name, 40) for name in found[:8])
            raise OptionError("the column of texts", got=got, remedy="say which: --text")
        if found and not (described and len(found) < len(left)):
            text = found[0]
    if text is not None:
        values = table.column(text).tolist()
        return ["" if is_missing(value) else str(value) for value in values], True
    if not left:
        raise DataError(f"{table.name} has no column of texts or numbers")
    return np.stack([table.numbers(name.strip()) for name in left], axis=1), False


def _check_present(values: Sequence[Any], what: str, expected: str) -> None:
    """Raise DataError for the first of `values` that is missing; `what` names their column."""
    row = next((row for row, value in enumerate(values) if is_missing(value)), None)
    if row is not None:
        remedy = "write it, or leave the row out"
        raise DataError(what, got=f"nothing in {row_name(row)}", expected=expected, remedy=remedy)


def _labels(table: Table, name: str, task: str) -> list[Any]:
    """Return the labels of all rows, None where missing."""
    values = (table.numbers(name) if task == "regress" else table.column(name)).tolist()
    plain = [value.strip() if isinstance(value, str) else value for value in values]
    return [None if is_missing(value) else value for value in plain]


def _groups(table: Table, id_column: str, time_column: str | None) -> dict[Any, list[int]]:
    """Return the rows of each id, in order; raises DataError where there is none."""
    groups: dict[Any, list[int]] = {}
    names = table.column(id_column).tolist()
    _check_present(names, f"column '{id_column}' of {table.name}", "an id")
    last: Any = None
    for row, name in enumerate(names):
        if time_column is None and name != last and name in groups:
            remedy = "name the column of their order, or give each sequence an id of its own"
            raise DataError(
                f"id {name!r} stands again in {row_name(row)}, behind others", remedy=remedy
            )
        groups.setdefault(name, []).append(row)
        last = name
    if time_column is not None:
        times = table.column(time_column)
        stamps = (parse_times(times)[0] if times.dtype.kind == "O" else times).tolist()
        _check_present(stamps, f"column '{time_column}'", "a time")
        for name, rows in groups.items():
            rows.sort(key=stamps.__getitem__)
            for before, row in itertools.pairwise(rows):
                if stamps[before] == stamps[row]:
                    rows_said = f"{row_name(before)} and {row_name(row)}"
                    raise DataError(f"id {name!r} has one time twice", got=rows_said)
    return groups


def _one(said: Sequence[Any], name: Any, rows: Iterable[int]) -> Any:
    """Return the label of an id; raises DataError where it has none, or several."""
    known = {said[row]: row for row in rows if said[row] is not None}
    if len(known) != 1:
        got = " and ".join(f"{label!r} in {row_name(row)}" for label, row in [*known.items()][:2])
        raise DataError(f"the label of id {name!r}", got=got or "none", expected="one")
    return next(iter(known))
