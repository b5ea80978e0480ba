"""Features of texts and of steps to tag, as linear models read them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, TypeAlias

import numpy as np

from elman.errors import MissingDependencyError, installing

__all__ = ["Step", "sklearn", "text_features", "value_windows", "word_windows"]

# Beyond these a linear model would take minutes or gigabytes.
_MOST_FEATURES, _MOST_WEIGHTS = 200_000, 20_000_000
# Features that occur once teach nothing where there are many texts.
_MANY_TEXTS = 1_000
# Words, and signs one by one: a smiley in a tweet consists of punctuation.
_TOKEN = r"\w+|[^\w\s]"
_WINDOW = 2
"""Neighbours on each side that a model of tags sees."""

Step: TypeAlias = "tuple[Sequence[Any], int]"
"""One step of a sequence: the sequence, and the place in it."""


def sklearn(module: str) -> Any:
    """Return a module of scikit-learn; raises MissingDependencyError, which says how to get it."""
    try:
        return import_module(f"sklearn.{module}")
    except ImportError as error:
        what = "scikit-learn is not installed"
        raise MissingDependencyError(what, remedy=installing("train")) from error


def text_features(texts: Sequence[str], outputs: int) -> Callable[[Sequence[str]], Any] | None:
    """Return what turns texts into a sparse matrix ``[N, F]``, None where they have no word."""
    vectoriser = sklearn("feature_extraction.text").TfidfVectorizer
    how: dict[str, Any] = {
        "sublinear_tf": True,
        "min_df": 2 if len(texts) >= _MANY_TEXTS else 1,
        "max_features": max(100, min(_MOST_FEATURES, _MOST_WEIGHTS // outputs) // 2),
        "dtype": np.float32,
    }
    words = vectoriser(ngram_range=(1, 2), token_pattern=_TOKEN, **how)
    characters = vectoriser(ngram_range=(2, 4), analyzer="char_wb", **how)
    both = sklearn("pipeline").make_union(words, characters)
    try:
        both.fit(texts)
    except ValueError:  # no word, or none that occurs twice
        return None
    return lambda given: both.transform(given)


def word_windows(steps: Sequence[Step]) -> Callable[[Sequence[Step]], Any]:
    """Return what turns steps of tokens into a sparse matrix ``[N, F]``."""
    counts = sklearn("feature_extraction.text").CountVectorizer
    vectoriser = counts(analyzer=_seen, binary=True, dtype=np.float32).fit(steps)
    return lambda given: vectoriser.transform(given)


def _seen(step: Step) -> list[str]:
    """Return the names of what a model of tags sees of one step and its neighbours."""
    tokens, place = step
    words = {
        offset: tokens[place + offset] if 0 <= place + offset < len(tokens) else "<none>"
        for offset in range(-_WINDOW, _WINDOW + 1)
    }
    found = ["bias"]
    for offset, word in words.items():
        found.append(f"{offset}={word.lower()}")
        if offset == 0:
            found += [f"pre={word[:size]}" for size in (1, 2, 3)]
            found += [f"end={word[-size:]}" for size in (1, 2, 3)]
        if abs(offset) <= 1:
            shape = "".join(
                "9" if one.isdigit() else "X" if one.isupper() else "x" if one.isalpha() else one
                for one in word[:12]
            )
            found.append(f"{offset}shape={shape}")
    pairs = ((-1, 0), (0, 1))
    return found + [f"{a}{b}={words[a].lower()}|{words[b].lower()}" for a, b in pairs]


def value_windows(steps: Sequence[Step]) -> Callable[[Sequence[Step]], Any]:
    """Return what turns steps of numbers into a matrix ``[N, F]`` of about unit size."""

    def values(given: Sequence[Step]) -> np.ndarray:
        found = []
        for sequence, place in given:
            places = np.arange(place - _WINDOW, place + _WINDOW + 1)
            window = np.nan_to_num(np.asarray(sequence)[places.clip(0, len(sequence) - 1)])
            found.append(window.ravel())
        return np.array(found)

    rows = values(steps)
    largest = np.maximum(abs(rows).max(axis=0), np.finfo(np.float64).tiny)
    middle, spread = (rows / largest).mean(axis=0), (rows / largest).std(axis=0)
    spread[spread == 0] = 1.0
    return lambda given: np.clip((values(given) / largest - middle) / spread, -100, 100)
