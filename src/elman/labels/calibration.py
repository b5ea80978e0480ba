"""Calibration: the distance of probabilities from the share of right answers, and its correction."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from elman.errors import DataError, ShapeError

BINS = 15
MIN_PROBABILITY = float(np.finfo(np.float64).eps)
"""Smaller probabilities are raised to this in the log loss, as in scikit-learn."""
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.1, 100.0


def _checked(probabilities: ArrayLike, truth: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    shares, truths = np.asarray(probabilities, np.float64), np.asarray(truth, np.int64)
    if shares.ndim != 2 or not shares.shape[1] or truths.shape != shares.shape[:1]:
        raise ShapeError(
            "probabilities and labels do not fit",
            got=f"{shares.shape}, {truths.shape}",
            expected="[N, K], [N]",
        )
    if not (np.isfinite(shares).all() and (truths < shares.shape[1]).all()):
        raise DataError("a probability is not finite, or a label has none")
    return shares, truths


def log_loss(probabilities: ArrayLike, truth: ArrayLike) -> float | None:
    """Return the mean of ``-ln p`` of the true labels in nats, from probabilities ``[N, K]``.

    Each term is at most 36.04. Labels that were not in training are left out; None if no other is left.
    Raises ShapeError, DataError.

    >>> log_loss([[0.5, 0.5], [0.25, 0.75]], [0, 1]).__round__(4)
    0.4904
    """
    shares, truths = _checked(probabilities, truth)
    known = np.flatnonzero(truths >= 0)
    if not len(known):
        return None
    return float(-np.log(np.clip(shares[known, truths[known]], MIN_PROBABILITY, 1.0)).mean())


class ReliabilityBin(NamedTuple):
    """The answers with a probability above `low` and up to `high`."""

    low: float
    high: float
    answers: int
    confidence: float
    """Mean probability of the answers."""
    accuracy: float
    """Share of right answers."""


def reliability(probabilities: ArrayLike, truth: ArrayLike) -> tuple[ReliabilityBin, ...]:
    """Sort the answers, each the most probable label, by probability into 15 bins of equal width.

    Empty bins are left out. Raises ShapeError, DataError.

    >>> reliability([[0.9, 0.1], [0.88, 0.12]], [0, 1])[0][2:]
    (2, 0.89, 0.5)
    """
    shares, truths = _checked(probabilities, truth)
    confidence, right = shares.max(axis=1, initial=0.0), shares.argmax(axis=1) == truths
    # bin b holds the probabilities above b / 15 and up to (b + 1) / 15
    bin_of = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    counts = np.bincount(bin_of, minlength=BINS)
    confidences = np.bincount(bin_of, confidence, BINS) / np.maximum(1, counts)
    rights = np.bincount(bin_of, right, BINS) / np.maximum(1, counts)
    return tuple(
        ReliabilityBin(
            b / BINS, (b + 1) / BINS, int(counts[b]), float(confidences[b]), float(rights[b])
        )
        for b in np.flatnonzero(counts).tolist()
    )


def calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """Return the mean distance between probability and share of right answers in the bins of `reliability`.

    This is the expected calibration error of Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural
    Networks", 2017, equation 3. Without any answer it is 0.

    >>> calibration_error(reliability([[0.9, 0.1], [0.9, 0.1]], [0, 1])).__round__(4)
    0.4
    """
    total = sum(bin_.answers for bin_ in bins)
    return sum(bin_.answers * abs(bin_.confidence - bin_.accuracy) for bin_ in bins) / max(1, total)


def search_temperature(loss: Callable[[float], float]) -> float:
    """Return the temperature between 1/4 and 4 with the least `loss`, by golden-section search.

    >>> round(search_temperature(lambda temperature: (temperature - 1.5) ** 2), 1)
    1.5
    """
    low, high, ratio = -math.log(4.0), math.log(4.0), (math.sqrt(5) - 1) / 2
    # 9 steps leave an interval of 4 %
    for _ in range(9):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, right) if loss(math.exp(left)) < loss(math.exp(right)) else (left, high)
    return math.exp((low + high) / 2)


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """Return the temperature by which to divide ``logits [N, K]`` for the least log loss on `labels` ``[N]``.

    The loss is convex in 1 / T, so the zero of its slope is found by bisection between 0.1 and 100. The
    result is 1 if every answer is right, because the loss then has no minimum, and if there is no answer or
    only one class. Source: Guo et al. 2017, section 4.2. Raises ShapeError, DataError.

    >>> logits = np.array([[2.0, 0.0], [2.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
    >>> fit_temperature(logits, [0, 0, 0, 0]).__round__(4)  # 3 of 4 are right: e^(2/T) is 3
    1.8205
    """
    rows, truths = _checked(logits, labels)
    rows, truths = rows[truths >= 0], truths[truths >= 0]
    if not len(rows) or rows.shape[1] < 2:
        return 1.0
    # with the largest logit at 0, no exponential overflows
    rows = rows - rows.max(axis=1, keepdims=True)
    true = rows[np.arange(len(rows)), truths]
    if (true == 0).all():
        return 1.0

    def slope(sharpness: float) -> float:
        # exp(-700) is near the smallest number of float64
        weights = np.exp(np.maximum(rows * sharpness, -700.0))
        return float(np.mean((weights * rows).sum(axis=1) / weights.sum(axis=1) - true))

    # the search is on ln(1 / T), because temperatures are factors
    low, high = math.log(1 / MAX_TEMPERATURE), math.log(1 / MIN_TEMPERATURE)
    # 50 halvings leave an interval far below the rounding of the logits
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if slope(math.exp(middle)) > 0 else (middle, high)
    return math.exp(-(low + high) / 2)
