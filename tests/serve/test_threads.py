"""Worker threads: short computations never wait for long ones, and abandoned ones end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from functools import partial
from time import monotonic, sleep
from typing import Any

import pytest

from elman.engine.pauses import pause
from elman.serve import threads
from elman.serve.threads import WorkerThreads


@pytest.fixture
def workers() -> Iterator[WorkerThreads]:
    workers = WorkerThreads(limit=1, room=8)
    yield workers
    workers.close()


class Endless:
    """A computation that pauses between its blocks and ends when the test says so."""

    def __init__(self) -> None:
        self.begun, self.enough, self.ended = (threading.Event() for _ in range(3))
        self.blocks = 0

    def __call__(self) -> None:
        self.begun.set()
        try:
            while not self.enough.is_set():
                sleep(0.001)
                self.blocks += 1
                pause()
        finally:
            self.ended.set()


async def begun(*questions: Endless) -> None:
    for one in questions:
        assert await asyncio.to_thread(one.begun.wait, 30)


@pytest.mark.parametrize("kind", ["long", "short that turned out long"])
def test_a_short_computation_runs_while_others_compute(workers: WorkerThreads, kind: str) -> None:
    """A short computation runs although endless ones use every thread, even that for short ones."""
    one, other = Endless(), Endless()

    async def go() -> None:
        long = asyncio.ensure_future(workers.run(one))
        second = asyncio.ensure_future(workers.run(other, is_short=kind != "long"))
        await begun(one)
        if kind != "long":
            await begun(other)
            sleep(2 * threads.SHORT_SECONDS)
        for number in range(20):
            answer = asyncio.wait_for(workers.run(partial(abs, number), is_short=True), 30)
            assert await answer == number
        assert not long.done()
        assert not second.done()
        one.enough.set()
        other.enough.set()
        await asyncio.gather(long, second)

    asyncio.run(go())


def test_long_computations_share_the_time_and_new_ones_come_first(workers: WorkerThreads) -> None:
    one, other = Endless(), Endless()

    async def go() -> None:
        first = asyncio.ensure_future(workers.run(one))
        await begun(one)
        second = asyncio.ensure_future(workers.run(other))
        await begun(other)
        one.blocks = other.blocks = 0
        end = monotonic() + 30
        while min(one.blocks, other.blocks) < 100 and monotonic() < end:
            await asyncio.sleep(0.01)
        assert min(one.blocks, other.blocks) >= 100
        one.enough.set()
        other.enough.set()
        await asyncio.gather(first, second)

    asyncio.run(go())


@pytest.mark.parametrize("waits", [False, True])
def test_an_abandoned_computation_ends_at_its_next_pause(
    workers: WorkerThreads, waits: bool
) -> None:
    one, other = Endless(), Endless()

    async def go() -> None:
        first = asyncio.ensure_future(workers.run(one))
        await begun(one)
        second = asyncio.ensure_future(workers.run(other))
        if waits:
            await begun(other)
        first.cancel()
        assert await asyncio.to_thread(one.ended.wait, 30)
        await begun(other)
        other.enough.set()
        await second

    asyncio.run(go())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("explain", {"input": "abcd" * 10}),
        ("unroll", {"input": "abcd" * 10}),
        ("score", {"input": "abcd" * 1000}),
        ("memory", {"input": "abcd" * 100}),
        ("predict", {"input": "abcd" * 1000}),
        ("trace", {"input": "abcd" * 10}),
    ],
)
def test_every_kind_of_request_pauses(
    models: dict[str, Any],
    ask: Any,
    monkeypatch: pytest.MonkeyPatch,
    route: str,
    body: dict[str, str],
) -> None:
    """Pauses let an abandoned computation end and give others their turn."""
    pauses: list[int] = []
    kept = threads._Computation.pause

    def pause(computation: threads._Computation) -> None:
        pauses.append(1)
        kept(computation)

    monkeypatch.setattr(threads._Computation, "pause", pause)

    async def go() -> None:
        async with ask(models) as client:
            answer = await client.post(f"/v1/{route}", json={"model": "letters"} | body)
            assert answer.status_code == 200

    asyncio.run(go())
    assert len(pauses) >= 2
