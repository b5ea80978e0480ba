"""Kinds of the columns of a table, from which commands guess what the table holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from elman.tables.dates import looks_like_date

_MIN_ROWS_PER_VALUE = 2


@dataclass(frozen=True)
class ColumnKinds:
    """Names of the columns of a table by what they hold."""

    dates: tuple[str, ...]
    numbers: tuple[str, ...]
    texts: tuple[str, ...]
    """Columns of text that does not look like dates, the longest texts first."""
    distinct: Mapping[str, int]
    """Number of distinct values of each column, without dates, whose values repeat as those of labels do."""

    @classmethod
    def of(cls, columns: Mapping[str, np.ndarray]) -> ColumnKinds:
        """Return the kinds of columns that `elman.read_table` has read."""
        texts = {
            name: [text for text in column if text is not None]
            for name, column in columns.items()
            if column.dtype.kind == "O"
        }
        dates = [name for name, values in texts.items() if values and looks_like_date(values[0])]
        dates += [name for name, column in columns.items() if column.dtype.kind == "M"]
        distinct = {
            name: len({*column.tolist()}) for name, column in columns.items() if name not in dates
        }
        return cls(
            tuple(dates),
            tuple(name for name, column in columns.items() if column.dtype.kind in "if"),
            tuple(
                sorted(
                    (name for name in texts if name not in dates),
                    key=lambda name: -sum(map(len, texts[name])),
                )
            ),
            {
                name: count
                for name, count in distinct.items()
                if count * _MIN_ROWS_PER_VALUE <= len(columns[name])
            },
        )

    @property
    def are_series(self) -> bool:
        """Whether the table looks like series: numbers with dates, or nothing but numbers."""
        return bool(self.numbers) and bool(self.dates or not self.texts)
