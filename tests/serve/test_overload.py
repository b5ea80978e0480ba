"""More than there is room for is refused at once; who was let in is answered, even when the server ends."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

import elman

SOON = 5.0
"""Seconds in which a refusal comes on a busy machine; on a quiet one it takes a millisecond."""


def test_beyond_the_room_for_long_questions_is_429(models, ask, monkeypatch):
    begun, free = threading.Semaphore(0), threading.Event()

    def slow(*_):
        begun.release()
        assert free.wait(30)
        return [("a", 1.0)]

    monkeypatch.setattr(type(models["letters"]), "predict_next", slow)

    async def go():
        async with ask(models, max_tasks=3, threads=2) as client:
            body = {"model": "letters", "input": "a"}
            asked = [asyncio.ensure_future(client.post("/v1/predict", json=body)) for _ in range(3)]
            await asyncio.to_thread(begun.acquire)
            await asyncio.to_thread(begun.acquire)
            started = time.monotonic()
            for route, more in (
                ("predict", {}),
                ("generate", {}),
                ("generate", {"stream": True}),
                ("completions", {"stream": True}),
            ):
                sent = (
                    {"model": "letters"}
                    | more
                    | ({"input": "a"} if route == "predict" else {"prompt": "a"})
                )
                answer = await client.post(f"/v1/{route}", json=sent)
                assert answer.status_code == 429
                assert answer.headers["retry-after"] == "1"
                assert answer.json()["error"]["type"] == "rate_limit_error"
            assert time.monotonic() - started < SOON
            # what does not take long goes on
            assert (await client.get("/healthz")).status_code == 200
            made = await client.post("/v1/streams", json={"model": "letters"})
            assert made.status_code == 200
            free.set()
            assert [(await one).status_code for one in asked] == [200] * 3
            # and there is room again
            assert (await client.post("/v1/predict", json=body)).status_code == 200

    asyncio.run(go())


def test_room_is_free_again_when_a_reader_has_gone(models, ask):
    async def go():
        async with ask(models, max_tasks=1) as client:
            body = {"model": "letters", "prompt": "a", "n": 50, "stream": True}
            for _ in range(5):
                answer = await client.post("/v1/generate", json=body)
                assert answer.status_code == 200
                assert answer.text.endswith("data: [DONE]\n\n")

    asyncio.run(go())


def test_a_reader_that_leaves_frees_its_room(start, model_file):
    with start(model_file, max_tasks=1) as server, httpx.Client(timeout=30) as client:
        body = {"model": "letters", "prompt": "a", "n": 4096, "stream": True}
        for _ in range(5):
            with client.stream("POST", f"{server.url}/v1/generate", json=body) as answer:
                assert answer.status_code == 200
                next(answer.iter_bytes())
            end = time.monotonic() + SOON
            while (
                client.post(
                    f"{server.url}/v1/predict", json={"model": "letters", "input": "a"}
                ).status_code
                == 429
            ):
                assert time.monotonic() < end


def test_beyond_all_room_is_429(models, ask):
    async def go():
        async with ask(models, max_requests=4) as client:
            made = (await client.post("/v1/streams", json={"model": "letters"})).json()
            url = f"/v1/streams/{made['id']}/feed"
            answers = await asyncio.gather(
                *(client.post(url, json={"input": "ab" * 200}) for _ in range(30))
            )
            codes = {answer.status_code for answer in answers}
            assert codes == {200, 429}
            done = sum(answer.status_code == 200 for answer in answers)
            last = (await client.post(url, json={})).json()
            # none of the refused was read
            assert last["position"] == 400 * done
            for answer in answers:
                if answer.status_code == 429:
                    assert answer.headers["retry-after"] == "1"

    asyncio.run(go())


def test_too_many_streams_is_429(models, ask):
    async def go():
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


@pytest.mark.parametrize("times", [1, 2])
def test_no_accepted_request_is_lost_when_the_server_ends(start, model_file, times):
    """SIGTERM among the requests of many connections: each is answered whole or was never taken."""
    clients, lost, answered = 24, [], []
    with start(model_file) as server:
        going = threading.Event()

        def client(number):
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
                        return position  # it was never sent
                    except httpx.HTTPError as error:
                        lost.append(repr(error))
                        return position
                    position += 1
                    answered.append(answer.json()["position"] == 3 * position)
                    if position == 5:
                        going.set()

        with ThreadPoolExecutor(clients) as threads:
            done = [threads.submit(client, number) for number in range(clients)]
            assert going.wait(30)
            time.sleep(0.1 * times)
            server.process.send_signal(signal.SIGTERM)
            assert sum(one.result(60) for one in done) >= 5
        assert server.process.wait(30) == 0
    assert lost == []
    assert all(answered)


def test_events_that_are_being_sent_end_well(start, model_file):
    expected = elman.load(model_file).generate("a", 4096, seed=1)
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


def test_a_second_server_on_the_port_says_so(start, model_file):
    with start(model_file) as server:
        done = subprocess.run(
            [sys.executable, "-m", "elman", "serve", str(model_file), "--port", str(server.port)],
            capture_output=True,
            text=True,
        )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"cannot listen on 127.0.0.1:{server.port}: got Address already in use" in done.stderr
