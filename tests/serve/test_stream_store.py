"""Streams that share batches of one model: each one answers as if it were alone."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elman.engine import kernel
from elman.errors import InputError
from elman.files.model import Model
from elman.language.network import Network
from elman.language.pool import StreamPool
from elman.language.stream import Stream
from elman.serve import batcher as module
from elman.serve import stream_store
from elman.serve.batcher import Batcher, StreamReply
from elman.serve.http_errors import BusyError, NotFoundError, StaleError
from elman.serve.stream_store import StreamStore

COUNT = int(os.environ.get("ELMAN_HOSTILE_COUNT", "0")) or 60
# without the kernel, numpy may sum the product of many rows in another order than that of one row
TOLERANCE = 0.0 if kernel.kernels() else 2e-5


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Workers:
    """Stands for the worker threads: computes at once, but lets other coroutines run first."""

    async def run(self, compute: Callable[..., Any]) -> Any:
        await asyncio.sleep(0)
        return compute()


def streams_of(
    model: Model,
    room: int = 10**6,
    idle: float = 60.0,
    clock: Clock | None = None,
    observe: Callable[..., Any] = lambda *_: None,
    workers: Any = None,
) -> StreamStore:
    network = Network(model)
    batcher = Batcher(network, 0.001, observe)
    held: list[StreamStore] = []
    workers, clock = workers or Workers(), clock or Clock()
    held.append(StreamStore("m", batcher, idle, lambda: room - len(held[0]), workers, clock))
    return held[0]


def run(work: Callable[..., Any], streams: StreamStore) -> None:
    try:
        return asyncio.run(work(streams))
    finally:
        streams.close()


def same(answer: StreamReply, stream: Stream, k: int) -> None:
    expected = stream.predict(k)
    assert len(answer.predictions) == len(expected)
    if not TOLERANCE:
        assert answer.predictions == expected
        return
    for (token, ours), (other, theirs) in zip(answer.predictions, expected, strict=True):
        assert token == other
        assert ours == pytest.approx(theirs, abs=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("documents", ["file", "line"])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm", "mingru"])
def test_interleaved_streams_answer_like_streams_alone(
    make: Callable[..., Model], monkeypatch: pytest.MonkeyPatch, cell: str, documents: str
) -> None:
    """Many streams at once are created, read, fork, continue from a kept state and are deleted."""
    monkeypatch.setattr(module, "TOKENS_PER_ROUND", 5)
    model = make(cell, documents=documents)
    network = Network(model)

    async def life(streams: StreamStore, seed: int) -> None:
        random = np.random.default_rng(seed)

        def text() -> str:
            size = int(random.choice([0, 1, 2, 7, 40]))
            return "".join(random.choice([*"abcdefgh \n\u00e9"], size))

        first = text()
        name, answer = await streams.create(first)
        alone = Stream(network).feed(first)
        position = len(model.codec.encode(first))
        assert answer.position == position
        for _ in range(int(random.integers(1, 9))):
            await asyncio.sleep(float(random.choice([0, 0, 0.0005, 0.002])))
            what, k = (
                random.choice(["feed", "fork", "step"], p=[0.7, 0.2, 0.1]),
                int(random.integers(1, 9)),
            )
            if what == "fork":
                name, answer = await streams.fork(name)
                assert answer.position == position
                continue
            more = text()
            if what == "step":
                packed = alone.state
                answer = await streams.step(packed, more, k)
                other = Stream(network)
                other.state = packed
                same(answer, other.feed(more), k)
                assert TOLERANCE or answer.state == other.state
                continue
            answer = await streams.feed(name, more, k, None)
            position += len(model.codec.encode(more))
            assert answer.position == position
            same(answer, alone.feed(more), k)
        if random.random() < 0.5:
            await streams.delete(name)

    async def work(streams: StreamStore) -> None:
        await asyncio.gather(*(life(streams, seed) for seed in range(COUNT)))

    run(work, streams_of(model))


def test_requests_that_arrive_together_share_a_batch(make: Callable[..., Model]) -> None:
    seen = []
    streams = streams_of(
        make("gru"), observe=lambda streams, tokens: seen.append((streams, tokens))
    )

    async def work(streams: StreamStore) -> None:
        names = [name for name, _ in [await streams.create("") for _ in range(50)]]
        seen.clear()
        await asyncio.gather(*(streams.feed(name, "a", 1, None) for name in names))

    run(work, streams)
    assert sum(tokens for _, tokens in seen) == 50
    assert max(streams for streams, _ in seen) > 25


def test_a_long_text_does_not_delay_other_streams(make: Callable[..., Model]) -> None:
    streams = streams_of(make("lstm", size=32))

    async def work(streams: StreamStore) -> None:
        long, _ = await streams.create("")
        short, _ = await streams.create("")
        reading = asyncio.ensure_future(streams.feed(long, "abcdefgh" * 10_000, 1, None))
        for _ in range(5):
            await streams.feed(short, "a", 1, None)
            assert not reading.done()
        await reading

    run(work, streams)


def test_requests_of_one_stream_stay_in_order(make: Callable[..., Model]) -> None:
    model = make("gru")

    async def work(streams: StreamStore) -> None:
        name, _ = await streams.create("")
        parts = ["ab" * size for size in (400, 1, 30, 1, 0, 200)]
        answers = await asyncio.gather(*(streams.feed(name, part, 3, None) for part in parts))
        alone, network = None, Network(model)
        alone = Stream(network)
        for part, answer in zip(parts, answers, strict=True):
            same(answer, alone.feed(part), 3)

    run(work, streams_of(model))


def test_a_numbered_request_is_read_once(make: Callable[..., Model]) -> None:
    model = make("lstm")

    async def work(streams: StreamStore) -> None:
        name, _ = await streams.create("")
        with pytest.raises(StaleError, match="seq: got 1; expected 0 first"):
            await streams.feed(name, "abc", 4, 1)
        first = await streams.feed(name, "abc", 4, 0)
        again = await asyncio.gather(*(streams.feed(name, "abc", 4, 0) for _ in range(3)))
        assert again == [first] * 3
        with pytest.raises(StaleError, match="seq: got 2; expected 1, or 0 again"):
            await streams.feed(name, "a", 4, 2)
        expected = "seq: got 0 with another input; expected the same input as before, or seq 1"
        for other in ("ab", "abcd", "", "abd"):
            with pytest.raises(StaleError, match=expected):
                await streams.feed(name, other, 4, 0)
        # an invalid request does not use up its number
        with pytest.raises(InputError, match="tokens: got 99"):
            await streams.feed(name, [99], 4, 1)
        same(await streams.feed(name, "d", 4, 1), Stream(model).feed("abcd"), 4)

    run(work, streams_of(model))


def test_a_fork_numbers_its_own_requests(make: Callable[..., Model]) -> None:
    model = make("lstm")

    async def work(streams: StreamStore) -> None:
        name, _ = await streams.create("")
        await streams.feed(name, "ab", 1, 0)
        other, _ = await streams.fork(name)
        same(await streams.feed(other, "c", 4, 0), Stream(model).feed("abc"), 4)
        same(await streams.feed(name, "d", 4, 1), Stream(model).feed("abd"), 4)

    run(work, streams_of(model))


def test_later_requests_wait_until_a_long_text_is_tokenised(make: Callable[..., Model]) -> None:
    model = make("gru")

    async def work() -> None:
        free = asyncio.Event()

        class Waiting(Workers):
            async def run(self, compute: Callable[..., Any]) -> Any:
                await free.wait()
                return compute()

        streams = streams_of(model, workers=Waiting())
        name, _ = await streams.create("")
        long = "ab" * 2_000
        asked = [
            asyncio.ensure_future(one)
            for one in (
                streams.feed(name, long, 3, None),
                streams.feed(name, "c", 3, None),
                streams.feed(name, long, 3, None),
                streams.fork(name),
                streams.delete(name),
                streams.feed(name, "d", 3, None),
            )
        ]
        other, _ = await streams.create("")
        await streams.feed(other, "e", 1, None)  # other streams do not wait
        assert not any(one.done() for one in asked)
        asked[2].cancel()  # a request that is cancelled before its text is tokenised has no effect
        free.set()
        answers: list[Any] = await asyncio.gather(*asked, return_exceptions=True)
        first, short, left, forked, deleted, late = answers
        same(first, Stream(model).feed(long), 3)
        same(short, Stream(model).feed(long + "c"), 3)
        assert isinstance(left, asyncio.CancelledError)
        assert forked[1].position == len(long) + 1
        assert deleted is None
        assert isinstance(late, NotFoundError)
        assert not streams._locks
        streams.close()

    asyncio.run(work())


def test_names_are_secret_and_streams_are_limited(make: Callable[..., Model]) -> None:
    clock = Clock()

    async def work(streams: StreamStore) -> None:
        names = [(await streams.create("a"))[0] for _ in range(4)]
        assert len(set(names)) == 4
        assert all(len(name) == 22 for name in names)  # 128 bits in base64
        with pytest.raises(BusyError, match="no room for more streams"):
            await streams.create("")
        with pytest.raises(BusyError):
            await streams.fork(names[0])
        await streams.delete(names[0])
        await streams.create("")
        for name in (names[0], "", "x" * 22):
            with pytest.raises(NotFoundError, match="no such stream"):
                await streams.feed(name, "", 1, None)
        clock.now = 59.0
        await streams.feed(names[1], "", 1, None)
        clock.now = 61.0
        streams.sweep()
        assert len(streams) == 1
        await streams.feed(names[1], "", 1, None)
        # a reused slot starts from the initial state
        fresh, _ = await streams.create("")
        answer = await streams.feed(fresh, "", 5, None)
        assert answer.position == 0
        same(answer, Stream(streams.batcher.network), 5)

    run(work, streams_of(make("gru"), room=4, clock=clock))


def test_a_failed_creation_leaves_no_stream(make: Callable[..., Model]) -> None:
    async def work(streams: StreamStore) -> None:
        for _ in range(3):
            with pytest.raises(InputError, match="tokens: got 99"):
                await streams.create([99])
            with pytest.raises(InputError, match="state"):
                await streams.step(b"nonsense", "a", 1)
        assert len(streams) == 0
        assert streams._free_slots == [0]  # the same slot is reused

    run(work, streams_of(make("gru")))


def test_a_cancelled_request_leaves_the_stream_usable(make: Callable[..., Model]) -> None:
    """Its answer is dropped, and later requests are answered."""
    model = make("gru")

    async def work(streams: StreamStore) -> None:
        name, _ = await streams.create("")
        left = asyncio.ensure_future(streams.feed(name, "ab" * 500, 1, None))
        await asyncio.sleep(0)
        left.cancel()
        answer = await streams.feed(name, "c", 3, None)
        same(answer, Stream(model).feed("ab" * 500 + "c"), 3)

    run(work, streams_of(model))


def test_simultaneous_creations_respect_the_limit(make: Callable[..., Model]) -> None:
    held = []

    async def work(streams: StreamStore) -> None:
        held.append(streams)
        made = await asyncio.gather(
            *(streams.create("a") for _ in range(200)), return_exceptions=True
        )
        assert sum(isinstance(one, BusyError) for one in made) == 190
        assert len(streams) == 10

    network = Network(make("gru"))
    workers: Any = Workers()
    run(
        work,
        StreamStore("m", Batcher(network, 0.001), 60.0, lambda: 10 - sum(map(len, held)), workers),
    )


def test_a_stream_with_numbers_needs_them(make: Callable[..., Model]) -> None:
    """After an unnumbered request a repeated one would be mistaken for another."""

    async def work(streams: StreamStore) -> None:
        name, _ = await streams.create("")
        await streams.feed(name, "a", 1, None)
        first = await streams.feed(name, "b", 4, 0)
        with pytest.raises(
            StaleError, match="seq: got none; expected 1, as the last request had a number"
        ):
            await streams.feed(name, "c", 1, None)
        # a request without input changes nothing
        assert await streams.feed(name, "", 4, None) == first
        assert await streams.feed(name, "b", 4, 0) == first

    run(work, streams_of(make("gru")))


def failing(pool: StreamPool, when: Callable[..., Any]) -> Callable[..., StreamPool]:
    """Return a `feed` that reads the tokens and then raises an error if `when(arguments)` is true."""
    feed, forward = type(pool).feed, pool.network.forward

    def broken(blocks: list[np.ndarray], slots: list[int]) -> StreamPool:
        def fails(*given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            found = forward(*given)
            if when(blocks, slots):
                raise MemoryError
            return found

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pool.network, "forward", fails)
            return feed(pool, blocks, slots)

    return broken


def test_a_fault_affects_only_its_own_request(
    make: Callable[..., Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The round is undone, and the other streams are answered as if nothing had happened."""
    model = make("gru")

    async def work(streams: StreamStore) -> None:
        names = [(await streams.create("ab"))[0] for _ in range(6)]
        bad, pool = streams._streams[names[2]].slot, streams.batcher._pool
        with monkeypatch.context() as patch:
            patch.setattr(pool, "feed", failing(pool, lambda _, slots: bad in slots))
            answers: list[Any] = await asyncio.gather(
                *(streams.feed(name, "cda", 3, 0) for name in names), return_exceptions=True
            )
        assert isinstance(answers.pop(2), MemoryError)
        expected = Stream(model).feed("abcda")
        for answer in answers:
            same(answer, expected, 3)
            assert answer.position == 5
        # the same number is accepted again and read once
        again = await streams.feed(names[2], "cda", 3, 0)
        assert again.position == 5
        same(again, expected, 3)

    run(work, streams_of(model))


