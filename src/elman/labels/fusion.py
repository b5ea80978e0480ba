"""Fusion of the recurrent network and the wide part: the two factors by which their logits are added.

The factors are fitted on held-out sequences, because both parts answer too surely on those of training. The
network's factor is one over the temperature of its logits (`elman.labels.calibration`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

from elman.labels.calibration import MAX_TEMPERATURE, MIN_TEMPERATURE, fit_temperature

MIN_NETWORK_FACTOR, MAX_FACTOR = 1 / MAX_TEMPERATURE, 1 / MIN_TEMPERATURE
PRIOR_PRECISION = 0.01
"""Weight of the squared distance of a factor from its prior, in losses of one sequence."""
NEWTON_STEPS = 25

# Fits the factors of one or both parts to parts [P, N, K] and targets [N].
_Fit: TypeAlias = "Callable[[np.ndarray, np.ndarray], np.ndarray]"


class Factors(NamedTuple):
    """Factors of the logits of both parts in the answer."""

    network: float
    wide: float

    def fuse(self, network: np.ndarray, wide: np.ndarray | None) -> np.ndarray:
        """Return the fused logits of logits ``[N, K]`` of both parts."""
        fused: np.ndarray = self.network * network
        return fused if wide is None else fused + self.wide * wide


MEAN = Factors(0.5, 0.5)
"""The prior, and the factors where nothing is held out: the mean of both parts."""


def fit_factors(
    network: np.ndarray, wide: np.ndarray | None, targets: np.ndarray, *, is_number: bool
) -> Factors:
    """Return the factors with which the sum of both logits is best on held-out sequences.

    Best is the least log loss for labels, and the least squared error for numbers. Both are convex in the
    factors. A weak prior keeps them finite where every answer is right. A part that would be subtracted gets
    the smallest factor.

    Args:
        network: Logits ``[N, K]`` of the recurrent network; for numbers its standardised answers ``[N, 1]``.
        wide: The same of the wide part, or None if there is none.
        targets: Numbers of the true labels ``[N]``, negative for labels that were not in training, which are
            left out; or standardised numbers.
        is_number: Whether the targets are numbers.

    >>> truth, draw = np.array([0, 1] * 20), np.random.default_rng(0)
    >>> right = np.eye(2)[truth] + draw.normal(size=(40, 2))
    >>> fit_factors(right, -right, truth, is_number=False).wide
    0.0
    >>> fit_factors(-right, right, truth, is_number=False).network
    0.01
    """
    if wide is None:
        # a temperature scales the logits of labels; the answers of a regression need none
        return Factors(1.0 if is_number else 1 / fit_temperature(network, targets), 0.0)
    parts = np.stack([network, wide]).astype(np.float64)
    if is_number:
        return _not_negative(parts, targets.astype(np.float64), _fit_numbers)
    rows = np.flatnonzero(targets >= 0)
    # the same number added to all logits changes no answer, and keeps the exponentials finite
    parts = parts[:, rows] - parts[:, rows].max(axis=2, keepdims=True)
    return _not_negative(parts, targets[rows], _fit_labels)


def _not_negative(parts: np.ndarray, targets: np.ndarray, fit: _Fit) -> Factors:
    """Return the factors of both parts, or of the other one alone if a part would be subtracted."""
    factors = fit(parts, targets)
    for harmful in np.flatnonzero(factors < 0).tolist():
        factors = np.zeros(2)
        factors[1 - harmful] = fit(parts[[1 - harmful]], targets)[0]
    network, wide = factors.clip((MIN_NETWORK_FACTOR, 0.0), MAX_FACTOR).tolist()
    return Factors(network, wide)


def _prior(parts: np.ndarray) -> np.ndarray:
    return np.full(len(parts), 1 / len(parts))


def _fit_numbers(parts: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the factors of a ridge regression towards the prior."""
    answers, prior = parts[:, :, 0], _prior(parts)
    gram = answers @ answers.T + PRIOR_PRECISION * np.eye(len(parts))
    return np.asarray(np.linalg.solve(gram, answers @ targets + PRIOR_PRECISION * prior))


def _log_losses(fused: np.ndarray, targets: np.ndarray) -> np.ndarray:
    shifted = fused - fused.max(axis=1, keepdims=True, initial=-np.inf)
    totals = np.log(np.exp(shifted).sum(axis=1))
    return np.asarray(totals - shifted[np.arange(len(targets)), targets])


def _fit_labels(parts: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the factors that minimise the log loss and the prior's penalty, by Newton's method."""
    prior = factors = _prior(parts)
    true = parts[:, np.arange(len(targets)), targets]

    def objective(factors: np.ndarray) -> float:
        losses = _log_losses(np.tensordot(factors, parts, 1), targets)
        return float(losses.sum() + PRIOR_PRECISION / 2 * np.sum((factors - prior) ** 2))

    for _ in range(NEWTON_STEPS):
        fused = np.tensordot(factors, parts, 1)
        shares = np.exp(fused - fused.max(axis=1, keepdims=True, initial=-np.inf))
        shares /= shares.sum(axis=1, keepdims=True)
        # [P, N], the mean logit of each part under the fused probabilities
        means = np.einsum("nk,pnk->pn", shares, parts)
        slope = (means - true).sum(axis=1) + PRIOR_PRECISION * (factors - prior)
        centred = parts - means[:, :, None]
        curvature = np.einsum("nk,pnk,qnk->pq", shares, centred, centred)
        step = np.linalg.solve(curvature + PRIOR_PRECISION * np.eye(len(parts)), slope)
        before, size = objective(factors), 1.0
        # a full step may overshoot where the loss is nearly flat
        while size > 1e-4 and objective(factors - size * step) > before:
            size /= 2
        factors = factors - size * step
        if size <= 1e-4 or abs(size * step).max() < 1e-9:
            break
    return factors
