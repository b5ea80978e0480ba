"""Classifier, regressor and tagger of sequences, as scikit-learn estimators."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.validation import column_or_1d, validate_data

from elman.errors import DataError
from elman.files.model import Model
from elman.labels.codec import Labels
from elman.labels.dataset import Sequences
from elman.labels.display import LabelsDisplay
from elman.labels.examples import LabelledSequences
from elman.labels.metrics import Classification, Regression
from elman.labels.options import ClassifierOptions, RegressorOptions, TaggerOptions
from elman.labels.predictor import ClassifierPredictor, RegressorPredictor, TaggerPredictor
from elman.training.estimator import Estimator, Parameters, needs_torch

if TYPE_CHECKING:
    from elman.training.journal import Watch

    # Type checkers and editors read the parameters from the options. `Estimator` makes the same signature.
    _Classifier = ClassifierOptions
    _Regressor = RegressorOptions
    _Tagger = TaggerOptions
else:
    _Classifier = _Regressor = _Tagger = Parameters


Self = TypeVar("Self", bound="_SequenceEstimator")
Targets: TypeAlias = Sequence[Any] | np.ndarray
"""One label, number or list of tags for each sequence."""


class _SequenceEstimator(Estimator):
    task: ClassVar[str]
    display_type = LabelsDisplay

    def _sequences(self, X: Any, *, reset: bool = False) -> Sequences:
        """Return `X` as sequences; an array ``[N, T]`` first passes scikit-learn's validation."""
        if isinstance(X, Sequences):
            return X
        if hasattr(X, "tocsr") or _is_table(X):
            finite = "allow-nan" if self.missing == "mask" else True
            X = validate_data(self, X, reset=reset, dtype=np.float64, ensure_all_finite=finite)
        return Sequences.of(X)

    def _train(
        self: Self,
        data: tuple[Sequences, list[Any]],
        *,
        valid: tuple[Any, Targets] | None = None,
        test: tuple[Any, Targets] | None = None,
        labels: Labels | None = None,
        before: Model | None = None,
        output: str | PathLike[str] | None = None,
        resume: bool = False,
        watch: Watch | None = None,
        verbose: bool = False,
    ) -> Self:
        options = self._checked_options()
        with needs_torch():
            from elman.labels.train import RunInputs, train_labelled
        held_out, measured = (
            None
            if pair is None
            else LabelledSequences(self._sequences(pair[0]), self._targets(pair[1]))
            for pair in (valid, test)
        )
        inputs, examples = RunInputs(held_out, measured, labels, before), LabelledSequences(*data)
        with self._shown(verbose, watch, output) as watching:
            outcome = train_labelled(
                self.task, examples, options, inputs, output=output, resume=resume, watch=watching
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
        watch: Watch | None = None,
        verbose: bool = False,
    ) -> Self:
        """Train on the sequences `X` with the targets `y`.

        Args:
            X: A list of texts or of lists of tokens, a list of arrays ``[T_i]`` or ``[T_i, C]``, or one array
                ``[N, T]`` or ``[N, T, C]``.
            y: A label, a number, or a list of tags for each sequence.
            valid: Held-out sequences and targets, in place of a share of `X`: half of them are the validation
                set, half the test set.
            test: Sequences and targets of the test set, in place of half of the held-out ones.
            output: As for `LanguageModel.fit`.
            resume: As for `LanguageModel.fit`.
            watch: As for `LanguageModel.fit`.
            verbose: As for `LanguageModel.fit`.

        Returns:
            The estimator itself.

        Raises:
            DataError: The data cannot be used.
            OptionError: The options do not fit the data.
            ShapeError: The sequences have different numbers of channels.
            OutputError: The output cannot be written.
            ModelFileError: The checkpoint to resume belongs to another run.
            DivergedError: Training met numbers that are not finite and could not recover.
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
        """Go on training with new sequences; vocabulary or scaling, labels and sizes stay as they are.

        The first call trains a new model, with `classes` as the list of all labels. Raises as `fit`.
        """
        fitted = hasattr(self, "predictor_")
        labels = Labels.of(classes) if classes is not None else None
        data = self._sequences(X, reset=not fitted), self._targets(y)
        return self._train(data, labels=labels, before=self.model_ if fitted else None)

    def _targets(self, y: Targets) -> list[Any]:
        return [*y]

    def predict(self, X: Any) -> Any:
        """Return the label, the number, or the list of tags of each sequence."""
        predictor = self._fitted()
        return predictor.predict(self._sequences(X))


def _is_table(X: Any) -> bool:
    """Return whether `X` is an array or frame of numbers with at most two dimensions, or a flat list."""
    flat = isinstance(X, list) and bool(X) and isinstance(X[0], Real)
    if not (hasattr(X, "__array__") or flat):
        return False
    array = np.asarray(X)
    if array.dtype.kind == "O":
        return array.ndim <= 2 and not any(
            isinstance(value, Sequence | np.ndarray) for value in array.flat
        )
    return array.ndim <= 2 and array.dtype.kind not in "US"


class SequenceClassifier(_Classifier, ClassifierMixin, _SequenceEstimator):  # type: ignore[misc]
    """Recurrent network that predicts the class of a sequence: a text, or numbers of any length.

    The parameters are those of `elman.labels.options.ClassifierOptions`, all by keyword; None lets Elman
    choose. After `fit`, the estimator has the attributes `classes_`, `model_` (the content of the model
    file), `predictor_` (as `elman.load` returns it), `card_` (how it was trained and how good it is) and
    `stopped_` (why training ended).

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
            # scikit-learn's wording, which its checks of estimators expect
            raise DataError("requires y to be passed, but the target y is None")
        # among texts, numpy would turn a missing label into the text "nan"
        text = isinstance(y, list | tuple) and any(isinstance(label, str) for label in y)
        return [*column_or_1d(np.array(y, object if text else None), warn=True)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the calibrated probability of each class ``[N, K]``, in the order of `classes_`."""
        predictor = self._fitted()
        shares: np.ndarray = predictor.predict_proba(self._sequences(X))
        return shares

    def evaluate(self, X: Any, y: Targets) -> Classification:
        """Return the report on the predictions for `X`: metrics, confusion table and calibration."""
        predictor = self._fitted()
        report: Classification = predictor.evaluate(self._sequences(X), self._targets(y))
        return report


class SequenceRegressor(_Regressor, RegressorMixin, _SequenceEstimator):  # type: ignore[misc]
    """Recurrent network that predicts one number for a sequence: a text, or numbers of any length.

    The parameters are those of `elman.labels.options.RegressorOptions`, all by keyword; None lets Elman
    choose.

    >>> rng = np.random.default_rng(0)
    >>> sequences = [rng.normal(size=int(length)) for length in rng.integers(3, 9, 60)]
    >>> model = SequenceRegressor(hidden_size=8, steps=150, learning_rate=0.01, refit=False)
    >>> _ = model.fit(sequences, [float(sequence.sum()) for sequence in sequences])
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
            raise DataError("targets", got=error, expected="one number for each sequence") from None

    def evaluate(self, X: Any, y: Targets) -> Regression:
        """Return the report on the predictions for `X`: MAE, RMSE and R²."""
        predictor = self._fitted()
        report: Regression = predictor.evaluate(self._sequences(X), self._targets(y))
        return report


class SequenceTagger(_Tagger, _SequenceEstimator):
    """Recurrent network that predicts a tag for each time step of a sequence.

    The parameters are those of `elman.labels.options.TaggerOptions`, all by keyword; None lets Elman choose.
    `X` is a list of lists of tokens, or of arrays ``[T_i, C]``, and `y` a list of lists of tags.

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
        shares: list[np.ndarray] = predictor.predict_proba(self._sequences(X))
        return shares

    def evaluate(self, X: Any, y: Targets) -> Classification:
        """Return the report on the predictions for `X`, with whole entities if the tags mark any."""
        predictor = self._fitted()
        report: Classification = predictor.evaluate(self._sequences(X), y)
        return report

    def score(self, X: Any, y: Targets) -> float:
        """Return the share of time steps with the right tag."""
        return self.evaluate(X, y).accuracy
