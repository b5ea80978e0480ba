"""Base class through which the server asks a model of any task: what it reads, and its answers as JSON.

A task's ``replies.py`` holds its subclass, so that the server itself knows no task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict

from elman.errors import InputError
from elman.explain.explanation import Explanation
from elman.inspect.predictor import Predictor
from elman.inspect.trace import PredictionRow

JsonInput: TypeAlias = str | list[str] | list[float | None] | list[list[float | None]]
"""An input as a request holds it."""
SequenceInput: TypeAlias = str | list[str] | NDArray[np.float64]
"""An input as a predictor reads it: a text, tokens, or numbers ``[T]`` or ``[T, C]`` with NaN for null."""
Reply: TypeAlias = Mapping[str, object]
"""A reply as JSON, of the task's own type."""


class NextTokens(TypedDict):
    """The tokens that may come next, best first.

    ``unknown_probability`` is the probability of all tokens outside the vocabulary together.
    ``mostly_unknown`` says so in words if that is most of the probability, and is empty otherwise.
    """

    predictions: list[PredictionRow]
    unknown_probability: float
    mostly_unknown: str


class ModelDetails(TypedDict):
    """Properties that only models of some tasks have; null for the others."""

    vocabulary: int | None
    level: str | None
    documents: str | None
    labels: list[Any] | None
    horizon: int | None
    series: list[str] | None


NO_DETAILS = ModelDetails(
    vocabulary=None, level=None, documents=None, labels=None, horizon=None, series=None
)


class Replies:
    """Answers of a model to the server's requests."""

    reply_type: ClassVar[type]
    """TypedDict of the reply to one prediction, for the description of the API."""
    reads: ClassVar[str]
    """Words that end the sentence "this model reads …"."""
    answers: ClassVar[str]
    """Kind of the model's answers: "tokens", "label", "number", "tags" or "forecast"."""
    panels: ClassVar[frozenset[str]]
    """The panels of the page that can show the model: "unrolled", "memory", "series"."""
    reads_tokens: ClassVar[bool] = False
    """Whether the model reads text token by token, and so can stream, generate and score."""
    forecasts: ClassVar[bool] = False
    """Whether the model forecasts series. Its requests name a known series; other requests hold the input."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor

    def details(self) -> ModelDetails:
        """Return the properties that not every task has."""
        return NO_DETAILS

    def predict(self, inputs: Sequence[SequenceInput], k: int) -> list[Reply]:
        """Return a reply for each input, with the `k` best answers where there are several."""
        raise NotImplementedError

    def forecast(
        self, values: SequenceInput | None, series: str | None, horizon: int | None
    ) -> Reply:
        """Return the forecast of a known series, or of all; `values` are new values of the series."""
        raise NotImplementedError

    def unroll(
        self, text: str, *, target: str | None, method: str | None, quick: bool, k: int, width: int
    ) -> Reply:
        """Return a picture of the network unrolled over a text, with what it shows."""
        raise NotImplementedError

    def replace(self, text: str, position: int, token: str, k: int) -> Reply:
        """Return the `k` most probable next tokens with `token` in place of the one at `position`."""
        raise NotImplementedError

    def check_length(self, value: SequenceInput) -> None:
        """Raise InputError if an input is too long to explain or trace."""

    def pictures(
        self,
        explained: SequenceInput | None,
        explanation: Explanation,
        target: str | int | None,
        width: int,
    ) -> dict[str, str]:
        """Return further pictures that belong to an explanation, as SVG by the name of their field."""
        del explained, explanation, target, width
        return {}


def parse_sequence(value: JsonInput) -> SequenceInput:
    """Return an input of a request as a predictor reads it; raise InputError.

    >>> parse_sequence([[1.0, None]])
    array([[ 1., nan]])
    """
    if isinstance(value, str):
        return value
    # pydantic has checked that all items have the type of the first.
    if value and isinstance(value[0], str):
        return [str(token) for token in value]
    try:
        return np.array(value, np.float64)
    except ValueError:
        got, expected = "rows of different lengths", "rows of one length"
        raise InputError("input", got=got, expected=expected) from None
