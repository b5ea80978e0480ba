"""Replies of a language model to the server: the tokens that may come next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from elman.draw.unrolled_network import Unrolled
from elman.errors import InputError
from elman.inspect.replies import (
    NO_DETAILS,
    ModelDetails,
    NextTokens,
    Replies,
    Reply,
    SequenceInput,
)
from elman.language.context import Context
from elman.language.explain import replace
from elman.language.sampling import Predictions, ranked
from elman.text.vocabulary import END
from elman.text.words import UNKNOWN_ID

if TYPE_CHECKING:
    from elman.language.predictor import LanguagePredictor


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
    """Answers of a language model to the server's requests."""

    predictor: LanguagePredictor
    reply_type = TextReply
    answers = "tokens"
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

    def unroll(
        self, text: str, *, target: str | None, method: str | None, quick: bool, k: int, width: int
    ) -> Reply:
        """Return the last tokens of a text, what comes next, why, and a picture of it all."""
        explanation = self.predictor.explain(text, target, method=method, quick=quick)
        network, context = self.predictor.network, Context.of(self.predictor.network, text)
        tokens, states, output = context.tokens, np.empty((0, 1)), network.output(context.start)
        if tokens:
            # outputs [T, 1, H] of the last layer after each token
            outputs, _ = network.forward(context.numbers[:, None], context.start[None])
            states, output = outputs[:, 0], outputs[-1, 0]
        codec = self.predictor.model.codec
        predictions = ranked(codec, network.log_probabilities(output[None])[0], k)
        unknown: list[int] = np.flatnonzero(context.numbers == UNKNOWN_ID).tolist()

        def label(token: str) -> str:
            return "end of line" if token == END and codec.end_id is not None else token

        drawing = Unrolled(
            tokens,
            states,
            [(label(token), probability) for token, probability in predictions],
            explanation.drawn,
            [explanation.meaning(index) for index in range(len(tokens))],
            label(explanation.target),
            failed=explanation.passed is False,
            unknown=unknown,
            before=context.before,
            width=width,
            standalone=False,
        )
        return {
            "tokens": list(tokens),
            "spans": [[*span] for span in context.spans],
            "before": context.before,
            "unknown": unknown,
            **next_tokens(predictions),
            "explanation": explanation.to_dict(),
            "svg": drawing.svg(),
        }

    def replace(self, text: str, position: int, token: str, k: int) -> Reply:
        """Return the `k` most probable next tokens with `token` in place of the one at `position`."""
        return next_tokens(replace(self.predictor, text, position, token, k))
