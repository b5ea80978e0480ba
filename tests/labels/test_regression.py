from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as oracle

from elman.errors import DataError
from elman.labels.metrics import RegressionFigures, r2, regression


def test_errors_agree_with_scikit_learn() -> None:
    draw = np.random.default_rng(0)
    truth = draw.normal(size=100)
    predicted = truth + draw.normal(size=100)
    (network,) = regression(predicted, truth).methods
    # rounding error of sums of 100 terms of size 1
    close: dict[str, Any] = {"abs": 100 * 2**-50}
    assert network.mae == pytest.approx(oracle.mean_absolute_error(truth, predicted), **close)
    assert network.rmse == pytest.approx(oracle.root_mean_squared_error(truth, predicted), **close)
    assert network.r2 == pytest.approx(oracle.r2_score(truth, predicted), **close)


def test_a_constant_truth_has_no_variance_to_explain() -> None:
    assert r2([0.1, 0.1, 0.1], [0.1, 0.1, 0.1]) == 1.0
    assert r2([0.1, 0.2, 0.1], [0.1, 0.1, 0.1]) == 0.0
    assert r2([3.0], [2.0]) == 0.0
    assert np.isfinite(r2([1e300, -1e300], [1e-300, 0.0]))


def test_the_report_compares_with_other_methods() -> None:
    truth = np.arange(20.0)
    beside = [
        RegressionFigures.of("the mean", np.full(20, 9.5), truth),
        RegressionFigures.of("a line", truth, truth),
        RegressionFigures.of("its twin", truth + np.tile([1.3, 0.8], 10), truth),
    ]
    report = regression(truth + np.tile([1.0, -1.0], 10), truth, beside)
    assert [one.verdict for one in report.comparisons] == ["better", "worse", "no difference"]
    assert report.sentences[0].startswith(
        "the mean of the same training set has MAE 5.000: the network, with 1.000, beats it by 4.000"
    )
    assert "DOES NOT BEAT IT: it is worse by 1.000" in report.sentences[1]
    assert "shows NO DIFFERENCE that this test set can tell from chance" in report.sentences[2]
    single = regression([1.0], [1.0], [RegressionFigures.of("the mean", [0.0], [1.0])])
    assert single.comparisons[0].verdict == "no difference"
    lines = str(report).splitlines()
    assert lines[0] == "20 sequences"
    assert len({len(line) for line in lines[1:6]}) == 1
    assert lines[6:] == list(report.sentences)
    form = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert [row["name"] for row in form["methods"]] == [
        "the network",
        "the mean",
        "a line",
        "its twin",
    ]


def test_a_report_without_truth_is_an_error() -> None:
    with pytest.raises(DataError, match="no true value"):
        regression([], [])
