"""The wire: heads that are too large, requests that come too slowly, clients that do not read."""

from __future__ import annotations

import json
import select
import socket

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from elman.serve.protocol import GONE_SECONDS, LEAST_RATE, patient_for

SECONDS = 1.0
"""The server's patience in these tests; ten times as long by default."""
TRIES = 600
"""Each a tenth of a second: far more than a busy machine needs."""


@pytest.fixture(scope="module")
def server(start, model_file):
    settings = {"dribble_seconds": SECONDS, "keep_alive_seconds": 2.0, "max_body": 4 << 20}
    with start(model_file, **settings) as server:
        yield server


class Line:
    """One connection."""

    def __init__(self, server):
        self.socket = socket.create_connection((server.host, server.port), timeout=20)
        self.host = f"Host: {server.host}:{server.port}\r\n".encode()
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def send(self, *parts):
        self.socket.sendall(b"".join(parts))

    def get(self, *fields, path=b"/healthz"):
        self.send(b"GET ", path, b" HTTP/1.1\r\n", self.host, *fields, b"\r\n")

    def answer(self):
        """Return status, headers and body of one answer."""
        first = self.file.readline()
        assert first, "the connection was closed without an answer"
        headers = {}
        while line := self.file.readline().strip():
            name, _, value = line.partition(b":")
            headers[name.lower()] = value.strip()
        body = self.file.read(int(headers.get(b"content-length", 0)))
        return int(first.split()[1]), headers, body

    def closed(self):
        """Wait until the server closes the connection; return what came before."""
        try:
            return self.file.read()
        except ConnectionResetError:
            return b""


def field(name, size):
    return b"%s: %s\r\n" % (name, b"x" * size)


def test_heads_are_bounded(server):
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
            found, headers, body = line.answer()
            assert found == status
            if status == 431:
                assert json.loads(body)["error"]["message"].startswith("the headers: ")
                assert headers[b"connection"] == b"close"
                assert line.closed() == b""
    with Line(server) as line:
        line.get(path=b"/" + b"a" * 17_000)
        assert line.answer()[0] == 431


def test_a_head_that_never_ends_is_refused(server):
    with Line(server) as line:
        line.send(b"GET / HTTP/1.1\r\n", line.host, b"x: ")
        try:
            for _ in range(200):
                line.send(b"x" * 4096)
        except OSError:
            pass  # it was closed while we wrote
        else:
            assert line.answer()[0] == 431


def test_a_good_request_before_a_bad_one_is_answered(server):
    with Line(server) as line:
        line.send(
            *(b"GET /healthz HTTP/1.1\r\n", line.host, b"\r\n"),
            *(b"GET / HTTP/1.1\r\n", line.host, field(b"x", 20_000), b"\r\n"),
        )
        assert line.answer()[0] == 200
        line.closed()


def test_what_is_no_http_is_refused(server):
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


def test_requests_in_a_row_are_answered_in_order(server):
    with Line(server) as line:
        for path in (b"/healthz", b"/nothing", b"/healthz"):
            line.get(path=path)
        assert [line.answer()[0] for _ in range(3)] == [200, 404, 200]


def test_an_upgrade_is_not_made(server):
    with Line(server) as line:
        line.get(b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n")
        assert line.answer()[0] == 200


@pytest.mark.parametrize("part", ["nothing", "a line", "a head", "a body"])
def test_who_dribbles_is_closed(server, part):
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


def test_dribblers_do_not_hold_up_the_honest(server):
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


def test_an_idle_connection_is_closed_after_a_while(server):
    with Line(server) as line:
        line.get()
        assert line.answer()[0] == 200
        assert line.closed() == b""


def test_who_does_not_read_is_cut_off(server):
    """What it asked for is not made without end: the connection goes."""
    body = b'{"model":"letters","input":"%s"}' % (b"a" * 99_000)
    times = 16  # more than the buffers of the system hold
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
        assert gone.poll(100 * TRIES), "the server waits for ever"
        assert len(line.closed()) < (times - 1) * whole


def test_who_has_sent_all_gets_its_answer(server):
    """A client that closes its half of the connection is answered, and a feed is not read for nobody."""
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
        line.send(b"POST /v1/score HTTP/1.1\r\n", line.host, b"Content-Length: 9\r\n\r\n{")
        line.socket.shutdown(socket.SHUT_WR)
        assert line.closed() == b""


def test_head_has_no_body(server):
    for path in (b"/", b"/healthz", b"/page/draw.css"):
        with Line(server) as line:
            line.send(b"HEAD ", path, b" HTTP/1.1\r\nConnection: close\r\n", line.host, b"\r\n")
            answer = line.closed()
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert answer.endswith(b"\r\n\r\n")


class Timer:
    def __init__(self, at, what):
        self.at, self.what = at, what

    def cancel(self):
        self.what = lambda: None


class Loop:
    """A clock, and the tasks that wait for nothing but it."""

    def __init__(self):
        self.now, self.timers, self.tasks = 0.0, [], []

    def call_later(self, seconds, what):
        self.timers.append(Timer(self.now + seconds, what))
        return self.timers[-1]

    def go(self, seconds):
        self.now += seconds
        due = [timer for timer in self.timers if timer.at <= self.now]
        self.timers = [timer for timer in self.timers if timer.at > self.now]
        for timer in due:
            timer.what()

    def create_task(self, work):
        self.tasks.append(work)
        return self

    def add_done_callback(self, _):
        pass

    def answer(self):
        """Let the requests at work be answered."""
        for work in self.tasks:
            with pytest.raises(StopIteration):
                work.send(None)
        self.tasks.clear()


class Transport:
    """A client that takes nothing by itself."""

    def __init__(self):
        self.sent, self.left, self.end = b"", 0, None

    def write(self, data):
        self.sent += data

    def close(self):
        self.end = self.end or "closed"

    def abort(self):
        self.end = "aborted"

    def is_closing(self):
        return self.end is not None

    def can_write_eof(self):
        return False

    def get_write_buffer_size(self):
        return self.left

    def get_extra_info(self, _):
        return None

    def pause_reading(self):
        pass

    resume_reading = pause_reading


async def well(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"well"})


