"""Whether one model's losses differ from another's on the same test set beyond chance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from elman.errors import ShapeError
from elman.metrics.skill import student_quantile

__all__ = ["Difference", "paired_difference"]

FEW_GROUPS = 5
"""Groups below which chance cannot be told from a difference."""


@dataclass(frozen=True)
class Difference:
    """How much lower or higher the losses of one model are than those of another."""

    value: float
    """Mean loss of the one minus that of the other; below 0 the one is better."""
    standard_error: float | None
    """Of `value`; None where the groups are too few to tell."""
    groups: int
    verdict: Literal["better", "worse", "no difference"]
    """"no difference" is one that the test set cannot show."""


def paired_difference(losses: ArrayLike, others: ArrayLike, groups: ArrayLike) -> Difference:
    """Return how the mean of `losses` ``[N]`` stands to that of `others` ``[N]``, on the same predictions.

    Predictions of one group, such as a line of a text, depend on one another; those of different groups do
    not. So the standard error is that of a ratio of sums over groups (W. Cochran, "Sampling Techniques",
    1977, equation 6.9), and a difference counts where Student's t is beyond its two-sided 5 % limit.

    Args:
        losses: the losses of the one model.
        others: the losses of the other model.
        groups: the number of each prediction's group, whole numbers from 0.

    Raises:
        ShapeError: the arrays do not have one length.

    >>> paired_difference([1.0, 1.2, 0.9, 1.1, 1.0], [2.0, 2.1, 2.0, 2.2, 1.9], range(5)).verdict
    'better'
    """
    ours, theirs = np.asarray(losses, np.float64), np.asarray(others, np.float64)
    of = np.asarray(groups, np.int64)
    if ours.shape != theirs.shape or ours.shape != of.shape or ours.ndim != 1 or not len(ours):
        raise ShapeError("losses do not pair", got=ours.shape, expected=f"[N] as {theirs.shape}")
    gaps = ours - theirs
    value = float(gaps.mean())
    counts = np.bincount(of)
    sums = np.bincount(of, weights=gaps)[counts > 0]
    counts = counts[counts > 0]
    few = len(counts) < FEW_GROUPS
    error = None
    if not few:
        spread = float(np.square(sums - value * counts).sum())
        error = math.sqrt(spread * len(counts) / (len(counts) - 1)) / len(ours)
    if error is None or abs(value) <= student_quantile(len(counts) - 1, 0.975) * error:
        return Difference(value, error, len(counts), "no difference")
    return Difference(value, error, len(counts), "better" if value < 0 else "worse")
