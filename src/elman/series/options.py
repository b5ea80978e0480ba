"""The options of training a forecaster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from elman.errors import OptionError
from elman.training.options import network, reading, training
from elman.training.recurrent_options import CellName, RecurrentOptions

__all__ = ["ForecasterOptions"]


@dataclass(frozen=True)
class ForecasterOptions(RecurrentOptions):
    """What a person may choose of a `Forecaster`; None lets Elman choose.

    >>> ForecasterOptions(horizon=0)
    Traceback (most recent call last):
    elman.errors.OptionError: horizon: got 0; expected a whole number from 1 to 10000
    """

    cell: CellName = network("gru", "recurrent cell")
    horizon: int = reading(10, "steps to forecast", low=1, high=10_000)
    id_column: str | None = reading(None, "column that names the series (default: unique_id)")
    time_column: str | None = reading(
        None, "column of dates or steps (default: ds, or the only column of dates)"
    )
    target: str | None = reading(None, "column to forecast (default: y, or the columns of numbers)")
    past: str | None = reading(None, "columns known up to the present, with commas between them")
    future: str | None = reading(None, "columns known in advance, with commas between them")
    static: str | None = reading(None, "columns with one value a series, with commas between them")
    frequency: str | None = reading(
        None, "step, as h, 30min, D, Mon-Sat, MS, BME; steps counts rows (default: from the stamps)"
    )
    timezone: str | None = reading(None, "where clocks without a zone stand, as Europe/Berlin")
    date_format: str | None = reading(
        None,
        "form of the dates, as %d/%m/%Y, epoch_s, epoch_ms or excel (default: from the column)",
    )
    missing: Literal["mask", "fill", "error"] = reading(
        "mask", "a row without a value: left missing, the last value again, an error"
    )
    gaps: Literal["mask", "fill", "error"] = reading(
        "mask", "a row that is not there: left missing, the last value again, an error"
    )
    duplicates: Literal["error", "first", "last", "mean", "sum"] = reading(
        "error", "two rows of one stamp: an error, or one of them, their mean or sum"
    )
    season: int | None = reading(
        None, "steps of the season, 1 for none (default: found in the values)", low=1
    )
    transform: Literal["auto", "none", "log"] = reading(
        "auto", "values as they are, or their logarithms"
    )
    calendar: Literal["auto", "yes", "no"] = reading(
        "auto",
        "read where a stamp stands in day, week and year (default: where that explains errors)",
    )
    window: int | None = reading(
        None, "steps of the past used as input (default: from season and horizon)", low=2
    )
    levels: str = reading("80,95", "intervals in percent, with commas between them")
    members: int | None = network(
        None,
        "networks that answer together (default: from the data)",
        low=1,
        high=32,
    )
    evaluations: int = training(20, "measurements on the validation set", low=1, high=10000)
    refit: bool = training(
        True, "train anew on all values once the best length of training is known"
    )

    def __post_init__(self) -> None:
        for name in ("target", "past", "future", "static"):
            value = getattr(self, name)
            if isinstance(value, list | tuple):
                if not all(isinstance(one, str) and "," not in one for one in value):
                    expected = "names of columns, without commas in them"
                    raise OptionError(name, got=value, expected=expected)
                object.__setattr__(self, name, ",".join(value) or None)
        super().__post_init__()
