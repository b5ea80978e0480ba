"""Replies of a language model to the server: the tokens that may come next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from typing_extensions import TypedDict

from elman.errors import InputError
from elman.inspect.replies import NO_DETAILS, ModelDetails, Replies, Reply, SequenceInput
from elman.language.sampling import Predictions

if TYPE_CHECKING:
    from elman.language.predictor import LanguagePredictor


class TokenPrediction(TypedDict):
    """A token that may come next."""

    token: str
    probability: float


class NextTokens(TypedDict):
    """The tokens that may come next, best first.

    ``unknown_probability`` is the probability of all tokens outside the vocabulary together.
    ``mostly_unknown`` says so in words if that is most of the probability, and is empty otherwise.
    """

    predictions: list[TokenPrediction]
    unknown_probability: float
    mostly_unknown: str


class TextReply(NextTokens):
    """The tokens that may come next, and the words of the text that are not in the vocabulary."""

    unknown: list[str]


def next_tokens(predictions: Predictions) -> NextTokens:
    """Return predictions as JSON."""
    return {
        "predictions": [{"token": token, "probability": share} for token, share in predictions],
        "unknown_probability": predictions.unknown_probability,
        "mostly_unknown": predictions.note,
    }


class LanguageReplies(Replies):
    """What a language model answers to the server's requests."""

    predictor: LanguagePredictor
    reply_type = TextReply
    reads = "text"
    panels = frozenset({"unrolled", "memory"})
    reads_tokens = True

    def details(self) -> ModelDetails:
        """Return the size of the vocabulary, its level and how documents end."""
        codec = self.predictor.model.codec
        return {
            **NO_DETAILS,
            "vocabulary": len(codec),
            "level": codec.level,
            "documents": codec.documents,
        }

    def predict(self, inputs: Sequence[SequenceInput], k: int) -> list[Reply]:
        """Return the `k` most probable next tokens after each text; raise InputError for other inputs."""
        replies: list[Reply] = []
        for text in inputs:
            if not isinstance(text, str):
                raise InputError("input", got="a list", expected="text")
            best = next_tokens(self.predictor.predict_next(text, k))
            replies.append({**best, "unknown": [*self.predictor.unknown_tokens(text)]})
        return replies
