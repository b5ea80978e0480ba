"""Whether an answer's probability is how often it is right, and the temperature that mends it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from elman.errors import DataError, ShapeError

__all__ = ["Bin", "calibration_error", "fit_temperature", "log_loss", "reliability"]

_BINS = 15
_SMALLEST = float(np.finfo(np.float64).eps)
_COLDEST, _HOTTEST = 0.1, 100.0


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
    """Return the mean of ``-ln p`` of the true labels, nats, from ``p [N, K]``; at most 36.04 each.

    Labels that were not there in training are left out; None where nothing is left.
    Raises ShapeError, DataError.

    >>> log_loss([[0.5, 0.5], [0.25, 0.75]], [0, 1]).__round__(4)
    0.4904
    """
    shares, truths = _checked(probabilities, truth)
    known = np.flatnonzero(truths >= 0)
    if not len(known):
        return None
    return float(-np.log(np.clip(shares[known, truths[known]], _SMALLEST, 1.0)).mean())


class Bin(NamedTuple):
    """The answers whose probability is above `low` and at most `high`."""

    low: float
    high: float
    answers: int
    confidence: float
    """Mean probability of the answers."""
    accuracy: float
    """Share of them that is right."""


def reliability(probabilities: ArrayLike, truth: ArrayLike) -> tuple[Bin, ...]:
    """Return the answers by their probability, in 15 bins of equal width, those with any.

    The answer is the most probable label. Raises ShapeError, DataError.

    >>> reliability([[0.9, 0.1], [0.88, 0.12]], [0, 1])[0][2:]
    (2, 0.89, 0.5)
    """
    shares, truths = _checked(probabilities, truth)
    confidence, right = shares.max(axis=1, initial=0.0), shares.argmax(axis=1) == truths
    place = np.clip(np.ceil(confidence * _BINS).astype(np.int64) - 1, 0, _BINS - 1)
    counts = np.bincount(place, minlength=_BINS)
    confidences = np.bincount(place, confidence, _BINS) / np.maximum(1, counts)
    rights = np.bincount(place, right, _BINS) / np.maximum(1, counts)
    return tuple(
        Bin(b / _BINS, (b + 1) / _BINS, int(counts[b]), float(confidences[b]), float(rights[b]))
        for b in np.flatnonzero(counts).tolist()
    )


def calibration_error(bins: Sequence[Bin]) -> float:
    """Return the mean distance of probability and share of right answers, by `reliability`'s bins.

    The expected calibration error of Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural
    Networks", 2017, equation 3; 0 where there is no answer.

    >>> calibration_error(reliability([[0.9, 0.1], [0.9, 0.1]], [0, 1])).__round__(4)
    0.4
    """
    total = sum(one.answers for one in bins)
    return sum(one.answers * abs(one.confidence - one.accuracy) for one in bins) / max(1, total)


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """Return the temperature by which to divide ``logits [N, K]`` for the lowest loss on `labels` ``[N]``.

    Guo et al. 2017, 4.2. The loss is convex in 1 / T; the place where its slope is 0 is found by halving,
    from 0.1 to 100. Where every answer is right the loss has no lowest place, and where there is no
    answer or one class nothing to fit: 1. Raises ShapeError, DataError.

    >>> logits = np.array([[2.0, 0.0], [2.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
    >>> fit_temperature(logits, [0, 0, 0, 0]).__round__(4)  # 3 of 4 are right: e^(2/T) is 3
    1.8205
    """
    rows, truths = _checked(logits, labels)
    rows, truths = rows[truths >= 0], truths[truths >= 0]
    if not len(rows) or rows.shape[1] < 2:
        return 1.0
    rows = rows - rows.max(axis=1, keepdims=True)
    true = rows[np.arange(len(rows)), truths]
    if (true == 0).all():
        return 1.0

    def slope(sharpness: float) -> float:
        weights = np.exp(np.maximum(rows * sharpness, -700.0))
        return float(np.mean((weights * rows).sum(axis=1) / weights.sum(axis=1) - true))

    low, high = math.log(1 / _HOTTEST), math.log(1 / _COLDEST)
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if slope(math.exp(middle)) > 0 else (middle, high)
    return math.exp(-(low + high) / 2)
