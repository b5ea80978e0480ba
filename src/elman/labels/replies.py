"""Replies of models that read whole sequences to the server: labels, numbers, or a tag for each step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import TypedDict

from elman.errors import InputError
from elman.inspect.replies import NO_DETAILS, ModelDetails, Replies, Reply, SequenceInput
from elman.labels.batches import EncodedSequences

if TYPE_CHECKING:
    from elman.labels.predictor import (
        ClassifierPredictor,
        LabelPredictor,
        RegressorPredictor,
        TaggerPredictor,
    )


MAX_LISTED_LABELS = 1_000
MAX_EXPLAINED_STEPS = 2_000
"""Steps of a sequence that is explained, which is read once for each input that is left out, or traced."""


class LabelProbability(TypedDict):
    """A label and its probability."""

    label: str
    probability: float


class LabelReply(TypedDict):
    """The most probable label of a sequence, and the probabilities of the best ones."""

    label: str
    probabilities: list[LabelProbability]


class NumberReply(TypedDict):
    """The number predicted for a sequence."""

    value: float


class TagsReply(TypedDict):
    """The tag of each step of a sequence."""

    tags: list[str]


class _SequenceReplies(Replies):
    predictor: LabelPredictor
    panels = frozenset({"series"})

    def details(self) -> ModelDetails:
        """Return the vocabulary of a model that reads tokens, and the labels that it answers with."""
        codec = self.predictor.network.codec
        tokens, labels = codec.tokens, codec.labels
        return {
            **NO_DETAILS,
            "vocabulary": None if tokens is None else len(tokens),
            "level": None if tokens is None else tokens.level,
            "labels": None if labels is None else [*labels.names][:MAX_LISTED_LABELS],
        }

    def check_length(self, value: SequenceInput) -> None:
        """Raise InputError if a sequence has more than `MAX_EXPLAINED_STEPS` steps."""
        network = self.predictor.network
        encoded = EncodedSequences.of(network.codec, network.sequences([value]))
        steps = int(encoded.lengths[0])
        if steps > MAX_EXPLAINED_STEPS:
            expected = f"at most {MAX_EXPLAINED_STEPS:,}"
            raise InputError("input", got=f"{steps:,} steps", expected=expected)


class ClassifierReplies(_SequenceReplies):
    """Answers of a classifier to the server's requests."""

    predictor: ClassifierPredictor
    reply_type = LabelReply
    answers = "label"
    reads = "sequences and labels them"

    def predict(self, inputs: Sequence[SequenceInput], k: int) -> list[Reply]:
        """Return the best label of each sequence, and the probabilities of the `k` best ones."""
        names = self.predictor.labels.names
        replies: list[Reply] = []
        for row in self.predictor.predict_proba(inputs):
            best = np.argsort(-row, kind="stable")[:k].tolist()
            probabilities = [{"label": names[i], "probability": float(row[i])} for i in best]
            replies.append({"label": names[best[0]], "probabilities": probabilities})
        return replies


class RegressorReplies(_SequenceReplies):
    """Answers of a regressor to the server's requests."""

    predictor: RegressorPredictor
    reply_type = NumberReply
    answers = "number"
    reads = "sequences as numbers"

    def predict(self, inputs: Sequence[SequenceInput], k: int) -> list[Reply]:
        """Return the number predicted for each sequence; `k` has no meaning here."""
        del k
        return [{"value": float(value)} for value in self.predictor.predict(inputs)]


class TaggerReplies(_SequenceReplies):
    """Answers of a tagger to the server's requests."""

    predictor: TaggerPredictor
    reply_type = TagsReply
    answers = "tags"
    reads = "sequences and tags their steps"

    def predict(self, inputs: Sequence[SequenceInput], k: int) -> list[Reply]:
        """Return the tags of each sequence; `k` has no meaning here."""
        del k
        return [{"tags": [str(tag) for tag in tags]} for tags in self.predictor.predict(inputs)]
