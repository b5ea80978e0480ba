"""The self-test: right explanations pass it, wrong ones and chance do not, and what cannot be told is not."""

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


@pytest.mark.parametrize("N", [6, 20])
@pytest.mark.parametrize("deciding", [1, 2, 3])
def test_only_the_deciding_inputs_on_top_pass(N: int, deciding: int) -> None:
    # the network is a memory of so many words: nothing else moves it
    falls = np.zeros(N)
    falls[-deciding:] = 1.0
    draw = np.random.default_rng(0)
    passed = 0
    for _ in range(300):
        named = draw.permutation(np.arange(1.0, N + 1))
        found = self_test(named, falls)
        assert found is not None
        right = {*np.argsort(-named)[:deciding]} == {*range(N - deciding, N)}
        assert (found.moved >= MIN_MOVED_SHARE) is right
        passed += found.moved >= MIN_MOVED_SHARE and found.p <= MAX_P and not right
    assert passed == 0


def test_the_p_value_by_hand() -> None:
    # one input of ten decides: one random ranking of ten puts it first, and only then is the sum as large
    falls = np.zeros(10)
    falls[3] = 2.0
    found = self_test(falls, falls)
    assert found is not None
    assert found.moved == 1.0
    standard_error = (0.1 * 0.9 / RANKINGS) ** 0.5
    assert abs(found.p - 0.1) < 4 * standard_error


def test_of_random_explanations_few_pass() -> None:
    draw = np.random.default_rng(0)
    passed = 0
    for _ in range(500):
        falls, named = draw.normal(size=(2, 8))
        found = self_test(named, falls)
        assert found is not None
        passed += found.moved >= MIN_MOVED_SHARE and found.p <= MAX_P
    assert passed <= 25


def test_what_raises_and_what_lowers_the_score_do_not_cancel() -> None:
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


def test_what_cannot_be_told() -> None:
    assert self_test([], []) is None
    assert self_test([1.0], [1.0]) is None
    assert self_test([0.0, 0.0], [1.0, 0.0]) is None
    assert self_test([1.0, 0.0], [0.009, 0.0], min_change=0.01) is None


def test_it_is_the_same_again() -> None:
    falls, named = np.random.default_rng(0).normal(size=(2, 30))
    assert self_test(named, falls) == self_test(named, falls)
    # where everything is named as lowering the score, and nothing does
    assert self_test([-1.0, -2.0, -3.0], [1.0, 2.0, 3.0]) == SelfTest(0.0, 1.0, 2)
