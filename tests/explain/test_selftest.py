"""The self-test: right explanations pass, wrong and random ones do not, and empty ones are not tested."""

from __future__ import annotations

import numpy as np
import pytest

from elman.explain.selftest import MAX_P, MIN_MOVED_SHARE, RANKINGS, SelfTest, self_test


@pytest.mark.parametrize("N", [4, 5, 9, 16, 200])
def test_the_truth_passes_and_its_reverse_fails(N: int) -> None:
    falls = 2.0 ** -np.arange(N)
    best, worst = (self_test(named, falls) for named in (falls, falls[::-1]))
    assert best is not None
    assert worst is not None
    assert (best.moved, best.stronger) == (1.0, None)
    assert best.p <= MAX_P
    assert worst.moved < MIN_MOVED_SHARE
    assert worst.stronger == 0


@pytest.mark.slow
@pytest.mark.parametrize("N", [6, 20])
@pytest.mark.parametrize("deciding", [1, 2, 3])
def test_only_the_deciding_inputs_on_top_pass(N: int, deciding: int) -> None:
    # only the last inputs move the score, as in a network that remembers these words alone
    falls = np.zeros(N)
    falls[-deciding:] = 1.0
    draw = np.random.default_rng(0)
    passed = 0
    for _ in range(300):
        named = draw.permutation(np.arange(1.0, N + 1))
        result = self_test(named, falls)
        assert result is not None
        right = {*np.argsort(-named)[:deciding]} == {*range(N - deciding, N)}
        assert (result.moved >= MIN_MOVED_SHARE) is right
        passed += result.moved >= MIN_MOVED_SHARE and result.p <= MAX_P and not right
    assert passed == 0


def test_the_p_value_by_hand() -> None:
    # One input of ten moves the score, and one random ranking of ten puts it first.
    falls = np.zeros(10)
    falls[3] = 2.0
    result = self_test(falls, falls)
    assert result is not None
    assert result.moved == 1.0
    standard_error = (0.1 * 0.9 / RANKINGS) ** 0.5
    assert abs(result.p - 0.1) < 4 * standard_error


def test_few_random_explanations_pass() -> None:
    draw = np.random.default_rng(0)
    passed = 0
    for _ in range(500):
        falls, named = draw.normal(size=(2, 8))
        result = self_test(named, falls)
        assert result is not None
        passed += result.moved >= MIN_MOVED_SHARE and result.p <= MAX_P
    assert passed <= 25


def test_inputs_that_raise_and_lower_the_score_do_not_cancel() -> None:
    for effect in (
        [4.0, -3.9, 1.0, 0.5, 0.4],
        [2.0, 1.9, -2.0, -1.9, 0.1, 0.2],
        [-3.0, -2.0, -1.5, 9.0],
    ):
        falls = np.array(effect)
        right, wrong = self_test(falls, falls), self_test(-falls, falls)
        assert right is not None
        assert wrong is not None
        assert right.moved == 1.0
        assert right.p <= MAX_P
        assert wrong.moved < MIN_MOVED_SHARE


def test_nothing_to_compare_gives_no_result() -> None:
    assert self_test([], []) is None
    assert self_test([1.0], [1.0]) is None
    assert self_test([0.0, 0.0], [1.0, 0.0]) is None
    assert self_test([1.0, 0.0], [0.009, 0.0], min_change=0.01) is None


def test_the_result_is_deterministic() -> None:
    falls, named = np.random.default_rng(0).normal(size=(2, 30))
    assert self_test(named, falls) == self_test(named, falls)
    # all inputs are named as raising the score when replaced, and all lower it
    assert self_test([-1.0, -2.0, -3.0], [1.0, 2.0, 3.0]) == SelfTest(0.0, 1.0, 2)
