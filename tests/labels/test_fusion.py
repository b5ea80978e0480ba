"""The factors of network and wide part, against a general optimiser and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import logsumexp

from elman.labels.fusion import MEAN, PRIOR_PRECISION, Factors, fit_factors


def logits_of(targets: np.ndarray, skill: float, seed: int, classes: int = 3) -> np.ndarray:
    """Return logits that know the `targets` up to noise."""
    noise = np.random.default_rng(seed).normal(size=(len(targets), classes))
    return skill * np.eye(classes)[targets] + noise


def test_the_factors_minimise_the_log_loss() -> None:
    targets = np.random.default_rng(0).integers(0, 3, 400)
    parts = np.stack([logits_of(targets, 1.0, 1), 3 * logits_of(targets, 1.0, 2)])

    def loss(factors: np.ndarray) -> float:
        fused = np.tensordot(factors, parts, 1)
        losses = logsumexp(fused, axis=1) - fused[np.arange(400), targets]
        return float(losses.sum() + PRIOR_PRECISION / 2 * np.sum((factors - 0.5) ** 2))

    best = minimize(loss, [1.0, 1.0], tol=1e-10).x
    factors = fit_factors(parts[0], parts[1], targets, is_number=False)
    assert factors == pytest.approx(best, abs=1e-4)
    # the second part knows as much on three times the scale
    assert factors.network / factors.wide == pytest.approx(3, rel=0.4)


def test_the_factors_minimise_the_squared_error() -> None:
    draw = np.random.default_rng(0)
    targets = draw.normal(size=500)
    network, wide = (targets[:, None] + draw.normal(size=(500, 1)) for _ in range(2))
    factors = fit_factors(network, wide, targets, is_number=True)
    # with equal independent errors of variance 1, both get 1 / 3 of the sum
    assert factors == pytest.approx((1 / 3, 1 / 3), abs=0.05)
    assert fit_factors(wide, None, targets, is_number=True) == Factors(1.0, 0.0)


def test_a_part_that_would_be_subtracted_is_left_out() -> None:
    targets = np.random.default_rng(0).integers(0, 3, 400)
    good, noise = logits_of(targets, 3.0, 1), logits_of(targets, 0.0, 2)
    alone = fit_factors(good, None, targets, is_number=False)
    assert alone.wide == 0
    for is_first in (True, False):
        network, wide = (good, -good - noise) if is_first else (-good - noise, good)
        factors = fit_factors(network, wide, targets, is_number=False)
        chosen, other = factors if is_first else factors[::-1]
        # only the weak prior separates it from a temperature
        assert chosen == pytest.approx(alone.network, rel=0.02)
        assert other == (0 if is_first else 0.01)
    # noise gets hardly any weight
    assert fit_factors(good, noise, targets, is_number=False).wide < 0.2


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e18])
def test_extreme_logits_give_finite_factors(scale: float) -> None:
    targets = np.array([0, 1, 2, -1] * 30)
    right = scale * np.eye(3)[targets.clip(0)]
    for network, wide in ((right, right), (right, -right), (-right, -right)):
        factors = fit_factors(network, wide, targets, is_number=False)
        assert np.isfinite(factors).all()
        assert 0.01 <= factors.network <= 10
        assert 0 <= factors.wide <= 10


def test_without_sequences_the_parts_answer_by_their_mean() -> None:
    empty = np.empty((0, 3))
    assert fit_factors(empty, empty, np.empty(0, np.int64), is_number=False) == MEAN
