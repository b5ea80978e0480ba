"""Choice whether calendar features help a forecaster: whether they explain the naive forecast's errors."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from elman.series.calendar import calendar_features
from elman.series.frequency import Frequency

MIN_EXPLAINED_SHARE = 0.05
"""Share of the naive forecast's squared error that the calendar must explain."""
MIN_VALUES_PER_WEIGHT = 5
"""Values in each half of a series for every weight that is fitted to them."""


def calendar_explains_errors(
    series: Iterable[tuple[np.ndarray, np.ndarray]], frequency: Frequency, season: int, horizon: int
) -> bool:
    """Return whether the calendar explains errors of the seasonal naive forecast, in most series.

    A linear model of the calendar features is fitted to the errors in one half of a series and forecasts
    those in the other half. A series votes yes if this helps in both halves.

    Args:
        series: the stamps and the transformed values ``[T]`` of each series.
        frequency: the frequency of all series.
        season: steps of the season that the naive forecast repeats, 1 for the last value.
        horizon: steps to forecast; the error in the middle of them is used.
    """
    back = season * -(-max(1, horizon // 2) // season)
    votes = [
        _explains(values[back:] - values[:-back], calendar_features(times[back:], frequency))
        for times, values in series
        if len(values) > back
    ]
    return bool(votes) and float(np.mean(votes)) > 0.5


def _explains(errors: np.ndarray, features: np.ndarray) -> bool:
    known = np.isfinite(errors)
    errors, features = errors[known], features[known]
    half, width = len(errors) // 2, features.shape[1]
    if not width or half < MIN_VALUES_PER_WEIGHT * (width + 1):
        return False
    errors = errors / (abs(errors).max() or 1.0)  # squares of huge errors would overflow
    design = np.column_stack([np.ones(len(errors)), features])
    for own, other in ((slice(half), slice(half, None)), (slice(half, None), slice(half))):
        weights = np.linalg.lstsq(design[other], errors[other], rcond=None)[0]
        unexplained = errors[own] - design[own] @ weights
        around_mean = errors[own] - errors[other].mean()
        share = 1 - MIN_EXPLAINED_SHARE
        if (unexplained**2).sum() > share * (around_mean**2).sum() or not around_mean.any():
            return False
    return True
