"""Correlations of predictions with true values: of the values (Pearson) and of their ranks (Spearman)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from elman.metrics.forecast_errors import known_pairs


def pearson(predicted: ArrayLike, truth: ArrayLike) -> float | None:
    """Return the linear correlation, -1 to 1, or None if all predictions, or all true values, are equal.

    Raises DataError, ShapeError.

    >>> pearson([1.0, 2.0, 3.0], [10.0, 20.0, 30.0])
    1.0
    """
    return _correlation(*known_pairs(predicted, truth))


def spearman(predicted: ArrayLike, truth: ArrayLike) -> float | None:
    """Return the correlation of the ranks, where equal values share their mean rank; as `pearson`.

    >>> spearman([1.0, 2.0, 3.0], [1.0, 10.0, 1000.0])
    1.0
    """
    return _correlation(*map(_ranks, known_pairs(predicted, truth)))


def _ranks(values: np.ndarray) -> np.ndarray:
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    # the mean rank of the values that are equal
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[index])


def _correlation(first: np.ndarray, second: np.ndarray) -> float | None:
    units = []
    for values in (first, second):
        # divide first: sums and squares of huge numbers would overflow
        scaled = values / max(float(abs(values).max()), np.finfo(np.float64).tiny)
        centred = scaled - scaled.mean()
        norm = float(np.sqrt(centred @ centred))
        # the spread of a constant may be a rounding error instead of 0
        if norm <= 1e-12 * np.sqrt(len(values)):
            return None
        units.append(centred / norm)
    # rounding may leave a product just above 1
    return float(np.clip(round(float(units[0] @ units[1]), 15), -1, 1))
