"""Route class of the API: validates the JSON body, runs the endpoint and encodes its reply as JSON.

FastAPI's own handler is replaced because it validates a body on the event loop, accepts repeated fields, and
runs endpoints in threads that take no turns (decision record 0018).
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, get_type_hints

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from typing_extensions import TypedDict

from elman.engine.pauses import pause
from elman.errors import ElmanError, InputError
from elman.serve.http_errors import BusyError
from elman.serve.json_body import parse_json
from elman.serve.served_models import ServedModels

log = logging.getLogger("elman.serve")
_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
ITEMS_PER_PIECE = 1_000
"""Items of a list that are encoded in one call, during which no other thread runs."""
LARGE_BODY_BYTES = 2**14
"""A body of at least this size is parsed in a worker thread, so that the event loop stays free."""
INVALID_LARGE_BODY_SECONDS = 0.25
"""Delay before a large invalid body is answered, so that a client that sends many does not slow others."""
ERROR_TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
STATUS_HEADERS = {401: {"WWW-Authenticate": "Bearer"}, 429: {"Retry-After": "1"}}
# What each of pydantic's error types expected, in words.
EXPECTED_TYPES = {
    "string_type": "a string",
    "string_unicode": "a string of whole characters",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "model_type": "a JSON object",
}
# Words for a limit, by its name in the context of pydantic's error.
LIMITS = {
    "gt": "more than",
    "ge": "at least",
    "lt": "less than",
    "le": "at most",
    "max_length": "at most",
    "min_length": "at least",
}


class _Error(TypedDict):
    type: str
    message: str
    code: None


class ErrorReply(TypedDict):
    """An error, described in one line, in the form that OpenAI's clients read."""

    error: _Error


def json_response(
    value: object, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """Return `value` as a JSON response; raise ValueError if it contains a number that is not finite."""
    return Response(_encode_in_pieces(value), status, headers, "application/json")


def _encode_in_pieces(value: object) -> str:
    """Encode `value` piece by piece: json encodes a whole value without letting other threads run."""
    pause()
    if isinstance(value, dict):
        fields = (f"{_encode(str(name))}:{_encode_in_pieces(item)}" for name, item in value.items())
        return "{" + ",".join(fields) + "}"
    # Lists of lists are encoded item by item, so that other threads can run in between.
    if isinstance(value, list) and value and isinstance(value[0], list | dict):
        return "[" + ",".join(map(_encode_in_pieces, value)) + "]"
    if isinstance(value, list) and len(value) > ITEMS_PER_PIECE:
        starts = range(0, len(value), ITEMS_PER_PIECE)
        pieces = (_encode(value[start : start + ITEMS_PER_PIECE])[1:-1] for start in starts)
        return "[" + ",".join(pieces) + "]"
    return _encode(value)


def error_body(status: int, text: str) -> ErrorReply:
    """Return the JSON of an error."""
    kind = ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"type": kind, "message": text, "code": None}}


def error_response(error: Exception) -> Response:
    """Return the response for an exception.

    An unexpected exception is logged under a random number, and the client is told only that number.
    """
    headers: dict[str, str] = {}
    if isinstance(error, ElmanError):
        status, text = getattr(error, "status", 400), str(error)
    elif isinstance(error, HTTPException):
        status, text = error.status_code, str(error.detail)
        headers |= error.headers or {}
    else:
        # The exception's text may contain secrets or paths, so it stays in the log.
        number = secrets.token_hex(4)
        log.error("error %s", number, exc_info=error)
        status, text = 500, f"something went wrong: error {number} in the server's log"
    return json_response(error_body(status, text), status, headers | STATUS_HEADERS.get(status, {}))


def _validate(model: type[BaseModel], content: bytes | Mapping[str, str]) -> BaseModel:
    """Return a JSON body, or a query, as an instance of `model`; raise InputError."""
    try:
        return model.model_validate(parse_json(content) if isinstance(content, bytes) else content)
    except ValidationError as error:
        raise _input_error(model, error) from None


