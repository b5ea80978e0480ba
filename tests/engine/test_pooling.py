"""The poolings and their gradients, over sequences of unequal lengths."""

from __future__ import annotations

import numpy as np
import pytest

from cell_checks import DIFFERENCE, STEP
from elman.engine.pooling import pool, pool_backward

WAYS = ("last", "mean", "max", "attention")
SIZES = np.array([3, 3, 2, 1])  # three sequences, with 4, 3 and 2 steps
H = 2
EACH = pytest.mark.parametrize("ways", [*((way,) for way in WAYS), WAYS], ids="+".join)


def example() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(1)
    y = draw.normal(size=(SIZES.sum(), 2 * H))
    return y, draw.normal(size=(1, 2 * H)), draw.normal(size=(3, len(WAYS) * 2 * H))


def end_of(y: np.ndarray) -> np.ndarray:
    """The last states of both directions: of the last rows 8, 7 and 5, and of the first rows 0, 1 and 2."""
    return np.stack([y[[8, 7, 5], :H], y[:3, H:]])[:, None]


@EACH
def test_gradient_is_the_central_difference(ways: tuple[str, ...]) -> None:
    y, attention, weights = example()
    weights = weights[:, : len(ways) * 2 * H]

    def total(rows: np.ndarray) -> float:
        return float((pool(ways, rows, end_of(rows), SIZES, attention) * weights).sum())

    got = pool_backward(ways, y, SIZES, weights, attention, hidden_size=H, frozen=False)
    for index in np.ndindex(y.shape):
        moved = np.zeros_like(y)
        moved[index] = STEP
        expected = (total(y + moved) - total(y - moved)) / (2 * STEP)
        assert abs(got[index] - expected) <= DIFFERENCE * max(1, abs(expected))


@EACH
def test_frozen_contributions_sum_to_the_pooled_rows(ways: tuple[str, ...]) -> None:
    y, attention, weights = example()
    weights = weights[:, : len(ways) * 2 * H]
    dy = pool_backward(ways, y, SIZES, weights, attention, hidden_size=H, frozen=True)
    expected = (pool(ways, y, end_of(y), SIZES, attention) * weights).sum()
    assert (dy * y).sum() == pytest.approx(expected, rel=1e-13)


def test_of_equal_rows_the_earliest_is_the_maximum() -> None:
    y, sizes = np.ones((3, 1)), np.array([1, 1, 1])
    dy = pool_backward(("max",), y, sizes, np.ones((1, 1)), hidden_size=1, frozen=False)
    assert dy.ravel().tolist() == [1, 0, 0]
