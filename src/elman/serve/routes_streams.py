"""Routes that read on: streams that the server holds, and states that the client keeps."""

from __future__ import annotations

from fastapi import FastAPI, Response
from typing_extensions import TypedDict

from elman.errors import InputError
from elman.serve.replies import Next, predictions_of
from elman.serve.schema import Create, Feed, Step
from elman.serve.sealed_state import open_state, seal_state
from elman.serve.service import Desk

__all__ = ["Stepped", "StreamCreated", "StreamFed", "add_routes"]


class StreamCreated(TypedDict):
    """A stream, by its secret name."""

    id: str
    model: str
    position: int


class StreamFed(Next):
    """Where the stream is, and what comes next."""

    position: int


class Stepped(Next):
    """The state after the input, to be sent with the next call, and what comes next."""

    state: str


def add_routes(app: FastAPI, desk: Desk) -> None:
    """Add the routes of streams and of single steps."""

    @app.post("/v1/streams/{stream}/feed", tags=["streams"], summary="Read on in a stream")
    async def feed(stream: str, body: Feed) -> StreamFed:
        streams = desk.streams_of(stream)
        if body.input is not None and body.tokens is not None:
            raise InputError("input and tokens", got="both", expected="one of them")
        readable = body.tokens or body.input or ""
        answer = await streams.feed(stream, readable, body.k, body.seq)
        return {"position": answer.position, **predictions_of(answer.predictions)}

    @app.post("/v1/streams", tags=["streams"], summary="Begin a stream")
    async def create(body: Create) -> StreamCreated:
        _, streams = desk.language(body.model)
        name, answer = await streams.create(body.input or "")
        return {"id": name, "model": body.model, "position": answer.position}

    @app.post("/v1/streams/{stream}/fork", tags=["streams"], summary="Make one of two")
    async def fork(stream: str) -> StreamCreated:
        streams = desk.streams_of(stream)
        name, answer = await streams.fork(stream)
        return {"id": name, "model": streams.model, "position": answer.position}

    @app.delete(
        "/v1/streams/{stream}", tags=["streams"], summary="Forget a stream", status_code=204
    )
    async def delete(stream: str) -> Response:
        await desk.streams_of(stream).delete(stream)
        return Response(status_code=204)

    @app.post("/v1/step", tags=["streams"], summary="Read on from a state that you keep")
    async def step(body: Step) -> Stepped:
        _, streams = desk.language(body.model)
        key = desk.settings.state_key
        state = None if body.state is None else open_state(key, body.state)
        answer = await streams.step(state, body.input, body.k)
        sealed = seal_state(key, answer.state or b"")
        return {"state": sealed, **predictions_of(answer.predictions)}
