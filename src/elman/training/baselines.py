"""The plain answers that a reader of labelled sequences stands beside, fitted on the same training part.

Labels are numbers from 0. All of them are quick: 50,000 tweets take some seconds on one core.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from elman._errors import DataError, MissingDependencyError, installing
from elman.data.codec import Labels
from elman.metrics.classification import Baseline, confusion_table
from elman.metrics.regression import RegressionFigures
from elman.training.summaries import summaries

if TYPE_CHECKING:
    from elman.training.labelled import Labelled

__all__ = [
    "PlainLabels",
    "PlainNumbers",
    "compare",
    "majority",
    "mean",
    "numeric_baseline",
    "numeric_regression",
    "plain_answers",
    "tag_baseline",
    "text_baseline",
    "text_regression",
]

# Beyond these a baseline would take minutes or gigabytes; a sample says as much.
_MOST_SEQUENCES = 100_000
_MOST_FEATURES, _MOST_WEIGHTS = 200_000, 20_000_000
_STEPS = 200
# Words that occur once teach nothing where there are many.
_MANY_TEXTS = 1_000
# Words, and signs one by one: the face in a tweet is said by its punctuation.
_TOKEN = r"\w+|[^\w\s]"


@dataclass(frozen=True, eq=False)
class PlainLabels:
    """A fitted plain answer that gives labels."""

    name: str
    classes: int
    probabilities: Callable[[Sequence[Any]], np.ndarray]

    def predict_proba(self, sequences: Sequence[Any]) -> np.ndarray:
        """Return the probability of each label ``[N, K]``."""
        return self.probabilities(sequences)

    def predict(self, sequences: Sequence[Any]) -> np.ndarray:
        """Return the most probable label of each, int64 ``[N]``."""
        return np.asarray(self.predict_proba(sequences).argmax(axis=1))

    def figures(self, sequences: Sequence[Any], truth: ArrayLike) -> Baseline:
        """Return what it reaches; a truth below 0 was not there in training. Raises ShapeError."""
        return Baseline.of(self.name, confusion_table(truth, self.predict(sequences), self.classes))


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
    seed: int = 0,
) -> PlainLabels:
    """Return a logistic regression on TF-IDF of words and pairs of words, fitted to `labels` ``[N]``.

    `class_weight` is None or "balanced". Of more than 100,000 texts a sample is read. One class only,
    or texts without a word, give the majority. Raises DataError, MissingDependencyError.

    >>> fitted = text_baseline(["good day", "good", "bad day", "bad"], [1, 1, 0, 0], 2)
    >>> fitted.predict(["a good one", "so bad"]).tolist()
    [1, 0]
    """
    numbers = _some(labels)
    if len(np.unique(numbers)) < 2:
        return majority(numbers, classes)
    rows = _sample(len(texts), seed)
    vectorise = _tf_idf([texts[row] for row in rows], classes)
    if vectorise is None:
        return majority(numbers, classes)
    features = vectorise([texts[row] for row in rows])
    answer = _logistic(features, numbers[rows], classes, class_weight)
    name = f"a TF-IDF logistic regression{_note(rows, texts)}"
    return PlainLabels(name, classes, lambda given: answer(vectorise(given)))


def text_regression(texts: Sequence[str], targets: ArrayLike, *, seed: int = 0) -> PlainNumbers:
    """Return a ridge regression on TF-IDF, as `text_baseline`; texts without a word give the mean.

    Raises DataError, MissingDependencyError.
    """
    numbers = _some(targets)
    rows = _sample(len(texts), seed)
    vectorise = _tf_idf([texts[row] for row in rows], 1)
    if vectorise is None:
        return mean(numbers)
    answer = _ridge(vectorise([texts[row] for row in rows]), numbers[rows])
    name = f"a TF-IDF ridge regression{_note(rows, texts)}"
    return PlainNumbers(name, lambda given: answer(vectorise(given)))


def numeric_baseline(
    sequences: Sequence[np.ndarray],
    labels: ArrayLike,
    classes: int,
    *,
    class_weight: str | None = None,
    seed: int = 0,
) -> PlainLabels:
    """Return a logistic regression on summaries of ``[T_i, C]`` sequences, fitted to `labels` ``[N]``.

    The summaries are the length and, of each channel, mean, deviation, least, greatest, first, last,
    slope and median of what is known. One class only gives the majority. `class_weight` and samples
    as in `text_baseline`. Raises DataError, MissingDependencyError.

    >>> rising, falling = np.arange(5.0)[:, None], -np.arange(5.0)[:, None]
    >>> fitted = numeric_baseline([rising, falling, rising + 1], [1, 0, 1], 2)
    >>> fitted.predict([rising * 2, falling - 3]).tolist()
    [1, 0]
    """
    numbers = _some(labels)
    if len(np.unique(numbers)) < 2:
        return majority(numbers, classes)
    rows = _sample(len(sequences), seed)
    summarise = summaries([sequences[row] for row in rows])
    features = summarise([sequences[row] for row in rows])
    answer = _logistic(features, numbers[rows], classes, class_weight)
    name = f"a logistic regression on summary statistics{_note(rows, sequences)}"
    return PlainLabels(name, classes, lambda given: answer(summarise(given)))


def numeric_regression(
    sequences: Sequence[np.ndarray], targets: ArrayLike, *, seed: int = 0
) -> PlainNumbers:
    """Return a ridge regression on summaries of ``[T_i, C]`` sequences, as `numeric_baseline`.

    Raises DataError, MissingDependencyError.
    """
    numbers = _some(targets)
    rows = _sample(len(sequences), seed)
    summarise = summaries([sequences[row] for row in rows])
    answer = _ridge(summarise([sequences[row] for row in rows]), numbers[rows])
    name = f"a ridge regression on summary statistics{_note(rows, sequences)}"
    return PlainNumbers(name, lambda given: answer(summarise(given)))


def tag_baseline(tokens: Sequence[str], tags: ArrayLike, classes: int) -> PlainLabels:
    """Return the answer that is each token's commonest tag in training, all steps in a row ``[N]``.

    A token that was not there has the commonest tag of those that were there once. Raises DataError.

    >>> fitted = tag_baseline(["a", "dog", "a", "run"], [0, 1, 0, 2], 3)
    >>> fitted.predict(["a", "cat"]).tolist()
    [0, 1]
    """
    numbers = _some(tags)
    often = Counter(tokens)
    rows = {token: np.zeros(classes) for token in often}
    rare = np.zeros(classes)
    for (token, tag), count in Counter(zip(tokens, numbers.tolist(), strict=True)).items():
        rows[token][tag] = count / often[token]
        rare[tag] += often[token] == 1
    other = rare if rare.any() else np.bincount(numbers, minlength=classes)
    other = other / other.sum()

    def probabilities(given: Sequence[str]) -> np.ndarray:
        found = [rows.get(token, other) for token in given]
        return np.array(found).reshape(len(found), classes)

    return PlainLabels("the commonest tag of each token", classes, probabilities)


def plain_answers(
    task: str,
    training: Labelled,
    labels: Labels | None = None,
    *,
    class_weight: str | None = None,
    seed: int = 0,
) -> tuple[PlainLabels, ...] | tuple[PlainNumbers, ...]:
    """Return the answers that a network for `task` (classify, regress, tag) stands beside, fitted.

    Numbers of labels are those of `labels`, or of the labels in `training`. Tags are answered for all
    steps in a row, those of numbers by the commonest alone. Raises DataError, MissingDependencyError.
    """
    given = training.sequences
    if task == "regress":
        targets = np.asarray(training.targets, np.float64)
        regress = numeric_regression if given.kind == "numbers" else text_regression
        return mean(targets), regress(_inputs(task, training), targets, seed=seed)
    labels = labels or Labels.of(_flat(task, training))
    numbers, inputs = labels.encode(_flat(task, training)), _inputs(task, training)
    plain = majority(numbers, len(labels))
    if task == "classify":
        classify = numeric_baseline if given.kind == "numbers" else text_baseline
        fitted = classify(inputs, numbers, len(labels), class_weight=class_weight, seed=seed)
        return (plain,) if fitted.name == plain.name else (plain, fitted)
    return (
        (plain,) if given.kind == "numbers" else (plain, tag_baseline(inputs, numbers, len(labels)))
    )


def compare(
    task: str,
    training: Labelled,
    held_out: Labelled,
    labels: Labels | None = None,
    class_weight: str | None = None,
    *,
    seed: int = 0,
) -> list[Any]:
    """Return what `plain_answers` of `training` reach on `held_out`: a `Baseline` or figures each.

    `labels` are those of `training` where they are not given. Raises DataError, MissingDependencyError.
    """
    if task != "regress" and labels is None:
        labels = Labels.of(_flat(task, training))
    inputs, truth = _inputs(task, held_out), _flat(task, held_out)
    wanted = truth if labels is None else labels.encode(truth)
    plain = plain_answers(task, training, labels, class_weight=class_weight, seed=seed)
    return [one.figures(inputs, wanted) for one in plain]


def _flat(task: str, data: Labelled) -> Sequence[Any]:
    return [tag for tags in data.targets for tag in tags] if task == "tag" else data.targets


def _inputs(task: str, data: Labelled) -> Sequence[Any]:
    """Return what the plain answers of a task read: texts, numbers, or for tags all steps in a row."""
    if task == "tag":
        return [step for item in data.sequences.items for step in item]
    return data.sequences.items if data.sequences.kind == "numbers" else data.sequences.texts


def _some(labels: ArrayLike) -> np.ndarray:
    numbers = np.asarray(labels)
    if not len(numbers):
        raise DataError("labels", got="none", expected="one a sequence")
    return numbers


def _sample(count: int, seed: int) -> np.ndarray:
    if count <= _MOST_SEQUENCES:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, _MOST_SEQUENCES, replace=False))


def _note(rows: np.ndarray, sequences: Sequence[Any]) -> str:
    return "" if len(rows) == len(sequences) else f" of {len(rows):,} sequences"


def _tf_idf(texts: Sequence[str], outputs: int) -> Callable[[Sequence[str]], Any] | None:
    """Return what turns texts into a sparse matrix ``[N, F]``, None where they have no word."""
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ImportError as error:
        raise _missing() from error
    vectoriser = TfidfVectorizer(
        ngram_range=(1, 2),
        sublinear_tf=True,
        token_pattern=_TOKEN,
        min_df=2 if len(texts) >= _MANY_TEXTS else 1,
        max_features=max(100, min(_MOST_FEATURES, _MOST_WEIGHTS // outputs)),
        dtype=np.float32,
    )
    try:
        vectoriser.fit(texts)
    except ValueError:  # no word, or none that occurs twice
        return None
    return lambda given: vectoriser.transform(given)


def _logistic(
    features: Any, labels: np.ndarray, classes: int, class_weight: str | None
) -> Callable[[Any], np.ndarray]:
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise _missing() from error
    model = LogisticRegression(class_weight=class_weight, max_iter=_STEPS)
    with warnings.catch_warnings():
        # bounded in time on purpose; the last steps change nothing that one would see
        warnings.simplefilter("ignore", ConvergenceWarning)
        # many classes are no mistake here
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        model.fit(features, labels)

    def probabilities(given: Any) -> np.ndarray:
        whole = np.zeros((given.shape[0], classes))
        if len(whole):
            whole[:, model.classes_] = model.predict_proba(given)
        return whole

    return probabilities


def _ridge(features: Any, targets: np.ndarray) -> Callable[[Any], np.ndarray]:
    try:
        from sklearn.linear_model import Ridge
    except ImportError as error:
        raise _missing() from error
    model = Ridge().fit(features, targets)
    return lambda given: np.asarray(model.predict(given), np.float64)


def _missing() -> MissingDependencyError:
    return MissingDependencyError("scikit-learn is not installed", remedy=installing("train"))
