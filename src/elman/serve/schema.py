"""What requests and answers are: every field typed, bounded and finite; nothing else is taken."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

__all__ = [
    "Completed",
    "CompletionBody",
    "CompletionChoice",
    "Create",
    "Error",
    "Explain",
    "Feed",
    "Generate",
    "Generated",
    "Health",
    "Like",
    "Logprobs",
    "Memory",
    "ModelCard",
    "ModelList",
    "Predict",
    "Predicted",
    "Prediction",
    "Replace",
    "Replaced",
    "Score",
    "Scored",
    "SeriesForecast",
    "Step",
    "Stepped",
    "StreamCreated",
    "StreamFed",
    "Trace",
    "Units",
    "Unroll",
]

LONGEST = 100_000
"""Characters or tokens of one input."""

Text: TypeAlias = Annotated[str, Field(max_length=LONGEST)]
Word: TypeAlias = Annotated[str, Field(max_length=20_000)]
Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=200)]
Number: TypeAlias = Annotated[float, Field(ge=-1e300, le=1e300)]
Row: TypeAlias = Annotated[list[Number | None], Field(max_length=1_000)]
Token: TypeAlias = Annotated[int, Field(ge=0, lt=2**31)]
Tokens: TypeAlias = Annotated[list[Token], Field(max_length=LONGEST)]
K: TypeAlias = Annotated[int, Field(ge=1, le=100)]
Count: TypeAlias = Annotated[int, Field(ge=1, le=4096)]
Few: TypeAlias = Annotated[int, Field(ge=1, le=256)]
Seed: TypeAlias = Annotated[int, Field(ge=0, lt=2**63)]
Place: TypeAlias = Annotated[int, Field(ge=0, lt=LONGEST)]
Method: TypeAlias = Literal["decomposition", "integrated gradients", "leave-one-out"]
Input: TypeAlias = (
    Text
    | Annotated[list[Word], Field(max_length=10_000)]
    | Annotated[list[Number | None], Field(max_length=10_000)]
    | Annotated[list[Row], Field(max_length=10_000)]
)
"""A text; tokens; numbers, one a step; rows of numbers, one a step."""


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)

    model: Name


class Predict(_Body):
    """What comes next, or the label, number or tags of a sequence."""

    input: Input | None = None
    k: K = 5
    horizon: Annotated[int, Field(ge=1, le=10_000)] | None = None
    series: Word | None = None


class _Sampling(_Body):
    temperature: Annotated[float, Field(ge=0, le=100)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Seed | None = None


class Generate(_Sampling):
    """Go on writing."""

    prompt: Text = ""
    n: Count = 200
    top_k: Annotated[int, Field(ge=1, le=2**31)] | None = None
    stream: bool = False


class Score(_Body):
    """How probable a text is."""

    input: Text | Tokens


class Explain(_Body):
    """Why a prediction is what it is."""

    input: Input | None = None
    target: Word | Place | None = None
    method: Method | None = None
    series: Word | None = None
    step: Place | None = None
    unknown: bool = False
    svg: bool = False


class Trace(_Body):
    """States, gates and predictions at each step."""

    input: Input | None = None
    units: Annotated[list[Place], Field(max_length=4096)] | Count | None = None
    layer: Annotated[int, Field(ge=0, lt=1_000)] | None = None
    svg: bool = False


class Memory(_Body):
    """How far back the network remembers."""

    input: Text
    svg: bool = False


class Units(_Body):
    """What single units seem to do."""

    input: Text
    count: Few = 20


class Like(_Body):
    """The units that behave as they do over a phrase."""

    input: Text
    phrase: Annotated[str, Field(min_length=1, max_length=10_000)]
    count: Few = 20


class _Replacement(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    position: Place
    token: Word


class Unroll(_Body):
    """One cell a word, the best predictions, and what moved the chosen one."""

    input: Annotated[str, Field(max_length=10_000)]
    target: Word | None = None
    k: K = 8
    replace: _Replacement | None = None


class Replace(_Body):
    """The predictions after a text of which one token is another."""

    input: Text
    position: Place
    token: Word
    k: K = 5


class Create(_Body):
    """A new stream."""

    input: Text | Tokens | None = None


class Feed(BaseModel):
    """What a stream reads next: a text or token numbers."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    input: Text | None = None
    tokens: Tokens | None = None
    k: K = 5
    seq: Annotated[int, Field(ge=0, lt=2**62)] | None = None


class Step(_Body):
    """Read on from a state that the client keeps."""

    state: Annotated[str, Field(max_length=900_000)] | None = None
    input: Text | Tokens = ""
    k: K = 5


_Stop: TypeAlias = Annotated[str, Field(max_length=1_000)]


class _StreamOptions(BaseModel):
    include_usage: bool = False


class CompletionBody(BaseModel):
    """What OpenAI's clients send to complete a text; fields that mean nothing here are ignored."""

    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False, frozen=True)

    model: Name
    prompt: (
        Text
        | Tokens
        | Annotated[list[Text], Field(max_length=16)]
        | Annotated[list[Tokens], Field(max_length=16)]
        | None
    ) = ""
    max_tokens: Annotated[int, Field(ge=0, le=4096)] | None = 16
    temperature: Annotated[float, Field(ge=0, le=2)] | None = 1.0
    top_p: Annotated[float, Field(ge=0, le=1)] | None = 1.0
    n: Annotated[int, Field(ge=1, le=16)] | None = 1
    stream: bool | None = False
    stream_options: _StreamOptions | None = None
    stop: _Stop | Annotated[list[_Stop], Field(max_length=4)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    echo: bool | None = False


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


class _Interval(TypedDict):
    percent: float
    low: list[float]
    high: list[float]


class SeriesForecast(TypedDict):
    """The next values of a series."""

    id: str
    history: _History
    time: list[Any]
    median: list[float]
    intervals: list[_Interval]


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
