"""Classifier, regressor and tagger of sequences, as scikit-learn estimators."""

from __future__ import annotations

from typing import Literal

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.validation import column_or_1d

from elman.errors import DataError
from elman.labels.dataset import SequenceSource
from elman.labels.examples import Targets, TargetSource
from elman.labels.label_values import Label
from elman.labels.metrics import Classification, Regression
from elman.labels.options import ClassifierOptions, RegressorOptions, TaggerOptions
from elman.labels.predictor import ClassifierPredictor, RegressorPredictor, TaggerPredictor
from elman.labels.sequence_estimator import SequenceEstimator, check_given
from elman.training.recurrent_options import CellName


class SequenceClassifier(
    ClassifierMixin, SequenceEstimator[ClassifierPredictor, ClassifierOptions]
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
        check_given(y)
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


class SequenceRegressor(RegressorMixin, SequenceEstimator[RegressorPredictor, RegressorOptions]):
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
        check_given(y)
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


class SequenceTagger(SequenceEstimator[TaggerPredictor, TaggerOptions]):
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
