"""Limits of the HTTP protocol: large heads, slow requests, clients that do not read."""

from __future__ import annotations

import contextlib
import json
import re
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from elman.serve.protocol import MAX_PIPELINED_REQUESTS
from servers import Server

SECONDS = 1.0
"""The server's `transfer_seconds` in these tests; the default is ten times as long."""
TRIES = 600
"""Each a tenth of a second: far more than a busy machine needs."""


@pytest.fixture(scope="module")
def server(start: Any, model_file: Path) -> Iterator[Server]:
    settings = {"transfer_seconds": SECONDS, "keep_alive_seconds": 2.0, "max_body": 4 << 20}
    with start(model_file, **settings) as server:
        yield server


@pytest.fixture(scope="module")
def wire_server(start: Any, model_file: Path) -> Iterator[Server]:
    """A server with long time limits, so that no answer comes from a time limit."""
    with start(model_file, transfer_seconds=60.0) as server:
        yield server


class Line:
    """One connection."""

    def __init__(self, server: Server) -> None:
        self.socket = socket.create_connection((server.host, server.port), timeout=20)
        self.host = f"Host: {server.host}:{server.port}\r\n".encode()
        self.file = self.socket.makefile("rb")

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.socket.close()

    def send(self, *parts: bytes) -> None:
        self.socket.sendall(b"".join(parts))

    def get(self, *fields: bytes, path: bytes = b"/healthz") -> None:
        self.send(b"GET ", path, b" HTTP/1.1\r\n", self.host, *fields, b"\r\n")

    def answer(self) -> tuple[int, dict[bytes, bytes], bytes]:
        """Return status, headers and body of one answer."""
        first = self.file.readline()
        assert first, "the connection was closed without an answer"
        headers = {}
        while line := self.file.readline().strip():
            name, _, value = line.partition(b":")
            headers[name.lower()] = value.strip()
        body = self.file.read(int(headers.get(b"content-length", 0)))
        return int(first.split()[1]), headers, body

    def closed(self) -> bytes:
        """Wait until the server closes the connection; return what came before."""
        try:
            return self.file.read()
        except ConnectionResetError:
            return b""


def field(name: bytes, size: int) -> bytes:
    return b"%s: %s\r\n" % (name, b"x" * size)


def test_a_head_over_the_limits_is_answered_431(server: Server) -> None:
    fits = [field(b"x-%d" % n, 100) for n in range(98)]
    for fields, status in (
        (fits, 200),
        ([*fits, *fits[:2]], 431),
        ([field(b"x", 15_000)], 200),
        ([field(b"x", 17_000)], 431),
        ([field(b"x" * 17_000, 1)], 431),
        ([field(b"x", 8_500)] * 2, 431),
        ([field(b"x", 1_000_000)], 431),
    ):
        with Line(server) as line:
            line.get(*fields)
            received, headers, body = line.answer()
            assert received == status
            if status == 431:
                assert json.loads(body)["error"]["message"].startswith("the headers: ")
                assert headers[b"connection"] == b"close"
                assert line.closed() == b""
    with Line(server) as line:
        line.get(path=b"/" + b"a" * 17_000)
        assert line.answer()[0] == 431


def test_an_endless_header_field_is_answered_431(server: Server) -> None:
    with Line(server) as line:
        line.send(b"GET / HTTP/1.1\r\n", line.host, b"x: ")
        try:
            for _ in range(200):
                line.send(b"x" * 4096)
        except OSError:
            pass  # the server closed the connection while we wrote
        else:
            assert line.answer()[0] == 431


def test_a_valid_request_before_an_invalid_one_is_answered(server: Server) -> None:
    with Line(server) as line:
        line.send(
            *(b"GET /healthz HTTP/1.1\r\n", line.host, b"\r\n"),
            *(b"GET / HTTP/1.1\r\n", line.host, field(b"x", 20_000), b"\r\n"),
        )
        assert line.answer()[0] == 200
        line.closed()


