"""The choice whether a forecaster reads where a stamp stands in day, week and year."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from elman.series.calendar import Frequency, calendar_features

__all__ = ["calendar_tells"]

LEAST_GAIN = 0.05
"""Share of the naive forecast's squared error that the calendar must explain."""
PER_FEATURE = 5
"""Values of each half for every number that is fitted to it."""


def calendar_tells(
    series: Iterable[tuple[np.ndarray, np.ndarray]], frequency: Frequency, season: int, horizon: int
) -> bool:
    """Return whether the calendar explains the error of repeating the last season, in most series.

    The errors of each half of a series are forecast by a linear model of the calendar that was fitted to
    the other half; a series says yes where that helps in both halves.

    Args:
        series: stamps and values ``[T]`` of each, as they are forecast.
        frequency: their step.
        season: steps of the season that the naive forecast repeats, 1 for the last value.
        horizon: steps to forecast; the error is that of the middle one.
    """
    back = season * -(-max(1, horizon // 2) // season)
    votes = [_explains(values[back:] - values[:-back], calendar_features(times[back:], frequency))
             for times, values in series if len(values) > back]  # fmt: skip
    return bool(votes) and float(np.mean(votes)) > 0.5


def _explains(errors: np.ndarray, features: np.ndarray) -> bool:
    known = np.isfinite(errors)
    errors, features = errors[known], features[known]
    half, width = len(errors) // 2, features.shape[1]
    if not width or half < PER_FEATURE * (width + 1):
        return False
    scale = abs(errors).max() or 1.0  # squares of great numbers would leave the finite range
    design = np.column_stack([np.ones(len(errors)), features])
    for own, other in ((slice(half), slice(half, None)), (slice(half, None), slice(half))):
        weights = np.linalg.lstsq(design[other], errors[other] / scale, rcond=None)[0]
        left = errors[own] / scale - design[own] @ weights
        usual = errors[own] / scale - (errors[other] / scale).mean()
        if (left**2).sum() > (1 - LEAST_GAIN) * (usual**2).sum() or not usual.any():
            return False
    return True
