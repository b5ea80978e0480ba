"""The streams that a server holds: their names, who is idle, and how many there may be."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np

from elman.errors import ElmanError
from elman.language.stream import Readable
from elman.serve.batcher import Answer, Batcher, Job, Origin
from elman.text.vocabulary import TextCodec

__all__ = ["BusyError", "NotFoundError", "Streams"]

FRESH = Origin()
# Seconds between two searches for idle streams.
SWEEP = 1.0
# Characters from which a text is cut into tokens beside the other requests.
LONG = 2_000


class NotFoundError(ElmanError):
    """Nothing has that name: it never was, was deleted, or was idle for too long."""

    status = 404


class BusyError(ElmanError):
    """There is no room for more now."""

    status = 429


class Streams:
    """The streams of one model by secret names of 128 bits.

    A slot may be used anew at once, for the requests of a slot stay in order and the first one of a new
    stream begins it. `room` says how many more there may be on the whole server. A text is cut into
    tokens by `cut`, which may take its time: what is asked of the stream after it waits for it.
    """

    def __init__(
        self,
        model: str,
        batcher: Batcher,
        idle_seconds: float,
        room: Callable[[], int],
        cut: Callable[[TextCodec, str], Awaitable[np.ndarray]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.model, self.batcher = model, batcher
        self.codec = batcher.network.model.codec
        self._idle, self._room, self._clock = idle_seconds, room, clock
        # of each stream by name: its slot, and when it was last asked
        self._slots: dict[str, int] = {}
        self._used: dict[str, float] = {}
        self._new, self._free = itertools.count(), list[int]()
        self._swept = clock()
        self._cut = cut
        # of streams that wait for a text to be cut: who has the turn, and how many want it
        self._turns: dict[str, tuple[asyncio.Lock, int]] = {}

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, name: str) -> bool:
        return name in self._slots

    async def create(self, readable: Readable, begin: Origin = FRESH) -> tuple[str, Answer]:
        """Return a new stream's name and where it is after reading; raises BusyError, InputError."""
        readable = await self._ready(readable)
        if self._room() < 1:
            remedy = "delete streams that are done with, or start with a larger --max-streams"
            raise BusyError("no room for more streams", remedy=remedy)
        slot, name = self._take(), secrets.token_urlsafe(16)
        # it has its place before it is awaited: others ask for room meanwhile
        self._slots[name], self._used[name] = slot, self._clock()
        try:
            return name, await self.batcher.submit(Job(slot, readable, begin=begin))
        except BaseException:
            if name in self:
                self._forget(name)
            raise

    async def feed(self, name: str, readable: Readable, k: int, seq: int | None) -> Answer:
        """Return what a stream says after reading on; raises NotFoundError, InputError, StaleError."""
        return await self._ask(name, readable, k=k, seq=seq)

    async def fork(self, name: str) -> tuple[str, Answer]:
        """Return the name of a stream that goes its own way from where this one is, and where that is."""
        here = await self._ask(name, pack=True)
        return await self.create("", Origin(here.state, here.position))

    async def delete(self, name: str) -> None:
        """Forget a stream, after what was asked of it before; raises NotFoundError."""
        async with self._turn(name):
            self._forget(name)

    async def _ask(self, name: str, readable: Readable = "", **how: Any) -> Answer:
        self._slot(name)
        async with self._turn(name):
            readable = await self._ready(readable)
            asked = self.batcher.submit(Job(self._slot(name), readable, **how))
        return await asked

    async def _ready(self, readable: Readable) -> Readable:
        if isinstance(readable, str) and len(readable) >= LONG:
            return await self._cut(self.codec, readable)
        return readable

    @asynccontextmanager
    async def _turn(self, name: str) -> AsyncIterator[None]:
        """Wait for all that was asked of a stream before."""
        lock, wanted = self._turns.get(name, (asyncio.Lock(), 0))
        self._turns[name] = lock, wanted + 1
        try:
            async with lock:
                yield
        finally:
            lock, wanted = self._turns.pop(name)
            if wanted > 1:
                self._turns[name] = lock, wanted - 1

    def _forget(self, name: str) -> None:
        self._free.append(self._slot(name))
        del self._slots[name], self._used[name]

    async def step(self, state: bytes | None, readable: Readable, k: int) -> Answer:
        """Return what follows a state that the client keeps, with the state after it."""
        readable = await self._ready(readable)
        slot = self._take()
        try:
            job = Job(slot, readable, k=k, begin=Origin(state), pack=True)
            return await self.batcher.submit(job)
        finally:
            self._free.append(slot)

    def sweep(self) -> None:
        """Forget the streams that were idle for too long; looks for them once a second at most."""
        now = self._clock()
        if now < self._swept + SWEEP:
            return
        self._swept = now
        for name, used in [*self._used.items()]:
            if name not in self._turns and now > used + self._idle:
                self._forget(name)

    def _take(self) -> int:
        return self._free.pop() if self._free else next(self._new)

    def _slot(self, name: str) -> int:
        if name not in self:
            raise NotFoundError("no such stream", remedy="make one with POST /v1/streams")
        self._used[name] = self._clock()
        return self._slots[name]