def test_a_fault_in_the_middle_of_a_request_ends_the_stream(
    make: Callable[..., Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TOKENS_PER_ROUND", 2)

    async def work(streams: StreamStore) -> None:
        name, _ = await streams.create("")
        pool = streams.batcher._pool
        with monkeypatch.context() as patch:
            third = failing(pool, lambda blocks, _: len(blocks[0]) == 1)
            patch.setattr(pool, "feed", third)
            with pytest.raises(MemoryError):
                await streams.feed(name, "abcde", 1, 0)
        for again in (streams.feed(name, "abcde", 1, 0), streams.fork(name)):
            with pytest.raises(StaleError, match="an error interrupted a request of this stream"):
                await again
        await streams.delete(name)
        other, _ = await streams.create("")
        assert streams._streams[other].slot == 0
        assert (await streams.feed(other, "ab", 1, 0)).position == 2

    run(work, streams_of(make("gru")))


def test_a_failed_answer_can_be_requested_again(
    make: Callable[..., Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(streams: StreamStore) -> None:
        name, _ = await streams.create("")
        with monkeypatch.context() as patch:
            patch.setattr(streams.batcher._pool, "predict", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                await streams.feed(name, "ab", 1, 0)
        assert (await streams.feed(name, "ab", 1, 0)).position == 2

    run(work, streams_of(make("gru")))


def test_a_fault_of_one_round_does_not_end_the_thread(
    make: Callable[..., Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(streams: StreamStore) -> None:
        name, _ = await streams.create("")
        with monkeypatch.context() as patch:
            patch.setattr(streams.batcher._pool, "feed", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                await streams.feed(name, "a", 1, 0)
        # a failed request was not read, and can be sent again under its number
        assert (await streams.feed(name, "a", 1, 0)).position == 1

    run(work, streams_of(make("gru")))


def test_only_a_few_streams_adapt(
    make: Callable[..., Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has weights of its own, which go with it."""
    monkeypatch.setattr(stream_store, "MAX_ADAPTING_STREAMS", 2)

    async def work(streams: StreamStore) -> None:
        first, _ = await streams.create("ab", adapt="both")
        await streams.fork(first)
        for again in (streams.create("", adapt="weights"), streams.fork(first)):
            with pytest.raises(BusyError, match="no room for more streams that adapt: got 2 of m"):
                await again
        await streams.create("")
        held = weakref.ref(streams._streams[first].own)
        await streams.delete(first)
        # the thread forgets a request when the next one comes
        await streams.create("", adapt="weights")
        gc.collect()
        assert held() is None

    run(work, streams_of(make("gru")))


def test_a_fault_ends_a_stream_that_adapts(
    make: Callable[..., Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have learned from a part of the input; the streams beside it go on."""

    async def work(streams: StreamStore) -> None:
        (name, _), (other, _) = [await streams.create("ab", adapt="weights") for _ in range(2)]
        with monkeypatch.context() as patch:
            patch.setattr(streams._streams[name].own, "feed", lambda _: 1 / 0)
            answer = asyncio.ensure_future(streams.feed(other, "cd", 3))
            with pytest.raises(ZeroDivisionError):
                await streams.feed(name, "cd", 3)
        same(await answer, Stream(model, "weights").feed("abcd"), 3)
        with pytest.raises(StaleError, match="an error interrupted a request of this stream"):
            await streams.feed(name, "cd")

    model = make("gru")
    run(work, streams_of(model))


def test_a_fault_in_the_prediction_of_one_stream_is_no_others(
    make: Callable[..., Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(streams: StreamStore) -> None:
        (name, _), (other, _) = [await streams.create("ab", adapt="weights") for _ in range(2)]
        monkeypatch.setattr(streams._streams[name].own, "predict", lambda _: 1 / 0)
        answer = asyncio.ensure_future(streams.feed(other, "cd", 3))
        with pytest.raises(ZeroDivisionError):
            await streams.feed(name, "cd", 3)
        same(await answer, Stream(model, "weights").feed("abcd"), 3)

    model = make("gru")
    run(work, streams_of(model))


MEMORY = """
import asyncio, resource, sys
import elman
from elman.serve.batcher import Batcher
from elman.serve.stream_store import StreamStore
streams = StreamStore("m", Batcher(elman.load(sys.argv[1]).network, 0.001), 60.0, lambda: 1, None)
def held():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
async def work(count):
    for _ in range(count // 100):
        await asyncio.gather(*(streams.create("a") for _ in range(100)))
loop = asyncio.new_event_loop()
loop.run_until_complete(work(2000))
before = held()
loop.run_until_complete(work(10_000))
print(held() - before)
streams.batcher.close()
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
def test_an_idle_stream_costs_its_state_and_512_bytes(
    make: Callable[..., Model], tmp_path: Path
) -> None:
    """10,000 idle streams cost their states and 512 bytes each."""
    from elman.files.model import Model

    model = make("lstm", size=128)
    path = tmp_path / "m.safetensors"
    Model(model.config, model.arrays, model.codec, {}).save(path)
    state = Network(model).state_size * 4
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, path], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 10_000 * (state + 512)
