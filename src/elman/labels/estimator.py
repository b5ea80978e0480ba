"""Classifier, regressor and tagger of sequences as scikit-learn estimators."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, TypeAlias, TypeVar

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.validation import column_or_1d, validate_data

from elman.errors import DataError
from elman.labels.codec import Labels
from elman.labels.dataset import Sequences
from elman.labels.metrics import Classification
from elman.labels.options import ClassifierOptions, RegressorOptions, TaggerOptions
from elman.labels.predictor import ClassifierPredictor, RegressorPredictor, TaggerPredictor
from elman.labels.regression import Regression
from elman.training.estimator import Estimator, needs_torch

__all__ = ["SequenceClassifier", "SequenceRegressor", "SequenceTagger"]

Self = TypeVar("Self", bound="_Labelled")
Targets: TypeAlias = Sequence[Any] | np.ndarray
"""One label, number or list of tags for each sequence."""


class _Labelled(Estimator):
    task: ClassVar[str]

    def _sequences(self, X: Any, *, reset: bool = False) -> Sequences:
        """Return `X` as sequences; a table ``[N, T]`` is checked as scikit-learn checks tables."""
        if isinstance(X, Sequences):
            return X
        if hasattr(X, "tocsr") or _is_table(X):
            finite = "allow-nan" if self.missing == "mask" else True
            X = validate_data(self, X, reset=reset, dtype=np.float64, ensure_all_finite=finite)
        return Sequences.of(X)

    def _train(self: Self, data: Any, **how: Any) -> Self:
        options = self._checked_options()
        with needs_torch():
            from elman.labels.examples import Labelled
            from elman.labels.train import train_labelled
        output = how.pop("output", None)
        verbose, watch = how.pop("verbose", False), how.pop("watch", None)
        valid, test = (
            None if one is None else Labelled(self._sequences(one[0]), self._targets(one[1]))
            for one in (how.pop("valid", None), how.pop("test", None))
        )
        with self._shown(verbose, watch, output) as watching:
            outcome = train_labelled(
                self.task,
                Labelled(*data),
                options,
                output=None if output is None else Path(output),
                watch=watching,
                valid=valid,
                test=test,
                **how,
            )
        self._keep(outcome)
        if outcome.model.codec.labels is not None:
            self.classes_ = outcome.model.codec.labels.array
        self.n_iter_ = max(1, round(outcome.model.card["training"]["epochs"]))
        return self

    def fit(
        self: Self,
        X: Any,
        y: Targets,
        *,
        valid: tuple[Any, Targets] | None = None,
        test: tuple[Any, Targets] | None = None,
        output: str | PathLike[str] | None = None,
        resume: bool = False,
        watch: Any = None,
        verbose: bool = False,
    ) -> Self:
        """Train on the sequences `X` and what is to be said of them, `y`; return self.

        Args:
            X: A list of texts or of lists of tokens, a list of arrays ``[T_i]`` or ``[T_i, C]``, or one array
                ``[N, T]`` or ``[N, T, C]``.
            y: A label, a number, or a list of tags for each sequence.
            valid: A pair like (X, y) that is held out in place of a part of `X`: half of it chooses when
                training ends, half of it is the test set.
            test: A pair like (X, y) that is the test set, in place of half of what is held out.
            output: As for `LanguageModel.fit`; `resume`, `watch` and `verbose` too.
            resume: See `output`.
            watch: See `output`.
            verbose: See `output`.

        Raises DataError, OptionError, ShapeError, OutputError, ModelFileError, DivergedError.
        """
        sequences = self._sequences(X, reset=True)
        return self._train(
            (sequences, self._targets(y)),
            valid=valid,
            test=test,
            output=output,
            resume=resume,
            watch=watch,
            verbose=verbose,
        )

    def partial_fit(self: Self, X: Any, y: Targets, classes: Any = None) -> Self:
        """Learn on from new sequences, without a refit; the first call is a `fit` that knows `classes`.

        The vocabulary or scaling, the labels and the sizes stay as they were. Raises as `fit`.
        """
        fitted = hasattr(self, "predictor_")
        labels = Labels.of(classes) if classes is not None else None
        data = self._sequences(X, reset=not fitted), self._targets(y)
        return self._train(data, labels=labels, before=self.model_ if fitted else None)

    def _targets(self, y: Targets) -> list[Any]:
        return [*y]

    def predict(self, X: Any) -> Any:
        """Return what is said of each sequence: its label, its number, or the list of its tags."""
        predictor = self._fitted()
        return predictor.predict(self._sequences(X))


def _is_table(X: Any) -> bool:
    """Return whether `X` is numbers in an array or frame of at most two dimensions, or in a flat list."""
    flat = isinstance(X, list) and bool(X) and isinstance(X[0], Real)
    if not (hasattr(X, "__array__") or flat):
        return False
    array = np.asarray(X)
    if array.dtype.kind == "O":
        return array.ndim <= 2 and not any(
            isinstance(one, Sequence | np.ndarray) for one in array.flat
        )
    return array.ndim <= 2 and array.dtype.kind not in "US"


class SequenceClassifier(ClassifierMixin, _Labelled):  # type: ignore[misc]
    """A recurrent network that reads a sequence, a text or numbers of any length, and names its class.

    Its parameters are `elman.labels.options.ClassifierOptions`, all by name; None lets Elman choose.
    After `fit`: `classes_`, `model_` (the value that the file holds), `predictor_` (what `elman.load`
    returns), `card_` (how it was trained and how good it is) and `stopped_` (why training ended).

    >>> texts = ["what a good day", "so bad", "good food", "a bad , bad idea"] * 10
    >>> labels = ["positive", "negative"] * 20
    >>> model = SequenceClassifier(hidden_size=8, steps=40, learning_rate=0.02, refit=False)
    >>> model.fit(texts, labels).predict(["what good food"]).tolist()
    ['positive']
    """

    options = ClassifierOptions
    predictor_type = ClassifierPredictor
    task = "classify"

    classes_: np.ndarray

    def _targets(self, y: Targets) -> list[Any]:
        if y is None:
            # scikit-learn's words
            raise DataError("requires y to be passed, but the target y is None")
        # numpy would make the text "nan" of a missing label among texts
        text = isinstance(y, list | tuple) and any(isinstance(one, str) for one in y)
        return [*column_or_1d(np.array(y, object if text else None), warn=True)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the calibrated probability of each class ``[N, K]``, in the order of `classes_`."""
        predictor = self._fitted()
        found: np.ndarray = predictor.predict_proba(self._sequences(X))
        return found

    def evaluate(self, X: Any, y: Targets) -> Classification:
        """Return how good the answers are: accuracy, macro F1 and recall, confusion, calibration."""
        predictor = self._fitted()
        report: Classification = predictor.evaluate(self._sequences(X), self._targets(y))
        return report


