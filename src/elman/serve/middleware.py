"""ASGI middleware that decides who may send requests, reads the body up to its limit and adds safe headers.

A page of another site that is open in a browser on this machine can send requests to a local port. Its
requests are refused by their Host header (DNS rebinding) or their Origin header and never reach a route.
"""

from __future__ import annotations

import hmac
import time
from asyncio import CancelledError

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from elman.serve.http_errors import RefusedError
from elman.serve.json_route import error_response
from elman.serve.served_models import ServedModels
from elman.serve.server_metrics import NO_ROUTE
from elman.serve.settings import LOOPBACK_NAMES, Settings, bracketed, is_any

CLIENT_CLOSED_REQUEST = 499
"""Status under which a request is counted whose client left before the answer, as in nginx."""
CORS_REMEDY = "start with --cors ORIGIN to allow the pages of an origin"
CORS_HEADERS = [(b"vary", b"Origin"), (b"access-control-expose-headers", b"Retry-After, ETag")]
PREFLIGHT_HEADERS = {
    "Access-Control-Allow-Methods": "GET, POST, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type",
    "Access-Control-Max-Age": "600",
    # For a page on the public web that may reach a private address (https://wicg.github.io/private-network-access).
    "Access-Control-Allow-Private-Network": "true",
}
SAFE_HEADERS = [
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


def _allowed_hosts(settings: Settings) -> dict[str, tuple[str, ...]]:
    """Return the values of Host that mean this server, with the URL schemes of its own pages."""
    hosts: dict[str, tuple[str, ...]] = {}
    allowed = [name.lower() for name in settings.allow_hosts]
    bound = [] if is_any(settings.host) else [settings.host.lower()]
    # Host contains the port unless it is the default one of the scheme.
    for name in (*LOOPBACK_NAMES, *bound, *allowed):
        # a name given with --allow-host may belong to a proxy that speaks https
        schemes = ("http", "https") if name in allowed else ("http",)
        name = bracketed(name)
        has_port = ":" in name.rpartition("]")[2]
        hosts[name if has_port else f"{name}:{settings.port}"] = schemes
        if not has_port and (len(schemes) > 1 or settings.port == 80):
            hosts[name] = schemes
    return hosts


class SecurityMiddleware:
    """Checks every request before a route sees it, and counts it afterwards."""

    def __init__(self, app: ASGIApp, served: ServedModels) -> None:
        self.app, self.served = app, served
        self.settings, self.metrics = served.settings, served.metrics
        token = self.settings.token
        self._token = None if token is None else token.encode()
        self._hosts = _allowed_hosts(self.settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        # Only the start and the end of the server pass; there are no WebSockets.
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), CLIENT_CLOSED_REQUEST
        headers = Headers(scope=scope)
        cors_headers = self._cors_headers(headers)

        async def send_with_headers(event: Message) -> None:
            nonlocal status
            if event["type"] == "http.response.start":
                status = event["status"]
                # Every answer gets these headers, also one of an error.
                event["headers"] = [*event.get("headers", ()), *SAFE_HEADERS, *cors_headers]
            await send(event)

        self.metrics.at_work.inc()
        try:
            answer: ASGIApp = self.app
            try:
                body = await self._admit(scope, headers, receive)
                receive = _replay(body, receive)
            except RefusedError as error:
                # The rest of the body is dropped unread, within the time that a request may take.
                answer = error_response(error)
            else:
                if scope["method"] == "HEAD":  # the server leaves the body of the answer out
                    scope = {**scope, "method": "GET"}
                elif scope["method"] == "OPTIONS" and cors_headers:
                    answer = Response(status_code=204, headers=PREFLIGHT_HEADERS)
            await answer(scope, receive, send_with_headers)
        # The client left before its request was complete, or while the answer was computed; then the
        # connection has cancelled this task. uvicorn would log either as an error.
        except (ClientDisconnect, CancelledError):
            pass
        finally:
            # The router has put the route into the scope, if it found one.
            self.metrics.at_work.dec()
            route = getattr(scope.get("route"), "path", NO_ROUTE)
            self.metrics.requests.labels(route, str(status)).inc()
            self.metrics.seconds.labels(route).observe(time.perf_counter() - began)

    def _cors_headers(self, headers: Headers) -> list[tuple[bytes, bytes]]:
        """Return the headers that let a page read the answer if `--cors` names its origin, else none."""
        origins = headers.getlist("origin")
        # An Origin that is sent twice could be read differently by different programs, so it is refused.
        if len(origins) != 1 or origins[0] not in self.settings.cors:
            return []
        return [(b"access-control-allow-origin", origins[0].encode()), *CORS_HEADERS]

    async def _admit(self, scope: Scope, headers: Headers, receive: Receive) -> bytes:
        """Return the body of a request that passes all checks; raise RefusedError, ClientDisconnect."""
        # The order matters: a foreign page must not learn from the answer whether a token is right.
        self._check_host(headers)
        if scope["method"] != "OPTIONS":  # browsers send preflight requests without the token
            self._check_token(scope, headers.getlist("authorization"))
        expects = headers.getlist("expect") or ["100-continue"]
        if [value.lower() for value in expects] != ["100-continue"]:
            raise RefusedError(417, "the Expect header", got=expects[0], expected="100-continue")
        length = self._check_type(headers, scope["method"] in ("GET", "HEAD"))
        if length == 0:
            return b""
        # A declared length is checked before any of the body is read; the client may also lie about it.
        chunks, size, limit = [], length or 0, self.settings.max_body
        if size <= limit:
            size = 0
            async for chunk in Request(scope, receive).stream():
                chunks.append(chunk)
                size += len(chunk)
                if size > limit:
                    break
        if size > limit:
            raise RefusedError(413, "the body", got=f"{size} bytes", expected=f"at most {limit}")
        return b"".join(chunks)

    def _check_host(self, headers: Headers) -> None:
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        host = ", ".join(hosts).lower()
        if len(hosts) != 1 or host not in self._hosts:
            remedy = "use 127.0.0.1 and the server's port, or start with --allow-host NAME"
            raise RefusedError(403, "the Host header", got=host, remedy=remedy)
        own = [f"{scheme}://{host}" for scheme in self._hosts[host]]
        is_allowed = not origins or origins[0].lower() in own or self._cors_headers(headers)
        if len(origins) > 1 or not is_allowed:
            got, remedy = ", ".join(origins), CORS_REMEDY
            raise RefusedError(
                403, "the Origin header", got=got, expected="this server's", remedy=remedy
            )

    def _check_token(self, scope: Scope, authorization: list[str]) -> None:
        path = scope["path"]
        # The page itself asks for the token, and its files say nothing about a model.
        if self._token is None or path in ("/", "/healthz") or path.startswith("/page/"):
            return
        value = authorization[0] if len(authorization) == 1 else ""
        scheme, _, token = value.partition(" ")
        # compare_digest takes the same time wherever the first wrong byte is.
        is_valid = hmac.compare_digest(token.strip(" ").encode("latin-1"), self._token)
        if scheme.lower() != "bearer" or not is_valid:
            remedy = "pass it as Authorization: Bearer TOKEN"
            raise RefusedError(401, "the server's token", remedy=remedy)

    def _check_type(self, headers: Headers, is_get: bool) -> int | None:
        """Return the length of the body, or None if it comes in chunks; raise RefusedError."""
        is_chunked = "transfer-encoding" in headers
        length = None if is_chunked else int(headers.get("content-length", 0))
        types = headers.getlist("content-type")
        # A GET without a body may name any type.
        if length == 0 and (is_get or not types):
            return 0
        media_type = types[0].split(";")[0].strip().lower() if len(types) == 1 else ""
        # A browser asks the server before a page of another site may send JSON; it sends other types unasked.
        if media_type != "application/json":
            got = ", ".join(types) or "none"
            raise RefusedError(415, "the Content-Type header", got=got, expected="application/json")
        coding = ",".join(headers.getlist("transfer-encoding") or ["chunked"]).lower().strip()
        if coding != "chunked":
            raise RefusedError(501, "the Transfer-Encoding header", got=coding, expected="chunked")
        codings = headers.getlist("content-encoding")
        if any(coding.strip().lower() != "identity" for coding in codings):
            raise RefusedError(415, "the Content-Encoding header", expected="none")
        return length


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a receive function that gives the whole body first, then whatever `receive` gives."""
    events: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return events.pop() if events else await receive()

    return receive_again
