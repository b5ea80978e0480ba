from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from elman.errors import ShapeError
from elman.metrics.correlation import pearson, spearman

numbers = st.lists(st.tuples(*[st.integers(-5, 5)] * 2), min_size=3, max_size=30)


@given(numbers)
def test_correlations_agree_with_scipy(pairs: list[tuple[int, int]]) -> None:
    predicted, truth = map(list, zip(*pairs, strict=True))
    if len(set(predicted)) == 1 or len(set(truth)) == 1:
        assert pearson(predicted, truth) is None
        assert spearman(predicted, truth) is None
    else:
        assert pearson(predicted, truth) == pytest.approx(stats.pearsonr(predicted, truth)[0])
        assert spearman(predicted, truth) == pytest.approx(stats.spearmanr(predicted, truth)[0])


def test_missing_and_huge_numbers() -> None:
    assert pearson([1e300, 5.0, -1e300], [1.0, np.nan, -1.0]) == 1.0
    assert spearman([1e300, 5.0, -1e300], [1.0, np.nan, -1.0]) == 1.0
    # a constant with rounding errors
    assert pearson([0.1 + 0.2, 0.3, 0.3], [1.0, 2.0, 3.0]) is None
    with pytest.raises(ShapeError):
        pearson([1.0], [1.0, 2.0])