def test_invalid_http_is_refused(server: Server) -> None:
    for words in (
        b"\x16\x03\x01\x00\xa5\x01\x00",
        b"hello\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad\r\n\r\n",
    ):
        with Line(server) as line:
            line.send(words)
            assert line.answer()[0] == 400
            line.closed()
    with Line(server) as line:
        line.send(
            b"POST /v1/score HTTP/1.1\r\n",
            line.host,
            b"Content-Length: 4\r\nContent-Length: 9\r\n\r\n{}",
        )
        assert line.answer()[0] == 400


POST = b"POST /v1/predict HTTP/1.1\r\n"
JSON = b"Content-Type: application/json\r\n"
PREDICT = b'{"model":"letters","input":"a"}'
SIZE = b"%x" % len(PREDICT)
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


@pytest.mark.slow
@pytest.mark.parametrize("size", [40_000, 300_000])
def test_a_long_invalid_input_is_refused_once(start: Any, model_file: Path, size: int) -> None:
    with start(model_file) as server:
        with Line(server) as line:
            line.send(b"A" * size)
            assert line.answer()[0] == 400
            line.closed()
        server.stop()
        assert server.process.stderr.read() == ""


@pytest.mark.parametrize(
    "chunks",
    [
        b"-" + SIZE + b"\r\n" + PREDICT + b"\r\n" + END,
        b"0x" + SIZE + b"\r\n" + PREDICT + b"\r\n" + END,
        b"zz\r\n" + PREDICT + b"\r\n" + END,
        SIZE + b" \r\n" + PREDICT + b"\r\n" + END,
        b"f" * 18 + b"\r\n" + PREDICT + b"\r\n" + END,
        SIZE + b"\n" + PREDICT + b"\n0\n\n",
        SIZE + b"\r\n" + PREDICT + END,
        b"5\r\n" + PREDICT + b"\r\n" + END,
    ],
    ids=["minus", "0x", "zz", "space", "overflow", "bare LF", "no CRLF", "wrong length"],
)
@pytest.mark.parametrize("before", [0, 2])
def test_a_malformed_chunk_is_refused_at_once(
    wire_server: Server, chunks: bytes, before: int
) -> None:
    """Earlier requests of the connection are answered first."""
    with Line(wire_server) as line:
        for _ in range(before):
            line.get()
        line.send(POST, line.host, JSON, CHUNKED, chunks)
        assert [line.answer()[0] for _ in range(before)] == [200] * before
        status, headers, body = line.answer()
        assert (status, headers[b"connection"]) == (400, b"close")
        assert json.loads(body)["error"]["message"] == "Invalid HTTP request received."
        assert line.closed() == b""


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        (b"Transfer-Encoding: xchunked\r\n", 400, "Invalid HTTP request"),
        (b"Transfer-Encoding: chunked, gzip\r\n", 400, "Invalid HTTP request"),
        (b"Transfer-Encoding: gzip, chunked\r\n", 501, "got gzip, chunked; expected chunked"),
        (b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", 501, "got gzip,chunked"),
        (b"Expect: 200-ok\r\nTransfer-Encoding: chunked\r\n", 417, "expected 100-continue"),
    ],
)
def test_an_unknown_coding_or_expectation_is_refused_at_once(
    wire_server: Server, fields: bytes, status: int, words: str
) -> None:
    with Line(wire_server) as line:
        line.send(POST, line.host, JSON, fields, b"\r\n", SIZE, b"\r\n", PREDICT, b"\r\n", END)
        received, headers, body = line.answer()
        assert received == status
        assert words in json.loads(body)["error"]["message"]
        if headers.get(b"connection") != b"close":
            line.get()
            assert line.answer()[0] == 200


