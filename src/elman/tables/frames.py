"""Answers as data frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

__all__ = ["frame", "frame_of"]


def frame(columns: Mapping[str, Any]) -> Any:
    """Return columns of one length as a data frame of polars where that is installed, else as they are.

    >>> frame({"token": ["a", "b"], "bits": [1.0, 2.0]}).shape
    (2, 2)
    """
    try:
        import polars as pl
    except ImportError:
        return dict(columns)
    return pl.DataFrame({name: _plain(column) for name, column in columns.items()})


def frame_of(rows: Iterable[Mapping[str, Any]]) -> Any:
    """Return rows, all with the names of the first, as `frame` does."""
    listed = [*rows]
    return frame({name: [row[name] for row in listed] for name in (listed[0] if listed else ())})


def _plain(column: Any) -> Any:
    """Return a column without lone surrogates, which are no text for polars, nor an array of objects."""
    if isinstance(column, np.ndarray) and column.dtype == object:
        column = column.tolist()  # polars keeps the time zone of stamps in a list
    if isinstance(column, list | tuple) and any(isinstance(value, str) for value in column):
        return [
            value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
            for value in column
        ]
    return column
