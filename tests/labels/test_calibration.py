from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from sklearn import metrics as oracle

from elman.errors import DataError, ShapeError
from elman.labels.calibration import calibration_error, fit_temperature, log_loss, reliability

# Rounding error of a float64 sum of 500 terms below 40.
ROUNDING = 500 * 40 * 2**-52


def drawn(seed: int, n: int = 500, k: int = 4) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    probabilities = draw.dirichlet(np.full(k, 0.3), n)
    return probabilities, draw.integers(0, k, n)


@pytest.mark.parametrize("seed", range(3))
def test_log_loss_agrees_with_scikit_learn(seed: int) -> None:
    probabilities, truth = drawn(seed)
    assert log_loss(probabilities, truth) == pytest.approx(
        oracle.log_loss(truth, probabilities), abs=ROUNDING
    )


def test_log_loss_is_finite_if_the_truth_has_probability_0() -> None:
    assert log_loss([[0.0, 1.0]], [0]) == pytest.approx(52 * np.log(2))
    assert log_loss([[0.0, 1.0]], [1]) == 0.0
    assert log_loss([[0.5, 0.5]], [-1]) is None
    assert log_loss(np.zeros((0, 2)), []) is None


def test_calibration_error_by_its_definition() -> None:
    probabilities, truth = drawn(3)
    confidence, answers = probabilities.max(axis=1), probabilities.argmax(axis=1)
    expected = 0.0
    for b in range(15):
        inside = (confidence > b / 15) & (confidence <= (b + 1) / 15)
        if inside.any():
            gap = (answers == truth)[inside].mean() - confidence[inside].mean()
            expected += inside.sum() / len(truth) * abs(gap)
    bins = reliability(probabilities, truth)
    assert calibration_error(bins) == pytest.approx(expected, abs=ROUNDING)
    assert sum(one.answers for one in bins) == len(truth)
    assert all(one.low < one.confidence <= one.high for one in bins)


def test_calibrated_answers_have_no_error() -> None:
    truth = [0] * 8 + [1] * 2
    assert calibration_error(reliability([[0.8, 0.2]] * 10, truth)) == pytest.approx(
        0, abs=ROUNDING
    )
    assert calibration_error(reliability([[1.0, 0.0]], [0])) == 0.0
    assert calibration_error(reliability(np.zeros((0, 2)), [])) == 0.0


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 5.0])
def test_the_temperature_minimises_the_loss(sharpness: float) -> None:
    draw = np.random.default_rng(1)
    logits = draw.normal(size=(400, 3))
    truth = np.array([draw.choice(3, p=np.exp(row) / np.exp(row).sum()) for row in logits])
    logits = logits * sharpness

    def loss(log_temperature: float) -> float:
        rows = logits / np.exp(log_temperature)
        return float(np.mean(np.log(np.exp(rows).sum(axis=1)) - rows[np.arange(400), truth]))

    # the search of scipy ends at the square root of the precision of the loss
    best = minimize_scalar(loss, bounds=(-3, 4), method="bounded", options={"xatol": 1e-9})
    assert np.log(fit_temperature(logits, truth)) == pytest.approx(best.x, abs=1e-6)
    assert fit_temperature(logits + 1000.0, truth) == pytest.approx(np.exp(best.x), rel=1e-6)


def test_the_temperature_is_1_if_none_can_be_fitted() -> None:
    right = [[5.0, 0.0], [0.0, 3.0]]
    assert fit_temperature(right, [0, 1]) == 1.0
    assert fit_temperature(np.zeros((0, 2)), []) == 1.0
    assert fit_temperature([[1.0], [2.0]], [0, 0]) == 1.0
    assert fit_temperature(right, [-1, -1]) == 1.0


def test_the_temperature_stays_in_bounds() -> None:
    # answers worse than chance give the highest temperature; one narrow error in a thousand the lowest
    assert fit_temperature([[5.0, 0.0]] * 9, [1] * 9) == pytest.approx(100.0)
    logits = np.tile([1.0, 0.0], (1000, 1))
    logits[0] = [1e-9, 0.0]
    assert fit_temperature(logits, [1] + [0] * 999) == pytest.approx(0.1)


@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e6))
def test_the_temperature_never_makes_the_loss_higher(seed: int, size: float) -> None:
    draw = np.random.default_rng(seed)
    logits, truth = draw.normal(size=(20, 3)) * size, draw.integers(0, 3, 20)

    def loss(temperature: float) -> float:
        rows = logits / temperature
        rows = rows - rows.max(axis=1, keepdims=True)
        return float(np.mean(np.log(np.exp(rows).sum(axis=1)) - rows[np.arange(20), truth]))

    temperature = fit_temperature(logits, truth)
    assert 0.1 - 1e-9 < temperature < 100 + 1e-9
    assert loss(temperature) <= loss(1.0) * (1 + 1e-9) + 1e-9


def test_arrays_that_do_not_fit_are_errors() -> None:
    with pytest.raises(ShapeError, match=r"\[N, K\], \[N\]"):
        log_loss([0.5, 0.5], [0, 1])
    with pytest.raises(DataError):
        log_loss([[0.5, 0.5]], [2])
    with pytest.raises(DataError, match="not finite"):
        fit_temperature([[np.inf, 0.0]], [0])
