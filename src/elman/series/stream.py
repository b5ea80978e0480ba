"""Stream over one series: values are fed as they arrive, and a forecast is possible after each of them."""

from __future__ import annotations

import math
from dataclasses import replace
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np

from elman.errors import DataError

if TYPE_CHECKING:
    from elman.series.forecast import Forecast
    from elman.series.predictor import ForecastPredictor


class SeriesStream:
    """A series that is read value by value; the predictor itself stays as it is."""

    def __init__(self, predictor: ForecastPredictor, series: str) -> None:
        self._predictor = predictor
        self._history = predictor.history.select([series])

    def __repr__(self) -> str:
        history = self._history
        return f"SeriesStream({history.ids[0]!r}, {len(history.values[0]):,} values read)"

    def feed(self, value: float) -> SeriesStream:
        """Read the next value, NaN if it is missing, and return self.

        Raises:
            DataError: the value is infinite, or not a number.
        """
        if not isinstance(value, Real) or math.isinf(value):
            raise DataError("value", got=value, expected="a finite number, or NaN if it is missing")
        history = self._history
        values = np.append(history.values[0], float(value))
        past = np.concatenate([history.past[0], np.full((1, history.past[0].shape[1]), np.nan)])
        longer = replace(history, values=(values,), past=(past,))
        self._history = self._predictor.codec.trimmed(longer)
        return self

    def predict(self, horizon: int | None = None) -> Forecast:
        """Forecast the next steps, as `ForecastPredictor.predict`."""
        return self._predictor.forecast(self._history, horizon)
