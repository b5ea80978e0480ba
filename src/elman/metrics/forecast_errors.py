"""Error measures of point forecasts, quantiles and intervals.

Forecasts and true values are arrays of the same shape; positions where the truth is NaN are ignored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from elman.errors import DataError, ShapeError

_MAX = float(np.finfo(np.float64).max)
_TINY = float(np.finfo(np.float64).tiny)


def known_pairs(forecast: ArrayLike, truth: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return forecasts and true values at the positions where the truth is known, flattened."""
    forecasts, truths = np.asarray(forecast, np.float64), np.asarray(truth, np.float64)
    if forecasts.shape != truths.shape:
        expected = f"that of the truth, {truths.shape}"
        raise ShapeError(
            "forecast and truth differ in shape", got=forecasts.shape, expected=expected
        )
    known = np.isfinite(truths)
    if not known.any():
        raise DataError("there is no true value to measure a forecast by")
    if not np.isfinite(forecasts[known]).all():
        raise DataError("a forecast is not finite")
    return forecasts[known], truths[known]


def _errors(forecast: ArrayLike, truth: ArrayLike) -> np.ndarray:
    forecasts, truths = known_pairs(forecast, truth)
    with np.errstate(over="ignore"):
        return np.asarray(np.clip(truths - forecasts, -_MAX, _MAX))


def _mean(values: np.ndarray) -> float:
    """Return the mean of values of at least 0, even if their sum would overflow."""
    largest = float(values.max())
    # mean of shares of the largest value, because a sum of huge values would overflow
    return largest * float(np.mean(values / largest)) if largest > _TINY else 0.0


def mae(forecast: ArrayLike, truth: ArrayLike) -> float:
    """Return the mean absolute error, in the unit of the series; raises DataError, ShapeError.

    >>> mae([1.0, 2.0, 9.0], [2.0, 4.0, float("nan")])
    1.5
    """
    return _mean(np.abs(_errors(forecast, truth)))


def rmse(forecast: ArrayLike, truth: ArrayLike) -> float:
    """Return the root of the mean squared error, in the unit of the series; raises DataError, ShapeError.

    >>> rmse([1.0, 2.0], [6.0, 7.0])
    5.0
    """
    errors = np.abs(_errors(forecast, truth))
    largest = float(errors.max())
    # squares of values up to 1 cannot overflow
    return largest * math.sqrt(np.mean((errors / largest) ** 2)) if largest > _TINY else 0.0


def smape(forecast: ArrayLike, truth: ArrayLike) -> float:
    """Return the sMAPE of the M4 competition in percent: the mean of ``200 · |y - f| / (|y| + |f|)``.

    A term is 0 where both values are 0.
    Source: Makridakis, Spiliotis, Assimakopoulos, "The M4 Competition", 2020. Raises as `mae`.

    >>> smape([1.0, 0.0], [3.0, 0.0])
    50.0
    """
    forecasts, truths = known_pairs(forecast, truth)
    # work on halves: sums and differences of huge numbers would overflow
    size = np.abs(forecasts / 2) + np.abs(truths / 2)
    size[size == 0] = 1.0
    return float(np.mean(200 * (np.abs(truths / 2 - forecasts / 2) / size)))


def scale(history: ArrayLike, season: int = 1) -> float | None:
    """Return the unit of MASE: the mean absolute difference of values a season apart in `history` ``[T]``.

    If there are no such differences, or all are 0, the differences of neighbouring values are used; None if
    those are 0 as well.

    >>> scale([1.0, 5.0, 2.0, 7.0], 2), scale([1.0, 2.0, 1.0, 2.0], 2), scale([3.0, 3.0])
    (1.5, 1.0, None)
    """
    series = np.asarray(history, np.float64)
    # a season of 1 has only one lag to try
    for lag in dict.fromkeys((max(1, season), 1)):
        with np.errstate(over="ignore", invalid="ignore"):
            differences = np.abs(series[lag:] - series[:-lag])
        differences = np.minimum(differences[~np.isnan(differences)], _MAX)
        unit = _mean(differences) if len(differences) else 0.0
        if unit > _TINY:
            return unit
    return None


def mase(
    forecast: ArrayLike, truth: ArrayLike, history: ArrayLike, season: int = 1
) -> float | None:
    """Return the mean absolute error divided by the `scale` of the `history` before the forecast.

    None if the history is constant. Source: Hyndman, Koehler, "Another look at measures of forecast
    accuracy", 2006. Raises as `mae`.

    >>> mase([7.0, 7.0], [8.0, 9.0], [1.0, 5.0, 2.0, 7.0], 2)
    1.0
    """
    unit, error = scale(history, season), mae(forecast, truth)
    return None if unit is None else min(error / unit, _MAX)


