"""Whether two models differ beyond chance, on predictions that depend on one another."""

from __future__ import annotations

import numpy as np
import pytest

from elman.errors import ShapeError
from elman.metrics.paired import paired_difference


def test_the_standard_error_is_that_of_sums_of_groups() -> None:
    draw = np.random.default_rng(0)
    sizes = draw.integers(1, 30, 200)
    groups = np.repeat(np.arange(200), sizes)
    gaps = np.repeat(draw.normal(0.3, 1.0, 200), sizes)
    found = paired_difference(gaps + 2.0, np.full(len(gaps), 2.0), groups)
    # the same by the bootstrap over groups
    sums = np.bincount(groups, weights=gaps)
    drawn = draw.integers(200, size=(4000, 200))
    means = sums[drawn].sum(1) / sizes[drawn].sum(1)
    assert found.value == pytest.approx(gaps.mean())
    assert found.standard_error == pytest.approx(means.std(), rel=0.1)
    assert (found.groups, found.verdict) == (200, "worse")
    # as if every prediction stood for itself, chance would look like skill
    alone = paired_difference(gaps, np.zeros(len(gaps)), np.arange(len(gaps)))
    assert alone.standard_error is not None
    assert found.standard_error is not None
    assert alone.standard_error < 0.5 * found.standard_error


def test_equal_models_differ_in_five_per_cent_of_trials() -> None:
    draw = np.random.default_rng(1)
    groups = np.repeat(np.arange(25), 8)
    verdicts = [
        paired_difference(
            draw.normal(size=200) + np.repeat(draw.normal(size=25), 8), np.zeros(200), groups
        ).verdict
        for _ in range(1000)
    ]
    assert 30 <= sum(verdict != "no difference" for verdict in verdicts) <= 75


def test_a_few_groups_show_nothing_and_equal_losses_no_difference() -> None:
    found = paired_difference([1.0, 1.0, 1.0], [2.0, 2.0, 2.0], [0, 1, 2])
    assert (found.standard_error, found.verdict) == (None, "no difference")
    assert paired_difference(np.ones(9), np.ones(9), np.arange(9)).verdict == "no difference"
    assert paired_difference(np.ones(9), np.zeros(9), np.arange(9)).verdict == "worse"
    with pytest.raises(ShapeError, match="losses do not pair"):
        paired_difference([1.0], [1.0, 2.0], [0])
