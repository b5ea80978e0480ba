"""Feed many streams of a server at once over HTTP, check every answer, and measure how long they take.

    python benchmarks/serve.py [MODEL] [--streams 1000] [--rate 1000] [--seconds 60] [--json FILE]
    python benchmarks/serve.py [MODEL] --overload [--why] [--streams 6000] [--seconds 10]
    python benchmarks/serve.py [MODEL] --beside [--seconds 10]

The benchmark starts `elman serve` as a process on this machine and plays all of its clients. Each stream has
a keep-alive connection and a text of its own, and sends one request at a time; all streams together send
`rate` requests a second. The time of a request starts when the request is due, even if it must wait for the
answer to the previous request, so that a stall of the server counts in full. The benchmark also feeds each
text to a stream in this process, and compares position, tokens and probabilities bit for bit. Without MODEL
the network is an untrained lstm of 2 layers of 256 units over 96 characters.

With `--overload`, some of the connections first send a request as soon as the last one is answered. This
measures the highest rate of the server. Then all connections together offer five times that rate. The
benchmark prints what share of the highest rate is still answered, and how long a refusal (429) takes. If all
connections wait for an answer, a request cannot be sent, and counts as not sent. With `--why` each request
asks for the explanation of a text of 50 characters, instead of a step.

With `--beside`, one client feeds a stream and asks for predictions, one request after the other: first alone,
then next to a client that sends slow requests. These are several kinds of bodies of 2 MB that the server
refuses, and texts of 1,900 characters to unroll, of 50 to explain and of 100,000 to score. The benchmark
prints how many requests of the first client the server answers per second, and how long each takes.

Without these options, the exit code is 1 if an answer is lost, duplicated, out of order or wrong, if the
server does not keep up with the rate, or if the 99th percentile is above 50 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np

import elman
from elman.files.model import Model
from elman.language.config import NetworkConfig
from elman.language.stream import Stream
from elman.text.vocabulary import TextCodec

MAX_P99_SECONDS = 0.05
"""The longest 99th percentile of the response time with which the benchmark passes."""
K = 5
CLOSED, WHY = 256, 16
"""Number of connections that `--overload` opens to find the highest rate of steps, and of explanations."""


def untrained(path: Path) -> None:
    """Write a network with random weights."""
    tokens = ("<unk>", "\n", *map(chr, range(32, 126)))
    config = NetworkConfig(
        task="language",
        cell="lstm",
        activation="tanh",
        vocabulary_size=len(tokens),
        embedding_size=64,
        hidden_size=256,
        num_layers=2,
    )
    random = np.random.default_rng(0)
    arrays = {
        name: (random.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)
        for name, shape in config.parameters().items()
    }
    Model(config, arrays, TextCodec("char", tokens, "words", "file"), {}).save(path)


def posted(host: str, path: str, body: dict[str, object]) -> bytes:
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


class Wire(ABC, asyncio.Protocol):
    """A keep-alive connection that calls `take` with each response, for one request at a time."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.head = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.head < 0:
            self.head = self.buffer.find(b"\r\n\r\n")
            if self.head < 0:
                return
            found = re.search(rb"content-length: (\d+)", self.buffer[: self.head])
            self.size = self.head + 4 + int(found[1])
        if len(self.buffer) >= self.size:
            whole = bytes(self.buffer)
            del self.buffer[:]
            status, body = whole[9:12], whole[self.head + 4 :]
            self.head = -1
            # bytes after the response can only be a second response to the same request
            self.take(status if len(whole) == self.size else b"two", body)

    @abstractmethod
    def take(self, status: bytes, body: bytes) -> None: ...


class Client(Wire):
    """The connection of one stream; `post` returns a future for the answer to one request."""

    def __init__(self, host: str) -> None:
        super().__init__()
        self.host = host
        self.answer: asyncio.Future[bytes] | None = None

    def connection_lost(self, _: Exception | None) -> None:
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(ConnectionError("the server closed the connection"))

    def take(self, status: bytes, body: bytes) -> None:
        if status == b"200":
            self.answer.set_result(body)
        else:
            self.answer.set_exception(ValueError(f"{status!r} {body!r}"))

    def post(self, path: str, body: dict[str, object]) -> asyncio.Future[bytes]:
        self.answer = asyncio.get_running_loop().create_future()
        self.transport.write(posted(self.host, path, body))
        return self.answer


class Shot(Wire):
    """A connection that sends the same request at every `send`, and reads only the status of the answer."""

    def __init__(self, request: bytes, done: Callable[[Shot, bool, float], None]) -> None:
        super().__init__()
        self.request, self.done = request, done

    def send(self) -> None:
        self.begun = time.perf_counter()
        self.transport.write(self.request)

    def take(self, status: bytes, body: bytes) -> None:
        if status not in (b"200", b"429"):
            sys.exit(f"{status!r} {body!r}")
        self.done(self, status == b"429", time.perf_counter() - self.begun)


