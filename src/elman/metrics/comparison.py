"""Tests of whether two models that answered the same test set differ beyond chance.

Sources: Q. McNemar, "Note on the sampling error of the difference between correlated proportions" (1947), in
its exact form; randomisation by exchanging answers, E. Noreen, "Computer-Intensive Methods for Testing
Hypotheses" (1989), as used for F1 by A. Yeh, "More accurate tests for the statistical significance of result
differences" (2000).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["LEVEL", "MAX_CELLS", "Comparison", "chance_of_exchange", "mcnemar", "summed_by_group"]

LEVEL = 0.05
"""Probability of a difference by chance alone below which a difference is called real (two-sided)."""
EXCHANGES = 4000
"""Random exchanges of answers that a test looks at; all of them where there are fewer."""
EXACT_UNITS = 12
"""Units up to which all exchanges are looked at."""
MAX_CELLS, MAX_UNITS = 4_000_000, 2000
"""Numbers and rows of a table of differences; units are put together in groups where there would be more."""


def mcnemar(ours: int, theirs: int) -> float:
    """Return the probability that chance alone makes two models differ at least so much.

    Args:
        ours: Answers that the first model alone has right.
        theirs: Answers that the second model alone has right.

    >>> mcnemar(1, 0), round(mcnemar(10, 1), 4)
    (1.0, 0.0117)
    """
    count = ours + theirs
    if not count:
        return 1.0
    log_all = math.lgamma(count + 1) - count * math.log(2)
    tail = math.fsum(
        math.exp(log_all - math.lgamma(k + 1) - math.lgamma(count - k + 1))
        for k in range(min(ours, theirs) + 1)
    )
    return min(1.0, 2 * tail)


def summed_by_group(groups: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the sums ``[G, F]`` of the rows ``values [N, F]`` that have one number in `groups` ``[N]``."""
    found = np.zeros((int(groups.max(initial=-1)) + 1, values.shape[1]))
    np.add.at(found, groups, values)
    return found


def chance_of_exchange(
    ours: np.ndarray, theirs: np.ndarray, score: Callable[[np.ndarray], np.ndarray], seed: int = 0
) -> float:
    """Return the probability that chance alone makes two models differ at least so much by `score`.

    If the models were alike, it would not matter which of them gave which answer: the answers of each unit
    are exchanged at random, and the differences that come out are compared with the true one.

    Args:
        ours: Counts or errors ``[N, F]`` of the first model in each unit, such as a sentence.
        theirs: Those of the second model.
        score: Makes scores ``[...]`` of summed counts ``[..., F]``.
        seed: Seed of the random exchanges.

    >>> errors = np.arange(1.0, 9.0)[:, None]
    >>> chance_of_exchange(errors, errors + 1, lambda sums: sums[..., 0])  # 2 of 2 ** 8
    0.0078125
    """
    totals = np.asarray(ours, np.float64).sum(axis=0), np.asarray(theirs, np.float64).sum(axis=0)
    differences = np.asarray(theirs, np.float64) - np.asarray(ours, np.float64)
    differences = differences[(differences != 0).any(axis=1)]
    if not len(differences):
        return 1.0
    draw = np.random.default_rng(seed)
    if len(differences) > MAX_UNITS:
        groups = draw.permutation(len(differences)) % MAX_UNITS
        differences = summed_by_group(groups, differences)
    units = len(differences)
    if exact := units <= EXACT_UNITS:
        masks = (np.arange(2**units)[:, None] >> np.arange(units)) & 1
    else:
        masks = draw.integers(0, 2, (EXCHANGES, units), np.int8)
    true = abs(float(score(totals[0]) - score(totals[1])))
    tolerance = 1e-9 * max(true, 1e-300)
    extreme = 0
    for start in range(0, len(masks), 500):
        moved = masks[start : start + 500].astype(np.float64) @ differences
        apart = abs(score(totals[0] + moved) - score(totals[1] - moved))
        extreme += int((apart >= true - tolerance).sum())
    return extreme / len(masks) if exact else (extreme + 1) / (len(masks) + 1)


@dataclass(frozen=True)
class Comparison:
    """How a network stands to a plain model of the same training set, on the same test set.

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
    """Probability that chance alone makes a difference as large; None where answers are not known."""
    lower_is_better: bool = False

    @property
    def verdict(self) -> str:
        """The words "better" or "worse", or "no difference" where the test set can show none."""
        if self.p_value is None or self.p_value >= LEVEL or self.network == self.plain:
            return "no difference"
        return "better" if (self.network < self.plain) == self.lower_is_better else "worse"

    def __str__(self) -> str:
        words, form = _words(self.metric), "#.4g" if self.lower_is_better else ".4f"
        line = f"{self.against} of the same training set has {words} {self.plain:{form}}: the network, "
        line += f"with {self.network:{form}}, "
        apart = f"{abs(self.network - self.plain):{form}}"
        if self.p_value is None:
            return (
                line
                + f"differs by {apart}; without the other's answers nothing tells chance from skill"
            )
        chance = f"(chance alone makes such a difference {_often(self.p_value)})"
        if self.verdict == "no difference":
            return line + f"shows NO DIFFERENCE that this test set can tell from chance {chance}"
        how = "beats it" if self.verdict == "better" else "DOES NOT BEAT IT: it is worse"
        return line + f"{how} by {apart} {chance}"


def _words(metric: str) -> str:
    return {"macro_f1": "macro F1", "entity_f1": "entity F1"}.get(metric, metric.replace("_", " "))


def _often(chance: float) -> str:
    if chance < 0.0005:
        return "less than once in 2,000 test sets"
    return (
        f"once in {round(1 / chance):,} test sets"
        if chance < 0.4
        else "in every other test set or more often"
    )
