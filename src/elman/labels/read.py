"""Reading of labelled sequences from tables, tag files and text files.

| input | its sequences |
|---|---|
| a table with a column of texts | one for each row; an empty cell is an empty text |
| a table with an id column | one for each id: its rows in the order of the time column, or of the table |
| another table | one for each row; its numbers are the time steps of one channel, from left to right |

With an id column, each row holds the numbers of one time step, or a piece of text: one token for tagging,
else the pieces are joined to one text.

A label is text without surrounding white space, a whole number, or true or false. A missing label is an
error. With an id column, a label may stand in one row of the sequence only, but two labels must be equal.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from elman.errors import DataError, OptionError, printable, warn
from elman.labels.conll import read_tags
from elman.labels.label_values import Label
from elman.labels.uea import read_ts
from elman.tables.columns import is_missing, row_name
from elman.tables.dates import parse_times
from elman.tables.reader import Table, read_table
from elman.text.input_files import STDIN
from elman.text.labelled_lines import pair_of, read_labelled_lines, read_paired_lines

TABLES = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson", ".json", ".ts")
"""Extensions of files that are not plain text."""

Examples: TypeAlias = tuple[list[Any], list[Any] | None]
"""Sequences and their targets; the targets are None if there are none."""
Rows: TypeAlias = list[str] | np.ndarray
"""The text of each row of a table, or its numbers ``[R, C]``."""


def is_table(name: str) -> bool:
    """Return whether a file has the extension of a table, compressed or not.

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
    """Return sequences and their targets, ready for an estimator's `fit`.

    Args:
        source: A table or data frame with a row for each sequence or, with `id_column`, for each time step; a
            `.ts` file; for "tag" also a tag file, if its extension is not one of a table; two files
            ``"texts.txt,labels.txt"`` with a text and a label in each line; or a file of lines
            ``LABEL TEXT``. "-" is standard input.
        task: "classify", "regress" or "tag": a label, a number, or a tag for each time step.
        text: The table's column of texts or tokens; for a tag file the number of the column, from 1.
        label: The table's column of labels, numbers or tags; or the file of labels beside a file of texts.
        id_column: The table's column that is equal in all rows of a sequence.
        time_column: The table's column by which the rows of a sequence are ordered.
        columns: The table's columns of numbers, as a list or separated by commas.
        labelled: Whether to read labels. If not, the column `label` is only left out of the sequences.
        encoding: Encoding of a text file (default: detected).
        decimal: Decimal mark of the table, as for `elman.read_table`.
        header: Whether the table has a header, as for `elman.read_table`.

    Returns:
        The sequences and their targets; the targets are None if there are none.

    Raises:
        OptionError: Columns are missing or do not fit together.
        DataError: Something cannot be read; the message names file and line, or row.

    Warns:
        DataWarning: Elman guessed the encoding, the delimiter or the meaning of numbers.

    >>> import elman
    >>> X, y = elman.read_sequences({"says": ["good tea", "bad"], "mood": ["+", "-"]}, label="mood")
    >>> X, y
    (['good tea', 'bad'], ['+', '-'])
    """
    if isinstance(source, str | os.PathLike):
        named = {"text": text, "label": label, "id_column": id_column}
        examples = _read_file(os.fspath(source), task, named, encoding, has_columns=bool(columns))
        if examples is not None:
            return examples
    table = source
    if not isinstance(source, Table):
        table = read_table(source, encoding=encoding, decimal=decimal, header=header)
        warn(table.notes)
    if not table.rows:
        raise DataError(f"{table.name} has no rows")
    if isinstance(columns, str):
        columns = [name.strip() for name in columns.split(",")]
    targets = None
    if labelled and label is not None:
        if label in (text, id_column, time_column, *(columns or ())):
            got = f"{printable(label, 40)}, which is read as input too"
            raise OptionError("label", got=got, expected="a column of its own")
        targets = _labels(table, label, task, has_id=id_column is not None)
    others = {label, id_column, time_column}
    rows = _rows(table, text, columns, others, has_id=id_column is not None)
    if id_column is None:
        if task == "tag" or time_column is not None:
            expected = "the column that tells which rows are one sequence"
            raise OptionError("id_column", got="nothing", expected=expected)
        return [*rows], targets
    return _grouped(rows, targets, _rows_of_ids(table, id_column, time_column), task)


def _read_file(
    path: str,
    task: str,
    named: Mapping[str, str | None],
    encoding: str | None,
    *,
    has_columns: bool,
) -> Examples | None:
    """Return the examples of a file that is not a table; None for a table.

    `named` are the columns that the user named, and `has_columns` whether there are columns of numbers too.
    """
    label = named["label"]
    if path.lower().endswith((".ts", ".ts.gz")):
        return read_ts(path, encoding)
    if is_table(path):
        return None
    pair = pair_of(path)
    if pair is None and label is not None and os.path.isfile(label):
        pair = path, label
    if pair is not None:
        return read_paired_lines(*pair, encoding)
    # with an id column it is a table, whose rows are the steps
    if task == "tag" and named["id_column"] is None:
        return read_tags(path, text=named["text"], label=label, encoding=encoding)
    if not has_columns and path != STDIN and not any(named.values()):
        return read_labelled_lines(path, encoding)
    return None


