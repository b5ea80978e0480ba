"""Predictors for labelled sequences: classifier, regressor and tagger; `elman.load` returns them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from elman.files.model import Model
from elman.inspect.predictor import InitialWeights, Predictor
from elman.labels.batches import EncodedSequences
from elman.labels.codec import SequenceCodec
from elman.labels.config import SequenceConfig
from elman.labels.confusion import BaselineFigures
from elman.labels.dataset import Sequences, SequenceSource
from elman.labels.examples import LabelledSequences, TargetSource
from elman.labels.label_values import Label, Labels
from elman.labels.metrics import (
    Classification,
    Regression,
    RegressionFigures,
    classification,
    regression,
)
from elman.labels.network import SequenceNetwork, probabilities
from elman.text.words import UNKNOWN_ID

if TYPE_CHECKING:
    from elman.explain.explanation import Explanation
    from elman.inspect.memory import Cuts
    from elman.inspect.states import RecordedStates
    from elman.inspect.trace import Trace
    from elman.labels.stream import SequenceStream


EMBEDDING_DEVIATION = 0.1
"""Standard deviation of embeddings before training."""


class LabelPredictor(Predictor):
    """A trained network for one of the tasks classify, regress and tag."""

    model: Model[SequenceConfig, SequenceCodec]
    initial_weights = InitialWeights(embedding_deviation=EMBEDDING_DEVIATION, zero=("affixes.",))

    def __init__(
        self, model: Model[SequenceConfig, SequenceCodec], storage: str | None = None
    ) -> None:
        super().__init__(model, storage)
        self.network = SequenceNetwork(self.model)

    def __reduce__(self) -> tuple[type[LabelPredictor], tuple[Model]]:
        # pickle only the model; the network is built again when it is loaded
        return type(self), (self.model,)

    def explainer(self) -> Callable[..., Explanation]:
        """Return `explain_labelled`."""
        from elman.labels.explain import explain_labelled

        return explain_labelled

    def record_trace(self, sequence: ArrayLike, k: int) -> Trace:
        """Return the trace of one sequence; raises InputError, DataError."""
        from elman.labels.trace import record_trace

        return record_trace(self.network, sequence, k)

    def record_states(self, source: SequenceSource | None, steps: int) -> RecordedStates:
        """Return the states after the last tokens of texts; raises InputError, DataError."""
        from elman.labels.states import record_states

        return record_states(self.network, source, steps)

    def memory_cuts(self, source: SequenceSource | None, far: int) -> Cuts:
        """Return sequences with their answers, by default plausible ones; raises DataError."""
        from elman.labels.memory import memory_cuts

        return memory_cuts(self.network, source, far)

    def stream(self) -> SequenceStream:
        """Return a stream, which reads a sequence step by step; raises InputError for some networks."""
        from elman.labels.stream import SequenceStream

        return SequenceStream(self.model, self.network)

    @property
    def labels(self) -> Labels:
        """The labels it predicts, in order; raises InputError for a regressor."""
        return self.network.codec.known_labels

    def count_unknown(self, X: SequenceSource) -> tuple[int, int]:
        """Return the number of unknown tokens and of all tokens in `X`; (0, 0) for numbers.

        If most are unknown, the texts differ from those of training in language, encoding or kind.
        """
        if self.network.codec.tokens is None:
            return 0, 0
        encoded = EncodedSequences.of(self.network.codec, Sequences.of(X))
        # [N], the tokens of all texts in a row
        ids = np.concatenate(encoded.token_ids)
        return int((ids == UNKNOWN_ID).sum()), len(ids)

    @property
    def classes_(self) -> np.ndarray:
        """The sorted labels as an array ``[K]``, in the order of the columns of `predict_proba`."""
        return self.labels.array


class _CategoricalPredictor(LabelPredictor):
    """A network whose answers are labels, one for each sequence or for each step."""

    def _all_probabilities(self, data: LabelledSequences) -> np.ndarray:
        """Return the probabilities of all answers in a row ``[N, K]``."""
        raise NotImplementedError

    def _all_answers(self, data: LabelledSequences) -> np.ndarray | None:
        """Return the numbers of all answers in a row ``[N]``; None for the most probable labels."""
        del data
        return None

    def evaluate(
        self,
        X: SequenceSource,
        y: TargetSource,
        *,
        beside: Sequence[BaselineFigures] = (),
        metric: str | None = None,
    ) -> Classification:
        """Measure the predictions for `X` against the true labels or tags `y`; tags also by entity.

        Args:
            X: The sequences.
            y: Their labels, or a list of tags for each. A label not in training counts as a wrong answer.
            beside: Metrics of plain models to compare with, from `measure_label_baselines`.
            metric: Metric of the comparison (default: accuracy, or entity_f1 for tags that mark entities).
        """
        data = LabelledSequences(Sequences.of(X), [*y]).of_task(self.model.config.task)
        return classification(
            self.labels.encode_distinct(data.flat_targets),
            self._all_probabilities(data),
            self.labels.names,
            beside=beside,
            metric=metric,
            tags=data.targets if data.kind.per_step else None,
            numbers=self._all_answers(data),
        )


class ClassifierPredictor(_CategoricalPredictor):
    """A trained classifier of sequences."""

    def predict_proba(self, X: SequenceSource) -> np.ndarray:
        """Return the probability of each label ``[N, K]``, in the order of `classes_`, float64.

        Raises DataError, ShapeError for sequences unlike those of training.
        """
        return probabilities(self.network.logits(Sequences.of(X)))

    def predict(self, X: SequenceSource) -> np.ndarray:
        """Return the most probable label of each sequence ``[N]``."""
        return self.labels.decode(self.predict_proba(X).argmax(axis=1))

    def _all_probabilities(self, data: LabelledSequences) -> np.ndarray:
        return self.predict_proba(data.sequences)


class TaggerPredictor(_CategoricalPredictor):
    """A trained tagger, which predicts one tag for each time step; texts are split at white space."""

    def predict_proba(self, X: SequenceSource) -> list[np.ndarray]:
        """Return the probability of each tag ``[T_i, K]`` at each step, in the order of `classes_`.

        If the tags mark entities, these are the shares of all sequences of tags that have the tag at the step
        (`elman.labels.tag_chain`).
        """
        sequences = Sequences.of(X).stepwise()
        logits = self.network.step_logits(sequences)
        # an empty text was encoded as a single <unk>: drop that row
        steps = zip(logits, sequences.items, strict=True)
        return [probabilities(rows[: len(item)]) for rows, item in steps]

    def predict(self, X: SequenceSource) -> list[list[Label]]:
        """Return the most probable tags of each sequence.

        If the tags mark entities, they are the best sequence of tags as a whole, in which no tag follows one
        that it cannot follow; at a single step another tag may be more probable.
        """
        sequences = Sequences.of(X).stepwise()
        steps = zip(self.network.tags(sequences), sequences.items, strict=True)
        return [self.labels.decode(tags[: len(item)]).tolist() for tags, item in steps]

    def _all_probabilities(self, data: LabelledSequences) -> np.ndarray:
        return np.concatenate(self.predict_proba(data.sequences))

    def _all_answers(self, data: LabelledSequences) -> np.ndarray | None:
        return np.concatenate(self.network.tags(data.sequences.stepwise()))


class RegressorPredictor(LabelPredictor):
    """A trained network that predicts one number for each sequence."""

    def predict(self, X: SequenceSource) -> np.ndarray:
        """Return the number for each sequence, float64 ``[N]``, in the unit of the training targets."""
        return self.network.codec.numbers(self.network.logits(Sequences.of(X)))

    def evaluate(
        self,
        X: SequenceSource,
        y: Sequence[float] | np.ndarray,
        *,
        beside: Sequence[RegressionFigures] = (),
    ) -> Regression:
        """Measure the predictions for `X` against the true numbers `y`, beside other methods."""
        sequences = Sequences.of(X)
        sequences.check_paired(y)
        return regression(self.predict(sequences), np.asarray(y, np.float64), beside)
