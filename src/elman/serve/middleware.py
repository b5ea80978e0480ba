"""The door: who may ask, and with what. A pure ASGI layer around all routes.

What a browser on this machine is made to send by another site is refused by its Host (DNS rebinding) and
its Origin, and never reaches a route.
"""

from __future__ import annotations

import hmac
import time

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from elman.errors import message
from elman.serve.json_route import answer_json, refusal
from elman.serve.metrics import OTHER
from elman.serve.service import Desk
from elman.serve.settings import LOOPBACK, Settings, bracketed, is_any

__all__ = ["Guard"]

GONE = 499
"""What is counted for a client that left before its answer, as nginx counts it."""
CORS = "start with --cors ORIGIN to let the pages of an origin ask"
SHARED = [(b"vary", b"Origin"), (b"access-control-expose-headers", b"Retry-After, ETag")]
PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type",
    "Access-Control-Max-Age": "600",
    # https://wicg.github.io/private-network-access: a public page asks a machine at home
    "Access-Control-Allow-Private-Network": "true",
}
SAFE = [
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        b"img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
]


class _RefusedError(Exception):
    def __init__(self, status: int, text: str, *headers: tuple[str, str]) -> None:
        super().__init__(text)
        self.status, self.headers = status, dict(headers)


def _known(settings: Settings) -> dict[str, tuple[str, ...]]:
    """Return the Host headers that are this server's, with the schemes of its own origins."""
    known: dict[str, tuple[str, ...]] = {}
    allowed = [name.lower() for name in settings.allow_hosts]
    bound = [] if is_any(settings.host) else [settings.host.lower()]
    for name in (*LOOPBACK, *bound, *allowed):
        # what is named with --allow-host may stand behind a proxy that speaks https
        schemes = ("http", "https") if name in allowed else ("http",)
        name = bracketed(name)
        ported = ":" in name.rpartition("]")[2]
        known[name if ported else f"{name}:{settings.port}"] = schemes
        if not ported and (len(schemes) > 1 or settings.port == 80):
            known[name] = schemes
    return known


