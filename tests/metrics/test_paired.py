"""Paired tests of two models on one test set."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from elman.errors import ShapeError
from elman.labels.confusion import label_p_value
from elman.metrics.paired import (
    Comparison,
    compare_losses,
    exchange_p_value,
    mcnemar_p_value,
    student_quantile,
)


@pytest.mark.parametrize("freedom", [3, 4, 5, 7, 10, 30, 1000])
def test_student_quantile_agrees_with_scipy(freedom: int) -> None:
    for level in (0.95, 0.975):
        assert student_quantile(freedom, level) == pytest.approx(
            stats.t.ppf(level, freedom), rel=0.02
        )


@pytest.mark.parametrize("pair", [(0, 0), (1, 0), (5, 0), (6, 0), (3, 12), (40, 41), (900, 700)])
def test_mcnemar_is_the_exact_binomial_test(pair: tuple[int, int]) -> None:
    ours, theirs = pair
    # sums of up to some hundred logarithms of factorials
    expected = stats.binomtest(ours, max(1, ours + theirs)).pvalue if ours + theirs else 1.0
    assert mcnemar_p_value(ours, theirs) == pytest.approx(expected, rel=1e-9)


def total(sums: np.ndarray) -> np.ndarray:
    return np.asarray(sums[..., 0])


def test_few_units_are_exchanged_in_all_combinations() -> None:
    gains = np.array([[1.0], [2.0], [3.0], [-1.0], [4.0]])
    found = exchange_p_value(gains, np.zeros_like(gains), total)
    exact = stats.permutation_test((gains[:, 0],), np.sum, permutation_type="samples")
    assert found == pytest.approx(exact.pvalue)
    # with five units the smallest p-value is 2 / 32, above 5 %
    assert exchange_p_value(np.ones((5, 1)), np.zeros((5, 1)), total) == 2 / 32
    assert exchange_p_value(np.ones((6, 1)), np.zeros((6, 1)), total) == 2 / 64


def test_the_exchange_test_finds_a_difference_but_not_noise() -> None:
    draw = np.random.default_rng(0)
    errors = draw.random((300, 1))
    assert exchange_p_value(errors, errors, total) == 1.0
    noise = draw.normal(size=(300, 1))
    assert exchange_p_value(errors, errors + noise, total) > 0.05
    assert exchange_p_value(errors, errors + noise + 0.5, total) < 0.001
    many = draw.random((5000, 1))
    assert exchange_p_value(many, many + 0.01, total) < 0.001


def test_chance_alone_is_called_real_in_one_of_twenty_trials() -> None:
    draw = np.random.default_rng(1)
    found = [
        exchange_p_value(draw.random((40, 1)), draw.random((40, 1)), total) < 0.05
        for _ in range(200)
    ]
    # 200 draws at .05: four standard deviations are .06
    assert np.mean(found) < 0.11


@pytest.mark.parametrize("metric", ["macro_f1", "macro_recall"])
def test_macro_metrics_notice_the_rare_class(metric: str) -> None:
    truth = np.array([0] * 190 + [1] * 10)
    blind, sees = np.zeros(200, np.int64), truth.copy()
    sees[:10] = 1  # as many mistakes as the blind one makes
    assert label_p_value("accuracy", truth, sees, blind) == 1.0
    assert label_p_value(metric, truth, sees, blind) < 0.05
    unknown = np.where(truth == 1, -1 - np.arange(200) % 3, 0)
    assert label_p_value(metric, unknown, blind, blind) == 1.0


def test_a_smaller_error_is_better() -> None:
    assert Comparison("a line", "MAE", 1.0, 2.0, 0.01, True).verdict == "better"
    assert Comparison("a line", "MAE", 2.0, 1.0, 0.01, True).verdict == "worse"
    assert "with 1.000, beats it by 1.000" in str(Comparison("a", "MAE", 1.0, 2.0, 0.01, True))


def test_the_standard_error_accounts_for_groups() -> None:
    draw = np.random.default_rng(0)
    sizes = draw.integers(1, 30, 200)
    groups = np.repeat(np.arange(200), sizes)
    gaps = np.repeat(draw.normal(0.3, 1.0, 200), sizes)
    found = compare_losses(gaps + 2.0, np.full(len(gaps), 2.0), groups)
    # a bootstrap over groups gives the same error
    sums = np.bincount(groups, weights=gaps)
    drawn = draw.integers(200, size=(4000, 200))
    means = sums[drawn].sum(1) / sizes[drawn].sum(1)
    assert found.value == pytest.approx(gaps.mean())
    assert found.standard_error == pytest.approx(means.std(), rel=0.1)
    assert (found.groups, found.verdict) == (200, "worse")
    # treating every prediction as independent would make chance look like skill
    alone = compare_losses(gaps, np.zeros(len(gaps)), np.arange(len(gaps)))
    assert alone.standard_error is not None
    assert found.standard_error is not None
    assert alone.standard_error < 0.5 * found.standard_error


def test_equal_models_differ_in_five_per_cent_of_trials() -> None:
    draw = np.random.default_rng(1)
    groups = np.repeat(np.arange(25), 8)
    verdicts = [
        compare_losses(
            draw.normal(size=200) + np.repeat(draw.normal(size=25), 8), np.zeros(200), groups
        ).verdict
        for _ in range(1000)
    ]
    assert 30 <= sum(verdict != "no difference" for verdict in verdicts) <= 75


def test_few_groups_or_equal_losses_show_no_difference() -> None:
    found = compare_losses([1.0, 1.0, 1.0], [2.0, 2.0, 2.0], [0, 1, 2])
    assert (found.standard_error, found.verdict) == (None, "no difference")
    assert compare_losses(np.ones(9), np.ones(9), np.arange(9)).verdict == "no difference"
    assert compare_losses(np.ones(9), np.zeros(9), np.arange(9)).verdict == "worse"
    with pytest.raises(ShapeError, match="losses do not pair"):
        compare_losses([1.0], [1.0, 2.0], [0])
