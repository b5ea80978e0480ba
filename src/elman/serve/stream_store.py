"""Streams that the server holds for its clients: their secret names, idle times and limit."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from elman.language.adaptation import Adapt
from elman.language.readable import Readable, token_numbers
from elman.language.stream import Stream
from elman.serve.batcher import (
    AdaptingBatcher,
    Batcher,
    HeldStream,
    StreamReply,
    StreamRequest,
    StreamStart,
)
from elman.serve.http_errors import BusyError, NotFoundError
from elman.serve.threads import WorkerThreads

MIN_SWEEP_SECONDS = 1.0
"""Time between two searches for idle streams."""
MAX_ADAPTING_STREAMS = 16
"""Streams of one model that adapt; each has its own copy of the weights, and twice as much beside it."""
LONG_INPUT_CHARACTERS = 2_000
"""A text of at least this length is tokenised in a worker thread, beside other requests."""


class StreamStore:
    """The streams of one model under secret names of 128 bits.

    Args:
        model: Name of the model.
        batcher: Advances the streams.
        idle_seconds: Time without a request after which a stream is forgotten.
        room: Returns how many more streams the whole server may hold.
        workers: Threads that turn long texts into tokens; later requests of the same stream wait for them.
        clock: Returns the time in seconds.

    The slot of a deleted stream can be reused at once: requests of a slot stay in order, and the first
    request of a new stream sets its start.
    """

    def __init__(
        self,
        model: str,
        batcher: Batcher,
        idle_seconds: float,
        room: Callable[[], int],
        workers: WorkerThreads,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.model, self.batcher, self._workers = model, batcher, workers
        self._adapting = AdaptingBatcher(batcher.network, 0.0, batcher.count_batch)
        self._idle_seconds, self._room, self._clock = idle_seconds, room, clock
        self._streams: dict[str, HeldStream] = {}
        self._new_slots, self._free_slots = itertools.count(), list[int]()
        self._last_sweep = clock()
        # Per stream with requests that have not been submitted yet: its lock, and their number.
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    def __len__(self) -> int:
        return len(self._streams)

    def __contains__(self, name: str) -> bool:
        return name in self._streams

    async def create(
        self,
        text: Readable,
        start: StreamStart | None = None,
        *,
        adapt: Adapt | None = None,
        own: Stream | None = None,
    ) -> tuple[str, StreamReply]:
        """Return a new stream's name, and its reply after reading `text`.

        Args:
            text: The text to read first.
            start: State and position at which the stream begins.
            adapt: Whether and how the stream adapts to what it reads.
            own: A stream that adapts, from which the new one continues.

        Raises:
            BusyError: There are too many streams.
            InputError: The text cannot be read.
            OptionError: The stored weights are rounded, so that no stream can adapt.
        """
        text = await self._tokenised(text)
        if adapt is not None:
            # before the weights are copied, and again after it, because others may have come meanwhile
            self._check_adapting(adapt)
            own = await self._workers.run(partial(Stream, self.batcher.network, adapt))
        if self._room() < 1:
            remedy = "delete streams that are no longer needed, or pass a larger --max-streams"
            raise BusyError("no room for more streams", remedy=remedy)
        self._check_adapting(own)
        # The name is the secret that allows requests of the stream.
        name, stream = secrets.token_urlsafe(16), HeldStream(self._take_slot(), self._clock())
        stream.own = own
        # Count the stream before awaiting: other requests look for room meanwhile.
        self._streams[name] = stream
        try:
            request = StreamRequest(stream, text, start=start or StreamStart())
            return name, await self._submit(request)
        # Also for a client that has gone: nobody knows the name of its stream.
        except BaseException:
            if name in self:
                self._forget(name)
            raise

    def _check_adapting(self, wanted: object) -> None:
        """Raise BusyError if a stream that adapts is `wanted`, and there is no room for one more."""
        adapting = sum(stream.own is not None for stream in self._streams.values())
        if wanted is not None and adapting >= MAX_ADAPTING_STREAMS:
            got, remedy = f"{adapting} of {self.model}", "delete one, or create one without adapt"
            raise BusyError("no room for more streams that adapt", got=got, remedy=remedy)

    async def feed(
        self,
        name: str,
        text: Readable = "",
        k: int = 0,
        seq: int | None = None,
        *,
        with_state: bool = False,
    ) -> StreamReply:
        """Return the `k` best predictions after `text`; raise NotFoundError, InputError, StaleError."""
        self._stream(name)
        async with self._turn(name):
            text = await self._tokenised(text)
            # The stream may have been deleted while the text was tokenised.
            request = StreamRequest(self._stream(name), text, k, seq, with_state=with_state)
            reply = self._submit(request)
        return await reply

    def _submit(self, request: StreamRequest) -> asyncio.Future[StreamReply]:
        batcher = self.batcher if request.stream.own is None else self._adapting
        return batcher.submit(request)

    def close(self, seconds: float | None = None) -> None:
        """Answer all requests, then end the threads; wait at most so many seconds in all."""
        end = None if seconds is None else time.monotonic() + seconds
        for batcher in (self.batcher, self._adapting):
            batcher.close(None if end is None else max(0.0, end - time.monotonic()))

    async def fork(self, name: str) -> tuple[str, StreamReply]:
        """Return the name of a new stream that continues from where `name` is, and its reply."""
        reply = await self.feed(name, with_state=True)
        return await self.create("", StreamStart(reply.state, reply.position), own=reply.own)

    async def delete(self, name: str) -> None:
        """Forget a stream once its earlier requests are submitted; raise NotFoundError if there is none."""
        async with self._turn(name):
            self._forget(name)

    async def _tokenised(self, text: Readable) -> Readable:
        if isinstance(text, str) and len(text) >= LONG_INPUT_CHARACTERS:
            codec = self.batcher.network.model.codec
            return await self._workers.run(partial(token_numbers, codec, text))
        return text

    @asynccontextmanager
    async def _turn(self, name: str) -> AsyncIterator[None]:
        """Wait until all earlier requests of a stream have been submitted."""
        # A lock exists only while it is needed: thousands of idle streams have none.
        lock, waiting = self._locks.get(name, (asyncio.Lock(), 0))
        self._locks[name] = lock, waiting + 1
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._locks.pop(name)
            if waiting > 1:
                self._locks[name] = lock, waiting - 1

    def _forget(self, name: str) -> None:
        self._free_slots.append(self._stream(name).slot)
        del self._streams[name]

    async def step(self, state: bytes | None, text: Readable, k: int) -> StreamReply:
        """Return the predictions and the state after `text`, from a state that the client keeps."""
        text = await self._tokenised(text)
        stream = HeldStream(self._take_slot())
        try:
            request = StreamRequest(stream, text, k, start=StreamStart(state), with_state=True)
            return await self._submit(request)
        finally:
            self._free_slots.append(stream.slot)

    def sweep(self) -> None:
        """Forget the streams that have been idle for too long; search at most once a second."""
        now = self._clock()
        if now < self._last_sweep + MIN_SWEEP_SECONDS:
            return
        self._last_sweep = now
        # A stream with a waiting request is not idle.
        for name, stream in [*self._streams.items()]:
            if name not in self._locks and now > stream.last_used + self._idle_seconds:
                self._forget(name)

    def _take_slot(self) -> int:
        return self._free_slots.pop() if self._free_slots else next(self._new_slots)

    def _stream(self, name: str) -> HeldStream:
        """Return a stream and note that it is in use; raise NotFoundError."""
        if name not in self:
            raise NotFoundError("no such stream", remedy="create one with POST /v1/streams")
        stream = self._streams[name]
        stream.last_used = self._clock()
        return stream
