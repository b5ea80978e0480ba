"""What answers are, for the description of the API: JSON objects, field by field."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from elman.serve.schema import Method

__all__ = [
    "Completed",
    "CompletionChoice",
    "Error",
    "Explained",
    "Generated",
    "Health",
    "Interval",
    "Logprobs",
    "MemoryMeasured",
    "ModelCard",
    "ModelList",
    "Predicted",
    "PredictedOne",
    "Prediction",
    "Replaced",
    "Scored",
    "SeriesForecast",
    "Stepped",
    "StreamCreated",
    "StreamFed",
    "Traced",
    "UnitsFound",
    "UnitsLike",
    "Unrolled",
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
    label: str
    probability: float


class _History(TypedDict):
    time: list[Any]
    value: list[float | None]


class Interval(TypedDict):
    """One interval of a forecast, a number a step."""

    percent: float
    low: list[float | None]
    high: list[float | None]


class SeriesForecast(TypedDict):
    """The next values of a series."""

    id: str
    history: _History
    time: list[Any]
    median: list[float | None]
    mean: list[float | None]
    intervals: list[Interval]


class Replaced(TypedDict):
    """The predictions with another word."""

    predictions: list[Prediction]


class PredictedOne(TypedDict, total=False):
    """The answer for one input, by the model's task.

    ``unknown_probability`` is that of all tokens outside the vocabulary together.
    """

    predictions: list[Prediction]
    unknown: list[str]
    unknown_probability: float
    label: str
    probabilities: list[_Share]
    value: float
    tags: list[str]
    series: list[SeriesForecast]


class Predicted(PredictedOne, total=False):
    """The answer for `input`, or one for each of `inputs`."""

    answers: list[PredictedOne]


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


class _Contribution(TypedDict):
    token: str
    position: int
    contribution: float | None
    absence: float | None
    meaning: str


class Explained(TypedDict):
    """What moved an answer, input by input, and whether the explanation stands its own test.

    A number is null where the network leaves the range of numbers.
    """

    task: str
    target: str
    score: float | None
    score_name: str
    method: Method
    exact: bool
    contributions: list[_Contribution]
    full_bar: float | None
    start_state: float | None
    bias: float | None
    residual: float | None
    gap: float | None
    caption: str
    moved: float | None
    p: float | None
    passed: bool | None
    verdict: str
    steps: int
    note: str
    svg: NotRequired[str]
    forecast: NotRequired[str]


class Unrolled(TypedDict):
    """A text's last words, what comes next, what moved it, and all of it as a picture.

    ``spans`` says where they stand in the text (begin and end, in characters), ``before`` how many words
    stand before these, ``unknown`` which of these it does not know.
    """

    tokens: list[str]
    spans: list[list[int]]
    before: int
    unknown: list[int]
    predictions: list[Prediction]
    unknown_probability: float
    explanation: Explained
    svg: str


class Traced(TypedDict):
    """What the network held and said; states and gates by name: layer, step, unit."""

    task: str
    tokens: list[str]
    begins: list[int]
    layers: list[int]
    units: list[int]
    states: dict[str, list[list[list[float]]]]
    gates: dict[str, list[list[list[float]]]]
    predictions: list[list[Prediction]]
    svg: NotRequired[str]


class MemoryMeasured(TypedDict):
    """How much the predictions owe to what stands further back, lag by lag."""

    unit: str
    lags: list[int]
    change: list[float]
    most: list[float]
    gradient: list[float] | None
    typical: int | None
    horizon: int | None
    rate: float | None
    positions: int
    source: str
    verdict: str
    svg: NotRequired[str]


class _UnitFound(TypedDict):
    property: str
    name: str
    sentence: str
    layer: int
    state: str
    unit: int
    direction: int
    area: float
    baseline: float
    token: float
    share: float
    gain: float
    found: bool


class UnitsFound(TypedDict):
    """The unit that tells each property best; a note where there is none."""

    steps: NotRequired[int]
    units: list[_UnitFound]
    note: str


class _UnitLike(TypedDict):
    layer: int
    state: str
    number: int
    name: str
    likeness: float


class _PlaceLike(TypedDict):
    position: int
    likeness: float
    before: str
    text: str
    after: str


class UnitsLike(TypedDict):
    """The units that stand out most over a phrase, and where else the state is most alike."""

    phrase: str
    occurrences: int
    units: list[_UnitLike]
    places: list[_PlaceLike]
