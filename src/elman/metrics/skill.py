"""Tests of whether a forecast is better than another one, and whether it only repeats the last value.

The errors of windows that overlap in time are correlated, so the tests count origins that are a horizon or
more apart as the observations, not windows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from elman.errors import DataError, ShapeError
from elman.metrics.paired import SIGNIFICANCE_LEVEL, paired, student_quantile

Verdict: TypeAlias = Literal["better", "not better", "no difference"]
_TINY = float(np.finfo(np.float64).tiny)
WORST_SKILL = -1e9
"""Skill of a forecast that makes an error where the other forecast makes none."""
MIN_ORIGINS = 8
"""With fewer origins a horizon apart, the standard error is too uncertain to tell skill from chance: random
walks would seem predictable."""
SMALL_MOVES, NO_MOVES = 1 / 3, 1 / 20
"""A forecast whose moves are at most this share of the true moves may count as the repeated last value.
`NO_MOVES` is the limit if there are fewer than `MIN_ORIGINS` origins."""


@dataclass(frozen=True)
class Skill:
    """Comparison of a forecast with another one on the same windows."""

    against: str
    """Name of the other forecast."""
    value: float
    """Share of the other forecast's error that this one saves; below 0 its error is larger."""
    standard_error: float | None
    """Standard error of `value`; None with fewer than `MIN_ORIGINS` origins."""
    origins: int
    """Number of origins in time that are a horizon or more apart; several series at one time count once."""
    verdict: Verdict
    """"better" and "not better" are beyond chance; "no difference" is one that these windows cannot show.
    With too few origins, a larger error is "not better" and a smaller one "no difference"."""

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
            origins = f"{self.origins} origin{'s' * (self.origins > 1)} in time"
            return f"the error is {size}; {origins} cannot tell how much of that is chance"
        error = f"(standard error {100 * self.standard_error:.1f} %)"
        if self.verdict == "better":
            return f"the error is {size} {error}"
        return (
            f"the error is {size}, which is within chance {error}: NO DIFFERENCE that this test set"
            " can show"
        )


def _count_origins(times: np.ndarray, horizon: int) -> int:
    """Return how many of the ascending `times` are a horizon or more apart."""
    count, last = 0, -math.inf
    for time in times.tolist():
        if time >= last + horizon:
            count, last = count + 1, time
    return count


def _standard_error(
    values: np.ndarray, times: np.ndarray, horizon: int
) -> tuple[float | None, int]:
    """Return the standard error of the mean of `values` ``[N]`` and the number of origins a horizon apart.

    The error is None with fewer than `MIN_ORIGINS` origins. Values of one time count as one observation
    because an event at that time affects many series at once; values less than a horizon apart are
    correlated because they share true values. Sources: Driscoll, Kraay 1998, with the weights of Newey, West
    1987 and the small-sample correction of Harvey, Leybourne, Newbold 1997.
    """
    # series that are forecast at one time share its events, so their losses are added
    when, place = np.unique(times, return_inverse=True)
    n, count = len(when), _count_origins(when, horizon)
    if count < MIN_ORIGINS:
        return None, count
    centred = values - values.mean()
    largest = float(np.abs(centred).max())
    if largest == 0:
        return 0.0, count
    # divide by the largest: squares of huge numbers would overflow
    sums = np.bincount(place, centred / largest)
    variance = float(sums @ sums)
    # windows less than a horizon apart share true values, the more the nearer they are
    for lag in range(1, n):
        distance = when[lag:] - when[:-lag]
        near = distance < horizon
        if not near.any():
            break
        weights = 1 - distance[near] / horizon
        variance += 2 * float(weights @ (sums[lag:] * sums[:-lag])[near])
    h = n / count
    # the correction for small samples; h is the number of times in a horizon
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
    """Compare the losses ``[N]`` of a forecast, one for each window, with those of the `other` forecast.

    The test is the paired one of Diebold, Mariano, "Comparing Predictive Accuracy", 1995, one-sided at 5 % in
    each direction.

    Args:
        losses: Losses of the forecast.
        other: Losses of the other forecast in the same windows.
        against: Name of the other forecast.
        times: Step at which each window begins, on one clock for all series (default: windows that follow
            one another without overlap). Windows of several series at one time are one observation.
        horizon: Number of steps in each window.

    Returns:
        The skill. Where the other forecast makes no error it is 0 if this one makes none, else `WORST_SKILL`.

    Raises:
        ShapeError: The arrays differ in length.

    >>> paired_skill([1.0, 2.0, 1.0, 2.0] * 2, [2.0, 3.0, 2.0, 4.0] * 2).verdict
    'better'
    """
    ours, others = paired(losses, other)
    when = np.arange(len(ours)) * horizon if times is None else np.asarray(times)
    largest = float(max(ours.max(), others.max()))
    # the other forecast's mean loss, in units of the largest loss
    base = float(np.mean(others / largest)) if largest > 0 else 0.0
    if base <= 0:
        value = WORST_SKILL if largest > 0 else 0.0
        return Skill(against, value, None, _count_origins(np.unique(when), horizon), "not better")
    # [N], with a mean of the share of the error that is saved
    gains = (others / largest - ours / largest) / base
    skill = float(gains.mean())
    error, count = _standard_error(gains, when, horizon)
    verdict: Verdict = "better" if skill > 0 else "not better"
    if error is None:
        verdict = "no difference" if skill > 0 else "not better"
    elif skill and abs(skill) <= student_quantile(count - 1, 1 - SIGNIFICANCE_LEVEL) * error:
        verdict = "no difference"
    return Skill(against, skill, error, count, verdict)


