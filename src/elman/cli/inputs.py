"""Options about files that several commands share, and the files that commands write."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from elman.cli.app import print_json, with_options
from elman.task_types import ColumnName, Columns, Reading

COLUMN_NAMES: tuple[ColumnName, ...] = ("text", "label", "columns", "id_column", "time_column")


def _reading(kind: type, help_: str, *flags: str, **how: Any) -> Any:
    option = typer.Option(*flags, help=help_, rich_help_panel="Data", **how)
    return Annotated[kind | None, option]


READING = {
    "encoding": _reading(
        str, "encoding of the files, such as utf-8 or cp1252 (default: detected from their bytes)"
    ),
    "decimal": _reading(
        str,
        "decimal mark of the numbers in a table (default: detected from the column)",
        metavar=".|,",
    ),
    "header": _reading(
        bool,
        "whether the first row of a table names its columns (default: detected); without names they are 0, 1",
        "--header/--no-header",
    ),
}
"""Options of how files are read."""


def with_reading(function: Callable[..., None]) -> Callable[..., None]:
    """Return a command with the options of `READING` in place of its ``**`` parameter."""
    return with_options(function, READING)


def pop_reading(options: dict[str, Any]) -> Reading:
    """Remove the options of how files are read from `options` and return them."""
    return Reading(
        encoding=options.pop("encoding", None),
        decimal=options.pop("decimal", None),
        header=options.pop("header", None),
    )


def pop_columns(options: dict[str, Any], names: tuple[ColumnName, ...] = COLUMN_NAMES) -> Columns:
    """Remove the options that name columns from `options` and return those that have a value."""
    columns: Columns = {}
    for name in names:
        if (column := options.pop(name, None)) is not None:
            columns[name] = column
    return columns


def write_answers(columns: Mapping[str, Any], output: str | None, json_: bool) -> None:
    """Write a table to a file by its suffix, or to standard output as CSV or lines of JSON."""
    from elman.tables.writer import records, write_table

    if output is None and json_:
        for row in records(columns):
            print_json(row)
    else:
        write_table(columns, output or "-")


def write_pictures(shown: Any, *, svg: str | None = None, plot: str | None = None) -> None:
    """Write a result as an SVG file, and as a picture that matplotlib draws, where a name is given."""
    from elman.draw import plots
    from elman.files.atomic import atomic_write

    if svg is not None:
        # Text of a user can hold lone surrogates, which UTF-8 cannot encode.
        atomic_write(Path(svg), shown.to_svg().encode("utf-8", "replace"))
    if plot is not None:
        plots.save(shown.plot(), Path(plot))
