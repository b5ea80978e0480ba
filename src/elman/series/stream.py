"""A stream: a series that is read value by value, with a forecast whenever it is asked for."""

from __future__ import annotations

import sys
from dataclasses import replace
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np

from elman.errors import DataError
from elman.series.forecast import Forecast
from elman.series.series import SeriesSet

if TYPE_CHECKING:
    from elman.series.predictor import ForecastPredictor

MAX_NEW_VALUES = 1000
"""New values after which a stream drops values that no forecast reads."""


class SeriesStream:
    """A series that is read value by value; the predictor itself stays as it is."""

    def __init__(self, predictor: ForecastPredictor, series: str) -> None:
        self._predictor = predictor
        self._known = predictor.history.select([series])
        # Values that `_known` lacks: a forecast appends all of them at once.
        self._new: list[float] = []

    def _extend(self) -> SeriesSet:
        """Append the new values to the known ones, and return the end of the series."""
        if self._new:
            known = self._known
            # Past covariates of streamed values are not known.
            missing = np.full((len(self._new), known.past[0].shape[1]), np.nan)
            values = np.concatenate([known.values[0], self._new])
            past = np.concatenate([known.past[0], missing])
            longer = replace(known, values=(values,), past=(past,))
            self._known, self._new = self._predictor.codec.trimmed(longer), []
        return self._known

    def __repr__(self) -> str:
        history = self._extend()
        return f"SeriesStream({history.ids[0]!r}, {len(history.values[0]):,} values read)"

    def feed(self, value: float) -> SeriesStream:
        """Read the next value, NaN if it is missing, and return self.

        Raises:
            DataError: the value is infinite, or not a number.
        """
        # An integer may be larger than any float.
        if not isinstance(value, Real) or abs(value) > sys.float_info.max:
            raise DataError("value", got=value, expected="a finite number, or NaN if it is missing")
        self._new.append(float(value))
        if len(self._new) == MAX_NEW_VALUES:
            self._extend()
        return self

    def predict(self, horizon: int | None = None) -> Forecast:
        """Forecast the next steps, as `ForecastPredictor.predict`."""
        return self._predictor.forecast(self._extend(), horizon)
