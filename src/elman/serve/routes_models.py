"""Routes for the list of models, and for predictions, generated text and scores."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import reduce
from operator import or_
from types import GenericAlias
from typing import Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, RootModel, create_model
from starlette.responses import StreamingResponse
from typing_extensions import TypedDict

from elman.errors import InputError, OptionError
from elman.inspect.replies import Reply, parse_sequence
from elman.language.predictor import LanguagePredictor
from elman.serve.json_route import JsonRoute, error_response
from elman.serve.model_card import ModelCard
from elman.serve.schema import GenerateRequest, PredictRequest, ScoreRequest
from elman.serve.served_models import Served
from elman.serve.threads import WorkerThreads
from elman.tables.json_values import json_value
from elman.tasks import TASKS

router = APIRouter(route_class=JsonRoute)
_EVENT = {"type": "object", "properties": {"data": {"type": "string"}}, "required": ["data"]}
EVENT_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": _EVENT}}}
}
"""OpenAPI description of a route that may answer with server-sent events."""


class ModelList(TypedDict):
    """The models of this server."""

    object: Literal["list"]
    data: list[ModelCard]


class GenerateReply(TypedDict):
    """The generated text; with ``stream`` it comes as server-sent events."""

    text: str


class ScoreReply(TypedDict):
    """The log probability of each token given all tokens before it, in nats, and their mean loss."""

    tokens: list[str]
    log_probabilities: list[float]
    loss: float


def _predict_reply_type() -> type[BaseModel]:
    """Return the type of a prediction's reply: the reply type of any task, or a list for several inputs."""
    single = reduce(or_, [task.replies_type.reply_type for task in TASKS.values()])
    fields: dict[str, Any] = {"answers": (GenericAlias(list, (single,)), ...)}
    several = create_model("PredictReplies", **fields)
    return create_model("PredictReply", __base__=RootModel, root=(single | several, ...))


async def event_stream(values: Iterator[Mapping[str, object]], workers: WorkerThreads) -> Response:
    """Return server-sent events with JSON values, which a worker thread computes until the client leaves.

    An error before the first event is raised, so that it is answered with its status; a later error becomes
    the last event. Raises BusyError if there is no room.
    """

    async def events() -> AsyncIterator[str]:
        with workers.reserve():
            async for batch in workers.batches(values):
                # One write for all events of a batch: a small model yields thousands in a second.
                yield "".join(f"data: {json.dumps(value, allow_nan=False)}\n\n" for value in batch)
            yield "data: [DONE]\n\n"

    async def beginning_with(first: str) -> AsyncIterator[str]:
        yield first
        try:
            async for event in rest:
                yield event
        except Exception as error:
            yield f"data: {bytes(error_response(error).body).decode()}\n\n"

    # Compute the first batch before the response begins: only then may an error still set its status.
    rest = events()
    content = beginning_with(await anext(rest))
    return StreamingResponse(content, 200, {"Cache-Control": "no-store"}, "text/event-stream")


@router.get("/v1/models", tags=["models"])
async def list_models(served: Served) -> ModelList:
    """List the models of this server."""
    return {"object": "list", "data": [*served.cards.values()]}


@router.get("/v1/models/{model}", tags=["models"])
async def get_model(model: str, served: Served) -> ModelCard:
    """Describe one model."""
    served.replies(model)  # raises NotFoundError
    return served.cards[model]


@router.post("/v1/predict", tags=["predict"], response_model=_predict_reply_type())
def predict(body: PredictRequest, served: Served) -> Reply:
    """Predict what comes next, or the label, number or tags of a sequence, by the model's task."""
    replies = served.replies(body.model)
    task = f"a model for {replies.predictor.model.config.task}"
    # A forecaster knows its series; the input holds only their next values.
    if replies.forecasts:
        if body.inputs is not None:
            raise InputError("inputs", got=task, expected="input, or series")
        values = None if body.input is None else parse_sequence(body.input)
        return replies.forecast(values, body.series, body.horizon)
    if (body.input is None) == (body.inputs is None):
        got = "nothing" if body.input is None else "input and inputs"
        raise InputError("input", got=got, expected="one input, or a list of them as inputs")
    if body.horizon is not None or body.series is not None:
        raise OptionError("horizon and series", got=task, expected="a model that forecasts")
    if body.input is not None:
        return replies.predict([parse_sequence(body.input)], body.k)[0]
    inputs = [parse_sequence(item) for item in body.inputs or ()]
    return {"answers": replies.predict(inputs, body.k)}


@router.post(
    "/v1/generate", tags=["predict"], response_model=GenerateReply, responses=EVENT_RESPONSES
)
async def generate(body: GenerateRequest, served: Served) -> Response | GenerateReply:
    """Generate text, as one answer or as server-sent events."""
    predictor, _ = served.language_model(body.model)
    pieces = _generate(predictor, body)
    if body.stream:
        return await event_stream(({"text": piece} for piece in pieces), served.workers)
    return {"text": await served.workers.run(lambda: "".join(pieces))}


def _generate(predictor: LanguagePredictor, body: GenerateRequest) -> Iterator[str]:
    """Yield new text piece by piece; the prompt is read before the first piece."""
    yield from predictor.generate_pieces(**body.model_dump(exclude={"model", "stream"}))


@router.post("/v1/score", tags=["predict"])
def score(body: ScoreRequest, served: Served) -> ScoreReply:
    """Compute how probable each token of a text is."""
    predictor, _ = served.language_model(body.model)
    scored = predictor.score(body.input)
    return {
        "tokens": list(scored.tokens),
        "log_probabilities": json_value(scored.log_probabilities),
        "loss": scored.loss,
    }
