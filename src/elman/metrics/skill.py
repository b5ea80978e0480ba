"""Whether a forecast says more than another one, or than the last value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from elman.errors import DataError, ShapeError

__all__ = ["Skill", "is_repeated_last", "paired_skill", "student_quantile"]

_TINY, _INFINITE = float(np.finfo(np.float64).tiny), 1e9
# Below this number of origins a horizon apart, chance cannot be told from skill: the standard error itself is
# then so uncertain that random walks seem to be foretold.
_FEW = 8
# Moves of at most a third of the true ones, that foretell nothing, are the last value repeated;
# from a few origins alone, only moves of at most a twentieth are.
_SMALL_MOVES, _NO_MOVES = 1 / 3, 1 / 20


@dataclass(frozen=True)
class Skill:
    """How a forecast compares with another one on the same windows."""

    against: str
    """The name of the other."""
    value: float
    """Share of the other's error that it saves; below 0 it makes a larger one."""
    standard_error: float | None
    """Of `value`; None where the origins are too few to tell."""
    origins: int
    """Origins in time, a horizon or more apart; several series at one time count as one."""
    verdict: str
    """"better" or "not better" beyond chance; else "no difference": none that these windows can show. With
    too few origins a larger error is "not better", a smaller one "no difference"."""

    def __str__(self) -> str:
        other = f"the {self.against} forecast"
        name, _, steps = self.against.rpartition(" ")
        if steps.isdigit():
            other = f"the {name} forecast ({steps} steps back)"
        size = f"{100 * abs(self.value):.1f} % {'below' if self.value > 0 else 'above'}"
        if self.value < -9:
            size = "over a million times" if self.value < -1e6 else f"{1 - self.value:,.0f} times"
        if self.verdict == "not better":
            return f"NOT BETTER than {other}: the error is " + (
                f"{size} that forecast's" if self.value else "the same"
            )
        size = f"{size} that of {other}"
        if self.standard_error is None:
            apart = f"{self.origins} origin{'s' * (self.origins > 1)} in time"
            return f"the error is {size}; {apart} cannot tell how much of that is chance"
        error = f"(standard error {100 * self.standard_error:.1f} %)"
        if self.verdict == "better":
            return f"the error is {size} {error}"
        return (
            f"the error is {size}, which is within chance {error}: NO DIFFERENCE that this test set"
            " can show"
        )


def student_quantile(freedom: int, level: float) -> float:
    """Return the quantile of Student's t at `level`, for 0.975 to 4 % from three degrees of freedom on.

    Source: Abramowitz, Stegun, "Handbook of Mathematical Functions", 26.7.5.

    >>> round(student_quantile(10, 0.95), 3)
    1.812
    """
    z = NormalDist().inv_cdf(level)
    return (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    )


def _apart(times: np.ndarray, horizon: int) -> int:
    """Return how many of the ascending `times` are a horizon or more apart."""
    count, last = 0, -math.inf
    for time in times.tolist():
        if time >= last + horizon:
            count, last = count + 1, time
    return count


def _standard_error(
    values: np.ndarray, times: np.ndarray, horizon: int
) -> tuple[float | None, int]:
    """Return the standard error of the mean of `values` ``[N]``, None where they are too few, and how many.

    Values of one time are one observation, whatever their series: what happens at one time happens to
    many of them. Those less than a horizon apart share a part of their truth. Both as Driscoll, Kraay 1998
    with the weights of Newey, West 1987 and the correction for few values of Harvey, Leybourne, Newbold
    1997. How many are the origins a horizon apart: they are the observations of the test.
    """
    when, place = np.unique(times, return_inverse=True)
    n, count = len(when), _apart(when, horizon)
    if count < _FEW:
        return None, count
    centred = values - values.mean()
    largest = float(np.abs(centred).max())
    if largest == 0:
        return 0.0, count
    # squares of great numbers are no floats
    sums = np.bincount(place, centred / largest)
    variance = float(sums @ sums)
    for lag in range(1, n):
        distance = when[lag:] - when[:-lag]
        near = distance < horizon
        if not near.any():
            break
        weights = 1 - distance[near] / horizon
        variance += 2 * float(weights @ (sums[lag:] * sums[:-lag])[near])
    h = n / count
    few = max((n + 1 - 2 * h + h * (h - 1) / n) / n, 1 / n)
    return largest * (math.sqrt(max(variance, 0.0) / few) / len(values)), count


