"""Routes that ask a model: predict, generate, score, and all that explains."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any, Literal, TypeVar

from fastapi import FastAPI
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send
from typing_extensions import TypedDict

from elman.language.stream import token_numbers
from elman.serve.completion import blocks
from elman.serve.json_route import failed, told
from elman.serve.replies import ModelCard, Predicted, plain, predict
from elman.serve.schema import Generate, Predict, Score
from elman.serve.service import Desk
from elman.serve.threads import Work

__all__ = ["EVENTS", "Events", "Generated", "ModelList", "Scored", "add_routes"]


T = TypeVar("T")
_EVENT = {"type": "object", "properties": {"data": {"type": "string"}}, "required": ["data"]}
EVENTS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": _EVENT}}}
}
"""How a route says that it may answer with events."""


class ModelList(TypedDict):
    """The models that are served."""

    object: Literal["list"]
    data: list[ModelCard]


class Generated(TypedDict):
    """New text; with ``stream`` as server-sent events."""

    text: str


class Scored(TypedDict):
    """How probable each token is after all before it, in nats."""

    tokens: list[str]
    log_probabilities: list[float]
    loss: float


class Events(StreamingResponse):
    """Events as they are made; it counts as work until the last one, or until its reader has gone.

    A fault before the first event is the answer, with its status; a later one is the last event.
    """

    def __init__(
        self, made: Iterator[T], work: Work, values: Callable[[list[T]], Iterable[Any]]
    ) -> None:
        """Send `values` of the pieces that are `made` in the threads of `work`."""

        async def events() -> AsyncIterator[str]:
            async for pieces in work.pieces(made):
                for value in values(pieces):
                    yield f"data: {json.dumps(value, allow_nan=False)}\n\n"
            yield "data: [DONE]\n\n"

        self._events, self._work = events(), work
        super().__init__(
            self._events, media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events; raises BusyError before the first where there is no room."""
        with self._work.place():
            try:
                first = await anext(self._events)
            except Exception as error:
                await failed(error)(scope, receive, send)
                return
            self.body_iterator = self._from(first)
            await super().__call__(scope, receive, send)

    async def _from(self, first: str) -> AsyncIterator[str]:
        yield first
        try:
            async for one in self._events:
                yield one
        except Exception as error:
            yield f"data: {bytes(failed(error).body).decode()}\n\n"


def _written(predictor: Any, prompt: str, **how: Any) -> Iterator[str]:
    """Yield new text piece by piece, and none while the prompt is read."""
    stream, codec = predictor.stream(), predictor.model.codec
    for block in blocks(codec, token_numbers(codec, prompt)):
        stream.feed(block)
        yield ""
    yield from stream.generate_pieces(**how)


def _score(predictor: Any, body: Score) -> Scored:
    found = predictor.score(body.input)
    return {
        "tokens": list(found.tokens),
        "log_probabilities": plain(found.log_probabilities),
        "loss": found.loss,
    }


def add_routes(app: FastAPI, desk: Desk) -> None:
    """Add the routes that ask a model."""
    run = desk.work.run

    @app.get("/v1/models", tags=["models"], summary="The models that are served")
    async def models() -> ModelList:
        return {"object": "list", "data": [served.card for served in desk.models.values()]}

    @app.get("/v1/models/{model}", tags=["models"], summary="One model")
    async def model_card(model: str) -> ModelCard:
        return desk.served(model).card

    @app.post("/v1/predict", tags=["ask"], summary="The answer by the model's task")
    async def predict_(body: Predict) -> Predicted:
        # a forecast's input is new values, each of which is read by itself
        given = body.input if body.horizon is None else None
        return await desk.work.quick(given, told, predict, desk.served(body.model).predictor, body)

    @app.post(
        "/v1/generate",
        tags=["ask"],
        summary="New text, whole or as events",
        response_model=Generated,
        responses=EVENTS,
    )
    async def generate(body: Generate) -> Any:
        predictor, _ = desk.language(body.model)
        how = body.model_dump(include={"n", "temperature", "top_k", "top_p", "seed"})
        made = _written(predictor, body.prompt, **how)
        if not body.stream:
            return {"text": "".join(await desk.work.whole(made))}
        return Events(made, desk.work, lambda made: [{"text": "".join(made)}] if any(made) else [])

    @app.post("/v1/score", tags=["ask"], summary="How probable a text is")
    async def score(body: Score) -> Scored:
        predictor, _ = desk.language(body.model)
        return await run(told, _score, predictor, body)
