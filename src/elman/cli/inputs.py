"""What the commands read and write: labelled sequences from files, answers to files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from elman.cli.app import complain, print_json, with_options
from elman.errors import DataError, OptionError, warn

__all__ = [
    "READING",
    "argument_lines",
    "begins_table",
    "file_sequences",
    "is_file",
    "places_of",
    "read_examples",
    "read_input",
    "with_reading",
    "write_answers",
    "write_pictures",
]


def _reading(kind: type, help_: str, *flags: str, **how: Any) -> Any:
    option = typer.Option(*flags, help=help_, rich_help_panel="Data", **how)
    return Annotated[kind | None, option]


READING = {
    "encoding": _reading(str, "encoding of the files (default: found in their bytes and printed)"),
    "decimal": _reading(
        str,
        "mark before the decimals of a table's numbers (default: the one that fits)",
        metavar=".|,",
    ),
    "header": _reading(
        bool,
        "the first row of a table names its columns (default: as it looks); without, they are 0, 1",
        "--header/--no-header",
    ),
}
"""How files are read."""


def with_reading(function: Callable[..., None]) -> Callable[..., None]:
    """Return a command with the options that say how files are read in place of its ``**`` parameter."""
    return with_options(function, READING)


def is_file(argument: str) -> bool:
    """Return whether an argument is "-", a file, or looks like the name of one, rather than a text.

    Raises DataError for a folder.
    """
    from elman.text.encodings import STDIN
    from elman.text.sources import is_path

    if os.path.isdir(argument):
        expected, remedy = "a text or a file", "to give a text of this name pipe it in behind -"
        raise DataError(f"{argument} is a folder", expected=expected, remedy=remedy)
    return argument == STDIN or is_path(argument)


def argument_lines(argument: str, encoding: str | None = None) -> Iterator[str]:
    """Yield the lines that a TEXT argument stands for: of standard input ("-"), of a file, or itself.

    Lines of standard input come as soon as they are there. Raises DataError for a file that is mistyped.
    """
    from elman.text.encodings import STDIN, input_lines
    from elman.text.lines import read_lines

    if argument == STDIN:
        yield from input_lines(encoding)
    elif is_file(argument):
        lines = read_lines(argument, encoding)
        complain(f"{argument} is a file: its text is read, not its name")
        yield from lines
    else:
        yield argument


def begins_table(path: str, columns: Iterable[str], encoding: str | None) -> bool:
    """Return whether a file is Parquet or JSON, or has one of `columns` in its first line."""
    from elman.text.encodings import read_text

    if os.path.isfile(path):
        with open(path, "rb") as file:
            if file.read(4) == b"PAR1":
                return True
    start = read_text(path, encoding)[0].lstrip()
    line = start.split("\n", 1)[0]
    names = {field.strip(' "') for mark in ",;\t|" for field in line.split(mark)}
    return start.startswith(('{"', '[{"')) or not names.isdisjoint(columns)


def places_of(predictor: Any, **given: str | None) -> dict[str, Any]:
    """Return the columns of sequences: those that are given, else those of training."""
    kept = predictor.card.get("columns")
    known = dict(kept) if isinstance(kept, dict) else {}
    return known | {name: value for name, value in given.items() if value is not None}


def file_sequences(
    predictor: Any, path: str, name: str, given: Mapping[str, Any], how: Mapping[str, Any]
) -> tuple[Any, dict[str, list[Any]] | None]:
    """Return the sequences of a file, and the column that names them: row or id; None of lines of text.

    The name of a file, a column that is named, or else its first line tells whether it is a table.
    """
    from elman.labels.conll import is_tag_file, read_tags
    from elman.labels.read import is_table, read_sequences
    from elman.tables.reader import read_table
    from elman.text.lines import read_lines

    task, encoding = predictor.model.config.task, how["encoding"]
    places = places_of(predictor, **given)
    named = is_table(name) or any(given.values())
    known = [value for value in places.values() if isinstance(value, str)]
    numeric = predictor.model.codec.scaler is not None
    if not (named or numeric or begins_table(path, known, encoding)):
        lines = read_lines(path, encoding, name=name)
        if task != "tag" or not is_tag_file(lines, predictor.labels.names):
            return lines, None
        where = {key: places.get(key) for key in ("text", "label")}
        return read_tags(lines, **where)[0], {}
    if name.lower().removesuffix(".gz").endswith(".ts"):
        sequences, _ = read_sequences(path, task=task, **how)
    else:
        table = read_table(path, name=name, **how)
        warn(table.notes)
        sequences, _ = read_sequences(table, task=task, labelled=False, **places)
        if (column := places.get("id_column")) is not None:
            return sequences, {column: [*dict.fromkeys(table.column(column).tolist())]}
    return sequences, {"row": [*range(len(sequences))]}


def read_input(predictor: Any, file: str, how: Mapping[str, Any]) -> Any:
    """Return all that a file holds, read as `how` says: a text, labelled sequences, or rows of series."""
    from elman.tables.reader import read_table
    from elman.text.encodings import steady_file
    from elman.text.lines import read_lines

    task = predictor.model.config.task
    if task == "language":
        return "\n".join(read_lines(file, how["encoding"]))
    if task == "forecast":
        rows = predictor.read(read_table(file, **how))
        for warning in rows.warnings:
            complain(warning)
        return rows
    with steady_file(file) as (path, name):
        return file_sequences(predictor, path, name, {}, how)[0]


def read_examples(
    files: Sequence[str], task: str, places: Mapping[str, Any], **how: Any
) -> tuple[Any, list[Any]]:
    """Return the sequences of several files and what is said of each.

    `places` are the columns: text, label, id_column, time_column, columns; `how` tables are read:
    encoding, decimal, header.
    """
    from elman.labels.dataset import Sequences
    from elman.labels.read import is_table, read_sequences

    items: list[Any] = []
    targets: list[Any] = []
    for file in files:
        sequences, said = read_sequences(file, task=task, **places, **how)
        if said is None or None in said:
            if said is None and is_table(file) and not file.lower().endswith(".ts"):
                raise OptionError("--label", got="nothing", expected="the column of labels")
            missing = "no labels" if said is None else f"none in sequence {said.index(None) + 1}"
            raise DataError(f"the labels of {file}", got=missing, expected="one for each")
        items += sequences
        targets += said
    return Sequences.of(items), targets


def write_answers(columns: Mapping[str, Any], output: str | None, json_: bool) -> None:
    """Write a table of answers to a file by its suffix, or to standard output as CSV or lines of JSON."""
    from elman.tables.reader import records, write_table

    if output is None and json_:
        for row in records(columns):
            print_json(row)
    else:
        write_table(columns, output or "-")


def write_pictures(
    shown: Any, *, svg: str | None = None, plot: str | None = None, **how: Any
) -> None:
    """Write the pictures that are named: that of `to_svg`, and that of `plot`, drawn as `how` says."""
    from elman.draw import plots
    from elman.files.atomic import atomic_write

    if svg is not None:
        # UTF-8 has no lone surrogate
        atomic_write(Path(svg), shown.to_svg().encode("utf-8", "replace"))
    if plot is not None:
        plots.save(shown.plot(**how), Path(plot))
