"""Read the files of labelled sequences that are named on the command line."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from elman.errors import DataError, OptionError, warn
from elman.labels.dataset import Sequences
from elman.labels.examples import LabelledSequences
from elman.labels.options import Columns
from elman.labels.read import is_table, read_sequences
from elman.tables.reader import read_table
from elman.task_types import Reading
from elman.text.input_files import read_text


def read_examples(
    files: Sequence[str], task: str, columns: Columns, reading: Reading
) -> LabelledSequences:
    """Return the labelled sequences of several files.

    Args:
        files: tables, tag files, or lines with labels.
        task: "classify", "regress" or "tag".
        columns: columns of the tables.
        reading: options that say how to read the files.

    Raises:
        OptionError: the option that names the label column of a table is missing.
        DataError: a sequence has no label.
    """
    items: list[Any] = []
    targets: list[Any] = []
    for file in files:
        sequences, labels = read_sequences(file, task=task, **columns, **reading)
        if labels is None and is_table(file) and not file.lower().endswith(".ts"):
            raise OptionError("--label", got="nothing", expected="the column of labels")
        if labels is None or None in labels:
            missing = (
                "no labels" if labels is None else f"none in sequence {labels.index(None) + 1}"
            )
            raise DataError(f"the labels of {file}", got=missing, expected="one for each")
        items += sequences
        targets += labels
    # a file of labels belongs to the texts beside it: new texts have another file, or none
    kept = {
        name: str(column)
        for name, column in columns.items()
        if name != "label" or not os.path.isfile(str(column))
    }
    return LabelledSequences(Sequences.of(items), targets, kept).of_task(task)


def columns_of(predictor: Any, columns: Columns) -> Columns:
    """Return the columns to read from a table: those in `columns`, otherwise those of the training table."""
    trained: Columns = predictor.card.get("columns")
    if not isinstance(trained, dict):
        return columns
    return {**trained, **columns}


def read_named_sequences(
    task: str, path: str, name: str, columns: Columns, reading: Reading
) -> tuple[Any, dict[str, list[Any]]]:
    """Return the sequences of a table or .ts file, and a column that identifies each of them.

    The column is a dict with one entry, its name and values: the id column if the table has one, otherwise
    "row" with the numbers of the sequences from 0.
    """
    if name.lower().removesuffix(".gz").endswith(".ts"):
        sequences, _ = read_sequences(path, task=task, **reading)
        return sequences, {"row": [*range(len(sequences))]}
    table = read_table(path, name=name, **reading)
    warn(table.notes)
    sequences, _ = read_sequences(table, task=task, labelled=False, **columns)
    id_column = columns.get("id_column")
    if id_column is None:
        return sequences, {"row": [*range(len(sequences))]}
    return sequences, {id_column: [*dict.fromkeys(table.column(id_column).tolist())]}


def begins_table(path: str, columns: Sequence[str], encoding: str | None) -> bool:
    """Return whether a file is Parquet or JSON, or has one of `columns` in its first line."""
    if os.path.isfile(path):
        with open(path, "rb") as file:
            if file.read(4) == b"PAR1":
                return True
    start = read_text(path, encoding)[0].lstrip()
    line = start.split("\n", 1)[0]
    names = {field.strip(' "') for mark in ",;\t|" for field in line.split(mark)}
    return start.startswith(('{"', '[{"')) or not names.isdisjoint(columns)