def test_an_absolute_target_must_name_this_server(wire_server: Server) -> None:
    host = f"{wire_server.host}:{wire_server.port}"
    for target, status in (
        (f"http://{host}/healthz", 200),
        (f"HTTP://{host}/healthz", 200),
        ("http://evil.example/healthz", 400),
        (f"http://evil.example@{host}/healthz", 400),
        (f"http://{host}.evil.example/healthz", 400),
        (f"http://{host}@evil.example/healthz", 400),
        (f"https://{host}/healthz", 400),
        ("healthz", 400),
    ):
        with Line(wire_server) as line:
            line.send(f"GET {target} HTTP/1.1\r\n".encode(), line.host, b"\r\n")
            assert line.answer()[0] == status, target


@pytest.mark.parametrize("count", [900, 5000])
def test_pipelined_requests_over_the_limit_are_answered_429(
    wire_server: Server, count: int
) -> None:
    with Line(wire_server) as line:
        line.send(b"".join([b"GET /healthz HTTP/1.1\r\n", line.host, b"\r\n"]) * count)
        for _ in range(min(count, MAX_PIPELINED_REQUESTS)):
            assert line.answer()[2] == b'{"status":"ok"}'
        if count > MAX_PIPELINED_REQUESTS:
            while (received := line.answer())[0] == 200:
                pass
            assert (received[0], received[1][b"connection"], received[1][b"retry-after"]) == (
                429,
                b"close",
                b"1",
            )
            assert line.closed() == b""
        else:
            line.get()
            assert line.answer()[0] == 200


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    with Line(server) as line:
        for path in (b"/healthz", b"/nothing", b"/healthz"):
            line.get(path=path)
        assert [line.answer()[0] for _ in range(3)] == [200, 404, 200]


