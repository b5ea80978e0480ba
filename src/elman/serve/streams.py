"""The streams that a server holds: their names, who is idle, and how many there may be."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from elman._errors import ElmanError
from elman.runtime.stream import Readable
from elman.serve.batcher import Answer, Batcher, Job, Origin

__all__ = ["BusyError", "NotFoundError", "Streams"]

FRESH = Origin()
# Seconds between two searches for idle streams.
SWEEP = 1.0


class NotFoundError(ElmanError):
    """Nothing has that name: it never was, was deleted, or was idle for too long."""


class BusyError(ElmanError):
    """There is no room for more now."""


class Streams:
    """The streams of one model by secret names of 128 bits.

    A slot may be used anew at once, for the requests of a slot stay in order and the first one of a new
    stream begins it. `room` says how many more there may be on the whole server.
    """

    def __init__(
        self,
        model: str,
        batcher: Batcher,
        idle_seconds: float,
        room: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.model, self.batcher = model, batcher
        self.codec = batcher.network.model.codec
        self._idle, self._room, self._clock = idle_seconds, room, clock
        self._slots: dict[str, int] = {}
        # of each slot, its stream's name and when it was last asked
        self._names: list[str | None] = []
        self._used: list[float] = []
        self._free: list[int] = []
        self._swept = clock()

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, name: str) -> bool:
        return name in self._slots

    async def create(self, readable: Readable, begin: Origin = FRESH) -> tuple[str, Answer]:
        """Return a new stream's name and where it is after reading; raises BusyError, InputError."""
        if self._room() < 1:
            remedy = "delete streams that are done with, or start with a larger --max-streams"
            raise BusyError("no room for more streams", remedy=remedy)
        slot, name = self._take(), secrets.token_urlsafe(16)
        # it has its place before it is awaited: others ask for room meanwhile
        self._slots[name] = slot
        self._names[slot], self._used[slot] = name, self._clock()
        try:
            return name, await self.batcher.submit(Job(slot, readable, begin=begin))
        except BaseException:
            if name in self:
                self.delete(name)
            raise

    async def feed(self, name: str, readable: Readable, k: int, seq: int | None) -> Answer:
        """Return what a stream says after reading on; raises NotFoundError, InputError, StaleError."""
        return await self.batcher.submit(Job(self._slot(name), readable, k=k, seq=seq))

    async def fork(self, name: str) -> tuple[str, Answer]:
        """Return the name of a stream that goes its own way from where this one is, and where that is."""
        here = await self.batcher.submit(Job(self._slot(name), pack=True))
        return await self.create("", Origin(here.state, here.position, here.seq))

    def delete(self, name: str) -> None:
        """Forget a stream, after what was asked of it before; raises NotFoundError."""
        slot = self._slot(name)
        del self._slots[name]
        self._names[slot] = None
        self._free.append(slot)

    async def step(self, state: bytes | None, readable: Readable, k: int) -> Answer:
        """Return what follows a state that the client keeps, with the state after it."""
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
        for name, used in zip(self._names, self._used, strict=True):
            if name is not None and now > used + self._idle:
                self.delete(name)

    def _take(self) -> int:
        if self._free:
            return self._free.pop()
        self._names.append(None)
        self._used.append(0.0)
        return len(self._names) - 1

    def _slot(self, name: str) -> int:
        slot = self._slots.get(name)
        if slot is None:
            raise NotFoundError("no such stream", remedy="make one with POST /v1/streams")
        self._used[slot] = self._clock()
        return slot
