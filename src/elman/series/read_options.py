"""Options of reading series from a table: the columns, the step, and the policies for faulty rows."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypedDict

from elman.errors import OptionError
from elman.series.frequency import Frequency

if TYPE_CHECKING:
    from elman.series.options import ForecasterOptions
    from elman.tables.reader import Table


class LazyFrame(Protocol):
    """A data frame that is not yet computed, as polars has it."""

    def collect(self) -> Sized:
        """Return the data frame."""
        ...


SeriesSource: TypeAlias = "str | PathLike[str] | Sized | LazyFrame | Table"
"""Where series come from: a path, a data frame of pandas, polars or pyarrow, rows, vectors or arrays."""
KEPT_OPTIONS = ("timezone", "date_format", "missing", "gaps", "duplicates")
"""The options that a model file keeps, so that later rows are read as those of training."""


class ReadOptions(TypedDict, total=False):
    """Fields of `SeriesOptions` that differ from those of training when later rows are read."""

    id_column: str | None
    time_column: str | None
    target: str | tuple[str, ...] | None
    past: tuple[str, ...]
    future: tuple[str, ...]
    static: tuple[str, ...]
    frequency: str | Frequency | None
    timezone: str | None
    date_format: str | None
    missing: str | None
    gaps: str | None
    duplicates: str | None


_POLICIES = {
    "missing": ("mask", "fill", "error"),
    "gaps": ("mask", "fill", "error"),
    "duplicates": ("error", "first", "last", "mean", "sum"),
    "overlap": ("error", "replace", "keep"),
}


def check_policies(**policies: str) -> None:
    """Raise OptionError for a policy that does not exist."""
    for name, policy in policies.items():
        if policy not in _POLICIES[name]:
            raise OptionError(name, got=policy, expected=" | ".join(_POLICIES[name]))


def _columns(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",")) if text else ()


@dataclass(frozen=True)
class SeriesOptions:
    """The columns that hold the series, and the policies for rows that are faulty or absent.

    Raises:
        OptionError: there is no such policy.

    >>> SeriesOptions(target="Close", gaps="fill").missing
    'mask'
    """

    id_column: str | None = None
    """The column that names the series of each row."""
    time_column: str | None = None
    target: str | tuple[str, ...] | None = None
    """The column to forecast; several columns are one series each."""
    past: tuple[str, ...] = ()
    """Covariates that are known up to the present."""
    future: tuple[str, ...] = ()
    """Covariates that are known in advance."""
    static: tuple[str, ...] = ()
    """Covariates with a single value for each series."""
    frequency: str | Frequency | None = None
    """The step, as 30min or MS (default: inferred from the stamps)."""
    timezone: str | None = None
    """The time zone of stamps that carry none, as Europe/Berlin."""
    date_format: str | None = None
    """The format of the dates, as `datetime.strptime` takes it; common formats are recognised without it.

    epoch_s, epoch_ms, epoch_us and epoch_ns are numbers since 1970; excel counts the days of a spreadsheet.
    """
    missing: str = "mask"
    """A row without a value: mask (left missing), fill (the last value again) or error."""
    gaps: str = "mask"
    """A step without a row: mask, fill or error."""
    duplicates: str = "error"
    """Rows with the same stamp: error, first, last, mean or sum (of the target; covariates are averaged)."""

    @classmethod
    def of_training(cls, options: ForecasterOptions) -> SeriesOptions:
        """Return the options of the reader that the options of training name."""
        names = ("id_column", "time_column", "frequency", *KEPT_OPTIONS)
        settings = {name: getattr(options, name) for name in names}
        for role in ("target", "past", "future", "static"):
            settings[role] = _columns(getattr(options, role))
        if len(settings["target"]) < 2:  # several targets are a series each
            settings["target"] = options.target
        return cls(**settings)

    def __post_init__(self) -> None:
        check_policies(missing=self.missing, gaps=self.gaps, duplicates=self.duplicates)
        for name in ("past", "future", "static", "target"):
            if isinstance(value := getattr(self, name), list):
                object.__setattr__(self, name, tuple(value))
            elif isinstance(value, str) and name != "target":
                object.__setattr__(self, name, (value,))
