"""The likeliest command for a table that is given without a task, from the kinds of its columns."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elman.data.tables import Table

__all__ = ["likely_command"]

_TARGETS = ("y", "target", "value", "close", "sales", "amount", "count", "total", "price")
_TEXTS_PER_LABEL = 2
_MOST_LABELS = 100


def likely_command(files: Sequence[str]) -> str:
    """Return a sentence with the likeliest command line for files that are tables, or "" for texts."""
    from elman.data.examples import is_table
    from elman.data.tables import read_table

    tables = [file for file in files if is_table(file)]
    if not tables:
        return ""
    given = " ".join(map(shlex.quote, files))
    if tables[0].lower().removesuffix(".gz").endswith(".ts"):
        options = "--task classify"
    else:
        options = _options(read_table(tables[0]))
    likely = f"`elman train {given} {options}` is likely" if options else "name one"
    return f"{likely}, and --task language reads the file as text"


def _options(table: Table) -> str:
    """Return the options that the columns of a table suggest, or "" where they suggest nothing."""
    from elman.data.dates import looks_like_date

    columns = table.columns
    values = {
        name: [one for one in column.tolist() if one is not None]
        for name, column in columns.items()
    }
    texts = [name for name, column in columns.items() if column.dtype.kind == "O" and values[name]]
    dates = [name for name in texts if looks_like_date(values[name][0])]
    dates += [name for name, column in columns.items() if column.dtype.kind == "M"]
    texts = [name for name in texts if name not in dates]
    numbers = [name for name, column in columns.items() if column.dtype.kind in "if"]
    kinds = {name: len({*values[name]}) for name in columns}
    if numbers and (dates or not texts):
        named = [name for name in numbers if name.casefold() in _TARGETS]
        ids = [name for name in texts if kinds[name] * _TEXTS_PER_LABEL <= table.rows]
        chosen = f"--target {shlex.quote((named or numbers[-1:])[0])}"
        return " ".join(
            ["--horizon 10", *(f"--id-column {shlex.quote(name)}" for name in ids[:1]), chosen]
        )
    longest = sorted(texts, key=lambda name: -sum(map(len, values[name])))
    labels = [
        name
        for name in columns
        if name not in (*longest[:1], *dates)
        and columns[name].dtype.kind in "Obi"
        and kinds[name] * _TEXTS_PER_LABEL <= table.rows
        and kinds[name] <= _MOST_LABELS
    ]
    if not (longest and labels):
        return ""
    label = min(labels, key=kinds.__getitem__)
    return f"--text {shlex.quote(longest[0])} --label {shlex.quote(label)}"
