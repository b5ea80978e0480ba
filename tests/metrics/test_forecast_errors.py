from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies._internal.core import DataObject
from sklearn import metrics as oracle

from elman.errors import DataError, ShapeError
from elman.metrics import forecast_errors as measures

NAN = float("nan")
DRAW = np.random.default_rng(0)
TRUTH, FORECAST = DRAW.normal(size=50), DRAW.normal(size=50)
# Sums of 50 terms of size 1.
ROUNDING = 50 * 2**-50


def test_errors_agree_with_scikit_learn() -> None:
    pairs = [
        (measures.mae(FORECAST, TRUTH), oracle.mean_absolute_error(TRUTH, FORECAST)),
        (measures.rmse(FORECAST, TRUTH), oracle.root_mean_squared_error(TRUTH, FORECAST)),
        (
            measures.pinball(FORECAST, TRUTH, 0.9),
            oracle.mean_pinball_loss(TRUTH, FORECAST, alpha=0.9),
        ),
    ]
    for found, expected in pairs:
        assert found == pytest.approx(expected, abs=ROUNDING)


def test_smape_by_hand() -> None:
    assert measures.smape([110.0, 90.0], [100.0, 100.0]) == pytest.approx(
        (200 * 10 / 210 + 200 * 10 / 190) / 2
    )
    assert measures.smape([-1.0, 0.0, 1.0], [1.0, 0.0, 0.0]) == pytest.approx(400 / 3)


def test_mase_by_hand() -> None:
    history = [1.0, 2.0, 4.0, 8.0]
    assert measures.scale(history) == pytest.approx(7 / 3)
    assert measures.scale(history, 2) == 4.5
    assert measures.mase([9.0, 9.0], [0.0, 9.0], history, 2) == 1.0
    # missing values give no difference
    assert measures.scale([1.0, NAN, 4.0, 8.0]) == 4.0


def test_a_history_without_a_scale() -> None:
    assert measures.mase([1.0], [2.0], [3.0, 3.0, 3.0], 2) is None
    assert measures.mase([1.0], [2.0], [3.0]) is None
    # if a season repeats exactly or is too long, neighbouring values give the scale
    assert measures.scale([0.0, 2.0, 0.0, 2.0], 2) == 2.0
    assert measures.scale([0.0, 2.0], 24) == 2.0


def test_positions_without_truth_are_ignored() -> None:
    truth, forecast = [1.0, NAN, 3.0], [2.0, 100.0, 5.0]
    assert measures.mae(forecast, truth) == 1.5
    assert measures.coverage([0.0, 0.0, 0.0], [1.0, 200.0, 2.0], truth) == 0.5
    assert measures.interval_width([0.0, 0.0, 0.0], [1.0, 200.0, 2.0], truth) == 1.5
    # a forecast may have any value where the truth is unknown
    assert measures.rmse([2.0, NAN, 4.0], truth) == 1.0
    with pytest.raises(DataError, match="no true value"):
        measures.mae([1.0], [NAN])
    with pytest.raises(DataError, match="not finite"):
        measures.mae([NAN], [1.0])
    with pytest.raises(ShapeError, match=r"got \(2,\); expected that of the truth, \(1,\)"):
        measures.smape([1.0, 2.0], [1.0])


def test_coverage_includes_both_ends() -> None:
    assert measures.coverage([0.0, 1.0], [1.0, 1.0], [0.0, 1.0]) == 1.0


def test_weighted_quantile_loss_by_its_definition() -> None:
    rows = np.stack([FORECAST - 1, FORECAST, FORECAST + 1])
    levels = [0.1, 0.5, 0.9]
    expected = np.mean(
        [
            2 * np.maximum(q * (TRUTH - row), (q - 1) * (TRUTH - row)).sum() / np.abs(TRUTH).sum()
            for q, row in zip(levels, rows, strict=True)
        ]
    )
    found = measures.weighted_quantile_loss(rows, TRUTH, levels)
    assert found == pytest.approx(expected, abs=ROUNDING)
    assert measures.weighted_quantile_loss([[1.0]], [0.0], [0.5]) is None


numbers = st.lists(
    st.floats(allow_nan=False, allow_infinity=False, width=64), min_size=1, max_size=6
)


@given(numbers, st.data())
def test_no_measure_is_infinite(truth: list[float], data: DataObject) -> None:
    same = st.lists(
        st.floats(allow_nan=False, allow_infinity=False), min_size=len(truth), max_size=len(truth)
    )
    forecast, history = data.draw(same), data.draw(numbers)
    found = [
        measures.mae(forecast, truth),
        measures.rmse(forecast, truth),
        measures.smape(forecast, truth),
        measures.mase(forecast, truth, history, 2),
        measures.pinball(forecast, truth, 0.9),
        measures.weighted_quantile_loss([forecast], truth, [0.9]),
        measures.interval_width(forecast, truth, truth),
    ]
    assert all(value is None or 0 <= value < np.inf for value in found)
