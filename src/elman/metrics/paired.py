"""Paired tests: do two models that answered the same test set differ by more than chance?

Every test compares the models unit by unit (a sequence, a sentence, a line), because an easy unit is easy for
both. The result is one of three verdicts, from the view of the first model: "better", "worse", or "no
difference" where the test set is too small to show one. Forecasts are compared in `elman.metrics.skill`,
because the errors of overlapping windows are correlated.

Sources: Q. McNemar, "Note on the sampling error of the difference between correlated proportions" (1947), in
its exact form; E. Noreen, "Computer-Intensive Methods for Testing Hypotheses" (1989), for random exchanges of
answers, used for F1 by A. Yeh, "More accurate tests for the statistical significance of result differences"
(2000).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from elman.errors import ShapeError

SIGNIFICANCE_LEVEL = 0.05
"""A difference counts as real when chance alone would make it less often than this (two-sided)."""
MIN_GROUPS = 5
"""With fewer groups, `compare_losses` cannot estimate a standard error."""
RANDOM_EXCHANGES = 4000
MAX_EXACT_UNITS = 12
"""Up to this number of units, all 2^units exchanges are tried instead of random ones."""
MAX_TABLE_CELLS, MAX_UNITS = 4_000_000, 2000
"""Bounds of the table of differences; units are merged into groups where it would be larger."""

Verdict: TypeAlias = Literal["better", "worse", "no difference"]


def student_quantile(degrees_of_freedom: int, level: float) -> float:
    """Return the quantile of Student's t at `level`.

    The error at level 0.975 is below 4 % from three degrees of freedom on. Source: Abramowitz, Stegun,
    "Handbook of Mathematical Functions", 26.7.5.

    >>> round(student_quantile(10, 0.95), 3)
    1.812
    """
    z = NormalDist().inv_cdf(level)
    return (
        z
        + (z**3 + z) / (4 * degrees_of_freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees_of_freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * degrees_of_freedom**3)
    )


def paired(losses: ArrayLike, others: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return the losses of two models on the same predictions, each ``[N]``; raises ShapeError."""
    ours, theirs = np.asarray(losses, np.float64), np.asarray(others, np.float64)
    if ours.shape != theirs.shape or ours.ndim != 1 or not len(ours):
        expected = f"[N] as the other's {theirs.shape}"
        raise ShapeError("losses do not pair", got=ours.shape, expected=expected)
    return ours, theirs


def mcnemar_p_value(only_ours: int, only_theirs: int) -> float:
    """Return the probability that chance alone makes two models differ at least this much in accuracy.

    Args:
        only_ours: Number of answers that only the first model has right.
        only_theirs: Number of answers that only the second model has right.

    >>> mcnemar_p_value(1, 0), round(mcnemar_p_value(10, 1), 4)
    (1.0, 0.0117)
    """
    # under chance, the first model has Binomial(count, 1/2) of the answers that only one model has right
    count = only_ours + only_theirs
    k = np.arange(min(only_ours, only_theirs) + 1)
    log_factorial = np.cumsum(np.log(np.maximum(1, np.arange(count + 1))))
    # logarithms, because the binomial coefficients of a large test set overflow
    log_shares = log_factorial[-1] - log_factorial[k] - log_factorial[count - k]
    return min(1.0, 2 * float(np.exp(log_shares - count * math.log(2)).sum()))