def _input_error(model: type[BaseModel], error: ValidationError) -> InputError:
    """Return the first invalid field of a body as an InputError of one line.

    A field that accepts several types has one fault for each type. The fault of the type that the client
    probably meant is reported: the type whose value alone is wrong, or else the one that was read furthest.
    """
    faults = error.errors(include_url=False)
    # Report the first invalid field alone.
    field, kind = faults[0]["loc"][:1], faults[0]["type"]
    if kind == "extra_forbidden":
        return InputError("no such field", got=field[0], expected=", ".join(model.model_fields))
    if kind == "missing":
        # Validate placeholders instead: their faults say which type each field expects.
        try:
            model.model_validate(dict.fromkeys(model.model_fields, ...))
        except ValidationError as wrong:
            faults = wrong.errors(include_url=False)
    # Several faults of one field belong to the types of a union.
    faults = [fault for fault in faults if fault["loc"][:1] == field]

    def rank(fault: ErrorDetails) -> tuple[bool, list[int]]:
        indices = [item for item in fault["loc"] if isinstance(item, int)]
        return fault["type"] not in EXPECTED_TYPES, indices

    best_rank = max(map(rank, faults))
    best = [fault for fault in faults if rank(fault) == best_rank]
    # pydantic adds the types of a union to the location; they are not names of fields.
    location = [item for item in map(str, best[0]["loc"]) if item.isidentifier() or item.isdigit()]
    return InputError(
        ".".join(location) or "the body",
        got="nothing" if kind == "missing" else _describe_value(best[0]),
        expected=" or ".join(dict.fromkeys(map(_describe_expected, best))),
    )


def _describe_value(fault: ErrorDetails) -> str:
    value = fault["input"]
    if fault["type"].endswith(("too_long", "too_short")):
        return f"{len(value):,} {'characters' if isinstance(value, str) else 'items'}"
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return json.dumps(value[:100] if isinstance(value, str) else value, ensure_ascii=False)


def _describe_expected(fault: ErrorDetails) -> str:
    for name, limit in fault.get("ctx", {}).items():
        if name in LIMITS:
            return f"{LIMITS[name]} {format(limit, 'g' if isinstance(limit, float) else ',')}"
    return EXPECTED_TYPES.get(fault["type"]) or fault["msg"].removeprefix("Input should be ")


class JsonRoute(APIRoute):
    """A route whose body or query is a pydantic model and whose reply is JSON or a ready response.

    As in FastAPI, an ``async def`` endpoint runs on the event loop and a ``def`` endpoint in a thread, where
    its reply is encoded too: a GET in Starlette's threads, a POST in the worker threads of the models.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the function that answers a request to this route."""
        endpoint, hints = self.endpoint, get_type_hints(self.endpoint)
        # The types of the parameters decide what each of them receives, as in FastAPI.
        kinds = {name: kind for name, kind in hints.items() if name != "return"}

        async def handle(request: Request) -> Response:
            served: ServedModels = request.app.state.served
            arguments: dict[str, object] = dict(request.path_params)
            is_get, is_short, is_large = request.method == "GET", False, False

            def answer() -> Response:
                return json_response(endpoint(**arguments))

            try:
                for name, kind in kinds.items():
                    if kind in (Request, ServedModels):
                        arguments[name] = request if kind is Request else served
                    elif issubclass(kind, BaseModel):
                        content = request.query_params if is_get else await request.body()
                        validate = partial(_validate, kind, content)
                        is_large = len(content) >= LARGE_BODY_BYTES
                        body = await served.workers.run(validate) if is_large else validate()
                        arguments[name], is_short = body, getattr(body, "is_short", False)
                # These endpoints only wait; what they compute runs in other threads.
                if iscoroutinefunction(endpoint):
                    reply = await endpoint(**arguments)
                    return reply if isinstance(reply, Response) else json_response(reply)
                if is_get:
                    return await run_in_threadpool(answer)
                return await served.workers.run(answer, is_short=is_short)
            except Exception as error:
                if is_large and not isinstance(error, BusyError):
                    await asyncio.sleep(INVALID_LARGE_BODY_SECONDS)
                return error_response(error)

        return handle
