"""Features of texts, of sequences of numbers and of time steps, for linear models."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any, Protocol, TypeAlias

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
MAX_RELATIVE_VALUE = 1e6
"""Values are clipped to this multiple of the largest value in training."""


class Features(Protocol):
    """Feature matrix ``[N, F]``: an array of numpy or a sparse matrix of scipy."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows and of features."""

    def __getitem__(self, rows: np.ndarray, /) -> Features: ...


Vectoriser: TypeAlias = "Callable[[Sequence[Any]], Features]"
"""Turns texts, sequences of numbers or time steps into rows of features."""
Step: TypeAlias = "tuple[Sequence[Any], int]"
"""A time step: the sequence, and the index in it."""


def sklearn(module: str) -> ModuleType:
    """Return a module of scikit-learn; raises MissingDependencyError, which says how to install it."""
    try:
        return import_module(f"sklearn.{module}")
    except ImportError as error:
        what = "scikit-learn is not installed"
        raise MissingDependencyError(what, remedy=installing("train")) from error


def text_features(texts: Sequence[str], outputs: int) -> Vectoriser | None:
    """Return a function from texts to a sparse matrix ``[N, F]`` of TF-IDF; None if no text has a word.

    Args:
        texts: The training set, which determines the words and n-grams.
        outputs: Number of outputs of the model; its weights are limited to `MAX_WEIGHTS`.
    """
    shared = {
        # 1 + ln(count) instead of the count, so that a repeated word does not outweigh the others
        "sublinear_tf": True,
        "min_df": 2 if len(texts) >= MANY_TEXTS else 1,
        # half of the features for words, half for n-grams of characters
        "max_features": max(100, min(MAX_FEATURES, MAX_WEIGHTS // outputs) // 2),
        "dtype": np.float32,
    }
    tfidf = sklearn("feature_extraction.text").TfidfVectorizer
    words = tfidf(ngram_range=(1, 2), token_pattern=TOKEN_PATTERN, **shared)
    characters = tfidf(ngram_range=(2, 5), analyzer="char_wb", **shared)
    both = sklearn("pipeline").make_union(words, characters)
    try:
        vectorise: Vectoriser = both.fit(texts).transform
    except ValueError:  # no text has a word, or no word occurs twice
        return None
    return vectorise


def word_windows(steps: Sequence[Step]) -> Vectoriser:
    """Return a function from steps of tokens to a sparse matrix ``[N, F]``, fitted on `steps`."""
    counts = sklearn("feature_extraction.text").CountVectorizer
    vectoriser = counts(analyzer=_token_features, binary=True, dtype=np.float32)
    vectorise: Vectoriser = vectoriser.fit(steps).transform
    return vectorise


def _token_features(step: Step) -> list[str]:
    """Return the names of the binary features of one token: itself, its neighbours, affixes and shape."""
    tokens, index = step
    words = {
        offset: tokens[index + offset] if 0 <= index + offset < len(tokens) else "<none>"
        for offset in range(-NEIGHBOURS, NEIGHBOURS + 1)
    }
    features = ["bias", *(f"{offset}={word.lower()}" for offset, word in words.items())]
    for size in (1, 2, 3):
        features += [f"pre={words[0][:size]}", f"end={words[0][-size:]}"]
    for a, b in ((-1, 0), (0, 1)):
        features.append(f"{a}{b}={words[a].lower()}|{words[b].lower()}")
    return features + [f"{offset}shape={_shape(words[offset][:12])}" for offset in (-1, 0, 1)]


def _shape(word: str) -> str:
    """Return "Xxxxx" for "Paris" and "X9" for "B2": the kind of each character."""
    digits = re.sub(r"\d", "9", word)
    return "".join("X" if c.isupper() else "x" if c.isalpha() else c for c in digits)


def value_windows(steps: Sequence[Step]) -> Vectoriser:
    """Return a function from steps of numbers to a matrix ``[N, F]``, standardised by `steps`."""

    def windows(some_steps: Sequence[Step]) -> np.ndarray:
        rows = []
        for sequence, index in some_steps:
            indices = np.arange(index - NEIGHBOURS, index + NEIGHBOURS + 1)
            window = np.nan_to_num(np.asarray(sequence)[indices.clip(0, len(sequence) - 1)])
            rows.append(window.ravel())
        return np.array(rows)

    # [N, (2 · NEIGHBOURS + 1) · C]; beyond the ends, the first or last step is repeated
    rows = windows(steps)
    # divide by the largest value first: squares of huge numbers would overflow
    largest = np.maximum(abs(rows).max(axis=0), np.finfo(np.float64).tiny)
    standardise = _standardiser(rows / largest)
    return lambda unseen: standardise(windows(unseen) / largest)


def summaries(training: Sequence[np.ndarray]) -> Vectoriser:
    """Return a function from sequences ``[T_i, C]`` to features ``[N, 1 + 8 · C]``, fitted on `training`.

    The features, standardised by `training`, are the length and, for each channel, the mean, standard
    deviation, minimum, maximum, first, last, slope and median of its finite values. A channel without finite
    values gets the mean features of training.

    >>> summarise = summaries([np.array([[0.0], [2.0]]), np.array([[4.0], [6.0]])])
    >>> summarise([np.array([[4.0], [np.nan], [6.0]])])[0, :2].round(6).tolist()
    [1.0, 1.0]
    """
    finite = [np.where(np.isfinite(sequence), abs(sequence), 0) for sequence in training]
    # the largest finite size in each channel [C]: squares of huge numbers would overflow
    largest = np.max([values.max(axis=0) for values in finite], axis=0)
    largest[largest == 0] = 1.0

    def raw(sequences: Sequence[np.ndarray]) -> np.ndarray:
        with warnings.catch_warnings(), np.errstate(over="ignore"):
            # numpy warns of channels without finite values
            warnings.simplefilter("ignore", RuntimeWarning)
            return np.stack([_summary(sequence, largest) for sequence in sequences])

    standardise = _standardiser(raw(training))
    return lambda sequences: standardise(raw(sequences))


def _summary(sequence: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """Return the statistics of one sequence ``[T, C]``, NaN for a channel without any finite value."""
    values = np.where(np.isfinite(sequence), sequence, np.nan) / largest
    values = np.clip(values, -MAX_RELATIVE_VALUE, MAX_RELATIVE_VALUE)
    known = np.isfinite(values)
    # the first and the last step with a finite value, for each channel
    first, last = known.argmax(axis=0), len(values) - 1 - known[::-1].argmax(axis=0)
    channels = np.arange(values.shape[1])
    mean = np.nanmean(values, axis=0)
    times = np.where(known, np.arange(len(values))[:, None], np.nan)
    times = times - np.nanmean(times, axis=0)
    # slope of a least-squares line through the finite values
    covariance = np.nansum(times * (values - mean), axis=0)
    slope = covariance / np.maximum(1.0, np.nansum(times**2, axis=0))
    extremes = np.nanstd(values, axis=0), np.nanmin(values, axis=0), np.nanmax(values, axis=0)
    ends = values[first, channels], values[last, channels]
    return np.concatenate(
        [[len(values)], mean, *extremes, *ends, slope, np.nanmedian(values, axis=0)]
    )


def _standardiser(features: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that standardises features ``[N, F]`` by the mean and deviation of `features`."""
    with warnings.catch_warnings():
        # numpy warns of features that no sequence has
        warnings.simplefilter("ignore", RuntimeWarning)
        centre = np.nan_to_num(np.nanmean(features, axis=0))
        spread = np.nan_to_num(np.nanstd(features, axis=0))
    spread[spread < 1e-9] = 1.0
    # a missing feature becomes 0, its mean; an extreme one must not outweigh all others
    return lambda rows: np.nan_to_num((rows - centre) / spread).clip(-100.0, 100.0)
