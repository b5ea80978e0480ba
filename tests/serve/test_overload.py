"""Overload: requests over the limit are refused at once, and accepted ones are always answered."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

import elman
from elman.language.sampling import Predictions
from elman.language.stream import Stream
from elman.serve import routes_models, schema, threads

pytestmark = pytest.mark.slow


class Gate:
    """Stands for a computation that waits until the test opens the gate."""

    def __init__(self) -> None:
        self.begun, self.free = threading.Semaphore(0), threading.Event()
        self.asked: list[Any] = []

    def __call__(self, what: Any, *k: Any, **_: Any) -> Any:
        self.asked.append(what)
        self.begun.release()
        assert self.free.wait(30)
        return Predictions([("a", 1.0)], 0.0) if k else "abc"

    def written(self, _: Any, body: Any) -> Iterator[Any]:
        yield self(body.prompt)


async def refused(client: httpx.AsyncClient, route: str, **body: Any) -> None:
    answer = await client.post(f"/v1/{route}", json={"model": "letters"} | body)
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["error"]["type"] == "rate_limit_error"


def test_too_many_long_requests_are_answered_429(
    models: dict[str, Any], ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    monkeypatch.setattr(routes_models, "_generate", gate.written)

    async def go() -> None:
        async with ask(models, max_tasks=2, threads=2) as client:
            body = {"model": "letters", "prompt": "a"}
            asked = [
                asyncio.ensure_future(client.post("/v1/generate", json=body)) for _ in range(2)
            ]
            for _ in asked:
                await asyncio.to_thread(gate.begun.acquire)
            await refused(client, "generate", prompt="a")
            await refused(client, "generate", prompt="a", stream=True)
            await refused(client, "completions", prompt="a", stream=True)
            await refused(client, "score", input="a")
            await refused(client, "predict", input="a" * schema.SHORT_INPUT_LENGTH)
            # short requests are still answered
            assert (await client.get("/healthz")).status_code == 200
            made = await client.post("/v1/streams", json={"model": "letters"})
            assert made.status_code == 200
            short = {"model": "letters", "input": "ab"}
            for route, more in (
                ("predict", {}),
                ("unroll", {"quick": True}),
                ("replace", {"position": 0, "token": "c"}),
            ):
                assert (await client.post(f"/v1/{route}", json=short | more)).status_code == 200
            gate.free.set()
            assert [(await one).status_code for one in asked] == [200] * 2
            # afterwards there is room again
            assert (await client.post("/v1/generate", json=body)).status_code == 200

    asyncio.run(go())


def test_too_many_short_requests_are_answered_429(
    models: dict[str, Any], ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    monkeypatch.setattr(type(models["letters"]), "predict_next", gate)

    async def go() -> None:
        async with ask(models, max_tasks=1) as client:
            body = {"model": "letters", "input": "a"}
            asked = asyncio.ensure_future(client.post("/v1/predict", json=body))
            await asyncio.to_thread(gate.begun.acquire)
            await refused(client, "predict", input="a")
            assert (await client.post("/v1/score", json=body)).status_code == 200
            gate.free.set()
            assert (await asked).status_code == 200
            assert (await client.post("/v1/predict", json=body)).status_code == 200

    asyncio.run(go())


def test_which_requests_are_short(
    models: dict[str, Any], ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[bool] = []
    make = threads._Computation

    def made(turns: Any, *, is_short: bool = False) -> Any:
        taken.append(is_short)
        return make(turns, is_short=is_short)

    monkeypatch.setattr(threads, "_Computation", made)
    text, long = (
        {"model": "letters", "input": "a"},
        {"model": "letters", "input": "a" * schema.SHORT_INPUT_LENGTH},
    )
    more = {"position": 0, "token": "b"}

    async def go() -> None:
        async with ask(models, threads=2) as client:
            for route, body, short in (
                ("predict", text, True),
                ("predict", long, False),
                ("predict", {"model": "forecast"}, False),
                ("predict", {"model": "forecast", "input": [1.0], "horizon": 1}, False),
                ("unroll", text, False),
                ("unroll", text | {"quick": True}, True),
                ("unroll", long | {"quick": True}, False),
                ("explain", text, False),
                ("explain", text | {"quick": True}, True),
                ("replace", text | more, True),
                ("replace", long | more, False),
                ("score", text, False),
            ):
                taken.clear()
                await client.post(f"/v1/{route}", json=body)
                assert taken == [short], (route, body["model"])

    asyncio.run(go())


def test_an_event_stream_frees_its_room_at_its_end(models: dict[str, Any], ask: Any) -> None:
    async def go() -> None:
        async with ask(models, max_tasks=1) as client:
            body = {"model": "letters", "prompt": "a", "n": 50, "stream": True}
            for _ in range(5):
                answer = await client.post("/v1/generate", json=body)
                assert answer.status_code == 200
                assert answer.text.endswith("data: [DONE]\n\n")

    asyncio.run(go())


class Leaver:
    """A client that sends one request to an application and leaves when the test says so."""

    def __init__(self, app: Any, route: str, body: Any) -> None:
        self.content: bytes | None = json.dumps(body).encode()
        self.leaves, self.answered = asyncio.Event(), asyncio.Event()
        self.sent: list[Any] = []
        headers = [
            (b"host", b"127.0.0.1:8765"),
            (b"content-type", b"application/json"),
            (b"content-length", str(len(self.content)).encode()),
        ]
        scope: dict[str, Any] = {
            "type": "http",
            "method": "POST",
            "path": route,
            "raw_path": route.encode(),
        }
        scope |= {"query_string": b"", "headers": headers, "http_version": "1.1", "scheme": "http"}
        scope |= {"asgi": {"spec_version": "2.3"}, "client": ("127.0.0.1", 1), "root_path": ""}
        scope["server"] = ("127.0.0.1", 8765)
        self.done = asyncio.ensure_future(self.ask(app, scope))

    async def ask(self, app: Any, scope: dict[str, Any]) -> None:
        """Call the application as the server does: cancel its task when the client has left."""
        task = asyncio.ensure_future(app(scope, self.receive, self.send))
        leaves = asyncio.ensure_future(self.leaves.wait())
        await asyncio.wait({task, leaves}, return_when=asyncio.FIRST_COMPLETED)
        leaves.cancel()
        task.cancel()
        await asyncio.wait({task})

    async def receive(self) -> dict[str, Any]:
        if self.content is not None:
            content, self.content = self.content, None
            return {"type": "http.request", "body": content, "more_body": False}
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def send(self, event: dict[str, Any]) -> None:
        self.sent.append(event)
        if event.get("body"):
            self.answered.set()


def test_a_client_that_leaves_an_event_stream_frees_its_room(
    models: dict[str, Any], ask: Any
) -> None:
    async def go() -> None:
        async with ask(models, max_tasks=1) as client:
            app = client._transport.app
            for _ in range(5):
                body = {"model": "letters", "prompt": "a", "n": 4096, "stream": True}
                reader = Leaver(app, "/v1/generate", body)
                await reader.answered.wait()
                reader.leaves.set()
                await reader.done
                answer = await client.post("/v1/score", json={"model": "letters", "input": "a"})
                assert answer.status_code == 200

    asyncio.run(go())


def test_a_request_whose_client_has_gone_is_skipped(
    models: dict[str, Any], ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    monkeypatch.setattr(routes_models, "_generate", gate.written)

    async def go() -> None:
        async with ask(models, max_tasks=2, threads=1) as client:
            first, third = ({"model": "letters", "prompt": text} for text in ("a", "c"))
            one = asyncio.ensure_future(client.post("/v1/generate", json=first))
            await asyncio.to_thread(gate.begun.acquire)
            gone = Leaver(client._transport.app, "/v1/generate", first | {"prompt": "b"})
            gone.leaves.set()
            await gone.done
            assert gone.sent == []
            # its room is free for another request
            other = asyncio.ensure_future(client.post("/v1/generate", json=third))
            gate.free.set()
            assert [(await each).status_code for each in (one, other)] == [200, 200]
            assert gate.asked == ["a", "c"]

    asyncio.run(go())


@pytest.mark.parametrize(
    ("route", "body", "kind"),
    [
        ("completions", {"n": 16, "max_tokens": 4096}, "step"),
        ("completions", {"prompt": "a" * 2000}, "feed"),
        ("completions", {"prompt": "a" * 2000, "echo": True}, "step"),
        ("completions", {"prompt": ["a" * 2000] * 2, "stream": True}, "feed"),
        ("generate", {"n": 4096}, "feed"),
        ("generate", {"prompt": "a" * 2000}, "feed"),
        ("generate", {"prompt": "a" * 2000, "stream": True}, "feed"),
    ],
)
def test_a_client_that_leaves_frees_the_worker_thread(
    models: dict[str, Any],
    ask: Any,
    monkeypatch: pytest.MonkeyPatch,
    route: str,
    body: Any,
    kind: str,
) -> None:
    """The computation ends with its current step, which frees the thread and the room."""
    gate, compute = Gate(), getattr(Stream, kind)
    monkeypatch.setattr(Stream, kind, lambda one, what: (gate(what), compute(one, what))[1])
    monkeypatch.setattr(threads, "SEND_EVERY_SECONDS", -1)

    async def go() -> None:
        async with ask(models, max_tasks=1, threads=1) as client:
            asked = {"model": "letters"} | body
            reader = Leaver(client._transport.app, f"/v1/{route}", asked)
            await asyncio.to_thread(gate.begun.acquire)
            reader.leaves.set()
            await reader.done
            gate.free.set()
            # this request computes nothing, but needs the thread
            answer = await client.post("/v1/score", json={"model": "letters", "input": ""})
            assert answer.status_code == 200
            assert len(gate.asked) == 1
            assert reader.sent == []

    asyncio.run(go())


def test_too_many_streams_are_answered_429(models: dict[str, Any], ask: Any) -> None:
    async def go() -> None:
        async with ask(models, max_streams=2) as client:
            codes = []
            for name in ("letters", "words", "lines"):
                answer = await client.post("/v1/streams", json={"model": name})
                codes.append(answer.status_code)
            assert codes == [200, 200, 429]
            assert answer.headers["retry-after"] == "1"
            # a step needs no stream
            assert (await client.post("/v1/step", json={"model": "words"})).status_code == 200

    asyncio.run(go())


@pytest.mark.parametrize("last", [5, 40])
def test_no_accepted_request_is_lost_when_the_server_stops(
    start: Any, model_file: Path, last: Any
) -> None:
    """After SIGTERM every request of many connections was answered completely or never accepted."""
    clients, lost, answered = 24, [], []
    with start(model_file) as server:
        going = threading.Semaphore(0)

        def client(number: int) -> Any:
            with httpx.Client(timeout=30) as line:
                url = f"{server.url}/v1/streams"
                made = line.post(url, json={"model": "letters"}).json()["id"]
                position = 0
                while True:
                    try:
                        answer = line.post(
                            f"{url}/{made}/feed", json={"input": "abc", "seq": position}
                        )
                    except httpx.ConnectError:
                        return position  # the request was never sent
                    except httpx.HTTPError as error:
                        lost.append(repr(error))
                        return position
                    position += 1
                    answered.append(answer.json()["position"] == 3 * position)
                    if position == last:
                        going.release()

        with ThreadPoolExecutor(clients) as threads:
            done = [threads.submit(client, number) for number in range(clients)]
            for _ in done:
                assert going.acquire(timeout=30)
            server.process.send_signal(signal.SIGTERM)
            assert sum(one.result(60) for one in done) >= last * clients
        assert server.process.wait(30) == 0
    assert lost == []
    assert all(answered)


def test_an_event_stream_is_completed_when_the_server_stops(start: Any, model_file: Path) -> None:
    predictor = elman.load(model_file, kind=elman.LanguagePredictor)
    expected = predictor.generate("a", 4096, seed=1)
    with start(model_file) as server, httpx.Client(timeout=60) as client:
        body = {"model": "letters", "prompt": "a", "n": 4096, "seed": 1, "stream": True}
        with client.stream("POST", f"{server.url}/v1/generate", json=body) as answer:
            lines = answer.iter_lines()
            found = [next(lines)]
            server.process.send_signal(signal.SIGTERM)
            found += [line for line in lines if line]
        assert found[-1] == "data: [DONE]"
        assert "".join(json.loads(line[6:])["text"] for line in found[:-1] if line) == expected
        assert server.process.wait(30) == 0


def test_a_second_server_on_the_same_port_is_refused(start: Any, model_file: Path) -> None:
    with start(model_file) as server:
        done = subprocess.run(
            [sys.executable, "-m", "elman", "serve", str(model_file), "--port", str(server.port)],
            capture_output=True,
            text=True,
        )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"cannot listen on 127.0.0.1:{server.port}: got Address already in use" in done.stderr