class SequenceRegressor(RegressorMixin, _Labelled):  # type: ignore[misc]
    """A recurrent network that reads a sequence, a text or numbers of any length, as one number.

    Its parameters are `elman.labels.options.RegressorOptions`, all by name; None lets Elman choose.

    >>> rng = np.random.default_rng(0)
    >>> sequences = [rng.normal(size=int(length)) for length in rng.integers(3, 9, 60)]
    >>> model = SequenceRegressor(hidden_size=8, steps=150, learning_rate=0.01, refit=False)
    >>> _ = model.fit(sequences, [float(one.sum()) for one in sequences])
    >>> bool(model.predict([[3.0, 3.0]])[0] > model.predict([[-3.0, -3.0]])[0])
    True
    """

    options = RegressorOptions
    predictor_type = RegressorPredictor
    task = "regress"

    def _targets(self, y: Targets) -> list[Any]:
        if y is None:
            raise DataError("requires y to be passed, but the target y is None")
        try:
            return [*column_or_1d(np.asarray(y), dtype=np.float64, warn=True)]
        except (TypeError, ValueError) as error:
            raise DataError("targets", got=error, expected="one number a sequence") from None

    def evaluate(self, X: Any, y: Targets) -> Regression:
        """Return how good the numbers are: MAE, RMSE, R²."""
        predictor = self._fitted()
        report: Regression = predictor.evaluate(self._sequences(X), self._targets(y))
        return report


class SequenceTagger(_Labelled):
    """A recurrent network that gives every step of a sequence a tag.

    Its parameters are `elman.labels.options.TaggerOptions`, all by name; None lets Elman choose. `X` is a
    list
    of lists of tokens, or of arrays ``[T_i, C]``, and `y` a list of lists of tags.

    >>> words = [["I", "like", "tea"], ["you", "hate", "rice"]] * 20
    >>> tags = [["who", "does", "what"]] * 40
    >>> model = SequenceTagger(hidden_size=8, steps=40, learning_rate=0.02, refit=False)
    >>> model.fit(words, tags).predict([["you", "like", "rice"]])
    [['who', 'does', 'what']]
    """

    options = TaggerOptions
    predictor_type = TaggerPredictor
    task = "tag"

    classes_: np.ndarray

    def predict_proba(self, X: Any) -> list[np.ndarray]:
        """Return the probability of each tag ``[T_i, K]`` at every step of each sequence."""
        predictor = self._fitted()
        found: list[np.ndarray] = predictor.predict_proba(self._sequences(X))
        return found

    def evaluate(self, X: Any, y: Targets) -> Classification:
        """Return how good the tags are, step by step, and of whole entities where they are named so."""
        predictor = self._fitted()
        report: Classification = predictor.evaluate(self._sequences(X), y)
        return report

    def score(self, X: Any, y: Targets) -> float:
        """Return the share of steps with the right tag."""
        return self.evaluate(X, y).accuracy
