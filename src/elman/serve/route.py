"""How a route takes JSON and gives JSON: checked on the way in, finite on the way out, errors in one line."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable, Coroutine
from inspect import signature
from typing import Any, TypeVar, cast, get_type_hints

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from elman._errors import ElmanError, message
from elman.serve.batcher import StaleError
from elman.serve.streams import BusyError, NotFoundError

__all__ = ["Route", "answer_json", "failed", "refusal", "told"]

T = TypeVar("T")

log = logging.getLogger("elman.serve")
JSON = "application/json"
# Of a body that are told apart; only fields that nobody asked for can be more, and each takes its time.
MOST_FAULTS = 100
TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
STATUS: dict[type[Exception], int] = {
    NotFoundError: 404,
    BusyError: 429,
    StaleError: 409,
}


def answer_json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a response of JSON; raises ValueError for a number that is not finite."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return Response(text, status, headers, JSON)


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
        status = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 400)
        text = str(error)
    elif isinstance(error, ValidationError):
        status, text = 400, _invalid(error)
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


def _invalid(error: ValidationError) -> str:
    if error.error_count() > MOST_FAULTS:
        return message("the body", got=f"{error.error_count():,} faults", expected="none")
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(map(str, first["loc"])) or "the body"
    got = None if first["type"] in ("missing", "json_invalid") else first["input"]
    expected = str(first["msg"]).removeprefix("Input should be ")
    return message(where, got=got, expected=expected)


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
            try:
                given: dict[str, Any] = dict(request.path_params)
                for name, body in bodies:
                    given[name] = body.model_validate_json(await request.body())
                if takes_request:
                    given["request"] = request
                found = await ask(**given)
                return found if isinstance(found, Response) else answer_json(found)
            except Exception as error:
                return failed(error)

        return handle
