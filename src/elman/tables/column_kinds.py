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
        dates, numbers = [], []
        letters: dict[str, int] = {}
        distinct: dict[str, int] = {}
        for name, column in columns.items():
            kind = column.dtype.kind
            texts = [text for text in column if text is not None] if kind == "O" else []
            # the first value stands for all, because reading every date would take long
            if kind == "M" or (texts and looks_like_date(texts[0])):
                dates.append(name)
                continue
            if kind in "if":
                numbers.append(name)
            elif kind == "O":
                letters[name] = sum(map(len, texts))
            count = len({*column.tolist()})
            if count * _MIN_ROWS_PER_VALUE <= len(column):
                distinct[name] = count
        by_length = sorted(letters, key=lambda name: -letters[name])
        return cls(tuple(dates), tuple(numbers), tuple(by_length), distinct)

    @property
    def are_series(self) -> bool:
        """Whether the table looks like series: numbers with dates, or nothing but numbers."""
        return bool(self.numbers) and bool(self.dates or not self.texts)
