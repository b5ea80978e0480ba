"""Features of texts and of time steps for the linear models of `elman.labels.linear_models`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, TypeAlias

import numpy as np

from elman.errors import MissingDependencyError, installing

# A linear model with more would take minutes or gigabytes.
MAX_FEATURES, MAX_WEIGHTS = 200_000, 20_000_000
MANY_TEXTS = 1_000
"""From this number of texts on, features that occur only once are dropped."""
# Words, and single punctuation marks, because emoticons consist of them.
TOKEN_PATTERN = r"\w+|[^\w\s]"
NEIGHBOURS = 2
"""Number of neighbours on each side that a model of tags sees."""

Step: TypeAlias = "tuple[Sequence[Any], int]"
"""A time step: the sequence, and the index in it."""


def sklearn(module: str) -> Any:
    """Return a module of scikit-learn; raises MissingDependencyError, which says how to install it."""
    try:
        return import_module(f"sklearn.{module}")
    except ImportError as error:
        what = "scikit-learn is not installed"
        raise MissingDependencyError(what, remedy=installing("train")) from error


def text_features(texts: Sequence[str], outputs: int) -> Callable[[Sequence[str]], Any] | None:
    """Return a function from texts to a sparse matrix ``[N, F]`` of TF-IDF; None if no text has a word.

    Args:
        texts: The training set, which determines the words and n-grams.
        outputs: Number of outputs of the model; its weights are limited to `MAX_WEIGHTS`.
    """
    vectoriser = sklearn("feature_extraction.text").TfidfVectorizer
    shared: dict[str, Any] = {
        "sublinear_tf": True,
        "min_df": 2 if len(texts) >= MANY_TEXTS else 1,
        "max_features": max(100, min(MAX_FEATURES, MAX_WEIGHTS // outputs) // 2),
        "dtype": np.float32,
    }
    words = vectoriser(ngram_range=(1, 2), token_pattern=TOKEN_PATTERN, **shared)
    characters = vectoriser(ngram_range=(2, 4), analyzer="char_wb", **shared)
    both = sklearn("pipeline").make_union(words, characters)
    try:
        both.fit(texts)
    except ValueError:  # no text has a word, or no word occurs twice
        return None
    transform: Callable[[Sequence[str]], Any] = both.transform
    return transform


def word_windows(steps: Sequence[Step]) -> Callable[[Sequence[Step]], Any]:
    """Return a function from steps of tokens to a sparse matrix ``[N, F]``, fitted on `steps`."""
    counts = sklearn("feature_extraction.text").CountVectorizer
    vectoriser = counts(analyzer=_token_features, binary=True, dtype=np.float32).fit(steps)
    transform: Callable[[Sequence[Step]], Any] = vectoriser.transform
    return transform


def _token_features(step: Step) -> list[str]:
    """Return the names of the binary features of one token: itself, its neighbours, affixes and shape."""
    tokens, index = step
    words = {
        offset: tokens[index + offset] if 0 <= index + offset < len(tokens) else "<none>"
        for offset in range(-NEIGHBOURS, NEIGHBOURS + 1)
    }
    features = ["bias"]
    for offset, word in words.items():
        features.append(f"{offset}={word.lower()}")
        if offset == 0:
            features += [f"pre={word[:size]}" for size in (1, 2, 3)]
            features += [f"end={word[-size:]}" for size in (1, 2, 3)]
        if abs(offset) <= 1:
            # "Paris" has the shape "Xxxxx", "B2" the shape "X9"
            shape = "".join(
                "9"
                if sign.isdigit()
                else "X"
                if sign.isupper()
                else "x"
                if sign.isalpha()
                else sign
                for sign in word[:12]
            )
            features.append(f"{offset}shape={shape}")
    pairs = ((-1, 0), (0, 1))
    return features + [f"{a}{b}={words[a].lower()}|{words[b].lower()}" for a, b in pairs]


def value_windows(steps: Sequence[Step]) -> Callable[[Sequence[Step]], Any]:
    """Return a function from steps of numbers to a matrix ``[N, F]``, standardised by `steps`."""

    def windows(some_steps: Sequence[Step]) -> np.ndarray:
        rows = []
        for sequence, index in some_steps:
            indices = np.arange(index - NEIGHBOURS, index + NEIGHBOURS + 1)
            window = np.nan_to_num(np.asarray(sequence)[indices.clip(0, len(sequence) - 1)])
            rows.append(window.ravel())
        return np.array(rows)

    rows = windows(steps)
    # divide by the largest value first: squares of huge numbers would overflow
    largest = np.maximum(abs(rows).max(axis=0), np.finfo(np.float64).tiny)
    centre, spread = (rows / largest).mean(axis=0), (rows / largest).std(axis=0)
    spread[spread == 0] = 1.0
    return lambda unseen: np.clip((windows(unseen) / largest - centre) / spread, -100, 100)
