"""The memory of a forecaster: windows of series in which older values and past columns become missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from elman.inspect.memory import Cuts, spread_evenly
from elman.series.read_options import SeriesSource
from elman.series.series import cut

if TYPE_CHECKING:
    from elman.series.predictor import ForecastPredictor


def memory_cuts(predictor: ForecastPredictor, source: SeriesSource | None) -> Cuts:
    """Return at most 64 windows of series; a forecast moves in deviations of its window's values.

    Raises DataError.
    """
    series = predictor.history if source is None else predictor.read(source)
    rule = predictor.codec.rule
    # Every known value with a whole window before it; in a short series, the last one.
    origins = []
    for row, values in enumerate(series.values):
        known = np.isfinite(rule.transform(values))
        first = min(rule.steps_back, len(values)) - 1
        origins += [(row, end + 1) for end in np.flatnonzero(known).tolist() if end >= first]
    chosen = [origins[at] for at in spread_evenly(len(origins))]
    firsts = [max(0, origin - rule.steps_back) for _, origin in chosen]
    windows = series.at([row for row, _ in chosen], firsts)
    lengths = [origin - first for (_, origin), first in zip(chosen, firsts, strict=True)]
    windows = replace(windows, values=cut(windows.values, lengths), past=cut(windows.past, lengths))
    # A constant window has no deviation: its forecast then moves in units of the series.
    spread = np.array([np.nanstd(values) or 1.0 for values in windows.values])

    def forecast(rows: Sequence[int], lag: int) -> np.ndarray:
        """Return the forecasts of windows in which only the last `lag` steps are known."""
        selected = windows.at(rows)
        values, past = _last_known(selected.values, lag), _last_known(selected.past, lag)
        return np.asarray(predictor.forecast(replace(selected, values=values, past=past)).median)

    uncut = forecast(range(len(windows)), rule.steps_back)

    def moved(lag: int, rows: list[int]) -> np.ndarray:
        apart = np.abs(forecast(rows, lag) - uncut[rows]).mean(axis=1)
        return np.asarray(apart / spread[rows])

    name = "the series that it knows" if source is None else "the series that were given"
    return Cuts("value", "forecast", name, lengths, moved)


def _last_known(columns: Iterable[np.ndarray], lag: int) -> tuple[np.ndarray, ...]:
    """Return columns ``[T, ...]`` in which all but the last `lag` rows are missing."""
    shortened = []
    for column in columns:
        column_end = np.full_like(column, np.nan)
        first = max(0, len(column) - lag)
        column_end[first:] = column[first:]
        shortened.append(column_end)
    return tuple(shortened)
