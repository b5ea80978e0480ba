"""Plain models to compare a network for labelled sequences with, fitted on the same training set.

They are linear models with the features that usually work best: words, pairs of words and character n-grams
for texts, summary statistics and random convolutions for sequences of numbers, and a window of neighbours for
tags. None of them needs torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from elman.errors import DataError
from elman.labels.batches import EncodedSequences
from elman.labels.codec import SequenceCodec
from elman.labels.convolution_fit import fit_convolutions
from elman.labels.features import Step, summaries, text_features, value_windows, word_windows
from elman.labels.linear_models import (
    DEFAULT_SETTINGS,
    LOGISTIC_C,
    RIDGE_ALPHA,
    SUPPORT_VECTOR_C,
    TAGGER_ALPHA,
    FitSettings,
    Make,
    Score,
    fit_chosen,
    label_score,
    logistic,
    number_score,
    ridge,
    sample_rows,
    stochastic_logistic,
    support_vectors,
)
from elman.tables.scaler import Scaler

MAX_SEQUENCES, MAX_STEPS = 100_000, 100_000
"""Training examples of a plain model. More would take minutes or gigabytes and hardly change its figures."""


@dataclass(frozen=True, eq=False)
class Baseline:
    """A fitted plain model."""

    name: str
    answer: Callable[[Sequence[Any]], np.ndarray]
    """Maps sequences, or for tags time steps, to numbers of labels or to numbers ``[N]``."""

    def predict(self, inputs: Sequence[Any]) -> np.ndarray:
        """Return the number of the label of each input, or the number predicted for it, ``[N]``."""
        return self.answer(inputs) if len(inputs) else np.empty(0, np.int64)


def majority(labels: ArrayLike) -> Baseline:
    """Return the model that always predicts the most frequent of `labels` ``[N]``.

    Raises:
        DataError: There are no labels.

    >>> majority([0, 1, 1]).predict(["any", "text"]).tolist()
    [1, 1]
    """
    best = np.bincount(_checked(labels)).argmax()
    return Baseline("the majority class", lambda inputs: np.full(len(inputs), best))


def mean(targets: ArrayLike) -> Baseline:
    """Return the model that always predicts the mean of `targets` ``[N]``; raises DataError for none."""
    centre = np.mean(_checked(targets))
    return Baseline("the mean", lambda inputs: np.full(len(inputs), centre))


def linear_classifier(
    sequences: Sequence[Any],
    labels: ArrayLike,
    settings: FitSettings = DEFAULT_SETTINGS,
) -> Baseline:
    """Fit a linear SVM on TF-IDF of texts, or a logistic regression on summary statistics of numbers.

    Args:
        sequences: The training set: texts, or arrays ``[T_i, C]``. Of more than `MAX_SEQUENCES` a sample is
            used.
        labels: Numbers of its labels ``[N]``.
        settings: How the linear model is fitted.

    Returns:
        The fitted model, or the majority class if there is only one class or no text has a word.

    Raises:
        DataError: There are no labels.
        MissingDependencyError: scikit-learn is not installed.

    >>> fitted = linear_classifier(["good day", "good", "bad day", "bad"], [1, 1, 0, 0])
    >>> fitted.predict(["a good one", "so bad"]).tolist()
    [1, 0]
    """
    numbers = _checked(labels)
    makers = {
        "a linear SVM": (support_vectors(settings), SUPPORT_VECTOR_C),
        "a logistic regression": (logistic(settings), LOGISTIC_C),
    }
    score = partial(label_score, settings.metric)
    model = _linear(sequences, numbers, len(np.unique(numbers)), makers, score, settings)
    return model or majority(numbers)


def linear_regressor(
    sequences: Sequence[Any], targets: ArrayLike, settings: FitSettings = DEFAULT_SETTINGS
) -> Baseline:
    """Fit a ridge regression on the features of `linear_classifier`.

    Targets that are all equal, and texts without any word, give the mean. Raises DataError,
    MissingDependencyError.

    >>> rising, falling = np.arange(5.0)[:, None], -np.arange(5.0)[:, None]
    >>> fitted = linear_regressor([rising, falling, rising + 1, falling - 1], [1, -1, 1, -1])
    >>> (fitted.predict([rising * 2, falling - 3]) > 0).tolist()
    [True, False]
    """
    numbers = _checked(targets)
    makers = {"a ridge regression": (ridge(), RIDGE_ALPHA)}
    return _linear(sequences, numbers, 1, makers, number_score, settings) or mean(numbers)


def _linear(
    sequences: Sequence[Any],
    targets: np.ndarray,
    outputs: int,
    makers: Mapping[str, tuple[Make, Sequence[float]]],
    score: Callable[[np.ndarray], Score],
    settings: FitSettings,
) -> Baseline | None:
    """Return a linear model fitted on a sample of the sequences; None if there is nothing to learn.

    `makers` has by its name the model for texts, and then the model for numbers.
    """
    rows = sample_rows(len(sequences), settings.seed, MAX_SEQUENCES)
    sample, answers = [sequences[row] for row in rows], targets[rows]
    is_text = isinstance(sample[0], str)
    # without any word in the texts there are no features
    vectorise = text_features(sample, outputs) if is_text else summaries(sample)
    if vectorise is None or len(np.unique(answers)) < 2:
        return None
    name, (make, strengths) = [*makers.items()][0 if is_text else -1]
    features = "TF-IDF of words and letters" if is_text else "summary statistics"
    model, _ = fit_chosen(make, strengths, vectorise(sample), answers, score(answers), settings)
    name += f" on {features}"
    if len(sample) < len(sequences):
        name += f" of {len(sample):,} sequences"
    return Baseline(name, lambda unseen: model.predict(vectorise(unseen)))


def convolution_model(
    sequences: Sequence[np.ndarray],
    targets: ArrayLike,
    outputs: int,
    settings: FitSettings = DEFAULT_SETTINGS,
) -> Baseline | None:
    """Fit a ridge regression on features of random convolutions (`elman.labels.convolutions`).

    Args:
        sequences: The training set, arrays ``[T_i, C]``, with NaN for missing numbers.
        targets: Numbers of its labels ``[N]``; or with one output, numbers.
        outputs: Number of labels.
        settings: The seed of the convolutions, and the weights of classes.

    Returns:
        The fitted model; None if there is nothing to learn.

    Raises:
        DataError: There are no targets.

    >>> rising, falling = np.arange(5.0)[:, None], -np.arange(5.0)[:, None]
    >>> fitted = convolution_model([rising, falling, rising + 1, falling - 1], [1, 0, 1, 0], 2)
    >>> fitted.predict([rising * 2, falling - 3]).tolist()
    [1, 0]
    """
    numbers = _checked(targets)
    missing = any(np.isnan(sequence).any() for sequence in sequences)
    scaler = Scaler.of(sequences, indicator=missing)
    # standardised targets of a regression, [N, 1]
    target = Scaler.of([numbers[:, None]]) if outputs == 1 else None
    answers = numbers if target is None else target.apply(numbers[:, None])[:, 0]
    encoded = [scaler.apply(sequence) for sequence in sequences]
    fitted = fit_convolutions(encoded, answers, outputs, settings)
    if fitted is None:
        return None
    part = fitted.part

    def answer(unseen: Sequence[np.ndarray]) -> np.ndarray:
        logits = part.logits(EncodedSequences([scaler.apply(sequence) for sequence in unseen]))
        if target is None:
            return np.asarray(logits.argmax(axis=1))
        return SequenceCodec(target=target).numbers(logits)

    return Baseline("a ridge regression on random convolutions", answer)


def most_frequent_tag(steps: Sequence[Step], tags: ArrayLike) -> Baseline:
    """Return the model that predicts the most frequent tag of each token in training.

    A token that was not in training gets the most frequent tag of the tokens that occurred once, because
    rare tokens resemble new ones.

    Raises:
        DataError: There are no tags.

    >>> words = ["a", "dog", "a", "run"]
    >>> fitted = most_frequent_tag([(words, index) for index in range(4)], [0, 1, 0, 2])
    >>> fitted.predict([(["a", "cat"], 0), (["a", "cat"], 1)]).tolist()
    [0, 1]
    """
    numbers, tokens = _checked(tags), [sequence[index] for sequence, index in steps]
    frequency = Counter(tokens)
    counts = {token: np.zeros(numbers.max() + 1) for token in frequency}
    for token, tag in zip(tokens, numbers.tolist(), strict=True):
        counts[token][tag] += 1
    # tokens that occur once, or all tokens if each occurs more often
    once = [token for token, count in frequency.items() if count == 1] or [*counts]
    best = {token: count.argmax() for token, count in counts.items()}
    unseen = np.sum([counts[token] for token in once], axis=0).argmax()

    def answer(steps: Sequence[Step]) -> np.ndarray:
        return np.array([best.get(sequence[index], unseen) for sequence, index in steps])

    return Baseline("the commonest tag of each token", answer)


def linear_tagger(
    steps: Sequence[Step], tags: ArrayLike, settings: FitSettings = DEFAULT_SETTINGS
) -> Baseline:
    """Fit a linear model that predicts the tag of a time step from this step and two on each side.

    For a token the features are the word, its prefixes and suffixes of up to three characters, and its shape;
    for numbers they are the values.

    Args:
        steps: The steps of the training set; only the first `MAX_STEPS` are used.
        tags: Numbers of their tags ``[N]``.
        settings: How the linear model is fitted.

    Returns:
        The fitted model, or the majority if there is only one tag.

    Raises:
        DataError: There are no tags.
        MissingDependencyError: scikit-learn is not installed.

    >>> words = ["in", "Paris", "and", "Rome"]
    >>> fitted = linear_tagger([(words, index) for index in range(4)] * 3, [0, 1, 0, 1] * 3)
    >>> fitted.predict([(["in", "Oslo"], 1)]).tolist()
    [1]
    """
    numbers, used = _checked(tags)[:MAX_STEPS], steps[:MAX_STEPS]
    if len(np.unique(numbers)) < 2:
        return majority(numbers)
    numeric = not isinstance(used[0][0][0], str)
    vectorise = value_windows(used) if numeric else word_windows(used)
    # the number of the sequence of each step: a new one begins at index 0
    sequences = np.cumsum([index == 0 for _, index in used])
    # folds are made of whole sequences: neighbouring steps would give the answer away
    model, _ = fit_chosen(
        stochastic_logistic(settings),
        TAGGER_ALPHA,
        vectorise(used),
        numbers,
        label_score(settings.metric, numbers),
        settings,
        groups=sequences,
    )
    name = f"a linear model of a {'step' if numeric else 'token'} and its neighbours"
    if len(used) < len(steps):
        name += f" of {len(used):,} steps"
    return Baseline(name, lambda unseen: model.predict(vectorise(unseen)))


def _checked(targets: ArrayLike) -> np.ndarray:
    numbers = np.asarray(targets)
    if not len(numbers):
        raise DataError("labels", got="none", expected="one for each sequence")
    return numbers
