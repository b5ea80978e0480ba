"""Static columns: one value a series; a text becomes a column of ones and zeros for each of its kinds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from elman.errors import DataError
from elman.series.rows import Rows
from elman.tables.columns import column_of, numbers_of, quoted, several

__all__ = ["encode_static", "static_columns"]


def static_columns(
    names: tuple[str, ...], categories: Mapping[str, tuple[str, ...]]
) -> tuple[str, ...]:
    """Return the static columns in the order they were passed in, for the encoded `names`.

    >>> static_columns(("city=Bern", "city=Lima", "size"), {"city": ("Bern", "Lima")})
    ('city', 'size')
    """
    text_of = {f"{name}={kind}": name for name, kinds in categories.items() for kind in kinds}
    return tuple(dict.fromkeys(text_of.get(name, name) for name in names))


def _one_each(rows: Rows, name: str) -> list[Any]:
    """Return the value of a static column for every id, None where it is missing."""
    found: dict[int, tuple[Any, int]] = {}
    for row, (code, value) in enumerate(
        zip(rows.codes.tolist(), rows.static[name].tolist(), strict=True)
    ):
        if value is None or value != value:
            continue
        one, before = found.setdefault(code, (value, row))
        if one != value:
            raise DataError(
                f"{rows.where(row)}: static column {quoted(name)} is {value!r}, and"
                f" {one!r} in row {rows.rows[before] + 1}",
                remedy="pass it with past= or future=, or write one value a series",
            )
    return [found.get(code, (None, 0))[0] for code in range(len(rows.ids))]


def encode_static(
    rows: Rows, known: Mapping[str, tuple[str, ...]] | None
) -> tuple[np.ndarray, list[str], dict[str, tuple[str, ...]]]:
    """Return the static columns ``[N, S]``, their names, and the categories of the columns of texts.

    `known` has the categories that a trained model knows. Raises DataError for two values in one series.
    """
    columns: list[list[float]] = []
    names: list[str] = []
    categories: dict[str, tuple[str, ...]] = {}
    for name, column in rows.static.items():
        values = _one_each(rows, name)
        if name not in known if known is not None else column.dtype.kind in "bif":
            what, column = f"static column {quoted(name)}", column_of(values)[0]
            numbers = numbers_of(column, what, lambda code: f"series {quoted(rows.ids[code])}")
            columns.append(numbers.tolist())
            names.append(name)
            continue
        # kinds of digits are numbers in rows that have no other kind
        values = [f"{value:.15g}" if isinstance(value, float) else value for value in values]
        texts = [None if value is None else str(value) for value in values]
        kinds = sorted(set(filter(None, texts))) if known is None else known[name]
        if strange := sorted({text for text in texts if text is not None} - set(kinds)):
            rows.notes.append(
                f"static column {quoted(name)} has what it had not before: {several(strange)};"
                " read as none of its kinds"
            )
        columns += [[float(text == kind) for text in texts] for kind in kinds]
        names += [f"{name}={kind}" for kind in kinds]
        categories[name] = tuple(kinds)
    if twice := sorted(name for name in set(names) if names.count(name) > 1):
        raise DataError(f"two static columns are called {quoted(twice[0])}", remedy="rename one")
    matrix = np.array(columns, np.float64).reshape(len(columns), len(rows.ids)).T
    return matrix, names, categories
