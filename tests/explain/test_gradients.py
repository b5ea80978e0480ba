"""Path integrals compared with integrals computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from elman.cells import find
from elman.explain import gradients
from elman.explain.gradients import MAX_SCORE, finite, held_note, integrated, slopes_between

# Sixteen points are exact for these polynomials; the sums have at most sixteen terms near one.
FLOAT64 = 16 * 2.0**-53


def product(rows: np.ndarray, frozen: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the score x·y + 3 of rows ``[B, 1, 2]``; frozen, x is constant and the slope of y is x."""
    x, y = rows[:, 0, 0], rows[:, 0, 1]
    slopes = np.stack([np.zeros_like(x) if frozen else y, x], axis=1)[:, None]
    return x * y + 3, slopes, np.full(len(rows), 3.0)


def test_a_product_is_split_in_halves() -> None:
    rows, base = np.array([[4.0, 5.0]]), np.zeros((1, 2))
    np.testing.assert_allclose(integrated(product, rows, base, 1), [[10, 10]], rtol=FLOAT64)
    # from (2, 1): the integral of (1 + 4t)·2 and of (2 + 2t)·4
    shares = integrated(product, rows, np.array([[2.0, 1.0]]), 1)
    np.testing.assert_allclose(shares, [[6, 12]], rtol=FLOAT64)


@pytest.mark.parametrize("frozen", [True, False])
def test_slopes_and_rest_are_the_score(frozen: bool) -> None:
    rows, base = np.array([[4.0, 5.0]]), np.array([[2.0, 1.0]])
    slopes, rest = slopes_between(product, base, rows, frozen=frozen, size=1)
    assert (slopes * (rows - base)).sum() + rest == pytest.approx(23, rel=FLOAT64)
    assert rest == pytest.approx(3 + 4 * 1 if frozen else 2 * 1 + 3, rel=FLOAT64)


def test_one_point_at_a_time_gives_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, base = np.array([[4.0, 5.0]]), np.zeros((1, 2))
    whole = integrated(product, rows, base, 1)
    monkeypatch.setattr(gradients, "MAX_NUMBERS_AT_ONCE", 1)
    np.testing.assert_allclose(integrated(product, rows, base, 10), whole, rtol=FLOAT64)


def test_a_kink_needs_more_points() -> None:
    asked = []

    def kinked(rows: np.ndarray, frozen: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        asked.append(len(rows))
        over = rows - 0.9512
        scores = 1e-3 * rows.sum(axis=(1, 2)) + np.maximum(over, 0).sum(axis=(1, 2))
        return scores, 1e-3 + (over > 0.0), np.zeros(len(rows))

    shares = integrated(kinked, np.ones((1, 1)), np.zeros((1, 1)), 1)
    assert shares[0, 0] == pytest.approx(0.0498, rel=0.05)
    assert max(asked) > min(gradients.PATH_POINTS)


def test_nan_and_infinity_become_finite() -> None:
    assert finite([np.nan, np.inf, -1e308, 2.0]).tolist() == [0, MAX_SCORE, -MAX_SCORE, 2]


def test_the_note_names_the_constant_parts() -> None:
    said = [held_note(find(cell)) for cell in ("gru", "lstm")]
    assert said == ["Held constant: gates and slopes."] * 2
    assert held_note(find("mingru"), "rectifiers") == "Held constant: gates, rectifiers."
    assert held_note(find("rnn", "relu")) == "Held constant: slopes."
    assert held_note(find("rnn", "linear")) == ""
