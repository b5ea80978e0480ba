"""On data with a known deciding input, it is ranked first, and wrong explanations fail their test."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from deciding import TRUTHS, Asked, Truth, is_right
from elman.explain.explanation import REPLACEMENT, Explanation
from elman.explain.selftest import self_test

pytestmark = pytest.mark.slow

COUNT = 40
Learned = tuple[Truth, Any, list[tuple[Asked, Explanation]]]


@pytest.fixture(
    scope="module", params=["the marked day", "the word before", "a step, label", "a lag"]
)
def learned(request: pytest.FixtureRequest) -> Learned:
    """A trained network, and explanations of its answers by the default method."""
    truth, draw = TRUTHS[request.param], np.random.default_rng(1)
    predictor = truth.fit()
    asked = [truth.ask(draw) for _ in range(COUNT)]
    return truth, predictor, [(one, truth.explained(predictor, one)) for one in asked]


def test_the_deciding_input_is_on_top_by_default(learned: Learned) -> None:
    _, _, answers = learned
    assert {told.method for _, told in answers} == {REPLACEMENT}
    right = [is_right(told, asked) for asked, told in answers]
    assert np.mean(right) >= 0.95
    passed = [told.passed is True for _, told in answers]
    assert np.mean(np.array(passed)[right]) >= 0.8


def test_permuted_explanations_fail(learned: Learned) -> None:
    """Permute the numbers, so that the deciding inputs are no longer ranked first."""
    _, _, answers = learned
    draw, wrong = np.random.default_rng(2), list[bool]()
    for asked, told in answers:
        assert told.absence is not None
        other = replace(told, contributions=draw.permutation(told.contributions))
        if not is_right(other, asked):
            groups = np.array(told.groups or range(len(told.inputs)))
            named = np.bincount(groups, other.contributions)
            tested = self_test(named, np.bincount(groups, told.absence), min_change=told.min_change)
            wrong.append(replace(other, test=tested).passed is True)
    assert len(wrong) >= COUNT // 2
    assert np.mean(wrong) <= 0.05
