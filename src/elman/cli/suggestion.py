"""Suggestion of a command for a table without a task, from the kinds of its columns."""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from elman.errors import ElmanError

__all__ = ["likely_command"]

# Usual names of the column to forecast.
_TARGET_NAMES = ("y", "target", "value", "close", "sales", "count", "price")
_MIN_ROWS_PER_LABEL = 2


def likely_command(files: Sequence[str]) -> str:
    """Return a sentence that suggests a command for files that are tables, or "" for texts."""
    from elman.labels.read import is_table
    from elman.tables.reader import read_table
    from elman.text.encodings import STDIN

    tables = [file for file in files if is_table(file)]
    if [*files] == [STDIN] and (options := _options(_piped_columns())).startswith("--horizon"):
        return f"`elman train - {options}` is likely, and --task language reads it as text"
    if not tables:
        return ""
    ts = tables[0].lower().removesuffix(".gz").endswith(".ts")
    options = "--task classify" if ts else _options(read_table(tables[0]).columns)
    likely = f"`elman train {shlex.join(files)} {options}` is likely" if options else "name one"
    return f"{likely}, and --task language reads the file as text"


def _piped_columns() -> dict[str, Any]:
    """Return the columns of the table that standard input begins with, or no columns for a text.

    The bytes are only peeked at, so that training reads them afterwards.
    """
    from elman.tables.reader import read_table

    peek = getattr(getattr(sys.stdin, "buffer", None), "peek", None)
    lines = b"" if peek is None else peek().rpartition(b"\n")[0]
    with tempfile.NamedTemporaryFile(suffix=".csv") as file:
        file.write(lines + b"\n")
        file.flush()
        try:
            columns = read_table(file.name).columns
        except ElmanError:
            return {}
    return columns if len(columns) > 1 else {}


def _options(columns: dict[str, Any]) -> str:
    """Return the options that fit the columns of a table, or "" where no task fits."""
    from elman.tables.dates import looks_like_date

    texts = {
        name: [text for text in column if text is not None]
        for name, column in columns.items()
        if column.dtype.kind == "O"
    }
    dates = [name for name, values in texts.items() if values and looks_like_date(values[0])]
    dates += [name for name, column in columns.items() if column.dtype.kind == "M"]
    numbers = [name for name, column in columns.items() if column.dtype.kind in "if"]
    repeated = {
        name: len({*column.tolist()})
        for name, column in columns.items()
        if name not in dates and len({*column.tolist()}) * _MIN_ROWS_PER_LABEL <= len(column)
    }
    words = [name for name in texts if name not in dates]
    if numbers and (dates or not words):
        ids = [f"--id-column {shlex.quote(name)}" for name in words if name in repeated]
        target = next((name for name in numbers if name.casefold() in _TARGET_NAMES), numbers[-1])
        return " ".join(["--horizon 10", *ids[:1], f"--target {shlex.quote(target)}"])
    text = max(words, key=lambda name: sum(map(len, texts[name])), default="")
    labels = [name for name in repeated if name != text]
    label = min(labels, key=repeated.__getitem__, default="")
    return f"--text {shlex.quote(text)} --label {shlex.quote(label)}" if text and label else ""
