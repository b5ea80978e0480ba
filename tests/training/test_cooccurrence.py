"""Initial embeddings from co-occurrences: words with the same neighbours are similar."""

from __future__ import annotations

import numpy as np

from elman.training.cooccurrence import cooccurrence_embeddings

V, E = 60, 8


def text_of_groups(group_size: int = 6) -> np.ndarray:
    """Return a text in which each word of a group is followed by any word of the next group."""
    random = np.random.default_rng(0)
    group = np.arange(4000) % (V // group_size)
    ids: np.ndarray = group * group_size + random.integers(group_size, size=len(group))
    return ids


def test_words_with_the_same_neighbours_are_similar() -> None:
    embeddings = cooccurrence_embeddings(text_of_groups(), V, E, seed=0)
    directions = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    similarity = directions @ directions.T
    same = np.arange(V)[:, None] // 6 == np.arange(V) // 6
    assert similarity[same].min() > similarity[~same].max()


def test_their_size_is_that_of_random_embeddings() -> None:
    embeddings = cooccurrence_embeddings(text_of_groups(), V, E, seed=0)
    assert embeddings.shape == (V, E)
    np.testing.assert_allclose(np.square(embeddings).mean(), 1 / E, rtol=1e-4)


def test_the_same_seed_gives_the_same_embeddings() -> None:
    first, again = (cooccurrence_embeddings(text_of_groups(), V, E, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_a_word_that_never_occurs_is_finite() -> None:
    embeddings = cooccurrence_embeddings(text_of_groups(), V + 5, E, seed=0)
    assert np.isfinite(embeddings).all()
    assert np.abs(embeddings[V:]).max() < np.abs(embeddings[:V]).max() / 100
