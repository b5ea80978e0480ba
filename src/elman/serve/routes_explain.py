"""Routes that explain: what moved an answer, what the states hold, what single units stand for."""

from __future__ import annotations

from typing import Any, NotRequired

import numpy as np
from fastapi import FastAPI
from typing_extensions import TypedDict

from elman.draw import figures
from elman.errors import DataError, InputError
from elman.inspect.similar import units_like
from elman.labels.batches import EncodedSequences
from elman.labels.dataset import Sequences
from elman.language.explain import replace
from elman.language.recorded import Read
from elman.language.sampling import ranked
from elman.series.explain import forecast_picture
from elman.serve.json_route import told
from elman.serve.replies import Next, Prediction, clean, numbers_of, predictions_of
from elman.serve.schema import Explain, Like, Memory, Method, Replace, Trace, Units, Unroll
from elman.serve.service import Desk
from elman.text.vocabulary import END
from elman.text.words import UNKNOWN_ID

__all__ = [
    "Explained",
    "MemoryMeasured",
    "Traced",
    "UnitsFound",
    "UnitsLike",
    "Unrolled",
    "add_routes",
]

MOST_NUMBERS = 300_000
"""Of states and gates in one answer."""
MOST_STEPS = 2_000
"""Of a labelled sequence that is explained, which reads it once for each input left out, or traced."""


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


class Unrolled(Next):
    """A text's last words, what comes next, what moved it, and all of it as a picture.

    ``spans`` says where they stand in the text (begin and end, in characters), ``before`` how many words
    stand before these, ``unknown`` which of these it does not know.
    """

    tokens: list[str]
    spans: list[list[int]]
    before: int
    unknown: list[int]
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


def _bounded(predictor: Any, what: Any) -> Any:
    """Return what is to be read; raises InputError for a labelled sequence of too many steps."""
    config = predictor.model.config
    if config.task in ("classify", "regress", "tag"):
        given = Sequences.of([what])
        given = given.stepwise() if config.task == "tag" else given
        steps = int(EncodedSequences.of(predictor.model.codec, given).lengths[0])
        if steps > MOST_STEPS:
            raise InputError("input", got=f"{steps:,} steps", expected=f"at most {MOST_STEPS:,}")
    return what


def _explain(predictor: Any, body: Explain) -> Explained:
    task = predictor.model.config.task
    given = {"method": body.method, "unknown": body.unknown or None, "of": body.of}
    given["quick"] = body.quick or None
    options = {name: value for name, value in given.items() if value is not None}
    what: Any = body.series
    if task != "forecast":
        if body.series is not None:
            raise InputError("series", got=f"a model for {task}", expected="forecast")
        if body.input is None:
            raise InputError("input", got="nothing", expected=f"what a model for {task} reads")
        what = _bounded(predictor, numbers_of(body.input))
    elif body.input is not None:
        raise InputError("input", got="numbers", expected="none: series names what is explained")
    found = predictor.explain(what, body.target, **options)
    told: Explained = _with_svg(found, body)
    if task == "forecast" and body.svg:
        picture = forecast_picture(predictor, what, found)
        told["forecast"] = figures.forecast(
            **picture,
            chosen=None if body.target is None else int(body.target),
            width=body.width,
            standalone=False,
        )
    return told


def _with_svg(found: Any, body: Explain | Memory) -> Any:
    told = clean(found.to_dict())
    if body.svg:
        told["svg"] = found.to_svg(width=body.width, standalone=False)
    return told


def _unroll(predictor: Any, body: Unroll) -> Unrolled:
    explanation = predictor.explain(body.input, body.target, method=body.method, quick=body.quick)
    network, read = predictor.network, Read.of(predictor, body.input)
    tokens, states, output = read.tokens, np.empty((0, 1)), network.output(read.start)
    if tokens:
        # what the last layer says after each token
        y, _ = network.forward(read.numbers[:, None], read.start[None])
        states, output = y[:, 0], y[-1, 0]
    rows = network.log_probabilities(output[None])
    codec = network.model.codec
    predictions = ranked(codec, rows[0], body.k)
    unknown: list[int] = np.flatnonzero(read.numbers == UNKNOWN_ID).tolist()

    def named(token: str) -> str:
        return "end of line" if token == END and codec.end_id is not None else token

    svg = figures.unrolled(
        tokens,
        states,
        [(named(token), share) for token, share in predictions],
        explanation.drawn,
        [explanation.meaning(place) for place in range(len(tokens))],
        named(explanation.target),
        failed=explanation.passed is False,
        unknown=unknown,
        before=read.before,
        width=body.width,
        standalone=False,
    )
    return {
        "tokens": list(tokens),
        "spans": [[*span] for span in read.spans],
        "before": read.before,
        "unknown": unknown,
        **predictions_of(predictions),
        "explanation": clean(explanation.to_dict()),
        "svg": svg,
    }


