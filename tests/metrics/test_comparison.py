from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from elman.labels.confusion import chance_of_labels
from elman.metrics.comparison import Comparison, chance_of_exchange, mcnemar


@pytest.mark.parametrize("pair", [(0, 0), (1, 0), (5, 0), (6, 0), (3, 12), (40, 41), (900, 700)])
def test_mcnemar_is_the_exact_binomial_test(pair):
    ours, theirs = pair
    # sums of up to some hundred logarithms of factorials
    expected = stats.binomtest(ours, max(1, ours + theirs)).pvalue if ours + theirs else 1.0
    assert mcnemar(ours, theirs) == pytest.approx(expected, rel=1e-9)


def total(sums):
    return sums[..., 0]


def test_few_units_are_exchanged_in_all_ways():
    gains = np.array([[1.0], [2.0], [3.0], [-1.0], [4.0]])
    found = chance_of_exchange(gains, np.zeros_like(gains), total)
    exact = stats.permutation_test((gains[:, 0],), np.sum, permutation_type="samples")
    assert found == pytest.approx(exact.pvalue)
    # five units can show nothing, six can
    assert chance_of_exchange(np.ones((5, 1)), np.zeros((5, 1)), total) == 2 / 32
    assert chance_of_exchange(np.ones((6, 1)), np.zeros((6, 1)), total) == 2 / 64


def test_alike_is_alike_and_a_difference_is_found():
    draw = np.random.default_rng(0)
    errors = draw.random((300, 1))
    assert chance_of_exchange(errors, errors, total) == 1.0
    noise = draw.normal(size=(300, 1))
    assert chance_of_exchange(errors, errors + noise, total) > 0.05
    assert chance_of_exchange(errors, errors + noise + 0.5, total) < 0.001
    many = draw.random((5000, 1))
    assert chance_of_exchange(many, many + 0.01, total) < 0.001


def test_chance_alone_is_called_real_once_in_twenty():
    draw = np.random.default_rng(1)
    found = [
        chance_of_exchange(draw.random((40, 1)), draw.random((40, 1)), total) < 0.05
        for _ in range(200)
    ]
    # 200 draws at .05: four standard deviations are .06
    assert np.mean(found) < 0.11


@pytest.mark.parametrize("metric", ["macro_f1", "macro_recall"])
def test_macro_metrics_notice_the_rare_class(metric):
    truth = np.array([0] * 190 + [1] * 10)
    blind, sees = np.zeros(200, np.int64), truth.copy()
    sees[:10] = 1  # as many mistakes as the blind one makes
    assert chance_of_labels("accuracy", truth, sees, blind) == 1.0
    assert chance_of_labels(metric, truth, sees, blind) < 0.05
    unknown = np.where(truth == 1, -1 - np.arange(200) % 3, 0)
    assert chance_of_labels(metric, unknown, blind, blind) == 1.0


def test_a_smaller_error_is_better():
    assert Comparison("a line", "MAE", 1.0, 2.0, 0.01, True).verdict == "better"
    assert Comparison("a line", "MAE", 2.0, 1.0, 0.01, True).verdict == "worse"
    assert "with 1.000, beats it by 1.000" in str(Comparison("a", "MAE", 1.0, 2.0, 0.01, True))
