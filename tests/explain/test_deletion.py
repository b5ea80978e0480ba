"""The test by deletion: the truth passes, chance does not, and what cannot be told is not."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from elman.explain.deletion import RARE, deletion_test


def additive(effect: np.ndarray) -> Any:
    return lambda sets: np.array([-effect[list(one)].sum() for one in sets])


@pytest.mark.parametrize("N", [4, 5, 9, 16])
def test_the_deletion_score_of_the_truth_is_one_and_of_its_reverse_none(N: int) -> None:
    effect = 2.0 ** -np.arange(N)  # no two sets of it move alike
    without = additive(effect)
    alone = without([(i,) for i in range(N)])
    best, worst = (deletion_test(named, 0.0, alone, without) for named in (effect, effect[::-1]))
    assert best is not None
    assert worst is not None
    assert (best.score, worst.score, worst.chance) == (1.0, 0.0, 1.0)
    assert best.chance <= RARE
    none = deletion_test(np.ones(N), 0.0, np.zeros(N), lambda sets: np.zeros(len(sets)))
    assert none == (0.5, 1.0)


def test_of_random_explanations_one_in_ten_passes() -> None:
    draw = np.random.default_rng(0)
    count, passed = 1000, 0
    for _ in range(count):
        effect, named = draw.normal(size=(2, 8))
        found = deletion_test(named, 0.0, -effect, additive(effect))
        assert found is not None
        passed += found.chance <= RARE
    # 5 standard deviations of a share of that many
    assert passed / count <= RARE + 5 * (RARE * (1 - RARE) / count) ** 0.5


def test_what_is_measured_alone_is_tested_by_more() -> None:
    effect = 2.0 ** -np.arange(5)

    def lone(sets: list[tuple[int, ...]]) -> np.ndarray:
        return np.array([-effect[one[0]] if len(one) == 1 else 0.0 for one in sets])

    alone = -effect
    tested = deletion_test(effect, 0.0, alone, lone)
    assert tested is not None
    assert tested.score == pytest.approx(2 / 3, abs=1e-9)
    assert deletion_test(effect, 0.0, alone, lone, measured=True) == (0.5, 1.0)


def test_the_deletion_score_by_hand() -> None:
    effect, named = np.array([4.0, -1.0, 3.0, 2.0]), np.array([0.5, -3.0, 2.0, 0.0])
    seen: list[tuple[int, ...]] = []

    def without(sets: list[tuple[int, ...]]) -> np.ndarray:
        seen.extend(sets)
        return additive(effect)(sets)

    # said to raise it, with 2.5: input 2, whose 3 is above two of 4, -1, 2; then 2 and 0, whose 7 is above
    # 3, 6, 2, 1, 5. said to lower it, with 3: input 1, whose -1 is below 4, 3, 2
    expected = (2.5 * np.mean([2 / 3, 1]) + 3 * 1) / 5.5
    found = deletion_test(named, 0.0, -effect, without)
    assert found is not None
    assert found.score == pytest.approx(expected)
    assert seen[0] == (0, 2)
    assert set(seen) == {*itertools.combinations(range(4), 2)}


@pytest.mark.parametrize("measured", [False, True])
@pytest.mark.parametrize(
    "effect",
    [[4.0, -3.9, 1.0, 0.5, 0.4], [2.0, 1.9, -2.0, -1.9, 0.1, 0.2], [-3.0, -2.0, -1.5, 9.0]],
)
def test_what_raises_and_what_lowers_the_score_do_not_cancel(
    effect: list[float], *, measured: bool
) -> None:
    truth = np.array(effect)
    found = deletion_test(
        truth, 5.0, 5.0 - truth, lambda sets: 5.0 + additive(truth)(sets), measured=measured
    )
    assert found is not None
    assert found.score == 1.0
    assert found.chance <= RARE
    turned = deletion_test(
        -truth, 5.0, 5.0 - truth, lambda sets: 5.0 + additive(truth)(sets), measured=measured
    )
    assert turned is None or turned.score < 0.1


def test_what_rounding_makes_of_equal_changes_is_a_tie() -> None:
    draw = np.random.default_rng(0)

    def noise(sets: list[tuple[int, ...]]) -> np.ndarray:
        return 7.0 + 1e-7 * draw.normal(size=len(sets))

    alone = noise([(place,) for place in range(12)])
    assert deletion_test(draw.normal(size=12), 7.0, alone, noise) == (0.5, 1.0)


def test_the_deletion_score_draws_the_same_sets_again() -> None:
    effect = np.random.default_rng(0).normal(size=30)
    drawn: list[list[tuple[int, ...]]] = []

    def without(sets: list[tuple[int, ...]]) -> np.ndarray:
        drawn.append(sets)
        return additive(effect)(sets)

    found = {deletion_test(effect, 0.0, -effect, without) for _ in range(2)}
    assert len(found) == 1
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) == len(drawn[0]) <= 4 * 20
    for few in range(4):
        assert deletion_test([1.0] * few, 0.0, [1.0] * few, without) is None
