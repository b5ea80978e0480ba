"""Read the files of labelled sequences that are named on the command line."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, TypeAlias

from elman.errors import DataError, OptionError, warn
from elman.files.model import Model
from elman.labels.command_options import Columns
from elman.labels.conll import is_tag_file, read_tags
from elman.labels.dataset import Sequences
from elman.labels.examples import LabelledSequences
from elman.labels.label_values import Label
from elman.labels.predictor import LabelPredictor
from elman.labels.read import is_table, read_sequences
from elman.tables.reader import read_table
from elman.task_types import Reading
from elman.text.input_files import read_lines, read_text, rereadable_file

Names: TypeAlias = dict[str, list[Label]]
"""The column that identifies the sequences of a file, under its name."""


def read_examples(
    files: Sequence[str], task: str, columns: Columns, reading: Reading
) -> LabelledSequences:
    """Return the labelled sequences of several files.

    Args:
        files: Tables, tag files, or lines with labels.
        task: "classify", "regress" or "tag".
        columns: Columns of the tables.
        reading: Options that say how to read the files.

    Raises:
        OptionError: the option that names the label column of a table is missing.
        DataError: a sequence has no label.
    """
    items: list[Any] = []
    targets: list[Any] = []
    for file in files:
        sequences, labels = read_sequences(file, task=task, **columns, **reading)
        # a .ts file says itself whether it has labels
        if labels is None and is_table(file) and not file.lower().endswith(".ts"):
            raise OptionError("--label", got="nothing", expected="the column of labels")
        if labels is None or None in labels:
            got = "no labels" if labels is None else f"none in sequence {labels.index(None) + 1}"
            raise DataError(f"the labels of {file}", got=got, expected="one for each")
        items += sequences
        targets += labels
    # a file of labels belongs to the texts beside it: new texts have another file, or none
    kept = {
        name: str(column)
        for name, column in columns.items()
        if name != "label" or not os.path.isfile(str(column))
    }
    return LabelledSequences(Sequences.of(items), targets, kept).of_task(task)


def columns_of(model: Model, columns: Columns) -> Columns:
    """Return the columns to read from a table: those in `columns`, otherwise those of the training table."""
    trained: Columns | None = model.card.get("columns")
    return columns if trained is None else {**trained, **columns}


def read_inputs(
    predictor: LabelPredictor, file: str, columns: Columns, reading: Reading
) -> tuple[Sequences, Names | None]:
    """Return the sequences of a file, and a column that identifies each of them.

    The column is a dict with one entry, its name and values: the id column of a table if it has one,
    otherwise "row" with the numbers of the sequences from 0. It is empty for sequences to tag, and None for
    lines of text. A file counts as a table by its name, by an option that names a column, or by its first
    line.
    """
    codec, kind = predictor.network.codec, predictor.network.config.kind
    named = columns_of(predictor.model, columns)
    with rereadable_file(file) as (path, name):
        ids = None
        if name.lower().removesuffix(".gz").endswith(".ts"):
            sequences, _ = read_sequences(path, task=kind.task, **reading)
        elif (
            is_table(name)
            or columns
            or codec.scaler is not None
            or _begins_table(path, [*map(str, named.values())], reading["encoding"])
        ):
            table = read_table(path, name=name, **reading)
            warn(table.notes)
            sequences, _ = read_sequences(table, task=kind.task, labelled=False, **named)
            ids = named.get("id_column")
        else:
            lines = read_lines(path, reading["encoding"], name=name)
            if not kind.per_step or not is_tag_file(lines, codec.known_labels.names):
                return Sequences.of(lines), None
            sequences, _ = read_tags(lines, text=named.get("text"), label=named.get("label"))
        # the answer for each step names its sequence by a number
        if kind.per_step:
            return Sequences.of(sequences), {}
        names = range(len(sequences)) if ids is None else dict.fromkeys(table.column(ids).tolist())
        return Sequences.of(sequences), {ids or "row": [*names]}


def _begins_table(path: str, columns: Sequence[str], encoding: str | None) -> bool:
    """Return whether a file is Parquet or JSON, or has one of `columns` in its first line."""
    if os.path.isfile(path):
        with open(path, "rb") as file:
            # the first four bytes of every Parquet file
            if file.read(4) == b"PAR1":
                return True
    start = read_text(path, encoding)[0].lstrip()
    line = start.split("\n", 1)[0]
    # the names in a first line, whichever mark is between them
    names = {field.strip(' "') for mark in ",;\t|" for field in line.split(mark)}
    return start.startswith(('{"', '[{"')) or not names.isdisjoint(columns)
