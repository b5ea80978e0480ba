"""Time limits of a connection, measured with a clock that only the test advances."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from elman.serve.protocol import (
    HALF_CLOSED_SECONDS,
    MIN_BYTES_PER_SECOND,
    BoundedProtocol,
    bounded_protocol,
)
from elman.serve.settings import Settings


class Timer:
    def __init__(self, at: float, what: Callable[..., Any]) -> None:
        self.at, self.what = at, what

    def cancel(self) -> None:
        self.what = lambda: None


class Loop:
    """An event loop with a clock that the test advances."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[Timer] = []
        self.tasks: list[Any] = []
        self.refused: list[int] = []

    def call_later(self, seconds: float, what: Callable[..., Any]) -> Timer:
        self.timers.append(Timer(self.now + seconds, what))
        return self.timers[-1]

    def go(self, seconds: float) -> None:
        self.now += seconds
        due = [timer for timer in self.timers if timer.at <= self.now]
        self.timers = [timer for timer in self.timers if timer.at > self.now]
        for timer in due:
            timer.what()

    def create_task(self, work: Any) -> Loop:
        self.tasks.append(work)
        return self

    def add_done_callback(self, _: Callable[..., Any]) -> None:
        pass

    def answer(self) -> None:
        """Let the requests be answered."""
        for work in self.tasks:
            with pytest.raises(StopIteration):
                work.send(None)
        self.tasks.clear()


class Transport:
    """A client that takes bytes only when the test says so."""

    def __init__(self) -> None:
        self.sent, self.left = b"", 0
        self.end: str | None = None

    def write(self, data: bytes) -> None:
        self.sent += data

    def close(self) -> None:
        self.end = self.end or "closed"

    def abort(self) -> None:
        self.end = "aborted"

    def is_closing(self) -> bool:
        return self.end is not None

    def can_write_eof(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return self.left

    def get_extra_info(self, _: str) -> None:
        return None

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading


async def well(
    scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]
) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"well"})


@pytest.fixture
def wire() -> Iterator[tuple[BoundedProtocol, Loop, Transport]]:
    """Yield a connection: the protocol, an event loop whose clock the test advances, and the client."""
    loop: Any = Loop()
    client: Any = Transport()
    config = Config(well, timeout_keep_alive=20, lifespan="off", log_config=None)
    config.load()
    kind = bounded_protocol(Settings(), 1, lambda status: loop.refused.append(status))
    protocol = kind(config, ServerState(), {}, loop)
    protocol.connection_made(client)
    yield protocol, loop, client
    for work in loop.tasks:
        work.close()


GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize("sent", [b"", b"GET / HT", GET[:-2], b"POST / HTTP/1.1\r\n"])
def test_a_request_must_arrive_within_its_time(
    wire: tuple[BoundedProtocol, Loop, Transport], sent: bytes
) -> None:
    protocol, loop, client = wire
    for byte in sent:
        protocol.data_received(bytes([byte]))
        loop.go(0.1)
    loop.go(9.9 - loop.now)
    assert client.sent == b""
    loop.go(0.2)
    assert client.sent.startswith(b"HTTP/1.1 408 ")
    assert loop.refused == [408]
    loop.go(1.0)
    assert client.end == "aborted"


@pytest.mark.parametrize("sent", [b"\r\n", b"\n", b"\r\n" * 40])
def test_empty_lines_between_requests_do_not_begin_a_request(
    wire: tuple[BoundedProtocol, Loop, Transport], sent: bytes
) -> None:
    protocol, loop, client = wire
    protocol.data_received(GET)
    loop.answer()
    for _ in range(9):
        protocol.data_received(sent)
        loop.go(1.0)
    assert client.end is None
    loop.go(1.1)
    assert loop.refused == [408]
    loop.go(1.0)
    assert client.end == "aborted"


def test_a_connection_over_the_limit_is_answered_503(
    wire: tuple[BoundedProtocol, Any, Transport],
) -> None:
    protocol, loop, client = wire
    other: Any = Transport()
    second = type(protocol)(protocol.config, ServerState(), {}, loop)
    second.connections = second.server_state.connections = protocol.connections
    second.connection_made(other)
    second.data_received(GET)
    assert other.sent.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nretry-after: 1\r\n" in other.sent
    assert b'"message":"no room for more connections"' in other.sent
    assert loop.refused == [503]
    assert not loop.tasks
    second.connection_lost(None)
    protocol.data_received(GET)
    loop.answer()
    assert client.sent.startswith(b"HTTP/1.1 200 ")


def test_an_idle_connection_has_more_time(wire: tuple[BoundedProtocol, Loop, Transport]) -> None:
    protocol, loop, client = wire
    for _ in range(3):
        protocol.data_received(GET)
        loop.answer()
        assert client.sent.endswith(b"well\r\n0\r\n\r\n")
        loop.go(19.0)  # longer than a request may take, because none has begun
        assert client.end is None
    loop.go(1.0)
    assert client.end == "closed"


def test_a_slow_reader_is_kept_down_to_a_minimum_rate(
    wire: tuple[BoundedProtocol, Loop, Transport],
) -> None:
    protocol, loop, client = wire
    protocol.data_received(GET)
    client.left = 10**6
    protocol.pause_writing()
    for _ in range(5):
        client.left -= 10 * MIN_BYTES_PER_SECOND
        loop.go(10.0)
        assert client.end is None
    client.left -= 10 * MIN_BYTES_PER_SECOND - 1
    loop.go(10.0)
    assert client.end == "aborted"


def test_a_half_closed_connection_is_closed_after_a_while(
    wire: tuple[BoundedProtocol, Loop, Transport],
) -> None:
    """A complete request is answered if that takes only a moment; otherwise the client seems to have gone."""
    protocol, loop, client = wire
    protocol.data_received(GET)
    assert protocol.eof_received() is True
    loop.go(HALF_CLOSED_SECONDS - 0.1)
    assert client.end is None
    loop.go(0.1)
    assert client.end == "closed"


@pytest.mark.parametrize("begun", [False, True])
def test_a_half_closed_connection_gets_its_answer(
    wire: tuple[BoundedProtocol, Loop, Transport], begun: bool
) -> None:
    protocol, loop, client = wire
    protocol.data_received(GET)
    assert protocol.eof_received() is True
    if begun:
        protocol.cycle.response_started = True
        loop.go(HALF_CLOSED_SECONDS)
        assert client.end is None
        protocol.cycle.response_started = False
    loop.answer()
    assert b"connection: close" in client.sent
    assert client.sent.endswith(b"well\r\n0\r\n\r\n")
    assert client.end == "closed"


@pytest.mark.parametrize("sent", [b"", GET[:9], b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n{"])
def test_a_half_closed_connection_without_complete_request_is_closed(
    wire: tuple[BoundedProtocol, Loop, Transport], sent: bytes
) -> None:
    protocol, _, _ = wire
    protocol.data_received(sent)
    assert protocol.eof_received() is False
