"""Routes that explain a model: why it gives an answer, what its states contain, what units indicate."""

from __future__ import annotations

from typing import NotRequired

from fastapi import APIRouter
from typing_extensions import TypedDict

from elman.errors import DataError, InputError
from elman.explain.explanation import ExplanationJson
from elman.inspect.memory import MemoryJson
from elman.inspect.replies import NextTokens, Reply, SequenceInput, parse_sequence
from elman.inspect.similar import SimilarPlace, units_like
from elman.inspect.trace import TraceJson
from elman.inspect.units import UnitJson
from elman.serve import schema
from elman.serve.json_route import JsonRoute
from elman.serve.served_models import Served
from elman.tables.json_values import json_value

router = APIRouter(tags=["explain"], route_class=JsonRoute)
MAX_REPLY_NUMBERS = 300_000
"""Largest number of values of states and gates in one answer."""


class ExplainReply(ExplanationJson):
    """The contribution of each input to an answer, and whether the explanation passes its own test.

    ``forecast`` is the picture of a forecast.
    """

    svg: NotRequired[str]
    forecast: NotRequired[str]


class UnrollReply(NextTokens):
    """The last tokens of a text, what comes next, the explanation of one prediction, and a picture of it all.

    ``spans`` gives each token's beginning and end in the text, in characters. ``before`` counts the tokens of
    the text that come before these. ``unknown`` lists the indices of tokens outside the vocabulary.
    """

    tokens: list[str]
    spans: list[list[int]]
    before: int
    unknown: list[int]
    explanation: ExplainReply
    svg: str


class TraceReply(TraceJson):
    """States, gates and predictions at each step; states and gates are nested as layer, step, unit."""

    svg: NotRequired[str]


class MemoryReply(MemoryJson):
    """How much the predictions change when inputs further back than each lag are missing."""

    svg: NotRequired[str]


class UnitsReply(TypedDict):
    """The unit that best indicates each property, and a note if there is none."""

    steps: NotRequired[int]
    units: list[UnitJson]
    note: str


class _SimilarUnit(TypedDict):
    layer: int
    state: str
    number: int
    name: str
    likeness: float


class SimilarUnitsReply(TypedDict):
    """The units that stand out most over a phrase, and the other places where the state is most similar."""

    phrase: str
    occurrences: int
    units: list[_SimilarUnit]
    places: list[SimilarPlace]


@router.post("/v1/explain")
def explain(body: schema.ExplainRequest, served: Served) -> ExplainReply:
    """Explain an answer: the contribution of each input."""
    replies = served.replies(body.model)
    task = replies.predictor.model.config.task
    fields = {"method", "unknown", "of", "quick"}
    options = body.model_dump(include=fields, exclude_defaults=True)
    explained: SequenceInput | None = body.series
    if replies.forecasts:
        if body.input is not None:
            expected = "none: series names the series to explain"
            raise InputError("input", got=f"a model for {task}", expected=expected)
    elif body.series is not None:
        raise InputError("series", got=f"a model for {task}", expected="a model that forecasts")
    elif body.input is None:
        raise InputError("input", got="nothing", expected=f"what a model for {task} reads")
    else:
        explained = parse_sequence(body.input)
        replies.check_length(explained)
    explanation = replies.predictor.explain(explained, body.target, **options)
    reply: ExplainReply = json_value(explanation.to_dict())
    if body.svg:
        reply["svg"] = explanation.to_svg(width=body.width, standalone=False)
        pictures = replies.pictures(explained, explanation, body.target, body.width)
        if "forecast" in pictures:
            reply["forecast"] = pictures["forecast"]
    return reply


@router.post("/v1/unroll", response_model=UnrollReply)
def unroll(body: schema.UnrollRequest, served: Served) -> Reply:
    """Draw the network unrolled over a text, with the explanation of one prediction."""
    options = body.model_dump(exclude={"model", "input"})
    return served.replies(body.model, reads_tokens=True).unroll(body.input, **options)


@router.post("/v1/replace", response_model=NextTokens)
def replace(body: schema.ReplaceRequest, served: Served) -> Reply:
    """Predict what comes after a text in which another token replaces one of its tokens."""
    replies = served.replies(body.model, reads_tokens=True)
    return replies.replace(body.input, body.position, body.token, body.k)


@router.post("/v1/trace")
def trace(body: schema.TraceRequest, served: Served) -> TraceReply:
    """Return states, gates and predictions at each step."""
    replies = served.replies(body.model)
    sequence = None if body.input is None else parse_sequence(body.input)
    if sequence is not None:
        replies.check_length(sequence)
    traced = replies.predictor.trace(sequence)
    # Shapes of states and gates are [L, T, H]: layers, steps, units.
    L, T, H = next(iter(traced.states.values())).shape
    units = min(body.units, H) if isinstance(body.units, int) else body.units
    unit_count = H if units is None else units if isinstance(units, int) else len(units)
    layer_count = L if body.layer is None else 1
    count = layer_count * T * unit_count * len(traced.states | traced.gates)
    if count > MAX_REPLY_NUMBERS:
        expected, remedy = f"at most {MAX_REPLY_NUMBERS:,}", "ask for fewer units, or one layer"
        raise InputError("the numbers of the answer", got=count, expected=expected, remedy=remedy)
    reply: TraceReply = json_value(traced.to_dict(units, body.layer))
    if body.svg:
        layer = -1 if body.layer is None else body.layer
        reply["svg"] = traced.to_svg(
            layer=layer, state=body.state, width=body.width, standalone=False
        )
    return reply


@router.post("/v1/memory")
def memory(body: schema.MemoryRequest, served: Served) -> MemoryReply:
    """Measure how far back the network remembers."""
    replies = served.replies(body.model)
    if body.input is not None and replies.forecasts:
        raise InputError("input", got="a text", expected="none: the known series are measured")
    measured = replies.predictor.memory(body.input)
    reply: MemoryReply = json_value(measured.to_dict())
    if body.svg:
        reply["svg"] = measured.to_svg(width=body.width, standalone=False)
    return reply


@router.post("/v1/units")
def units(body: schema.UnitsRequest, served: Served) -> UnitsReply:
    """Find the properties of a text that single units indicate."""
    predictor = served.replies(body.model, reads_tokens=True).predictor
    try:
        measured = predictor.units(body.input).to_dict(body.count)
    # The text is too short: an empty answer lets the page show everything else.
    except DataError as error:
        return {"units": [], "note": str(error)}
    rows = [row for row in measured["properties"] if row["found"]]
    note = ""
    if not measured["properties"]:
        note = "No property occurs often enough in this text."
    elif not rows:
        note = "No unit indicates a property better than an untrained network or the last token."
    return {"steps": measured["steps"], "units": rows, "note": note}


@router.post("/v1/units/like")
def similar_units(body: schema.SimilarUnitsRequest, served: Served) -> SimilarUnitsReply:
    """Find the units that stand out over a phrase, and similar places in the text."""
    predictor = served.replies(body.model, reads_tokens=True).predictor
    similar = units_like(predictor, body.input, body.phrase, body.count).to_dict()
    # The API calls both values a likeness; for a unit it is in standard deviations.
    for row in similar["units"]:
        row["likeness"] = row.pop("difference")
    reply: SimilarUnitsReply = json_value(similar)
    return reply
