"""The memory of a forecaster: windows of series in which older values and past columns become missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from elman.inspect.memory import Cuts, spread_evenly
from elman.series.explain import varied
from elman.series.series import SeriesSet

if TYPE_CHECKING:
    from elman.series.predictor import ForecastPredictor


def memory_cuts(predictor: ForecastPredictor, source: Any) -> Cuts:
    """Return at most 64 windows of series; a forecast moves in deviations of its window's values.

    Raises DataError.
    """
    series = predictor.history if source is None else predictor.read(source)
    rule = predictor.codec.rule
    origins = []
    for row, values in enumerate(series.values):
        known = np.isfinite(rule.transform(values))
        first = min(rule.window, len(values)) - 1
        origins += [(row, end + 1) for end in np.flatnonzero(known).tolist() if end >= first]
    chosen = [origins[place] for place in spread_evenly(len(origins))]
    windows = [_window(series, row, origin, rule.window) for row, origin in chosen]
    # a constant window has no deviation: its forecast then moves in units of the series
    spread = np.array([np.nanstd(window["values"]) or 1.0 for window in windows])

    def forecast(rows: Sequence[int], lag: int) -> np.ndarray:
        cut = [_cut(windows[row], lag) for row in rows]
        variants = varied(series, [chosen[row][0] for row in rows], cut)
        return np.asarray(predictor.forecast(variants).median)

    uncut = forecast(range(len(windows)), rule.window)

    def moved(lag: int, rows: list[int]) -> np.ndarray:
        apart = np.abs(forecast(rows, lag) - uncut[rows]).mean(axis=1)
        return np.asarray(apart / spread[rows])

    name = "the series that it knows" if source is None else "the series that were given"
    return Cuts("value", "forecast", name, [len(window["values"]) for window in windows], moved)


def _window(series: SeriesSet, row: int, origin: int, size: int) -> dict[str, np.ndarray]:
    """Return the columns of one series from `size` steps before an origin."""
    first = max(0, origin - size)
    return {
        "values": series.values[row][first:origin],
        "past": series.past[row][first:origin],
        "future": series.future[row][first:],
        "starts": series.times[row][first],
    }


def _cut(window: dict[str, np.ndarray], lag: int) -> dict[str, np.ndarray]:
    """Return a window in which all but the last `lag` values and past columns are missing."""
    older = max(0, len(window["values"]) - lag)
    changed = {name: window[name].copy() for name in ("values", "past")}
    for column in changed.values():
        column[:older] = np.nan
    return window | changed
