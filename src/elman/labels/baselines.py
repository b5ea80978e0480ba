"""Plain models that a network for labelled sequences is compared with, fitted on the same training set.

They are linear models with the features that usually serve best: words, pairs of words and runs of characters
for texts, summaries for sequences of numbers, a window of neighbours for tags. How strongly a model is held
back (its regularisation) is chosen by cross-validation on the training set, for a weak plain model would
flatter the network. Each takes some seconds: the choice is made on a sample where there is much data.
"""

from __future__ import annotations

import functools
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from elman.errors import DataError
from elman.labels.codec import Labels
from elman.labels.confusion import ENTITY_F1, Baseline, Tags, label_figures
from elman.labels.features import Step, sklearn, text_features, value_windows, word_windows
from elman.labels.regression import RegressionFigures
from elman.labels.summaries import summaries

if TYPE_CHECKING:
    from elman.labels.examples import Labelled

__all__ = [
    "PlainLabels",
    "PlainNumbers",
    "compare",
    "frequent_tag",
    "majority",
    "mean",
    "numeric_baseline",
    "numeric_regression",
    "plain_answers",
    "tag_baseline",
    "text_baseline",
    "text_regression",
]

# Beyond these a plain model would take minutes or gigabytes; a sample gives nearly the same figures.
_MOST_SEQUENCES, _MOST_STEPS = 100_000, 100_000
_SAMPLE, _FOLDS = 5_000, 3
"""Rows on which the strength is chosen, and the parts of the cross-validation."""
_ITERATIONS = 200
_C = (0.1, 1.0, 3.0, 10.0, 30.0, 100.0)
"""Inverse strengths of logistic regressions, from which cross-validation chooses."""
_SHRINKAGE = (100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.01)
"""Strengths of ridge regressions."""
_ALPHA = (1e-4, 1e-5, 1e-6)
"""Strengths of the models of tags, which stochastic gradients fit."""
Answer: TypeAlias = "Callable[[Any], np.ndarray]"
Fit: TypeAlias = "Callable[[Any, np.ndarray, float], Answer]"
"""Makes an answer for rows of features from features, targets, and a strength."""
Reads: TypeAlias = "Callable[[Sequence[Any]], Callable[[Sequence[Any]], Any] | None]"
"""Makes from the training set what turns sequences into rows of features; None where they have none."""


@dataclass(frozen=True, eq=False)
class PlainLabels:
    """A fitted plain answer that gives labels."""

    name: str
    classes: int
    predict_proba: Callable[[Sequence[Any]], np.ndarray]
    """Sequences to the probability of each label ``[N, K]``."""

    def predict(self, sequences: Sequence[Any]) -> np.ndarray:
        """Return the most probable label of each, int64 ``[N]``."""
        return np.asarray(self.predict_proba(sequences).argmax(axis=1))

    def figures(
        self, sequences: Sequence[Any], truth: ArrayLike, tags: Tags | None = None
    ) -> Baseline:
        """Return what it reaches; a truth below 0 was not in training. Raises ShapeError."""
        return Baseline.of(self.name, truth, self.predict(sequences), tags)


@dataclass(frozen=True, eq=False)
class PlainNumbers:
    """A fitted plain answer that gives numbers."""

    name: str
    predict: Callable[[Sequence[Any]], np.ndarray]
    """Sequences to numbers ``[N]``."""

    def figures(self, sequences: Sequence[Any], truth: ArrayLike) -> RegressionFigures:
        """Return what it reaches; raises ShapeError, DataError."""
        return RegressionFigures.of(self.name, self.predict(sequences), truth)


def majority(labels: ArrayLike, classes: int) -> PlainLabels:
    """Return the answer that is always the commonest of `labels` ``[N]``; raises DataError for none.

    >>> majority([0, 1, 1], 3).predict(["any", "text"]).tolist()
    [1, 1]
    """
    counts = np.bincount(_some(labels), minlength=classes)
    shares = counts / counts.sum()
    return PlainLabels(
        "the majority class", classes, lambda texts: np.tile(shares, (len(texts), 1))
    )


def mean(targets: ArrayLike) -> PlainNumbers:
    """Return the answer that is always the mean of `targets` ``[N]``; raises DataError for none."""
    middle = float(np.mean(_some(targets)))
    return PlainNumbers("the mean", lambda sequences: np.full(len(sequences), middle))


