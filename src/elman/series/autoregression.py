"""Linear autoregression on the last values of a window: the forecast that the network corrects.

For each step ahead it adds to a naive forecast (the last value, or the last season) a linear function of the
last L values, as distances from the last one in units of the window. So its forecast moves with the level of
the series, as in NLinear (A. Zeng et al., arXiv:2205.13504). The last K distances can count a second
time, bounded: then a jump moves the forecast less than a line would. The fit is in
`elman.series.autoregression_fit`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

MAX_LAG_INPUT = 1e3
"""Bound of the absolute value of a lag, in units of the window."""


@dataclass(frozen=True, eq=False)
class Ridge:
    """Weights of a linear autoregression, and the size of its errors."""

    weights: np.ndarray
    """float64 ``[h, L]``: the oldest lag first; the last column is the constant, because the distance of
    the last value from itself is 0."""
    deviation: np.ndarray
    """float64 ``[h]``: root mean square of the cross-validated errors, in units of the window."""
    bounded_weights: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    """float64 ``[h, K]``: weights of the bounded distances, the oldest first; K is 0 if there are none."""
    bound: float = 0.0
    """Bound of their absolute value, in units of the window."""

    @property
    def bounded_lags(self) -> int:
        """K, the number of distances that count a second time, bounded."""
        return int(self.bounded_weights.shape[1])

    @property
    def spread(self) -> float:
        """The mean deviation: the size of a typical correction that is left to the network."""
        return float(self.deviation.mean())

    def correction(self, past: np.ndarray, unit: np.ndarray) -> np.ndarray:
        """Return the distance ``[B, h]`` of the forecast from the naive one, in units of the windows.

        Args:
            past: ``[B, W]``, W at least L, NaN where missing.
            unit: ``[B]``.
        """
        inputs = lag_inputs(past, unit, self.weights.shape[1])
        moved = inputs @ self.weights.T
        if self.bounded_lags:
            moved += bounded(inputs, self.bounded_lags, self.bound) @ self.bounded_weights.T
        return np.asarray(moved)


def bounded(inputs: np.ndarray, count: int, bound: float) -> np.ndarray:
    """Return the `count` distances nearest to the origin, bounded, from `lag_inputs`.

    >>> bounded(np.array([[-9.0, -4.0, 1.5, 1.0]]), 2, 3.0).tolist()
    [[-3.0, 1.5]]
    """
    return np.asarray(inputs[:, inputs.shape[1] - 1 - count : -1].clip(-bound, bound))


def lag_inputs(past: np.ndarray, unit: np.ndarray, lags: int) -> np.ndarray:
    """Return the inputs ``[B, L]`` of the regression from ``past [B, W]`` and ``unit [B]``.

    A missing value repeats the one before it; before the first known value, it is the first known value.

    >>> lag_inputs(np.array([[np.nan, 1.0, np.nan, 4.0]]), np.array([2.0]), 4).tolist()
    [[-1.5, -1.5, -1.5, 1.0]]
    """
    recent = past[:, -lags:]
    known = np.isfinite(recent)
    # [B, L]: where the last known value up to each step stands, -1 before the first one
    at = np.maximum.accumulate(np.where(known, np.arange(lags), -1), axis=1)
    at = np.where(at < 0, known.argmax(axis=1)[:, None], at)
    filled = np.take_along_axis(recent, at, axis=1)
    with np.errstate(over="ignore", invalid="ignore"):
        inputs = (filled - filled[:, -1:]) / unit[:, None]
    inputs[:, -1] = 1.0
    return np.asarray(np.nan_to_num(inputs).clip(-MAX_LAG_INPUT, MAX_LAG_INPUT))
