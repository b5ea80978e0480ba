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
from elman.labels.confusion import ENTITY_F1, BaselineFigures, TrueTags
from elman.labels.convolution_fit import fit_convolutions
from elman.labels.examples import LabelledSequences
from elman.labels.features import Step, summaries, text_features, value_windows, word_windows
from elman.labels.label_values import Labels
from elman.labels.linear_models import (
    LOGISTIC_C,
    RIDGE_ALPHA,
    SUPPORT_VECTOR_C,
    TAGGER_ALPHA,
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
from elman.labels.metrics import RegressionFigures, classification, regression
from elman.tables.scaler import Scaler
from elman.training.journal import JsonObject

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
    *,
    class_weight: str | None = None,
    metric: str = "accuracy",
    seed: int = 0,
) -> Baseline:
    """Fit a linear SVM on TF-IDF of texts, or a logistic regression on summary statistics of numbers.

    Args:
        sequences: The training set: texts, or arrays ``[T_i, C]``. Of more than `MAX_SEQUENCES` a sample is
            used.
        labels: Numbers of its labels ``[N]``.
        class_weight: None, or "balanced" for weights that make every class count the same.
        metric: Metric by which cross-validation chooses the regularisation.
        seed: Seed of the samples and folds.

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
        "a linear SVM": (support_vectors(class_weight, seed), SUPPORT_VECTOR_C),
        "a logistic regression": (logistic(class_weight), LOGISTIC_C),
    }
    score = partial(label_score, metric)
    model = _linear(sequences, numbers, len(np.unique(numbers)), seed, makers, score)
    return model or majority(numbers)


def linear_regressor(sequences: Sequence[Any], targets: ArrayLike, *, seed: int = 0) -> Baseline:
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
    return _linear(sequences, numbers, 1, seed, makers, number_score) or mean(numbers)


def _linear(
    sequences: Sequence[Any],
    targets: np.ndarray,
    outputs: int,
    seed: int,
    makers: Mapping[str, tuple[Make, Sequence[float]]],
    score: Callable[[np.ndarray], Score],
) -> Baseline | None:
    """Return a linear model fitted on a sample of the sequences; None if there is nothing to learn.

    `makers` has by its name the model for texts, and then the model for numbers.
    """
    rows = sample_rows(len(sequences), seed, MAX_SEQUENCES)
    sample, answers = [sequences[row] for row in rows], targets[rows]
    is_text = isinstance(sample[0], str)
    # without any word in the texts there are no features
    vectorise = text_features(sample, outputs) if is_text else summaries(sample)
    if vectorise is None or len(np.unique(answers)) < 2:
        return None
    name, (make, strengths) = [*makers.items()][0 if is_text else -1]
    features = "TF-IDF of words and letters" if is_text else "summary statistics"
    model, _ = fit_chosen(make, strengths, vectorise(sample), answers, score(answers), seed)
    name += f" on {features}"
    if len(sample) < len(sequences):
        name += f" of {len(sample):,} sequences"
    return Baseline(name, lambda unseen: model.predict(vectorise(unseen)))


def convolution_model(
    sequences: Sequence[np.ndarray],
    targets: ArrayLike,
    outputs: int,
    *,
    balanced: bool = False,
    seed: int = 0,
) -> Baseline | None:
    """Fit a ridge regression on features of random convolutions (`elman.labels.convolutions`).

    Args:
        sequences: The training set, arrays ``[T_i, C]``, with NaN for missing numbers.
        targets: Numbers of its labels ``[N]``; or with one output, numbers.
        outputs: Number of labels.
        balanced: Whether every class counts the same.
        seed: Seed of the convolutions.

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
    fitted = fit_convolutions(encoded, answers, outputs, balanced=balanced, seed=seed)
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
    steps: Sequence[Step], tags: ArrayLike, *, metric: str = "accuracy", seed: int = 0
) -> Baseline:
    """Fit a linear model that predicts the tag of a time step from this step and two on each side.

    For a token the features are the word, its prefixes and suffixes of up to three characters, and its shape;
    for numbers they are the values.

    Args:
        steps: The steps of the training set; only the first `MAX_STEPS` are used.
        tags: Numbers of their tags ``[N]``.
        metric: Metric by which cross-validation chooses the regularisation.
        seed: Seed of the samples and folds.

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
        stochastic_logistic(seed),
        TAGGER_ALPHA,
        vectorise(used),
        numbers,
        label_score(metric, numbers),
        seed,
        groups=sequences,
    )
    name = f"a linear model of a {'step' if numeric else 'token'} and its neighbours"
    if len(used) < len(steps):
        name += f" of {len(used):,} steps"
    return Baseline(name, lambda unseen: model.predict(vectorise(unseen)))


def fit_baselines(
    training: LabelledSequences,
    labels: Labels | None,
    *,
    balanced: bool = False,
    metric: str = "accuracy",
    seed: int = 0,
) -> list[Baseline]:
    """Fit the plain models that a network is compared with, the simplest first.

    Args:
        training: The training set of the network.
        labels: The labels of the network; None for a regressor.
        balanced: Whether every class counts the same, which also holds for the metric macro_recall.
        metric: Metric by which cross-validation chooses the regularisation.
        seed: Seed of the samples and folds.

    Raises:
        DataError: There are no labels.
        MissingDependencyError: scikit-learn is not installed.
    """
    inputs = _inputs(training)
    balanced = balanced or metric == "macro_recall"
    if labels is None:
        numbers = training.numbers()
        models = [mean(numbers), linear_regressor(inputs, numbers, seed=seed)]
    else:
        numbers = labels.encode(training.flat_targets)
        models = [majority(numbers)]
        if not training.kind.per_step:
            weight = "balanced" if balanced else None
            models.append(
                linear_classifier(inputs, numbers, class_weight=weight, metric=metric, seed=seed)
            )
        else:
            if training.sequences.kind != "numbers":
                models.append(most_frequent_tag(inputs, numbers))
            # the choice of the regularisation sees single steps, which have no entities
            metric = "accuracy" if metric == ENTITY_F1 else metric
            models.append(linear_tagger(inputs, numbers, metric=metric, seed=seed))
    if models[-1].name == models[0].name:
        # a linear model that had nothing to learn is the simplest model again
        return models[:-1]
    if training.sequences.kind == "numbers" and not training.kind.per_step:
        outputs = 1 if labels is None else len(labels)
        convolutions = convolution_model(inputs, numbers, outputs, balanced=balanced, seed=seed)
        models += [] if convolutions is None else [convolutions]
    return models


def measure_label_baselines(
    training: LabelledSequences,
    test: LabelledSequences,
    labels: Labels | None = None,
    *,
    balanced: bool = False,
    metric: str = "accuracy",
    seed: int = 0,
) -> list[BaselineFigures]:
    """Fit the plain models of `fit_baselines` on `training` and measure them on `test`.

    The labels are those in `training` if they are not given. Raises as `fit_baselines`.
    """
    labels = labels or Labels.of(training.flat_targets)
    models = fit_baselines(training, labels, balanced=balanced, metric=metric, seed=seed)
    tags = TrueTags.of(test.targets, labels.names) if test.kind.per_step else None
    # labels that are not in training get negative numbers, which no answer equals
    truth, inputs = labels.encode_distinct(test.flat_targets), _inputs(test)
    return [BaselineFigures.of(model.name, truth, model.predict(inputs), tags) for model in models]


def measure_number_baselines(
    training: LabelledSequences, test: LabelledSequences, *, seed: int = 0
) -> list[RegressionFigures]:
    """Fit the plain models of a regressor on `training` and measure them on `test`, as for labels."""
    models, inputs = fit_baselines(training, None, seed=seed), _inputs(test)
    return [RegressionFigures.of(one.name, one.predict(inputs), test.targets) for one in models]


def compare_with_baselines(
    codec: SequenceCodec,
    training: LabelledSequences,
    test: LabelledSequences,
    answers: np.ndarray,
    *,
    metric: str,
    balanced: bool,
    seed: int,
) -> list[JsonObject]:
    """Fit the plain models on the training set and compare the network with each of them, for the card.

    Args:
        codec: The codec of the network.
        training: The training set.
        test: The test set.
        answers: The network's answers to it ``[N]``: numbers of labels, or numbers in the targets' unit.
        metric: Metric of the comparison of labels.
        balanced: Whether the network gave rare classes more weight, so that plain models do too.
        seed: Seed of the plain models.

    Returns:
        For each plain model its name, metrics, verdict, p-value and a sentence that says how it compares.
    """
    if codec.labels is None:
        numbers = measure_number_baselines(training, test, seed=seed)
        figures = [model.figures() for model in numbers]
        results = regression(answers, test.numbers(), numbers).comparisons
    else:
        plain = measure_label_baselines(
            training, test, codec.labels, balanced=balanced, metric=metric, seed=seed
        )
        figures = [model.figures() for model in plain]
        results = classification(
            codec.labels.encode_distinct(test.flat_targets),
            answers,
            codec.labels.names,
            beside=plain,
            metric=metric,
            tags=test.targets if training.kind.per_step else None,
        ).comparisons
    return [
        values | {"verdict": result.verdict, "p_value": result.p_value, "sentence": str(result)}
        for values, result in zip(figures, results, strict=True)
    ]


def _inputs(examples: LabelledSequences) -> Sequence[Any]:
    """Return the inputs of the plain models: texts, arrays of numbers, or for tags all steps in a row."""
    sequences = examples.sequences
    if examples.kind.per_step:
        return [(item, index) for item in sequences.items for index in range(len(item))]
    return sequences.items if sequences.kind == "numbers" else sequences.texts


def _checked(targets: ArrayLike) -> np.ndarray:
    numbers = np.asarray(targets)
    if not len(numbers):
        raise DataError("labels", got="none", expected="one for each sequence")
    return numbers
