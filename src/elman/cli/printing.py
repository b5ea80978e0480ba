"""Printing of results and writing of tables and pictures, for every command."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elman.cli.app import complain
from elman.cli.task_options import file_ending
from elman.training.formatting import visible, width
from elman.training.options import Values

if TYPE_CHECKING:
    from elman.task_types import Pictures, Printable, Ranking, Table

Output = Annotated[
    str | None,
    typer.Option(
        "-o",
        "--output",
        **file_ending(".csv", ".tsv", ".jsonl", ".parquet", ".txt", ".ndjson", ".json", "-"),
        help="file to write the answers to: .csv .tsv .jsonl .parquet (default: standard output)",
    ),
]


def print_json(value: Mapping[str, object]) -> None:
    """Write `value` as one line of JSON to standard output."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        # The text has a lone surrogate, or the terminal's encoding lacks a character: escape all but ASCII.
        text = json.dumps(value, allow_nan=False)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def show(result: Printable, as_json: bool) -> None:
    """Print a result: as JSON, or as text with its warnings on standard error."""
    if as_json:
        print_json(result.to_dict())
        return
    text = str(result)
    notes = getattr(result, "warnings", ())
    if notes and is_dataclass(result) and not isinstance(result, type):
        for warning in notes:
            complain(warning)
        # The text of a result repeats its warnings, in the names of Python's arguments.
        text = str(replace(result, warnings=()))
    typer.echo(text)


def show_ranking(ranking: Ranking, as_json: bool) -> None:
    """Print the most probable answers for one text."""
    if as_json:
        print_json(ranking.details)
        return
    # rich would draw the same, but importing it takes longer than a prediction.
    color = False if "NO_COLOR" in os.environ else None
    typer.echo(typer.style(f"{visible(ranking.text)} …", bold=True), color=color)
    names = [
        {"\n": "line end", " ": "space"}.get(name, visible(name)) for name, _ in ranking.shares
    ]
    longest = max(map(width, names), default=0)
    for name, (_, share) in zip(names, ranking.shares, strict=True):
        bar = typer.style("█" * round(40 * share), fg=typer.colors.CYAN)
        typer.echo(f"{name}{' ' * (longest - width(name))}  {share:.3f}  {bar}", color=color)


def write_answers(columns: Table, output: str | None, as_json: bool) -> None:
    """Write a table to a file by its suffix, or to standard output as CSV or lines of JSON."""
    from elman.tables.writer import records, write_table

    # JSON is printed row by row, so that a reader of the pipe can begin before the last one.
    if output is None and as_json:
        for row in records(columns):
            print_json(row)
    else:
        write_table(columns, output or "-")


def write_pictures(pictures: Pictures, files: Values) -> None:
    """Draw the pictures whose option names a file."""
    for name, draw in pictures.items():
        if (file := files.get(name)) is None:
            continue
        # Imported only for a picture, so that a prediction in the shell appears at once.
        from elman.draw import plots
        from elman.files.atomic import atomic_write

        picture, path = draw(), Path(str(file))
        if isinstance(picture, str):
            # Text of a user can hold lone surrogates, which UTF-8 cannot encode.
            atomic_write(path, picture.encode("utf-8", "replace"))
        else:
            plots.save(picture, path)
