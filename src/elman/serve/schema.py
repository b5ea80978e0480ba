"""What requests are: every field typed, bounded and finite; nothing else is taken.

A list stops at its first fault: all faults of a large one would keep everybody waiting.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

__all__ = [
    "CompletionBody",
    "Create",
    "Explain",
    "Feed",
    "Generate",
    "Like",
    "Memory",
    "Predict",
    "Replace",
    "Score",
    "Step",
    "Trace",
    "Units",
    "Unroll",
]

LONGEST = 100_000
"""Characters or tokens of one input."""
MAX_STEPS = 10_000
"""Words, numbers or rows of one input."""


def _whole(value: Any) -> Any:
    """Return 3 for 3.0: JSON knows one kind of number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _wholes(value: Any) -> Any:
    mixed = isinstance(value, list) and float in set(map(type, value))
    return [_whole(one) for one in value] if mixed else value


Whole: TypeAlias = Annotated[int, BeforeValidator(_whole)]
Text: TypeAlias = Annotated[str, Field(max_length=LONGEST)]
Word: TypeAlias = Annotated[str, Field(max_length=20_000)]
Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=200)]
Number: TypeAlias = Annotated[float, Field(ge=-1e300, le=1e300)]
Row: TypeAlias = Annotated[list[Number | None], Field(fail_fast=True, max_length=1_000)]
Token: TypeAlias = Annotated[int, Field(ge=0, lt=2**31)]
Tokens: TypeAlias = Annotated[
    list[Token], Field(fail_fast=True, max_length=LONGEST), BeforeValidator(_wholes)
]
K: TypeAlias = Annotated[Whole, Field(ge=1, le=100)]
Count: TypeAlias = Annotated[Whole, Field(ge=1, le=4096)]
Few: TypeAlias = Annotated[Whole, Field(ge=1, le=256)]
Seed: TypeAlias = Annotated[Whole, Field(ge=0, lt=2**63)]
Width: TypeAlias = Annotated[Whole, Field(ge=280, le=2000)]
"""Of a picture, in its own units: pixels where it is not scaled."""
Place: TypeAlias = Annotated[Whole, Field(ge=0, lt=LONGEST)]
Method: TypeAlias = Literal["replacement", "decomposition", "integrated gradients", "leave-one-out"]
Input: TypeAlias = (
    Text
    | Annotated[list[Word], Field(fail_fast=True, max_length=MAX_STEPS)]
    | Annotated[list[Number | None], Field(fail_fast=True, max_length=MAX_STEPS)]
    | Annotated[list[Row], Field(fail_fast=True, max_length=MAX_STEPS)]
)
"""A text; tokens; numbers, one a step; rows of numbers, one a step."""


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)

    model: Name


class Predict(_Body):
    """What comes next, or the label, number or tags of a sequence, or of each of several."""

    input: Input | None = None
    inputs: Annotated[list[Input], Field(fail_fast=True, min_length=1, max_length=1_000)] | None = (
        None
    )
    k: K = 5
    horizon: Annotated[Whole, Field(ge=1, le=10_000)] | None = None
    series: Word | None = None


class _Sampling(_Body):
    temperature: Annotated[float, Field(ge=0, le=100)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Seed | None = None


class Generate(_Sampling):
    """Go on writing."""

    prompt: Text = ""
    n: Count = 200
    top_k: Annotated[Whole, Field(ge=1, le=2**31)] | None = None
    stream: bool = False


class Score(_Body):
    """How probable a text is."""

    input: Text | Tokens


class _Drawn(_Body):
    svg: bool = False
    width: Width = 720


class Explain(_Drawn):
    """Why a prediction is what it is."""

    input: Input | None = None
    target: Word | Place | None = None
    method: Method | None = None
    series: Word | None = None
    of: Place | Literal["words", "characters", "steps", "channels"] | None = None
    """Of a tagger the step; of texts and of numbers what is told apart."""
    unknown: bool = False
    quick: bool = False
    """Whether a first answer is wanted, from fewer replacements and without its self-test."""


class Trace(_Drawn):
    """States, gates and predictions at each step."""

    input: Input | None = None
    units: Annotated[list[Place], Field(fail_fast=True, max_length=4096)] | Count | None = None
    layer: Annotated[Whole, Field(ge=0, lt=1_000)] | None = None
    state: Name = "hidden"


class Memory(_Drawn):
    """How far back the network remembers: in a text, or in what the model itself draws or knows."""

    input: Text | None = None


class Units(_Body):
    """What single units seem to do."""

    input: Text
    count: Few = 20


class Like(_Body):
    """The units that behave as they do over a phrase."""

    input: Text
    phrase: Annotated[str, Field(min_length=1, max_length=10_000)]
    count: Few = 20


class Unroll(_Body):
    """One cell a word, the best predictions, and what moved the chosen one."""

    input: Annotated[str, Field(max_length=10_000)]
    target: Word | None = None
    method: Method | None = None
    quick: bool = False
    k: K = 8
    width: Width = 960


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
    seq: Annotated[Whole, Field(ge=0, lt=2**62)] | None = None


class Step(_Body):
    """Read on from a state that the client keeps."""

    state: Annotated[str, Field(max_length=900_000)] | None = None
    input: Text | Tokens = ""
    k: K = 5


_Stop: TypeAlias = Annotated[str, Field(max_length=1_000)]


class _StreamOptions(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    include_usage: bool = False


class CompletionBody(BaseModel):
    """What OpenAI's clients send to complete a text; other fields that change no text are ignored."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False, frozen=True)

    model: Name
    prompt: (
        Text
        | Tokens
        | Annotated[list[Text], Field(fail_fast=True, max_length=16)]
        | Annotated[list[Tokens], Field(fail_fast=True, max_length=16)]
        | None
    ) = ""
    max_tokens: Annotated[Whole, Field(ge=0, le=4096)] | None = 16
    temperature: Annotated[float, Field(ge=0, le=2)] | None = 1.0
    top_p: Annotated[float, Field(ge=0, le=1)] | None = 1.0
    n: Annotated[Whole, Field(ge=1, le=16)] | None = 1
    stream: bool | None = False
    stream_options: _StreamOptions | None = None
    stop: _Stop | Annotated[list[_Stop], Field(fail_fast=True, max_length=4)] | None = None
    seed: Annotated[Whole, Field(ge=-(2**63), lt=2**63)] | None = None
    logprobs: Annotated[Whole, Field(ge=0, le=5)] | None = None
    echo: bool | None = False