@pytest.fixture
def wire():
    """A connection by a clock that only the test moves: the protocol, its loop and its client."""
    loop, client = Loop(), Transport()
    config = Config(well, timeout_keep_alive=20, lifespan="off", log_config=None)
    config.load()
    protocol = patient_for(10.0)(config, ServerState(), {}, loop)
    protocol.connection_made(client)
    yield protocol, loop, client
    for work in loop.tasks:
        work.close()


GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize("sent", [b"", b"GET / HT", GET[:-2], b"POST / HTTP/1.1\r\n"])
def test_a_request_has_its_time_and_no_more(wire, sent):
    protocol, loop, client = wire
    for byte in sent:
        protocol.data_received(bytes([byte]))
        loop.go(0.1)
    loop.go(9.9 - loop.now)
    assert client.sent == b""
    loop.go(0.2)
    assert client.sent.startswith(b"HTTP/1.1 408 ")
    loop.go(1.0)
    assert client.end == "aborted"


def test_between_requests_there_is_more_time(wire):
    protocol, loop, client = wire
    for _ in range(3):
        protocol.data_received(GET)
        loop.answer()
        assert client.sent.endswith(b"well\r\n0\r\n\r\n")
        loop.go(19.0)  # longer than a dribbler may take, for nothing has begun
        assert client.end is None
    loop.go(1.0)
    assert client.end == "closed"


def test_who_takes_its_answer_slowly_is_borne_with_down_to_a_rate(wire):
    protocol, loop, client = wire
    protocol.data_received(GET)
    client.left = 10**6
    protocol.pause_writing()
    for _ in range(5):
        client.left -= 10 * LEAST_RATE
        loop.go(10.0)
        assert client.end is None
    client.left -= 10 * LEAST_RATE - 1
    loop.go(10.0)
    assert client.end == "aborted"


def test_who_sends_no_more_may_have_gone(wire):
    """What is asked whole is answered for a moment; a question that takes longer has nobody to wait."""
    protocol, loop, client = wire
    protocol.data_received(GET)
    assert protocol.eof_received() is True
    loop.go(GONE_SECONDS - 0.1)
    assert client.end is None
    loop.go(0.1)
    assert client.end == "closed"


@pytest.mark.parametrize("begun", [False, True])
def test_who_sends_no_more_and_is_being_answered_is_answered(wire, begun):
    protocol, loop, client = wire
    protocol.data_received(GET)
    assert protocol.eof_received() is True
    if begun:
        protocol.cycle.response_started = True
        loop.go(GONE_SECONDS)
        assert client.end is None
        protocol.cycle.response_started = False
    loop.answer()
    assert b"connection: close" in client.sent
    assert client.sent.endswith(b"well\r\n0\r\n\r\n")
    assert client.end == "closed"


@pytest.mark.parametrize("sent", [b"", GET[:9], b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n{"])
def test_who_sends_no_more_and_has_asked_nothing_whole_is_gone(wire, sent):
    protocol, _, _ = wire
    protocol.data_received(sent)
    assert protocol.eof_received() is False


@pytest.mark.parametrize("way", ["length", "chunked"])
def test_a_body_that_is_too_large_gets_its_answer(server, way):
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
            pass  # the server has answered and gone
        else:
            assert line.answer()[0] == 413


def test_after_all_of_it_the_server_is_well(server):
    with Line(server) as line:
        line.get()
        assert line.answer()[2] == b'{"status":"ok"}'
    assert server.process.poll() is None
