"""Plain models to compare a network for labelled sequences with, fitted on the same training set.

They are linear models with the features that usually work best: words, pairs of words and character n-grams
for texts, summary statistics for sequences of numbers, and a window of neighbours for tags. None of them
needs torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from elman.errors import DataError
from elman.labels.codec import Labels
from elman.labels.confusion import ENTITY_F1, BaselineFigures, TrueTags
from elman.labels.examples import LabelledSequences
from elman.labels.features import Step, text_features, value_windows, word_windows
from elman.labels.linear_models import Features, fit_logistic, fit_ridge, fit_tagger, sample_rows
from elman.labels.regression import RegressionFigures
from elman.labels.summaries import summaries

MAX_SEQUENCES, MAX_STEPS = 100_000, 100_000
"""Training examples of a plain model. More would take minutes or gigabytes and hardly change its figures."""

Vectoriser: TypeAlias = "Callable[[Sequence[Any]], Features]"
"""Turns sequences into rows of features."""


@dataclass(frozen=True, eq=False)
class LabelBaseline:
    """A fitted plain model that predicts labels."""

    name: str
    classes: int
    predict_proba: Callable[[Sequence[Any]], np.ndarray]
    """Maps sequences to the probability of each label ``[N, K]``."""

    def predict(self, sequences: Sequence[Any]) -> np.ndarray:
        """Return the number of the most probable label of each sequence, int64 ``[N]``."""
        return np.asarray(self.predict_proba(sequences).argmax(axis=1))

    def figures(
        self, sequences: Sequence[Any], truth: ArrayLike, tags: TrueTags | None = None
    ) -> BaselineFigures:
        """Return its metrics; negative numbers in `truth` are labels not in training. Raises ShapeError."""
        return BaselineFigures.of(self.name, truth, self.predict(sequences), tags)


@dataclass(frozen=True, eq=False)
class NumberBaseline:
    """A fitted plain model that predicts numbers."""

    name: str
    predict: Callable[[Sequence[Any]], np.ndarray]
    """Maps sequences to numbers ``[N]``."""

    def figures(self, sequences: Sequence[Any], truth: ArrayLike) -> RegressionFigures:
        """Return its errors; raises ShapeError, DataError."""
        return RegressionFigures.of(self.name, self.predict(sequences), truth)


def majority(labels: ArrayLike, classes: int) -> LabelBaseline:
    """Return the model that always predicts the most frequent of `labels` ``[N]``.

    Raises:
        DataError: There are no labels.

    >>> majority([0, 1, 1], 3).predict(["any", "text"]).tolist()
    [1, 1]
    """
    counts = np.bincount(_checked(labels), minlength=classes)
    shares = counts / counts.sum()
    return LabelBaseline(
        "the majority class", classes, lambda texts: np.tile(shares, (len(texts), 1))
    )


def mean(targets: ArrayLike) -> NumberBaseline:
    """Return the model that always predicts the mean of `targets` ``[N]``; raises DataError for none."""
    centre = float(np.mean(_checked(targets)))
    return NumberBaseline("the mean", lambda sequences: np.full(len(sequences), centre))


def linear_classifier(
    sequences: Sequence[Any],
    labels: ArrayLike,
    classes: int,
    *,
    class_weight: str | None = None,
    metric: str = "accuracy",
    seed: int = 0,
) -> LabelBaseline:
    """Fit a logistic regression on TF-IDF of texts, or on summary statistics of numbers.

    Args:
        sequences: The training set: texts, or arrays ``[T_i, C]``. Of more than `MAX_SEQUENCES` a sample is
            used.
        labels: Numbers of its labels ``[N]``.
        classes: Number of labels K.
        class_weight: None, or "balanced" for weights that make every class count the same.
        metric: Metric by which cross-validation chooses the regularisation.
        seed: Seed of the samples and folds.

    Returns:
        The fitted model, or the majority class if there is only one class or no text has a word.

    Raises:
        DataError: There are no labels.
        MissingDependencyError: scikit-learn is not installed.

    >>> fitted = linear_classifier(["good day", "good", "bad day", "bad"], [1, 1, 0, 0], 2)
    >>> fitted.predict(["a good one", "so bad"]).tolist()
    [1, 0]
    """
    numbers = _checked(labels)
    rows = sample_rows(len(sequences), seed, MAX_SEQUENCES)
    sample, targets = [sequences[row] for row in rows], numbers[rows]
    vectorise = _fit_vectoriser(sample, classes) if len(np.unique(targets)) > 1 else None
    if vectorise is None:
        return majority(numbers, classes)
    model = fit_logistic(
        vectorise(sample), targets, classes, class_weight=class_weight, metric=metric, seed=seed
    )
    name = _model_name("logistic", sample, len(sequences))
    return LabelBaseline(name, classes, lambda unseen: model(vectorise(unseen)))


def linear_regressor(
    sequences: Sequence[Any], targets: ArrayLike, *, seed: int = 0
) -> NumberBaseline:
    """Fit a ridge regression on the features of `linear_classifier`; texts without any word give the mean.

    Raises DataError, MissingDependencyError.

    >>> rising, falling = np.arange(5.0)[:, None], -np.arange(5.0)[:, None]
    >>> fitted = linear_regressor([rising, falling, rising + 1, falling - 1], [1, -1, 1, -1])
    >>> (fitted.predict([rising * 2, falling - 3]) > 0).tolist()
    [True, False]
    """
    numbers = _checked(targets)
    rows = sample_rows(len(sequences), seed, MAX_SEQUENCES)
    sample = [sequences[row] for row in rows]
    vectorise = _fit_vectoriser(sample, 1)
    if vectorise is None:
        return mean(numbers)
    model = fit_ridge(vectorise(sample), numbers[rows], seed=seed)
    name = _model_name("ridge", sample, len(sequences))
    return NumberBaseline(name, lambda unseen: model(vectorise(unseen)))


def _fit_vectoriser(sample: Sequence[Any], outputs: int) -> Vectoriser | None:
    return text_features(sample, outputs) if isinstance(sample[0], str) else summaries(sample)


def _model_name(kind: str, sample: Sequence[Any], count: int) -> str:
    name = f"a {kind} regression on summary statistics"
    if isinstance(sample[0], str):
        name = f"a TF-IDF {kind} regression"
    return name if len(sample) == count else f"{name} of {len(sample):,} sequences"


def most_frequent_tag(steps: Sequence[Step], tags: ArrayLike, classes: int) -> LabelBaseline:
    """Return the model that predicts the most frequent tag of each token in training.

    A token that was not in training gets the most frequent tag of the tokens that occurred once, because
    rare tokens resemble new ones.

    Raises:
        DataError: There are no tags.

    >>> words = ["a", "dog", "a", "run"]
    >>> fitted = most_frequent_tag([(words, index) for index in range(4)], [0, 1, 0, 2], 3)
    >>> fitted.predict([(["a", "cat"], 0), (["a", "cat"], 1)]).tolist()
    [0, 1]
    """
    numbers, tokens = _checked(tags), [sequence[index] for sequence, index in steps]
    frequency = Counter(tokens)
    rows = {token: np.zeros(classes) for token in frequency}
    rare = np.zeros(classes)
    for (token, tag), count in Counter(zip(tokens, numbers.tolist(), strict=True)).items():
        rows[token][tag] = count / frequency[token]
        rare[tag] += frequency[token] == 1
    unseen = rare if rare.any() else np.bincount(numbers, minlength=classes)
    unseen = unseen / unseen.sum()

    def probabilities(steps: Sequence[Step]) -> np.ndarray:
        shares = [rows.get(sequence[index], unseen) for sequence, index in steps]
        return np.array(shares).reshape(len(shares), classes)

    return LabelBaseline("the commonest tag of each token", classes, probabilities)


def linear_tagger(
    steps: Sequence[Step], tags: ArrayLike, classes: int, *, metric: str = "accuracy", seed: int = 0
) -> LabelBaseline:
    """Fit a linear model of each time step and its two neighbours on each side.

    For a token the features are the word, its prefixes and suffixes of up to three characters, and its shape;
    for numbers they are the values.

    Args:
        steps: The steps of the training set; only the first `MAX_STEPS` are used.
        tags: Numbers of their tags ``[N]``.
        classes: Number of tags K.
        metric: Metric by which cross-validation chooses the regularisation.
        seed: Seed of the samples and folds.

    Returns:
        The fitted model, or the majority if there is only one tag.

    Raises:
        DataError: There are no tags.
        MissingDependencyError: scikit-learn is not installed.

    >>> words = ["in", "Paris", "and", "Rome"]
    >>> fitted = linear_tagger([(words, index) for index in range(4)] * 3, [0, 1, 0, 1] * 3, 2)
    >>> fitted.predict([(["in", "Oslo"], 1)]).tolist()
    [1]
    """
    numbers, used = _checked(tags)[:MAX_STEPS], steps[:MAX_STEPS]
    if len(np.unique(numbers)) < 2:
        return majority(numbers, classes)
    numeric = not isinstance(used[0][0][0], str)
    vectorise = value_windows(used) if numeric else word_windows(used)
    sequences = np.cumsum([index == 0 for _, index in used])
    model = fit_tagger(vectorise(used), numbers, classes, sequences, metric=metric, seed=seed)
    name = f"a linear model of a {'step' if numeric else 'token'} and its neighbours"
    if len(used) < len(steps):
        name += f" of {len(used):,} steps"
    return LabelBaseline(name, classes, lambda unseen: model(vectorise(unseen)))


def fit_baselines(
    task: str,
    training: LabelledSequences,
    labels: Labels,
    *,
    class_weight: str | None = None,
    metric: str = "accuracy",
    seed: int = 0,
) -> list[LabelBaseline]:
    """Fit the plain models that a classifier or tagger is compared with, the simplest first.

    Args:
        task: "classify" or "tag". For tags, the models predict the tags of all steps in one row.
        training: The training set of the network.
        labels: The labels of the network.
        class_weight: None, or "balanced".
        metric: Metric by which cross-validation chooses the regularisation.
        seed: Seed of the samples and folds.

    Raises:
        DataError: There are no labels.
        MissingDependencyError: scikit-learn is not installed.
    """
    inputs = _inputs(task, training)
    numbers, count = labels.encode(training.flat_targets(task)), len(labels)
    models = [majority(numbers, count)]
    if task == "classify":
        linear = linear_classifier(
            inputs, numbers, count, class_weight=class_weight, metric=metric, seed=seed
        )
    else:
        if training.sequences.kind != "numbers":
            models.append(most_frequent_tag(inputs, numbers, count))
        metric = "accuracy" if metric == ENTITY_F1 else metric
        linear = linear_tagger(inputs, numbers, count, metric=metric, seed=seed)
    # a linear model that had nothing to learn is the majority again
    return models if linear.name == models[0].name else [*models, linear]


def measure_label_baselines(
    task: str,
    training: LabelledSequences,
    test: LabelledSequences,
    labels: Labels | None = None,
    class_weight: str | None = None,
    *,
    metric: str = "accuracy",
    seed: int = 0,
) -> list[BaselineFigures]:
    """Fit the plain models of `fit_baselines` on `training` and measure them on `test`.

    The labels are those in `training` if they are not given. Raises as `fit_baselines`.
    """
    labels = labels or Labels.of(training.flat_targets(task))
    models = fit_baselines(
        task, training, labels, class_weight=class_weight, metric=metric, seed=seed
    )
    tags = TrueTags.of(test.targets, labels.names) if task == "tag" else None
    truth, inputs = labels.encode_distinct(test.flat_targets(task)), _inputs(task, test)
    return [model.figures(inputs, truth, tags) for model in models]


def measure_number_baselines(
    training: LabelledSequences, test: LabelledSequences, *, seed: int = 0
) -> list[RegressionFigures]:
    """Fit the mean and a linear model on `training` and measure them on `test`.

    Raises DataError, MissingDependencyError.
    """
    inputs, targets = _inputs("regress", training), training.numbers()
    models = mean(targets), linear_regressor(inputs, targets, seed=seed)
    return [model.figures(_inputs("regress", test), test.targets) for model in models]


def _inputs(task: str, examples: LabelledSequences) -> Sequence[Any]:
    """Return the inputs of the plain models: texts, arrays of numbers, or for tags all steps in a row."""
    sequences = examples.sequences
    if task == "tag":
        return [(item, index) for item in sequences.items for index in range(len(item))]
    return sequences.items if sequences.kind == "numbers" else sequences.texts


def _checked(targets: ArrayLike) -> np.ndarray:
    numbers = np.asarray(targets)
    if not len(numbers):
        raise DataError("labels", got="none", expected="one for each sequence")
    return numbers
