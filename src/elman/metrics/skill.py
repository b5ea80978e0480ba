"""Whether a forecast says more than another one, or than the last value."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from elman._errors import DataError, ShapeError

__all__ = ["Skill", "is_repeated_last", "paired_skill"]

_TINY = float(np.finfo(np.float64).tiny)
# Below this number of origins that do not overlap, chance cannot be told from skill.
_FEW = 4
# Moves of at most a third of the true ones, that foretell nothing, are the last value repeated;
# from a few origins alone, only moves of at most a twentieth are.
_SMALL_MOVES, _NO_MOVES = 1 / 3, 1 / 20


@dataclass(frozen=True)
class Skill:
    """How a forecast stands to another one on the same origins."""

    against: str
    """The name of the other."""
    value: float
    """Share of the other's error that it saves; below 0 it makes a larger one."""
    standard_error: float | None
    """Of `value`; None where the origins are too few to tell."""
    origins: int
    verdict: str
    """"better"; "chance" (better, but not beyond chance); "untested" (better, on too few origins to
    tell); "not better"."""

    def __str__(self) -> str:
        saved, other = f"{100 * abs(self.value):.1f} %", f"the {self.against} forecast"
        below = f"the error is {saved} below that of {other}"
        if self.verdict == "not better":
            return f"NOT BETTER than {other}: the error is " + (
                f"{saved} above its" if self.value < 0 else "the same"
            )
        if self.standard_error is None:
            origins = f"{self.origins} origin{'s' * (self.origins > 1)}"
            return f"{below}; {origins} cannot tell how much of that is chance"
        error = f"(standard error {100 * self.standard_error:.1f} %)"
        if self.verdict == "better":
            return f"{below} {error}"
        return f"{below}, which is within chance {error}: NOT SHOWN TO BE BETTER"


def _student(freedom: int, z: float = 1.6448536269514722) -> float:
    """Return a quantile of Student's t, to 2 % from three degrees of freedom on.

    It is the one that `z` is of the normal distribution, 95 % by default. Source: Abramowitz, Stegun,
    "Handbook of Mathematical Functions", 26.7.5.
    """
    return (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    )


def _standard_error(values: np.ndarray, series: np.ndarray, overlap: int) -> float | None:
    """Return the standard error of the mean of `values` ``[N]``, or None where they are too few.

    Values of one series stand side by side, and each depends on the `overlap` ones after it: Newey, West
    1987, with the correction for few values of Harvey, Leybourne, Newbold 1997.
    """
    n = len(values)
    if n < _FEW * (overlap + 1):
        return None
    centred = values - values.mean()
    largest = float(np.abs(centred).max())
    if largest == 0:
        return 0.0
    centred /= largest  # squares of great numbers are no floats
    variance = float(centred @ centred)
    for lag in range(1, overlap + 1):
        same = series[lag:] == series[:-lag]
        weight = 2 * (1 - lag / (overlap + 1))
        variance += weight * float((centred[lag:] * centred[:-lag])[same].sum())
    h = overlap + 1
    few = (n + 1 - 2 * h + h * (h - 1) / n) / n
    return largest * (math.sqrt(max(variance, 0.0) / few) / n)


def paired_skill(
    losses: ArrayLike,
    other: ArrayLike,
    *,
    against: str = "naive",
    series: ArrayLike | None = None,
    overlap: int = 0,
) -> Skill:
    """Return how `losses` ``[N]``, one an origin, stand to those of the `other` forecast.

    Better is said where they are lower beyond chance: one-sided 5 % in the paired test of Diebold,
    Mariano, "Comparing Predictive Accuracy", 1995. `series` ``[N]`` names the series of each origin,
    those of one side by side; each origin's truth overlaps with the `overlap` ones after it. Series are
    taken as independent. Where the other makes no error the skill is 0 if this one makes none, else -1.
    Raises ShapeError.

    >>> paired_skill([1.0, 2.0, 1.0, 2.0, 1.0], [2.0, 3.0, 2.0, 4.0, 2.0]).verdict
    'better'
    """
    ours, others = np.asarray(losses, np.float64), np.asarray(other, np.float64)
    if ours.shape != others.shape or ours.ndim != 1 or not len(ours):
        raise ShapeError(
            "losses do not pair", got=ours.shape, expected=f"[N] as the other's {others.shape}"
        )
    largest = float(max(ours.max(), others.max()))
    base = float(np.mean(others / largest)) if largest > 0 else 0.0
    if base <= 0:
        return Skill(against, -1.0 if largest > 0 else 0.0, None, len(ours), "not better")
    gains = (others / largest - ours / largest) / base
    skill = float(gains.mean())
    groups = np.zeros(len(ours)) if series is None else np.asarray(series)
    error = _standard_error(gains, groups, overlap)
    if skill <= 0:
        verdict = "not better"
    elif error is None:
        verdict = "untested"
    else:
        verdict = "better" if skill > _student(len(gains) - 1) * error else "chance"
    return Skill(against, skill, error, len(ours), verdict)


def is_repeated_last(
    forecasts: ArrayLike,
    last: ArrayLike,
    truth: ArrayLike,
    *,
    series: ArrayLike | None = None,
    overlap: int = 0,
) -> bool:
    """Return whether forecasts ``[N, H]`` are in effect the `last` value ``[N]`` before them, repeated.

    They are where both hold: their moves away from the last value are at most a third as large (root mean
    square) as the true ones, and do not foretell these. The second is the test of Clark, West,
    "Approximately normal tests for equal predictive accuracy in nested models", 2007: the product of
    both moves, a mean for each origin, is not above 0 beyond chance (one-sided 5 %). With origins too few
    for a test, only moves of at most a twentieth of the true ones count; a truth that does not move
    repeats nothing. Several series are divided by their scale before. `series` and `overlap` as in
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
    groups = np.zeros(len(values)) if series is None else np.asarray(series)
    error = _standard_error(products, groups[origins], overlap)
    if error is None:
        return size <= _NO_MOVES * true_size
    return bool(products.mean() <= _student(len(products) - 1) * error)