def _replace(predictor: Any, body: Replace) -> Next:
    return predictions_of(replace(predictor, body.input, body.position, body.token, body.k))


def _trace(predictor: Any, body: Trace) -> Traced:
    what = None if body.input is None else _bounded(predictor, numbers_of(body.input))
    found = predictor.trace(what)
    L, T, H = next(iter(found.states.values())).shape
    units = min(body.units, H) if isinstance(body.units, int) else body.units
    chosen = H if units is None else units if isinstance(units, int) else len(units)
    count = (L if body.layer is None else 1) * T * chosen * len(found.states | found.gates)
    if count > MOST_NUMBERS:
        expected, remedy = f"at most {MOST_NUMBERS:,}", "ask for fewer units, or one layer"
        raise InputError("the numbers of the answer", got=count, expected=expected, remedy=remedy)
    told: Traced = clean(found.to_dict(units, body.layer))
    if body.svg:
        layer = -1 if body.layer is None else body.layer
        told["svg"] = found.to_svg(
            layer=layer, state=body.state, width=body.width, standalone=False
        )
    return told


def _memory(predictor: Any, body: Memory) -> MemoryMeasured:
    if body.input is not None and predictor.model.config.task == "forecast":
        raise InputError("input", got="a text", expected="none: the known series are measured")
    told: MemoryMeasured = _with_svg(predictor.memory(body.input), body)
    return told


def _units(predictor: Any, body: Units) -> UnitsFound:
    try:
        told = predictor.units(body.input).to_dict(body.count)
    except DataError as error:  # too short a text: the page shows the rest of what it asked
        return {"units": [], "note": str(error)}
    rows = [row for row in told["properties"] if row["found"]]
    note = ""
    if not told["properties"]:
        note = "No property occurs often enough in this text."
    elif not rows:
        note = "No unit tells a property better than an untrained network or the last token alone."
    return {"steps": told["steps"], "units": clean(rows), "note": note}


def _like(predictor: Any, body: Like) -> UnitsLike:
    told = units_like(predictor, body.input, body.phrase, body.count).to_dict()
    for row in told["units"]:
        row["likeness"] = row.pop("difference")
    found: UnitsLike = clean(told)
    return found


def add_routes(app: FastAPI, desk: Desk) -> None:
    """Add the routes that explain."""
    run, quick = desk.work.run, desk.work.quick

    @app.post("/v1/explain", tags=["why"], summary="What moved an answer")
    async def explain(body: Explain) -> Explained:
        predictor = desk.served(body.model).predictor
        given = body.input if body.quick else None
        return await quick(given, told, _explain, predictor, body)

    @app.post("/v1/unroll", tags=["why"], summary="One cell a word, and what moved the prediction")
    async def unroll(body: Unroll) -> Unrolled:
        predictor = desk.language(body.model)[0]
        given = body.input if body.quick else None
        return await quick(given, told, _unroll, predictor, body)

    @app.post("/v1/replace", tags=["why"], summary="The predictions with another word")
    async def replace_(body: Replace) -> Next:
        return await quick(body.input, told, _replace, desk.language(body.model)[0], body)

    @app.post("/v1/trace", tags=["why"], summary="States, gates and predictions at each step")
    async def trace(body: Trace) -> Traced:
        return await run(told, _trace, desk.served(body.model).predictor, body)

    @app.post("/v1/memory", tags=["why"], summary="How far back the network remembers")
    async def memory(body: Memory) -> MemoryMeasured:
        return await run(told, _memory, desk.served(body.model).predictor, body)

    @app.post("/v1/units", tags=["why"], summary="What single units stand for in a text")
    async def units(body: Units) -> UnitsFound:
        return await run(told, _units, desk.language(body.model)[0], body)

    @app.post("/v1/units/like", tags=["why"], summary="The units that stand out over a phrase")
    async def like(body: Like) -> UnitsLike:
        return await run(told, _like, desk.language(body.model)[0], body)