def pinball(forecast: ArrayLike, truth: ArrayLike, level: float) -> float:
    """Return the mean quantile loss of a forecast of the quantile at `level`, in the unit of the series.

    The loss is ``max(q · (y - f), (q - 1) · (y - f))``. Source: Koenker, Bassett, "Regression Quantiles",
    1978. Raises as `mae`.

    >>> pinball([1.0, 1.0], [2.0, 0.0], 0.75)
    0.5
    """
    errors = _errors(forecast, truth)
    return _mean(np.maximum(level * errors, (level - 1) * errors))


def crps(forecasts: ArrayLike, truth: ArrayLike, levels: Sequence[float]) -> float:
    """Return the continuous ranked probability score of `forecasts` ``[Q, ...]``, lower is better.

    The score is twice the integral of the quantile loss over all levels, by the trapezoidal rule between the
    ascending `levels` ``[Q]``, in the unit of the series. Source: Gneiting, Raftery, "Strictly Proper Scoring
    Rules, Prediction, and Estimation", 2007, with the quantile form of Laio, Tamea 2007. Raises as `mae`.

    >>> crps([[0.0], [1.0], [2.0]], [1.0], [0.25, 0.5, 0.75])
    0.25
    """
    edges = np.array([0.0, *levels, 1.0])
    # twice the width that each level stands for in the trapezoidal rule
    weights = edges[2:] - edges[:-2]
    rows = np.asarray(forecasts, np.float64)
    losses = (pinball(row, truth, level) for row, level in zip(rows, levels, strict=True))
    return min(float(sum(w * loss for w, loss in zip(weights, losses, strict=True))), _MAX)


def mean_of_quantiles(quantiles: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Return the mean ``[...]`` of distributions given by their quantiles ``[..., Q]`` at `levels`.

    The distribution is taken as uniform between two quantiles and exponential beyond the outermost ones, with
    the density of the outermost gap. If that gap is more than twice the next one, the tail is left out.

    >>> mean_of_quantiles(np.array([[0.0, 1.0, 2.0], [0.0, 0.0, 4.0]]), (0.25, 0.5, 0.75)).tolist()
    [1.0, 1.5]
    """
    if len(levels) < 3:
        return np.asarray(quantiles[..., len(levels) // 2])
    edges = np.array([0.0, *levels, 1.0])
    gaps_of_levels = np.diff(levels)
    weights = np.zeros(len(levels))
    # each quantile stands for half of the gap below it and half of the gap above it
    weights[:-1] += gaps_of_levels / 2
    weights[1:] += gaps_of_levels / 2
    # the tails beyond the outermost levels, which lie equally far from 0 and 1
    weights[[0, -1]] += edges[1]
    with np.errstate(over="ignore", invalid="ignore"):
        gaps = np.diff(quantiles, axis=-1)
        tails = [
            np.where(outer <= 2 * inner, outer, 0.0) * edges[1] / np.log(edges[2] / edges[1])
            for outer, inner in ((gaps[..., -1], gaps[..., -2]), (gaps[..., 0], gaps[..., 1]))
        ]
        mean = np.einsum("...q,q->...", quantiles, weights) + tails[0] - tails[1]
    return np.asarray(np.where(np.isfinite(mean), mean, quantiles[..., len(levels) // 2]))


def weighted_quantile_loss(
    forecasts: ArrayLike, truth: ArrayLike, levels: Sequence[float]
) -> float | None:
    """Return twice the quantile loss of `forecasts` ``[Q, ...]`` divided by ``Σ|y|``, averaged over `levels`.

    None if every true value is 0. Raises as `mae`.

    >>> weighted_quantile_loss([[1.0, 1.0]], [2.0, 0.0], [0.75])
    1.0
    """
    rows, truths = np.asarray(forecasts, np.float64), np.asarray(truth, np.float64)
    # the mean of |y|
    size = mae(np.zeros_like(truths), truths)
    if size <= _TINY:
        return None
    losses = [pinball(row, truths, level) / size for row, level in zip(rows, levels, strict=True)]
    return min(2 * sum(losses) / len(losses), _MAX)


def coverage(low: ArrayLike, high: ArrayLike, truth: ArrayLike) -> float:
    """Return the share of the true values that lie between `low` and `high`; raises DataError, ShapeError.

    >>> coverage([0.0, 0.0], [1.0, 1.0], [1.0, 2.0])
    0.5
    """
    lows, truths = known_pairs(low, truth)
    highs, _ = known_pairs(high, truth)
    return float(np.mean((lows <= truths) & (truths <= highs)))


def interval_width(low: ArrayLike, high: ArrayLike, truth: ArrayLike) -> float:
    """Return the mean width of the intervals whose true value is known, in the unit of the series.

    >>> interval_width([0.0, 0.0], [1.0, 3.0], [1.0, 2.0])
    2.0
    """
    lows, _ = known_pairs(low, truth)
    highs, _ = known_pairs(high, truth)
    with np.errstate(over="ignore"):
        return _mean(np.clip(highs - lows, 0.0, _MAX))
