"""Rows of all series of a table, one below the other: first in the order of the source, then sorted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from elman.tables.columns import of_series, quoted

NUMBER_ROLES = ("target", "past", "future")
"""The roles of the columns of numbers, in the order of `Rows.matrix`."""
ROLES = ("id", "time", *NUMBER_ROLES, "static")
"""The roles that columns have."""


@dataclass(eq=False)
class Rows:
    """The rows of all series; R is their number."""

    ids: list[str]
    codes: np.ndarray
    """int64 ``[R]``: the series of each row, as an index into `ids`."""
    rows: np.ndarray
    """int64 ``[R]``: the row in the source, for messages."""
    matrix: np.ndarray
    """float64 ``[R, 1 + P + F]``: target, past and future columns."""
    times: np.ndarray
    """datetime64[us] or int64 ``[R]``; without a time column, the rows of each series are counted."""
    static: dict[str, np.ndarray] = field(default_factory=dict)
    """``[R]`` for each column, as in the table."""
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The columns by role: id, time, target, past, future; absent roles may be left out."""
    notes: list[str] = field(default_factory=list)
    """Sentences for the user about what was changed or assumed."""
    counted: str = "row"
    """The word that messages use for a row: "value" if the source is a vector."""
    reading: dict[str, str] = field(default_factory=dict)
    """Form of the source's stamps and ids: `date_format` of numbers, `zone` of stamps, `ids` "whole"."""

    @property
    def future(self) -> int:
        """The first column of the matrix that is known in advance."""
        return int(self.matrix.shape[1]) - len(self.names.get("future", ()))

    def column_name(self, column: int) -> str:
        """Return how a message names a column of the matrix."""
        names = [name for role in NUMBER_ROLES for name in self.names.get(role, ())]
        return quoted(names[column] if names else "the value")

    def where(self, row: int) -> str:
        """Return how a message names a row, by its index here."""
        return f"series {quoted(self.ids[self.codes[row]])}, {self.counted} {self.rows[row] + 1}"

    def ids_of(self, codes: Iterable[int]) -> str:
        """Return how a note names the series with these codes."""
        return of_series([self.ids[code] for code in codes])

    def take(self, index: np.ndarray | slice) -> Rows:
        """Return the rows at `index`; ids, notes and static columns stay those of all rows."""
        names = ("codes", "rows", "matrix", "times")
        return replace(self, **{name: getattr(self, name)[index] for name in names})


def step_in_series(codes: np.ndarray, times: np.ndarray | None = None) -> np.ndarray:
    """Return the number of each row in its series, in the order of `times` (default: of the rows).

    >>> step_in_series(np.array([0, 1, 0, 1]), np.array([5, 6, 4, 7])).tolist()
    [1, 0, 0, 1]
    """
    # A stable sort keeps the order of rows within a series.
    order = np.argsort(codes, kind="stable") if times is None else np.lexsort((times, codes))
    ordered, steps = codes[order], np.empty(len(codes), np.int64)
    # The position in the sorted rows, counted from the first row of the series.
    steps[order] = np.arange(len(codes)) - np.searchsorted(ordered, ordered)
    return steps
