"""Request bodies of the API: every field has a type, limits and finite numbers; unknown fields are refused.

Validation of a list stops at its first fault: collecting the faults of a large list would delay others.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from elman.explain.explanation import Method
from elman.language.adaptation import Adapt

MAX_INPUT_LENGTH = 100_000
"""Characters or tokens of one input."""
MAX_INPUT_STEPS = 10_000
"""Words, numbers or rows of one input."""
SHORT_INPUT_LENGTH = 2_000
"""Characters or steps below which a computation may count as short."""


T = TypeVar("T")


def _whole(value: object) -> object:
    """Return 3 for 3.0, also inside a list: JSON has only one kind of number."""
    if isinstance(value, list):
        # A list without floats stays as it is, because checking each item takes long.
        return [_whole(item) for item in value] if float in set(map(type, value)) else value
    return int(value) if isinstance(value, float) and value.is_integer() else value


FastList: TypeAlias = Annotated[list[T], Field(fail_fast=True)]
Steps: TypeAlias = Annotated[FastList[T], Field(max_length=MAX_INPUT_STEPS)]
Whole: TypeAlias = Annotated[int, BeforeValidator(_whole)]
Text: TypeAlias = Annotated[str, Field(max_length=MAX_INPUT_LENGTH)]
Word: TypeAlias = Annotated[str, Field(max_length=20_000)]
Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=200)]
Number: TypeAlias = Annotated[float, Field(ge=-1e300, le=1e300)]
Row: TypeAlias = Annotated[FastList[Number | None], Field(max_length=1_000)]
Token: TypeAlias = Annotated[int, Field(ge=0, lt=2**31)]
Tokens: TypeAlias = Annotated[
    FastList[Token], Field(max_length=MAX_INPUT_LENGTH), BeforeValidator(_whole)
]
K: TypeAlias = Annotated[Whole, Field(ge=1, le=100)]
NewTokens: TypeAlias = Annotated[Whole, Field(ge=1, le=4096)]
UnitCount: TypeAlias = Annotated[Whole, Field(ge=1, le=256)]
Width: TypeAlias = Annotated[Whole, Field(ge=280, le=2000)]
"""Width of a picture in pixels."""
Position: TypeAlias = Annotated[Whole, Field(ge=0, lt=MAX_INPUT_LENGTH)]
Input: TypeAlias = Text | Steps[Word] | Steps[Number | None] | Steps[Row]
"""A text, a list of tokens, one number for each step, or one row of numbers for each step."""


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)

    model: Name
    _may_be_short: ClassVar[bool] = False
    """Whether a short input makes the computation short even if the client does not ask for that."""

    @property
    def is_short(self) -> bool:
        """Whether the computation is short: somebody may be typing and waits for it.

        A forecaster reads its new values one by one, which takes long.
        """
        # Not all requests have these fields; dict(self) holds those that this one has.
        values = {"quick": self._may_be_short, "input": None, "horizon": None} | dict(self)
        value = values["input"]
        is_quick = values["quick"] and values["horizon"] is None
        return is_quick and value is not None and len(value) < SHORT_INPUT_LENGTH


class PredictRequest(_Request):
    """Predict what comes next, or the label, number or tags of a sequence, or of each of several."""

    _may_be_short = True
    input: Input | None = None
    inputs: Annotated[FastList[Input], Field(min_length=1, max_length=1_000)] | None = None
    k: K = 5
    horizon: Annotated[Whole, Field(ge=1, le=10_000)] | None = None
    series: Word | None = None


class GenerateRequest(_Request):
    """Generate text that continues a prompt."""

    prompt: Text = ""
    temperature: Annotated[float, Field(ge=0, le=100)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Annotated[Whole, Field(ge=0, lt=2**63)] | None = None
    n: NewTokens = 200
    top_k: Annotated[Whole, Field(ge=1, le=2**31)] | None = None
    stream: bool = False


class ScoreRequest(_Request):
    """Compute how probable each token of a text is."""

    input: Text | Tokens


class _PictureRequest(_Request):
    svg: bool = False
    width: Width = 720


class ExplainRequest(_PictureRequest):
    """Explain an answer."""

    input: Input | None = None
    target: Word | Position | None = None
    method: Method | None = None
    series: Word | None = None
    of: Position | Literal["words", "characters", "steps", "channels"] | None = None
    """For tags the step to explain; for texts and numbers the units that get a contribution each."""
    unknown: bool = False
    quick: bool = False
    """Whether a first answer is enough, from fewer replacements and without its self-test."""


class TraceRequest(_PictureRequest):
    """Return states, gates and predictions at each step."""

    input: Input | None = None
    units: Annotated[FastList[Position], Field(max_length=4096)] | NewTokens | None = None
    layer: Annotated[Whole, Field(ge=0, lt=1_000)] | None = None
    state: Name = "hidden"


class MemoryRequest(_PictureRequest):
    """Measure how far back the network remembers, in a text or in data that the model holds or generates."""

    input: Text | None = None


class UnitsRequest(_Request):
    """Find the properties of a text that single units indicate."""

    input: Text
    count: UnitCount = 20


class SimilarUnitsRequest(_Request):
    """Find the units that stand out over a phrase."""

    input: Text
    phrase: Annotated[str, Field(min_length=1, max_length=10_000)]
    count: UnitCount = 20


class UnrollRequest(_Request):
    """Draw the network unrolled over a text, with its best predictions and an explanation of one of them."""

    input: Annotated[str, Field(max_length=10_000)]
    target: Word | None = None
    method: Method | None = None
    quick: bool = False
    k: K = 8
    width: Width = 960


class ReplaceRequest(_Request):
    """Predict what comes after a text in which another token replaces one of its tokens."""

    _may_be_short = True
    input: Text
    position: Position
    token: Word
    k: K = 5


class CreateRequest(_Request):
    """Create a stream; with `adapt`, it learns from what it reads."""

    input: Text | Tokens | None = None
    adapt: Adapt | None = None


class FeedRequest(BaseModel):
    """Read on in a stream: a text, or token numbers."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    input: Text | None = None
    tokens: Tokens | None = None
    k: K = 5
    seq: Annotated[Whole, Field(ge=0, lt=2**62)] | None = None


class StepRequest(_Request):
    """Read on from a state that the client keeps."""

    state: Annotated[str, Field(max_length=900_000)] | None = None
    input: Text | Tokens = ""
    k: K = 5


_Stop: TypeAlias = Annotated[str, Field(max_length=1_000)]


class _StreamOptions(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    include_usage: bool = False


class CompletionRequest(BaseModel):
    """Complete a text, as OpenAI's clients ask for it; other fields that do not change it are ignored."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False, frozen=True)

    model: Name
    prompt: (
        Text
        | Tokens
        | Annotated[FastList[Text], Field(max_length=16)]
        | Annotated[FastList[Tokens], Field(max_length=16)]
        | None
    ) = ""
    max_tokens: Annotated[Whole, Field(ge=0, le=4096)] | None = 16
    temperature: Annotated[float, Field(ge=0, le=2)] | None = 1.0
    top_p: Annotated[float, Field(ge=0, le=1)] | None = 1.0
    n: Annotated[Whole, Field(ge=1, le=16)] | None = 1
    stream: bool | None = False
    stream_options: _StreamOptions | None = None
    stop: _Stop | Annotated[FastList[_Stop], Field(max_length=4)] | None = None
    seed: Annotated[Whole, Field(ge=-(2**63), lt=2**63)] | None = None
    logprobs: Annotated[Whole, Field(ge=0, le=5)] | None = None
    echo: bool | None = False
