"""Static covariates: a value for each series; texts become a 0/1 column for each of their categories."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from elman.errors import DataError
from elman.series.rows import Rows
from elman.tables.columns import column_of, numbers_of, quoted, several

Value: TypeAlias = "str | float | bool | None"


def static_columns(
    names: tuple[str, ...], categories: Mapping[str, tuple[str, ...]]
) -> tuple[str, ...]:
    """Return the static columns as the user passed them, in that order, from the encoded `names`.

    >>> static_columns(("city=Bern", "city=Lima", "size"), {"city": ("Bern", "Lima")})
    ('city', 'size')
    """
    text_of = {f"{name}={kind}": name for name, kinds in categories.items() for kind in kinds}
    return tuple(dict.fromkeys(text_of.get(name, name) for name in names))


def _value_of_each(rows: Rows, name: str) -> list[Value]:
    """Return the value of a static column for each series, None where it is missing."""
    first_seen: dict[int, tuple[Value, int]] = {}
    for row, (code, value) in enumerate(
        zip(rows.codes.tolist(), rows.static[name].tolist(), strict=True)
    ):
        if value is None or value != value:
            continue
        expected, before = first_seen.setdefault(code, (value, row))
        if expected != value:
            raise DataError(
                f"{rows.where(row)}: static column {quoted(name)} is {value!r}, and"
                f" {expected!r} in row {rows.rows[before] + 1}",
                remedy="pass it with past= or future=, or write the same value in all rows of a series",
            )
    return [first_seen.get(code, (None, 0))[0] for code in range(len(rows.ids))]


def encode_static(
    rows: Rows, known: Mapping[str, tuple[str, ...]] | None
) -> tuple[np.ndarray, list[str], dict[str, tuple[str, ...]]]:
    """Encode the static columns as numbers.

    Args:
        rows: the rows; a note is added to them for categories that the model does not know.
        known: the categories of a trained model, or None to take them from the rows.

    Returns:
        The encoded columns as float64 ``[N, S]``, their names, and the categories of each text column.

    Raises:
        DataError: a series has two values, or two encoded columns have the same name.
    """
    columns: list[list[float]] = []
    names: list[str] = []
    categories: dict[str, tuple[str, ...]] = {}
    for name, column in rows.static.items():
        values = _value_of_each(rows, name)
        if name not in known if known is not None else column.dtype.kind in "bif":
            what, column = f"static column {quoted(name)}", column_of(values)[0]
            numbers = numbers_of(column, what, lambda code: f"series {quoted(rows.ids[code])}")
            columns.append(numbers.tolist())
            names.append(name)
            continue
        # Categories of digits arrive as floats if all rows hold such categories: write them as in training.
        values = [f"{value:.15g}" if isinstance(value, float) else value for value in values]
        texts = [None if value is None else str(value) for value in values]
        kinds = sorted(set(filter(None, texts))) if known is None else known[name]
        if unknown := sorted({text for text in texts if text is not None} - set(kinds)):
            rows.notes.append(
                f"static column {quoted(name)} has categories that the model does not know:"
                f" {several(unknown)}; read as none of the known ones"
            )
        columns += [[float(text == kind) for text in texts] for kind in kinds]
        names += [f"{name}={kind}" for kind in kinds]
        categories[name] = tuple(kinds)
    if repeated := sorted(name for name in set(names) if names.count(name) > 1):
        raise DataError(f"two static columns are called {quoted(repeated[0])}", remedy="rename one")
    matrix = np.array(columns, np.float64).reshape(len(columns), len(rows.ids)).T
    return matrix, names, categories