class Guard:
    """Checks of every request before a route sees it; its body is read here, to the limit."""

    def __init__(self, app: ASGIApp, desk: Desk) -> None:
        self.app, self.desk = app, desk
        self.settings, self.metrics = desk.settings, desk.metrics
        settings = desk.settings
        self._token = None if settings.token is None else settings.token.encode()
        self._schemes = _known(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        begun, told = time.perf_counter(), 0
        headers = Headers(scope=scope)
        shared = self._shared(headers)

        async def safe(event: Message) -> None:
            nonlocal told
            if event["type"] == "http.response.start":
                told = event["status"]
                event["headers"] = [*event.get("headers", ()), *SAFE, *shared]
            await send(event)

        self.metrics.at_work.inc()
        try:
            try:
                body = await self._admit(scope, headers, receive)
            except _RefusedError as error:
                # what is left of its body is dropped unread, within the time that a request has
                answer = answer_json(refusal(error.status, str(error)), error.status, error.headers)
                await answer(scope, receive, safe)
                return
            except ClientDisconnect:  # before its request was whole
                return
            if scope["method"] == "HEAD":  # the server leaves the body out
                scope = {**scope, "method": "GET"}
            if shared and scope["method"] == "OPTIONS":
                await Response(status_code=204, headers=PREFLIGHT)(scope, receive, safe)
            else:
                await self.app(scope, _again(body, receive), safe)
        finally:
            self.metrics.at_work.dec()
            route = getattr(scope.get("route"), "path", OTHER)
            self.metrics.requests.labels(route, str(told or GONE)).inc()
            self.metrics.seconds.labels(route).observe(time.perf_counter() - begun)

    def _shared(self, headers: Headers) -> list[tuple[bytes, bytes]]:
        """Return what lets the page of an origin that `--cors` names read the answer."""
        origins = headers.getlist("origin")
        if len(origins) != 1 or origins[0] not in self.settings.cors:
            return []
        return [(b"access-control-allow-origin", origins[0].encode()), *SHARED]

    async def _admit(self, scope: Scope, headers: Headers, receive: Receive) -> bytes:
        """Return the body of a request that may pass; raises _RefusedError, ClientDisconnect."""
        self._check_host(headers)
        if scope["method"] != "OPTIONS":  # a browser asks for leave without the token
            self._check_token(scope, headers.getlist("authorization"))
        expects = headers.getlist("expect") or ["100-continue"]
        if [one.lower() for one in expects] != ["100-continue"]:
            text = message("the Expect header", got=expects[0], expected="100-continue")
            raise _RefusedError(417, text)
        length = self._check_type(headers, scope["method"] in ("GET", "HEAD"))
        if length == 0:
            return b""
        if length is not None and length > self.settings.max_body:
            raise self._too_large(length)
        parts, size = [], 0
        async for part in Request(scope, receive).stream():
            size += len(part)
            if size > self.settings.max_body:
                raise self._too_large(size)
            parts.append(part)
        return b"".join(parts)

    def _check_host(self, headers: Headers) -> None:
        hosts = headers.getlist("host")
        host = ", ".join(hosts).lower()
        schemes = self._schemes.get(host) if len(hosts) == 1 else None
        if schemes is None:
            remedy = "ask by 127.0.0.1 and the server's port, or start with --allow-host NAME"
            raise _RefusedError(403, message("the Host header", got=host, remedy=remedy))
        origins = headers.getlist("origin")
        own = [f"{scheme}://{host}" for scheme in schemes]
        known = not origins or origins[0].lower() in own or self._shared(headers)
        if len(origins) > 1 or not known:
            got, expected = ", ".join(origins), "this server's"
            text = message("the Origin header", got=got, expected=expected, remedy=CORS)
            raise _RefusedError(403, text)

    def _check_token(self, scope: Scope, given: list[str]) -> None:
        if self._token is None:
            return
        path = scope["path"]
        if path in ("/", "/healthz") or path.startswith("/page/"):
            return  # the page asks for the token, and holds nothing of a model
        scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        same = hmac.compare_digest(token.strip(" ").encode("latin-1"), self._token)
        if scheme.lower() != "bearer" or not same:
            remedy = "pass it as Authorization: Bearer TOKEN"
            bearer = ("WWW-Authenticate", "Bearer")
            raise _RefusedError(401, message("the server's token", remedy=remedy), bearer)

    def _check_type(self, headers: Headers, reads_only: bool) -> int | None:
        """Return the declared length of the body, None where it comes in chunks."""
        chunked = "transfer-encoding" in headers
        length = None if chunked else int(headers.get("content-length", 0))
        types = headers.getlist("content-type")
        # what reads nothing may say what it likes of it
        if length == 0 and (reads_only or not types):
            return 0
        kind = types[0].split(";")[0].strip().lower() if len(types) == 1 else ""
        if kind != "application/json":
            got = ", ".join(types) or "none"
            text = message("the Content-Type header", got=got, expected="application/json")
            raise _RefusedError(415, text)
        coding = ",".join(headers.getlist("transfer-encoding") or ["chunked"]).lower()
        if coding.strip() != "chunked":
            text = message("the Transfer-Encoding header", got=coding, expected="chunked")
            raise _RefusedError(501, text)
        if any(one.strip().lower() != "identity" for one in headers.getlist("content-encoding")):
            raise _RefusedError(415, message("the Content-Encoding header", expected="none"))
        return length

    def _too_large(self, size: int) -> _RefusedError:
        expected = f"at most {self.settings.max_body}"
        return _RefusedError(413, message("the body", got=f"{size} bytes", expected=expected))


def _again(body: bytes, receive: Receive) -> Receive:
    """Return what receives the body again, then whatever comes after it."""
    events: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return events.pop() if events else await receive()

    return receive_again