def text_baseline(
    texts: Sequence[str],
    labels: ArrayLike,
    classes: int,
    *,
    class_weight: str | None = None,
    metric: str = "accuracy",
    seed: int = 0,
) -> PlainLabels:
    """Return a logistic regression on TF-IDF of words, pairs of words and runs of characters.

    Args:
        texts: The training set.
        labels: Numbers of its labels ``[N]``.
        classes: How many labels there are.
        class_weight: None, or "balanced" for weights that make every class count the same.
        metric: Metric by which cross-validation chooses the strength.
        seed: Seed of the samples: of more than 100,000 texts a sample is read.

    Returns:
        The fitted model; the majority where there is one class only, or no text has a word.

    Raises DataError, MissingDependencyError.

    >>> fitted = text_baseline(["good day", "good", "bad day", "bad"], [1, 1, 0, 0], 2)
    >>> fitted.predict(["a good one", "so bad"]).tolist()
    [1, 0]
    """
    name, fit = "a TF-IDF logistic regression", _logistic(classes, class_weight)
    read = functools.partial(text_features, outputs=classes)
    return _label_model(name, read, fit, texts, _some(labels), classes, metric, seed)


def text_regression(texts: Sequence[str], targets: ArrayLike, *, seed: int = 0) -> PlainNumbers:
    """Return a ridge regression on TF-IDF, as `text_baseline`; texts without a word give the mean.

    Raises DataError, MissingDependencyError.
    """
    read = functools.partial(text_features, outputs=1)
    return _number_model("a TF-IDF ridge regression", read, texts, _some(targets), seed)


def numeric_baseline(
    sequences: Sequence[np.ndarray],
    labels: ArrayLike,
    classes: int,
    *,
    class_weight: str | None = None,
    metric: str = "accuracy",
    seed: int = 0,
) -> PlainLabels:
    """Return a logistic regression on summaries of ``[T_i, C]`` sequences, fitted to `labels` ``[N]``.

    The summaries are the length and, of each channel, mean, deviation, least, greatest, first, last,
    slope and median of what is known. One class only gives the majority. The other arguments are those of
    `text_baseline`. Raises DataError, MissingDependencyError.

    >>> rising, falling = np.arange(5.0)[:, None], -np.arange(5.0)[:, None]
    >>> fitted = numeric_baseline([rising, falling, rising + 1], [1, 0, 1], 2)
    >>> fitted.predict([rising * 2, falling - 3]).tolist()
    [1, 0]
    """
    name = "a logistic regression on summary statistics"
    fit = _logistic(classes, class_weight)
    return _label_model(name, summaries, fit, sequences, _some(labels), classes, metric, seed)


def numeric_regression(
    sequences: Sequence[np.ndarray], targets: ArrayLike, *, seed: int = 0
) -> PlainNumbers:
    """Return a ridge regression on summaries of ``[T_i, C]`` sequences, as `numeric_baseline`.

    Raises DataError, MissingDependencyError.
    """
    name = "a ridge regression on summary statistics"
    return _number_model(name, summaries, sequences, _some(targets), seed)


def frequent_tag(steps: Sequence[Step], tags: ArrayLike, classes: int) -> PlainLabels:
    """Return the answer that is each token's commonest tag in training, of all `steps` ``[N]``.

    A token that was not there has the commonest tag of those that were there once. Raises DataError.

    >>> words = ["a", "dog", "a", "run"]
    >>> fitted = frequent_tag([(words, place) for place in range(4)], [0, 1, 0, 2], 3)
    >>> fitted.predict([(["a", "cat"], 0), (["a", "cat"], 1)]).tolist()
    [0, 1]
    """
    numbers, tokens = _some(tags), [sequence[place] for sequence, place in steps]
    often = Counter(tokens)
    rows = {token: np.zeros(classes) for token in often}
    rare = np.zeros(classes)
    for (token, tag), count in Counter(zip(tokens, numbers.tolist(), strict=True)).items():
        rows[token][tag] = count / often[token]
        rare[tag] += often[token] == 1
    other = rare if rare.any() else np.bincount(numbers, minlength=classes)
    other = other / other.sum()

    def probabilities(given: Sequence[Step]) -> np.ndarray:
        found = [rows.get(sequence[place], other) for sequence, place in given]
        return np.array(found).reshape(len(found), classes)

    return PlainLabels("the commonest tag of each token", classes, probabilities)