async def one(number: int, host: str, port: int, name: str, plan: argparse.Namespace, start: float):
    """Feed one stream; return its texts, their answers, the seconds each took, and the time of the last."""
    loop = asyncio.get_running_loop()
    random = np.random.default_rng(number)
    await asyncio.sleep(max(0.0, start - 2.0 + 1.5 * number / plan.streams - loop.time()))
    transport, client = await loop.create_connection(lambda: Client(host), "127.0.0.1", port)
    made = json.loads(await client.post("/v1/streams", {"model": name}))
    path = f"/v1/streams/{made['id']}/feed"
    each = plan.streams / plan.rate
    texts, answers, took = [], [], []
    count = int(plan.seconds / each)
    for step in range(count):
        # the streams take turns within each period
        due = start + each * (step + number / plan.streams)
        if (wait := due - loop.time()) > 0:
            await asyncio.sleep(wait)
        text = chr(random.integers(32, 126))
        body = await client.post(path, {"input": text, "k": K, "seq": step})
        took.append(loop.time() - due)
        texts.append(text)
        answers.append(body)
    done = loop.time()
    transport.close()
    return texts, answers, took, done


async def every(host: str, port: int, name: str, plan: argparse.Namespace):
    start = asyncio.get_running_loop().time() + 3.0
    tasks = [one(number, host, port, name, plan, start) for number in range(plan.streams)]
    found = await asyncio.gather(*tasks)
    return found, max(done for *_, done in found) - start


async def overload(host: str, port: int, name: str, plan: argparse.Namespace) -> dict[str, object]:
    """Measure the highest rate of answers, and how the server answers requests at five times that rate."""
    loop = asyncio.get_running_loop()
    free: deque[Shot] = deque()
    answered: list[float] = []
    refused: list[float] = []
    again = 0.0

    def done(shot: Shot, no: bool, took: float) -> None:
        (refused if no else answered).append(took)
        if time.perf_counter() < again:
            shot.send()
        else:
            free.append(shot)

    closed = WHY if plan.why else CLOSED
    body = {"model": name, "input": "".join(map(chr, range(40, 90)))}
    requests = [posted(host, "/v1/explain", body)] * plan.streams
    if not plan.why:
        _, maker = await loop.create_connection(lambda: Client(host), "127.0.0.1", port)
        for place in range(plan.streams):
            made = json.loads(await maker.post("/v1/streams", {"model": name}))
            path = f"/v1/streams/{made['id']}/feed"
            requests[place] = posted(host, path, {"input": "a", "k": K})
    hello = f"GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    for _ in requests:
        _, shot = await loop.create_connection(lambda: Shot(hello, done), "127.0.0.1", port)
        shot.send()  # a connection has ten seconds for its first request
    while len(free) < plan.streams:
        await asyncio.sleep(0.01)
    for shot, request in zip(free, requests, strict=True):
        shot.request = request
    answered.clear()
    half, start = plan.seconds / 2, time.perf_counter()
    again = start + half
    for _ in range(closed):
        free.popleft().send()
    while len(free) < plan.streams:
        await asyncio.sleep(0.01)
    most = len(answered) / (time.perf_counter() - start)
    answered.clear()
    refused.clear()
    start, sent, missed = time.perf_counter(), 0, 0
    while (now := time.perf_counter()) < start + half:
        for _ in range(int((now - start) * 5 * most) - sent - missed):
            if free:
                free.popleft().send()
                sent += 1
            else:
                missed += 1
        await asyncio.sleep(0.001)
    while len(free) < plan.streams:
        await asyncio.sleep(0.01)
    seconds = time.perf_counter() - start
    return {
        "most_a_second": most,
        "offered_a_second": (sent + missed) / half,
        "sent_a_second": sent / half,
        "answered_a_second": len(answered) / seconds,
        "share_of_most": len(answered) / seconds / most,
        "answered_p99_ms": _p99(answered),
        "refused": len(refused),
        "refused_p50_ms": 1000 * float(np.median(refused)) if refused else float("nan"),
        "refused_p99_ms": _p99(refused),
    }


def bodies(name: str) -> dict[str, tuple[str, bytes]]:
    """Return the slow requests of the other client by name, each as a path and a body."""
    text = "".join(map(chr, range(40, 90)))
    head = b'{"model": "%s", "input": [' % name.encode()
    row = b"[" + b", ".join([b"0.125"] * 30) + b"]"
    long = {"unroll": text * 38, "explain": text, "score": text * 2000}
    return {
        "refused: 690,000 lists": ("predict", head + b"[]," * 690_000 + b"[]]}"),
        "refused: 500,000 words": ("predict", head + b'"a",' * 500_000 + b"1]}"),
        "refused: 1,000,000 numbers": ("predict", head + b"1," * 1_000_000 + b"1]}"),
        "refused: a table": ("predict", head + b", ".join([row] * 9_500) + b"]}"),
        **{
            f"{route}: {len(given):,} characters": (
                route,
                json.dumps({"model": name, "input": given}).encode(),
            )
            for route, given in long.items()
        },
    }


