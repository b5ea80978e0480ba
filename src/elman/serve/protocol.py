"""The wire: bounds on what a connection may send, and on how slowly, before any application sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import Any, TypeAlias

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from elman.serve.json_route import answer_json, refusal
from elman.serve.settings import Settings

__all__ = ["Protocol", "bounded"]

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
MAX_PIPELINED = 1_000
"""Requests that wait behind another one of their connection."""
Field: TypeAlias = tuple[bytes, bytes]
BUSY, RETRY = "busy: ask again in a second", (b"retry-after", b"1")


class Protocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 with bounds.

    A head over 16 KiB or 100 fields is answered 431, a request that is not whole after `seconds` 408,
    one that comes where `most` are at work 429, before it costs a task, one on a connection too many 503;
    a client that does not take its answer is cut off. When the server stops, requests that have arrived,
    or arrive within a moment, are answered.
    """

    seconds, most, connections_most = 10.0, 4096, 1024
    refused: Callable[[int], object]
    """Told the status of each answer that no application gave."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head = self._fields = self._partial = self._unsent = 0
        # Requests whose answers are not complete.
        self._open = 0
        self._in_head, self._whole = True, True
        self._over, self._refused, self._resumed, self._last = False, False, False, False
        self._unread = self._begun = False
        self._farewell: tuple[int, bytes] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._watched: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._lost = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._deadline = self.loop.call_later(self.seconds, self._late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection, and end the work on its request."""
        self._lost = True
        if self._task is not None:
            self._task.cancel()
        self._in_time()
        if self._watched is not None:
            self._watched.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, and refuse what is too large."""
        if self._refused:
            return
        self._begun, head = False, self._in_head
        super().data_received(data)
        # The parser reports a header field only when it has ended, so bytes of an unfinished head count here.
        still = head and self._in_head and not self._begun
        self._partial = self._partial + len(data) if still else 0
        if self._over or self._partial > 2 * MOST_BYTES:
            self._refuse(
                431, f"the headers: expected at most {MOST_BYTES} bytes, {MOST_FIELDS} fields"
            )
        elif self._deadline is None:
            # line ends between two requests are awaited already, and begin none
            awaited = self._open or self.timeout_keep_alive_task is not None
            if not (self._whole and awaited):
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
        self._in_head, self._begun, self._whole, self._unread = True, True, False, False

    def on_url(self, url: bytes) -> None:
        """Count a part of the request's line."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a field; one that comes behind the body is none of the head's (RFC 9110, 6.5.1)."""
        self._fields += 1
        self._count(len(name) + len(value) + 4)
        if self._in_head and not self._over:
            super().on_header(name, value)

    def _count(self, size: int) -> None:
        self._head += size
        self._over = self._over or self._head > MOST_BYTES or self._fields > MOST_FIELDS

    def on_headers_complete(self) -> None:
        """Hand the request on."""
        self._in_head = False
        if self._passes():
            return
        host = dict(self.headers).get(b"host", b"").lower()
        # RFC 9112, 3.2.2: a whole address names the same host as the Host header
        whole = not self.url.startswith((b"/", b"*"))
        if whole and not (self.url.lower() + b"/").startswith(b"http://%s/" % host):
            self._refuse(400, "the target names another host than the Host header")
        elif len(self.pipeline) >= MAX_PIPELINED:
            self._refuse(429, f"a connection may have {MAX_PIPELINED:,} requests waiting", RETRY)
        elif len(self.connections) > self.connections_most:
            self._refuse(503, "no room for more connections", RETRY)
        elif len(self.tasks) >= self.most and not self._open:
            self._turn_away()
        else:
            super().on_headers_complete()
            self._open += 1
            if self._last:
                self.cycle.keep_alive = False

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        async def while_wanted(*given: Any) -> None:
            try:
                await app(*given)
            except asyncio.CancelledError:
                if not self._lost:
                    raise

        self._task = self.loop.create_task(cycle.run_asgi(while_wanted))
        self._task.add_done_callback(self.tasks.discard)
        self.tasks.add(self._task)

    def _passes(self) -> bool:
        """Return whether what comes now is for nobody."""
        return self._over or self._refused or self._unread

    def _turn_away(self) -> None:
        """Answer 429; the connection stays, where the client's next request can be told from this one."""
        self._unread = True
        leaves = self._last or not self.parser.should_keep_alive()
        # it may not send its body, expects no body, or does not take its answers
        unclear = self.expect_100_continue or self.parser.get_method() == b"HEAD"
        if leaves or unclear or self.flow.write_paused:
            self._refuse(429, BUSY, RETRY)
        else:
            type(self).refused(429)
            self.transport.write(_answer(429, BUSY, RETRY))

    def on_body(self, body: bytes) -> None:
        """Hand a part of the body on."""
        if not self._passes():
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Hand the end of the body on."""
        self._in_head, self._whole = True, True
        self._in_time()
        if not self._passes():
            super().on_message_complete()
        elif self._unread and not self._refused:
            self._go_on()

    def _in_time(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        self._deadline = None
        if self.flow.read_paused:  # it is the server that does not read
            self._deadline = self.loop.call_later(self.seconds, self._late)
        elif self._unread or self._open:
            self.transport.abort()  # who reads the body is told that the client has gone
        else:
            self._refuse(408, f"the request: expected whole within {self.seconds:g} seconds")

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        self._refuse(400, msg)

    def _refuse(self, status: int, text: str, *fields: Field) -> None:
        """Answer after the requests before this one, then close; the rest of the input is dropped unread."""
        if self._refused:
            return
        self._refused = True
        self._in_time()
        self._farewell = status, _answer(status, text, *fields, (b"connection", b"close"))
        cycle = self.cycle
        if self._open and cycle.more_body and not cycle.response_complete:
            # The fault is in the body of this request: its application is told that the client has gone.
            self._open -= 1
            if self.pipeline:
                self.pipeline.popleft()
            else:
                cycle.disconnected = True
                cycle.message_event.set()
                if cycle.response_started:
                    self.transport.abort()
        self._say_farewell()

    def _say_farewell(self) -> None:
        if self._farewell is None or self._open or self.transport.is_closing():
            return
        (status, answer), self._farewell = self._farewell, None
        self._unset_keepalive_if_required()
        self.flow.resume_reading()
        type(self).refused(status)
        self.transport.write(answer)
        if self.transport.can_write_eof():
            with suppress(OSError):  # the client may have gone
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
        self._open -= 1
        self._go_on()

    def _go_on(self) -> None:
        super().on_response_complete()
        self._say_farewell()
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
        if self._open:
            self.cycle.keep_alive = False
        else:
            self.loop.call_later(LAST_SECONDS, self._close_idle)

    def _close_idle(self) -> None:
        if self._whole and not self._open:
            self.transport.close()


def bounded(
    settings: Settings, connections: int, refused: Callable[[int], object]
) -> type[Protocol]:
    """Return the protocol with a server's bounds; `refused` is told the status of what it answers itself."""
    bounds: dict[str, Any] = {"seconds": settings.dribble_seconds, "most": settings.max_requests}
    bounds |= {"connections_most": connections, "refused": staticmethod(refused)}
    return type("Protocol", (Protocol,), bounds)


@lru_cache(64)
def _answer(status: int, text: str, *fields: Field) -> bytes:
    """Return a whole answer, as it goes over the wire."""
    response = answer_json(refusal(status, text), status)
    lines = [b"%s: %s\r\n" % field for field in (*response.raw_headers, *fields)]
    return b"".join([STATUS_LINE[status], *lines, b"\r\n", bytes(response.body)])
