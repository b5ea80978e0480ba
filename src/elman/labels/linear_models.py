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
SUPPORT_VECTOR_C = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
RIDGE_ALPHA = (100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.01)
TAGGER_ALPHA = (1e-4, 1e-5, 1e-6)


@dataclass(frozen=True)
class FitSettings:
    """Settings of the fits of a linear model."""

    metric: str = "accuracy"
    """Metric by which cross-validation chooses the regularisation of a model of labels."""
    balanced: bool = False
    """Whether every class counts the same, however rare it is."""
    seed: int = 0
    """Seed of samples, of folds and of random features."""
    strength: float | None = None
    """The regularisation, if it was chosen before."""

    @property
    def class_weight(self) -> str | None:
        """The weights of classes as scikit-learn names them."""
        return "balanced" if self.balanced else None


DEFAULT_SETTINGS = FitSettings()


class Linear(Protocol):
    """A fitted linear model of scikit-learn."""

    coef_: np.ndarray
    """``[K, F]``, or ``[1, F]`` for two classes, or ``[F]`` for numbers."""
    intercept_: np.ndarray
    classes_: np.ndarray

    def fit(self, features: Features, targets: np.ndarray, /) -> object:
        """Fit the model to features ``[N, F]`` and targets ``[N]``."""

    def predict(self, features: Features, /) -> np.ndarray:
        """Return the answers ``[N]``."""


Make: TypeAlias = "Callable[[float], Linear]"
"""Makes a model of scikit-learn with a given regularisation."""
Score: TypeAlias = "Callable[[np.ndarray, np.ndarray], float]"
"""Score of answers for some rows, given as (rows, answers); more is better."""


def sample_rows(count: int, seed: int, max_rows: int) -> np.ndarray:
    """Return at most `max_rows` of `count` row indices, drawn at random, in order."""
    if count <= max_rows:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, max_rows, replace=False))


def logistic(settings: FitSettings) -> Make:
    """Return the maker of logistic regressions."""
    model, weight = sklearn("linear_model").LogisticRegression, settings.class_weight
    return lambda C: model(C=C, class_weight=weight, max_iter=LOGISTIC_ITERATIONS)


def support_vectors(settings: FitSettings) -> Make:
    """Return the maker of linear support vector machines: squared hinge loss, each class against the rest."""
    model = sklearn("svm").LinearSVC
    # the seed orders the sequences in the solver
    fixed = {"class_weight": settings.class_weight, "random_state": settings.seed}
    return lambda C: model(C=C, **fixed)


def ridge() -> Make:
    """Return the maker of ridge regressions on sparse features; those of `elman.labels.ridge` are dense."""
    model = sklearn("linear_model").Ridge
    return lambda alpha: model(alpha=alpha)


def stochastic_logistic(settings: FitSettings) -> Make:
    """Return the maker of logistic regressions fitted by stochastic gradients, for many time steps."""
    model = sklearn("linear_model").SGDClassifier
    fixed = {"max_iter": TAGGER_EPOCHS, "tol": None, "average": True, "random_state": settings.seed}
    return lambda alpha: model("log_loss", alpha=alpha, **fixed)


def fitted(model: Linear, features: Features, targets: np.ndarray) -> Linear:
    """Fit a model of scikit-learn and return it."""
    with warnings.catch_warnings():
        # iterations are bounded on purpose; the last ones no longer change the answers
        warnings.simplefilter("ignore", sklearn("exceptions").ConvergenceWarning)
        # scikit-learn takes many classes for regression targets, but here they are classes
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        model.fit(features, targets)
    return model


def linear_weights(model: Linear, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights ``[F, K]`` and biases ``[K]`` of a fitted model for K `outputs`.

    A label without a sequence in training gets weights of 0 and the smallest bias.
    """
    rows, intercept = np.atleast_2d(model.coef_), np.atleast_1d(model.intercept_)
    if outputs == 1:
        return rows.T, intercept
    if len(rows) == 1:
        # of two classes there is one row of weights, for the difference of their logits
        rows, intercept = (
            np.concatenate([-rows, rows]) / 2,
            np.concatenate([-intercept, intercept]) / 2,
        )
    weights, bias = np.zeros((rows.shape[1], outputs)), np.full(outputs, intercept.min())
    weights[:, model.classes_], bias[model.classes_] = rows.T, intercept
    return weights, bias


def number_score(targets: np.ndarray) -> Score:
    """Return the function that gives minus the mean absolute error of answers."""
    return lambda rows, answers: -float(np.mean(abs(answers - targets[rows])))


def label_score(metric: str, labels: np.ndarray) -> Score:
    """Return the function that gives the `metric` of answers; `labels` ``[N]`` are the true ones."""
    return lambda rows, answers: label_figures(labels[rows], answers)[metric]


def fit_chosen(
    make: Make,
    strengths: Sequence[float],
    features: Features,
    targets: np.ndarray,
    score: Score,
    settings: FitSettings,
    groups: np.ndarray | None = None,
) -> tuple[Linear, float]:
    """Return a model fitted with the strength of the `settings` or of `choose_strength`, and the strength."""
    strength = settings.strength
    if strength is None:
        strength = choose_strength(make, strengths, features, targets, score, settings.seed, groups)
    # this fit uses all rows, not only the sample of the choice
    return fitted(make(strength), features, targets), strength


def choose_strength(
    make: Make,
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
            fitted(make(strength), features[inside], targets[inside]).predict(features[outside])
            for inside, outside in folds
        ]
        value = score(np.concatenate([pair[1] for pair in folds]), np.concatenate(answers))
        if value > best_score:
            best_score, chosen = value, strength
    return chosen
