"""What the commands read and write: labelled sequences from files, answers to files."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from elman._errors import DataError, OptionError
from elman.cli._app import print_json

__all__ = ["is_table", "read_examples", "read_lines", "write_answers", "write_svg"]


def is_table(name: str) -> bool:
    """Return whether a file's name is that of a table."""
    from elman.data.examples import TABLES

    return name.lower().endswith(TABLES)


def read_lines(file: str = "-") -> Iterator[str]:
    """Yield the lines of a file as text; those of standard input for "-"."""
    if file != "-":
        from elman.data.encoding import detect, read_blocks

        whole = "".join(read_blocks(file, detect(file, None)))
        yield from whole.removesuffix("\n").split("\n") if whole else ()
        return
    # lone surrogates stand for bytes of the command line or input that are not text
    if hasattr(sys.stdin, "reconfigure"):
        sys.stdin.reconfigure(errors="surrogateescape")
    for line in sys.stdin:
        yield line.rstrip("\r\n").encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def read_examples(
    files: Sequence[str], task: str, places: Mapping[str, Any]
) -> tuple[Any, list[Any]]:
    """Return the sequences of several files and what is said of each.

    `places` are the columns: text, label, id_column, time_column, columns.
    """
    from elman.data.examples import read_sequences
    from elman.data.labelled import Sequences

    items: list[Any] = []
    targets: list[Any] = []
    for file in files:
        sequences, said = read_sequences(file, task=task, **places)
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
    from elman.data.tables import records, write_table

    if output is not None:
        write_table(columns, Path(output) if output != "-" else output)
    elif json_:
        for row in records(columns):
            print_json(row)
    else:
        write_table(columns, "-")


def write_svg(shown: Any, path: str) -> None:
    """Write what has `to_svg` to a file, whole or not at all; a lone surrogate is no text."""
    from elman._atomic import atomic_write

    atomic_write(Path(path), shown.to_svg().encode("utf-8", "replace"))