def _rows(
    table: Table,
    text: str | None,
    columns: Sequence[str] | None,
    others: set[str | None],
    *,
    has_id: bool,
) -> Rows:
    """Return the text of each row, or its numbers ``[R, C]``, without the columns in `others`.

    If rows are steps of a sequence (`has_id`), texts beside numbers only describe the rows.
    """
    if text is not None and columns is not None:
        raise OptionError("text and columns", got="both", expected="one of them")
    if columns is None:
        columns = [name for name in table.columns if name not in others]
        texts = [name for name in columns if table.columns[name].dtype.kind == "O"]
        if text is None and texts and not (has_id and len(texts) < len(columns)):
            # a wrong guess would train on the wrong text, so the user has to say
            if len(texts) > 1:
                got = "several: " + ", ".join(printable(name, 40) for name in texts[:8])
                raise OptionError("the column of texts", got=got, remedy="say which: --text")
            text = texts[0]
    if text is not None:
        values = table.column(text).tolist()
        return ["" if is_missing(value) else str(value) for value in values]
    if not columns:
        raise DataError(f"{table.name} has no column of texts or numbers")
    return np.stack([table.numbers(name) for name in columns], axis=1)


def _grouped(
    rows: Rows, targets: list[Any] | None, groups: Mapping[Label, list[int]], task: str
) -> Examples:
    """Return the sequence and the target of each id from the values of its rows."""
    if targets is not None:
        # for tags a list for each sequence, else the one label that its rows agree on
        targets = [
            [targets[row] for row in members]
            if task == "tag"
            else _one_label(targets, id_, members)
            for id_, members in groups.items()
        ]
    if isinstance(rows, np.ndarray):
        return [rows[members] for members in groups.values()], targets
    pieces = [[rows[row] for row in members] for members in groups.values()]
    return [tokens if task == "tag" else " ".join(tokens) for tokens in pieces], targets


def _check_present(values: Sequence[Label | None], name: str, expected: str) -> None:
    """Raise DataError for the first missing value of the column called `name`."""
    row = next((row for row, value in enumerate(values) if is_missing(value)), None)
    if row is not None:
        remedy = "write it, or leave the row out"
        raise DataError(name, got=f"nothing in {row_name(row)}", expected=expected, remedy=remedy)


def _labels(table: Table, name: str, task: str, *, has_id: bool) -> list[Label | None]:
    """Return the labels of all rows; with ids they may be None, because one row of a sequence is enough."""
    # numbers to predict must be numbers; labels keep the type of their column
    values = (table.numbers(name) if task == "regress" else table.column(name)).tolist()
    stripped = [value.strip() if isinstance(value, str) else value for value in values]
    labels = [None if is_missing(value) else value for value in stripped]
    if task == "tag" or not has_id:
        _check_present(labels, f"column '{name}' of {table.name}", "a label")
    return labels


def _rows_of_ids(table: Table, id_column: str, time_column: str | None) -> dict[Label, list[int]]:
    """Return the rows of each id in order; raises DataError if the order is not clear."""
    groups: dict[Label, list[int]] = {}
    ids = table.column(id_column).tolist()
    _check_present(ids, f"column '{id_column}' of {table.name}", "an id")
    for row, id_ in enumerate(ids):
        # without a time column, the order of the rows is the order of time
        if time_column is None and id_ in groups and id_ != ids[row - 1]:
            raise DataError(
                f"id {id_!r} occurs again in {row_name(row)}, after other ids",
                remedy="name the column of their order, or give each sequence an id of its own",
            )
        groups.setdefault(id_, []).append(row)
    if time_column is None:
        return groups
    times = table.column(time_column)
    # dates that a table holds as text are parsed; numbers sort as they are
    stamps = (parse_times(times)[0] if times.dtype.kind == "O" else times).tolist()
    _check_present(stamps, f"column '{time_column}'", "a time")
    for id_, rows in groups.items():
        # rows of equal times are an error, because their order would be arbitrary
        rows.sort(key=stamps.__getitem__)
        for before, row in itertools.pairwise(rows):
            if stamps[before] == stamps[row]:
                got = f"{row_name(before)} and {row_name(row)}"
                raise DataError(f"id {id_!r} has one time twice", got=got)
    return groups


def _one_label(labels: Sequence[Label | None], id_: Label, rows: Iterable[int]) -> Label:
    """Return the label of an id; raises DataError if it has none, or several different ones."""
    # an id with one label in several rows has one entry here
    known = {label: row for row in rows if (label := labels[row]) is not None}
    if len(known) != 1:
        got = " and ".join(f"{label!r} in {row_name(row)}" for label, row in [*known.items()][:2])
        raise DataError(f"the label of id {id_!r}", got=got or "none", expected="one")
    return next(iter(known))