def paired_skill(
    losses: ArrayLike,
    other: ArrayLike,
    *,
    against: str = "naive",
    times: ArrayLike | None = None,
    horizon: int = 1,
) -> Skill:
    """Return how `losses` ``[N]``, one a window, compare with those of the `other` forecast.

    Better and not better are each said where chance would do so one time in twenty at most, by the paired
    test of Diebold, Mariano, "Comparing Predictive Accuracy", 1995. `times` ``[N]`` are the steps at which
    the windows begin, on one clock for all series (by default one after another), and each window reaches
    over `horizon` steps. Windows of several series at one time are one observation. Where the other makes
    no error the skill is 0 if this one makes none, else -1e9. Raises ShapeError.

    >>> paired_skill([1.0, 2.0, 1.0, 2.0] * 2, [2.0, 3.0, 2.0, 4.0] * 2).verdict
    'better'
    """
    ours, others = np.asarray(losses, np.float64), np.asarray(other, np.float64)
    if ours.shape != others.shape or ours.ndim != 1 or not len(ours):
        raise ShapeError(
            "losses do not pair", got=ours.shape, expected=f"[N] as the other's {others.shape}"
        )
    when = np.arange(len(ours)) * horizon if times is None else np.asarray(times)
    largest = float(max(ours.max(), others.max()))
    base = float(np.mean(others / largest)) if largest > 0 else 0.0
    if base <= 0:
        value = -_INFINITE if largest > 0 else 0.0
        return Skill(against, value, None, _apart(np.unique(when), horizon), "not better")
    gains = (others / largest - ours / largest) / base
    skill = float(gains.mean())
    error, count = _standard_error(gains, when, horizon)
    if skill <= 0 and (error is None or skill == 0):
        verdict = "not better"
    elif error is None or abs(skill) <= student_quantile(count - 1, 0.95) * error:
        verdict = "no difference"
    else:
        verdict = "better" if skill > 0 else "not better"
    return Skill(against, skill, error, count, verdict)


def is_repeated_last(
    forecasts: ArrayLike,
    last: ArrayLike,
    truth: ArrayLike,
    *,
    times: ArrayLike | None = None,
    horizon: int = 1,
) -> bool:
    """Return whether forecasts ``[N, H]`` are in effect the `last` value ``[N]`` before them, repeated.

    They are where both hold: their moves away from the last value are at most a third as large (root mean
    square) as the true ones, and do not foretell these. The second is the test of Clark, West,
    "Approximately normal tests for equal predictive accuracy in nested models", 2007: the product of
    both moves, a mean for each window, is not above 0 beyond chance (one-sided 5 %). With origins too few
    for a test, only moves of at most a twentieth of the true ones count; a truth that does not move
    repeats nothing. Several series are divided by their scale before. `times` and `horizon` as in
    `paired_skill`. Raises ShapeError, DataError.

    >>> last = np.array([1.0, 4.0, 2.0, 8.0, 5.0, 7.0])
    >>> truth = np.array([[4.0], [2.0], [8.0], [5.0], [7.0], [1.0]])
    >>> is_repeated_last(last[:, None] + 0.1, last, truth), is_repeated_last(truth - 0.1, last, truth)
    (True, False)
    """
    values, truths = np.asarray(forecasts, np.float64), np.asarray(truth, np.float64)
    before = np.asarray(last, np.float64)
    if values.ndim != 2 or values.shape != truths.shape or before.shape != values.shape[:1]:
        raise ShapeError(
            "forecasts, last values and truth do not fit",
            got=f"{values.shape}, {before.shape}, {truths.shape}",
            expected="[N, H], [N], [N, H]",
        )
    there = np.isfinite(truths)
    if not there.any() or not np.isfinite(values[there]).all() or not np.isfinite(before).all():
        raise DataError("no truth is known, or a forecast or last value is not finite")
    largest = max(np.abs(before).max(), np.abs(truths[there]).max(), np.abs(values[there]).max())
    unit = max(float(largest), _TINY)
    true_moves = np.where(there, truths / unit - before[:, None] / unit, 0.0)
    moves = np.where(there, values / unit - before[:, None] / unit, 0.0)
    size, true_size = (float(np.sqrt((some**2).sum())) for some in (moves, true_moves))
    if true_size == 0 or size > _SMALL_MOVES * true_size:
        return False
    origins = there.any(axis=1)
    products = (moves * true_moves).sum(axis=1)[origins] / there.sum(axis=1)[origins]
    when = np.arange(len(values)) * horizon if times is None else np.asarray(times)
    error, count = _standard_error(products, when[origins], horizon)
    if error is None:
        return size <= _NO_MOVES * true_size
    return bool(products.mean() <= student_quantile(count - 1, 0.95) * error)