def sum_by_group(groups: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the sums ``[G, F]`` of the rows of `values` ``[N, F]`` that are in one of `groups` ``[N]``."""
    sums = np.zeros((int(groups.max(initial=-1)) + 1, values.shape[1]))
    np.add.at(sums, groups, values)
    return sums


def exchange_p_value(
    ours: np.ndarray, theirs: np.ndarray, score: Callable[[np.ndarray], np.ndarray], seed: int = 0
) -> float:
    """Return the probability that chance alone makes two models differ at least this much in `score`.

    If the models were equally good, it would not matter which of them gave which answer. So the answers of
    each unit are exchanged at random, and the resulting differences are compared with the true one.

    Args:
        ours: Counts or errors ``[N, F]`` of the first model, a row for each unit, such as a sentence.
        theirs: The same of the second model.
        score: Maps summed counts ``[..., F]`` to scores ``[...]``.
        seed: Seed of the random exchanges.

    >>> errors = np.arange(1.0, 9.0)[:, None]
    >>> exchange_p_value(errors, errors + 1, lambda sums: sums[..., 0])  # 2 of 2 ** 8
    0.0078125
    """
    first, second = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    totals, differences = (first.sum(axis=0), second.sum(axis=0)), second - first
    # units in which both models have the same counts do not change when they are exchanged
    differences = differences[(differences != 0).any(axis=1)]
    if not len(differences):
        return 1.0
    draw = np.random.default_rng(seed)
    # units that are merged are exchanged together, which keeps the test valid but makes it weaker
    if len(differences) > MAX_UNITS:
        groups = draw.permutation(len(differences)) % MAX_UNITS
        differences = sum_by_group(groups, differences)
    units = len(differences)
    # one row of bits for each exchange: 1 where the answers of a unit change sides
    if exact := units <= MAX_EXACT_UNITS:
        masks = (np.arange(2**units)[:, None] >> np.arange(units)) & 1
    else:
        masks = draw.integers(0, 2, (RANDOM_EXCHANGES, units), np.int8)
    true_gap = abs(float(score(totals[0]) - score(totals[1])))
    # sums in another order differ by rounding; an equal difference must still count as one
    tolerance = 1e-9 * max(true_gap, 1e-300)
    at_least_as_large = 0
    for start in range(0, len(masks), 500):  # blocks, so that the matrix of differences stays small
        moved = masks[start : start + 500].astype(np.float64) @ differences
        gaps = abs(score(totals[0] + moved) - score(totals[1] - moved))
        at_least_as_large += int((gaps >= true_gap - tolerance).sum())
    if exact:
        return at_least_as_large / len(masks)
    # the true assignment counts as one of the random ones, so that the p-value is never 0
    return (at_least_as_large + 1) / (len(masks) + 1)


@dataclass(frozen=True)
class LossDifference:
    """Difference of the mean losses of two models on the same predictions."""

    value: float
    """Mean loss of the first model minus that of the second; below 0 the first is better."""
    standard_error: float | None
    """Standard error of `value`; None with fewer than `MIN_GROUPS` groups."""
    groups: int
    verdict: Verdict


def compare_losses(losses: ArrayLike, others: ArrayLike, groups: ArrayLike) -> LossDifference:
    """Compare the mean of `losses` ``[N]`` with that of `others` ``[N]``, made on the same predictions.

    Predictions of one group, such as a line of a text, depend on one another; those of different groups do
    not. So the standard error is that of a ratio of sums over groups (W. Cochran, "Sampling Techniques",
    1977, equation 6.9), and a difference counts where Student's t is beyond its two-sided 5 % limit.

    Args:
        losses: Losses of the first model.
        others: Losses of the second model.
        groups: The group of each prediction, as a whole number from 0.

    Raises:
        ShapeError: The arrays differ in length.

    >>> compare_losses([1.0, 1.2, 0.9, 1.1, 1.0], [2.0, 2.1, 2.0, 2.2, 1.9], range(5)).verdict
    'better'
    """
    ours, theirs = paired(losses, others)
    gaps = ours - theirs
    value = float(gaps.mean())
    group_of = paired(gaps, groups)[1].astype(np.int64)
    # number of predictions in each group; numbers that no prediction has are left out below
    counts = np.bincount(group_of)
    sums = np.bincount(group_of, weights=gaps)[counts > 0]
    counts = counts[counts > 0]
    if len(counts) < MIN_GROUPS:
        return LossDifference(value, None, len(counts), "no difference")
    # G / (G - 1) undoes that the deviations are taken from the estimated mean of the G groups
    spread = float(np.square(sums - value * counts).sum())
    error = math.sqrt(spread * len(counts) / (len(counts) - 1)) / len(ours)
    verdict: Verdict = "better" if value < 0 else "worse"
    if abs(value) <= student_quantile(len(counts) - 1, 1 - SIGNIFICANCE_LEVEL / 2) * error:
        verdict = "no difference"
    return LossDifference(value, error, len(counts), verdict)


@dataclass(frozen=True)
class Comparison:
    """Comparison of a network with a plain model of the same training set, on the same test set.

    >>> print(Comparison("a linear model", "accuracy", 0.91, 0.88, 0.004))
    a linear model of the same training set has accuracy 0.8800: the network, with 0.9100, beats it by \
0.0300 (chance alone makes such a difference once in 250 test sets)
    """

    against: str
    """The name of the plain model."""
    metric: str
    network: float
    plain: float
    p_value: float | None
    """Probability that chance alone makes a difference as large; None if the plain answers are unknown."""
    lower_is_better: bool = False

    @property
    def verdict(self) -> Verdict:
        """Whether the network is better or worse beyond chance."""
        if self.p_value is None or self.p_value >= SIGNIFICANCE_LEVEL or self.network == self.plain:
            return "no difference"
        return "better" if (self.network < self.plain) == self.lower_is_better else "worse"

    def __str__(self) -> str:
        metric = self.metric.replace("_", " ").replace("f1", "F1")
        form = "#.4g" if self.lower_is_better else ".4f"
        start = (
            f"{self.against} of the same training set has {metric} {self.plain:{form}}: "
            f"the network, with {self.network:{form}},"
        )
        gap = f"{abs(self.network - self.plain):{form}}"
        if self.p_value is None:
            unknown = "without the plain model's answers no test tells skill from chance"
            return f"{start} differs by {gap}; {unknown}"
        chance = f"(chance alone makes such a difference {_frequency(self.p_value)})"
        if self.verdict == "no difference":
            return f"{start} shows NO DIFFERENCE that this test set can tell from chance {chance}"
        outcome = "beats it" if self.verdict == "better" else "DOES NOT BEAT IT: it is worse"
        return f"{start} {outcome} by {gap} {chance}"


def _frequency(p_value: float) -> str:
    if p_value < 0.0005:
        return "less than once in 2,000 test sets"
    if p_value < 0.4:
        return f"once in {round(1 / p_value):,} test sets"
    return "in every other test set or more often"
