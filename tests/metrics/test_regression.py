from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn import metrics as oracle

from elman._errors import DataError
from elman.metrics import RegressionFigures, regression
from elman.metrics.regression import r2


def test_the_figures_are_those_of_scikit_learn():
    draw = np.random.default_rng(0)
    truth = draw.normal(size=100)
    predicted = truth + draw.normal(size=100)
    (network,) = regression(predicted, truth).methods
    # sums of 100 terms of size 1
    close = {"abs": 100 * 2**-50}
    assert network.mae == pytest.approx(oracle.mean_absolute_error(truth, predicted), **close)
    assert network.rmse == pytest.approx(oracle.root_mean_squared_error(truth, predicted), **close)
    assert network.r2 == pytest.approx(oracle.r2_score(truth, predicted), **close)


def test_a_constant_truth_has_no_variance_to_explain():
    assert r2([0.1, 0.1, 0.1], [0.1, 0.1, 0.1]) == 1.0
    assert r2([0.1, 0.2, 0.1], [0.1, 0.1, 0.1]) == 0.0
    assert r2([3.0], [2.0]) == 0.0
    assert np.isfinite(r2([1e300, -1e300], [1e-300, 0.0]))


def test_the_report_stands_beside_the_mean_and_a_line():
    truth = np.array([1.0, 2.0, 3.0])
    beside = [
        RegressionFigures.of("the mean", np.full(3, 2.0), truth),
        RegressionFigures.of("a line", truth, truth),
    ]
    report = regression([1.0, 2.0, 2.0], truth, beside)
    assert report.sentences == (
        "the mean of the same training part has MAE 0.6667: the network beats it by 0.3333",
        "a line of the same training part has MAE 0: the network, with 0.3333, DOES NOT BEAT IT",
    )
    lines = str(report).splitlines()
    assert lines[0] == "3 sequences"
    assert len({len(line) for line in lines[1:5]}) == 1
    assert lines[5:] == list(report.sentences)
    form = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert [row["name"] for row in form["methods"]] == ["the network", "the mean", "a line"]


def test_nothing_to_compare_is_refused():
    with pytest.raises(DataError, match="no true value"):
        regression([], [])
