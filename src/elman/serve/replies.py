"""What answers are, for the description of the API: JSON objects, field by field."""

from __future__ import annotations

from typing import Any, Literal

from typing_extensions import TypedDict

__all__ = [
    "Completed",
    "CompletionChoice",
    "Error",
    "Generated",
    "Health",
    "Interval",
    "Logprobs",
    "ModelCard",
    "ModelList",
    "Predicted",
    "Prediction",
    "Replaced",
    "Scored",
    "SeriesForecast",
    "Stepped",
    "StreamCreated",
    "StreamFed",
]


class _Fault(TypedDict):
    type: str
    message: str
    code: str | None


class Error(TypedDict):
    """What went wrong, in one line."""

    error: _Fault


class Logprobs(TypedDict):
    """Of each token, its log probability and those of the most probable ones."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class CompletionChoice(TypedDict):
    """One text of a completion, or a part of it."""

    index: int
    text: str
    logprobs: Logprobs | None
    finish_reason: str | None


class _CompletionUsage(TypedDict):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Completed(TypedDict):
    """A completion; with ``stream`` as server-sent events of its parts."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: _CompletionUsage


class Health(TypedDict):
    """Whether the server answers."""

    status: str


class _Panels(TypedDict):
    unrolled: str | None
    memory: str | None
    series: str | None


class ModelCard(TypedDict):
    """A model, what it can be asked, and how it was trained."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    task: str
    cell: str
    activation: str | None
    hidden_size: int
    num_layers: int
    parameters: int
    vocabulary: int | None
    level: str | None
    documents: str | None
    labels: list[Any] | None
    horizon: int | None
    series: list[str] | None
    panels: _Panels
    card: dict[str, Any]


class ModelList(TypedDict):
    """The models that are served."""

    object: Literal["list"]
    data: list[ModelCard]


class Prediction(TypedDict):
    """A token that may come next."""

    token: str
    probability: float


class _Share(TypedDict):
    label: Any
    probability: float


class _History(TypedDict):
    time: list[Any]
    value: list[float | None]


class Interval(TypedDict):
    """One interval of a forecast, a number a step."""

    percent: float
    low: list[float]
    high: list[float]


class SeriesForecast(TypedDict):
    """The next values of a series."""

    id: str
    history: _History
    time: list[Any]
    median: list[float]
    intervals: list[Interval]


class Replaced(TypedDict):
    """The predictions with another word."""

    predictions: list[Prediction]


class Predicted(TypedDict, total=False):
    """The answer by the model's task."""

    predictions: list[Prediction]
    unknown: list[str]
    label: Any
    probabilities: list[_Share]
    value: float
    tags: list[Any]
    series: list[SeriesForecast]


class Generated(TypedDict):
    """New text; with ``stream`` as server-sent events."""

    text: str


class Scored(TypedDict):
    """How probable each token is after all before it, in nats."""

    tokens: list[str]
    log_probabilities: list[float]
    loss: float


class StreamCreated(TypedDict):
    """A stream, by its secret name."""

    id: str
    model: str
    position: int


class StreamFed(TypedDict):
    """Where the stream is, and what comes next."""

    position: int
    predictions: list[Prediction]


class Stepped(TypedDict):
    """The state after the input, to be sent with the next call, and what comes next."""

    state: str
    predictions: list[Prediction]
