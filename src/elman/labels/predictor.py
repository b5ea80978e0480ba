"""What a reader of labelled sequences answers: a label, a number, or a tag for every step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from elman.engine.layers import log_softmax
from elman.errors import DataError, OptionError
from elman.files.model import Model
from elman.inspect.predictor import Predictor
from elman.labels.codec import Labels
from elman.labels.confusion import Baseline
from elman.labels.dataset import Encoded, Sequences
from elman.labels.metrics import Classification, classification
from elman.labels.network import Reader
from elman.labels.regression import Regression, RegressionFigures, regression
from elman.tables.scaler import Scaler
from elman.text.words import UNKNOWN_ID

if TYPE_CHECKING:
    from elman.explain.explanation import Explanation

__all__ = ["ClassifierPredictor", "RegressorPredictor", "TaggerPredictor"]


class _Predictor(Predictor):
    def __init__(self, model: Model, storage: str = "float32") -> None:
        if storage != "float32":
            raise OptionError("storage", got=storage, expected=f"float32 for {model.config.task}")
        self.model = model
        self.reader = Reader(model)

    def __reduce__(self) -> tuple[type[_Predictor], tuple[Model]]:
        # what is made ready to run stays behind
        return type(self), (self.model,)

    def explainer(self) -> Callable[..., Explanation]:
        """Return `explain_labelled`."""
        from elman.labels.explain import explain_labelled

        return explain_labelled

    @property
    def labels(self) -> Labels:
        """The labels it answers with, in order."""
        labels: Labels = self.model.codec.labels
        return labels

    def count_unknown(self, X: Any) -> tuple[int, int]:
        """Return how many tokens of `X` are outside the vocabulary, and of how many; (0, 0) for numbers.

        Where most are, the texts are of another language, encoding or kind than those of training.
        """
        codec, sequences = self.model.codec, Sequences.of(X)
        if codec.tokens is None:
            return 0, 0
        encoded = Encoded.of(codec, sequences)
        ids = np.concatenate(encoded.sequences)
        ids = ids if encoded.words is None else encoded.words[ids]
        return int((ids == UNKNOWN_ID).sum()), len(ids)

    @property
    def classes_(self) -> np.ndarray:
        """The labels as an array ``[K]``, sorted: the order of the columns of `predict_proba`."""
        return self.labels.array


class ClassifierPredictor(_Predictor):
    """A trained classifier of sequences, ready to answer; what `elman.load` returns."""

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each label ``[N, K]``, in the order of `classes_`, float64.

        Raises DataError, ShapeError for sequences that are not as in training.
        """
        logits = self.reader.logits(Sequences.of(X))
        shares: np.ndarray = np.exp(log_softmax(logits.astype(np.float64)))
        return shares

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable label of each sequence ``[N]``."""
        best = self.predict_proba(X).argmax(axis=1)
        return self.labels.decode(best)

    def evaluate(
        self,
        X: Any,
        y: Sequence[Any],
        *,
        beside: Sequence[Baseline] = (),
        metric: str | None = None,
    ) -> Classification:
        """Return how good the answers are for the labels `y`; a label not in training counts as missed."""
        sequences = Sequences.of(X)
        sequences.check_paired(y)
        truth = self.labels.encode_apart(y)
        return classification(
            truth, self.predict_proba(sequences), self.labels.names, beside=beside, metric=metric
        )


class RegressorPredictor(_Predictor):
    """A trained network that reads a sequence as one number; what `elman.load` returns."""

    def predict(self, X: Any) -> np.ndarray:
        """Return the number for each sequence, float64 ``[N]``, in the units of training."""
        target: Scaler = self.model.codec.target
        scaled = self.reader.logits(Sequences.of(X))[:, 0].astype(np.float64)
        largest = np.finfo(np.float64).max
        with np.errstate(over="ignore"):
            found = scaled * target.scale[0] + target.mean[0]
        return np.asarray(found.clip(-largest, largest))

    def evaluate(
        self, X: Any, y: Sequence[float], *, beside: Sequence[RegressionFigures] = ()
    ) -> Regression:
        """Return how good the numbers are for the truth `y`."""
        sequences = Sequences.of(X)
        sequences.check_paired(y)
        return regression(self.predict(sequences), np.asarray(y, np.float64), beside)


class TaggerPredictor(_Predictor):
    """A trained tagger, one tag a step; what `elman.load` returns.

    Texts are read as the tokens between white space.
    """

    def predict(self, X: Any) -> list[list[Any]]:
        """Return the most probable tag of every step of each sequence."""
        return [self.labels.decode(logits.argmax(axis=1)).tolist() for logits in self._logits(X)]

    def predict_proba(self, X: Any) -> list[np.ndarray]:
        """Return the probability of each tag ``[T_i, K]`` at every step, in the order of `classes_`."""
        return [np.exp(log_softmax(logits.astype(np.float64))) for logits in self._logits(X)]

    def _logits(self, X: Any) -> list[np.ndarray]:
        sequences = Sequences.of(X).stepwise()
        found = self.reader.step_logits(sequences)
        # no token was read as one
        return [part[: len(item)] for part, item in zip(found, sequences.items, strict=True)]

    def evaluate(
        self,
        X: Any,
        y: Sequence[Sequence[Any]],
        *,
        beside: Sequence[Baseline] = (),
        metric: str | None = None,
    ) -> Classification:
        """Return how good the tags are, step by step, and where they mark entities those found whole."""
        sequences = Sequences.of(X)
        sequences.check_paired(y)
        found = self.predict_proba(sequences)
        for row, (shares, tags) in enumerate(zip(found, y, strict=True)):
            if isinstance(tags, str) or len(shares) != len(tags):
                got = "one text" if isinstance(tags, str) else f"{len(tags)} tags"
                raise DataError(f"sequence {row}", got=f"{len(shares)} steps, {got}")
        truth = self.labels.encode_apart([tag for tags in y for tag in tags])
        return classification(
            truth,
            np.concatenate(found),
            self.labels.names,
            beside=beside,
            metric=metric,
            tags=[[*map(str, tags)] for tags in y],
        )
