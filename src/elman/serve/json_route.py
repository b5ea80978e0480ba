"""How a route takes JSON and gives JSON: checked on the way in, finite on the way out, errors in one line."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Callable, Coroutine, Mapping
from inspect import signature
from typing import Any, TypeVar, cast, get_type_hints

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException

from elman.engine.pauses import pause
from elman.errors import ElmanError, InputError
from elman.serve.json_body import read
from elman.serve.stream_store import BusyError

__all__ = ["Route", "answer_json", "failed", "refusal", "told"]

T = TypeVar("T")

log = logging.getLogger("elman.serve")
JSON = "application/json"
_DUMPS = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
# Items of a list that are written at once.
PIECE = 1_000
# Bytes of a body from which it is read beside the event loop, which others wait for.
LARGE = 2**14
# Seconds until the answer to a large body that is wrong: who sends many of them must not slow down others.
WRONG_SECONDS = 0.25
TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
TYPE_FAULTS = {
    "string_type": "a string",
    "string_unicode": "a string of whole characters",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "model_type": "a JSON object",
}
BOUNDS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
    "string_too_long": ("at most", "max_length"),
    "string_too_short": ("at least", "min_length"),
    "too_long": ("at most", "max_length"),
    "too_short": ("at least", "min_length"),
}


def answer_json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a response of JSON; raises ValueError for a number that is not finite."""
    return Response(_written(value), status, headers, JSON)


def _written(value: Any) -> str:
    """Return JSON, written in pieces: Python writes a whole value while no other thread runs."""
    pause()
    if isinstance(value, dict):
        fields = (f"{_DUMPS(str(name))}:{_written(part)}" for name, part in value.items())
        return "{" + ",".join(fields) + "}"
    if isinstance(value, list) and value and isinstance(value[0], list | dict):
        return "[" + ",".join(map(_written, value)) + "]"
    if isinstance(value, list) and len(value) > PIECE:
        pieces = (_DUMPS(value[at : at + PIECE])[1:-1] for at in range(0, len(value), PIECE))
        return "[" + ",".join(pieces) + "]"
    return _DUMPS(value)


def told(question: Callable[..., T], *arguments: Any) -> T:
    """Return what `question` returns as a response of JSON, which a thread has then made as well."""
    return cast(T, answer_json(question(*arguments)))


def refusal(status: int, text: str) -> dict[str, Any]:
    """Return the JSON of an error, as OpenAI's clients read it."""
    kind = TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"type": kind, "message": text, "code": None}}


def failed(error: Exception) -> Response:
    """Return the response for an exception; one that nobody expected is logged, and told by its number."""
    headers = {}
    if isinstance(error, ElmanError):
        status, text = getattr(error, "status", 400), str(error)
    elif isinstance(error, HTTPException):
        status, text = error.status_code, str(error.detail)
        headers = dict(error.headers or {})
    else:
        number = secrets.token_hex(4)
        log.error("error %s", number, exc_info=error)
        status, text = 500, f"something went wrong: error {number} in the server's log"
    if status == 429:
        headers["Retry-After"] = "1"
    return answer_json(refusal(status, text), status, headers)


def _read(body: type[BaseModel], content: bytes | Mapping[str, str]) -> BaseModel:
    """Return a request's body, or its query, as its model; raises InputError."""
    try:
        return body.model_validate(read(content) if isinstance(content, bytes) else content)
    except ValidationError as error:
        raise _invalid(body, error) from None


def _invalid(body: type[BaseModel], error: ValidationError) -> InputError:
    """Return what is wrong with the first wrong field of a body.

    What may be of several types has a fault of each: told is that of the type meant, which is the one whose
    value alone is wrong, else the one that was read furthest.
    """
    faults = error.errors(include_url=False)
    field, kind = faults[0]["loc"][:1], faults[0]["type"]
    if kind == "extra_forbidden":
        return InputError("no such field", got=field[0], expected=", ".join(body.model_fields))
    if kind == "missing":
        try:
            body.model_validate(dict.fromkeys(body.model_fields, ...))
        except ValidationError as wrong:  # which says what each field is to be
            faults = wrong.errors(include_url=False)
    faults = [one for one in faults if one["loc"][:1] == field]
    ranks = [
        (one["type"] not in TYPE_FAULTS, [part for part in one["loc"] if isinstance(part, int)])
        for one in faults
    ]
    chosen = [one for one, rank in zip(faults, ranks, strict=True) if rank == max(ranks)]
    # what pydantic calls the types of a union by is no name
    names = [one for one in map(str, chosen[0]["loc"]) if one.isidentifier() or one.isdigit()]
    return InputError(
        ".".join(names) or "the body",
        got="nothing" if kind == "missing" else _got(chosen[0]),
        expected=" or ".join(dict.fromkeys(map(_expected, chosen))),
    )


def _got(fault: ErrorDetails) -> str:
    value = fault["input"]
    if fault["type"].endswith(("too_long", "too_short")):
        return f"{len(value):,} {'characters' if isinstance(value, str) else 'items'}"
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return json.dumps(value[:100] if isinstance(value, str) else value, ensure_ascii=False)


def _expected(fault: ErrorDetails) -> str:
    kind = fault["type"]
    if kind not in BOUNDS:
        return TYPE_FAULTS.get(kind) or fault["msg"].removeprefix("Input should be ")
    words, name = BOUNDS[kind]
    bound = fault["ctx"][name]
    return f"{words} {format(bound, 'g' if isinstance(bound, float) else ',')}"


class Route(APIRoute):
    """A route whose one body, where it has one, is a model, and whose answer is JSON or a response."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request of this route."""
        ask = self.endpoint
        hints = get_type_hints(ask)
        bodies = [
            (name, hints[name])
            for name in signature(ask).parameters
            if isinstance(hints[name], type) and issubclass(hints[name], BaseModel)
        ]
        takes_request = hints.get("request") is Request

        async def handle(request: Request) -> Response:
            large = False
            try:
                given: dict[str, Any] = dict(request.path_params)
                for name, body in bodies:
                    asks = request.method == "GET"
                    content = request.query_params if asks else await request.body()
                    if large := len(content) >= LARGE:
                        # in turns with the questions that take long
                        given[name] = await request.app.state.work.run(_read, body, content)
                    else:
                        given[name] = _read(body, content)
                if takes_request:
                    given["request"] = request
                found = await ask(**given)
                return found if isinstance(found, Response) else answer_json(found)
            except Exception as error:
                if large and not isinstance(error, BusyError):
                    await asyncio.sleep(WRONG_SECONDS)
                return failed(error)

        return handle
