"""Ridge regression whose strength is chosen by leave-one-out, with numpy alone.

Source: the leave-one-out residuals of a linear smoother are its residuals over one minus its leverages, as in
T. Hastie, R. Tibshirani, J. Friedman, "The Elements of Statistical Learning", 2nd edition, equation 7.52.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

STRENGTHS = tuple(10.0 ** (power / 2) for power in range(-8, 5))
"""Candidates, as multiples of the mean squared norm of the centred rows of features."""
# Below this mean squared norm, a strength times the norm could underflow to 0, a divisor.
_SMALLEST_SPREAD = 1e-200


class Ridge(NamedTuple):
    """A fitted ridge regression: answers are ``(features - means) @ weights + bias``."""

    means: np.ndarray
    """``[F]``."""
    weights: np.ndarray
    """``[F, K]``."""
    bias: np.ndarray
    """``[K]``."""
    strength: float
    left_out: np.ndarray
    """The answer for each row by a regression without that row, ``[N, K]``."""


def fit_ridge(
    features: np.ndarray, targets: np.ndarray, row_weights: np.ndarray, strength: float | None
) -> Ridge:
    """Fit a ridge regression with the strength that has the least squared error in leave-one-out.

    Args:
        features: The feature matrix ``[N, F]``; a weight costs the less, the larger its feature.
        targets: ``[N, K]``.
        row_weights: Weight of each row in the squared error ``[N]``.
        strength: The strength, if it was chosen before; one of `STRENGTHS` otherwise.

    >>> rows = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> fitted = fit_ridge(rows, 2 * rows, np.ones(4), None)
    >>> fitted.weights.round(2).tolist(), fitted.left_out[3].round(1).tolist()
    ([[2.0]], [6.0])
    """
    shares = row_weights / row_weights.sum()
    means, bias = shares @ features, shares @ targets
    root = np.sqrt(row_weights)[:, None]
    X = (features - means) * root
    Y = (targets - bias) * root
    N, F = X.shape
    # of the two products the smaller one; both give the scores [N, R] of the principal directions
    if N <= F:
        values, vectors = np.linalg.eigh((X @ X.T).astype(np.float64))
        values = values.clip(0)
        scores = vectors * np.sqrt(values)
    else:
        values, vectors = np.linalg.eigh((X.T @ X).astype(np.float64))
        values = values.clip(0)
        scores = X @ vectors
    unit = float(values.sum()) / N
    if unit < _SMALLEST_SPREAD:
        unit = 1.0  # all rows are equal, so that any strength gives the weights 0
    projected = scores.T @ Y

    def residuals(strength: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the residuals, and those in leave-one-out, of the weighted rows."""
        shrunk = 1 / (values + strength * unit)
        left = Y - scores @ (shrunk[:, None] * projected)
        # the bias is fitted too, so that each row has its share in it
        leverage = scores**2 @ shrunk + shares
        return left, left / np.maximum(1 - leverage, 1e-9)[:, None]

    if strength is None:
        errors = [float(np.mean(residuals(one)[1] ** 2)) for one in STRENGTHS]
        strength = STRENGTHS[int(np.argmin(errors))]
    left, without = residuals(strength)
    # where the gradient is zero, the weights are this sum of the rows
    weights = X.T @ (left / (strength * unit))
    return Ridge(means, weights, bias, strength, targets - without / root)
