"""What the commands read and write: labelled sequences from files, answers to files."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from elman._errors import OptionError
from elman.cli._app import print_json

__all__ = ["TABLES", "is_table", "read_examples", "read_lines", "write_answers"]

TABLES = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson", ".ts")


def is_table(name: str) -> bool:
    """Return whether a file's name is that of a table."""
    return name.lower().endswith(TABLES)


def read_lines() -> Iterator[str]:
    """Yield the lines of standard input as text."""
    # lone surrogates stand for bytes of the command line or input that are not text
    if hasattr(sys.stdin, "reconfigure"):
        sys.stdin.reconfigure(errors="surrogateescape")
    for line in sys.stdin:
        yield line.rstrip("\r\n").encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def read_examples(
    files: Sequence[str], task: str, places: Mapping[str, Any], *, labelled: bool = True
) -> tuple[Any, list[Any]]:
    """Return the sequences of several files and what is said of each, nothing where not `labelled`.

    `places` are the columns: text, label, id_column, time_column, columns.
    """
    from elman.data.examples import from_table, read_tags
    from elman.data.labelled import Sequences
    from elman.data.tables import read_table
    from elman.data.uea import read_ts

    items: list[Any] = []
    targets: list[Any] = []
    for file in files:
        if file.lower().endswith(".ts"):
            sequences, said = read_ts(Path(file))
        elif task == "tag" and not is_table(file):
            sequences, said = read_tags(Path(file) if file != "-" else sys.stdin)
        else:
            table = read_table(file)
            sequences, said = from_table(table, task=task, labelled=labelled, **places)
        items += sequences
        targets += said if said is not None else [None] * len(sequences)
    if labelled and any(target is None for target in targets):
        raise OptionError("--label", got="nothing", expected="the column of labels")
    return Sequences.of(items), targets


def write_answers(columns: Mapping[str, Any], output: str | None, json_: bool) -> None:
    """Write a table of answers to a file by its suffix, or to standard output as CSV or lines of JSON."""
    from elman.data.tables import records, write_table

    if output is not None:
        write_table(columns, Path(output) if output != "-" else output)
    elif json_:
        for row in records(columns):
            print_json(row)
    else:
        write_table(columns, "-")