def asked(port: int, path: str, body: bytes, line: list[http.client.HTTPConnection]) -> bytes:
    """Return the answer to one request, sent over the connection in `line`, which is opened if missing."""
    if not line:
        line.append(http.client.HTTPConnection("127.0.0.1", port, timeout=600))
    line[0].request("POST", f"/v1/{path}", body, {"Content-Type": "application/json"})
    return line[0].getresponse().read()


def beside(port: int, name: str, plan: argparse.Namespace) -> dict[str, object]:
    """Measure the rate and the response times of a client, alone and next to one with slow requests."""
    figures: dict[str, object] = {}
    each = plan.seconds / 8
    mine: list[http.client.HTTPConnection] = []
    stream = json.loads(asked(port, "streams", b'{"model": "%s"}' % name.encode(), mine))["id"]
    ways = {
        "feed": (f"streams/{stream}/feed", b'{"input": "a"}'),
        "predict": ("predict", b'{"model": "%s", "input": "to be or"}' % name.encode()),
    }
    for what, (path, body) in {"alone": ("", b""), **bodies(name)}.items():
        done = threading.Event()

        def other(path: str = path, body: bytes = body, done: threading.Event = done) -> None:
            line: list[http.client.HTTPConnection] = []
            while body and not done.is_set():
                asked(port, path, body, line)

        thread = threading.Thread(target=other)
        thread.start()
        time.sleep(0.2)
        for way, (route, small) in ways.items():
            took, start = [], time.perf_counter()
            while time.perf_counter() < start + each:
                begun = time.perf_counter()
                asked(port, route, small, mine)
                took.append(time.perf_counter() - begun)
            figures[f"{what}; {way}s a second"] = len(took) / each
            figures[f"{what}; {way} p50 ms"] = 1000 * float(np.median(took))
            figures[f"{what}; {way} p99 ms"] = _p99(took)
        done.set()
        thread.join()
    return figures


def _p99(took: list[float]) -> float:
    return 1000 * float(np.quantile(took, 0.99)) if took else float("nan")


def wrong(network: object, texts: list[str], answers: list[bytes]) -> int:
    """Return how many answers differ from those of a stream in this process that reads the same texts."""
    alone, count = Stream(network), 0
    for step, (text, body) in enumerate(zip(texts, answers, strict=True), 1):
        rows = [
            {"token": token, "probability": probability}
            for token, probability in alone.feed(text).predict(K)
        ]
        count += json.loads(body) != {"position": step, "predictions": rows}
    return count


def report(figures: dict[str, object], plan: argparse.Namespace) -> None:
    for key, value in figures.items():
        print(f"{key:<48} {value:,.2f}" if isinstance(value, float) else f"{key:<48} {value}")
    if plan.json is not None:
        plan.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", type=Path, help="a language model")
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=1000.0, help="requests a second in all")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--overload", action="store_true", help="offer more than can be answered")
    parser.add_argument("--beside", action="store_true", help="one client beside another")
    parser.add_argument("--why", action="store_true", help="explanations, not steps")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    plan = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = plan.model
        if path is None:
            path = Path(folder) / "untrained.safetensors"
            untrained(path)
        command = [sys.executable, "-m", "elman", "serve", str(path), "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                line = process.stdout.readline()
                port = int(line.rpartition(":")[2])
                name = path.name.removesuffix(".safetensors")
                if plan.beside:
                    report(beside(port, name, plan), plan)
                    return 0
                if plan.overload:
                    report(asyncio.run(overload(f"127.0.0.1:{port}", port, name, plan)), plan)
                    return 0
                found, seconds = asyncio.run(every(f"127.0.0.1:{port}", port, name, plan))
            finally:
                process.terminate()
        network = elman.load(path).network
    took = np.concatenate([times for _, _, times, _ in found])
    faults = sum(wrong(network, texts, answers) for texts, answers, *_ in found)
    figures = {
        "streams": plan.streams,
        "asked_a_second": plan.rate,
        "requests": len(took),
        "steps_a_second": len(took) / seconds,
        "p50_ms": 1000 * float(np.quantile(took, 0.5)),
        "p99_ms": 1000 * float(np.quantile(took, 0.99)),
        "longest_ms": 1000 * float(took.max()),
        "wrong": faults,
        "transport": "HTTP/1.1, keep-alive",
        "cores": len(os.sched_getaffinity(0)),
        "date": time.strftime("%Y-%m-%d"),
    }
    report(figures, plan)
    reached = figures["steps_a_second"] >= 0.99 * plan.rate
    good = reached and not faults and np.quantile(took, 0.99) <= MAX_P99_SECONDS
    print("passed" if good else "FAILED")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
