"""The wire: bounds on what a connection may send, and on how slowly, before any application sees it."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from elman.serve.route import answer_json, refusal

__all__ = ["Protocol", "patient_for"]

MOST_BYTES, MOST_FIELDS = 16 * 1024, 100
"""Of a request's line and headers."""
LEAST_RATE = 1024
"""Bytes a second that a client takes of its answer."""
LINGER_SECONDS = 1.0
"""In which what a refused client still sends is dropped unread, so that it can read the answer."""
GONE_SECONDS = 1.0
"""In which a client that sends no more gets its answer: one that has gone looks the same."""
LAST_SECONDS = 0.25
"""In which requests that are on their way when the server stops are still taken."""


class Protocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 with bounds.

    A head over 16 KiB or 100 fields is answered 431, a request that is not whole after `seconds` 408;
    a client that does not take its answer is cut off. When the server stops, requests that have
    arrived, or arrive within a moment, are answered.
    """

    seconds = 10.0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head = self._fields = self._partial = self._unsent = 0
        self._in_head, self._whole = True, True
        self._over, self._refused, self._resumed, self._last = False, False, False, False
        self._deadline: asyncio.TimerHandle | None = None
        self._watched: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._deadline = self.loop.call_later(self.seconds, self._late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._in_time()
        if self._watched is not None:
            self._watched.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, and refuse what is too large."""
        if self._refused:
            return
        head = self._in_head
        super().data_received(data)
        # of a field that has not ended the parser says nothing
        self._partial = self._partial + len(data) if head and self._in_head else 0
        if self._over or self._partial > 2 * MOST_BYTES:
            self._refuse(
                431, f"the headers: expected at most {MOST_BYTES} bytes, {MOST_FIELDS} fields"
            )
        elif not self._whole and self._deadline is None:
            self._deadline = self.loop.call_later(self.seconds, self._late)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer what was asked whole, for a while; then the connection is closed."""
        if self.cycle is None or self.cycle.response_complete or self.cycle.more_body:
            return False
        self._in_time()
        self.cycle.keep_alive = False
        self._deadline = self.loop.call_later(GONE_SECONDS, self._gone)
        return True

    def _gone(self) -> None:
        self._deadline = None
        # who is being written to shows by itself whether it is there
        if not self.cycle.response_started:
            self.transport.close()

    def on_message_begin(self) -> None:
        """Begin to count a request."""
        super().on_message_begin()
        self._head = self._fields = self._partial = 0
        self._in_head, self._whole = True, False

    def on_url(self, url: bytes) -> None:
        """Count a part of the request's line."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a field."""
        self._fields += 1
        self._count(len(name) + len(value) + 4)
        if not self._over:
            super().on_header(name, value)

    def _count(self, size: int) -> None:
        self._head += size
        self._over = self._over or self._head > MOST_BYTES or self._fields > MOST_FIELDS

    def on_headers_complete(self) -> None:
        """Hand the request on."""
        self._in_head = False
        if not self._over:
            super().on_headers_complete()
            if self._last:
                self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Hand a part of the body on."""
        if not self._over:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Hand the end of the body on."""
        self._in_head, self._whole = True, True
        self._in_time()
        if not self._over:
            super().on_message_complete()

    def _in_time(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        self._deadline = None
        if self.flow.read_paused:  # it is the server that does not read
            self._deadline = self.loop.call_later(self.seconds, self._late)
        elif self.cycle is not None and not self.cycle.response_complete:
            self.transport.abort()  # who reads the body is told that the client has gone
        else:
            self._refuse(408, f"the request: expected whole within {self.seconds:g} seconds")

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        self._refuse(400, msg)

    def _refuse(self, status: int, text: str) -> None:
        self._refused = True
        self._in_time()
        self._unset_keepalive_if_required()
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            # a request before this one is being answered
            self.cycle.keep_alive = False
            return
        response = answer_json(refusal(status, text), status)
        fields = [*response.raw_headers, (b"connection", b"close")]
        lines = [b"%s: %s\r\n" % field for field in fields]
        self.transport.write(b"".join([STATUS_LINE[status], *lines, b"\r\n", bytes(response.body)]))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._deadline = self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    # the answer goes out

    def pause_writing(self) -> None:
        """Wait for the client to take what was written."""
        super().pause_writing()
        self._resumed = False
        self._watch()

    def resume_writing(self) -> None:
        """Go on writing."""
        self._resumed = True
        super().resume_writing()

    def on_response_complete(self) -> None:
        """Go on with the next request."""
        super().on_response_complete()
        if self.transport.get_write_buffer_size():
            self._watch()

    def _watch(self) -> None:
        if self._watched is None:
            self._unsent = self.transport.get_write_buffer_size()
            self._watched = self.loop.call_later(self.seconds, self._check)

    def _check(self) -> None:
        self._watched = None
        left = self.transport.get_write_buffer_size()
        if left and left > self._unsent - LEAST_RATE * self.seconds and not self._resumed:
            self.transport.abort()
        elif left:
            self._resumed = False
            self._watch()

    # the server stops

    def shutdown(self) -> None:
        """Answer what has arrived, then close."""
        self._last = True
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False
        else:
            self.loop.call_later(LAST_SECONDS, self._close_idle)

    def _close_idle(self) -> None:
        if self._whole and (self.cycle is None or self.cycle.response_complete):
            self.transport.close()


def patient_for(seconds: float) -> type[Protocol]:
    """Return the protocol that gives clients `seconds` to send a request and to take its answer."""
    return type("Protocol", (Protocol,), {"seconds": seconds})
