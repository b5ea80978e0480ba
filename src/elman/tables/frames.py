"""Conversion of results to data frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np

Frame: TypeAlias = Any
"""A polars data frame, or the columns as a dict where polars is not installed."""


def frame(columns: Mapping[str, object]) -> Frame:
    """Return columns of one length as a polars data frame, or as a dict if polars is not installed.

    >>> frame({"token": ["a", "b"], "bits": [1.0, 2.0]}).shape
    (2, 2)
    """
    try:
        import polars as pl
    except ImportError:
        return dict(columns)
    return pl.DataFrame({name: _plain(column) for name, column in columns.items()})


def frame_of(rows: Iterable[Mapping[str, object]]) -> Frame:
    """Return rows that all have the same keys as `frame` does."""
    listed = [*rows]
    return frame({name: [row[name] for row in listed] for name in (listed[0] if listed else ())})


def _plain(column: object) -> object:
    """Return a column that polars accepts: no array of objects, and no lone surrogates in texts."""
    if isinstance(column, np.ndarray) and column.dtype == object:
        column = column.tolist()  # polars keeps the time zone of datetimes only in a list
    if isinstance(column, list | tuple) and any(isinstance(value, str) for value in column):
        return [
            value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
            for value in column
        ]
    return column