def test_an_upgrade_is_ignored(server: Server) -> None:
    with Line(server) as line:
        line.get(b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n")
        assert line.answer()[0] == 200


@pytest.mark.parametrize("part", ["nothing", "a line", "a head", "a body"])
def test_a_slow_sender_is_disconnected(server: Server, part: str) -> None:
    with Line(server) as line:
        head = [b"POST /v1/score HTTP/1.1\r\n", line.host, b"Content-Type: application/json\r\n"]
        sent = {
            "nothing": [],
            "a line": [b"GET /hea"],
            "a head": head,
            "a body": [*head, b"Content-Length: 1000\r\n\r\n{"],
        }[part]
        line.send(*sent)
        line.socket.settimeout(0.1)
        data = None
        for _ in range(TRIES):
            try:
                data = line.socket.recv(4096)
            except TimeoutError:
                if part != "nothing":
                    line.send(b"x")
            except (ConnectionResetError, BrokenPipeError):
                data = b""
            if data is not None:
                break
        assert data is not None, "the server waits for ever"
        assert data == b"" or b" 408 " in data.splitlines()[0]


def test_slow_senders_do_not_delay_others(server: Server) -> None:
    lines = [Line(server) for _ in range(100)]
    try:
        for line in lines:
            line.send(b"GET / HT")
        with Line(server) as line:
            for _ in range(20):
                line.get()
                assert line.answer()[0] == 200
        for line in lines:
            line.closed()
    finally:
        for line in lines:
            line.__exit__()


def test_an_idle_connection_is_closed_after_a_while(server: Server) -> None:
    with Line(server) as line:
        line.get()
        assert line.answer()[0] == 200
        assert line.closed() == b""
    with Line(server) as line:
        line.get()
        assert line.answer()[0] == 200
        line.send(b"\r\n")  # an empty line, not a request
        assert b" 408 " in line.closed()


def test_a_client_that_does_not_read_is_disconnected(server: Server) -> None:
    """The server does not compute its answers for ever."""
    body = b'{"model":"letters","input":"%s"}' % (b"a" * 99_000)
    times = 16  # more than the system's buffers hold
    with Line(server) as line:
        line.send(b"POST /v1/score HTTP/1.1\r\n", line.host, b"Content-Type: application/json\r\n")
        line.send(b"Content-Length: %d\r\n\r\n" % len(body), body)
        whole = len(line.answer()[2])
    with Line(server) as line:
        for _ in range(times):
            line.send(
                b"POST /v1/score HTTP/1.1\r\n", line.host, b"Content-Type: application/json\r\n"
            )
            line.send(b"Content-Length: %d\r\n\r\n" % len(body), body)
        gone = select.poll()
        gone.register(line.socket, 0)
        for _ in range(TRIES):
            # an empty line is no request, but shows whether the connection is open
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                line.send(b"\r\n")
            if gone.poll(100):
                break
        else:
            pytest.fail("the server waits for ever")
        assert len(line.closed()) < (times - 1) * whole


def test_a_client_that_closes_its_sending_side_gets_its_answer(server: Server) -> None:
    """The client closes its half of the connection and still reads the answer."""
    with Line(server) as line:
        body = b'{"model":"letters","input":"%s"}' % (b"abc" * 1000)
        line.send(
            b"POST /v1/streams HTTP/1.1\r\n", line.host, b"Content-Type: application/json\r\n"
        )
        line.send(b"Content-Length: %d\r\n\r\n" % len(body), body)
        line.get()
        line.socket.shutdown(socket.SHUT_WR)
        status, _, body = line.answer()
        assert (status, json.loads(body)["position"]) == (200, 3000)
        assert line.answer()[0] == 200
        assert line.closed() == b""
    with Line(server) as line:
        line.send(b"POST /v1/score HTTP/1.1\r\n", line.host, b"Content-Type: application/json\r\n")
        line.send(b"Content-Length: 9\r\n\r\n{")
        line.socket.shutdown(socket.SHUT_WR)
        assert line.closed() == b""


def test_a_long_body_in_the_same_write_does_not_count_as_head(wire_server: Server) -> None:
    body = b'{"model":"letters","input":"%s"}' % (b"a" * 90_000)
    with Line(wire_server) as line:
        for _ in range(3):
            line.send(POST, line.host, JSON, b"Content-Length: %d\r\n\r\n" % len(body), body[:9])
            time.sleep(0.05)
            line.send(body[9:])
            status, headers, _ = line.answer()
            assert (status, headers.get(b"connection")) == (200, None)


def counted(server: Server, route: str, status: int) -> int:
    with Line(server) as line:
        line.get(path=b"/metrics")
        received = line.answer()[2].decode()
    pattern = rf'elman_requests_total{{route="{route}",status="{status}"}} (\d+)'
    return int(match[1]) if (match := re.search(pattern, received)) else 0


@pytest.mark.parametrize("more", [b"", b',"stream":true'])
def test_work_is_cancelled_when_the_client_leaves(wire_server: Server, more: bytes) -> None:
    """The request is counted with status 499, long before it could have been answered."""
    body = b'{"model":"letters","prompt":"%s","n":4096%s}' % (b"a" * 90_000, more)
    before = counted(wire_server, "/v1/generate", 499)
    with Line(wire_server) as line:
        line.send(POST.replace(b"predict", b"generate"), line.host, JSON)
        line.send(b"Content-Length: %d\r\n\r\n" % len(body), body)
        time.sleep(0.02)
        # closed with a reset, as when the client's process ends
        line.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    for _ in range(TRIES):
        if counted(wire_server, "/v1/generate", 499) > before:
            break
        time.sleep(0.1)
    else:
        pytest.fail("the work goes on")


def test_a_trailer_field_is_dropped(server: Server) -> None:
    body = b'{"model":"letters","input":"a"}'
    with Line(server) as line:
        line.send(
            b"POST /v1/predict HTTP/1.1\r\n", line.host, b"Content-Type: application/json\r\n"
        )
        line.send(b"Transfer-Encoding: chunked\r\n\r\n")
        line.send(b"%x\r\n%s\r\n0\r\nContent-Encoding: gzip\r\n\r\n" % (len(body), body))
        assert line.answer()[0] == 200
        line.get()
        assert line.answer()[0] == 200


def post(line: Line, body: bytes = PREDICT, *fields: bytes) -> None:
    line.send(b"POST /v1/predict HTTP/1.1\r\n", line.host, b"Content-Type: application/json\r\n")
    line.send(*fields, b"Content-Length: %d\r\n\r\n" % len(PREDICT), body)


@pytest.mark.slow
def test_a_request_over_the_limit_is_answered_429_without_a_task(
    start: Any, model_file: Path
) -> None:
    """The connection stays open if its next request can be told from the rest of this one."""
    with start(model_file, max_requests=2) as server, contextlib.ExitStack() as stack:
        first, second, third = (stack.enter_context(Line(server)) for _ in range(3))
        for line in (first, second):
            post(line, b"")  # a request counts from its head on
        line = stack.enter_context(Line(server))
        while True:
            line.get()
            if line.answer()[0] == 429:
                break
        ways: tuple[Callable[[], None], ...] = (third.get, lambda: post(third), third.get)
        for ask in ways:
            ask()
            status, headers, body = third.answer()
            assert (status, headers[b"retry-after"]) == (429, b"1")
            assert b"connection" not in headers
            assert json.loads(body)["error"] == {
                "type": "rate_limit_error",
                "message": "busy: ask again in a second",
                "code": None,
            }
        for closes in (b"Connection: close\r\n", b"Expect: 100-continue\r\n"):
            with Line(server) as line:
                line.get(closes)
                status, headers, _ = line.answer()
                assert (status, headers[b"connection"]) == (429, b"close")
                assert line.closed() == b""
        with Line(server) as line:
            line.send(b"HEAD / HTTP/1.1\r\n", line.host, b"\r\n")
            assert line.closed().startswith(b"HTTP/1.1 429 ")
        for line in (first, second):
            line.send(PREDICT)
            assert line.answer()[0] == 200
        post(third)
        assert third.answer()[0] == 200
        third.get(path=b"/metrics")
        received = third.answer()[2].decode()
        (counted, *_) = re.findall(
            r'elman_requests_total{route="other",status="429"} (\d+)', received
        )
        assert int(counted) >= 7


@pytest.mark.slow
def test_a_refused_client_that_stops_sending_is_disconnected(start: Any, model_file: Path) -> None:
    settings = {"max_requests": 1, "transfer_seconds": SECONDS, "keep_alive_seconds": 2.0}
    with start(model_file, **settings) as server, Line(server) as line:
        # once with its body and once without; the first request is disconnected by then
        for body in (PREDICT, b""):
            with Line(server) as busy:
                post(busy, b"")
                status = 200
                while status != 429:
                    with Line(server) as other:
                        other.get()
                        status = other.answer()[0]
                post(line, body)
                assert line.answer()[0] == 429
        assert line.closed() == b""


def test_the_answer_to_head_has_no_body(server: Server) -> None:
    for path in (b"/", b"/healthz", b"/page/draw.css"):
        with Line(server) as line:
            line.send(b"HEAD ", path, b" HTTP/1.1\r\nConnection: close\r\n", line.host, b"\r\n")
            answer = line.closed()
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("way", ["length", "chunked"])
def test_a_client_with_too_large_a_body_can_read_the_answer(server: Server, way: str) -> None:
    with Line(server) as line:
        head = [b"POST /v1/score HTTP/1.1\r\n", line.host, b"Content-Type: application/json\r\n"]
        block = b"x" * 65536
        if way == "length":
            line.send(*head, b"Content-Length: 8388608\r\n\r\n")
        else:
            line.send(*head, b"Transfer-Encoding: chunked\r\n\r\n")
        try:
            for _ in range(128):
                line.send(*([b"10000\r\n", block, b"\r\n"] if way == "chunked" else [block]))
        except OSError:
            pass  # the server has answered and closed the connection
        else:
            assert line.answer()[0] == 413
            line.send(*([b"0\r\n\r\n"] if way == "chunked" else []))
            line.get()
            assert line.answer()[0] == 200


@pytest.mark.slow
def test_the_server_still_answers_after_these_tests(server: Server) -> None:
    with Line(server) as line:
        line.get()
        assert line.answer()[2] == b'{"status":"ok"}'
    assert server.process.poll() is None
