"""Routes for reading on token by token: streams that the server holds, and states that the client keeps."""

from __future__ import annotations

from fastapi import APIRouter, Response
from typing_extensions import TypedDict

from elman.errors import InputError
from elman.inspect.replies import NextTokens
from elman.language.replies import next_tokens
from elman.serve.json_route import JsonRoute
from elman.serve.schema import CreateRequest, FeedRequest, StepRequest
from elman.serve.sealed_state import open_state, seal_state
from elman.serve.served_models import Served

router = APIRouter(tags=["streams"], route_class=JsonRoute)


class StreamReply(TypedDict):
    """A stream by its secret name."""

    id: str
    model: str
    position: int


class FeedReply(NextTokens):
    """The position of the stream, and what comes next."""

    position: int


class StepReply(NextTokens):
    """The state after the input, to be sent with the next call, and what comes next."""

    state: str


@router.post("/v1/streams/{stream}/feed")
async def feed_stream(stream: str, body: FeedRequest, served: Served) -> FeedReply:
    """Read on in a stream, and answer with the predictions after the input."""
    store = served.store_of(stream)
    if body.input is not None and body.tokens is not None:
        raise InputError("input and tokens", got="both", expected="one of them")
    reply = await store.feed(stream, body.tokens or body.input or "", body.k, body.seq)
    return {"position": reply.position, **next_tokens(reply.predictions)}


@router.post("/v1/streams")
async def create_stream(body: CreateRequest, served: Served) -> StreamReply:
    """Create a stream, which may read a text first, and with `adapt` learns from what it reads."""
    _, store = served.language_model(body.model)
    name, reply = await store.create(body.input or "", adapt=body.adapt)
    return {"id": name, "model": body.model, "position": reply.position}


@router.post("/v1/streams/{stream}/fork")
async def fork_stream(stream: str, served: Served) -> StreamReply:
    """Create a stream that continues from where this one is."""
    store = served.store_of(stream)
    name, reply = await store.fork(stream)
    return {"id": name, "model": store.model, "position": reply.position}


@router.delete("/v1/streams/{stream}", status_code=204)
async def delete_stream(stream: str, served: Served) -> Response:
    """Delete a stream."""
    await served.store_of(stream).delete(stream)
    return Response(status_code=204)


@router.post("/v1/step")
async def step(body: StepRequest, served: Served) -> StepReply:
    """Read on from a state that the client keeps, and answer with predictions and the next state."""
    _, store = served.language_model(body.model)
    # The server keeps nothing: any server with this key can answer the next request.
    key = served.settings.state_key
    state = None if body.state is None else open_state(key, body.state)
    reply = await store.step(state, body.input, body.k)
    return {"state": seal_state(key, reply.state or b""), **next_tokens(reply.predictions)}
