"""Routes that explain: what moved an answer, what the states hold, what single units stand for."""

from __future__ import annotations

from typing import Any

import numpy as np
from fastapi import FastAPI

from elman._errors import DataError, InputError
from elman.data.labelled import Encoded, Sequences
from elman.data.vocabulary import END
from elman.data.words import UNKNOWN_ID
from elman.explain import draw
from elman.explain.alike import units_like
from elman.explain.forecast import forecast_picture
from elman.explain.influence import replace
from elman.explain.opened import Read
from elman.runtime.sampling import ranked
from elman.serve.answers import clean, numbers_of, predictions_of
from elman.serve.desk import Desk
from elman.serve.replies import (
    Explained,
    MemoryMeasured,
    Replaced,
    Traced,
    UnitsFound,
    UnitsLike,
    Unrolled,
)
from elman.serve.route import told
from elman.serve.schema import Explain, Like, Memory, Replace, Trace, Units, Unroll

__all__ = ["add_routes"]

MOST_NUMBERS = 300_000
"""Of states and gates in one answer."""
MOST_STEPS = 2_000
"""Of a labelled sequence that is explained, which reads it once for each input left out, or traced."""


def _bounded(predictor: Any, what: Any) -> Any:
    """Return what is to be read; raises InputError for a labelled sequence of too many steps."""
    config = predictor.model.config
    if config.task in ("classify", "regress", "tag"):
        given = Sequences.of([what])
        given = given.stepwise() if config.task == "tag" else given
        steps = int(Encoded.of(predictor.model.codec, given).lengths[0])
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
        told["forecast"] = draw.forecast(
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

    svg = draw.unrolled(
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
        "predictions": predictions_of(predictions),
        "unknown_probability": predictions.unknown_probability,
        "explanation": clean(explanation.to_dict()),
        "svg": svg,
    }


def _replace(predictor: Any, body: Replace) -> Replaced:
    found = replace(predictor, body.input, body.position, body.token, body.k)
    return {"predictions": predictions_of(found)}


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
        note = "no property occurs often enough in this text"
    elif not rows:
        note = "no unit tells a property better than an untrained network or the last token alone"
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
        if body.quick:
            return await quick(body.input, told, _explain, predictor, body)
        return await run(told, _explain, predictor, body)

    @app.post("/v1/unroll", tags=["why"], summary="One cell a word, and what moved the prediction")
    async def unroll(body: Unroll) -> Unrolled:
        predictor = desk.language(body.model)[0]
        if body.quick:
            return await quick(body.input, told, _unroll, predictor, body)
        return await run(told, _unroll, predictor, body)

    @app.post("/v1/replace", tags=["why"], summary="The predictions with another word")
    async def replace_(body: Replace) -> Replaced:
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
