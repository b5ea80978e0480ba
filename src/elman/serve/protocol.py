"""HTTP/1.1 connections with limits on size and slowness that hold before any application sees a request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from elman.serve.json_route import error_body, json_response
from elman.serve.settings import Settings

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application


MAX_HEAD_BYTES, MAX_HEADER_FIELDS = 16 * 1024, 100
"""Limits of a request's line and headers together."""
MIN_BYTES_PER_SECOND = 1024
"""Rate at which a client must take its answer."""
LINGER_SECONDS = 1.0
"""Time that a refused connection stays open, so that the client can read the answer; its input is dropped."""
HALF_CLOSED_SECONDS = 1.0
"""Time for an answer to a client that has closed its sending side, which looks as if it had left."""
LAST_REQUEST_SECONDS = 0.25
"""Time in which requests are still accepted after the server is told to stop."""
MAX_PIPELINED_REQUESTS = 1_000
"""Requests of one connection that wait behind an unanswered one."""
Field: TypeAlias = tuple[bytes, bytes]
BUSY_TEXT, RETRY_FIELD = "busy: ask again in a second", (b"retry-after", b"1")


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol with limits.

    The answer is 431 if the head exceeds 16 KiB or 100 fields, 408 if a request takes longer than
    `transfer_seconds` to arrive, 429 if `max_requests` are already being answered, and 503 if there are more
    than `max_connections`. A client that does not take its answer is disconnected. When the server stops, it
    still answers requests that have arrived or arrive within `LAST_REQUEST_SECONDS`.
    """

    settings: Settings
    max_connections: int
    count_refused: Callable[[int], object]
    """Called with the status of each answer that no application gave."""

    # State of one connection. These defaults are replaced on the instance.
    _head_bytes = _head_fields = 0
    """Size of the current request's head so far."""
    _unparsed_bytes = 0
    """Bytes received since the parser last completed a head or a request."""
    _in_head = _is_complete = True
    _head_too_large = False
    _drops_body = False
    """Whether the body of the current request is dropped because 429 has been sent."""
    _open_requests = 0
    """Requests whose answers are not complete."""
    _is_refused = False
    _final_answer: tuple[int, bytes] | None = None
    """Status and bytes of the last answer, which is sent after those of earlier requests."""
    _is_stopping = False
    _unsent_bytes = 0
    _deadline: asyncio.TimerHandle | None = None
    _write_check: asyncio.TimerHandle | None = None
    _task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._deadline = self.loop.call_later(self.settings.transfer_seconds, self._on_deadline)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection and cancel the work on its request."""
        if self._task is not None:
            self._task.cancel()
        self._cancel_deadline()
        self._stop_watching()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived, and refuse a head that is too large."""
        # The client may still be sending what was refused; it is dropped.
        if self._is_refused:
            return
        self._unparsed_bytes += len(data)
        super().data_received(data)
        # The parser reports a header field only at its end, so count the bytes of an incomplete field here.
        is_endless = self._in_head and self._unparsed_bytes > 2 * MAX_HEAD_BYTES
        if self._head_too_large or is_endless:
            limits = f"at most {MAX_HEAD_BYTES} bytes, {MAX_HEADER_FIELDS} fields"
            self._refuse(431, f"the headers: expected {limits}")
        elif self._deadline is None:
            # Empty lines between two requests do not begin a request: the keep-alive timer is running.
            is_idle = self._open_requests or self.timeout_keep_alive_task is not None
            if not (self._is_complete and is_idle):
                self._deadline = self.loop.call_later(
                    self.settings.transfer_seconds, self._on_deadline
                )

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the connection open for a while if a complete request is still being answered."""
        if self.cycle is None or self.cycle.response_complete or self.cycle.more_body:
            return False
        self._cancel_deadline()
        # The client cannot send another request, so close after this answer.
        self.cycle.keep_alive = False
        self._deadline = self.loop.call_later(HALF_CLOSED_SECONDS, self._close_if_unanswered)
        return True

    def _close_if_unanswered(self) -> None:
        self._deadline = None
        # Once an answer is being written, the write itself shows whether the client is still there.
        if not self.cycle.response_started:
            self.transport.close()

    def on_message_begin(self) -> None:
        """Reset the counts for a new request."""
        super().on_message_begin()
        self._head_bytes = self._head_fields = 0
        self._in_head, self._is_complete, self._drops_body = True, False, False

    def on_url(self, url: bytes) -> None:
        """Count a piece of the request's target."""
        self._count_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header field; a trailer field after the body is counted and dropped (RFC 9110, 6.5.1)."""
        self._head_fields += 1
        self._count_head(len(name) + len(value) + 4)
        # uvicorn keeps the fields in memory; nothing more is kept once there are too many.
        if self._in_head and not self._head_too_large:
            super().on_header(name, value)

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES or self._head_fields > MAX_HEADER_FIELDS:
            self._head_too_large = True

    def on_headers_complete(self) -> None:
        """Hand the request to the application, or refuse it."""
        self._in_head, self._unparsed_bytes = False, 0
        if self._drops_input():
            return
        host = dict(self.headers).get(b"host", b"").lower()
        # An absolute target must name the same host as the Host header (RFC 9112, 3.2.2).
        is_absolute = not self.url.startswith((b"/", b"*"))
        if is_absolute and not (self.url.lower() + b"/").startswith(b"http://%s/" % host):
            self._refuse(400, "the target names another host than the Host header")
        elif len(self.pipeline) >= MAX_PIPELINED_REQUESTS:
            text = f"a connection may have {MAX_PIPELINED_REQUESTS:,} requests waiting"
            self._refuse(429, text, RETRY_FIELD)
        elif len(self.connections) > self.max_connections:
            self._refuse(503, "no room for more connections", RETRY_FIELD)
        elif len(self.tasks) >= self.settings.max_requests and not self._open_requests:
            self._answer_busy()
        else:
            # Here uvicorn starts the application, or queues the request behind an earlier one.
            super().on_headers_complete()
            self._open_requests += 1
            if self._is_stopping:
                self.cycle.keep_alive = False

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._task = self.loop.create_task(cycle.run_asgi(app))
        self._task.add_done_callback(self.tasks.discard)
        self.tasks.add(self._task)

    def _drops_input(self) -> bool:
        return self._head_too_large or self._is_refused or self._drops_body

    def _answer_busy(self) -> None:
        """Answer 429; keep the connection open if its next request can be told from the rest of this one."""
        self._drops_body = True
        closes = self._is_stopping or not self.parser.should_keep_alive()
        # The client may leave out its body, expects an answer without a body, or does not take its answers.
        is_unclear = self.expect_100_continue or self.parser.get_method() == b"HEAD"
        if closes or is_unclear or self.flow.write_paused:
            self._refuse(429, BUSY_TEXT, RETRY_FIELD)
        else:
            type(self).count_refused(429)
            self.transport.write(_answer(429, BUSY_TEXT, RETRY_FIELD))

    def on_body(self, body: bytes) -> None:
        """Hand a piece of the body to the application."""
        if not self._drops_input():
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Tell the application that the body is complete."""
        self._in_head, self._is_complete, self._unparsed_bytes = True, True, 0
        self._cancel_deadline()
        if not self._drops_input():
            super().on_message_complete()
        elif self._drops_body and not self._is_refused:
            self._next_request()

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _on_deadline(self) -> None:
        self._deadline = None
        if self.flow.read_paused:  # the server itself has stopped reading
            self._deadline = self.loop.call_later(self.settings.transfer_seconds, self._on_deadline)
        elif self._drops_body or self._open_requests:
            self.transport.abort()  # the application that waits for the body sees that the client has gone
        else:
            seconds = f"{self.settings.transfer_seconds:g} seconds"
            self._refuse(408, f"the request: expected complete within {seconds}")

    def send_400_response(self, msg: str) -> None:
        """Refuse input that is not HTTP."""
        self._refuse(400, msg)

    def _refuse(self, status: int, text: str, *fields: Field) -> None:
        """Answer after all earlier requests, then close; the rest of the input is dropped unread."""
        # Only the first fault of a connection is answered.
        if self._is_refused:
            return
        self._is_refused = True
        self._cancel_deadline()
        self._final_answer = status, _answer(status, text, *fields, (b"connection", b"close"))
        cycle = self.cycle
        if self._open_requests and cycle.more_body and not cycle.response_complete:
            # The fault is in this request's own body: tell its application that the client has gone.
            self._open_requests -= 1
            if self.pipeline:
                self.pipeline.popleft()
            else:
                cycle.disconnected = True
                cycle.message_event.set()
                if cycle.response_started:
                    self.transport.abort()
        self._send_final_answer()

    def _send_final_answer(self) -> None:
        if self._final_answer is None or self._open_requests or self.transport.is_closing():
            return
        (status, answer), self._final_answer = self._final_answer, None
        self._unset_keepalive_if_required()
        # Read on and drop what arrives: unread bytes make the system send a reset, which may drop the answer.
        self.flow.resume_reading()
        type(self).count_refused(status)
        self.transport.write(answer)
        if self.transport.can_write_eof():
            with suppress(OSError):  # the client may have gone
                self.transport.write_eof()
        self._deadline = self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    # Writing: disconnect a client that does not take its answer.

    def pause_writing(self) -> None:
        """Stop writing until the client has taken what was written, and watch how fast it does."""
        super().pause_writing()
        self._watch_writing()

    def resume_writing(self) -> None:
        """Continue writing: the client has taken most of what was written."""
        self._stop_watching()
        super().resume_writing()

    def on_response_complete(self) -> None:
        """Continue with the connection's next request."""
        self._open_requests -= 1
        self._next_request()

    def _next_request(self) -> None:
        super().on_response_complete()
        self._send_final_answer()
        if self.transport.get_write_buffer_size():
            self._watch_writing()

    def _watch_writing(self) -> None:
        if self._write_check is None:
            self._unsent_bytes = self.transport.get_write_buffer_size()
            self._write_check = self.loop.call_later(
                self.settings.transfer_seconds, self._check_writing
            )

    def _check_writing(self) -> None:
        # The difference is what the client has taken since the last check.
        unsent, before = self.transport.get_write_buffer_size(), self._unsent_bytes
        self._stop_watching()
        if unsent > before - MIN_BYTES_PER_SECOND * self.settings.transfer_seconds and unsent:
            self.transport.abort()
        elif unsent:
            self._watch_writing()

    def _stop_watching(self) -> None:
        if self._write_check is not None:
            self._write_check.cancel()
            self._write_check = None

    # Stopping

    def shutdown(self) -> None:
        """Answer the requests that have arrived, then close."""
        self._is_stopping = True
        if self._open_requests:
            self.cycle.keep_alive = False
        else:
            self.loop.call_later(LAST_REQUEST_SECONDS, self._close_if_idle)

    def _close_if_idle(self) -> None:
        if self._is_complete and not self._open_requests:
            self.transport.close()


def bounded_protocol(
    settings: Settings, max_connections: int, count_refused: Callable[[int], object]
) -> type[BoundedProtocol]:
    """Return the protocol class with a server's limits; `count_refused` is called as the class describes."""
    members = {
        "settings": settings,
        "max_connections": max_connections,
        "count_refused": staticmethod(count_refused),
    }
    return type("BoundedProtocol", (BoundedProtocol,), members)


@lru_cache(64)
def _answer(status: int, text: str, *fields: Field) -> bytes:
    """Return a complete answer as it is sent over the connection."""
    response = json_response(error_body(status, text), status)
    lines = [b"%s: %s\r\n" % field for field in (*response.raw_headers, *fields)]
    return b"".join([STATUS_LINE[status], *lines, b"\r\n", bytes(response.body)])
