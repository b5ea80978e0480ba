"""Rows of all series of a table, side by side, in the order in which they were read."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from elman.tables.columns import quoted


@dataclass(eq=False)
class Rows:
    """The rows of all series, in the order of the source; R is their number."""

    ids: list[str]
    codes: np.ndarray
    """int64 ``[R]``: the series of each row, as an index into `ids`."""
    rows: np.ndarray
    """int64 ``[R]``: the row in the source, for messages."""
    target: np.ndarray
    """float64 ``[R]``."""
    times: np.ndarray | None = None
    """datetime64[us] or int64 ``[R]``."""
    past: np.ndarray | None = None
    """float64 ``[R, P]``."""
    future: np.ndarray | None = None
    """float64 ``[R, F]``."""
    static: dict[str, np.ndarray] = field(default_factory=dict)
    """``[R]`` for each column, as in the table."""
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The columns by role: id, time, target, past, future; absent roles may be left out."""
    notes: list[str] = field(default_factory=list)
    """Sentences for the user about what was changed or assumed."""
    counted: str = "row"
    """The word that messages use for a row: "value" if the source is a vector."""
    reading: dict[str, str] = field(default_factory=dict)
    """How the source writes stamps and ids: `date_format` of numbers, `zone` of stamps, `ids` "whole"."""

    def where(self, row: int) -> str:
        """Return how a message names a row, by its index here."""
        return f"series {quoted(self.ids[self.codes[row]])}, {self.counted} {self.rows[row] + 1}"
