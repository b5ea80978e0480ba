"""Classifier, regressor and tagger of sequences, as scikit-learn estimators."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from numbers import Real
from os import PathLike
from typing import Literal, Self, TypeVar

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.validation import column_or_1d, validate_data

from elman.errors import DataError
from elman.files.model import Model
from elman.labels.dataset import Sequences, SequenceSource
from elman.labels.display import LabelsDisplay
from elman.labels.examples import LabelledSequences, RunInputs, Targets, TargetSource
from elman.labels.label_values import Label, Labels
from elman.labels.metrics import Classification, Regression
from elman.labels.options import (
    ClassifierOptions,
    LabelledOptions,
    RegressorOptions,
    TaggerOptions,
)
from elman.labels.predictor import (
    ClassifierPredictor,
    LabelPredictor,
    RegressorPredictor,
    TaggerPredictor,
)
from elman.training.estimator import Estimator, needs_torch
from elman.training.journal import Run, Watch
from elman.training.recurrent_options import CellName

PredictorT = TypeVar("PredictorT", bound=LabelPredictor)
OptionsT = TypeVar("OptionsT", bound=LabelledOptions)


class _SequenceEstimator(Estimator[PredictorT, OptionsT]):
    display_type = LabelsDisplay

    # attributes of LabelledOptions, written by tools/signatures
    level: Literal["both", "word", "char"]
    lowercase: bool
    max_vocabulary: int | None
    min_count: int | None
    missing: Literal["error", "mask"]
    held_out: float
    embedding_size: int | None
    vectors: str | None
    spelling_size: int | None
    bidirectional: bool
    members: int | None
    pretrain: str | None
    refit: bool | None
    word_dropout: float | None
    # end of attributes

    def _sequences(self, X: SequenceSource, *, reset: bool = False) -> Sequences:
        """Return `X` as sequences; an array ``[N, T]`` first passes scikit-learn's validation."""
        if isinstance(X, Sequences):
            return X
        if hasattr(X, "tocsr") or _is_table(X):
            # missing numbers are an error unless the network gets an input that marks them
            finite = "allow-nan" if self.missing == "mask" else True
            X = validate_data(self, X, reset=reset, dtype=np.float64, ensure_all_finite=finite)
        return Sequences.of(X)

    def _targets(self, y: TargetSource) -> Targets:
        return [*y]

    def _examples(
        self, X: SequenceSource, y: TargetSource, *, reset: bool = False
    ) -> LabelledSequences:
        return LabelledSequences(self._sequences(X, reset=reset), self._targets(y))

    def _train_labelled(
        self, data: LabelledSequences, inputs: RunInputs, run: Run, verbose: bool = False
    ) -> Self:
        """Train on sequences and their targets, and keep the model."""
        options = self._adopted(run.before)
        with needs_torch():
            from elman.labels.train import train_labelled
        start = partial(train_labelled, self.task, data, options, inputs=inputs)
        return self._train(start, run, verbose)

    def _keep(self, model: Model, stopped: str) -> None:
        super()._keep(model, stopped)
        if model.codec.labels is not None:
            self.classes_ = model.codec.labels.array
        # scikit-learn expects a whole number of passes over the data
        self.n_iter_ = max(1, round(self.card_.get("training", {}).get("epochs", 1)))

    def fit(
        self,
        X: SequenceSource,
        y: TargetSource,
        *,
        valid: tuple[SequenceSource, TargetSource] | None = None,
        test: tuple[SequenceSource, TargetSource] | None = None,
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
        return self._learn(X, y, valid, test, Run.of(output, resume, watch), None, verbose)

    def partial_fit(
        self,
        X: SequenceSource,
        y: TargetSource,
        classes: Sequence[Label] | None = None,
        *,
        valid: tuple[SequenceSource, TargetSource] | None = None,
        test: tuple[SequenceSource, TargetSource] | None = None,
        output: str | PathLike[str] | None = None,
        resume: bool = False,
        watch: Watch | None = None,
        verbose: bool = False,
    ) -> Self:
        """Train the network further on new sequences, by default for 5 epochs at a quarter of the rate.

        New words, characters and labels get rows of weights; the scaling of numbers and all sizes stay as
        they are. The first call trains a new network, with `classes` as the list of all labels.

        Args:
            X: The new sequences, as for `fit`.
            y: Their targets.
            classes: All labels, for the first call; later, further labels beside those of `y`.
            valid: As for `fit`.
            test: As for `fit`.
            output: As for `fit`.
            resume: As for `fit`.
            watch: As for `fit`.
            verbose: As for `fit`.

        Returns:
            The estimator itself.

        Raises:
            DataError, ShapeError: The sequences cannot be used, or the model reads others.
            OptionError: A parameter contradicts the model, or does not fit the data.
            OutputError, ModelFileError, DivergedError: As `fit`.
        """
        run = Run.of(output, resume, watch, self._trained)
        return self._learn(X, y, valid, test, run, classes, verbose)

    def _learn(
        self,
        X: SequenceSource,
        y: TargetSource,
        valid: tuple[SequenceSource, TargetSource] | None,
        test: tuple[SequenceSource, TargetSource] | None,
        run: Run,
        classes: Sequence[Label] | None,
        verbose: bool,
    ) -> Self:
        data = self._examples(X, y, reset=run.before is None)
        held_out, measured = (
            None if pair is None else self._examples(*pair) for pair in (valid, test)
        )
        labels = None if classes is None else Labels.of(classes)
        return self._train_labelled(data, RunInputs(held_out, measured, labels), run, verbose)


def _check_given(y: TargetSource | None) -> None:
    if y is None:
        # scikit-learn's wording, which its checks of estimators expect
        raise DataError("requires y to be passed, but the target y is None")


def _is_table(X: SequenceSource) -> bool:
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


class SequenceClassifier(
    ClassifierMixin, _SequenceEstimator[ClassifierPredictor, ClassifierOptions]
):
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

    # attributes of ClassifierOptions, written by tools/signatures
    pooling: str | None
    wide: bool
    class_weight: Literal["none", "balanced"]
    label_smoothing: float | None
    metric: Literal["loss", "accuracy", "macro_f1", "macro_recall"]
    # end of attributes
    # parameters of ClassifierOptions, written by tools/signatures

    def __init__(
        self,
        *,
        level: Literal["both", "word", "char"] = "both",
        lowercase: bool = True,
        max_vocabulary: int | None = None,
        min_count: int | None = None,
        missing: Literal["error", "mask"] = "error",
        held_out: float = 0.1,
        cell: CellName = "lstm",
        activation: Literal["linear", "tanh", "relu"] = "tanh",
        hidden_size: int | None = None,
        num_layers: int | None = None,
        bias: bool = True,
        dropout: float | None = None,
        embedding_size: int | None = None,
        vectors: str | None = None,
        spelling_size: int | None = None,
        bidirectional: bool = True,
        members: int | None = None,
        pooling: str | None = None,
        wide: bool = True,
        time: str | float | None = None,
        epochs: float | None = None,
        steps: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        weight_decay: float | None = None,
        warm_up: float = 0.03,
        clip: float = 1.0,
        average: float | None = None,
        evaluations: int = 10,
        patience: int = 5,
        checkpoint_every: str | float = "30s",
        precision: Literal["float32", "bf16"] | None = None,
        seed: int = 0,
        random_state: int | None = None,
        threads: int | None = None,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        pretrain: str | None = None,
        refit: bool | None = None,
        word_dropout: float | None = None,
        class_weight: Literal["none", "balanced"] = "none",
        label_smoothing: float | None = None,
        metric: Literal["loss", "accuracy", "macro_f1", "macro_recall"] = "loss",
    ) -> None:
        self._set_parameters(locals())

    # end of parameters

    classes_: np.ndarray

    def _targets(self, y: TargetSource) -> Targets:
        _check_given(y)
        # among texts, numpy would turn a missing label into the text "nan"
        text = isinstance(y, list | tuple) and any(isinstance(label, str) for label in y)
        return [*column_or_1d(np.array(y, object if text else None), warn=True)]

    def predict(self, X: SequenceSource) -> np.ndarray:
        """Return the label of each sequence, ``[N]``."""
        return self._fitted().predict(self._sequences(X))

    def predict_proba(self, X: SequenceSource) -> np.ndarray:
        """Return the calibrated probability of each class ``[N, K]``, in the order of `classes_`."""
        return self._fitted().predict_proba(self._sequences(X))

    def evaluate(self, X: SequenceSource, y: TargetSource) -> Classification:
        """Return the report on the predictions for `X`: metrics, confusion table and calibration."""
        return self._fitted().evaluate(self._sequences(X), self._targets(y))


class SequenceRegressor(RegressorMixin, _SequenceEstimator[RegressorPredictor, RegressorOptions]):
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

    # attributes of RegressorOptions, written by tools/signatures
    pooling: str | None
    wide: bool
    # end of attributes
    # parameters of RegressorOptions, written by tools/signatures

    def __init__(
        self,
        *,
        level: Literal["both", "word", "char"] = "both",
        lowercase: bool = True,
        max_vocabulary: int | None = None,
        min_count: int | None = None,
        missing: Literal["error", "mask"] = "error",
        held_out: float = 0.1,
        cell: CellName = "lstm",
        activation: Literal["linear", "tanh", "relu"] = "tanh",
        hidden_size: int | None = None,
        num_layers: int | None = None,
        bias: bool = True,
        dropout: float | None = None,
        embedding_size: int | None = None,
        vectors: str | None = None,
        spelling_size: int | None = None,
        bidirectional: bool = True,
        members: int | None = None,
        pooling: str | None = None,
        wide: bool = True,
        time: str | float | None = None,
        epochs: float | None = None,
        steps: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        weight_decay: float | None = None,
        warm_up: float = 0.03,
        clip: float = 1.0,
        average: float | None = None,
        evaluations: int = 10,
        patience: int = 5,
        checkpoint_every: str | float = "30s",
        precision: Literal["float32", "bf16"] | None = None,
        seed: int = 0,
        random_state: int | None = None,
        threads: int | None = None,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        pretrain: str | None = None,
        refit: bool | None = None,
        word_dropout: float | None = None,
    ) -> None:
        self._set_parameters(locals())

    # end of parameters

    def _targets(self, y: TargetSource) -> Targets:
        _check_given(y)
        try:
            return [*column_or_1d(np.asarray(y), dtype=np.float64, warn=True)]
        except (TypeError, ValueError) as error:
            raise DataError("targets", got=error, expected="one number for each sequence") from None

    def predict(self, X: SequenceSource) -> np.ndarray:
        """Return the number of each sequence, ``[N]``."""
        return self._fitted().predict(self._sequences(X))

    def evaluate(self, X: SequenceSource, y: TargetSource) -> Regression:
        """Return the report on the predictions for `X`: MAE, RMSE, R² and correlations."""
        return self._fitted().evaluate(self._sequences(X), self._targets(y))


class SequenceTagger(_SequenceEstimator[TaggerPredictor, TaggerOptions]):
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

    # attributes of TaggerOptions, written by tools/signatures
    metric: Literal["loss", "accuracy", "macro_f1", "macro_recall", "entity_f1"]
    # end of attributes
    # parameters of TaggerOptions, written by tools/signatures

    def __init__(
        self,
        *,
        level: Literal["both", "word", "char"] = "both",
        lowercase: bool = True,
        max_vocabulary: int | None = None,
        min_count: int | None = None,
        missing: Literal["error", "mask"] = "error",
        held_out: float = 0.1,
        cell: CellName = "lstm",
        activation: Literal["linear", "tanh", "relu"] = "tanh",
        hidden_size: int | None = None,
        num_layers: int | None = None,
        bias: bool = True,
        dropout: float | None = None,
        embedding_size: int | None = None,
        vectors: str | None = None,
        spelling_size: int | None = None,
        bidirectional: bool = True,
        members: int | None = None,
        time: str | float | None = None,
        epochs: float | None = None,
        steps: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        weight_decay: float | None = None,
        warm_up: float = 0.03,
        clip: float = 1.0,
        average: float | None = None,
        evaluations: int = 10,
        patience: int = 5,
        checkpoint_every: str | float = "30s",
        precision: Literal["float32", "bf16"] | None = None,
        seed: int = 0,
        random_state: int | None = None,
        threads: int | None = None,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        pretrain: str | None = None,
        refit: bool | None = None,
        word_dropout: float | None = None,
        metric: Literal["loss", "accuracy", "macro_f1", "macro_recall", "entity_f1"] = "loss",
    ) -> None:
        self._set_parameters(locals())

    # end of parameters

    classes_: np.ndarray

    def predict(self, X: SequenceSource) -> list[list[Label]]:
        """Return the list of tags of each sequence."""
        return self._fitted().predict(self._sequences(X))

    def predict_proba(self, X: SequenceSource) -> list[np.ndarray]:
        """Return the probability of each tag ``[T_i, K]`` at every step of each sequence."""
        return self._fitted().predict_proba(self._sequences(X))

    def evaluate(self, X: SequenceSource, y: TargetSource) -> Classification:
        """Return the report on the predictions for `X`, with whole entities if the tags mark any."""
        return self._fitted().evaluate(self._sequences(X), self._targets(y))

    def score(self, X: SequenceSource, y: TargetSource) -> float:
        """Return the share of time steps with the right tag."""
        return self.evaluate(X, y).accuracy
