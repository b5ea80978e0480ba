"""Options of training a forecaster; command, estimator and docs are generated from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from elman.errors import OptionError
from elman.training.options import network, reading, training
from elman.training.recurrent_options import CellName, RecurrentOptions


@dataclass(frozen=True, kw_only=True)
class ForecasterOptions(RecurrentOptions):
    """Options of a `Forecaster`; None lets Elman choose from the series.

    >>> ForecasterOptions(horizon=0)
    Traceback (most recent call last):
    elman.errors.OptionError: horizon: got 0; expected a whole number from 1 to 10000
    """

    cell: CellName = network("gru", "recurrent cell")
    horizon: int = reading(10, "steps to forecast", low=1, high=10_000)
    id_column: str | None = reading(
        None,
        "column that says which rows belong to one series (default: unique_id, if there is one)",
    )
    time_column: str | None = reading(
        None, "column of dates or steps (default: ds, or the only column of dates)"
    )
    target: str | None = reading(
        None, "columns to forecast (default: y, or the columns of numbers)"
    )
    past: str | None = reading(None, "columns known up to the present, such as weather")
    future: str | None = reading(None, "columns known in advance, such as holidays")
    static: str | None = reading(None, "columns with one value for each series")
    frequency: str | None = reading(
        None, "time step, such as h, 30min, D or MS (default: from the dates)"
    )
    timezone: str | None = reading(
        None, "time zone of dates that carry none, as Europe/Berlin (default: none)", rare=True
    )
    date_format: str | None = reading(
        None,
        "format of the dates, as %d/%m/%Y, epoch_s, epoch_ms or excel (default: recognised from them)",
        rare=True,
    )
    missing: Literal["mask", "fill", "error"] = reading(
        "mask",
        "a row without a value: mask leaves it missing, fill repeats the last value, error refuses it",
    )
    gaps: Literal["mask", "fill", "error"] = reading(
        "mask",
        "a step without a row: mask leaves it missing, fill repeats the last value, error refuses it",
        rare=True,
    )
    duplicates: Literal["error", "first", "last", "mean", "sum"] = reading(
        "error",
        "rows of a series with the same date: refuse them, take one of them, or their mean or sum",
        rare=True,
    )
    season: int | None = reading(
        None, "time steps of the season, 1 for none (default: from the values)", low=1
    )
    transform: Literal["auto", "none", "log"] = reading(
        "auto",
        "forecast the values or their logarithms (auto: logarithms of positive values whose spread grows "
        "with their level)",
        rare=True,
    )
    calendar: Literal["auto", "yes", "no"] = reading(
        "auto",
        "read the phase of day, week and year (auto: if it explains errors of the naive forecast, or if most"
        " values equal the one before)",
        rare=True,
    )
    window: int | None = reading(
        None, "past time steps that the network reads (default: from the season)", low=2
    )
    levels: str = reading("80,95", "prediction intervals in percent, with commas between them")
    members: int | None = network(
        None,
        "networks whose answers are averaged (default: 4 or 5, fewer if the time is short)",
        low=1,
        high=32,
    )
    evaluations: int = training(
        20, "evaluations on the validation set within the budget", low=1, high=10000, rare=True
    )
    refit: bool = training(
        True, "train again on all values, for as long as was best for the validation set", rare=True
    )

    def __post_init__(self) -> None:
        # Estimators take lists of columns, the command one text; both become a text with commas.
        for name in ("target", "past", "future", "static"):
            value = getattr(self, name)
            if isinstance(value, list | tuple):
                if not all(isinstance(column, str) and "," not in column for column in value):
                    expected = "names of columns, without commas in them"
                    raise OptionError(name, got=value, expected=expected)
                object.__setattr__(self, name, ",".join(value) or None)
        super().__post_init__()