def tag_baseline(
    steps: Sequence[Step], tags: ArrayLike, classes: int, *, metric: str = "accuracy", seed: int = 0
) -> PlainLabels:
    """Return a linear model of each step and its two neighbours on each side, fitted to `tags` ``[N]``.

    Of a token it sees the word, its beginnings and ends of up to three characters, and its shape; of
    numbers the values. Of more than 100,000 steps the first are read. One tag only gives the majority.
    Raises DataError, MissingDependencyError.

    >>> words = ["in", "Paris", "and", "Rome"]
    >>> fitted = tag_baseline([(words, place) for place in range(4)] * 3, [0, 1, 0, 1] * 3, 2)
    >>> fitted.predict([(["in", "Oslo"], 1)]).tolist()
    [1]
    """
    numbers = _some(tags)[:_MOST_STEPS]
    known = steps[:_MOST_STEPS]
    if len(np.unique(numbers)) < 2:
        return majority(numbers, classes)
    vectorise = value_windows(known) if _is_numeric(known) else word_windows(known)
    score = _label_score(metric, numbers)
    starts = np.cumsum([place == 0 for _, place in known])
    answer = _strongest(
        _stochastic(classes, seed), _ALPHA, vectorise(known), numbers, score, seed, starts
    )
    name = "a linear model of a token and its neighbours"
    if _is_numeric(known):
        name = "a linear model of a step and its neighbours"
    name += _note(np.arange(len(known)), steps, "steps")
    return PlainLabels(name, classes, lambda given: answer(vectorise(given)))


def _is_numeric(steps: Sequence[Step]) -> bool:
    return not isinstance(steps[0][0][0], str)


def plain_answers(
    task: str,
    training: Labelled,
    labels: Labels | None = None,
    *,
    class_weight: str | None = None,
    metric: str = "accuracy",
    seed: int = 0,
) -> tuple[PlainLabels, ...] | tuple[PlainNumbers, ...]:
    """Return the plain models that a network for `task` (classify, regress, tag) is compared with, fitted.

    Numbers of labels are those of `labels`, or of the labels in `training`. Tags are answered for all
    steps in a row. `metric` chooses how strong a model is. Raises DataError, MissingDependencyError.
    """
    numeric = training.sequences.kind == "numbers"
    inputs = _inputs(task, training)
    if task == "regress":
        targets = np.asarray(training.targets, np.float64)
        regress = numeric_regression if numeric else text_regression
        return mean(targets), regress(inputs, targets, seed=seed)
    labels = labels or Labels.of(training.flat(task))
    numbers, count = labels.encode(training.flat(task)), len(labels)
    found = [majority(numbers, count)]
    if task == "classify":
        classify = numeric_baseline if numeric else text_baseline
        found.append(
            classify(inputs, numbers, count, class_weight=class_weight, metric=metric, seed=seed)
        )
    else:
        metric = "accuracy" if metric == ENTITY_F1 else metric
        found += [] if numeric else [frequent_tag(inputs, numbers, count)]
        found.append(tag_baseline(inputs, numbers, count, metric=metric, seed=seed))
    return tuple(found[:-1] if found[-1].name == found[0].name else found)


def compare(
    task: str,
    training: Labelled,
    test: Labelled,
    labels: Labels | None = None,
    class_weight: str | None = None,
    *,
    metric: str = "accuracy",
    seed: int = 0,
) -> list[Any]:
    """Return what `plain_answers` of `training` reach on `test`: a `Baseline` or figures each.

    `labels` are those of `training` where they are not given. Raises DataError, MissingDependencyError.
    """
    if task != "regress" and labels is None:
        labels = Labels.of(training.flat(task))
    inputs, truth = _inputs(task, test), test.flat(task)
    plain: Any = plain_answers(
        task, training, labels, class_weight=class_weight, metric=metric, seed=seed
    )
    if labels is None:
        return [one.figures(inputs, truth) for one in plain]
    tags = Tags([[*map(str, one)] for one in test.targets], labels.names) if task == "tag" else None
    wanted = labels.encode_apart(truth)
    return [one.figures(inputs, wanted, tags) for one in plain]


def _inputs(task: str, data: Labelled) -> Sequence[Any]:
    """Return what the plain models of a task read: texts, numbers, or for tags all steps in a row."""
    if task == "tag":
        return [(item, place) for item in data.sequences.items for place in range(len(item))]
    return data.sequences.items if data.sequences.kind == "numbers" else data.sequences.texts


def _some(labels: ArrayLike) -> np.ndarray:
    numbers = np.asarray(labels)
    if not len(numbers):
        raise DataError("labels", got="none", expected="one a sequence")
    return numbers


def _sample(count: int, seed: int, most: int | None = None) -> np.ndarray:
    most = most or _MOST_SEQUENCES
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))


def _note(rows: np.ndarray, sequences: Sequence[Any], unit: str = "sequences") -> str:
    return "" if len(rows) == len(sequences) else f" of {len(rows):,} {unit}"


# -- linear models ------------------------------------------------------------------------------------