def is_repeated_last(
    forecasts: ArrayLike,
    last: ArrayLike,
    truth: ArrayLike,
    *,
    times: ArrayLike | None = None,
    horizon: int = 1,
) -> bool:
    """Return whether forecasts ``[N, H]`` in effect repeat the `last` value ``[N]`` before each window.

    They do if both conditions hold. First, the forecast moves away from the last value at most a third as
    far as the truth does (root mean square). Second, these moves do not predict the true moves: by the test
    of Clark, West, "Approximately normal tests for equal predictive accuracy in nested models", 2007, the
    product of both moves, averaged in each window, is not above 0 beyond chance (one-sided, 5 %). With too
    few origins for that test, the moves must be at most a twentieth of the true ones. If the truth never
    moves, the answer is False.

    Args:
        forecasts: The forecasts; several series must have been divided by their scales.
        last: The value before each window.
        truth: The true values ``[N, H]``, NaN where unknown.
        times: As in `paired_skill`.
        horizon: As in `paired_skill`.

    Raises:
        ShapeError: The arrays do not fit together.
        DataError: No truth is known, or a forecast or last value is not finite.

    >>> last = np.array([1.0, 4.0, 2.0, 8.0, 5.0, 7.0])
    >>> truth = np.array([[4.0], [2.0], [8.0], [5.0], [7.0], [1.0]])
    >>> is_repeated_last(last[:, None] + 0.1, last, truth), is_repeated_last(truth - 0.1, last, truth)
    (True, False)
    """
    moves, true_moves, known = _moves(forecasts, last, truth)
    size, true_size = (float(np.sqrt((move**2).sum())) for move in (moves, true_moves))
    if true_size == 0 or size > SMALL_MOVES * true_size:
        return False
    origins = known.any(axis=1)
    # [N]: positive where a window's moves point the right way
    products = (moves * true_moves).sum(axis=1)[origins] / known.sum(axis=1)[origins]
    when = np.arange(len(moves)) * horizon if times is None else np.asarray(times)
    error, count = _standard_error(products, when[origins], horizon)
    if error is None:
        return size <= NO_MOVES * true_size
    return bool(products.mean() <= student_quantile(count - 1, 1 - SIGNIFICANCE_LEVEL) * error)


def _moves(
    forecasts: ArrayLike, last: ArrayLike, truth: ArrayLike
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return how far forecasts and truth are from the last value ``[N, H]``, and where the truth is known.

    The moves are 0 where the truth is unknown. Raises ShapeError, DataError.
    """
    values, truths = np.asarray(forecasts, np.float64), np.asarray(truth, np.float64)
    before = np.asarray(last, np.float64)
    if values.ndim != 2 or values.shape != truths.shape or before.shape != values.shape[:1]:
        raise ShapeError(
            "forecasts, last values and truth do not fit",
            got=f"{values.shape}, {before.shape}, {truths.shape}",
            expected="[N, H], [N], [N, H]",
        )
    known = np.isfinite(truths)
    if not known.any() or not np.isfinite(values[known]).all() or not np.isfinite(before).all():
        raise DataError("no truth is known, or a forecast or last value is not finite")
    # divide by the largest value first: squares and differences of huge numbers would overflow
    largest = max(np.abs(before).max(), np.abs(truths[known]).max(), np.abs(values[known]).max())
    unit = max(float(largest), _TINY)
    moves, true_moves = (
        np.where(known, rows / unit - before[:, None] / unit, 0.0) for rows in (values, truths)
    )
    return moves, true_moves, known
