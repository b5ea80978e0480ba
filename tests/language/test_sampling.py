from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.errors import OptionError
from elman.language.sampling import Sampling, best, generator, ranked
from elman.text.vocabulary import TextCodec
from elman.text.words import UNKNOWN_ID

pytestmark = pytest.mark.usefixtures("way")

# Rounding error of probabilities from float32 weights.
FLOAT32 = 1e-6


def plain(
    logits: np.ndarray, temperature: float, top_k: int | None, top_p: float | None
) -> np.ndarray:
    """Return the probabilities in float64, with loops: first temperature, then top-k, then top-p."""
    known = [i for i in range(len(logits)) if i != UNKNOWN_ID]
    order = sorted(known, key=lambda i: (-logits[i], i))
    if temperature == 0:
        kept = order[:1]
        weights = {kept[0]: 1.0}
    else:
        kept = order[:top_k]
        weights = {
            i: np.exp((float(logits[i]) - float(logits[kept[0]])) / temperature) for i in kept
        }
    if top_p is not None:
        total, reached, nucleus = sum(weights.values()), 0.0, []
        for i in kept:
            nucleus.append(i)
            reached += weights[i] / total
            if reached >= top_p:
                break
        weights = {i: weights[i] for i in nucleus}
    total = sum(weights.values())
    return np.array([weights.get(i, 0.0) / total for i in range(len(logits))])


@pytest.mark.parametrize("temperature", [0, 0.3, 1, 4.0])
@pytest.mark.parametrize("top_k", [None, 1, 3, 100])
@pytest.mark.parametrize("top_p", [None, 0.05, 0.61, 1.0])
def test_weights_equal_a_plain_computation(
    temperature: float, top_k: int | None, top_p: float | None
) -> None:
    for seed in range(20):
        logits = (2 * np.random.default_rng(seed).standard_normal(12)).astype(np.float32)
        logits[UNKNOWN_ID] = 50  # <unk> is the most probable token by far, but must never be drawn
        weights = Sampling(temperature, top_k, top_p).weights(logits)
        assert weights.dtype == np.float32
        expected = plain(logits, temperature, top_k, top_p)
        np.testing.assert_allclose(weights / weights.sum(), expected, rtol=0, atol=FLOAT32)


def test_draws_are_as_frequent_as_the_weights_say() -> None:
    logits = np.log(np.array([0.5, 0.2, 0.2, 0.1], np.float32))
    random = generator(0)
    drawn = [Sampling().draw(logits, random.random()) for _ in range(20_000)]
    shares = np.bincount(drawn, minlength=4) / len(drawn)
    # 5 standard errors of a share of 20,000 draws
    np.testing.assert_allclose(shares, [0, 0.4, 0.4, 0.2], rtol=0, atol=5 * np.sqrt(0.25 / 20_000))


def test_the_lowest_random_number_draws_a_possible_token() -> None:
    logits = np.zeros(3, np.float32)
    assert Sampling().draw(logits, 0.0) == 1
    logits[1] = -1000  # its weight is 0 in float32
    assert Sampling().draw(logits, 0.0) == 2


@pytest.mark.parametrize("temperature", [5e-324, 1e-30, 1e-8, 1e30, 1e308])
def test_extreme_temperatures_and_logits_stay_in_the_vocabulary(temperature: float) -> None:
    logits = np.array([0, 1e18, -1e18, 5, 1e18], np.float32)
    weights = Sampling(temperature).weights(logits)
    assert np.isfinite(weights).all()
    assert weights[UNKNOWN_ID] == 0
    assert weights[1] == weights[4] == 1
    assert weights[2] == (1 if temperature == 1e308 or temperature == 1e30 else 0)


def test_ties_stay_in_order() -> None:
    weights = Sampling(top_k=2).weights(np.zeros(6, np.float32))
    assert weights.tolist() == [0, 1, 1, 0, 0, 0]


@given(
    st.lists(st.integers(-3, 3), min_size=1, max_size=30),
    st.integers(1, 40),
)
def test_best_sorts_stably(values: list[int], k: int) -> None:
    expected = sorted(range(len(values)), key=lambda i: (-values[i], i))[:k]
    assert best(np.array(values, float), k).tolist() == expected


def test_ranked_never_contains_unknown() -> None:
    codec = TextCodec("char", ("<unk>", "a", "b"))
    log_probabilities = np.log(np.array([0.7, 0.1, 0.2]))
    names, probabilities = zip(*ranked(codec, log_probabilities, 9), strict=True)
    assert names == ("b", "a")
    np.testing.assert_allclose(probabilities, [0.2, 0.1], rtol=0, atol=FLOAT32)
    assert [token for token, _ in ranked(codec, log_probabilities, 1)] == ["b"]


@pytest.mark.parametrize("name", ["temperature", "top_k", "top_p"])
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "1", True, [1]])
def test_bad_options_are_refused(name: str, value: Any) -> None:
    with pytest.raises(OptionError, match=f"^{name}: got .*; expected "):
        Sampling(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"), [("top_k", 0), ("top_k", 1.5), ("top_p", 0), ("top_p", 1.01)]
)
def test_options_out_of_range_are_refused(name: str, value: Any) -> None:
    with pytest.raises(OptionError, match=f"^{name}: got {value}; expected "):
        Sampling(**{name: value})


@pytest.mark.parametrize("seed", [-1, 1.5, "0", True])
def test_bad_seeds_are_refused(seed: Any) -> None:
    with pytest.raises(OptionError, match=r"^seed: got"):
        generator(seed)


def test_numpy_numbers_are_accepted() -> None:
    numbers: list[Any] = [np.float32(0.5), np.int32(2), np.float64(0.5)]
    assert Sampling(*numbers).top_k == 2


def test_a_seed_repeats_and_none_varies() -> None:
    first, second = (generator(7).random(3).tolist() for _ in range(2))
    assert first == second
    draws = [tuple(generator(None).random(2)) for _ in range(4)]
    assert all(a != b for a, b in itertools.combinations(draws, 2))
