"""Linear models from scikit-learn whose regularisation is chosen by cross-validation on the training set.

A plain model that is regularised badly would make the network look better than it is. Each fit takes seconds,
because the choice is made on a sample of large data.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np

from elman.labels.confusion import label_figures
from elman.labels.features import Features, sklearn

ROWS_TO_CHOOSE_ON, FOLDS = 5_000, 3
LOGISTIC_ITERATIONS, TAGGER_EPOCHS = 200, 10
# Candidates of each model, from the strongest regularisation to the weakest.
LOGISTIC_C = (0.1, 1.0, 3.0, 10.0, 30.0, 100.0)
RIDGE_ALPHA = (100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.01)
TAGGER_ALPHA = (1e-4, 1e-5, 1e-6)


class _Estimator(Protocol):
    coef_: np.ndarray
    intercept_: np.ndarray
    classes_: np.ndarray

    def fit(self, features: Features, targets: np.ndarray, /) -> object: ...
    def predict(self, features: Features, /) -> np.ndarray: ...


Model: TypeAlias = "Callable[[Features], np.ndarray]"
"""A fitted model: features ``[N, F]`` to numbers of labels, or to numbers, ``[N]``."""
Fit: TypeAlias = "Callable[[Features, np.ndarray, float], Model]"
"""Fits a model to features and targets with a given regularisation."""
Score: TypeAlias = "Callable[[np.ndarray, np.ndarray], float]"
"""Score of answers for some rows, given as (rows, answers); more is better."""


def sample_rows(count: int, seed: int, max_rows: int) -> np.ndarray:
    """Return at most `max_rows` of `count` row indices, drawn at random, in order."""
    if count <= max_rows:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, max_rows, replace=False))


def fit_logistic(
    features: Features, labels: np.ndarray, *, class_weight: str | None, metric: str, seed: int
) -> Model:
    """Fit a logistic regression with the C that is best by `metric` in cross-validation.

    Args:
        features: The feature matrix ``[N, F]``.
        labels: Numbers of the true labels ``[N]``, from at least two classes.
        class_weight: None, or "balanced".
        metric: A metric of `label_figures`.
        seed: Seed of the sample and the folds.
    """
    logistic = sklearn("linear_model").LogisticRegression

    def fit(rows: Features, targets: np.ndarray, strength: float) -> Model:
        limits = {"max_iter": LOGISTIC_ITERATIONS}
        return fitted(logistic(C=strength, class_weight=class_weight, **limits), rows, targets)

    score = label_score(metric, labels)
    return fit(features, labels, choose_strength(fit, LOGISTIC_C, features, labels, score, seed))


def fit_tagger(
    features: Features, tags: np.ndarray, sequences: np.ndarray, *, metric: str, seed: int
) -> Model:
    """Fit a logistic regression by stochastic gradients, as `fit_logistic`, on many time steps.

    `sequences` ``[N]`` are the numbers of the sequences, whose steps stay in one fold.
    """
    classifier = sklearn("linear_model").SGDClassifier
    settings = {"max_iter": TAGGER_EPOCHS, "tol": None, "average": True, "random_state": seed}

    def fit(rows: Features, targets: np.ndarray, strength: float) -> Model:
        return fitted(classifier("log_loss", alpha=strength, **settings), rows, targets)

    # folds are made of whole sequences: neighbouring steps would give the answer away
    score = label_score(metric, tags)
    strength = choose_strength(fit, TAGGER_ALPHA, features, tags, score, seed, sequences)
    return fit(features, tags, strength)


def fit_ridge(features: Features, targets: np.ndarray, *, seed: int) -> Model:
    """Fit a ridge regression with the alpha that has the least mean absolute error in cross-validation."""
    ridge = sklearn("linear_model").Ridge

    def fit(rows: Features, numbers: np.ndarray, strength: float) -> Model:
        return fitted(ridge(alpha=strength), rows, numbers)

    score = number_score(targets)
    return fit(features, targets, choose_strength(fit, RIDGE_ALPHA, features, targets, score, seed))


@dataclass(frozen=True, eq=False)
class LinearWeights:
    """Weights of a linear model, and the regularisation with which it was fitted."""

    weights: np.ndarray
    """float64 ``[F, K]``."""
    bias: np.ndarray
    """float64 ``[K]``."""
    strength: float
    """C of a logistic regression, alpha of a ridge regression."""


def fit_label_weights(
    features: Features,
    labels: np.ndarray,
    outputs: int,
    *,
    class_weight: str | None,
    strength: float | None,
    metric: str,
    seed: int,
) -> LinearWeights:
    """Fit a logistic regression as `fit_logistic` and return its weights for K `outputs`.

    Without a `strength` cross-validation chooses it. A label without a sequence gets weights of 0 and the
    smallest bias.
    """
    logistic = sklearn("linear_model").LogisticRegression
    limits = {"max_iter": LOGISTIC_ITERATIONS, "class_weight": class_weight}

    def fit(rows: Features, targets: np.ndarray, strength: float) -> Model:
        return fitted(logistic(C=strength, **limits), rows, targets)

    if strength is None:
        score = label_score(metric, labels)
        strength = choose_strength(fit, LOGISTIC_C, features, labels, score, seed)
    model: _Estimator = logistic(C=strength, **limits)
    fitted(model, features, labels)
    coefficients, intercept = model.coef_, model.intercept_
    if len(model.classes_) == 2:
        # of two classes there is one row of weights, for the difference of their logits
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercept = np.concatenate([-intercept, intercept]) / 2
    weights = np.zeros((features.shape[1], outputs))
    bias = np.full(outputs, intercept.min())
    weights[:, model.classes_], bias[model.classes_] = coefficients.T, intercept
    return LinearWeights(weights, bias, strength)


def fit_number_weights(
    features: Features, targets: np.ndarray, *, strength: float | None, seed: int
) -> LinearWeights:
    """Fit a ridge regression as `fit_ridge` and return its weights, for one output."""
    ridge = sklearn("linear_model").Ridge

    def fit(rows: Features, numbers: np.ndarray, strength: float) -> Model:
        return fitted(ridge(alpha=strength), rows, numbers)

    if strength is None:
        score = number_score(targets)
        strength = choose_strength(fit, RIDGE_ALPHA, features, targets, score, seed)
    model: _Estimator = ridge(alpha=strength)
    fitted(model, features, targets)
    return LinearWeights(model.coef_[:, None], np.atleast_1d(model.intercept_), strength)


def number_score(targets: np.ndarray) -> Score:
    """Return the function that gives minus the mean absolute error of answers."""
    return lambda rows, answers: -float(np.mean(abs(answers - targets[rows])))


def label_score(metric: str, labels: np.ndarray) -> Score:
    """Return the function that gives the `metric` of answers; `labels` ``[N]`` are the true ones."""
    return lambda rows, answers: label_figures(labels[rows], answers)[metric]


def fitted(model: _Estimator, features: Features, targets: np.ndarray) -> Model:
    """Fit an estimator of scikit-learn and return its `predict`."""
    with warnings.catch_warnings():
        # iterations are bounded on purpose; the last ones no longer change the answers
        warnings.simplefilter("ignore", sklearn("exceptions").ConvergenceWarning)
        # scikit-learn takes many classes for regression targets, but here they are classes
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        model.fit(features, targets)
    return model.predict


def choose_strength(
    fit: Fit,
    strengths: Sequence[float],
    features: Features,
    targets: np.ndarray,
    score: Score,
    seed: int,
    groups: np.ndarray | None = None,
) -> float:
    """Return the one of `strengths` whose model scores best in cross-validation.

    Of equal scores the first, most regularised one wins. Rows of one of `groups` ``[N]`` stay in one fold.
    """
    max_rows = ROWS_TO_CHOOSE_ON if groups is None else 3 * ROWS_TO_CHOOSE_ON
    rows = sample_rows(len(targets), seed, max_rows)
    units = np.arange(len(targets)) if groups is None else groups
    # units in random order, dealt out to the folds in turn
    order = np.random.default_rng(seed).permutation(int(units.max()) + 1)
    fold_of = order[units[rows]] % FOLDS
    folds = [(rows[fold_of != fold], rows[fold_of == fold]) for fold in range(FOLDS)]
    # a fold that leaves one class, or nothing to answer, says nothing
    folds = [pair for pair in folds if len(pair[1]) and len(np.unique(targets[pair[0]])) > 1]
    # without any usable fold, take a strength from the middle of the list
    best_score, chosen = -np.inf, strengths[len(strengths) // 2]
    for strength in strengths if folds else ():
        answers = [
            fit(features[inside], targets[inside], strength)(features[outside])
            for inside, outside in folds
        ]
        value = score(np.concatenate([pair[1] for pair in folds]), np.concatenate(answers))
        if value > best_score:
            best_score, chosen = value, strength
    return chosen