def _label_model(
    name: str,
    reads: Reads,
    fit: Fit,
    sequences: Sequence[Any],
    numbers: np.ndarray,
    classes: int,
    metric: str,
    seed: int,
) -> PlainLabels:
    """Return the linear model of a sample of `sequences`; the majority where it has nothing to tell apart."""
    rows = _sample(len(sequences), seed)
    known, wanted = [sequences[row] for row in rows], numbers[rows]
    features = reads(known) if len(np.unique(wanted)) > 1 else None
    if features is None:
        return majority(numbers, classes)
    score = _label_score(metric, wanted)
    answer = _strongest(fit, _C, features(known), wanted, score, seed)
    name += _note(rows, sequences)
    return PlainLabels(name, classes, lambda given: answer(features(given)))


def _number_model(
    name: str, reads: Reads, sequences: Sequence[Any], numbers: np.ndarray, seed: int
) -> PlainNumbers:
    """Return the linear model of a sample of `sequences`; the mean where they have no features."""
    rows = _sample(len(sequences), seed)
    known, wanted = [sequences[row] for row in rows], numbers[rows]
    features = reads(known)
    if features is None:
        return mean(numbers)
    answer = _strongest(_ridge, _SHRINKAGE, features(known), wanted, _number_score(wanted), seed)
    name += _note(rows, sequences)
    return PlainNumbers(name, lambda given: answer(features(given)))


def _strongest(
    fit: Fit,
    strengths: Sequence[float],
    features: Any,
    targets: np.ndarray,
    score: Callable[[np.ndarray, np.ndarray], float],
    seed: int,
    groups: np.ndarray | None = None,
) -> Answer:
    """Return the answer that is fitted at the strength which is best in cross-validation.

    `strengths` begin with the one that holds a model back most, which is taken among equals. `score` makes
    a number, more is better, of rows and what is answered for them; rows of one of `groups` stay together.
    """
    rows = _sample(len(targets), seed, _SAMPLE if groups is None else 3 * _SAMPLE)
    units = np.arange(len(targets)) if groups is None else groups
    order = np.random.default_rng(seed).permutation(int(units.max()) + 1)
    folds = order[units[rows]] % _FOLDS
    best, chosen = -np.inf, strengths[len(strengths) // 2]
    for strength in strengths:
        answers, there = [], []
        for fold in range(_FOLDS):
            inside, outside = rows[folds != fold], rows[folds == fold]
            if len(outside) and len(np.unique(targets[inside])) > 1:
                answers.append(fit(features[inside], targets[inside], strength)(features[outside]))
                there.append(outside)
        value = score(np.concatenate(there), np.concatenate(answers)) if there else -np.inf
        if value > best:
            best, chosen = value, strength
    return fit(features, targets, chosen)


def _label_score(metric: str, numbers: np.ndarray) -> Callable[[np.ndarray, np.ndarray], float]:
    def score(rows: np.ndarray, answers: np.ndarray) -> float:
        return label_figures(numbers[rows], answers.argmax(axis=1))[metric]

    return score


def _number_score(numbers: np.ndarray) -> Callable[[np.ndarray, np.ndarray], float]:
    return lambda rows, answers: -float(np.mean(abs(answers - numbers[rows])))


def _logistic(classes: int, class_weight: str | None) -> Fit:
    linear_model = sklearn("linear_model")

    def fit(features: Any, labels: np.ndarray, strength: float) -> Answer:
        model = linear_model.LogisticRegression(
            C=strength, class_weight=class_weight, max_iter=_ITERATIONS, tol=1e-3
        )
        return _fitted(model, features, labels, classes)

    return fit


def _stochastic(classes: int, seed: int) -> Fit:
    linear_model = sklearn("linear_model")

    def fit(features: Any, labels: np.ndarray, strength: float) -> Answer:
        model = linear_model.SGDClassifier(
            "log_loss", alpha=strength, max_iter=10, tol=None, average=True, random_state=seed
        )
        return _fitted(model, features, labels, classes)

    return fit


def _fitted(model: Any, features: Any, labels: np.ndarray, classes: int) -> Answer:
    with warnings.catch_warnings():
        # the number of iterations is bounded on purpose; the last ones change nothing that counts
        warnings.simplefilter("ignore", sklearn("exceptions").ConvergenceWarning)
        # many classes are no mistake here
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        model.fit(features, labels)

    def probabilities(given: Any) -> np.ndarray:
        whole = np.zeros((given.shape[0], classes))
        if len(whole):
            whole[:, model.classes_] = model.predict_proba(given)
        return whole

    return probabilities


def _ridge(features: Any, targets: np.ndarray, strength: float) -> Answer:
    model = sklearn("linear_model").Ridge(alpha=strength).fit(features, targets)
    return lambda given: np.asarray(model.predict(given), np.float64)
