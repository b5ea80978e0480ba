"""Rows of series: the options of reading them, and all rows of one table side by side."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from elman.errors import OptionError
from elman.series.calendar import Frequency
from elman.tables.columns import quoted

__all__ = ["Rows", "SeriesOptions"]

_POLICIES = {
    "missing": ("mask", "fill", "error"),
    "gaps": ("mask", "fill", "error"),
    "duplicates": ("error", "first", "last", "mean", "sum"),
}


@dataclass(frozen=True)
class SeriesOptions:
    """Which columns series are in, and what is done about what is wrong with them.

    Raises OptionError for a policy that there is not.

    >>> SeriesOptions(target="Close", gaps="fill").missing
    'mask'
    """

    id_column: str | None = None
    """The column that says which series a row belongs to."""
    time_column: str | None = None
    target: str | tuple[str, ...] | None = None
    """The column to forecast; several make a series each."""
    past: tuple[str, ...] = ()
    """Columns known up to the present."""
    future: tuple[str, ...] = ()
    """Columns known in advance."""
    static: tuple[str, ...] = ()
    """Columns with one value a series."""
    frequency: str | Frequency | None = None
    """The step, as 30min or MS; found in the stamps where it is not given."""
    timezone: str | None = None
    """Where the clocks stand that stamps without a zone are of, as Europe/Berlin."""
    date_format: str | None = None
    """The form of the dates, as `datetime.strptime` takes it; dates of common forms are read without.

    epoch_s, epoch_ms, epoch_us and epoch_ns are numbers since 1970, excel the days of a spreadsheet.
    """
    missing: str = "mask"
    """A row without a value: mask (left missing), fill (the last one again) or error."""
    gaps: str = "mask"
    """A row that is not there: mask, fill or error."""
    duplicates: str = "error"
    """Rows of one stamp: error, first, last, mean or sum (of the target; covariates: the mean)."""

    def __post_init__(self) -> None:
        for name, allowed in _POLICIES.items():
            if getattr(self, name) not in allowed:
                raise OptionError(name, got=getattr(self, name), expected=" | ".join(allowed))
        for name in ("past", "future", "static", "target"):
            if isinstance(value := getattr(self, name), list):
                object.__setattr__(self, name, tuple(value))
            elif isinstance(value, str) and name != "target":
                object.__setattr__(self, name, (value,))


@dataclass(eq=False)
class Rows:
    """The rows of all series, in the order they came in."""

    ids: list[str]
    codes: np.ndarray
    """``[R]`` int64: which of the ids."""
    rows: np.ndarray
    """``[R]`` int64: the row of the source, for messages."""
    target: np.ndarray
    """``[R]`` float64."""
    times: np.ndarray | None = None
    """``[R]`` datetime64[us] or int64."""
    past: np.ndarray | None = None
    """``[R, P]`` float64."""
    future: np.ndarray | None = None
    """``[R, F]`` float64."""
    static: dict[str, np.ndarray] = field(default_factory=dict)
    """``[R]`` each, as in the table."""
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Of the columns, by role: id, time, target, past, future; of a role that is not there none."""
    notes: list[str] = field(default_factory=list)
    counted: str = "row"
    reading: dict[str, str] = field(default_factory=dict)
    """How stamps and ids were written: `date_format` of numbers, `zone` of the stamps, `ids` "whole"."""

    def where(self, at: int) -> str:
        """Return how a message names one of the rows."""
        return f"series {quoted(self.ids[self.codes[at]])}, {self.counted} {self.rows[at] + 1}"
